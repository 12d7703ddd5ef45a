"""Limits of a merchant: what one transaction, one day and all pending ones may come to.

A merchant without limits never comes here. One with limits creates under an advisory lock
of its own: whoever waited for it sees in a new statement what the one before committed, so
a limit holds exactly under any race. The daily ones count what is pending or confirmed of
this UTC day, so whatever ends unpaid makes room again. What cannot change any more of a long
day is kept added up (``limit_sums``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from standart import money
from standart.db import unit
from standart.errors import FieldError, InvalidInput, LimitExceeded, NotFound
from standart.models import Limit, LimitKind, User
from standart.money import MAX_MINOR, Money
from standart.services import audit_service, limit_sums
from standart.services.access import Actor

ALL_CURRENCIES = "*"
"""What stands for the currency of a limit that counts rows."""

OF_AMOUNTS = frozenset({LimitKind.TRANSACTION_AMOUNT, LimitKind.DAILY_AMOUNT})

# The clock is read once the lock is there, by the database and before the sums: with a time
# that it knows, the planner starts at today in the index of the merchant's newest.
_HOLD = text(
    """
    WITH held AS MATERIALIZED (
        SELECT pg_advisory_xact_lock(hashtextextended('limits ' || :user_id, 0))
    )
    SELECT clock_timestamp() FROM held
    """
)

_HAS = text("SELECT EXISTS (SELECT FROM limits WHERE user_id = :user_id)")

# A confirm that was in time may commit after the expiry; it holds its row until then. Waited
# for by a statement of its own, so that the sums see what came of it.
_LET_SETTLE = text(
    """
    SELECT FROM transactions
    WHERE user_id = :user_id AND created_at >= :since
      AND status = 'pending' AND expires_at <= :now
    FOR SHARE
    """
)

# What no limit asks for is not counted. A limit that waiting does not lift is named first.
_BROKEN = text(
    f"""
    WITH today AS MATERIALIZED (
        SELECT :kept_count + count(*) AS count,
            :kept_amount + coalesce(sum(t.amount) FILTER (WHERE t.currency = :currency), 0)
                AS amount
        FROM transactions t
        WHERE t.user_id = :user_id AND t.created_at >= :since
          AND (t.status = 'confirmed' OR t.status = 'pending' AND t.expires_at > :now)
    )
    SELECT l.kind, l.currency, l.value
    FROM limits l CROSS JOIN LATERAL (SELECT CASE l.kind
        WHEN 'transaction_amount' THEN CAST(:amount AS bigint)
        WHEN 'daily_amount' THEN :amount + (SELECT amount FROM today)
        WHEN 'daily_count' THEN 1 + (SELECT count FROM today)
        WHEN 'pending_count' THEN 1 + (
            SELECT count(*) FROM transactions t WHERE t.user_id = :user_id
              AND t.status = 'pending' AND t.expires_at > :now)
        END AS reached) AS would_be
    WHERE l.user_id = :user_id AND l.currency IN (:currency, '{ALL_CURRENCIES}')
      AND would_be.reached > l.value
    ORDER BY l.kind <> 'transaction_amount', l.kind
    LIMIT 1
    """
)


def has_limits(connection: Connection, user_id: UUID) -> bool:
    """Whether the merchant has any limit."""
    return bool(connection.scalar(_HAS, {"user_id": user_id}))


def hold(connection: Connection, user_id: UUID) -> datetime:
    """Let nobody else create within this merchant's limits until the transaction ends.

    Returns the database's time in UTC once that holds.
    """
    held_at: datetime = connection.execute(_HOLD, {"user_id": str(user_id)}).scalar_one()
    return held_at.astimezone(UTC)


def keep_up(connection: Connection, user_id: UUID) -> None:
    """Add up what has ended of the merchant's day, in a transaction of its own.

    Not in that of a create: what a refused one has added up would go with it.
    """
    if limit_sums.is_due(connection, user_id):
        with unit(connection):
            limit_sums.keep_up(connection, user_id, hold(connection, user_id))


def require_within(connection: Connection, user_id: UUID, amount: Money, now: datetime) -> None:
    """Refuse one more transaction of ``amount`` if it would pass a limit at ``now`` (UTC).

    Raises:
        LimitExceeded: names ``limit``, its ``value`` and, for sums, the ``currency``.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    kept = limit_sums.kept(connection, user_id, amount.currency, midnight)
    asked = {
        "user_id": user_id,
        "amount": amount.amount,
        "currency": amount.currency,
        "now": now,
        "since": kept.upto,
        "kept_count": kept.count,
        "kept_amount": kept.amount,
    }
    connection.execute(_LET_SETTLE, asked)
    row = connection.execute(_BROKEN, asked).first()
    if row is None:
        return
    limit = _shown(LimitKind(row.kind), row.currency, row.value)
    value = f"{limit['value']} {limit['currency']}" if "currency" in limit else limit["value"]
    # A count is about the request as a whole, not about one of its fields.
    field = "amount" if "currency" in limit else "body"
    wrong = FieldError(field, f"would exceed the limit {limit['limit']} of {value}")
    raise LimitExceeded([wrong], **limit)


