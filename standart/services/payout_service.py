"""Payouts: money on its way to the merchant.

Creating one reserves its money at once; it is paid in the end, or given back when the payout
is rejected, canceled or has failed. Each act locks the payout's row first, so acts on one
payout come one after the other and ``states.payout_target`` decides.

All functions expect an autocommit connection and open a transaction of their own on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from standart import money
from standart.clock import new_id
from standart.encryption import Keyring
from standart.errors import NotFound
from standart.models import AccountKind, ApprovalOf, JournalKind, Scope
from standart.services import (
    acts,
    approval_service,
    audit_service,
    merchants,
    outbox,
    payout_destination,
    posting,
)
from standart.services import payout_sql as sql
from standart.services.access import Actor, Origin
from standart.services.approval_service import NOBODY_ELSE, Thresholds
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.states import PayoutAction, PayoutStatus, payout_target


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayout:
    """What a client asks for; ``amount`` is exact decimal text.

    ``user_id`` names the merchant when an admin asks. ``fresh_id`` is drawn here, so that
    running the same request twice (the connection died after the commit) makes one payout.
    """

    amount: str
    currency: str | None = None
    destination: Mapping[str, str] | None = field(default=None, repr=False)
    reference: str | None = None
    user_id: UUID | None = None
    fresh_id: UUID = field(default_factory=new_id)


def create(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    keyring: Keyring,
    new: NewPayout,
    *,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Create a pending payout and reserve its money; answers 201.

    An admin may pay out what a deactivated merchant is still owed.

    Raises:
        InvalidInput: the currency is unknown, the amount does not fit it, or ``user_id``
            does not fit.
        InsufficientBalance: less is available.
    """

    def work(actor: Actor) -> Answer:
        merchant = merchants.meant_by(connection, actor, new.user_id, leaving=True)
        amount = money.parse_amount(new.amount, new.currency or merchant.currency)
        user_id = merchant.id
        row = connection.execute(sql.CREATE, _row(keyring, user_id, amount, new)).one_or_none()
        if row is None:
            return Answer(201, _read(connection, actor, new.fresh_id))
        _post(connection, user_id, new.fresh_id, *_RESERVED, amount)
        _tell(connection, user_id, new.fresh_id, "created", row.body)
        audit_service.record(
            connection,
            actor,
            "payout.created",
            "payout",
            new.fresh_id,
            after={
                "user_id": str(user_id),
                "amount": str(amount),
                "currency": amount.currency,
                "status": PayoutStatus.PENDING.value,
            },
        )
        return Answer(201, row.body)

    return acts.perform(connection, caller, origin, Scope.PAYOUT, work, claim=claim)


