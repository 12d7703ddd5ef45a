"""The rules that the database holds by itself, attacked with plain SQL by every role."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import constraint_name, sqlstate
from standart.services import transaction_service
from tests.builders import row_counts
from tests.integration.attacks import DENIED, attack, born

APPEND_ONLY = {
    "journals": "kind",
    "entries": "amount",
    "events": "payload",
    "attempts": "outcome",
    "audit_log": "action",
}
NEVER_DELETED = ("transactions", *APPEND_ONLY)


@pytest.mark.parametrize(
    "change",
    [
        "status = 'pending', finished_at = NULL",
        "status = 'canceled'",
        "status = 'confirmed'",
        "status = 'expired', finished_at = expires_at",
        "reason = 'other'",
        "finished_at = finished_at - interval '1 second'",
    ],
)
@pytest.mark.parametrize("ended", ["confirmed", "canceled"])
def test_an_ended_transaction_never_changes(
    roles: dict[str, Engine], names: dict[str, Any], change: str, ended: str
) -> None:
    for role in roles.values():
        error = attack(role, names, f"UPDATE transactions SET {change} WHERE id = :{ended}")
        assert "a terminal status and the terms of a transaction are final" in str(error)


@pytest.mark.parametrize(
    "change",
    [
        "amount = 1, commission = 0",
        "commission_rate = 0.05, commission = 500",
        "commission = commission + 1",
        "currency = 'USD'",
        "user_id = :other",
        "id = :new",
        "created_at = created_at - interval '1 second'",
        "expires_at = expires_at + interval '1 second'",
        'metadata = \'{"a": "b"}\'',
        "reference = NULL",
        "description = 'other'",
    ],
)
def test_the_terms_of_a_pending_transaction_never_change(
    roles: dict[str, Engine], names: dict[str, Any], change: str
) -> None:
    for role in roles.values():
        error = attack(role, names, f"UPDATE transactions SET {change} WHERE id = :pending")
        assert "a terminal status and the terms of a transaction are final" in str(error)


@pytest.mark.parametrize("table", NEVER_DELETED)
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_history_is_not_deleted(
    roles: dict[str, Engine],
    names: dict[str, Any],
    table: str,
    verb: str,
    connection: Connection,
) -> None:
    before = row_counts(connection)

    errors = {name: attack(role, names, verb.format(table)) for name, role in roles.items()}

    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is kept" in str(error)
    assert row_counts(connection) == before


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_history_is_not_rewritten(
    roles: dict[str, Engine], names: dict[str, Any], table: str
) -> None:
    statement = f"UPDATE {table} SET {APPEND_ONLY[table]} = {APPEND_ONLY[table]}"

    errors = {name: attack(role, names, statement) for name, role in roles.items()}

    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is append-only" in str(error)


JOURNAL = "INSERT INTO journals (user_id, id, kind, transaction_id, entry_count) VALUES "
ENTRIES = "INSERT INTO entries (user_id, journal_id, line, currency, kind, amount) VALUES "
EVENT = "INSERT INTO events (user_id, id, transaction_id, type, payload, sequence) VALUES "
DELIVERY = "INSERT INTO deliveries (user_id, id, event_id, endpoint_id) VALUES "
ATTEMPT = (
    "INSERT INTO attempts (user_id, delivery_id, number, url, outcome, excerpt, error,"
    " duration_ms) VALUES "
)


def ends(status: str, finished: str = "clock_timestamp()") -> str:
    return (
        f"UPDATE transactions SET status = '{status}', finished_at = {finished} WHERE id = :pending"
    )


def settlement(transaction: str, *amounts: tuple[str, int], currency: str = "RUB") -> list[str]:
    lines = ", ".join(
        f"(:shop, :new, {line}, '{currency}', '{kind}', {amount})"
        for line, (kind, amount) in enumerate(amounts, 1)
    )
    journal = JOURNAL + f"(:shop, :new, 'settlement', :{transaction}, {len(amounts)})"
    return [journal, ENTRIES + lines]


RIGHT = (("clearing", -10000), ("available", 9700), ("commission", 300))
CONFIRMS = [
    ends("confirmed"),
    EVENT + "(:shop, :new_event, :pending, 'transaction.confirmed', '{}', 2)",
]

REFUSED = {
    "unbalanced": (
        [*CONFIRMS, *settlement("pending", *RIGHT[:2], ("commission", 301))],
        "settlement_matches_transaction",
    ),
    "two currencies": (
        [
            *CONFIRMS,
            JOURNAL + "(:shop, :new, 'settlement', :pending, 5)",
            *settlement("pending", *RIGHT)[1:],
            ENTRIES + "(:shop, :new, 4, 'USD', 'available', 1),"
            " (:shop, :new, 5, 'EUR', 'available', -1)",
        ],
        "journal_sums_to_zero",
    ),
    "one more line": (
        [ENTRIES + "(:shop, :journal, 4, 'RUB', 'available', 1)"],
        "journal_sums_to_zero",
    ),
    "balanced lines that come later": (
        [
            ENTRIES + "(:shop, :journal, 4, 'RUB', 'available', 100),"
            " (:shop, :journal, 5, 'RUB', 'clearing', -100)"
        ],
        "journal_is_whole",
    ),
    "fewer lines than the journal names": (
        [
            JOURNAL + "(:shop, :new, 'settlement', :pending, 3)",
            *settlement("pending", *RIGHT[:2])[1:],
        ],
        "journal_has_entries",
    ),
    "a journal of one line": (
        [JOURNAL + "(:shop, :new, 'settlement', :pending, 1)"],
        "ck_journals_entry_count_balances",
    ),
    "empty journal": (settlement("pending", *RIGHT)[:1], "journal_has_entries"),
    "settlement of a pending one": (
        settlement("pending", *RIGHT),
        "settlement_matches_transaction",
    ),
    "settlement of a canceled one": (
        settlement("canceled", *RIGHT),
        "settlement_matches_transaction",
    ),
    "another net": (
        [*CONFIRMS, *settlement("pending", RIGHT[0], ("available", 9999), ("commission", 1))],
        "settlement_matches_transaction",
    ),
    "another amount": (
        [*CONFIRMS, *settlement("pending", ("clearing", -9700), ("available", 9700))],
        "settlement_matches_transaction",
    ),
    "another currency": (
        [*CONFIRMS, *settlement("pending", *RIGHT, currency="USD")],
        "settlement_matches_transaction",
    ),
    "second settlement": (settlement("confirmed", *RIGHT), "uq_journals_settlement"),
    "settlement of nothing": (
        [JOURNAL + "(:shop, :new, 'settlement', NULL, 2)"],
        "ck_journals_has_its_source",
    ),
    "confirmed without settlement": (CONFIRMS, "confirmed_is_settled"),
    "born confirmed": (
        [born(status="confirmed", finished="now()")],
        "confirmed_is_settled",
    ),
    "confirmed without event": (
        [CONFIRMS[0], *settlement("pending", *RIGHT)],
        "ending_has_event",
    ),
    "canceled without event": (
        [ends("canceled")],
        "ending_has_event",
    ),
    "canceled with another event": (
        [
            ends("canceled"),
            CONFIRMS[1],
        ],
        "ending_has_event",
    ),
    "expired without event": (
        [ends("expired", "expires_at")],
        "ending_has_event",
    ),
    "ended in no moment": (
        ["UPDATE transactions SET status = 'canceled' WHERE id = :pending"],
        "ck_transactions_finished_when_ended",
    ),
    "pending with an end": (
        ["UPDATE transactions SET finished_at = clock_timestamp() WHERE id = :pending"],
        "ck_transactions_finished_when_ended",
    ),
    "confirmed at the expiry": (
        [ends("confirmed", "expires_at")],
        "ck_transactions_finished_in_time",
    ),
    "canceled after the expiry": (
        [ends("canceled", "expires_at + interval '1 second'")],
        "ck_transactions_finished_in_time",
    ),
    "expired before the expiry": (
        [ends("expired")],
        "ck_transactions_finished_in_time",
    ),
    "unknown status": (
        ["UPDATE transactions SET status = 'paid', finished_at = now() WHERE id = :pending"],
        "ck_transactions_status",
    ),
    "commission too low": ([born(commission="2")], "ck_transactions_commission_rule"),
    "commission too high": ([born(commission="4")], "ck_transactions_commission_rule"),
    "commission half down": (
        [born(amount="50", rate="0.05", commission="2")],
        "ck_transactions_commission_rule",
    ),
    "negative rate": (
        [born(rate="-0.01", commission="-1")],
        "ck_transactions_commission_rate_range",
    ),
    "rate above one": (
        [born(rate="1.01", commission="100")],
        "ck_transactions_commission_rate_range",
    ),
    "nothing": ([born(amount="0", commission="0")], "ck_transactions_amount_range"),
    "less than nothing": ([born(amount="-100", commission="-3")], "ck_transactions_amount_range"),
    "too much": (
        [born(amount="1000000000000001", commission="30000000000000")],
        "ck_transactions_amount_range",
    ),
    "no currency": ([born(currency="rub")], "ck_transactions_currency_code"),
    "born expired": ([born(ttl="0 s")], "ck_transactions_expires_after_creation"),
    "taken id": (
        [born().replace(":new,", ":pending,").replace(":shop", ":other")],
        "uq_transactions_id",
    ),
    "zero entry": (
        [ENTRIES + "(:shop, :journal, 4, 'RUB', 'available', 0)"],
        "ck_entries_amount_not_zero",
    ),
    "line zero": (
        [ENTRIES + "(:shop, :journal, 0, 'RUB', 'available', 1)"],
        "ck_entries_line_positive",
    ),
    "journal across tenants": (
        [JOURNAL + "(:other, :new, 'settlement', :pending, 2)"],
        "fk_journals_transactions",
    ),
    "entry across tenants": (
        [ENTRIES + "(:other, :journal, 4, 'RUB', 'available', 1)"],
        "fk_entries_journals",
    ),
    "event across tenants": (
        [EVENT + "(:other, :new_event, :pending, 'transaction.canceled', '{}', 2)"],
        "fk_events_transactions",
    ),
    "delivery across tenants": (
        [DELIVERY + "(:other, :new, :event, :other)"],
        "fk_deliveries_events",
    ),
    "attempt across tenants": (
        [
            ATTEMPT + "(:other, :delivery, 2, '', '', '', '', 0)",
        ],
        "fk_attempts_deliveries",
    ),
    "second event of one kind": (
        [EVENT + "(:shop, :new_event, :confirmed, 'transaction.confirmed', '{}', 2)"],
        "uq_events_user_id_transaction_id_type",
    ),
    "second delivery of one event": (
        [DELIVERY + "(:shop, :new, :event, :shop)"],
        "uq_deliveries_user_id_event_id_endpoint_id",
    ),
    "transaction of nobody": (
        [born().replace(":shop", ":new_event")],
        "fk_transactions_users",
    ),
    "user with history": (["DELETE FROM users WHERE id = :shop"], "fk_"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_database_refuses(
    roles: dict[str, Engine], names: dict[str, Any], connection: Connection, case: str
) -> None:
    statements, constraint = REFUSED[case]
    before = row_counts(connection)

    for role in roles.values():
        error = attack(role, names, *statements)
        assert constraint_name(error).startswith(constraint), str(error)

    assert row_counts(connection) == before


def test_what_is_right_is_let_through(
    engine: Engine, connection: Connection, names: dict[str, Any]
) -> None:
    with engine.begin() as other:
        for statement in (*CONFIRMS, *settlement("pending", *RIGHT)):
            used = {name: value for name, value in names.items() if f":{name}" in statement}
            other.execute(text(statement), used)

    body = transaction_service.sql.READ_ONE
    row = connection.execute(body, {"id": names["pending"]}).one()
    assert json.loads(row.body)["status"] == "confirmed"
