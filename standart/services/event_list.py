"""Reading events: lists, and one with its deliveries and their attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from standart.errors import NotFound
from standart.models import DeliveryState, Scope
from standart.services.access import Actor
from standart.services.wire import rfc3339

EVENT_JSON = f"""(SELECT row_to_json(w)::text FROM (SELECT
    v.id, v.type,
    CASE WHEN v.transaction_id IS NOT NULL THEN 'transaction'
        WHEN v.refund_id IS NOT NULL THEN 'refund'
        WHEN v.payout_id IS NOT NULL THEN 'payout'
        WHEN v.adjustment_id IS NOT NULL THEN 'adjustment' ELSE 'webhook_endpoint'
        END AS object_type,
    coalesce(v.transaction_id, v.refund_id, v.payout_id, v.adjustment_id, v.endpoint_id)
        AS object_id,
    v.transaction_id, v.user_id, v.sequence, {rfc3339("v.created_at")} AS created_at,
    v.payload::json AS payload,
    coalesce((
        SELECT json_agg(row_to_json(x)) FROM (
            SELECT d.id, d.endpoint_id, d.state, d.attempt_count,
                {rfc3339("d.next_attempt_at")} AS next_attempt_at,
                {rfc3339("d.delivered_at")} AS delivered_at,
                coalesce((
                    SELECT json_agg(row_to_json(y)) FROM (
                        SELECT a.number, a.url, a.outcome, a.status_code, a.duration_ms,
                            {rfc3339("a.created_at")} AS created_at
                        FROM attempts a
                        WHERE a.user_id = d.user_id AND a.delivery_id = d.id
                        ORDER BY a.number
                    ) AS y
                ), '[]'::json) AS attempts
            FROM deliveries d
            WHERE d.user_id = v.user_id AND d.event_id = v.id
            ORDER BY d.created_at
        ) AS x
    ), '[]'::json) AS deliveries
) AS w)"""
"""SQL: the wire form of the event ``v`` with its deliveries and their attempts, as text."""

# By the merchant first: each index of events over an object begins with it.
_ABOUT = """v.user_id IN (
        SELECT user_id FROM transactions WHERE id = :object_id
        UNION ALL SELECT user_id FROM refunds WHERE id = :object_id
        UNION ALL SELECT user_id FROM payouts WHERE id = :object_id
        UNION ALL SELECT user_id FROM adjustments WHERE id = :object_id
        UNION ALL SELECT user_id FROM webhook_endpoints WHERE id = :object_id
    ) AND (v.transaction_id = :object_id OR v.refund_id = :object_id
        OR v.payout_id = :object_id OR v.adjustment_id = :object_id
        OR v.endpoint_id = :object_id)"""

_FEW = 5_000
"""So many deliveries in a state are sorted at most; of more the newest are found soon."""


def list_events(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    type: str | None = None,
    transaction_id: UUID | None = None,
    object_id: UUID | None = None,
    endpoint_id: UUID | None = None,
    state: DeliveryState | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[tuple[str, datetime, UUID]]:
    """Return (wire JSON, created_at, id) of events with their deliveries, newest first.

    ``object_id`` is that of a transaction, refund, payout, adjustment or endpoint. ``after`` is the
    (created_at, id) of the last row already seen. A regular actor sees its own rows,
    whatever it asks.
    """
    actor.require(Scope.READ)
    wanted: dict[str, Any] = {
        "v.user_id = :owner_id": None if actor.sees_all else actor.user_id,
        "v.user_id = :user_id": user_id,
        "v.type = :type": type,
        "v.transaction_id = :transaction_id": transaction_id,
    }
    used = {condition: value for condition, value in wanted.items() if value is not None}
    parameters = {condition.split(":")[1]: value for condition, value in used.items()}
    conditions = list(used)
    if type is not None and not type.startswith("transaction."):
        # The condition of the index by which what is seldom told of is found.
        conditions.append("v.transaction_id IS NULL")
    if object_id is not None:
        conditions.append(_ABOUT)
        parameters["object_id"] = object_id
    if endpoint_id is not None or state is not None:
        owner_id = user_id if actor.sees_all else actor.user_id
        conditions.append(_delivered_so(connection, parameters, owner_id, endpoint_id, state))
    if after is not None:
        conditions.append("(v.created_at, v.id) < (:after_at, :after_id)")
        parameters |= {"after_at": after[0], "after_id": after[1]}
    rows = connection.execute(
        text(
            f"SELECT {EVENT_JSON} AS body, v.created_at, v.id FROM events v"
            f" WHERE {' AND '.join(conditions) or 'true'}"
            " ORDER BY v.created_at DESC, v.id DESC LIMIT :limit"
        ),
        {**parameters, "limit": limit},
    )
    return [(row.body, row.created_at, row.id) for row in rows]


def _delivered_so(
    connection: Connection,
    parameters: dict[str, Any],
    owner_id: UUID | None,
    endpoint_id: UUID | None,
    state: DeliveryState | None,
) -> str:
    """SQL: whether an event has a delivery to the endpoint and in the state; adds its values."""
    known = {"owner_id": owner_id, "endpoint_id": endpoint_id}
    named = {name: value for name, value in known.items() if value is not None}
    conditions = [f"d.{name.replace('owner', 'user')} = :{name}" for name in named]
    if state is not None:
        # Said in so many words, so that the planner sees which partial index fits.
        conditions.append(f"d.state = '{state.value}'")
    parameters |= named
    if state in (DeliveryState.WAITING, DeliveryState.DEAD):
        probe = text(
            f"SELECT d.event_id FROM deliveries d WHERE {' AND '.join(conditions)} LIMIT {_FEW + 1}"
        )
        ids = list(connection.scalars(probe, named))
        if len(ids) <= _FEW:
            parameters["few"] = ids
            return "v.id = ANY (CAST(:few AS uuid[]))"
    # Not EXISTS, which may become a join over all deliveries of an endpoint.
    return f"""(SELECT true FROM deliveries d WHERE d.user_id = v.user_id
        AND d.event_id = v.id AND {" AND ".join(conditions)} LIMIT 1)"""


_ONE_EVENT = text(f"SELECT {EVENT_JSON} AS body, v.user_id FROM events v WHERE v.id = :id")


def get_event(connection: Connection, actor: Actor, event_id: UUID) -> str:
    """Return the wire JSON of one event with its deliveries and attempts.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
    """
    actor.require(Scope.READ)
    return shown(connection, actor, event_id)


def shown(connection: Connection, actor: Actor, event_id: UUID) -> str:
    """Return the wire JSON of an event, also to a key that may only write: what it has done.

    Raises:
        NotFound: as ``get_event``.
    """
    row = connection.execute(_ONE_EVENT, {"id": event_id}).one_or_none()
    if row is None:
        raise NotFound
    actor.require_owner(row.user_id)
    return str(row.body)
