"""Retention: old events that everybody got are purged, by a function of the owner's role.

The service itself cannot delete history. The function first records how far it purges, so
that ``verify`` knows from when on no event may be missing, and keeps every event with a
delivery that is waiting or dead, however old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

BATCH: Final = 1000
"""How many events one call looks at."""

_START: Final = UUID(int=0)

_BEFORE = text("SELECT clock_timestamp() - make_interval(days => :days)")

# The place is text where it may be infinite, which no datetime is.
_PURGE = text(
    """
    SELECT purged, last_user, last_at::text, last_id
    FROM standart_purge_events(CAST(:before AS timestamptz), :batch,
        CAST(:last_user AS uuid), CAST(:last_at AS timestamptz), CAST(:last_id AS uuid))
    """
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
class Place:
    """Behind which event a call goes on; events are walked by merchant and age."""

    last_user: UUID | None = None
    last_at: str = "-infinity"
    last_id: UUID = _START


@dataclass(frozen=True, slots=True)
class Purged:
    """How many events one call purged, and where the next one goes on: None at the end."""

    events: int
    place: Place | None


def purge(connection: Connection, *, days: int, go_on: Callable[[], bool] = lambda: True) -> int:
    """Purge the events that are done and older than ``days``, in batches; return how many.

    0 days keep everything. ``connection`` is in autocommit mode: each batch is a transaction.
    Ends early where ``go_on`` says no.
    """
    if days == 0:
        return 0
    before: datetime = connection.execute(_BEFORE, {"days": days}).scalar_one()
    total, place = 0, Place()
    while go_on():
        done = purge_batch(connection, before=before, place=place)
        total += done.events
        if done.place is None:
            break
        place = done.place
    return total


def purge_batch(
    connection: Connection, *, before: datetime, place: Place, batch: int = BATCH
) -> Purged:
    """Look at up to ``batch`` events older than ``before`` and delete those that are done.

    Their deliveries and attempts go with them.
    """
    row = connection.execute(
        _PURGE,
        {
            "before": before,
            "batch": batch,
            "last_user": place.last_user,
            "last_at": place.last_at,
            "last_id": place.last_id,
        },
    ).one()
    if row.last_user is None:
        return Purged(row.purged, None)
    return Purged(row.purged, Place(row.last_user, row.last_at, row.last_id))


def lag_seconds(connection: Connection, *, days: int) -> float:
    """Return for how many seconds events are kept beyond ``days``; 0 where none can be."""
    return float(connection.execute(_LAG, {"days": days}).scalar_one())
