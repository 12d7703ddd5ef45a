"""Waiting for whoever is just writing journals: what is dated before then is there afterwards.

Whoever writes a journal holds the table's lock before its row reads the clock, and lets it go
after its commit can be seen. Snapshots of transaction ids would not do: one that has begun may
be above the xmax of a snapshot, and long work elsewhere would count as well.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from standart.errors import Unavailable

_WRITERS = text(
    """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'journals'::regclass
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()
    """
)
_PAUSE = text("SELECT pg_sleep(:seconds)")

PAUSES: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 0.64)
"""Seconds to wait for writers, again and again: two seconds in all."""


def let_finish(connection: Connection) -> None:
    """Wait until everybody who is writing journals now has ended.

    ``connection`` is in autocommit mode, so that each look is a fresh one.

    Raises:
        Unavailable: somebody takes too long.
    """
    writing = set(connection.scalars(_WRITERS))
    pauses = iter(PAUSES)
    while writing:
        seconds = next(pauses, None)
        if seconds is None:
            raise Unavailable("What was posted up to then is not settled yet.", retry_after=1)
        connection.execute(_PAUSE, {"seconds": seconds})
        writing &= set(connection.scalars(_WRITERS))
