"""Merchants with an endpoint each, their terms and their receivers."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from benchmarks.fill.options import Options
from standart.encryption import Keyring
from standart.models import Role, User, WebhookEndpoint, WebhookLane
from standart.services import endpoint_service
from standart.webhooks import signing

CURRENCIES: Final = ("RUB", "RUB", "RUB", "USD", "EUR", "KZT", "JPY")
_RATES: Final = ("0.03", "0.025", "0.0349", "0", "0.01")
_WITHOUT_RECEIVER: Final = 3
"""Every third merchant has no receiver."""
_OF_SO_MANY: Final = 40
FAILING: Final = (4, 8)
"""The numbers, of each forty, of merchants whose receivers fail."""
FAILS: Final = f"number % {_OF_SO_MANY} IN {FAILING}"
"""SQL: whether the receiver of ``fill_merchants`` fails."""


@dataclass(frozen=True, slots=True)
class Merchant:
    """A merchant by its number, from 1: the big one."""

    number: int
    id: uuid.UUID
    currency: str
    rate: str
    called: bool


def name_of(number: int) -> str:
    """Return the name of a merchant."""
    return f"merchant-{number:05}"


def add_merchants(connection: Connection, keyring: Keyring, options: Options) -> list[Merchant]:
    """Write the merchants; their ids follow from the seed."""
    drawn = random.Random(options.seed)
    made = [
        Merchant(
            number=number,
            id=uuid.UUID(int=drawn.getrandbits(128), version=4),
            currency="RUB" if number == 1 else drawn.choice(CURRENCIES),
            rate="0.03" if number == 1 else drawn.choice(_RATES),
            called=number % _WITHOUT_RECEIVER != 0,
        )
        for number in range(1, options.merchants + 1)
    ]
    with Session(connection) as session:
        session.add_all(_user(each, options) for each in made)
        session.flush()
        for each in made:
            secret = endpoint_service.seal_secret(keyring, each.id, signing.new_secret())
            url = f"https://shop-{each.number}.example/hook" if each.called else None
            session.add(WebhookEndpoint(user_id=each.id, id=each.id, url=url, secret=secret))
        session.flush()
        session.add_all(_lane(each, options) for each in made)
        session.flush()
    connection.execute(_CREATED)
    return made


def _user(merchant: Merchant, options: Options) -> User:
    return User(
        id=merchant.id,
        name=name_of(merchant.number),
        role=Role.REGULAR,
        currency=merchant.currency,
        commission_rate=Decimal(merchant.rate),
        created_at=options.until - timedelta(days=options.days),
    )


def _lane(merchant: Merchant, options: Options) -> WebhookLane:
    lane = WebhookLane(user_id=merchant.id, endpoint_id=merchant.id)
    if merchant.called and merchant.number % _OF_SO_MANY in FAILING:
        lane.failures = endpoint_service.PATIENCE + merchant.number
        lane.failing_since = options.until - timedelta(hours=6)
        lane.failed_at = options.until
    return lane


_CREATED = text(
    """
    INSERT INTO audit_log (created_at, actor_name, channel, action, object_type, object_id)
    SELECT created_at, 'system', 'benchmark', 'user.created', 'user', id::text FROM users
    WHERE name LIKE 'merchant-%'
    """
)
