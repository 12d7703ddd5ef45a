"""A merchant whose pages have everything that they can show, made by the services."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models import LimitKind, Role, User
from standart.money import Money
from standart.services import (
    adjustment_service,
    fee_service,
    late_payment_service,
    limit_service,
    note_service,
    payout_service,
    refund_service,
    transaction_service,
)
from standart.services.access import SYSTEM
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.services.idempotency_service import Answer
from standart.services.late_payment_service import LatePayment
from standart.services.note_service import NewNote
from standart.services.payout_service import NewPayout
from standart.services.refund_service import NewRefund
from tests.builders import ORIGIN, PASSWORD, TestUser, make_transaction, make_user

TOO_LARGE = {"RUB": 5_000_000}
"""Above 50,000.00 RUB it takes two admins."""


@dataclass(frozen=True)
class BusyMerchant:
    """``paid`` was refunded twice, ``late`` paid after ``old`` ended, ``half`` has one approval."""

    owner: TestUser
    second: TestUser
    paid: UUID
    old: UUID
    late: UUID
    half: UUID


def busy_merchant(
    engine: Engine, keyring: Keyring, admin: TestUser, note: str, name: str = "busy"
) -> BusyMerchant:
    """Let a merchant have fees, limits, refunds, a payout, a late payment and ``note``."""
    owner = make_user(
        engine,
        keyring,
        name=name,
        webhook_url="https://example.com/hook",
        password=PASSWORD,
    )
    second = make_user(engine, keyring, name="second", role=Role.ADMIN, password=PASSWORD)
    _set_terms(engine, owner)
    paid, old, half = (
        UUID(make_transaction(engine, owner, amount=amount, reference=f"order-{amount}")["id"])
        for amount in ("1000.00", "200.00", "60000.00")
    )
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, paid)
        transaction_service.confirm(connection, admin.digest, ORIGIN, half, alone=TOO_LARGE)
        transaction_service.cancel(connection, owner.digest, ORIGIN, old)
        late = late_payment_service.record_late_payment(
            connection, admin.digest, ORIGIN, LatePayment(transaction_id=old)
        )
        _move_money(connection, keyring, admin, owner, paid)
        for by, text, internal in ((owner, "call before noon", False), (admin, note, True)):
            note_service.create_note(
                connection,
                by.digest,
                ORIGIN,
                NewNote(transaction_id=paid, text=text, internal=internal),
            )
    return BusyMerchant(owner, second, paid, old, _id(late), half)


def _set_terms(engine: Engine, owner: TestUser) -> None:
    with Session(engine) as session, transaction(session):
        user = session.get_one(User, owner.id)
        fee_service.set_schedule(
            session,
            SYSTEM,
            user,
            currency="RUB",
            rate=Decimal("0.029"),
            fixed=300,
            minimum=1_000,
            maximum=500_000,
        )
        fee_service.set_schedule(session, SYSTEM, user, currency="USD", rate=None)
        limit_service.set_limit(
            session, SYSTEM, user, LimitKind.DAILY_AMOUNT, Money(100_000_000, "RUB")
        )
        limit_service.set_limit(session, SYSTEM, user, LimitKind.PENDING_COUNT, 20)


def _move_money(
    connection: Connection, keyring: Keyring, admin: TestUser, owner: TestUser, paid: UUID
) -> None:
    for amount, with_commission in (("100.00", False), ("50.00", True)):
        refund_service.create_refund(
            connection,
            admin.digest,
            ORIGIN,
            NewRefund(
                transaction_id=paid,
                amount=amount,
                refund_commission=with_commission,
                reason="one <b>cup</b> was broken" if with_commission else None,
            ),
        )
    payout_service.create(
        connection,
        admin.digest,
        ORIGIN,
        keyring,
        NewPayout(amount="70.00", destination={"iban": "DE89370400440532013000"}, user_id=owner.id),
    )
    adjustment_service.create(
        connection,
        admin.digest,
        ORIGIN,
        NewAdjustment(
            user_id=owner.id, amount="5.00", direction=Direction.CREDIT, reason="counted anew"
        ),
    )


def _id(answer: Answer) -> UUID:
    return UUID(json.loads(answer.body)["id"])
