"""Signs of life of the background parts, by the database's clock."""

from __future__ import annotations

from sqlalchemy import Connection, text

_BEAT = text(
    """
    INSERT INTO heartbeats (name, seen_at) VALUES (:name, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at
    """
)

_AGES = text(
    "SELECT name, extract(epoch FROM clock_timestamp() - seen_at)::float AS age FROM heartbeats"
)


def beat(connection: Connection, name: str) -> None:
    """Note that ``name`` (``sweep``, ``delivery``, ``purge``) has just finished its round."""
    connection.execute(_BEAT, {"name": name})


def ages(connection: Connection) -> dict[str, float]:
    """Return for each background part the seconds since it was last seen."""
    return {row.name: row.age for row in connection.execute(_AGES)}
