"""What the owner of the database can do to the books without breaking any rule of them.

Each attack leaves sums, balances, events and audit log right: the chain alone shows it, or a
head of it that was kept outside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, text

from standart.services import chain, close_service, ledger_service, seal_service, verify_service
from standart.services.chain_check import INVARIANTS, Expected
from tests import movements
from tests.builders import ORIGIN, TestUser
from tests.integration.chain_attacks import (
    behind,
    change_everywhere,
    forget,
    rebuild,
    reclose,
    run,
)

LAST_SEAL = "DELETE FROM seals WHERE number = 3"


@dataclass(frozen=True)
class Sealed:
    """Three seals over two journals each, the first two dated and closed yesterday."""

    shop: UUID
    adjustments: list[UUID]
    journals: list[UUID]
    heads: list[Expected]

    def names(self, number: int) -> dict[str, Any]:
        """What stands for the journal of this number, from 0, in an attack."""
        return {
            "shop": self.shop,
            "adjustment": self.adjustments[number],
            "journal": self.journals[number],
        }


@pytest.fixture
def sealed(
    connection: Connection, superuser: Engine, merchant: TestUser, admin: TestUser
) -> Sealed:
    mover = movements.Mover(connection, merchant.id)
    made: list[UUID] = []
    heads: list[Expected] = []
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for number in range(3):
        made += [mover.adjust(10_000), mover.adjust(20_000)]
        if number == 0:
            with behind(superuser) as dating:
                run(
                    dating,
                    "UPDATE journals SET created_at = created_at - interval '1 day'",
                    "UPDATE book_clock SET dated_from = :at",
                    at=yesterday,
                )
        seal_service.seal(connection)
        if number == 0:
            day = yesterday.date().isoformat()
            close_service.close(connection, admin.digest, ORIGIN, period=day, zone=ZoneInfo("UTC"))
        head = chain.last(connection)
        assert head is not None
        heads.append((head.number, head.hash))
    ledger_service.fold_deltas(connection)
    journals = connection.execute(text("SELECT adjustment_id, id FROM journals"))
    by_source = {row.adjustment_id: row.id for row in journals}
    assert [number for number, _ in heads] == [1, 2, 3]
    return Sealed(merchant.id, made, [by_source[each] for each in made], heads)


def found(engine: Engine, *expected: Expected) -> dict[str, list[str]]:
    """What is wrong, by invariant: subject and detail."""
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    wrong = defaultdict(list)
    with snapshot.connect() as reading:
        for each in verify_service.verify(reading, expected):
            wrong[each.invariant].append(f"{each.subject}: {each.detail}")
    return dict(wrong)


def test_nothing_is_wrong_with_what_nobody_touched(engine: Engine, sealed: Sealed) -> None:
    without_number: list[Expected] = [(None, hashed) for _, hashed in sealed.heads]
    assert found(engine, *sealed.heads, *without_number) == {}


def change_an_old_entry(connection: Connection, sealed: Sealed) -> None:
    change_everywhere(connection, **sealed.names(2))


def move_a_moment(connection: Connection, sealed: Sealed) -> None:
    run(
        connection,
        "UPDATE journals SET created_at = created_at + interval '1 microsecond'"
        " WHERE id = :journal",
        journal=sealed.journals[2],
    )


def remove_a_journal(connection: Connection, sealed: Sealed) -> None:
    forget(connection, **sealed.names(2))


def slip_one_in(connection: Connection, sealed: Sealed) -> None:
    """A journal of today gets the date of an older one's neighbour."""
    run(
        connection,
        "UPDATE journals SET created_at = (SELECT created_at + interval '1 microsecond'"
        " FROM journals WHERE id = :old) WHERE id = :journal",
        old=sealed.journals[2],
        journal=sealed.journals[5],
    )


def swap_two(connection: Connection, sealed: Sealed) -> None:
    """Two journals change their moments, over the border of their seals."""
    run(
        connection,
        "UPDATE journals j SET created_at = o.created_at FROM journals o"
        " WHERE j.id IN (:one, :other) AND o.id IN (:one, :other) AND o.id <> j.id",
        one=sealed.journals[2],
        other=sealed.journals[4],
    )


def remove_a_seal(connection: Connection, sealed: Sealed) -> None:
    run(connection, "DELETE FROM seals WHERE number = 2")