def set_limit(
    session: Session, actor: Actor, user: User, kind: LimitKind, value: Money | int
) -> None:
    """Set a limit or replace it: money for sums, in its currency alone, a number for counts.

    It holds from the next request on. What is running waits for nothing, what exceeds it
    already stays as it is.

    Raises:
        InvalidInput: a number where money is meant or the other way round, below zero, or
            more than 10^15.
    """
    if isinstance(value, Money) is not (kind in OF_AMOUNTS):
        raise InvalidInput.of(kind.value, "must be money for sums and a number for counts")
    number, currency = (
        (value.amount, value.currency) if isinstance(value, Money) else (value, ALL_CURRENCIES)
    )
    if not 0 <= number <= MAX_MINOR:
        raise InvalidInput.of(kind.value, f"must be from 0 to {MAX_MINOR}")
    hold(session.connection(), user.id)
    limit = session.get(Limit, (user.id, kind, currency), populate_existing=True)
    before = describe(limit) if limit else None
    if limit is None:
        limit = Limit(user_id=user.id, kind=kind, currency=currency, value=number)
        session.add(limit)
    limit.value = number
    session.flush()
    audit_service.record(
        session, actor, "limit.set", "user", user.id, before=before, after=describe(limit)
    )


def remove_limit(
    session: Session, actor: Actor, user: User, kind: LimitKind, currency: str | None = None
) -> None:
    """Remove a limit; ``currency`` says which one of a kind that limits sums.

    Raises:
        NotFound: there is none.
    """
    hold(session.connection(), user.id)
    of_currency = (currency or user.currency) if kind in OF_AMOUNTS else ALL_CURRENCIES
    limit = session.get(Limit, (user.id, kind, of_currency), populate_existing=True)
    if limit is None:
        raise NotFound(f"{user.name} has no limit {kind.value} ({of_currency}).")
    before = describe(limit)
    session.delete(limit)
    session.flush()
    audit_service.record(session, actor, "limit.removed", "user", user.id, before=before)


def list_limits(session: Session, user_id: UUID) -> list[Limit]:
    """Return the limits of a merchant by kind and currency."""
    query = select(Limit).where(Limit.user_id == user_id).order_by(Limit.kind, Limit.currency)
    return list(session.scalars(query))


def describe(limit: Limit) -> dict[str, Any]:
    """What people and the audit log see of a limit; ``currency`` for sums only."""
    return _shown(limit.kind, limit.currency, limit.value)


def _shown(kind: LimitKind, currency: str, value: int) -> dict[str, Any]:
    if kind in OF_AMOUNTS:
        shown = money.format_minor(value, currency)
        return {"limit": kind.value, "value": shown, "currency": currency}
    return {"limit": kind.value, "value": str(value)}
