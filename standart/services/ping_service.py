"""Testing an endpoint: an event that tells nothing, for this endpoint alone."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from standart.errors import EndpointNotCallable
from standart.models import Scope
from standart.services import (
    acts,
    audit_service,
    endpoint_acts,
    endpoint_service,
    event_list,
    outbox,
)
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest

_CALLABLE = text(
    f"""
    SELECT {outbox.CALLABLE} FROM webhook_endpoints w
    WHERE w.user_id = :user_id AND w.id = :id FOR KEY SHARE
    """
)

_DONE = text("SELECT EXISTS (SELECT FROM events WHERE user_id = :user_id AND id = :id)")


def ping(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    endpoint_id: UUID,
    *,
    event_id: UUID,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Send an endpoint a ``ping``, whatever it asks for; answers 202 with the event.

    ``event_id`` is drawn before, so that running the same request twice sends one event.
    ``connection`` is in autocommit mode.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not write.
        NotFound: the endpoint is unknown, deleted, or somebody else's.
        EndpointNotCallable: it is disabled, or has no URL.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """

    def work(actor: Actor) -> Answer:
        owner_id = endpoint_acts.owner_of(connection, actor, endpoint_id)
        key = {"user_id": owner_id, "id": endpoint_id}
        if not connection.scalar(_DONE, {"user_id": owner_id, "id": event_id}):
            if not connection.scalar(_CALLABLE, key):
                raise EndpointNotCallable
            body = connection.execute(endpoint_service.READ, key).scalar_one()
            outbox.ping(connection, owner_id, endpoint_id, event_id, body)
            audit_service.record(
                connection, actor, "endpoint.tested", "webhook_endpoint", endpoint_id
            )
        return Answer(202, event_list.shown(connection, actor, event_id))

    return acts.perform(connection, caller, origin, Scope.WRITE, work, claim=claim)
