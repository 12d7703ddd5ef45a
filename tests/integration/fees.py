"""How tests give a merchant a fee schedule."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from standart.db import transaction
from standart.models import FeeSchedule, User
from standart.services import fee_service
from standart.services.access import SYSTEM
from standart.services.fee_service import ListedSchedule, Preview
from tests.builders import TestUser


def schedule(
    engine: Engine,
    user: TestUser,
    rate: str | Decimal | None,
    fixed: int = 0,
    minimum: int = 0,
    maximum: int | None = None,
    *,
    currency: str = "RUB",
    starts_at: datetime | None = None,
) -> FeeSchedule:
    with Session(engine, expire_on_commit=False) as session, transaction(session):
        return fee_service.set_schedule(
            session,
            SYSTEM,
            session.get_one(User, user.id),
            currency=currency,
            rate=None if rate is None else Decimal(rate),
            fixed=fixed,
            minimum=minimum,
            maximum=maximum,
            starts_at=starts_at,
        )


def schedules(engine: Engine, user: TestUser) -> list[ListedSchedule]:
    with Session(engine, expire_on_commit=False) as session:
        return fee_service.list_schedules(session, user.id)


def preview(
    engine: Engine, user: TestUser, amount: str = "100.00", currency: str | None = None
) -> Preview:
    with engine.connect() as connection:
        return fee_service.preview(connection, user.actor, amount=amount, currency=currency)
