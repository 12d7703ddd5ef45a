"""Reading attempts: what was sent to whom, what came back, how long each part took."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.errors import NotFound
from standart.models import Scope
from standart.services.access import Actor
from standart.services.wire import rfc3339

_JSON: Final = f"""(SELECT row_to_json(w)::text FROM (SELECT
        d.event_id, a.delivery_id, d.endpoint_id, a.number, a.outcome,
        nullif(a.error, '') AS error,
        (SELECT row_to_json(q) FROM (SELECT
            a.url, a.request_headers::json AS headers, v.payload AS body
        ) AS q) AS request,
        (SELECT row_to_json(r) FROM (SELECT
            a.status_code, a.response_headers::json AS headers, a.excerpt AS body
        ) AS r WHERE a.status_code IS NOT NULL) AS response,
        (SELECT row_to_json(t) FROM (SELECT
            a.dns_ms, a.connect_ms, a.tls_ms, a.first_byte_ms, a.duration_ms AS total_ms
        ) AS t) AS timing,
        {rfc3339("a.created_at")} AS created_at
    ) AS w)"""

_OWNER: Final = text("SELECT user_id FROM events WHERE id = :id")


def list_attempts(
    connection: Connection,
    actor: Actor,
    event_id: UUID,
    *,
    endpoint_id: UUID | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[tuple[str, datetime, UUID]]:
    """Return (wire JSON, created_at, delivery id) of an event's attempts, newest first.

    With ``endpoint_id`` only those at that endpoint. ``after`` is the (created_at, delivery id)
    of the last row already seen; no two attempts of a delivery have the same moment.

    Raises:
        InsufficientScope: the actor may not read.
        NotFound: the event is unknown, or somebody else's, in the same words.
    """
    actor.require(Scope.READ)
    owner_id = connection.scalar(_OWNER, {"id": event_id})
    if owner_id is None:
        raise NotFound
    actor.require_owner(owner_id)
    conditions = ["v.user_id = :user_id", "v.id = :event_id"]
    parameters: dict[str, Any] = {"user_id": owner_id, "event_id": event_id, "limit": limit}
    if endpoint_id is not None:
        conditions.append("d.endpoint_id = :endpoint_id")
        parameters["endpoint_id"] = endpoint_id
    if after is not None:
        conditions.append("(a.created_at, a.delivery_id) < (:after_at, :after_id)")
        parameters |= {"after_at": after[0], "after_id": after[1]}
    rows = connection.execute(
        text(
            f"SELECT {_JSON} AS body, a.created_at, a.delivery_id FROM events v"
            " JOIN deliveries d ON d.user_id = v.user_id AND d.event_id = v.id"
            " JOIN attempts a ON a.user_id = d.user_id AND a.delivery_id = d.id"
            f" WHERE {' AND '.join(conditions)}"
            " ORDER BY a.created_at DESC, a.delivery_id DESC LIMIT :limit"
        ),
        parameters,
    )
    return [(row.body, row.created_at, row.delivery_id) for row in rows]
