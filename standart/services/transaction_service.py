"""Create, confirm, cancel, check and expire transactions.

The acts are single guarded statements (``transaction_sql``); when one returns no row,
nothing was written, and the explaining path here says why: it replays a kept answer,
answers an act that was already done, or raises the error.

All functions expect an autocommit connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from standart import money
from standart.clock import new_id
from standart.db import HotStatement, constraint_name
from standart.errors import (
    IdConflict,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from standart.models import Scope
from standart.services import idempotency_service, key_service
from standart.services import transaction_sql as sql
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.states import Action, TransactionStatus, target_of

# The state may move between an act and the question why it failed; each round asks anew.
_ROUNDS = 5

# Broken by what happened beside the statement: the id was taken, the user was deleted.
_EXPLAINED_CONSTRAINTS = frozenset(
    {
        "pk_transactions",
        "uq_transactions_id",
        "fk_transactions_users",
        "fk_idempotency_keys_users",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTransaction:
    """What a client asks for; ``amount`` is exact decimal text.

    ``id`` is the client's own choice, ``user_id`` names the merchant when an admin asks.
    ``fresh_id`` serves where the client chose none; it is drawn here, so that running the
    same request twice (the connection died after the commit) makes one transaction.
    """

    amount: str
    currency: str | None = None
    id: UUID | None = None
    reference: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    user_id: UUID | None = None
    fresh_id: UUID = field(default_factory=new_id)


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

    Answers 201; 200 when the client's own ``id`` repeats an earlier request of the same
    content; a kept answer when ``claim`` was already answered.

    Raises:
        Unauthenticated, InsufficientScope: the key does not allow this.
        InvalidInput: the currency is unknown, the amount does not fit it, or ``user_id``
            does not fit.
        IdConflict: the id is taken by another request or by somebody else.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """
    parameters = {
        "digest": digest.value,
        "scope": Scope.WRITE.value,
        "amount": new.amount if _is_sound(new) else None,
        "currency": new.currency,
        "id": new.id or new.fresh_id,
        "user_id": new.user_id,
        "reference": new.reference,
        "description": new.description,
        "metadata": msgspec.json.encode(new.metadata).decode(),
        "ttl": ttl_seconds,
    }

    def explain() -> Answer | None:
        actor, kept = _caller(connection, digest, origin, Scope.WRITE, claim)
        if kept:
            return kept
        owner_id, amount = _terms(connection, actor, new)
        return _same_again(connection, actor, owner_id, amount, new)

    return _act(
        connection,
        sql.CREATE[claim is not None],
        parameters,
        explain,
        201,
        digest,
        claim,
    )


