"""``verify`` finds what was broken behind the guards, and names it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.services import chain_check, sums_service, transaction_service, verify_service
from standart.services.proof import sums
from tests import movements
from tests.builders import ORIGIN, TestUser, make_endpoint, make_transaction, make_user
from tests.integration.books import findings
from tests.integration.movements import body, paid, refund, refund_key

RECONCILED = (
    "INSERT INTO reconciliations (id, actor_name, file_name, file_digest, file_size, format,"
    " options, zone, starts_on, ends_before, date_tolerance, warnings, lines, skipped, matched,"
    " missing_here, missing_there, differing, totals) VALUES (:new, 'x', 'x', sha256('x'), 1,"
    " 'csv', '{}', 'UTC', '2026-01-01', '2026-01-02', 1, '{}', 1, %s, 0, 0, 0, '[]')"
)

# What breaks each invariant when the guards are switched off, in a transaction that is
# rolled back. Those that break no other invariant are in ALONE.
BROKEN = {
    "journal_sums_to_zero": "UPDATE entries SET amount = amount - 1 WHERE kind = 'clearing'",
    "journal_is_whole": "DELETE FROM entries",
    "balance_is_sum_of_entries": (
        "UPDATE balance_deltas SET amount = amount + 1 WHERE kind = 'commission'"
    ),
    "balance_is_sum_of_movements": (
        "UPDATE accounts SET balance = balance + 5 WHERE kind = 'available';"
        "UPDATE entries SET amount = amount + 5 WHERE (journal_id, kind) = (:journal, 'available')"
    ),
    "balance_is_not_negative": (
        "ALTER TABLE accounts DROP CONSTRAINT ck_accounts_guarded_not_negative;"
        "UPDATE accounts SET balance = -1000000 WHERE kind = 'pending_payout'"
    ),
    "confirmed_has_one_settlement": (
        "UPDATE transactions SET status = 'confirmed', finished_at = now() WHERE id = :pending"
    ),
    "settlement_matches_transaction": "UPDATE entries SET currency = 'USD'",
    "movement_has_its_journals": (
        "UPDATE payouts SET status = 'canceled', finished_at = now() WHERE id = :reserved"
    ),
    "journal_matches_its_source": (
        "UPDATE entries e SET kind = 'commission' FROM journals j"
        " WHERE j.id = e.journal_id AND j.refund_id = :refund AND e.kind = 'available'"
    ),
    "refunds_add_up": "UPDATE refund_totals SET refunded = refunded - 1",
    "refund_returns_its_share": (
        "UPDATE refunds SET commission_returned = commission_returned + 1 WHERE id = :refund"
    ),
    "late_payment_matches": "UPDATE transactions SET reference = 'x' WHERE id = :late",
    "fee_is_of_its_schedule": (
        "INSERT INTO fee_schedules (user_id, id, currency, rate) VALUES (:shop, :new, 'USD', 0.03);"
        "UPDATE transactions SET fee_schedule_id = :new, fee_fixed = 0, fee_minimum = 0"
        " WHERE id = :pending"
    ),
    "object_has_its_events": "DELETE FROM events WHERE transaction_id = :canceled",
    "event_has_its_sequence": "UPDATE events SET sequence = 3 WHERE refund_id = :refund",
    "endpoint_has_its_lane": "DELETE FROM webhook_lanes WHERE user_id = :shop",
    "hourly_sum_is_of_rows": "INSERT INTO hourly_sums VALUES ('RUB', 'created', now(), 1, 1, 1)",
    "merchant_sum_is_of_rows": (
        "INSERT INTO merchant_sums VALUES (:shop, 'RUB', 'expired', 1, 1, 1)"
    ),
    "merchant_hourly_sum_is_of_rows": (
        "INSERT INTO merchant_hourly_sums VALUES (:shop, 'RUB', 'expired', now(), 1, 1, 1)"
    ),
    "reconciliation_is_of_its_lines": RECONCILED % "0, 1",
    "reconciliation_is_as_noted": RECONCILED % "1, 0",
    "ending_was_in_time": (
        "ALTER TABLE transactions DROP CONSTRAINT ck_transactions_finished_in_time;"
        "UPDATE transactions SET finished_at = expires_at WHERE id = :confirmed"
    ),
    "act_has_audit_row": "DELETE FROM audit_log WHERE object_id = CAST(:canceled AS text)",
    "commission_follows_the_rule": (
        "ALTER TABLE transactions DROP CONSTRAINT ck_transactions_commission_rule;"
        "UPDATE transactions SET commission = commission + 1 WHERE id = :pending"
    ),
    "references_are_whole": "DELETE FROM users WHERE id = :other",
    "constraints_hold": (
        "ALTER TABLE users DROP CONSTRAINT ck_users_timezone_name;"
        "UPDATE users SET timezone = 'a b' WHERE id = :shop"
    ),
    "guards_are_on": "ALTER TABLE seals DISABLE TRIGGER seals_kept",
    "guards_are_as_made": "ALTER FUNCTION standart_note_particulars() SECURITY INVOKER",
}

# What has to be taken away before a rule can be broken is found missing as well.
_TAKEN_AWAY = {"guards_are_on", "constraints_hold"}

ALONE = {
    "refunds_add_up",
    "late_payment_matches",
    "fee_is_of_its_schedule",
    "event_has_its_sequence",
    "endpoint_has_its_lane",
    "hourly_sum_is_of_rows",
    "merchant_sum_is_of_rows",
    "merchant_hourly_sum_is_of_rows",
    "reconciliation_is_as_noted",
    "ending_was_in_time",
    "act_has_audit_row",
    "commission_follows_the_rule",
    "guards_are_on",
    "guards_are_as_made",
}

# Other ways to break an invariant that one way does not show.
ALSO_BROKEN = {
    "a guard is gone": ("DROP TRIGGER entries_append_only ON entries", "guards_are_on"),
    "a reserve nobody owes": (
        (
            "UPDATE balance_deltas SET kind = 'pending_payout' WHERE kind = 'available' AND id IN"
            " (SELECT min(id) FROM balance_deltas WHERE kind = 'available');"
            "UPDATE entries SET kind = 'pending_payout' WHERE (journal_id, kind)"
            " = (:journal, 'available')"
        ),
        "balance_is_sum_of_movements",
    ),
    "another currency": (
        (
            "UPDATE entries SET currency = 'USD' WHERE journal_id IN"
            " (SELECT id FROM journals WHERE kind = 'payout_paid')"
        ),
        "journal_matches_its_source",
    ),
    "posted and not posted": (
        "UPDATE adjustments SET status = 'posted', finished_at = now() WHERE id = :waiting",
        "movement_has_its_journals",
    ),
    "a journal of nothing": (
        "UPDATE adjustments SET status = 'canceled' WHERE id = :credit",
        "movement_has_its_journals",
    ),
    "paid and given back": (
        (
            "INSERT INTO journals (user_id, id, kind, payout_id, entry_count)"
            " VALUES (:shop, :new, 'payout_returned', :payout_paid, 2)"
        ),
        "movement_has_its_journals",
    ),
    "a refund of a canceled one": (
        "UPDATE refunds SET transaction_id = :canceled WHERE id = :refund",
        "refunds_add_up",
    ),
    "a refund without its sum": ("DELETE FROM refund_totals", "refunds_add_up"),
    "a sum without its refunds": (
        "UPDATE refund_totals SET transaction_id = :late",
        "refunds_add_up",
    ),
    "commission nobody wanted back": (
        "UPDATE refunds SET refund_commission = true WHERE id = :second_refund",
        "refund_returns_its_share",
    ),
    "a refund nobody was told of": (
        "DELETE FROM events WHERE refund_id = :refund",
        "object_has_its_events",
    ),
    "a payout that was told of twice": (
        (
            "INSERT INTO events (user_id, id, payout_id, type, sequence, payload)"
            " VALUES (:shop, :new, :payout_paid, 'payout.failed', 3, '{}')"
        ),
        "object_has_its_events",
    ),
    "an adjustment nobody was told of": (
        "DELETE FROM events WHERE type = 'balance.adjusted'",
        "object_has_its_events",
    ),
    "a payout nobody paid": (
        "DELETE FROM audit_log WHERE action = 'payout.paid'",
        "act_has_audit_row",
    ),
    "an adjustment nobody made": (
        "DELETE FROM audit_log WHERE action = 'adjustment.posted'",
        "act_has_audit_row",
    ),
    "a late payment told as a second change": (
        "UPDATE events SET sequence = 2 WHERE transaction_id = :late",
        "event_has_its_sequence",
    ),
    "a change told under another number": (
        (
            "UPDATE events SET payload = replace(payload, 'sequence\"\\:2', 'sequence\"\\:1')"
            " WHERE transaction_id = :canceled"
        ),
        "event_has_its_sequence",
    ),
    "a creation told late": (
        (
            "INSERT INTO events (user_id, id, transaction_id, type, sequence, payload)"
            " VALUES (:shop, :new, :pending, 'transaction.created', 2, '{}')"
        ),
        "event_has_its_sequence",
    ),
    "a user without a receiver of its own": (
        "DELETE FROM webhook_endpoints WHERE id = :shop",
        "endpoint_has_its_lane",
    ),
    "late for a confirmed one": (
        "UPDATE transactions SET late_for = :confirmed WHERE id = :late",
        "late_payment_matches",
    ),
    "a fee above its maximum": (
        (
            "ALTER TABLE transactions DROP CONSTRAINT ck_transactions_commission_rule;"
            "INSERT INTO fee_schedules (user_id, id, currency, rate, maximum, starts_at)"
            " VALUES (:shop, :new, 'RUB', 0.03, 100, '2020-01-01');"
            "UPDATE transactions SET fee_schedule_id = :new, fee_fixed = 0, fee_minimum = 0,"
            " fee_maximum = 100 WHERE id = :pending"
        ),
        "commission_follows_the_rule",
    ),
    "a fee before its time": (
        (
            "INSERT INTO fee_schedules (user_id, id, currency, rate, starts_at)"
            " VALUES (:shop, :new, 'RUB', 0.03, '2999-01-01');"
            "UPDATE transactions SET fee_schedule_id = :new, fee_fixed = 0, fee_minimum = 0"
            " WHERE id = :pending"
        ),
        "fee_is_of_its_schedule",
    ),
}


def broken_by(superuser: Engine, names: dict[str, Any], statements: str) -> set[str]:
    with superuser.connect() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements.split(";"):
            used = {name: value for name, value in names.items() if f":{name}" in statement}
            assert connection.execute(text(statement), used).rowcount != 0, statement
        found = {finding.invariant for finding in verify_service.verify(connection)}
        connection.rollback()
    return found


@pytest.mark.parametrize("invariant", BROKEN)
def test_verify_finds_what_was_broken_behind_the_guards(
    superuser: Engine, engine: Engine, books: dict[str, Any], invariant: str
) -> None:
    assert findings(engine) == []

    found = broken_by(superuser, books, BROKEN[invariant])

    assert invariant in found
    taken_away = _TAKEN_AWAY if "DROP CONSTRAINT" in BROKEN[invariant] else set()
    assert invariant not in ALONE or found - taken_away == {invariant} - taken_away
    assert findings(engine) == []


@pytest.mark.parametrize("way", ALSO_BROKEN)
def test_verify_finds_it_whichever_way_it_was_broken(
    superuser: Engine, books: dict[str, Any], way: str
) -> None:
    statements, invariant = ALSO_BROKEN[way]
    assert invariant in broken_by(superuser, books, statements)


def test_every_kind_of_movement_leaves_the_accounts_as_reckoned_by_hand(
    connection: Connection, engine: Engine, names: dict[str, Any]
) -> None:
    movements.every_kind(connection, names["shop"], names["confirmed"])
    rows = connection.execute(text("SELECT kind, balance FROM account_balances"))
    assert {row.kind: row.balance for row in rows} == movements.AFTER_EVERY_KIND
    assert sum(movements.AFTER_EVERY_KIND.values()) == 0
    assert findings(engine) == []


def test_a_creation_that_was_told_is_right(
    engine: Engine, keyring: Keyring, connection: Connection, admin: TestUser
) -> None:
    shop = make_user(engine, keyring)
    make_endpoint(engine, keyring, shop, url="https://shop.example/")
    pending, ended = (UUID(make_transaction(engine, shop)["id"]) for _ in range(2))
    transaction_service.confirm(connection, admin.digest, ORIGIN, ended)
    told = connection.execute(text("SELECT transaction_id, type, sequence FROM events"))
    assert sorted(map(tuple, told)) == sorted(
        [
            (pending, "transaction.created", 1),
            (ended, "transaction.created", 1),
            (ended, "transaction.confirmed", 2),
        ]
    )
    assert findings(engine) == []


def test_every_invariant_has_been_broken_here() -> None:
    of_the_chain = set(chain_check.INVARIANTS)
    assert set(BROKEN) == set(verify_service.INVARIANTS) - of_the_chain


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


@pytest.mark.parametrize("returned", [0, 99, 101, 200])
def test_verify_knows_each_share_among_refunds_that_keep_theirs(
    superuser: Engine, engine: Engine, merchant: TestUser, admin: TestUser, returned: int
) -> None:
    made, key = paid(engine, admin, merchant), refund_key(engine, merchant)
    refund(engine, key, made, "33.33")()
    given = body(refund(engine, key, made, "33.33", refund_commission=True)())
    refund(engine, key, made, "30.00")()
    assert given["commission_returned"] == "1.00"
    assert findings(engine) == []

    with superuser.connect() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        wrong = {"id": given["id"], "returned": returned}
        connection.execute(
            text("UPDATE refunds SET commission_returned = :returned WHERE id = :id"), wrong
        )
        shares = [
            each
            for each in verify_service.verify(connection)
            if each.invariant == "refund_returns_its_share"
        ]
        connection.rollback()

    assert [(each.subject, each.detail) for each in shares] == [
        (f"{merchant.id}/{given['id']}", f"returned {returned}, share 100")
    ]


def test_verify_names_the_row_and_both_figures(superuser: Engine, names: dict[str, Any]) -> None:
    with superuser.connect() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text("UPDATE balance_deltas SET amount = amount + 1 WHERE kind = 'commission'")
        )
        found = {each.invariant: each for each in verify_service.verify(connection)}
        connection.rollback()

    assert found.keys() == {"balance_is_sum_of_entries", "balance_is_sum_of_movements"}
    finding = found["balance_is_sum_of_entries"]
    assert finding.subject == f"{names['shop']}/RUB/commission"
    assert finding.detail == "kept 301, shown 301, entries 300"


def test_an_hour_that_passes_during_a_proof_is_right_all_the_same(
    superuser: Engine, engine: Engine, connection: Connection, merchant: TestUser
) -> None:
    """Where the oldest hour that is proven passes between the two sides of a comparison."""
    make_transaction(engine, merchant)
    assert sums_service.keep(connection) == 1
    with superuser.connect() as proving:
        for statement in (
            "SET LOCAL session_replication_role = replica",
            "UPDATE transactions SET created_at = created_at - interval '34 days'",
            "UPDATE merchant_hourly_sums SET hour = hour - interval '34 days'",
            "UPDATE hourly_sums SET hour = hour - interval '34 days'",
            "CREATE SCHEMA odd",
            "CREATE SEQUENCE odd.looks",
            # The first look is in the hour of the row, the second one in the hour after.
            (
                "CREATE FUNCTION odd.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
                " $$ SELECT date_trunc('hour', pg_catalog.clock_timestamp(), 'UTC')"
                " + (2 * nextval('odd.looks') - 3) * interval '1 second' $$"
            ),
            "SET LOCAL search_path = odd, public, pg_catalog",
        ):
            proving.execute(text(statement))
        found = [each.invariant for each in sums.check(proving)]
        proving.rollback()
    assert found == []


def test_a_view_that_shows_what_should_be_there_hides_nothing(
    superuser: Engine, books: dict[str, Any]
) -> None:
    assert "balance_is_sum_of_entries" in broken_by(
        superuser,
        books,
        "CREATE OR REPLACE VIEW account_balances AS SELECT user_id, currency, kind::text AS kind,"
        " sum(amount)::bigint AS balance FROM entries GROUP BY 1, 2, 3;"
        "UPDATE accounts SET balance = balance + 5 WHERE kind = 'available'",
    )


def test_a_view_that_shows_something_else_is_found(
    superuser: Engine, books: dict[str, Any]
) -> None:
    found = broken_by(
        superuser,
        books,
        "CREATE OR REPLACE VIEW account_balances AS SELECT user_id, currency, kind::text AS kind,"
        " (sum(amount) + 5)::bigint AS balance FROM entries GROUP BY 1, 2, 3",
    )
    assert found == {"balance_is_sum_of_entries"}
