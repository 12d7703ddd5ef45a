"""The sums of transactions: how they are kept, and how exact figures are read from them.

A row counts at two moments, at its creation and at its end, and neither changes any more once
it has passed: a pending one is expired from ``expires_at`` on, swept or not. So everything up
to a mark is summed once and for all, and what is behind the mark is counted from the rows.
The mark moves only to where nobody can write any more: whoever writes a transaction holds the
lock of the table before the clock is read and lets it go after the commit can be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, text

from standart.db import unit

KEPT: Final = timedelta(days=35)
"""How long the hours of single merchants are kept; the longest chart is of 30 days."""

PAUSES: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 0.64)
"""Seconds to wait for writers, again and again: two seconds in all."""

_NOW = text("SELECT clock_timestamp()")
_WRITERS = text(
    """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'transactions'::regclass
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()
    """
)
_PAUSE = text("SELECT pg_sleep(:seconds)")

# One step at a time; a second one would count the same rows.
_HOLD = text("SELECT upto FROM sums_mark FOR UPDATE SKIP LOCKED")

# As far as one batch goes, by the moments of the rows themselves.
_REACH = text(
    """
    SELECT least(CAST(:horizon AS timestamptz),
        (SELECT created_at FROM transactions WHERE created_at > :upto
            ORDER BY created_at OFFSET :batch LIMIT 1),
        (SELECT finished_at FROM transactions WHERE finished_at > :upto
            ORDER BY finished_at OFFSET :batch LIMIT 1),
        (SELECT expires_at FROM transactions WHERE status = 'pending' AND expires_at > :upto
            ORDER BY expires_at OFFSET :batch LIMIT 1))
    """
)


def _counted(low: str, high: str) -> str:
    """SQL: what counts from behind moment ``low`` up to moment ``high``, a row for each."""
    return f"""
        SELECT user_id, currency, 'created' AS series, created_at AS at, amount, commission
        FROM transactions WHERE created_at > {low} AND created_at <= {high}
        UNION ALL
        SELECT user_id, currency, status, finished_at, amount, commission
        FROM transactions WHERE finished_at > {low} AND finished_at <= {high}
        UNION ALL
        SELECT user_id, currency, 'expired', expires_at, amount, commission
        FROM transactions
        WHERE status = 'pending' AND expires_at > {low} AND expires_at <= {high}"""


def _add(table: str, key: str, among: str) -> str:
    return f"""
        INSERT INTO {table} AS kept ({key}, count, amount, commission)
        SELECT {key}, sum(count), sum(amount), sum(commission) FROM hours {among} GROUP BY {key}
        ORDER BY {key}
        ON CONFLICT ({key}) DO UPDATE SET count = kept.count + excluded.count,
            amount = kept.amount + excluded.amount,
            commission = kept.commission + excluded.commission"""


_STEP = text(
    f"""
    WITH hours AS MATERIALIZED (
        SELECT user_id, currency, series, date_trunc('hour', at, 'UTC') AS hour,
            count(*) AS count, sum(amount) AS amount, sum(commission) AS commission
        FROM ({_counted(":upto", ":reach")}) AS each
        GROUP BY 1, 2, 3, 4
    ),
    hourly AS ({_add("hourly_sums", "currency, series, hour", "")}),
    of_merchants AS ({
        _add(
            "merchant_hourly_sums",
            "user_id, currency, series, hour",
            "WHERE hour > CAST(:horizon AS timestamptz) - CAST(:kept AS interval)",
        )
    }),
    in_all AS ({_add("merchant_sums", "user_id, currency, series", "")}),
    moved AS (UPDATE sums_mark SET upto = :reach WHERE EXISTS (SELECT FROM hours))
    SELECT coalesce(sum(count), 0)::bigint FROM hours
    """
)

_FORGET = text(
    """
    DELETE FROM merchant_hourly_sums
    WHERE hour < (SELECT upto FROM sums_mark) - CAST(:kept AS interval)
    """
)


def keep(
    connection: Connection, *, batch: int = 20_000, go_on: Callable[[], bool] = lambda: True
) -> int:
    """Sum what has become final since the last time; return how many moments were counted.

    ``connection`` is in autocommit mode. Where somebody has been writing for too long, nothing
    is done now; the figures are exact all the same, and only dearer to read.
    """
    horizon = _settled(connection)
    total = 0
    while horizon is not None and go_on():
        counted = _step(connection, horizon, batch)
        if not counted:
            break
        total += counted
    return total


def forget(connection: Connection) -> int:
    """Delete hours of single merchants that no chart shows any more; return how many."""
    return int(connection.execute(_FORGET, {"kept": KEPT}).rowcount)


def _settled(connection: Connection) -> object | None:
    """Return a moment up to which nobody can write any more, ``None`` if they don't finish."""
    now: object = connection.scalar(_NOW)
    writers = set(connection.scalars(_WRITERS))
    for seconds in PAUSES:
        if not writers:
            break
        connection.execute(_PAUSE, {"seconds": seconds})
        writers &= set(connection.scalars(_WRITERS))
    return None if writers else now


def _step(connection: Connection, horizon: object, batch: int) -> int:
    with unit(connection):
        upto = connection.scalar(_HOLD)
        if upto is None:
            return 0
        bounds = {"horizon": horizon, "upto": upto}
        reach = connection.scalar(_REACH, {**bounds, "batch": batch})
        return int(connection.execute(_STEP, {**bounds, "reach": reach, "kept": KEPT}).scalar_one())