def confirm(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    transaction_id: UUID,
    *,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Confirm a pending transaction and credit its net to the merchant.

    Answers 200, also when it is confirmed already.

    Raises:
        NotFound: unknown, or somebody else's.
        NotPending: it was canceled or has expired.
    """
    return _settle(connection, caller, origin, transaction_id, Action.CONFIRM, None, claim)


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
        actor, _ = _caller(connection, caller, origin, Scope.READ, None)
    else:
        actor = caller
    return Answer(200, _read_settled(connection, actor, transaction_id))


def expire_overdue(connection: Connection, *, batch: int = 500) -> int:
    """End up to ``batch`` overdue transactions as expired; return how many.

    Overdue is decided by the database's clock alone.
    """
    ids = [new_id() for _ in range(2 * batch)]
    return int(
        connection.execute(
            sql.EXPIRE,
            {
                "batch": batch,
                "event_ids": ids[:batch],
                "delivery_ids": ids[batch:],
                "channel": "sweep",
                "request_id": None,
                "ip": None,
            },
        ).scalar_one()
    )


def _act(
    connection: Connection,
    statement: HotStatement,
    parameters: Mapping[str, Any],
    explain: Callable[[], Answer | None],
    status: int,
    caller: KeyDigest | Actor,
    claim: IdempotencyClaim | None,
) -> Answer:
    """Run one guarded statement; when it wrote nothing, say why or try again."""
    if claim is not None:
        parameters = {**parameters, **claim.parameters(), "answer_status": status}
    for _ in range(_ROUNDS):
        try:
            row = statement.first(connection, parameters)
        except IntegrityError as error:
            if constraint_name(error) not in _EXPLAINED_CONSTRAINTS:
                raise
            row = None
        if row is not None:
            return Answer(status, row[0])
        answer = explain()
        if answer is not None and _kept(connection, caller, claim, answer):
            return answer
    raise Unavailable("The transaction is busy; try again.", retry_after=1)


def _kept(
    connection: Connection,
    caller: KeyDigest | Actor,
    claim: IdempotencyClaim | None,
    answer: Answer,
) -> bool:
    """Keep an answer that the explaining path found, unless it is a kept one itself."""
    if claim is None or answer.replayed or not isinstance(caller, KeyDigest):
        return True
    actor = key_service.authenticate(connection, caller, Origin("api"))
    assert actor.user_id is not None
    return idempotency_service.keep(connection, actor.user_id, claim, answer)


def _caller(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    scope: Scope,
    claim: IdempotencyClaim | None,
) -> tuple[Actor, Answer | None]:
    """Return who asks, and the kept answer if this was asked before."""
    if isinstance(caller, Actor):
        caller.require(scope)
        return caller, None
    actor = key_service.authenticate(connection, caller, origin)
    actor.require(scope)
    assert actor.user_id is not None
    kept = idempotency_service.replay(connection, actor.user_id, claim) if claim else None
    return actor, kept


def _is_sound(new: NewTransaction) -> bool:
    """Whether the statement may see the amount: PostgreSQL reads texts that are no amounts.

    Without an amount nothing is created, and the explaining path says what is wrong.
    """
    known = new.currency is None or new.currency in money.CURRENCIES
    return known and money.may_be_amount(new.amount)


_OWNER = text("SELECT id, currency, active FROM users WHERE id = :user_id")


def _terms(connection: Connection, actor: Actor, new: NewTransaction) -> tuple[UUID, money.Money]:
    """Return whose transaction it shall be and its exact amount, or say what is wrong."""
    if actor.is_admin and new.user_id is None:
        raise InvalidInput.of("user_id", "An admin's key must name the merchant.")
    if not actor.is_admin and new.user_id is not None:
        raise InvalidInput.of("user_id", "Only an admin's key may name a merchant.")
    owner = connection.execute(_OWNER, {"user_id": new.user_id or actor.user_id}).one_or_none()
    if owner is None:
        raise InvalidInput.of("user_id", "There is no such user.")
    if not owner.active:
        raise InvalidInput.of("user_id", "This user is deactivated.")
    currency = owner.currency if new.currency is None else new.currency
    return owner.id, money.parse_amount(new.amount, currency)


_SAME = text(
    """
    SELECT user_id, amount, currency, reference, description, metadata
    FROM transactions WHERE id = :id
    """
)


def _same_again(
    connection: Connection,
    actor: Actor,
    owner_id: UUID,
    amount: money.Money,
    new: NewTransaction,
) -> Answer | None:
    """Answer a repeated id with the transaction that it made: 200, 201 for a fresh one.

    Raises:
        IdConflict: the id has other content or another owner; shows nothing of the row.
    """
    transaction_id = new.id or new.fresh_id
    row = connection.execute(_SAME, {"id": transaction_id}).one_or_none()
    if row is None:
        return None
    asked = (owner_id, amount.amount, amount.currency, new.reference, new.description)
    found = (row.user_id, row.amount, row.currency, row.reference, row.description)
    if found != asked or row.metadata != new.metadata:
        raise IdConflict
    body = _read_settled(connection, actor, transaction_id)
    return Answer(200 if new.id else 201, body)


def _settle(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    transaction_id: UUID,
    action: Action,
    reason: str | None,
    claim: IdempotencyClaim | None,
) -> Answer:
    posting = action is Action.CONFIRM
    scope = Scope.CONFIRM if posting else Scope.WRITE
    parameters: dict[str, Any] = {
        "id": transaction_id,
        "status": target_of(TransactionStatus.PENDING, action).value,
        "reason": reason,
        "event_id": new_id(),
        "delivery_id": new_id(),
        "channel": origin.channel,
        "request_id": origin.request_id,
        "ip": origin.ip,
    }
    if posting:
        parameters["journal_id"] = new_id()
    if isinstance(caller, KeyDigest):
        statement = sql.SETTLE_BY_KEY[posting, claim is not None]
        parameters |= {"digest": caller.value, "scope": scope.value}
    else:
        caller.require(scope)
        statement = sql.SETTLE_BY_ADMIN[posting]
        parameters |= {"caller_id": caller.user_id}

    def explain() -> Answer | None:
        actor, kept = _caller(connection, caller, origin, scope, claim)
        if kept:
            return kept
        body = _read_settled(connection, actor, transaction_id)
        status = TransactionStatus(msgspec.json.decode(body)["status"])
        if target_of(status, action) is not status:
            _require_active(connection, actor)
            return None
        return Answer(200, body)

    return _act(connection, statement, parameters, explain, 200, caller, claim)


_ACTIVE_ADMIN = text("SELECT true FROM users WHERE id = :id AND active AND role = 'admin'")


def _require_active(connection: Connection, actor: Actor) -> None:
    """Refuse an admin who lost the rights since the login was checked."""
    if actor.is_admin and not connection.scalar(_ACTIVE_ADMIN, {"id": actor.user_id}):
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
