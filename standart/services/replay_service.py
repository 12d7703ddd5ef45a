"""Sending events anew: one of them to its receivers."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from standart.db import constraint_name
from standart.errors import Conflict, NotFound
from standart.services import audit_service
from standart.services.access import Actor
from standart.services.outbox import CALLABLE, subscribed

_OWNER = text("SELECT user_id FROM events WHERE id = :id")

# A try that is under way goes on: its lease stands, and so does its due time.
ANEW: Final = """
    ON CONFLICT (user_id, event_id, endpoint_id) DO UPDATE
        SET state = 'waiting', schedule_start = d.attempt_count, delivered_at = NULL,
            next_attempt_at = clock_timestamp()
        WHERE d.lease IS NULL OR d.next_attempt_at <= clock_timestamp()
"""

# Those that want such events now, and those that got this one before and still are there.
_REPLAY = text(
    f"""
    WITH receiver AS MATERIALIZED (
        SELECT v.user_id, v.id AS event_id, w.id AS endpoint_id
        FROM events v JOIN webhook_endpoints w ON w.user_id = v.user_id
        WHERE v.user_id = :user_id AND v.id = :id AND {CALLABLE}
          AND ({subscribed("v.type")} OR EXISTS (
              SELECT FROM deliveries o WHERE o.user_id = v.user_id AND o.event_id = v.id
                AND o.endpoint_id = w.id))
    ),
    sent AS (
        INSERT INTO deliveries AS d (user_id, id, event_id, endpoint_id)
        SELECT user_id, gen_random_uuid(), event_id, endpoint_id FROM receiver
        {ANEW}
    )
    SELECT count(*) FROM receiver
    """
)


def replay(session: Session, actor: Actor, event_id: UUID) -> int:
    """Send an event once more, with the same id and body, by a retry schedule from its start.

    It goes to the endpoints that ask for such events now, and to those that it was sent to
    before. One that is waiting already becomes due now. Returns how many endpoints that are.

    Raises:
        NotFound: unknown, purged, or somebody else's, in the same words.
        Conflict: no endpoint may be called.
    """
    owner_id = session.scalar(_OWNER, {"id": event_id})
    if owner_id is None:
        raise NotFound
    actor.require_owner(owner_id)
    parameters = {"user_id": owner_id, "id": event_id}
    try:
        receivers = int(session.execute(_REPLAY, parameters).scalar_one())
    except IntegrityError as error:
        # Purged between the look and the insert, which waited for the purge to end.
        if constraint_name(error) == "fk_deliveries_events":
            raise NotFound from error
        raise
    if receivers == 0:
        raise Conflict("The merchant has no endpoint that may be called and wants this event.")
    audit_service.record(session, actor, "event.replayed", "event", event_id)
    return receivers
