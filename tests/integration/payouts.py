"""How tests ask the service for payouts."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.models import Scope
from standart.services import payout_service, transaction_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest, digest_of
from standart.services.payout_service import NewPayout
from standart.states import PayoutAction, PayoutStatus
from tests.builders import ORIGIN, TestUser, make_key, make_transaction

DESTINATION = {
    "account": "40817810099910004312",
    "bank": "Volga Bank of Samara",
    "bic": "04452500",
    "holder": "Anna Petrova-Sidorenko",
}

# What leads from a new payout to each status.
WAYS: dict[PayoutStatus, tuple[PayoutAction, ...]] = {
    PayoutStatus.PENDING: (),
    PayoutStatus.APPROVED: (PayoutAction.APPROVE,),
    PayoutStatus.PAID: (PayoutAction.APPROVE, PayoutAction.PAY),
    PayoutStatus.FAILED: (PayoutAction.APPROVE, PayoutAction.FAIL),
    PayoutStatus.REJECTED: (PayoutAction.REJECT,),
    PayoutStatus.CANCELED: (PayoutAction.CANCEL,),
}


def payer_of(engine: Engine, user: TestUser) -> KeyDigest:
    """The digest of a key that may read and pay out."""
    return digest_of(make_key(engine, user, Scope.READ, Scope.PAYOUT))


def credit(
    engine: Engine, admin: TestUser, owner: TestUser, amount: str = "100.00", **fields: Any
) -> None:
    """Confirm a payment of ``amount``; the owner's commission is taken off."""
    made = make_transaction(engine, owner, amount=amount, **fields)
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))


def create(
    connection: Connection,
    keyring: Keyring,
    caller: KeyDigest,
    amount: str = "10.00",
    *,
    claim: IdempotencyClaim | None = None,
    **fields: Any,
) -> Answer:
    new = NewPayout(amount=amount, **fields)
    return payout_service.create(connection, caller, ORIGIN, keyring, new, claim=claim)


def created(connection: Connection, keyring: Keyring, caller: KeyDigest, **fields: Any) -> UUID:
    """Create a payout; return its id."""
    return UUID(wire(create(connection, keyring, caller, **fields))["id"])


def act(
    connection: Connection,
    caller: KeyDigest,
    payout_id: UUID,
    action: PayoutAction,
    *,
    claim: IdempotencyClaim | None = None,
    **options: Any,
) -> Answer:
    """Carry out any of the acts on a payout."""
    asked = (connection, caller, ORIGIN, payout_id)
    match action:
        case PayoutAction.APPROVE:
            return payout_service.approve(*asked, claim=claim, **options)
        case PayoutAction.REJECT:
            return payout_service.reject(*asked, reason="No.", claim=claim, **options)
        case PayoutAction.CANCEL:
            return payout_service.cancel(*asked, claim=claim, **options)
        case PayoutAction.PAY | PayoutAction.FAIL:
            paid = action is PayoutAction.PAY
            return payout_service.complete(*asked, paid=paid, claim=claim, **options)


def wire(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    return body


def balances(connection: Connection, user_id: UUID, currency: str = "RUB") -> dict[str, int]:
    """Each account's balance in minor units, those at zero left out."""
    rows = connection.execute(
        text(
            "SELECT kind, sum(balance)::bigint AS balance FROM account_balances"
            " WHERE user_id = :user_id AND currency = :currency GROUP BY kind"
        ),
        {"user_id": user_id, "currency": currency},
    )
    return {row.kind: row.balance for row in rows if row.balance}