def replace_the_first_seal(connection: Connection, sealed: Sealed) -> None:
    change_everywhere(connection, **sealed.names(0))
    link = connection.execute(text("SELECT * FROM seals WHERE number = 1")).one()
    rebuild(connection)
    made = connection.execute(text("SELECT hash FROM seals WHERE number = 1")).scalar_one()
    assert made != link.hash
    # The rest of the chain stays as it was.
    run(
        connection,
        "UPDATE seals SET previous = :old, hash = :second WHERE number = 2",
        old=link.hash,
        second=sealed.heads[1][1],
    )
    run(
        connection,
        "UPDATE seals SET previous = :second, hash = :third WHERE number = 3",
        second=sealed.heads[1][1],
        third=sealed.heads[2][1],
    )


def rebuild_all_but_the_closes(connection: Connection, sealed: Sealed) -> None:
    change_everywhere(connection, **sealed.names(0))
    rebuild(connection)


# What each attack breaks, and what the report says of it.
ATTACKS: dict[str, tuple[Callable[[Connection, Sealed], None], dict[str, str]]] = {
    "an old entry is changed": (
        change_an_old_entry,
        {"sealed_journals_are_unchanged": "is not as it was sealed"},
    ),
    "a moment is moved": (
        move_a_moment,
        {"sealed_journals_are_unchanged": "is not as it was sealed"},
    ),
    "a journal is removed with its traces": (
        remove_a_journal,
        {"sealed_journals_are_unchanged": "1 of 2 journals are gone"},
    ),
    "a journal is slipped in": (
        slip_one_in,
        {"sealed_journals_are_unchanged": "was added later"},
    ),
    "two journals are swapped": (
        swap_two,
        {"sealed_journals_are_unchanged": "is not as it was sealed"},
    ),
    "a seal is removed": (remove_a_seal, {"chain_has_no_gap": "seal 2 was removed"}),
    "the first seal is replaced": (
        replace_the_first_seal,
        {
            "seal_follows_the_one_before": "seal 2: names",
            "close_is_unchanged": "the chain was rebuilt",
        },
    ),
    "all is rebuilt but the closes": (
        rebuild_all_but_the_closes,
        {"close_is_unchanged": "journals with digest"},
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_done_behind_the_chain_is_found_and_named(
    engine: Engine, superuser: Engine, sealed: Sealed, attack: str
) -> None:
    act, expected = ATTACKS[attack]
    with behind(superuser) as connection:
        act(connection, sealed)

    wrong = found(engine)

    assert set(wrong) >= set(expected)
    # No sum, no balance, no event and no audit row gives it away: only the chain does.
    assert set(wrong) <= set(INVARIANTS)
    for invariant, said in expected.items():
        assert any(said in each for each in wrong[invariant]), wrong


def test_the_changed_journal_is_named(engine: Engine, superuser: Engine, sealed: Sealed) -> None:
    with behind(superuser) as connection:
        change_everywhere(connection, **sealed.names(3))
    (only,) = found(engine)["sealed_journals_are_unchanged"]
    assert only.startswith(f"{sealed.shop}/{sealed.journals[3]}: ")
    assert "seal 2, from " in only


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        ("hash = sha256('x')", "seal_follows_from_its_fields"),
        ("content = sha256('x')", "seal_follows_from_its_fields"),
        ("previous = sha256('x')", "seal_follows_the_one_before"),
        ("total = total + 1", "seal_follows_the_one_before"),
        ("before = before + interval '1 microsecond'", "seal_follows_from_its_fields"),
        ("journals = 1, marks = substring(marks FOR 8)", "seal_follows_from_its_fields"),
        ("number = 9", "chain_has_no_gap"),
    ],
)
def test_no_field_of_a_seal_can_be_edited(
    engine: Engine, superuser: Engine, sealed: Sealed, change: str, invariant: str
) -> None:
    with behind(superuser) as connection:
        run(connection, f"UPDATE seals SET {change} WHERE number = 2")
    assert invariant in found(engine)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM closes", "is gone"),
        ("UPDATE closes SET seal_number = NULL, seal_hash = NULL", "is not as it was noted"),
        ("UPDATE closes SET ends_at = ends_at + interval '1 minute'", "is not as it was noted"),
        ("UPDATE closes SET closed_by = 'somebody'", "is not as it was noted"),
        ("UPDATE closes SET number = 2", "close 1 was removed before it"),
        ("DELETE FROM audit_log WHERE action = 'period.closed'", "was not noted"),
    ],
)
def test_no_close_can_be_edited_or_removed(
    engine: Engine, superuser: Engine, sealed: Sealed, change: str, said: str
) -> None:
    with behind(superuser) as connection:
        run(connection, change)
    wrong = found(engine)
    assert list(wrong) == ["close_is_unchanged"]
    assert any(said in each for each in wrong["close_is_unchanged"]), wrong


