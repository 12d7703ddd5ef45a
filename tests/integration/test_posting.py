"""Posting journals: a debit takes what there is, folded or not, and never waits in a circle."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit, unit
from standart.errors import InsufficientBalance
from standart.models import AccountKind
from standart.services import ledger_service, posting, transaction_service
from tests.builders import ORIGIN, TestUser, make_transaction
from tests.integration.concurrency import blocked, outcome, uncommitted, wait_until, waiters

ACCOUNT = text(
    "SELECT balance FROM accounts WHERE user_id = :id AND currency = 'RUB' AND kind = 'available'"
)


def debit(connection: Connection, user_id: UUID, amount: int) -> None:
    posting.debit(connection, user_id, "RUB", AccountKind.AVAILABLE, amount)


@pytest.fixture
def credit(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> Callable[..., None]:
    """Credit the merchant 97.00 by a confirm; folded at once if asked for."""

    def make(*, folded: bool = False) -> None:
        made = make_transaction(engine, merchant)
        transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))
        if folded:
            ledger_service.fold_deltas(connection)

    return make


def test_a_debit_takes_from_the_folded_part_first(
    connection: Connection, merchant: TestUser, credit: Callable[..., None]
) -> None:
    credit(folded=True)
    credit()
    with unit(connection):
        debit(connection, merchant.id, 9700)

    assert connection.scalar(ACCOUNT, {"id": merchant.id}) == 0
    assert connection.scalar(text("SELECT count(*) FROM balance_deltas")) == 3


def test_a_debit_folds_when_the_folded_part_does_not_suffice(
    connection: Connection, merchant: TestUser, credit: Callable[..., None]
) -> None:
    credit(folded=True)
    credit()
    with unit(connection):
        debit(connection, merchant.id, 9701)

    assert connection.scalar(ACCOUNT, {"id": merchant.id}) == 2 * 9700 - 9701


def test_more_than_there_is_changes_nothing_and_says_what_there_is(
    connection: Connection, merchant: TestUser, credit: Callable[..., None]
) -> None:
    credit()
    with pytest.raises(InsufficientBalance) as refused, unit(connection):
        debit(connection, merchant.id, 9701)

    assert refused.value.members == {"currency": "RUB", "available": "97.00"}
    assert connection.scalar(ACCOUNT, {"id": merchant.id}) is None


def test_a_debit_that_lost_a_race_and_a_sweep_do_not_wait_for_each_other(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    credit: Callable[..., None],
) -> None:
    credit(folded=True)
    credit()

    def second_debit() -> None:
        with autocommit(engine) as mine, unit(mine):
            debit(mine, merchant.id, 9700)

    def sweep() -> int:
        with autocommit(engine) as mine:
            return ledger_service.fold_deltas(mine)

    with uncommitted(engine) as first:
        debit(first, merchant.id, 9700)
        with blocked(superuser, second_debit) as racing, ThreadPoolExecutor(1) as pool:
            before = waiters(superuser)
            sweeping = pool.submit(outcome, sweep)
            wait_until(lambda: sweeping.done() or waiters(superuser) > before)
            first.commit()
            assert racing.result() is None
            assert isinstance(sweeping.result(), int)

    assert ledger_service.balances(connection, merchant.actor)[0][1] == 0
