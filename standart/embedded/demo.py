"""Examples for `up --demo`: some hundred transactions of the demo merchant, in all states."""

from __future__ import annotations

import json
import random
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from standart import money
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models import Role, Transaction, User
from standart.services import endpoint_service, key_service, transaction_service, user_service
from standart.services.access import SYSTEM, Actor, Origin, operator
from standart.services.key_service import KeyDigest
from standart.services.transaction_request import NewTransaction

COUNT = 300
ORIGIN = Origin("demo")
GOODS = ("Кофе", "Чай", "Книга", "Билет", "Доставка", "Coffee", "Tea", "Book", "Ticket")

# How many in a hundred end how; the rest stays pending for a day.
CONFIRMED, CANCELED, EXPIRED = 60, 12, 10
DAY = 86_400


def add_examples(engine: Engine, keyring: Keyring, merchant: str, webhook_url: str) -> str:
    """Point ``merchant`` at the local receiver and give it transactions if it has none.

    Returns its webhook secret. ``webhook_url`` is ours and needs no check of its own: the
    address is checked when it is called.

    Raises:
        LookupError: there is no such merchant, or nobody who may confirm.
    """
    with Session(engine, expire_on_commit=False) as session, transaction(session):
        user = user_service.find_user(session, merchant)
        if user is None:
            raise LookupError(merchant)
        if user.webhook_url != webhook_url:
            user_service.update_user(session, SYSTEM, user, webhook_url=webhook_url)
        secret = endpoint_service.secret_of(keyring, user.endpoint)
        used = session.scalar(select(Transaction.id).where(Transaction.user_id == user.id).limit(1))
        if used is not None:
            return secret
        admin = session.scalar(select(User).where(User.role == Role.ADMIN, User.active).limit(1))
        if admin is None:
            raise LookupError("admin")
        actor = operator(admin.id, admin.name, admin.role, ORIGIN)
        key, plain = key_service.create_key(session, SYSTEM, user)
    _fill(engine, user, key_service.digest_of(plain), actor)
    with Session(engine) as session, transaction(session):
        key_service.revoke_key(session, SYSTEM, key.prefix)
    return secret


def _fill(engine: Engine, user: User, digest: KeyDigest, admin: Actor) -> None:
    # The same examples for everybody; nothing here is a secret.
    chance = random.Random(20)
    with autocommit(engine) as connection:
        for number in range(1, COUNT + 1):
            fate = chance.randrange(100)
            expires = CONFIRMED + CANCELED <= fate < CONFIRMED + CANCELED + EXPIRED
            minor = chance.randrange(1, 100_000) * 10 ** chance.randrange(2)
            answer = transaction_service.create(
                connection,
                digest,
                ORIGIN,
                NewTransaction(
                    amount=money.format_minor(minor, user.currency),
                    reference=f"order-{1000 + number}",
                    description=chance.choice(GOODS),
                ),
                ttl_seconds=1 if expires else DAY,
            )
            made = UUID(json.loads(answer.body)["id"])
            if fate < CONFIRMED:
                transaction_service.confirm(connection, admin, ORIGIN, made)
            elif fate < CONFIRMED + CANCELED:
                transaction_service.cancel(
                    connection, admin, ORIGIN, made, reason="changed their mind"
                )
