"""The chain of seals: over every journal, in its order, whoever is posting meanwhile."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.clock import new_id
from standart.db import autocommit
from standart.errors import InvalidInput, Unavailable
from standart.services import chain, chain_check, seal_service, transaction_service, writers
from standart.services.chain import Link
from tests import movements
from tests.builders import ORIGIN, TestUser, make_transaction
from tests.integration.chain_attacks import behind, run
from tests.integration.concurrency import uncommitted, wait_until

SEALS = text("SELECT * FROM seals ORDER BY number")
MOMENTS = text("SELECT created_at FROM journals ORDER BY created_at, user_id, id")


def breaches(engine: Engine, *expected: chain_check.Expected) -> list[tuple[str, str]]:
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as connection:
        found = chain_check.check(connection, expected)
        return [(each.invariant, each.subject) for each in found]


def seals(connection: Connection) -> list[Any]:
    return list(connection.execute(SEALS))


def by_hand(connection: Connection, since: str, before: str) -> bytes:
    """The content of a seal made without the product's expression, from rows alone."""
    journals = connection.execute(
        text(
            "SELECT * FROM journals WHERE created_at >= :since AND created_at < :before"
            " ORDER BY created_at, user_id, id"
        ),
        {"since": since, "before": before},
    ).all()
    whole = ""
    for journal in journals:
        entries = connection.execute(
            text(
                "SELECT * FROM entries WHERE user_id = :user_id AND journal_id = :id ORDER BY line"
            ),
            {"user_id": journal.user_id, "id": journal.id},
        ).all()
        source = (
            journal.transaction_id
            or journal.refund_id
            or journal.payout_id
            or journal.adjustment_id
        )
        at = journal.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lines = ",".join(f"{e.line}:{e.currency}:{e.kind}:{e.amount}" for e in entries)
        whole += f"{journal.user_id}|{journal.id}|{journal.kind}|{source}|{at}|{lines}\n"
    return hashlib.sha256(whole.encode()).digest()


