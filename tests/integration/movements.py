"""How tests pay, refund and record what came late, each act on a connection of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.models import Scope
from standart.services import late_payment_service, refund_service, transaction_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest, digest_of
from standart.services.late_payment_service import LatePayment
from standart.services.refund_service import NewRefund
from tests.builders import ORIGIN, TestUser, make_key, make_transaction


def paid(engine: Engine, admin: TestUser, owner: TestUser, **fields: Any) -> UUID:
    """Create a transaction of ``owner`` and confirm it."""
    made = UUID(make_transaction(engine, owner, **fields)["id"])
    with autocommit(engine) as own:
        transaction_service.confirm(own, admin.digest, ORIGIN, made)
    return made


def refund_key(engine: Engine, user: TestUser) -> KeyDigest:
    return digest_of(make_key(engine, user, Scope.READ, Scope.REFUND))


def refund(
    engine: Engine,
    caller: KeyDigest,
    transaction_id: UUID,
    amount: str | None = None,
    *,
    claimed: IdempotencyClaim | None = None,
    **fields: Any,
) -> Callable[[], Answer]:
    new = NewRefund(transaction_id=transaction_id, amount=amount, **fields)

    def run() -> Answer:
        with autocommit(engine) as own:
            return refund_service.create_refund(own, caller, ORIGIN, new, claim=claimed)

    return run


def late(
    engine: Engine, caller: KeyDigest, transaction_id: UUID, **options: Any
) -> Callable[[], Answer]:
    payment = LatePayment(transaction_id=transaction_id)

    def run() -> Answer:
        with autocommit(engine) as own:
            return late_payment_service.record_late_payment(own, caller, ORIGIN, payment, **options)

    return run


def body(answer: Answer) -> Any:
    return json.loads(answer.body)


def balance(connection: Connection, owner: TestUser, kind: str = "available") -> int:
    """Minor units over all currencies: these tests use one."""
    query = "SELECT sum(balance) FROM account_balances WHERE user_id = :user_id AND kind = :kind"
    return int(connection.scalar(text(query), {"user_id": owner.id, "kind": kind}) or 0)
