"""Create, confirm, cancel, check and expire transactions.

The acts are single guarded statements (``transaction_sql``); when one returns no row,
nothing was written, and the explaining path here says why: it replays a kept answer,
answers an act that was already done, or raises the error.

All functions expect an autocommit connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from standart import money
from standart.clock import new_id
from standart.db import unit
from standart.errors import (
    LimitExceeded,
    NotFound,
    Unauthenticated,
)
from standart.models import Scope
from standart.services import joint_confirm, limit_service, transaction_request
from standart.services import transaction_sql as sql
from standart.services.access import Actor, Origin
from standart.services.approval_service import NOBODY_ELSE, Thresholds, needs_two
from standart.services.guarded import Run, act, who_asks
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.transaction_request import NewTransaction
from standart.states import Action, TransactionStatus, target_of


def create(
    connection: Connection,
    digest: KeyDigest,
    origin: Origin,
    new: NewTransaction,
    *,
    ttl_seconds: int,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Create a pending transaction that expires ``ttl_seconds`` after the database's now.

    Tells of it (``Answer.told``) only where an endpoint asks for ``transaction.created``.
    Answers 201; 200 when the client's own ``id`` repeats an earlier request of the same
    content; a kept answer when ``claim`` was already answered.

    Raises:
        Unauthenticated, InsufficientScope: the key does not allow this.
        InvalidInput: the currency is unknown, the amount does not fit it, or ``user_id``
            does not fit.
        IdConflict: the id is taken by another request or by somebody else.
        ReferenceTaken: the merchant wants references to be unique, and this one is not.
        LimitExceeded: see ``limit_service``.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """
    parameters = _parameters(digest, new, ttl_seconds)

    def explain() -> Answer | None:
        actor, kept = who_asks(connection, digest, origin, Scope.WRITE, claim)
        if kept:
            return kept
        owner_id, amount = transaction_request.terms(connection, actor, new)
        if transaction_request.is_repeated(connection, owner_id, amount, new):
            body = _read_settled(connection, actor, new.wanted_id)
            return Answer(200 if new.id else 201, body)
        transaction_request.require_free_reference(connection, owner_id, new)
        if limit_service.has_limits(connection, owner_id):
            raise _Limited(owner_id, amount)
        return None

    def explain_limited() -> Answer | None:
        with suppress(_Limited):
            return explain()
        return None

    run: Run = sql.CREATE[claim is not None].first
    try:
        return act(connection, run, parameters, explain, 201, digest, claim)
    except _Limited as limited:
        run = _within_limits(*limited.terms, explain_limited, keyed=claim is not None)
    return act(connection, run, parameters, explain_limited, 201, digest, claim)


def _parameters(digest: KeyDigest, new: NewTransaction, ttl_seconds: int) -> dict[str, Any]:
    """What the creating statements are given."""
    return {
        "digest": digest.value,
        "scope": Scope.WRITE.value,
        "amount": new.amount if transaction_request.is_sound(new) else None,
        "currency": new.currency,
        "id": new.wanted_id,
        "user_id": new.user_id,
        "reference": new.reference,
        "description": new.description,
        "metadata": msgspec.json.encode(new.metadata).decode(),
        "ttl": ttl_seconds,
        "event_id": new_id(),
    }


class _Limited(Exception):
    """The merchant has limits. Not an error, a way to go."""

    def __init__(self, user_id: UUID, amount: money.Money) -> None:
        self.terms = (user_id, amount)


def _within_limits(
    user_id: UUID, amount: money.Money, explain: Callable[[], Answer | None], *, keyed: bool
) -> Run:
    """Return what creates as the hot statement does, but under the merchant's limits.

    Whoever repeats a request that was quicker to the lock takes no room of its own, so a
    limit refuses only what ``explain`` has no answer to.
    """

    def run(connection: Connection, parameters: Mapping[str, Any]) -> Any:
        try:
            limit_service.keep_up(connection, user_id)
            with unit(connection):
                now = limit_service.hold(connection, user_id)
                limit_service.require_within(connection, user_id, amount, now)
                # What was judged is what is written, whatever becomes the merchant's currency.
                judged = {**parameters, "currency": amount.currency}
                return sql.CREATE_WITHIN_LIMITS[keyed].first(connection, judged)
        except LimitExceeded:
            if explain() is None:
                raise
            return None

    return run


def confirm(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    transaction_id: UUID,
    *,
    claim: IdempotencyClaim | None = None,
    alone: Thresholds = NOBODY_ELSE,
    act_id: UUID | None = None,
) -> Answer:
    """Confirm a pending transaction and credit its net to the merchant.

    ``alone`` has the sums up to which one person suffices, ``act_id`` was drawn for this
    request (``approval_service``). Answers 200, also when it is confirmed already; 202 when
    a second admin must confirm too.

    Raises:
        NotFound: unknown, or somebody else's.
        NotPending: it was canceled or has expired.
        SecondPersonRequired: see ``approval_service``.
    """
    return _settle(
        connection, caller, origin, transaction_id, Action.CONFIRM, None, claim, alone, act_id
    )


