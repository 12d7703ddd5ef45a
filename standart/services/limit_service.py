"""Limits of a merchant: what one transaction, one day and all pending ones may come to.

A merchant without limits never comes here. One with limits creates under an advisory lock
of its own: whoever waited for it sees in a new statement what the one before committed, so
a limit holds exactly under any race. The daily sums count what is pending or confirmed of
this UTC day.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from standart import money
from standart.errors import LimitExceeded
from standart.models import LimitKind
from standart.money import Money

_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended('limits ' || :user_id, 0))")

_HAS = text("SELECT EXISTS (SELECT FROM limits WHERE user_id = :user_id)")

_LIVE = """(t.status = 'confirmed'
            OR t.status = 'pending' AND t.expires_at > clock_timestamp())"""
_TODAY = """t.user_id = l.user_id AND t.created_at
            >= date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"""

_BROKEN = text(
    f"""
    SELECT l.kind, l.currency, l.value
    FROM limits l CROSS JOIN LATERAL (SELECT CASE l.kind
        WHEN 'transaction_amount' THEN :amount
        WHEN 'daily_amount' THEN :amount + (
            SELECT coalesce(sum(t.amount), 0) FROM transactions t
            WHERE {_TODAY} AND t.currency = l.currency AND {_LIVE})
        WHEN 'daily_count' THEN 1 + (SELECT count(*) FROM transactions t WHERE {_TODAY} AND {_LIVE})
        WHEN 'pending_count' THEN 1 + (
            SELECT count(*) FROM transactions t WHERE t.user_id = l.user_id
              AND t.status = 'pending' AND t.expires_at > clock_timestamp())
        END AS reached) AS now
    WHERE l.user_id = :user_id AND l.currency IN (:currency, '*') AND now.reached > l.value
    ORDER BY l.kind
    """
)


def has_limits(connection: Connection, user_id: UUID) -> bool:
    """Whether the merchant has any limit."""
    return bool(connection.scalar(_HAS, {"user_id": user_id}))


def hold(connection: Connection, user_id: UUID) -> None:
    """Let nobody else create within this merchant's limits until the transaction ends."""
    connection.execute(_HOLD, {"user_id": str(user_id)})


def require_within(connection: Connection, user_id: UUID, amount: Money) -> None:
    """Refuse one more transaction of ``amount`` if it would pass a limit.

    Raises:
        LimitExceeded: names ``limit``, its ``value`` and, for sums, the ``currency``.
    """
    row = connection.execute(
        _BROKEN, {"user_id": user_id, "amount": amount.amount, "currency": amount.currency}
    ).first()
    if row is None:
        return
    kind = LimitKind(row.kind)
    if row.currency == "*":
        raise LimitExceeded(limit=kind.value, value=str(row.value))
    raise LimitExceeded(
        limit=kind.value,
        value=money.format_minor(row.value, row.currency),
        currency=row.currency,
    )
