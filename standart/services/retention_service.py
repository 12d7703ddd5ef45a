"""Retention: old events that everybody got are purged, by a function of the owner's role.

The service itself cannot delete history. The function first records how far it purges, so
that ``verify`` knows from when on no event may be missing, and keeps every event with a
delivery that is waiting or dead, however old, unless its endpoint is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

BATCH: Final = 1000
"""How many events one call looks at."""

_BEFORE = text("SELECT clock_timestamp() - make_interval(days => :days)")

_PURGE = text(
    "SELECT purged, finished FROM standart_purge_events(CAST(:before AS timestamptz), :batch)"
)

# A young database has nothing to purge, whether or not anybody has looked.
_LAG = text(
    """
    SELECT greatest(0, extract(epoch FROM clock_timestamp() - make_interval(days => :days)
        - coalesce(c.purged_before, (SELECT min(created_at) FROM users), clock_timestamp())))
    FROM event_clock c
    """
)


@dataclass(frozen=True, slots=True)
class Purged:
    """How many events one call purged, and whether the next one has something to look at."""

    events: int
    more: bool


def purge(connection: Connection, *, days: int, go_on: Callable[[], bool] = lambda: True) -> int:
    """Purge the events that are done and older than ``days``, in batches; return how many.

    0 days keep everything. ``connection`` is in autocommit mode: each batch is a transaction.
    Ends early where ``go_on`` says no, or another session is at it; the next call goes on
    where this one stopped.
    """
    if days == 0:
        return 0
    before: datetime = connection.execute(_BEFORE, {"days": days}).scalar_one()
    total, more = 0, True
    while more and go_on():
        done = purge_batch(connection, before=before)
        total += done.events
        more = done.more
    return total


def purge_batch(connection: Connection, *, before: datetime, batch: int = BATCH) -> Purged:
    """Look at the next up to ``batch`` events older than ``before``, delete those that are done.

    Their deliveries and attempts go with them. Nothing is done where another session is at it.
    """
    row = connection.execute(_PURGE, {"before": before, "batch": batch}).one()
    if row.purged is None:
        return Purged(0, more=False)
    return Purged(row.purged, more=not row.finished)


def lag_seconds(connection: Connection, *, days: int) -> float:
    """Return for how many seconds events are kept beyond ``days``; 0 where none can be."""
    return float(connection.execute(_LAG, {"days": days}).scalar_one())
