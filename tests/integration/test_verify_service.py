"""``verify`` finds what was broken behind the guards, and names it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from standart.services import ledger_service
from tests.integration.books import findings

# What breaks each invariant when the guards are switched off, in a transaction that is
# rolled back; and every invariant that this breaks.
BROKEN = {
    "journal_sums_to_zero": "UPDATE entries SET amount = amount - 1 WHERE kind = 'clearing'",
    "journal_is_whole": "DELETE FROM entries",
    "balance_is_sum_of_entries": (
        "UPDATE balance_deltas SET amount = amount + 1 WHERE kind = 'commission'"
    ),
    "balance_is_sum_of_nets": (
        "INSERT INTO accounts VALUES (:shop, 'RUB', 'available', 5);"
        "UPDATE entries SET amount = amount + 5 WHERE kind = 'available'"
    ),
    "confirmed_has_one_settlement": (
        "UPDATE transactions SET status = 'confirmed', finished_at = now() WHERE id = :pending"
    ),
    "settlement_matches_transaction": "UPDATE entries SET currency = 'USD'",
    "ending_has_one_event": "DELETE FROM events WHERE transaction_id = :canceled",
    "ending_was_in_time": (
        "ALTER TABLE transactions DROP CONSTRAINT ck_transactions_finished_in_time;"
        "UPDATE transactions SET finished_at = expires_at WHERE id = :canceled"
    ),
    "ending_has_audit_row": "DELETE FROM audit_log WHERE object_id = CAST(:canceled AS text)",
    "commission_follows_the_rule": (
        "ALTER TABLE transactions DROP CONSTRAINT ck_transactions_commission_rule;"
        "UPDATE transactions SET commission = commission + 1 WHERE id = :pending"
    ),
}
ALONE = {
    "balance_is_sum_of_entries",
    "ending_has_one_event",
    "ending_was_in_time",
    "ending_has_audit_row",
    "commission_follows_the_rule",
}


def broken_by(superuser: Engine, names: dict[str, Any], statements: str) -> set[str]:
    with superuser.connect() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements.split(";"):
            used = {name: value for name, value in names.items() if f":{name}" in statement}
            connection.execute(text(statement), used)
        found = {finding.invariant for finding in ledger_service.verify(connection)}
        connection.rollback()
    return found


@pytest.mark.parametrize("invariant", BROKEN)
def test_verify_finds_what_was_broken_behind_the_guards(
    superuser: Engine, engine: Engine, names: dict[str, Any], invariant: str
) -> None:
    assert findings(engine) == []

    found = broken_by(superuser, names, BROKEN[invariant])

    assert invariant in found
    assert invariant not in ALONE or found == {invariant}
    assert findings(engine) == []


def test_every_invariant_has_been_broken_here() -> None:
    known = {*ledger_service._INVARIANTS, "commission_follows_the_rule"}
    assert set(BROKEN) == known


def test_verify_finds_lines_added_to_an_old_settlement(
    superuser: Engine, names: dict[str, Any]
) -> None:
    found = broken_by(
        superuser,
        names,
        "INSERT INTO entries (user_id, journal_id, line, currency, kind, amount) VALUES"
        " (:shop, :journal, 4, 'RUB', 'clearing', -5),"
        " (:shop, :journal, 5, 'RUB', 'available', 5)",
    )
    assert "settlement_matches_transaction" in found


def test_verify_names_the_row_and_both_figures(superuser: Engine, names: dict[str, Any]) -> None:
    with superuser.connect() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text("UPDATE balance_deltas SET amount = amount + 1 WHERE kind = 'commission'")
        )
        [finding] = ledger_service.verify(connection)
        connection.rollback()

    assert finding.invariant == "balance_is_sum_of_entries"
    assert finding.subject == f"{names['shop']}/RUB/commission"
    assert finding.detail == "kept 301, entries 300"
