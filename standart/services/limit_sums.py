"""What a merchant's day has come to so far, kept so that no create adds it up anew.

Only for merchants with limits, under the lock that they create under. What is kept counts
the confirmed of a day up to a moment before which nothing can change any more: all that was
created until then has ended, and nobody who began until then still writes. What came since
is counted row by row, a few minutes of a day. A short day is never added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

ROWS: Final = 100
"""How many must have ended since before they are added up."""

_KEPT = text(
    """
    SELECT upto, count AS number, coalesce(CAST(amounts ->> :currency AS bigint), 0) AS amount
    FROM limit_sums WHERE user_id = :user_id AND day = :midnight
    """
)

_SINCE = text(
    """
    SELECT greatest(date_trunc('day', clock_timestamp(), 'UTC'),
        (SELECT upto FROM limit_sums WHERE user_id = :user_id))
    """
)

# With a moment that it knows, the planner starts there in the index of the merchant's newest.
_DUE = text(
    """
    SELECT count(*) = :rows AND bool_and(status <> 'pending') FROM (
        SELECT status FROM transactions
        WHERE user_id = :user_id AND created_at >= :since
        ORDER BY created_at, id LIMIT :rows
    ) AS oldest
    """
)

_OLDEST_PENDING = text(
    """
    SELECT created_at FROM transactions
    WHERE user_id = :user_id AND created_at >= :since AND created_at < :now
      AND status = 'pending'
    ORDER BY created_at, id LIMIT 1
    """
)

# A writer holds this lock before its row reads the clock, and until its commit can be seen.
_OLDEST_WRITER = text(
    """
    SELECT min(coalesce(a.xact_start, 'epoch'))
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.relation = 'transactions'::regclass
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode = 'RowExclusiveLock' AND l.pid IS DISTINCT FROM pg_backend_pid()
    HAVING count(*) > 0 AND min(coalesce(a.xact_start, 'epoch')) < :bound
    """
)

_KEEP = text(
    """
    INSERT INTO limit_sums AS s (user_id, day, upto, count, amounts)
    SELECT :user_id, :midnight, :bound, coalesce(sum(e.count), 0),
        coalesce(jsonb_object_agg(e.currency, e.amount) FILTER (WHERE e.currency <> ''), '{}')
    FROM (
        SELECT currency, sum(count) AS count, sum(amount) AS amount
        FROM (
            SELECT currency, count(*) AS count, sum(amount) AS amount FROM transactions
            WHERE user_id = :user_id AND created_at >= :since AND created_at < :bound
              AND status = 'confirmed'
            GROUP BY currency
            UNION ALL
            SELECT k.key, 0, CAST(k.value AS numeric)
            FROM limit_sums o CROSS JOIN LATERAL jsonb_each_text(o.amounts) AS k
            WHERE o.user_id = :user_id AND o.day = :midnight
            UNION ALL
            SELECT '', o.count, 0 FROM limit_sums o
            WHERE o.user_id = :user_id AND o.day = :midnight
        ) AS each GROUP BY currency
    ) AS e
    ON CONFLICT (user_id) DO UPDATE SET day = excluded.day, upto = excluded.upto,
        count = excluded.count, amounts = excluded.amounts
    """
)


@dataclass(frozen=True, slots=True)
class Kept:
    """How many were confirmed of what was created up to ``upto``, and their sum."""

    upto: datetime
    count: int
    amount: int


def kept(connection: Connection, user_id: UUID, currency: str, midnight: datetime) -> Kept:
    """Return what is kept of the day that began at ``midnight``, in one currency."""
    of_day = {"user_id": user_id, "currency": currency, "midnight": midnight}
    row = connection.execute(_KEPT, of_day).one_or_none()
    return Kept(midnight, 0, 0) if row is None else Kept(row.upto, row.number, row.amount)


def is_due(connection: Connection, user_id: UUID) -> bool:
    """Whether there is anything to be added up."""
    since = connection.scalar(_SINCE, {"user_id": user_id})
    return bool(connection.scalar(_DUE, {"user_id": user_id, "since": since, "rows": ROWS}))


def keep_up(connection: Connection, user_id: UUID, now: datetime) -> None:
    """Add up what has ended of today; the caller holds the merchant's lock since ``now``."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = kept(connection, user_id, "", midnight).upto
    asked = {"user_id": user_id, "since": since, "now": now}
    bound = connection.scalar(_OLDEST_PENDING, asked) or now
    # Asked by a statement of its own before the sum: it sees what those have written who
    # are not there any more.
    bound = connection.scalar(_OLDEST_WRITER, {"bound": bound}) or bound
    if bound > since:
        connection.execute(_KEEP, {**asked, "midnight": midnight, "bound": bound})