def test_a_clock_that_was_set_back_keeps_nobody_from_sealing(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    """What is posted meanwhile is of the clock's moment: of another one after each sweep."""
    mover = movements.Mover(connection, merchant.id)
    mover.adjust(1_000)
    seal_service.seal(connection)
    with behind(superuser) as ahead:
        run(ahead, "UPDATE book_clock SET dated_from = clock_timestamp() + interval '1 hour'")
    moments = []
    for amounts in ((500, 600), (700,)):
        for amount in amounts:
            mover.adjust(amount)
        moments.append(connection.scalar(text("SELECT max(created_at) FROM journals")))
        assert seal_service.seal(connection) == len(amounts)
        assert seal_service.seal(connection) == 0
    assert moments[1] - moments[0] == timedelta(microseconds=1)
    assert [each.journals for each in seals(connection)] == [1, 2, 1]
    lags = seal_service.lags(connection)
    assert lags.sealing == 0
    assert 3500 < lags.ahead <= 3600
    assert breaches(engine) == []


def test_nothing_posted_is_nothing_sealed(connection: Connection) -> None:
    assert seal_service.seal(connection) == 0
    assert chain.last(connection) is None
    assert seal_service.lag_seconds(connection) == 0
    assert seal_service.lags(connection).ahead == 0


@pytest.mark.parametrize("gap", ["1 minute", "2 hours", "3 days"])
def test_the_oldest_without_a_seal_is_found_however_long_the_gap_before_it(
    connection: Connection, superuser: Engine, merchant: TestUser, gap: str
) -> None:
    mover = movements.Mover(connection, merchant.id)
    mover.adjust(1_000)
    seal_service.seal(connection)
    mover.adjust(70)
    mover.adjust(80)
    with superuser.begin() as other:
        other.execute(text("SET LOCAL session_replication_role = replica"))
        # The first one was sealed long ago; of the others the older one is a day and a bit old.
        other.execute(text("UPDATE journals SET created_at = created_at - interval '30 hours'"))
        other.execute(
            text(
                "UPDATE seals SET before = CAST(:gap AS interval) * -1"
                " + (SELECT min(created_at) FROM journals WHERE created_at >= seals.before"
                " - interval '30 hours')"
            ),
            {"gap": gap},
        )
        other.execute(
            text(
                "UPDATE journals SET created_at = created_at - interval '9 days'"
                " WHERE created_at = (SELECT min(created_at) FROM journals)"
            )
        )
    oldest = 30 * 3600
    assert oldest <= seal_service.lag_seconds(connection) < oldest + 600


def test_a_seal_is_over_the_journals_and_the_seal_before(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    mover = movements.Mover(connection, merchant.id)
    mover.adjust(1_000)
    mover.adjust(500)
    assert seal_service.lag_seconds(connection) > 0
    assert seal_service.seal(connection) == 2
    mover.adjust(70)
    assert seal_service.seal(connection) == 1
    assert seal_service.seal(connection) == 0
    assert seal_service.lag_seconds(connection) == 0

    first, second = seals(connection)
    assert (first.number, first.journals, first.total, first.previous) == (1, 2, 2, bytes(32))
    assert (second.number, second.journals, second.total) == (2, 1, 3)
    assert second.previous == first.hash
    assert first.content == by_hand(connection, "-infinity", str(first.before))
    assert second.content == by_hand(connection, str(first.before), str(second.before))
    for each in (first, second):
        line = "|".join(
            [
                "standart-seal-1",
                str(each.number),
                each.before.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                str(each.journals),
                str(each.total),
                each.previous.hex(),
                each.content.hex(),
            ]
        )
        assert each.hash == hashlib.sha256(line.encode()).digest()
    head = chain.last(connection)
    assert head is not None
    assert str(head.anchor) == f"2:{second.hash.hex()}"
    assert breaches(engine, (None, first.hash), (2, second.hash)) == []


def test_a_long_stretch_takes_several_seals(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    mover = movements.Mover(connection, merchant.id)
    for amount in range(1, 8):
        mover.adjust(amount)
    assert seal_service.seal(connection, batch=3) == 7
    assert [each.journals for each in seals(connection)] == [3, 3, 1]
    assert breaches(engine) == []


def test_all_of_one_moment_are_in_one_seal(
    connection: Connection, superuser: Engine, engine: Engine, merchant: TestUser
) -> None:
    mover = movements.Mover(connection, merchant.id)
    for amount in range(1, 8):
        mover.adjust(amount)
    with superuser.begin() as behind:
        behind.execute(text("SET LOCAL session_replication_role = replica"))
        moments = list(behind.scalars(MOMENTS))
        behind.execute(
            text("UPDATE journals SET created_at = :at WHERE created_at BETWEEN :at AND :last"),
            {"at": moments[1], "last": moments[5]},
        )
    assert seal_service.seal(connection, batch=2) == 7
    assert [each.journals for each in seals(connection)] == [1, 5, 1]
    assert breaches(engine) == []


@pytest.mark.parametrize(
    "written",
    [
        "now() - interval '1 hour'",
        "'-infinity'",
        "now() + interval '1 hour'",
        "'infinity'",
        "NULL",
    ],
)
def test_a_journal_is_dated_between_what_is_sealed_and_the_present(
    written: str, connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    movements.Mover(connection, merchant.id).adjust(1_000)
    seal_service.seal(connection)
    raised = connection.scalar(text("SELECT dated_from FROM book_clock"))
    adjustment = {"user_id": merchant.id, "id": new_id()}
    with engine.connect() as writing:
        writing.execute(
            text(
                "INSERT INTO adjustments (user_id, id, kind, amount, currency, reason)"
                " VALUES (:user_id, :id, 'adjustment', 5, 'RUB', 'why')"
            ),
            adjustment,
        )
        dated = writing.scalar(
            text(
                "INSERT INTO journals (user_id, id, kind, adjustment_id, entry_count, created_at)"
                f" VALUES (:user_id, :id, 'adjustment', :id, 2, {written}) RETURNING created_at"
            ),
            adjustment,
        )
        present = writing.scalar(text("SELECT clock_timestamp()"))
        writing.rollback()
    assert raised <= dated <= present


def test_who_is_posting_is_waited_for(
    engine: Engine, connection: Connection, merchant: TestUser
) -> None:
    """The journal has its moment before the seal's, its commit comes after the sealing began."""
    with uncommitted(engine) as writing, ThreadPoolExecutor(1) as pool:
        movements.Mover(writing, merchant.id).adjust(500, opening=True)

        def work() -> int:
            with autocommit(engine) as own:
                return seal_service.seal(own)

        sealed = pool.submit(work)
        raised = text("SELECT dated_from > '1970-01-02' FROM book_clock")
        wait_until(lambda: bool(connection.scalar(raised)))
        writing.commit()
        assert sealed.result() == 1
    assert breaches(engine) == []


def test_who_posts_too_long_is_left_to_the_next_sweep(
    engine: Engine, connection: Connection, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "PAUSES", (0.001,))
    with uncommitted(engine) as writing:
        movements.Mover(writing, merchant.id).adjust(500, opening=True)
        with pytest.raises(Unavailable):
            seal_service.seal(connection)
        assert seals(connection) == []
        writing.commit()
    assert seal_service.seal(connection) == 1
    assert breaches(engine) == []


def test_sealing_among_writers_misses_nothing(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    made = [UUID(make_transaction(engine, merchant)["id"]) for _ in range(120)]
    done = threading.Event()

    def confirm(own: list[UUID]) -> None:
        with autocommit(engine) as each:
            for transaction_id in own:
                transaction_service.confirm(each, admin.digest, ORIGIN, transaction_id)

    def sweep() -> int:
        total = 0
        with autocommit(engine) as each:
            while not done.is_set():
                total += seal_service.seal(each, batch=7)
        return total

    with ThreadPoolExecutor(5) as pool:
        sweeps = [pool.submit(sweep) for _ in range(2)]
        for each in [pool.submit(confirm, made[part::3]) for part in range(3)]:
            each.result()
        done.set()
        sealed = sum(each.result() for each in sweeps)
    sealed += seal_service.seal(connection)
    assert sealed == 120
    assert [each.number for each in seals(connection)] == list(range(1, len(seals(connection)) + 1))
    assert breaches(engine) == []


def test_heads_are_read_with_and_without_a_number() -> None:
    hashed = "ab" * 32
    assert chain.parse_anchor(f"17:{hashed}") == (17, bytes.fromhex(hashed))
    assert chain.parse_anchor(f" {hashed.upper()}\n") == (None, bytes.fromhex(hashed))
    for wrong in ("", "17", f"0:{hashed}", f"-1:{hashed}", hashed[:-1], f"１:{hashed}", "z" * 64):
        with pytest.raises(InvalidInput):
            chain.parse_anchor(wrong)


def test_a_seal_on_the_wire_can_be_hashed_again(connection: Connection, merchant: TestUser) -> None:
    movements.Mover(connection, merchant.id).adjust(1_000)
    seal_service.seal(connection)
    link = chain.last(connection)
    assert isinstance(link, Link)
    wire = link.wire()
    line = "|".join(
        [
            "standart-seal-1",
            *(
                str(wire[name])
                for name in ("number", "before", "journals", "total", "previous", "content")
            ),
        ]
    )
    assert hashlib.sha256(line.encode()).hexdigest() == wire["hash"]
