"""Create: the terms of a new transaction, and who may ask for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import transaction
from standart.encryption import Keyring
from standart.errors import (
    InsufficientScope,
    InvalidInput,
    Unauthenticated,
)
from standart.models import Scope, User
from standart.services import key_service, transaction_service, user_service
from standart.services.access import SYSTEM
from standart.services.transaction_request import NewTransaction
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, row_counts
from tests.integration.calls import TTL, claim, create, wrong_fields


@pytest.fixture
def update_user(engine: Engine) -> Callable[..., None]:
    def update(user: TestUser, **changes: Any) -> None:
        with Session(engine) as session, transaction(session):
            user_service.update_user(
                session, SYSTEM, user_service.get_user(session, user.id), **changes
            )

    return update


@pytest.fixture
def key_for(engine: Engine) -> Callable[..., TestUser]:
    """The same user, with another key."""

    def make(user: TestUser, **options: Any) -> TestUser:
        with Session(engine) as session, transaction(session):
            row = session.get_one(User, user.id)
            _, plain = key_service.create_key(session, SYSTEM, row, **options)
        return TestUser(user.id, user.name, user.role, plain, user.webhook_secret)

    return make


def test_a_transaction_is_born_pending_with_the_merchants_terms(
    connection: Connection, merchant: TestUser
) -> None:
    answer = create(
        connection,
        merchant,
        amount="100.50",
        reference="order-7",
        description="Чай",
        metadata={"cart": "1"},
    )

    body = json.loads(answer.body)
    created = datetime.fromisoformat(body.pop("created_at"))
    assert datetime.fromisoformat(body.pop("expires_at")) - created == timedelta(seconds=TTL)
    assert UUID(body.pop("id")).version == 7
    assert (answer.status, answer.replayed) == (201, False)
    assert body == {
        "user_id": str(merchant.id),
        "amount": "100.50",
        "currency": "RUB",
        "commission_rate": "0.03",
        "commission": "3.02",  # 3.015 rounded half-up
        "net": "97.48",
        "status": "pending",
        "reference": "order-7",
        "description": "Чай",
        "metadata": {"cart": "1"},
        "reason": None,
        "finished_at": None,
        "fee_schedule": None,
        "refunded_amount": "0.00",
        "late_for": None,
        "approvals": 0,
    }


@pytest.mark.parametrize(
    ("currency", "amount", "commission", "net"),
    [
        ("JPY", "150", "5", "145"),  # 4.5 half-up
        ("KWD", "1.250", "0.038", "1.212"),  # 0.0375 half-up
        ("CLF", "1.0000", "0.0300", "0.9700"),
        ("USD", "0.01", "0.00", "0.01"),
        ("RUB", "10000000000000.00", "300000000000.00", "9700000000000.00"),
    ],
)
def test_money_has_the_digits_of_its_currency(
    connection: Connection,
    merchant: TestUser,
    currency: str,
    amount: str,
    commission: str,
    net: str,
) -> None:
    body = json.loads(create(connection, merchant, currency=currency, amount=amount).body)

    assert (body["amount"], body["commission"], body["net"]) == (amount, commission, net)


def test_fewer_digits_mean_the_same_amount(connection: Connection, merchant: TestUser) -> None:
    assert json.loads(create(connection, merchant, amount="7.5").body)["amount"] == "7.50"


def test_the_currency_is_the_merchants_unless_named(
    connection: Connection, engine: Engine, keyring: Keyring
) -> None:
    tokyo = make_user(engine, keyring, currency="JPY")

    own = json.loads(create(connection, tokyo, amount="500").body)
    named = json.loads(create(connection, tokyo, amount="5.25", currency="EUR").body)

    assert (own["currency"], own["amount"]) == ("JPY", "500")
    assert (named["currency"], named["amount"]) == ("EUR", "5.25")


@pytest.mark.parametrize(
    ("currency", "amount"),
    [
        pytest.param("RUB", "9" * 200_000, id="endless"),
        pytest.param("RUB", "0." + "0" * 20_000 + "1", id="tiny"),
        ("RUB", "1.001"),
        ("RUB", "1.000"),
        ("JPY", "1.0"),
        ("KWD", "1.0001"),
        ("RUB", "0"),
        ("RUB", "0.00"),
        ("RUB", "10000000000000.01"),
        ("JPY", "1000000000000001"),
        (None, "1.001"),
        ("RUB", "1e2"),
        ("RUB", "-1"),
        ("RUB", "+1"),
        ("RUB", " 1"),
        ("RUB", "1_0"),
        ("RUB", "0x10"),
        ("RUB", "NaN"),
        ("RUB", "Infinity"),
        ("RUB", "12,50"),
        ("RUB", "01"),
        ("RUB", ""),
        ("RUB", "٣"),
    ],
)
def test_an_amount_that_does_not_fit_is_refused(
    connection: Connection, merchant: TestUser, currency: str | None, amount: str
) -> None:
    before = row_counts(connection)

    with pytest.raises(InvalidInput) as refused:
        create(connection, merchant, currency=currency, amount=amount, claimed=claim())

    assert wrong_fields(refused) == ["amount"]
    assert row_counts(connection) == before


@pytest.mark.parametrize("currency", ["ABC", "rub", "XXX", "", "RUBLE", "R' --"])
def test_an_unknown_currency_is_refused(
    connection: Connection, merchant: TestUser, currency: str
) -> None:
    before = row_counts(connection)

    with pytest.raises(InvalidInput) as refused:
        create(connection, merchant, currency=currency)

    assert wrong_fields(refused) == ["currency"]
    assert row_counts(connection) == before


def test_a_new_rate_counts_for_later_transactions_only(
    connection: Connection, merchant: TestUser, update_user: Callable[..., None]
) -> None:
    early = json.loads(create(connection, merchant).body)
    update_user(merchant, commission_rate=Decimal("0.1"))

    late = json.loads(create(connection, merchant).body)
    kept = transaction_service.check(connection, merchant.digest, ORIGIN, UUID(early["id"]))

    assert (late["commission_rate"], late["commission"]) == ("0.1", "10.00")
    assert json.loads(kept.body)["commission"] == "3.00"


def test_an_admin_names_the_merchant(
    connection: Connection, admin: TestUser, merchant: TestUser
) -> None:
    body = json.loads(create(connection, admin, user_id=merchant.id).body)

    assert body["user_id"] == str(merchant.id)
    assert body["commission"] == "3.00"


def test_an_admin_must_name_a_merchant(connection: Connection, admin: TestUser) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(connection, admin)
    assert wrong_fields(refused) == ["user_id"]


def test_a_merchant_must_not_name_one(connection: Connection, merchant: TestUser) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(connection, merchant, user_id=merchant.id)
    assert wrong_fields(refused) == ["user_id"]


def test_an_unknown_merchant_is_refused(connection: Connection, admin: TestUser) -> None:
    with pytest.raises(InvalidInput) as refused:
        create(connection, admin, user_id=uuid4())
    assert wrong_fields(refused) == ["user_id"]


def test_nothing_is_created_for_a_deactivated_merchant(
    connection: Connection, admin: TestUser, merchant: TestUser, update_user: Callable[..., None]
) -> None:
    update_user(merchant, active=False)

    with pytest.raises(InvalidInput) as refused:
        create(connection, admin, user_id=merchant.id)
    with pytest.raises(Unauthenticated):
        create(connection, merchant)

    assert wrong_fields(refused) == ["user_id"]
    assert row_counts(connection)["transactions"] == 0


def test_an_unknown_key_opens_nothing(connection: Connection) -> None:
    with pytest.raises(Unauthenticated):
        transaction_service.create(
            connection,
            key_service.digest_of(key_service.generate()),
            ORIGIN,
            NewTransaction(amount="1"),
            ttl_seconds=TTL,
        )


def test_a_revoked_key_counts_with_the_next_request(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    create(connection, merchant, claimed=claim())
    with Session(engine) as session, transaction(session):
        key_service.revoke_key(session, SYSTEM, merchant.key[: len("sk_live_") + 8])

    with pytest.raises(Unauthenticated):
        create(connection, merchant)
    with pytest.raises(Unauthenticated):
        create(connection, merchant, claimed=claim())


def test_an_expired_key_opens_nothing(
    connection: Connection,
    superuser: Engine,
    merchant: TestUser,
    key_for: Callable[..., TestUser],
) -> None:
    caller = key_for(merchant, lifetime=timedelta(days=1))
    assert create(connection, caller).status == 201
    with superuser.begin() as other:
        other.execute(
            text("UPDATE api_keys SET expires_at = clock_timestamp() WHERE digest = :digest"),
            {"digest": caller.digest.value},
        )

    with pytest.raises(Unauthenticated):
        create(connection, caller)


def test_a_reading_key_creates_nothing(
    connection: Connection, merchant: TestUser, key_for: Callable[..., TestUser]
) -> None:
    with pytest.raises(InsufficientScope) as refused:
        create(connection, key_for(merchant, scopes=[Scope.READ]))
    assert refused.value.members == {"required_scope": "write"}


def test_a_database_error_is_not_explained_away(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError, match="expires_after_creation"):
        make_transaction(engine, merchant, ttl=0)
