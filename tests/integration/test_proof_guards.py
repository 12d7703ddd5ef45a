"""The rules of seals, closes and their clock, attacked with plain SQL by every role."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import constraint_name, sqlstate
from standart.services import canonical, chain, chain_check, seal_service
from standart.services.chain import GENESIS
from tests import movements
from tests.integration.attacks import DENIED, attack
from tests.world import contents

TABLES = ("seals", "closes", "book_clock", "particulars")
KEPT = ("seals", "closes", "book_clock")
APPEND_ONLY = {"seals": "marks", "closes": "digest", "particulars": "name"}

SEAL = (
    "INSERT INTO seals (number, before, journals, total, previous, content, hash, marks) VALUES"
    " ({number}, {before}, {journals}, {total}, {previous}, {content}, {hash}, {marks})"
)
CLOSE = (
    "INSERT INTO closes (number, period, zone, starts_at, ends_at, journals, digest, seal_number,"
    " seal_hash, closed_by, closed_at) VALUES ({number}, {period}, {zone}, {starts_at}, {ends_at},"
    " {journals}, {digest}, {seal_number}, {seal_hash}, 'me', {closed_at})"
)
UNGUARDED = "ALTER TABLE {} DISABLE TRIGGER USER"


def seal(**changes: str) -> str:
    """The seal that is due, with some fields changed."""
    usual = {name: f":{name}" for name in chain.Link.__slots__}
    return SEAL.format(**(usual | {"marks": ":marks"} | changes))


def close(**changes: str) -> str:
    """A close of a month long before all journals, with some fields changed."""
    usual = {
        "number": "1",
        "period": "'2020-01'",
        "zone": "'Europe/Moscow'",
        "starts_at": "'2019-12-31T21:00:00Z'",
        "ends_at": "'2020-01-31T21:00:00Z'",
        "journals": "0",
        "digest": ":empty",
        "seal_number": ":head_number",
        "seal_hash": ":head_hash",
        "closed_at": "clock_timestamp()",
    }
    return CLOSE.format(**(usual | changes))


def rehashed(content: str) -> str:
    """The due seal over another content, with the hash that follows from it."""
    return seal(content=f":{content}", hash=f":hash_of_{content}")


@pytest.fixture
def sealed(connection: Connection, books: dict[str, Any]) -> dict[str, Any]:
    """The books under one seal, and one more journal that a second one is due for."""
    seal_service.seal(connection)
    head = chain.last(connection)
    assert head is not None
    movements.Mover(connection, books["shop"]).adjust(500)
    before = seal_service.settle(connection)
    (line,) = connection.scalars(
        text(f"SELECT {canonical.LINE} FROM journals j WHERE j.created_at >= :since"),
        {"since": head.before},
    )
    digest = canonical.Digest()
    digest.add(line)
    due = chain.next_link(head, before, digest)
    other = {"another": hashlib.sha256(b"another").digest(), "empty": canonical.EMPTY}
    hashes = {
        f"hash_of_{name}": chain.seal_hash(
            due.number, due.before, due.journals, due.total, due.previous, value
        )
        for name, value in other.items()
    }
    foreign = chain.seal_hash(2, due.before, 1, due.total, GENESIS, due.content)
    return (
        books
        | due.row()
        | other
        | hashes
        | {
            "marks": canonical.mark(line),
            "head_number": head.number,
            "head_hash": head.hash,
            "head_before": head.before,
            "foreign": foreign,
            "genesis": GENESIS,
            "later": datetime.now(UTC) + timedelta(days=1),
        }
    )


WITHOUT_GUARDS = {table: UNGUARDED.format(table) for table in ("seals", "closes")}

REFUSED = {
    # The chain goes on, and from nothing but the seal before.
    "a seal left out": ([seal(number="3")], "seal_goes_on"),
    "a second first seal": ([seal(number="1")], "seal_goes_on"),
    "a count that goes wrong": ([seal(total=":total + 1")], "seal_goes_on"),
    "a chain of its own": ([seal(previous=":genesis", hash=":foreign")], "seal_goes_on"),
    "a seal over what is sealed": ([seal(before=":head_before")], "seal_goes_on"),
    "a seal over what is to come": ([seal(before=":later")], "seal_goes_on"),
    "a seal for ever": ([seal(before="'infinity'")], "seal_goes_on"),
    # It says what its journals make.
    "a seal over another content": ([rehashed("another")], "seal_is_of_its_journals"),
    "a seal over no content": ([rehashed("empty")], "seal_is_of_its_journals"),
    "a hash that does not follow": ([seal(hash=":another")], "seal_is_of_its_journals"),
    "a seal over more journals": (
        [seal(journals="2", total=":total + 1", marks=":marks || :marks")],
        "seal_is_of_its_journals",
    ),
    "a seal over nothing": (
        [seal(journals="0", total=":total - 1", marks="''")],
        "seal_is_of_its_journals",
    ),
    "a seal that leaves a journal out": (
        [seal(before=":head_before + interval '1 microsecond'")],
        "seal_is_of_its_journals",
    ),
    # What the triggers would have refused before.
    "no journals": (
        [WITHOUT_GUARDS["seals"], seal(journals="0", marks="''")],
        "ck_seals_counts_positive",
    ),
    "number nought": ([WITHOUT_GUARDS["seals"], seal(number="0")], "ck_seals_counts_positive"),
    "a short hash": ([WITHOUT_GUARDS["seals"], seal(hash="'x'")], "ck_seals_hashes_are_sha256"),
    "a short content": (
        [WITHOUT_GUARDS["seals"], seal(content="'x'")],
        "ck_seals_hashes_are_sha256",
    ),
    "a short former": (
        [WITHOUT_GUARDS["seals"], seal(previous="'x'")],
        "ck_seals_hashes_are_sha256",
    ),
    "marks for others": ([seal(marks=":marks || :marks")], "ck_seals_mark_for_each"),
    "the same number": ([WITHOUT_GUARDS["seals"], seal(number="1")], "pk_seals"),
    "the same moment": ([WITHOUT_GUARDS["seals"], seal(before=":head_before")], "uq_seals_before"),
    # The clock of the books.
    "a clock put back": (
        ["UPDATE book_clock SET dated_from = dated_from - interval '1 microsecond'"],
        "book_clock_goes_on",
    ),
    "a clock put to the beginning": (
        ["UPDATE book_clock SET dated_from = '-infinity'"],
        "book_clock_goes_on",
    ),
    "a clock ahead of time": (["UPDATE book_clock SET dated_from = :later"], "book_clock_goes_on"),
    "a clock that leaps where the server's is behind": (
        [
            "ALTER TABLE book_clock DISABLE TRIGGER book_clock_step",
            "UPDATE book_clock SET dated_from = clock_timestamp() + interval '1 hour'",
            "ALTER TABLE book_clock ENABLE TRIGGER book_clock_step",
            "UPDATE book_clock SET dated_from = dated_from + interval '2 microseconds'",
        ],
        "book_clock_goes_on",
    ),
    "a clock at the end of time": (
        ["UPDATE book_clock SET dated_from = 'infinity'"],
        "book_clock_goes_on",
    ),
    "another clock": (["INSERT INTO book_clock (single) VALUES (false)"], "ck_book_clock_one_row"),
    "no clock any more": (["UPDATE book_clock SET single = false"], "ck_book_clock_one_row"),
    "the same clock": (["INSERT INTO book_clock DEFAULT VALUES"], "pk_book_clock"),
    # Closes.
    "a close of what is not over": ([close(ends_at=":later")], "closed_is_sealed"),
    "a close of what is not sealed": ([close(ends_at=":before")], "closed_is_sealed"),
    "a close left out": ([close(number="2")], "closed_is_sealed"),
    "a close before the end": (
        [close(closed_at="'2020-01-31T20:59:59Z'")],
        "closed_is_sealed",
    ),
    "a close in the future": ([close(closed_at=":later")], "closed_is_sealed"),
    "a close under no head": (
        [close(seal_number="NULL", seal_hash="NULL")],
        "closed_is_sealed",
    ),
    "a close under another head": ([close(seal_hash=":another")], "closed_is_sealed"),
    "a close under a head to come": (
        [close(seal_number="2", seal_hash=":hash")],
        "closed_is_sealed",
    ),
    "a close of other journals": (
        [close(period="'2020-02'", ends_at=":head_before")],
        "closed_is_sealed",
    ),
    "the same close": ([close(), WITHOUT_GUARDS["closes"], close(period="'2020-02'")], "pk_closes"),
    "the same period": ([close(), close(number="2")], "uq_closes_period"),
    "a close of no seal": (
        [WITHOUT_GUARDS["closes"], close(seal_number="99")],
        "fk_closes_seals",
    ),
    "a close of no time": (
        [close(ends_at="'2019-12-31T21:00:00Z'")],
        "ck_closes_starts_before_end",
    ),
    "a period without a name": ([close(period="'January'")], "ck_closes_period_name"),
    "a zone without a name": ([close(zone="'a b'")], "ck_closes_zone_name"),
    "a short digest": ([close(digest="'x'")], "ck_closes_digest_is_sha256"),
    "half a head": (
        [WITHOUT_GUARDS["closes"], close(seal_hash="NULL")],
        "ck_closes_whole_anchor",
    ),
    # Names of former days, and where the days begin.
    "a former name of nobody": (
        ["INSERT INTO particulars (user_id, name, timezone) VALUES (:new, 'x', 'UTC')"],
        "fk_particulars_users",
    ),
    "a former name twice": (
        [
            (
                "INSERT INTO particulars (user_id, number, name, timezone) OVERRIDING SYSTEM VALUE"
                " SELECT user_id, number, 'x', 'UTC' FROM particulars WHERE user_id = :shop"
            )
        ],
        "pk_particulars",
    ),
    "a zone that is none": (
        ["UPDATE users SET timezone = 'a b' WHERE id = :shop"],
        "ck_users_timezone_name",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_database_refuses(
    roles: dict[str, Engine], sealed: dict[str, Any], connection: Connection, case: str
) -> None:
    statements, constraint = REFUSED[case]
    before = contents(connection)

    for name, role in roles.items():
        error = attack(role, sealed, *statements)
        # What the application's role may not even try is refused before the rule is asked.
        if name != "application" or sqlstate(error) != DENIED:
            assert constraint_name(error) == constraint, str(error)

    assert contents(connection) == before


def test_what_is_right_is_let_through(
    engine: Engine, connection: Connection, sealed: dict[str, Any]
) -> None:
    with engine.begin() as other:
        for statement in (close(), seal()):
            used = {name: value for name, value in sealed.items() if f":{name}" in statement}
            other.execute(text(statement), used)
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as reading:
        # The guards cannot tell what the audit log should say; the proof can.
        assert [each.detail for each in chain_check.check(reading)] == [
            "was not noted in the audit log"
        ]
    assert seal_service.seal(connection) == 0


JOURNAL = (
    "INSERT INTO journals (user_id, id, kind, adjustment_id, entry_count, created_at)"
    " VALUES (:shop, :new, 'adjustment', :waiting, 2, {}) RETURNING created_at"
)


@pytest.mark.parametrize("written", [":head_before", "'-infinity'", ":later", "NULL"])
@pytest.mark.parametrize("name", ["application", "owner", "superuser"])
def test_nobody_dates_a_journal(
    roles: dict[str, Engine], sealed: dict[str, Any], name: str, written: str
) -> None:
    statement = JOURNAL.format(written)
    used = {name: value for name, value in sealed.items() if f":{name}" in statement}
    with roles[name].connect() as writing:
        began = writing.scalar(text("SELECT clock_timestamp()"))
        dated = writing.scalar(text(statement), used)
        ended = writing.scalar(text("SELECT clock_timestamp()"))
        writing.rollback()
    assert began <= dated <= ended
    assert dated >= sealed["before"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_nobody_writes_a_journal_without_seeing_the_clock(
    roles: dict[str, Engine], sealed: dict[str, Any], level: str
) -> None:
    for role in roles.values():
        frozen = role.execution_options(isolation_level=level)
        error = attack(frozen, sealed, JOURNAL.format("now()"))
        assert constraint_name(error) == "journal_sees_the_clock"


@pytest.mark.parametrize("table", KEPT)
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_proofs_are_not_deleted(
    roles: dict[str, Engine], sealed: dict[str, Any], table: str, verb: str, connection: Connection
) -> None:
    before = contents(connection)

    errors = {name: attack(role, sealed, verb.format(table)) for name, role in roles.items()}

    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is kept" in str(error)
    assert contents(connection) == before


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_proofs_are_not_rewritten(
    roles: dict[str, Engine], sealed: dict[str, Any], table: str
) -> None:
    statement = f"UPDATE {table} SET {APPEND_ONLY[table]} = {APPEND_ONLY[table]}"
    if table == "closes":
        with roles["application"].begin() as closing:
            used = {name: sealed[name] for name in ("empty", "head_number", "head_hash")}
            closing.execute(text(close()), used)

    errors = {name: attack(role, sealed, statement) for name, role in roles.items()}

    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is append-only" in str(error)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO book_clock (single) VALUES (true)",
        "DELETE FROM book_clock",
        "INSERT INTO particulars (user_id, name, timezone) VALUES (:shop, 'x', 'UTC')",
        "DELETE FROM particulars",
        "UPDATE seals SET hash = hash",
        "DELETE FROM closes",
        "ALTER TABLE journals DISABLE TRIGGER journals_dated",
        "SET session_replication_role = replica",
    ],
)
def test_the_service_may_not_even_try(
    engine: Engine, sealed: dict[str, Any], connection: Connection, statement: str
) -> None:
    before = contents(connection)
    assert sqlstate(attack(engine, sealed, statement)) == DENIED
    assert contents(connection) == before


def test_every_rule_of_proof_has_been_attacked(connection: Connection) -> None:
    """A new CHECK, unique index, primary or foreign key fails this until somebody attacks it."""
    rules = connection.scalars(
        text(
            "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f', 'u', 'p')"
            " AND conrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
            " UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique"
            " AND indrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
            " UNION SELECT substring(prosrc FROM 'CONSTRAINT = ''(\\w+)''') FROM pg_proc"
            " WHERE oid IN (SELECT tgfoid FROM pg_trigger WHERE tgrelid ="
            " ANY (CAST(CAST(:tables AS text[]) AS regclass[]))) AND prosrc ~ 'CONSTRAINT = '"
        ),
        {"tables": list(TABLES)},
    )
    assert set(rules) <= {constraint for _, constraint in REFUSED.values()}
