"""Refunds: giving back what was paid, in parts or whole.

The transaction's row is locked first, so refunds of one payment come one after another;
the guarded row of ``refund_totals`` decides whether there is enough left. The transaction
itself stays as it is. What the merchant gives back is debited from what is available.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, text

from standart import money
from standart.clock import new_id
from standart.errors import NotConfirmed, NotFound, RefundTooLarge
from standart.models import AccountKind, JournalKind, Scope
from standart.services import acts, audit_service, outbox, posting
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.wire import CLOCK, rfc3339, unit
from standart.states import TransactionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefund:
    """What is asked for; ``amount`` is exact decimal text, ``None`` for all that is left.

    With ``refund_commission`` the commission's share is given back too and the merchant
    pays so much less. By ``fresh_id`` a second run of the same request (the connection died
    after the commit) finds what the first one did.
    """

    transaction_id: UUID
    amount: str | None = None
    reason: str | None = None
    refund_commission: bool = False
    fresh_id: UUID = field(default_factory=new_id)


def _wire(rows: str) -> str:
    """SQL: the wire form of refunds, with (created_at, id, user_id), from ``rows``."""
    return f"""
    SELECT (SELECT row_to_json(w) FROM (SELECT
            r.id, r.transaction_id, r.user_id, 'posted' AS status,
            (r.amount * r.unit)::text AS amount, r.currency, r.refund_commission,
            (r.commission_returned * r.unit)::text AS commission_returned,
            ((r.amount - r.commission_returned) * r.unit)::text AS debited,
            r.reason, {rfc3339("r.created_at")} AS created_at
        ) AS w)::text AS body, r.created_at, r.id, r.user_id
    FROM (SELECT f.*, {unit("f.currency")} AS unit FROM {rows}) AS r"""


# Whoever may not see the row does not lock it either.
_LOCK = text(
    f"""
    SELECT t.user_id, t.id, t.amount, t.commission, t.currency,
        CASE WHEN t.status = 'pending' AND t.expires_at <= clock.now
            THEN 'expired' ELSE t.status END AS status
    FROM transactions t CROSS JOIN {CLOCK} AS clock
    WHERE t.id = :id AND t.user_id = coalesce(CAST(:owner_id AS uuid), t.user_id)
    FOR NO KEY UPDATE OF t
    """
)

_ONE = text(_wire("refunds f WHERE f.id = :id"))

_REFUNDED = text(
    """
    SELECT coalesce(sum(refunded), 0)::bigint FROM refund_totals
    WHERE user_id = :user_id AND transaction_id = :transaction_id
    """
)

_TAKE = text(
    """
    INSERT INTO refund_totals AS s (user_id, transaction_id, amount, refunded)
    SELECT :user_id, :transaction_id, :of, :amount WHERE :amount <= CAST(:of AS bigint)
    ON CONFLICT (user_id, transaction_id) DO UPDATE SET refunded = s.refunded + :amount
        WHERE s.refunded + :amount <= s.amount
    """
)

_MAKE = text(
    f"""
    WITH made AS (
        INSERT INTO refunds (user_id, id, transaction_id, amount, currency, refund_commission,
            commission_returned, reason)
        VALUES (:user_id, :id, :transaction_id, :amount, :currency, :refund_commission,
            :commission_returned, :reason)
        RETURNING *
    )
    {_wire("made f")}
    """
)


def create_refund(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    new: NewRefund,
    *,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Give back a part of a confirmed transaction, or all that is left; answer 201.

    Raises:
        NotFound: the transaction is unknown, or somebody else's, in the same words.
        InvalidInput: the amount does not fit the currency.
        NotConfirmed: nothing was paid; carries ``transaction_status``.
        RefundTooLarge: less is left, maybe nothing; carries ``refundable``.
        InsufficientBalance: less is available; nothing was written.
    """

    def work(actor: Actor) -> Answer:
        paid = _locked(connection, actor, new.transaction_id)
        done = connection.execute(_ONE, {"id": new.fresh_id}).one_or_none()
        return Answer(201, done.body if done else _refund(connection, actor, paid, new))

    return acts.perform(connection, caller, origin, Scope.REFUND, work, claim=claim)


def check_refund(connection: Connection, actor: Actor, refund_id: UUID) -> str:
    """Return one refund as its owner or an admin sees it.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
    """
    actor.require(Scope.READ)
    row = connection.execute(_ONE, {"id": refund_id}).one_or_none()
    if row is None:
        raise NotFound
    actor.require_owner(row.user_id)
    return str(row.body)


