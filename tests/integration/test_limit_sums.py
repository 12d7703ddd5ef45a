"""What is kept of a limited merchant's day is what adding it up anew would give, at any time."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.models import LimitKind
from standart.services import limit_service, limit_sums, transaction_service
from standart.services.idempotency_service import Answer
from tests.builders import ORIGIN, TestUser, make_transaction
from tests.integration.books import findings
from tests.integration.calls import create
from tests.integration.concurrency import PATIENCE, outcome, uncommitted
from tests.integration.limits import limit, rubles

DAY = text(
    """
    SELECT count(*), coalesce(sum(amount), 0) FROM transactions t
    WHERE t.user_id = :user_id AND t.created_at >= date_trunc('day', now(), 'UTC')
      AND t.created_at < :upto AND t.status = 'confirmed'
    """
)
PENDING = text("SELECT min(created_at) FROM transactions WHERE status = 'pending'")


@pytest.fixture(autouse=True)
def at_every_create(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add up at every create that finds something ended, and not only after many."""
    monkeypatch.setattr(limit_sums, "ROWS", 1)


def confirm(connection: Connection, admin: TestUser, answer: Answer) -> None:
    id_ = UUID(json.loads(answer.body)["id"])
    transaction_service.confirm(connection, admin.digest, ORIGIN, id_)


def kept(connection: Connection, merchant: TestUser) -> limit_sums.Kept:
    midnight = connection.scalar(text("SELECT date_trunc('day', now(), 'UTC')"))
    assert midnight is not None
    return limit_sums.kept(connection, merchant.id, "RUB", midnight)


def test_what_has_ended_is_kept_and_what_is_pending_is_not(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    make_transaction(engine, merchant, amount="5.00", currency="USD")
    confirmed = [create(connection, merchant, amount=amount) for amount in ("1.00", "2.00")]
    limit(engine, merchant, LimitKind.DAILY_COUNT, 5)
    for answer in confirmed:
        confirm(connection, admin, answer)
    limit_service.keep_up(connection, merchant.id)
    assert kept(connection, merchant).count == 0, "the oldest is pending"

    id_ = connection.scalar(text("SELECT id FROM transactions WHERE currency = 'USD'"))
    transaction_service.confirm(connection, admin.digest, ORIGIN, id_)
    assert create(connection, merchant).status == 201
    limit_service.keep_up(connection, merchant.id)
    found = kept(connection, merchant)
    assert (found.count, found.amount) == (3, 300)
    amounts = connection.scalar(text("SELECT amounts FROM limit_sums"))
    assert amounts == {"RUB": 300, "USD": 500}

    assert create(connection, merchant).status == 201
    assert "daily_count" in str(outcome(lambda: create(connection, merchant)).members)


def test_yesterday_is_forgotten(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    limit(engine, merchant, LimitKind.DAILY_AMOUNT, rubles("100.00"))
    confirm(connection, admin, create(connection, merchant, amount="40.00"))
    limit_service.keep_up(connection, merchant.id)
    with engine.begin() as own:
        own.execute(
            text(
                "UPDATE limit_sums SET day = day - interval '1 day', amounts = '{\"RUB\": 9999}',"
                " upto = upto - interval '1 day', count = 7"
            )
        )
    assert create(connection, merchant, amount="60.00").status == 201
    assert kept(connection, merchant).amount == 4000
    assert not isinstance(outcome(lambda: create(connection, merchant, amount="0.01")), Answer)


def test_who_still_writes_is_not_passed(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    """A create that began before there were limits, or a late payment, takes no lock."""
    limit(engine, merchant, LimitKind.DAILY_AMOUNT, rubles("100.00"))
    with uncommitted(engine) as holder:
        old = create(connection, merchant, amount="10.00")
        transaction_service.cancel(
            connection, merchant.digest, ORIGIN, UUID(json.loads(old.body)["id"])
        )
        holder.execute(
            text(
                "INSERT INTO transactions (user_id, id, amount, commission, commission_rate,"
                " currency, created_at, expires_at) VALUES (:user_id, :id, 9000, 0, 0, 'RUB',"
                " clock_timestamp(), clock_timestamp() + interval '1 hour')"
            ),
            {"user_id": merchant.id, "id": UUID(int=7)},
        )
        confirm(connection, admin, create(connection, merchant, amount="1.00"))
        limit_service.keep_up(connection, merchant.id)
        assert kept(connection, merchant).count == 0
        holder.commit()
    assert not isinstance(outcome(lambda: create(connection, merchant, amount="9.01")), Answer)
    assert create(connection, merchant, amount="9.00").status == 201


def test_eight_threads_leave_it_right(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    limit(engine, merchant, LimitKind.DAILY_AMOUNT, rubles("600.00"))
    barrier = threading.Barrier(8)

    def shop(number: int) -> None:
        chance = random.Random(number)
        barrier.wait(PATIENCE)
        with autocommit(engine) as own:
            for _ in range(25):
                amount = f"{chance.randint(1, 9)}.00"
                answer = outcome(lambda amount=amount: create(own, merchant, amount=amount))
                if not isinstance(answer, Answer):
                    continue
                if chance.random() < 0.6:
                    confirm(own, admin, answer)
                else:
                    id_ = UUID(json.loads(answer.body)["id"])
                    transaction_service.cancel(own, merchant.digest, ORIGIN, id_)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(shop, range(8)))

    found = kept(connection, merchant)
    counted = connection.execute(DAY, {"user_id": merchant.id, "upto": found.upto}).one()
    assert (found.count, found.amount) == tuple(counted)
    assert found.count > 0
    limit_service.keep_up(connection, merchant.id)
    total = kept(connection, merchant)
    assert connection.scalar(PENDING) is None
    assert total.count == connection.scalar(
        text("SELECT count(*) FROM transactions WHERE status = 'confirmed'")
    )
    assert total.amount <= 600_00
    assert findings(engine) == []