@pytest.mark.parametrize(
    "change",
    [
        (
            "ALTER TABLE journals DROP CONSTRAINT ck_journals_kind,"
            " DROP CONSTRAINT ck_journals_has_its_source;"
            " UPDATE journals SET kind = 'выплата' WHERE id = '{journal}'"
        ),
        (
            "ALTER TABLE journals ALTER created_at DROP NOT NULL;"
            " UPDATE journals SET created_at = NULL WHERE id = '{journal}'"
        ),
        "UPDATE journals SET created_at = '-infinity' WHERE id = '{journal}'",
        "UPDATE journals SET created_at = 'infinity' WHERE id = '{journal}'",
        "UPDATE journals SET created_at = '0044-03-15 BC' WHERE id = '{journal}'",
        "UPDATE journals SET created_at = '20000-01-01' WHERE id = '{journal}'",
    ],
    ids=["letters", "no moment", "before all time", "never", "before Christ", "year 20000"],
)
def test_damage_is_a_finding_and_ends_no_proof(
    engine: Engine, superuser: Engine, sealed: Sealed, change: str
) -> None:
    """In a transaction of its own that is taken back, since it changes tables."""
    with behind(superuser) as connection:
        connection.exec_driver_sql(change.format(journal=sealed.journals[2]))
        wrong = {each.invariant for each in verify_service.verify(connection)}
        connection.rollback()
    assert "sealed_journals_are_unchanged" in wrong


def test_a_seal_of_no_moment_is_a_finding(
    engine: Engine, superuser: Engine, sealed: Sealed
) -> None:
    for moment in ("infinity", "-infinity", "20000-01-01", "0044-03-15 BC"):
        with behind(superuser) as connection:
            run(connection, f"UPDATE seals SET before = '{moment}' WHERE number = 3")
        assert "seal_follows_from_its_fields" in found(engine), moment


def test_edited_marks_hide_no_change(engine: Engine, superuser: Engine, sealed: Sealed) -> None:
    with behind(superuser) as connection:
        change_everywhere(connection, **sealed.names(2))
        kept = connection.execute(text("SELECT content, hash FROM seals WHERE number = 2")).one()
        rebuild(connection)
        # As it was but for the marks, which are those of the changed journal now.
        run(
            connection,
            "UPDATE seals SET content = :content, hash = :hash WHERE number = 2",
            **kept._asdict(),
        )
        run(
            connection,
            "UPDATE seals SET previous = :second, hash = :third WHERE number = 3",
            second=kept.hash,
            third=sealed.heads[2][1],
        )
    wrong = found(engine)
    assert set(wrong) == {"sealed_journals_are_unchanged"}
    assert wrong["sealed_journals_are_unchanged"][0].startswith("seal 2: ")


def test_a_lost_end_is_found_by_the_head_that_was_kept(
    engine: Engine, superuser: Engine, sealed: Sealed
) -> None:
    with behind(superuser) as connection:
        run(connection, LAST_SEAL)
    assert found(engine) == {}
    assert found(engine, *sealed.heads[:2]) == {}
    number, hashed = sealed.heads[2]
    wrong = found(engine, (number, hashed), (None, hashed))
    by_number, by_hash = wrong.pop("chain_has_the_expected_head")
    assert wrong == {}
    assert by_number.endswith("the chain was cut: it ends with seal 2")
    assert "no seal has this hash" in by_hash


def test_a_tail_that_was_cut_with_all_traces_is_found_by_the_head_that_was_kept(
    engine: Engine, superuser: Engine, sealed: Sealed
) -> None:
    with behind(superuser) as connection:
        forget(connection, **sealed.names(4))
        forget(connection, **sealed.names(5))
        run(connection, LAST_SEAL)
    assert found(engine) == {}
    wrong = found(engine, sealed.heads[2])
    assert list(wrong) == ["chain_has_the_expected_head"]
    assert "the chain was cut" in wrong["chain_has_the_expected_head"][0]


def test_a_chain_made_anew_is_found_by_the_head_that_was_kept(
    engine: Engine, superuser: Engine, sealed: Sealed
) -> None:
    with behind(superuser) as connection:
        change_everywhere(connection, **sealed.names(0))
        rebuild(connection)
        reclose(connection)
    assert found(engine) == {}
    for kept in sealed.heads:
        wrong = found(engine, kept)
        assert list(wrong) == ["chain_has_the_expected_head"]
        assert "the chain was rebuilt" in wrong["chain_has_the_expected_head"][0]