def list_refunds(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    transaction_id: UUID | None = None,
    currency: str | None = None,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[tuple[str, datetime, UUID]]:
    """Return (wire JSON, created_at, id) of refunds, newest first by (created_at, id).

    ``created_from`` is inclusive, ``created_to`` exclusive; ``after`` is the (created_at,
    id) of the last row already seen. A regular actor sees its own rows, whatever it asks.
    """
    actor.require(Scope.READ)
    parameters: dict[str, Any] = {"limit": limit}
    conditions: list[str] = []

    def add(condition: str, **values: object) -> None:
        if None not in values.values():
            conditions.append(condition)
            parameters.update(values)

    add("f.user_id = :owner_id", owner_id=None if actor.sees_all else actor.user_id)
    add("f.user_id = :user_id", user_id=user_id)
    # Naming the owner as well lets an admin's question use the index, too.
    add(
        "f.user_id = (SELECT t.user_id FROM transactions t WHERE t.id = :transaction_id)"
        " AND f.transaction_id = :transaction_id",
        transaction_id=transaction_id,
    )
    add("f.currency = :currency", currency=currency)
    add("f.created_at >= :created_from", created_from=created_from)
    add("f.created_at < :created_to", created_to=created_to)
    after_at, after_id = after or (None, None)
    add("(f.created_at, f.id) < (:after_at, :after_id)", after_at=after_at, after_id=after_id)
    page = (
        f"(SELECT f.* FROM refunds f WHERE {' AND '.join(conditions) or 'true'}"
        " ORDER BY f.created_at DESC, f.id DESC LIMIT :limit) AS f"
    )
    query = text(f"{_wire(page)} ORDER BY r.created_at DESC, r.id DESC")
    rows = connection.execute(query, parameters)
    return [(row.body, row.created_at, row.id) for row in rows]


def _locked(connection: Connection, actor: Actor, transaction_id: UUID) -> Row[Any]:
    """Return the transaction; who confirms it or gives a part of it back is done by now."""
    owner_id = None if actor.sees_all else actor.user_id
    row = connection.execute(_LOCK, {"id": transaction_id, "owner_id": owner_id}).one_or_none()
    if row is None:
        raise NotFound
    return row


def _refund(connection: Connection, actor: Actor, paid: Row[Any], new: NewRefund) -> str:
    """Take, write, post and tell a refund of a locked transaction; return its wire form."""
    asked = None if new.amount is None else money.parse_amount(new.amount, paid.currency).amount
    if paid.status != TransactionStatus.CONFIRMED:
        raise NotConfirmed(transaction_status=paid.status)
    subject = {"user_id": paid.user_id, "transaction_id": paid.id}
    before = int(connection.execute(_REFUNDED, subject).scalar_one())
    left = paid.amount - before
    amount = asked or left
    taken = {**subject, "of": paid.amount, "amount": amount}
    if not left or connection.execute(_TAKE, taken).rowcount == 0:
        refundable = money.format_minor(left, paid.currency)
        raise RefundTooLarge(refundable=refundable, currency=paid.currency)
    returned = 0
    if new.refund_commission:
        returned = money.share(paid.commission, paid.amount, before, amount)
    refund = {
        **subject,
        "id": new.fresh_id,
        "amount": amount,
        "currency": paid.currency,
        "refund_commission": new.refund_commission,
        "commission_returned": returned,
        "reason": new.reason,
    }
    body = str(connection.execute(_MAKE, refund).one().body)
    _post(connection, paid, new.fresh_id, amount, returned)
    _tell(connection, actor, paid.user_id, new.fresh_id, body)
    return body


def _post(
    connection: Connection, paid: Row[Any], refund_id: UUID, amount: int, returned: int
) -> None:
    lines = [
        (AccountKind.AVAILABLE, returned - amount),
        (AccountKind.COMMISSION, -returned),
        (AccountKind.CLEARING, amount),
    ]
    posting.post(
        connection, paid.user_id, JournalKind.REFUND, paid.currency, lines, refund_id=refund_id
    )


def _tell(connection: Connection, actor: Actor, user_id: UUID, refund_id: UUID, body: str) -> None:
    outbox.tell(connection, user_id, outbox.REFUND, refund_id, "refund.created", body)
    audit_service.record(
        connection, actor, "refund.created", "refund", refund_id, after=msgspec.json.decode(body)
    )
