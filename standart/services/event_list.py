"""How an event is shown with its deliveries and their attempts; ``event_search`` finds them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from standart.errors import NotFound
from standart.models import Scope
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
