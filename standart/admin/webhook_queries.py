"""What the panel reads about endpoints beyond the services; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, text
from sqlalchemy.orm import Session

from standart.errors import NotFound
from standart.models import WebhookEndpoint
from standart.services.access import Actor

# The next one in the order of their due times; with those that a worker holds it is the moment
# at which its lease ends.
_NEXT_DUE = """
    LEFT JOIN LATERAL (
        SELECT d.next_attempt_at AS at FROM deliveries d
        WHERE d.user_id = w.user_id AND d.endpoint_id = w.id AND d.state = 'waiting'
        ORDER BY d.next_attempt_at LIMIT 1
    ) AS n ON true
"""

# An endpoint whose breaker is open is probed at its end, if anything waits for it at all.
_OUTLOOK = """
    CASE WHEN w.disabled_at IS NULL AND n.at IS NOT NULL
        THEN greatest(w.open_until, n.at) END AS next_probe,
    greatest(extract(epoch FROM clock_timestamp() - n.at), 0)::float AS oldest
"""

# The few worst are chosen before anybody looks at what waits for them.
_TROUBLED = text(
    f"""
    SELECT w.*, u.name AS user_name, {_OUTLOOK}
    FROM (
        SELECT e.user_id, e.id, e.url, e.disabled_at, e.disabled_reason,
            l.failures, l.failing_since, l.open_until
        FROM webhook_lanes l
        JOIN webhook_endpoints e ON e.user_id = l.user_id AND e.id = l.endpoint_id
        WHERE e.deleted_at IS NULL
          AND (CASE WHEN e.disabled_at IS NULL THEN l.failures > 0
               ELSE e.disabled_reason <> 'owner' END)
          AND (CAST(:owner_id AS uuid) IS NULL OR e.user_id = :owner_id)
        ORDER BY e.disabled_at IS NOT NULL, l.failures DESC, l.failing_since, e.id
        LIMIT :limit
    ) AS w
    JOIN users u ON u.id = w.user_id {_NEXT_DUE}
    ORDER BY w.disabled_at IS NOT NULL, w.failures DESC, w.failing_since, w.id
    """
)

_LANE = text(
    f"""
    SELECT w.failures, w.failing_since, w.room, {_OUTLOOK}
    FROM (
        SELECT e.user_id, e.id, e.disabled_at, l.failures, l.failing_since, l.open_until, l.room
        FROM webhook_lanes l
        JOIN webhook_endpoints e ON e.user_id = l.user_id AND e.id = l.endpoint_id
        WHERE e.user_id = :user_id AND e.id = :id
    ) AS w {_NEXT_DUE}
    """
)


@dataclass(frozen=True)
class Named:
    """How an endpoint is called on pages about events; a deleted one has no page any more."""

    url: str | None
    deleted: bool


def troubled(connection: Connection, owner_id: UUID | None, *, limit: int) -> list[Row[Any]]:
    """Return the endpoints that fail, the worst first, then those that were stopped for it.

    ``owner_id`` narrows it to one user's; ``oldest`` is in seconds.
    """
    return list(connection.execute(_TROUBLED, {"owner_id": owner_id, "limit": limit}))


def lane_of(connection: Connection, user_id: UUID, endpoint_id: UUID) -> Row[Any]:
    """Return how an endpoint bears what it gets; ``oldest`` is in seconds."""
    return connection.execute(_LANE, {"user_id": user_id, "id": endpoint_id}).one()


def named(session: Session, user_id: UUID, ids: Iterable[UUID]) -> dict[str, Named]:
    """Return what endpoints of a user are called, deleted ones too, by the text of their ids."""
    query = select(WebhookEndpoint.id, WebhookEndpoint.url, WebhookEndpoint.deleted_at).where(
        WebhookEndpoint.user_id == user_id, WebhookEndpoint.id.in_(set(ids))
    )
    return {
        str(row.id): Named(row.url, row.deleted_at is not None) for row in session.execute(query)
    }


def get_endpoint(session: Session, viewer: Actor, endpoint_id: UUID) -> WebhookEndpoint:
    """Return an endpoint that the viewer may see.

    Raises:
        NotFound: unknown, deleted, or somebody else's, in the same words.
    """
    query = select(WebhookEndpoint).filter_by(id=endpoint_id, deleted_at=None)
    endpoint = session.scalar(query)
    if endpoint is None:
        raise NotFound
    viewer.require_owner(endpoint.user_id)
    return endpoint
