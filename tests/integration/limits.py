"""How tests give a merchant limits and settings."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from standart.db import transaction
from standart.models import LimitKind, User
from standart.money import Money, parse_amount
from standart.services import limit_service, user_service
from standart.services.access import SYSTEM
from tests.builders import TestUser


def rubles(text: str) -> Money:
    return parse_amount(text, "RUB")


def limit(engine: Engine, user: TestUser, kind: LimitKind, value: Money | int) -> None:
    with Session(engine) as session, transaction(session):
        limit_service.set_limit(session, SYSTEM, session.get_one(User, user.id), kind, value)


def want_unique_references(engine: Engine, user: TestUser, wanted: bool = True) -> None:
    with Session(engine) as session, transaction(session):
        user_service.update_user(
            session, SYSTEM, session.get_one(User, user.id), unique_reference=wanted
        )
