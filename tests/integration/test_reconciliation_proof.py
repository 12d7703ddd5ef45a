"""``verify`` names a kept reconciliation that is no longer what its lines say."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.models import Outcome
from standart.services import transaction_service, verify_service
from standart.services.reconciliation_list import Run
from tests.builders import ORIGIN, TestUser, make_transaction
from tests.integration.books import findings
from tests.integration.test_reconciliation_service import counts, kept, line

LINES, NOTED = "reconciliation_is_of_its_lines", "reconciliation_is_as_noted"

TAMPERED = {
    "a count": (
        "UPDATE reconciliations SET missing_here = 0, skipped = skipped + 1",
        {LINES, NOTED},
    ),
    "a count, and its note": (
        (
            "UPDATE reconciliations SET missing_here = 0, skipped = skipped + 1;"
            "UPDATE audit_log SET after = jsonb_set(after, '{missing_here}', '0')"
            " WHERE action = 'reconciliation.run'"
        ),
        {LINES},
    ),
    "a line that was missing here": (
        "DELETE FROM reconciliation_rows WHERE outcome = 'missing_here'",
        {LINES},
    ),
    "the sum of a line": (
        "UPDATE reconciliation_rows SET amount = amount - 1 WHERE outcome = 'missing_here'",
        {LINES},
    ),
    "our sum of a line": (
        "UPDATE reconciliation_rows SET our_amount = our_amount - 1 WHERE outcome = 'matched'",
        {LINES},
    ),
    "a kept sum": (
        "UPDATE reconciliations SET totals = jsonb_set(totals, '{0,amount}', '1')",
        {LINES},
    ),
    "our kept count": (
        "UPDATE reconciliations SET totals = jsonb_set(totals, '{0,our_count}', '7')",
        {LINES},
    ),
    "a sum that is there twice": (
        "UPDATE reconciliations SET totals = totals || (totals -> 0)",
        {LINES},
    ),
    "no sums": ("UPDATE reconciliations SET totals = '[]'", {LINES}),
    "sums that are none": ("UPDATE reconciliations SET totals = '7'", {LINES}),
    "another file": (
        "UPDATE reconciliations SET file_digest = sha256(file_digest)",
        {NOTED},
    ),
    "a run that nobody noted": (
        "DELETE FROM audit_log WHERE action = 'reconciliation.run'",
        {NOTED},
    ),
    "a run that is gone": (
        "DELETE FROM reconciliation_rows; DELETE FROM reconciliations",
        {NOTED},
    ),
}


@pytest.fixture
def reconciled(connection: Connection, merchant: TestUser, admin: TestUser, engine: Engine) -> Run:
    """A run with every outcome, a duplicate, and an attempt that failed before it was paid."""
    ids = [make_transaction(engine, merchant, reference=name)["id"] for name in "ABCD"]
    for each in ids[:3]:
        transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(each))
    return kept(
        connection,
        line("A", fee="1.00"),
        line("A", status="failed"),
        line("A"),
        line("B", amount="99.00"),
        line("D", status="failed"),
        line("D", status="failed"),
        line("nobody's", amount="7.00"),
    )


@pytest.mark.parametrize("way", TAMPERED)
def test_what_was_tampered_with_is_named(
    superuser: Engine, engine: Engine, reconciled: Run, way: str
) -> None:
    statements, broken = TAMPERED[way]
    assert set(counts(reconciled)) == {each.value for each in Outcome}
    assert findings(engine) == []

    with superuser.connect() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements.split(";"):
            assert connection.execute(text(statement)).rowcount > 0
        found = {each.invariant for each in verify_service.verify(connection)}
        connection.rollback()

    assert found == broken