def approve(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    payout_id: UUID,
    *,
    claim: IdempotencyClaim | None = None,
    alone: Thresholds = NOBODY_ELSE,
    act_id: UUID | None = None,
) -> Answer:
    """Approve a pending payout: it may be paid now, and not be canceled any more.

    ``alone`` has the sums up to which one admin suffices, ``act_id`` was drawn for this
    request (``approval_service``). The first of two answers 202 with the payout still
    pending. Answers 200, also when it is approved already.

    Raises:
        NotFound, Forbidden: see ``acts``.
        PayoutState: it is neither pending nor approved.
        SecondPersonRequired: see ``approval_service``.
    """

    def work(actor: Actor) -> Answer:
        acts.require_settler(actor)
        held = _Held.of(connection, actor, payout_id)
        if held.target(PayoutAction.APPROVE) is held.status:
            return Answer(200, _read(connection, actor, payout_id))
        if approval_service.needs_two(held.amount, alone) and not approval_service.approve(
            connection,
            actor,
            ApprovalOf.PAYOUT,
            held.user_id,
            held.id,
            act_id or new_id(),
            told_as="payout.approved_by_one",
        ):
            return Answer(202, _read(connection, actor, payout_id))
        return held.move(connection, actor, PayoutAction.APPROVE, None)

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def reject(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    payout_id: UUID,
    *,
    reason: str,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Refuse a pending payout and give its money back; answers 200, also when repeated.

    Raises:
        NotFound, Forbidden: see ``acts``.
        PayoutState: it is neither pending nor rejected.
    """

    def work(actor: Actor) -> Answer:
        acts.require_settler(actor)
        return _end(connection, actor, payout_id, PayoutAction.REJECT, reason)

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def cancel(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    payout_id: UUID,
    *,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Take a pending payout back, its money too; answers 200, also when repeated.

    Raises:
        NotFound: unknown, or somebody else's.
        PayoutState: it is neither pending nor canceled.
    """

    def work(actor: Actor) -> Answer:
        return _end(connection, actor, payout_id, PayoutAction.CANCEL, None)

    return acts.perform(connection, caller, origin, Scope.PAYOUT, work, claim=claim)


def complete(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    payout_id: UUID,
    *,
    paid: bool,
    reason: str | None = None,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Say what became of an approved payout; if it was not paid, its money is given back.

    Answers 200, also when the same was said before.

    Raises:
        NotFound, Forbidden: see ``acts``.
        PayoutState: it is not approved, or it ended otherwise.
    """
    action = PayoutAction.PAY if paid else PayoutAction.FAIL

    def work(actor: Actor) -> Answer:
        acts.require_settler(actor)
        return _end(connection, actor, payout_id, action, reason)

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def check(
    connection: Connection, caller: KeyDigest | Actor, origin: Origin, payout_id: UUID
) -> Answer:
    """Return one payout as its owner or an admin sees it.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
    """

    def work(actor: Actor) -> Answer:
        return Answer(200, _read(connection, actor, payout_id))

    return acts.perform(connection, caller, origin, Scope.READ, work)


@dataclass(frozen=True, slots=True)
class _Held:
    """A payout whose row is locked until the commit."""

    id: UUID
    user_id: UUID
    amount: money.Money
    status: PayoutStatus

    @classmethod
    def of(cls, connection: Connection, actor: Actor, payout_id: UUID) -> _Held:
        owner_id = None if actor.sees_all else actor.user_id
        row = connection.execute(sql.HOLD, {"id": payout_id, "owner_id": owner_id}).one_or_none()
        if row is None:
            raise NotFound
        amount = money.Money(row.amount, row.currency)
        return cls(payout_id, row.user_id, amount, PayoutStatus(row.status))

    def target(self, action: PayoutAction) -> PayoutStatus:
        return payout_target(self.status, action)

    def move(
        self, connection: Connection, actor: Actor, action: PayoutAction, reason: str | None
    ) -> Answer:
        """Change the status with everything that belongs to it."""
        target = self.target(action)
        changed = {"status": target.value, "reason": reason}
        body = connection.execute(
            sql.MOVE, {**changed, "user_id": self.user_id, "id": self.id}
        ).scalar_one()
        posted = _ENDINGS.get(target)
        if posted is not None:
            _post(connection, self.user_id, self.id, *posted, self.amount)
        _tell(connection, self.user_id, self.id, target.value, body)
        audit_service.record(
            connection,
            actor,
            f"payout.{target.value}",
            "payout",
            self.id,
            before={"status": self.status.value},
            after={key: value for key, value in changed.items() if value is not None},
        )
        return Answer(200, body)


_RESERVED = (JournalKind.PAYOUT_RESERVED, AccountKind.AVAILABLE, AccountKind.PENDING_PAYOUT)
_RETURNED = (JournalKind.PAYOUT_RETURNED, AccountKind.PENDING_PAYOUT, AccountKind.AVAILABLE)
_PAID = (JournalKind.PAYOUT_PAID, AccountKind.PENDING_PAYOUT, AccountKind.CLEARING)

# What is posted when a payout ends: the journal, from which account, to which one.
_ENDINGS: Final = MappingProxyType(
    {
        PayoutStatus.PAID: _PAID,
        PayoutStatus.FAILED: _RETURNED,
        PayoutStatus.REJECTED: _RETURNED,
        PayoutStatus.CANCELED: _RETURNED,
    }
)


def _end(
    connection: Connection,
    actor: Actor,
    payout_id: UUID,
    action: PayoutAction,
    reason: str | None,
) -> Answer:
    held = _Held.of(connection, actor, payout_id)
    if held.target(action) is held.status:
        return Answer(200, _read(connection, actor, payout_id))
    return held.move(connection, actor, action, reason)


def _row(keyring: Keyring, user_id: UUID, amount: money.Money, new: NewPayout) -> dict[str, Any]:
    sealed = shown = None
    if new.destination is not None:
        sealed = payout_destination.seal(keyring, user_id, new.fresh_id, new.destination)
        shown = msgspec.json.encode(payout_destination.masked(new.destination)).decode()
    return {
        "user_id": user_id,
        "id": new.fresh_id,
        "amount": amount.amount,
        "currency": amount.currency,
        "destination": sealed,
        "destination_shown": shown,
        "reference": new.reference,
    }


def _post(
    connection: Connection,
    user_id: UUID,
    payout_id: UUID,
    kind: JournalKind,
    source: AccountKind,
    target: AccountKind,
    amount: money.Money,
) -> None:
    lines = [(source, -amount.amount), (target, amount.amount)]
    posting.post(connection, user_id, kind, amount.currency, lines, payout_id=payout_id)


def _tell(connection: Connection, user_id: UUID, payout_id: UUID, what: str, body: str) -> None:
    outbox.tell(connection, user_id, outbox.PAYOUT, payout_id, f"payout.{what}", body)


def _read(connection: Connection, actor: Actor, payout_id: UUID) -> str:
    row = connection.execute(sql.READ, {"id": payout_id}).one_or_none()
    if row is None:
        raise NotFound
    actor.require_owner(row.user_id)
    return str(row.body)
