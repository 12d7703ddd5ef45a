"""The figures of the dashboard: exact at every read, from the sums and what is behind their mark.

Nothing here writes. ``owner_id`` narrows all to one merchant; money is in minor units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from standart.services.endpoint_service import PATIENCE

CREATED: Final = "created"
ENDINGS: Final = ("confirmed", "canceled", "expired")

MOST: Final = 10_000
"""Up to how many are counted of what has no sum; one more means "at least so many"."""

_CLOCK = "clock AS MATERIALIZED (SELECT clock_timestamp() AS now)"
_NOW = "(SELECT now FROM clock)"
_MARK = "(SELECT upto FROM sums_mark)"
_OWN = "user_id = :owner_id"


def _each(build: str) -> dict[bool, TextClause]:
    """Return the statement for one merchant (``True``) and for all together."""
    return {
        True: text(build.format(own=_OWN, hourly="merchant_hourly_sums")),
        False: text(build.format(own="true", hourly="hourly_sums")),
    }


# Nothing is later than now; said all the same, since of a range with two ends the planner
# takes it that it holds few rows, and goes by the index.
_LAST = f"{_NOW} + interval '1 hour'"


def _live(low: str) -> str:
    """SQL: what counts from behind moment ``low`` up to now, a row for each."""
    return f"""
    SELECT currency, 'created' AS series, created_at AS at, amount, commission
    FROM transactions WHERE created_at > {low} AND created_at < {_LAST} AND {{own}}
    UNION ALL
    SELECT currency, status, finished_at, amount, commission
    FROM transactions WHERE finished_at > {low} AND finished_at < {_LAST} AND {{own}}
    UNION ALL
    SELECT currency, 'expired', expires_at, amount, commission
    FROM transactions WHERE status = 'pending' AND expires_at > {low}
        AND expires_at <= {_NOW} AND {{own}}"""


_TOTALS = _each(
    f"""
    WITH {_CLOCK}
    SELECT currency, series, sum(count)::bigint AS rows, sum(amount) AS amount,
        sum(commission) AS commission
    FROM (
        SELECT currency, series, count, amount, commission FROM merchant_sums WHERE {{own}}
        UNION ALL
        SELECT currency, series, 1, amount, commission FROM ({_live(_MARK)}) AS live
    ) AS each
    GROUP BY 1, 2 ORDER BY 1, 2
    """
)


def _ended(low: str, high: str) -> str:
    return f"""
        SELECT currency, 1, amount, commission FROM transactions
        WHERE status = 'confirmed' AND finished_at >= {low} AND finished_at < {high} AND {{own}}"""


# Whole hours up to the mark from the sums; the edges of a day that begins within an hour, and
# what is behind the mark, from the rows.
_DAYS = _each(
    f"""
    SELECT d.day, x.currency, sum(x.count)::bigint AS rows, sum(x.amount) AS amount,
        sum(x.commission) AS commission
    FROM (
        SELECT n AS day, since, until, least(until,
                date_trunc('hour', since - interval '1 microsecond', 'UTC') + interval '1 hour')
                AS first,
            date_trunc('hour', until, 'UTC') AS last, {_MARK} AS upto
        FROM unnest(CAST(:sinces AS timestamptz[]), CAST(:untils AS timestamptz[]))
            WITH ORDINALITY AS u (since, until, n)
    ) AS d
    CROSS JOIN LATERAL (
        SELECT currency, count, amount, commission FROM {{hourly}}
        WHERE series = 'confirmed' AND hour >= d.first AND hour < d.last AND {{own}}
        UNION ALL {_ended("d.since", "d.first")}
        UNION ALL {_ended("greatest(d.first, d.last)", "d.until")}
        UNION ALL {_ended("greatest(d.first, d.upto + interval '1 microsecond')", "d.last")}
    ) AS x
    GROUP BY 1, 2 ORDER BY 1, 2
    """
)

_RETURNED = _each(
    """
    SELECT currency, count(*) AS rows, sum(amount) AS amount, sum(commission_returned) AS commission
    FROM refunds WHERE created_at >= :since AND created_at < :until AND {own}
    GROUP BY 1 ORDER BY 1
    """
)

_FROM_SINCE = f"greatest({_MARK}, CAST(:since AS timestamptz) - interval '1 microsecond')"

_CHART = _each(
    f"""
    WITH {_CLOCK}
    SELECT width_bucket(at, CAST(:edges AS timestamptz[])) AS bucket, series,
        sum(count)::bigint AS rows, sum(amount) AS amount
    FROM (
        SELECT currency, series, hour AS at, count, amount FROM {{hourly}}
        WHERE hour >= :since AND {{own}}
        UNION ALL
        SELECT currency, series, at, 1, amount
        FROM ({_live(_FROM_SINCE)}) AS live
    ) AS each
    WHERE CAST(:currency AS text) IS NULL OR currency = :currency
    GROUP BY 1, 2
    """
)

_SOON = _each(
    f"""
    WITH {_CLOCK}
    SELECT count(*) FILTER (WHERE expires_at <= {_NOW} + interval '1 minute') AS minute,
        count(*) AS quarter, min(expires_at) AS next
    FROM (
        SELECT expires_at FROM transactions
        WHERE status = 'pending' AND expires_at > {_NOW}
            AND expires_at <= {_NOW} + interval '15 minutes' AND {{own}}
        ORDER BY expires_at LIMIT {MOST + 1}
    ) AS t
    """
)

_WEBHOOKS = _each(
    f"""
    SELECT
        (SELECT count(*) FROM (SELECT * FROM webhook_lanes WHERE {{own}}) AS l
            JOIN webhook_endpoints w ON w.user_id = l.user_id AND w.id = l.endpoint_id
            WHERE l.failures >= {PATIENCE} AND w.disabled_at IS NULL) AS failing,
        (SELECT count(*) FROM (SELECT FROM deliveries
            WHERE state = 'waiting' AND {{own}} LIMIT {MOST + 1}) AS d) AS waiting,
        (SELECT count(*) FROM (SELECT FROM deliveries
            WHERE state = 'dead' AND {{own}} LIMIT {MOST + 1}) AS d) AS dead
    """
)

_USERS = text("SELECT count(*) AS known, count(*) FILTER (WHERE active) AS active FROM users")


@dataclass(frozen=True, slots=True)
class Sum:
    """How many transactions, and what they come to in one currency."""

    currency: str
    count: int
    amount: int
    commission: int


@dataclass(frozen=True, slots=True)
class Totals:
    """All transactions by what became of them, as every reader sees them at this moment."""

    by_series: dict[str, list[Sum]]

    def count(self, series: str, currency: str | None = None) -> int:
        """Return how many there are of a series."""
        return sum(each.count for each in self._of(series, currency))

    def amount(self, series: str, currency: str) -> int:
        """Return what a series comes to in a currency."""
        return sum(each.amount for each in self._of(series, currency))

    def pending(self, currency: str | None = None) -> int:
        """Return how many have not ended: what was created less what did."""
        ended = sum(self.count(series, currency) for series in ENDINGS)
        return self.count(CREATED, currency) - ended

    def pending_amount(self, currency: str) -> int:
        """Return what those come to that have not ended."""
        ended = sum(self.amount(series, currency) for series in ENDINGS)
        return self.amount(CREATED, currency) - ended

    @property
    def currencies(self) -> list[str]:
        """All currencies that there are transactions of."""
        return sorted({each.currency for each in self.by_series.get(CREATED, [])})

    def _of(self, series: str, currency: str | None) -> list[Sum]:
        found = self.by_series.get(series, [])
        return found if currency is None else [each for each in found if each.currency == currency]


@dataclass(frozen=True, slots=True)
class Soon:
    """How many pending ones expire within a minute and a quarter of an hour, and the next."""

    minute: int
    quarter: int
    next: datetime | None


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Endpoints that fail, deliveries that wait and that were given up; see ``MOST``."""

    failing: int
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class Users:
    """How many users there are."""

    known: int
    active: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Counts and sums of each series, one for each of ``edges`` from its moment on.

    ``amounts`` are of one currency, and empty where none was asked for.
    """

    edges: Sequence[datetime]
    counts: dict[str, list[int]]
    amounts: dict[str, list[int]]


def totals(connection: Connection, owner_id: UUID | None) -> Totals:
    """Return all transactions by currency and by what became of them."""
    found: dict[str, list[Sum]] = {}
    for row in connection.execute(_TOTALS[owner_id is not None], _owner(owner_id)):
        found.setdefault(row.series, []).append(_sum(row))
    return Totals(found)


def confirmed_in(
    connection: Connection, owner_id: UUID | None, spans: Sequence[tuple[datetime, datetime]]
) -> list[list[Sum]]:
    """Return for each span, from its beginning up to but without its end, what was confirmed.

    A span of one merchant must not begin before what ``sums_service`` keeps of its hours.
    """
    bound = {"sinces": [span[0] for span in spans], "untils": [span[1] for span in spans]}
    found: list[list[Sum]] = [[] for _ in spans]
    for row in connection.execute(_DAYS[owner_id is not None], {**_owner(owner_id), **bound}):
        found[row.day - 1].append(_sum(row))
    return found


def refunded_in(
    connection: Connection, owner_id: UUID | None, since: datetime, until: datetime
) -> list[Sum]:
    """Return what was given back from ``since`` on and before ``until``.

    ``commission`` is what was returned of it, whenever it had been earned.
    """
    bound = {**_owner(owner_id), "since": since, "until": until}
    return [_sum(row) for row in connection.execute(_RETURNED[owner_id is not None], bound)]


def chart(
    connection: Connection,
    owner_id: UUID | None,
    edges: Sequence[datetime],
    currency: str | None = None,
) -> Chart:
    """Return what was created and what ended from ``edges[0]``, a full hour, up to now."""
    bound = {"edges": list(edges), "since": edges[0], "currency": currency}
    made = Chart(edges, *({each: [0] * len(edges) for each in (CREATED, *ENDINGS)} for _ in "ca"))
    for row in connection.execute(_CHART[owner_id is not None], {**_owner(owner_id), **bound}):
        if row.bucket > 0:
            made.counts[row.series][row.bucket - 1] += row.rows
            made.amounts[row.series][row.bucket - 1] += int(row.amount)
    return made if currency is not None else Chart(edges, made.counts, {})


def soon(connection: Connection, owner_id: UUID | None) -> Soon:
    """Return how soon what is pending expires."""
    row = connection.execute(_SOON[owner_id is not None], _owner(owner_id)).one()
    return Soon(row.minute, row.quarter, row.next)


def webhooks(connection: Connection, owner_id: UUID | None) -> Webhooks:
    """Return how webhooks do."""
    row = connection.execute(_WEBHOOKS[owner_id is not None], _owner(owner_id)).one()
    return Webhooks(row.failing, row.waiting, row.dead)


def users(connection: Connection) -> Users:
    """Return how many users there are."""
    row = connection.execute(_USERS).one()
    return Users(row.known, row.active)


def _owner(owner_id: UUID | None) -> dict[str, UUID]:
    return {} if owner_id is None else {"owner_id": owner_id}


def _sum(row: Row[Any]) -> Sum:
    return Sum(row.currency, row.rows, int(row.amount), int(row.commission))