def cancel(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    transaction_id: UUID,
    *,
    reason: str | None = None,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Cancel a pending transaction.

    Answers 200, also when it is canceled already.

    Raises:
        NotFound: unknown, or somebody else's.
        NotPending: it was confirmed or has expired.
    """
    return _settle(connection, caller, origin, transaction_id, Action.CANCEL, reason, claim)


def check(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    transaction_id: UUID,
) -> Answer:
    """Return one transaction as its owner or an admin sees it.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
    """
    if isinstance(caller, KeyDigest):
        parameters = {
            "digest": caller.value,
            "scope": Scope.READ.value,
            "id": transaction_id,
        }
        row = sql.READ_ONE_BY_KEY.first(connection, parameters)
        if row is not None and not row[1]:
            return Answer(200, row[0])
        actor, _ = who_asks(connection, caller, origin, Scope.READ, None)
    else:
        actor = caller
    return Answer(200, _read_settled(connection, actor, transaction_id))


def expire_overdue(connection: Connection, *, batch: int = 500) -> int:
    """End up to ``batch`` overdue transactions as expired; return how many.

    Overdue is decided by the database's clock alone.
    """
    return int(
        connection.execute(
            sql.EXPIRE,
            {
                "batch": batch,
                "event_ids": [new_id() for _ in range(batch)],
                "channel": "sweep",
                "request_id": None,
                "ip": None,
            },
        ).scalar_one()
    )


def _settle(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    transaction_id: UUID,
    action: Action,
    reason: str | None,
    claim: IdempotencyClaim | None,
    alone: Thresholds = NOBODY_ELSE,
    act_id: UUID | None = None,
) -> Answer:
    posting = action is Action.CONFIRM
    scope = Scope.CONFIRM if posting else Scope.WRITE
    parameters: dict[str, Any] = {
        "id": transaction_id,
        "status": target_of(TransactionStatus.PENDING, action).value,
        "reason": reason,
        "event_id": new_id(),
        "channel": origin.channel,
        "request_id": origin.request_id,
        "ip": origin.ip,
    }
    if posting:
        parameters["journal_id"] = new_id()
        parameters["alone"] = msgspec.json.encode(dict(alone)).decode()
    if isinstance(caller, KeyDigest):
        statement = sql.SETTLE_BY_KEY[posting, claim is not None]
        parameters |= {"digest": caller.value, "scope": scope.value}
    else:
        caller.require(scope)
        statement = sql.SETTLE_BY_SETTLER[posting]
        parameters |= {"caller_id": caller.user_id}

    def explain() -> Answer | None:
        actor, kept = who_asks(connection, caller, origin, scope, claim)
        if kept:
            return kept
        body = _read_settled(connection, actor, transaction_id)
        found = msgspec.json.decode(body)
        status = TransactionStatus(found["status"])
        if target_of(status, action) is status:
            return Answer(200, body)
        _require_active(connection, actor)
        if posting and needs_two(money.parse_amount(found["amount"], found["currency"]), alone):
            raise _NotAlone
        return None

    try:
        return act(connection, statement.first, parameters, explain, 200, caller, claim)
    except _NotAlone:
        act_id = act_id or new_id()
        return _together(connection, caller, origin, transaction_id, act_id, claim, parameters)


class _NotAlone(Exception):
    """One person may not confirm such a sum. Not an error, a way to go."""


def _together(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    transaction_id: UUID,
    act_id: UUID,
    claim: IdempotencyClaim | None,
    parameters: Mapping[str, Any],
) -> Answer:
    """Confirm by two people; the idempotency key is not the business of the last statement."""
    by_key = isinstance(caller, KeyDigest)
    statement = sql.SETTLE_BY_KEY[True, False] if by_key else sql.SETTLE_BY_SETTLER[True]
    return joint_confirm.confirm(
        connection,
        caller,
        origin,
        transaction_id,
        act_id,
        claim=claim,
        read=lambda actor: _read_settled(connection, actor, transaction_id),
        settle=lambda: statement.first(connection, {**parameters, "alone": "{}"}),
    )


_STILL_SETTLES = text(
    "SELECT true FROM users WHERE id = :id AND active AND role IN ('admin', 'operator')"
)


def _require_active(connection: Connection, actor: Actor) -> None:
    """Refuse who decides over others' money and lost that right since it was checked."""
    if actor.settles and not connection.scalar(_STILL_SETTLES, {"id": actor.user_id}):
        raise Unauthenticated("This login is not active any more.")


def _read_settled(connection: Connection, actor: Actor, transaction_id: UUID) -> str:
    """Read one transaction; an overdue one only after whoever holds it has finished."""
    row = connection.execute(sql.READ_ONE, {"id": transaction_id}).one_or_none()
    if row is None:
        raise NotFound
    actor.require_owner(row.user_id)
    if row.unswept:
        row = connection.execute(sql.READ_ONE_SETTLED, {"id": transaction_id}).one()
    return str(row.body)
