"""Balances and folding: exact in every snapshot, whatever runs beside."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import InsufficientScope, InvalidInput
from standart.models import Role, Scope
from standart.services import ledger_service, transaction_service
from standart.services.access import Actor
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, row_counts
from tests.integration.books import findings
from tests.integration.concurrency import uncommitted

BOTH = text(
    """
    SELECT
        (SELECT coalesce(sum(amount - commission), 0) FROM transactions
         WHERE status = 'confirmed') AS nets,
        (SELECT coalesce(sum(balance), 0) FROM account_balances
         WHERE kind = 'available') AS balance,
        (SELECT coalesce(sum(amount), 0) FROM entries) AS entries,
        (SELECT coalesce(sum(balance), 0) FROM account_balances) AS books
    """
)


def confirm(engine: Engine, admin: TestUser, owner: TestUser, **fields: str) -> None:
    made = make_transaction(engine, owner, **fields)
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))


def kept(connection: Connection) -> list[tuple[str, str, int]]:
    rows = connection.execute(text("SELECT currency, kind, balance FROM accounts ORDER BY 1, 2"))
    return [(row.currency, row.kind, row.balance) for row in rows]


def test_a_new_merchant_has_nothing_in_its_currency(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    tokyo = make_user(engine, keyring, currency="JPY")

    assert ledger_service.balances(connection, tokyo.actor) == [("JPY", 0)]
    assert ledger_service.balances(connection, admin.actor, user_id=tokyo.id) == [("JPY", 0)]


def test_balances_are_per_currency_and_per_merchant(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    other = make_user(engine, keyring, rate="0.5")
    confirm(engine, admin, merchant, amount="100.00")
    confirm(engine, admin, merchant, amount="0.50")
    confirm(engine, admin, merchant, amount="10", currency="JPY")
    confirm(engine, admin, other, amount="1.00")

    expected = [("JPY", 10), ("RUB", 9700 + 48)]  # 0.3 yen and 1.5 kopecks of commission
    assert ledger_service.balances(connection, merchant.actor) == expected
    assert ledger_service.balances(connection, other.actor) == [("RUB", 50)]


def test_folding_changes_no_balance_and_repeats_harmlessly(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    for amount in ("100.00", "50.00"):
        confirm(engine, admin, merchant, amount=amount)

    assert [ledger_service.fold_deltas(connection, batch=4) for _ in range(3)] == [4, 2, 0]

    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 14550)]
    assert kept(connection) == [
        ("RUB", "available", 14550),
        ("RUB", "clearing", -15000),
        ("RUB", "commission", 450),
    ]
    assert row_counts(connection)["balance_deltas"] == 0
    confirm(engine, admin, merchant, amount="1.00")
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 14647)]
    assert ledger_service.fold_deltas(connection) == 3
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 14647)]
    assert findings(engine) == []


def test_a_fold_that_is_not_committed_is_not_seen_and_not_waited_for(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    confirm(engine, admin, merchant, amount="100.00")
    with uncommitted(engine) as folding:
        assert ledger_service.fold_deltas(folding) == 3

        assert ledger_service.fold_deltas(connection) == 0
        assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9700)]
        folding.rollback()

    assert ledger_service.fold_deltas(connection) == 3
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9700)]


def test_balances_are_exact_in_every_snapshot_while_confirms_and_folds_run(
    engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = [UUID(make_transaction(engine, merchant)["id"]) for _ in range(120)]
    done = threading.Event()
    folded = 0

    def confirm_all(own: list[UUID]) -> None:
        with autocommit(engine) as connection:
            for each in own:
                transaction_service.confirm(connection, admin.digest, ORIGIN, each)

    def fold_on() -> int:
        total = 0
        with autocommit(engine) as connection:
            while True:
                last = done.is_set()
                total += ledger_service.fold_deltas(connection, batch=7)
                if last:
                    return total

    def watch() -> list[tuple[int, int, int, int]]:
        wrong = []
        with autocommit(engine) as connection:
            while True:
                last = done.is_set()
                row = connection.execute(BOTH).one()
                if row.nets != row.balance or row.entries != 0 or row.books != 0:
                    wrong.append(tuple(row))
                if last:
                    return wrong

    with ThreadPoolExecutor(5) as pool:
        folders = [pool.submit(fold_on) for _ in range(2)]
        watcher = pool.submit(watch)
        confirmers = [pool.submit(confirm_all, made[part::2]) for part in range(2)]
        for each in confirmers:
            each.result()
        done.set()
        assert watcher.result() == []
        folded = sum(each.result() for each in folders)

    with autocommit(engine) as connection:
        folded += ledger_service.fold_deltas(connection)
        assert ledger_service.balances(connection, merchant.actor) == [("RUB", 120 * 9700)]
        assert kept(connection)[0] == ("RUB", "available", 120 * 9700)
    assert folded == 3 * 120
    assert findings(engine) == []


def test_an_admin_names_the_merchant_and_a_merchant_names_nobody(
    connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    for actor, named in ((admin.actor, None), (admin.actor, uuid4()), (merchant.actor, admin.id)):
        with pytest.raises(InvalidInput) as refused:
            ledger_service.balances(connection, actor, user_id=named)
        assert [each.field for each in refused.value.errors] == ["user_id"]


def test_a_balance_needs_the_right_to_read(connection: Connection, merchant: TestUser) -> None:
    blind = Actor(merchant.id, merchant.name, Role.REGULAR, frozenset({Scope.WRITE}))
    with pytest.raises(InsufficientScope):
        ledger_service.balances(connection, blind)
