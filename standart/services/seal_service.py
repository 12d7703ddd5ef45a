"""Sealing the journals: a sweep adds links to the chain; whoever posts never waits for it.

The clock of the books is raised first, so that no journal can be dated below it any more,
then whoever is writing journals is waited for, then what lies below the clock is sealed in
batches. A journal belongs to the seal of its moment; nothing is written to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, text

from standart.db import unit
from standart.models import Seal
from standart.services import canonical, chain, writers
from standart.services.chain import Link

BATCH: Final = 10_000
"""How many journals one seal is over, unless more are of one and the same moment."""

_FETCH: Final = 2000

# After the server's clock was set back all that is posted is of the clock's own moment. It goes on
# by the least there is, so that what waits is sealed, and the next is of another moment.
_RAISE = text(
    """
    UPDATE book_clock SET dated_from = CASE
        WHEN dated_from < clock_timestamp() THEN greatest(dated_from, clock_timestamp())
        WHEN EXISTS (SELECT FROM journals j WHERE j.created_at >= book_clock.dated_from)
            THEN dated_from + interval '1 microsecond'
        ELSE dated_from END
    RETURNING dated_from
    """
)

# One sealer at a time: the other one waits and finds less or nothing left to do.
_ONLY_SEALER = text("SELECT pg_advisory_xact_lock(hashtextextended('seal', 0))")

_FIRST = "CAST('-infinity' AS timestamptz)"
_SEALED = f"coalesce((SELECT max(before) FROM seals), {_FIRST})"

# The end of the next seal: the moment of the first journal behind the batch. All of one moment
# belong to one seal, so where the whole batch is of one the seal ends at the next moment.
_END = text(
    f"""
    WITH next AS MATERIALIZED (
        SELECT j.created_at FROM journals j
        WHERE j.created_at >= {_SEALED} AND j.created_at < :upto
        ORDER BY j.created_at LIMIT :batch + 1
    ),
    edge AS (SELECT min(created_at) AS first, max(created_at) AS last, count(*) AS rows FROM next)
    SELECT CASE
        WHEN rows = 0 THEN NULL
        WHEN rows <= :batch THEN :upto
        WHEN first < last THEN last
        ELSE coalesce((SELECT min(j.created_at) FROM journals j
            WHERE j.created_at > last AND j.created_at < :upto), :upto) END
    FROM edge
    """
)

_LINES = text(
    f"""
    SELECT {canonical.LINE} AS line FROM journals j
    WHERE j.created_at >= {_SEALED} AND j.created_at < :before
    ORDER BY {canonical.ORDER}
    """
)

# The index has ranges of pages and no order: a short span behind the last seal is read first, so
# that a long backlog is gone through only where there is a long gap before it.
_LAG = f"""
    SELECT greatest(0, extract(epoch FROM clock_timestamp() - coalesce(
        (SELECT min(created_at) FROM journals
            WHERE created_at >= s.before AND created_at < s.before + interval '1 hour'),
        (SELECT min(created_at) FROM journals
            WHERE created_at >= s.before AND created_at < s.before + interval '1 day'),
        (SELECT min(created_at) FROM journals WHERE created_at >= {_SEALED})
    )))::float
    FROM (SELECT max(before) AS before FROM seals) AS s
    """

_ANCHOR_LAG = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(s.sealed_at)), 0)::float
    FROM seals s
    WHERE s.sealed_at > coalesce(
        (SELECT seen_at FROM heartbeats WHERE name = 'anchor'), CAST('-infinity' AS timestamptz))
    """

_AHEAD = """
    SELECT greatest(0, extract(epoch FROM dated_from - clock_timestamp()))::float FROM book_clock
    """

_LAGS = text(f"SELECT ({_LAG}) AS sealing, ({_ANCHOR_LAG}) AS anchoring, ({_AHEAD}) AS ahead")


@dataclass(frozen=True, slots=True)
class Lags:
    """How old, in seconds, what waits longest is: a journal for its seal, a seal to be left.

    ``ahead`` is by how much the clock of the books is before the server's, as after that was
    set back: what is posted has a moment that is still to come.
    """

    sealing: float
    anchoring: float
    ahead: float


def seal(connection: Connection, *, batch: int = BATCH) -> int:
    """Seal all journals that have been posted by now; return how many that were.

    ``connection`` is in autocommit mode; each seal is a transaction of its own.

    Raises:
        Unavailable: somebody has been writing a journal for too long; the next call goes on.
    """
    upto = settle(connection)
    total = 0
    while link := _seal_next(connection, upto, batch):
        total += link.journals
    return total


def settle(connection: Connection) -> datetime:
    """Return a moment, just now, before which nobody can post a journal any more.

    Raises:
        Unavailable: somebody has been writing a journal for too long.
    """
    upto: datetime = connection.execute(_RAISE).scalar_one()
    writers.let_finish(connection)
    return upto


def hold(connection: Connection) -> None:
    """Let nobody add a seal until the transaction of ``connection`` ends."""
    connection.execute(_ONLY_SEALER)


def lag_seconds(connection: Connection) -> float:
    """Return how old the oldest journal is that has no seal, 0 where all have one."""
    return float(connection.execute(text(_LAG)).scalar_one())


def lags(connection: Connection) -> Lags:
    """Return what waits, and for how long; each is 0 where nothing does."""
    row = connection.execute(_LAGS).one()
    return Lags(float(row.sealing), float(row.anchoring), float(row.ahead))


def _seal_next(connection: Connection, upto: datetime, batch: int) -> Link | None:
    """Add one seal over the oldest journals before ``upto``; ``None`` where there are none."""
    with unit(connection):
        hold(connection)
        before = connection.scalar(_END, {"upto": upto, "batch": batch})
        if before is None:
            return None
        digest, marks = canonical.Digest(), bytearray()
        lines = connection.execute(
            _LINES, {"before": before}, execution_options={"yield_per": _FETCH}
        )
        for line in lines.scalars():
            digest.add(line)
            marks += canonical.mark(line)
        link = chain.next_link(chain.last(connection), before, digest)
        connection.execute(insert(Seal).values(**link.row(), marks=bytes(marks)))
        return link
