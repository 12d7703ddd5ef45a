"""The kept sums of transactions, counted again from the rows that they are of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from standart.services.findings import Finding
from standart.services.proof import queries

# What the sums must hold up to their mark: (user_id, currency, series, at, amount, commission).
_MOMENTS: Final = """
    SELECT t.user_id, t.currency, k.series, k.at, t.amount, t.commission
    FROM sums_mark m CROSS JOIN transactions t CROSS JOIN LATERAL (VALUES
        ('created', t.created_at),
        (CASE t.status WHEN 'pending' THEN 'expired' ELSE t.status END,
            coalesce(t.finished_at, t.expires_at))
    ) AS k (series, at)
    WHERE k.at <= m.upto"""


def _sums(table: str, key: str, subject: str, among: str = "true") -> str:
    """SQL: what differs between kept sums and the rows that they are of."""
    return f"""
        SELECT {subject}, 'kept ' || coalesce(k.count, 0) || ' of ' || coalesce(k.amount, 0)
            || ', counted ' || coalesce(c.count, 0) || ' of ' || coalesce(c.amount, 0)
        FROM (SELECT * FROM {table} WHERE {among}) AS k
        FULL JOIN (
            SELECT {key}, count(*) AS count, sum(amount) AS amount, sum(commission) AS commission
            FROM (SELECT *, date_trunc('hour', at, 'UTC') AS hour FROM ({_MOMENTS}) AS m) AS each
            WHERE {among} GROUP BY {key}
        ) AS c USING ({key})
        WHERE (k.count, k.amount, k.commission) IS DISTINCT FROM (c.count, c.amount, c.commission)
    """


_INVARIANTS: Final = {
    "hourly_sum_is_of_rows": _sums(
        "hourly_sums", "currency, series, hour", "currency || '/' || series || '/' || hour"
    ),
    "merchant_sum_is_of_rows": _sums(
        "merchant_sums", "user_id, currency, series", "user_id || '/' || currency || '/' || series"
    ),
    # Older hours of single merchants are forgotten. Both sides end at the same one, which the
    # moment of the snapshot names; a clock goes on while they are read.
    "merchant_hourly_sum_is_of_rows": _sums(
        "merchant_hourly_sums",
        "user_id, currency, series, hour",
        "user_id || '/' || currency || '/' || series || '/' || hour",
        "hour > now() - interval '34 days'",
    ),
}

INVARIANTS: Final = tuple(_INVARIANTS)


def check(connection: Connection) -> Iterator[Finding]:
    """Yield every breach of ``INVARIANTS``; ``connection`` holds one snapshot."""
    yield from queries.each(connection, _INVARIANTS)
