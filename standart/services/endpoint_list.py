"""Reading endpoints: lists and single ones, never their secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from standart.models import Scope
from standart.services import endpoint_acts, endpoint_service
from standart.services.access import Actor
from standart.services.endpoint_service import endpoint_json


def list_endpoints(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[tuple[str, datetime, UUID]]:
    """Return (wire JSON, created_at, id) of endpoints, newest first; deleted ones are gone.

    ``after`` is the (created_at, id) of the last row already seen. A regular actor sees its own
    rows, whatever it asks.
    """
    actor.require(Scope.READ)
    wanted: dict[str, Any] = {
        "w.user_id = :owner_id": None if actor.sees_all else actor.user_id,
        "w.user_id = :user_id": user_id,
    }
    used = {condition: value for condition, value in wanted.items() if value is not None}
    parameters = {condition.split(":")[1]: value for condition, value in used.items()}
    conditions = ["w.deleted_at IS NULL", *used]
    if after is not None:
        conditions.append("(w.created_at, w.id) < (:after_at, :after_id)")
        parameters |= {"after_at": after[0], "after_id": after[1]}
    rows = connection.execute(
        text(
            f"SELECT {endpoint_json('w')}::text AS body, w.created_at, w.id"
            f" FROM webhook_endpoints w WHERE {' AND '.join(conditions)}"
            " ORDER BY w.created_at DESC, w.id DESC LIMIT :limit"
        ),
        {**parameters, "limit": limit},
    )
    return [(row.body, row.created_at, row.id) for row in rows]


def get_endpoint(connection: Connection, actor: Actor, endpoint_id: UUID) -> str:
    """Return the wire JSON of one endpoint.

    Raises:
        NotFound: unknown, deleted, or somebody else's, in the same words.
    """
    actor.require(Scope.READ)
    owner_id = endpoint_acts.owner_of(connection, actor, endpoint_id)
    key = {"user_id": owner_id, "id": endpoint_id}
    return str(connection.execute(endpoint_service.READ, key).scalar_one())
