"""Events over HTTP: what webhooks carry, and how their deliveries fared."""

from __future__ import annotations

from flask import Response
from sqlalchemy import Connection

from standart.api import auth, body, event_feed, listing, query, responses, schemas
from standart.api.checks import uuid_of, uuid_or_none
from standart.api.cursor import Position
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.extensions import nudge, on_connection
from standart.models import DeliveryState
from standart.services import attempt_list, event_list, event_search, key_service, replay_service
from standart.services.access import Actor
from standart.services.event_search import Wanted


class ListEvents(Resource):
    """``GET /events``."""

    def get(self) -> Response:
        """List events, newest first, or follow them."""
        digest = auth.caller()
        asked = query.read(schemas.ListEvents)
        if asked.after is not None:
            return event_feed.follow(digest, auth.origin(), asked, asked.after)
        wanted = Wanted(
            user_id=uuid_or_none(asked.user_id),
            type=asked.type,
            transaction_id=uuid_or_none(asked.transaction_id),
            object_id=uuid_or_none(asked.object_id),
            endpoint_id=uuid_or_none(asked.endpoint_id),
            state=DeliveryState(asked.state) if asked.state else None,
        )

        def seek(
            connection: Connection, actor: Actor, bounds: listing.Bounds
        ) -> tuple[list[listing.Row], Position | None]:
            found = event_search.page(connection, actor, wanted, **bounds)
            return found.rows, found.looked_to

        return listing.answer_search(digest, "events", asked, seek)


class OneEvent(Resource):
    """``GET /events/{id}``."""

    def get(self, event_id: str) -> Response:
        """Read one event."""
        digest, origin = auth.caller(), auth.origin()
        query.refuse()
        wanted = uuid_of(event_id)
        text = on_connection(
            lambda connection: event_list.get_event(
                connection, key_service.authenticate(connection, digest, origin), wanted
            )
        )
        return responses.ready(text.encode())


class ListAttempts(Resource):
    """``GET /events/{id}/attempts``."""

    def get(self, event_id: str) -> Response:
        """List the attempts to deliver an event, newest first."""
        digest = auth.caller()
        asked = query.read(schemas.ListAttempts)
        wanted, endpoint_id = uuid_of(event_id), uuid_or_none(asked.endpoint_id)
        return listing.answer(
            digest,
            f"attempts {wanted}",
            asked,
            lambda connection, actor, bounds: attempt_list.list_attempts(
                connection,
                actor,
                wanted,
                endpoint_id=endpoint_id,
                **bounds,
            ),
        )


class ReplayEvent(Resource):
    """``POST /events/{id}/replay``."""

    def post(self, event_id: str) -> Response:
        """Send an event once more."""
        digest, origin = auth.caller(), auth.origin()
        query.refuse()
        wanted = uuid_of(event_id)
        asked = body.read(schemas.ReplayEvent, optional=True)
        claimed, endpoint_id = claim(asked), uuid_or_none(asked.endpoint_id)
        answer = on_connection(
            lambda connection: replay_service.replay_event(
                connection, digest, origin, wanted, endpoint_id=endpoint_id, claim=claimed
            )
        )
        nudge()
        return responses.from_answer(answer)
