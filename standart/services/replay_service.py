"""Sending an event anew: to its receivers, or to one of them."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from standart.db import constraint_name
from standart.errors import EndpointNotCallable, NotFound
from standart.models import Scope
from standart.services import acts, audit_service, event_list
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.outbox import CALLABLE, subscribed

_OWNER = text("SELECT user_id FROM events WHERE id = :id")
_IS_THERE = text(
    "SELECT EXISTS (SELECT FROM webhook_endpoints"
    " WHERE user_id = :user_id AND id = :id AND deleted_at IS NULL)"
)

_NOBODY: Final = "The merchant has no endpoint that may be called and wants this event."

# A try that is under way goes on: its lease stands, and so does its due time. Where the schedule
# begins tells whoever records it that a replay was asked for meanwhile.
ANEW: Final = """
    ON CONFLICT (user_id, event_id, endpoint_id) DO UPDATE
        SET state = 'waiting', schedule_start = d.attempt_count, delivered_at = NULL,
            next_attempt_at = CASE
                WHEN d.lease IS NOT NULL AND d.next_attempt_at > clock_timestamp()
                THEN d.next_attempt_at ELSE clock_timestamp() END
"""

# Those that want such events now, and those that got this one before and still are there.
_REPLAY = text(
    f"""
    WITH receiver AS MATERIALIZED (
        SELECT v.user_id, v.id AS event_id, w.id AS endpoint_id
        FROM events v JOIN webhook_endpoints w ON w.user_id = v.user_id
        WHERE v.user_id = :user_id AND v.id = :id AND {CALLABLE}
          AND w.id = coalesce(CAST(:endpoint_id AS uuid), w.id)
          AND (CAST(:endpoint_id AS uuid) IS NOT NULL OR {subscribed("v.type")} OR EXISTS (
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


def replay(
    session: Session | Connection,
    actor: Actor,
    event_id: UUID,
    *,
    endpoint_id: UUID | None = None,
) -> int:
    """Send an event once more, with the same id and body, by a retry schedule from its start.

    It goes to the endpoints that ask for such events now, and to those that it was sent to
    before; or to one endpoint that is named, whatever that asks for. One that is waiting already
    becomes due now. Returns how many endpoints that are.

    Raises:
        NotFound: event or endpoint are unknown, purged, or somebody else's, in the same words.
        EndpointNotCallable: no endpoint may be called.
    """
    owner_id = session.execute(_OWNER, {"id": event_id}).scalar_one_or_none()
    if owner_id is None:
        raise NotFound
    actor.require_owner(owner_id)
    if (
        endpoint_id is not None
        and not session.execute(_IS_THERE, {"user_id": owner_id, "id": endpoint_id}).scalar_one()
    ):
        raise NotFound
    parameters = {"user_id": owner_id, "id": event_id, "endpoint_id": endpoint_id}
    try:
        receivers = int(session.execute(_REPLAY, parameters).scalar_one())
    except IntegrityError as error:
        # Purged between the look and the insert, which waited for the purge to end.
        if constraint_name(error) == "fk_deliveries_events":
            raise NotFound from error
        raise
    if receivers == 0:
        raise EndpointNotCallable(None if endpoint_id else _NOBODY)
    after = None if endpoint_id is None else {"endpoint_id": str(endpoint_id)}
    audit_service.record(session, actor, "event.replayed", "event", event_id, after=after)
    return receivers


def replay_event(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    event_id: UUID,
    *,
    endpoint_id: UUID | None = None,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Send an event once more, as ``replay`` does; answers 202 with the event.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not write.
        NotFound, EndpointNotCallable: as ``replay``.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """

    def work(actor: Actor) -> Answer:
        replay(connection, actor, event_id, endpoint_id=endpoint_id)
        return Answer(202, event_list.shown(connection, actor, event_id))

    return acts.perform(connection, caller, origin, Scope.WRITE, work, claim=claim)
