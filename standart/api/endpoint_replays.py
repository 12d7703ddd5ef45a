"""Tests and replays of an endpoint over HTTP: begin them, see how far they have come."""

from __future__ import annotations

from flask import Response

from standart.api import auth, body, listing, query, responses, schemas
from standart.api.checks import uuid_of
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.clock import new_id
from standart.extensions import nudge, nudge_replay, on_connection
from standart.models import ReplayScope
from standart.services import key_service, ping_service, span_replay_service
from standart.services.span_replay_service import NewReplay


class TestEndpoint(Resource):
    """``POST /webhook_endpoints/{id}/test``."""

    def post(self, endpoint_id: str) -> Response:
        """Send an endpoint a ping."""
        digest, origin = auth.caller(), auth.origin()
        query.refuse()
        wanted, event_id = uuid_of(endpoint_id), new_id()
        claimed = claim(body.read(schemas.NoBody, optional=True))
        answer = on_connection(
            lambda connection: ping_service.ping(
                connection, digest, origin, wanted, event_id=event_id, claim=claimed
            )
        )
        nudge()
        return responses.from_answer(answer)


class ReplayEndpoint(Resource):
    """``POST /webhook_endpoints/{id}/replay``."""

    def post(self, endpoint_id: str) -> Response:
        """Begin to send a span of an endpoint's events anew."""
        digest, origin = auth.caller(), auth.origin()
        query.refuse()
        wanted = uuid_of(endpoint_id)
        asked = body.read(schemas.ReplaySpan)
        claimed = claim(asked)
        new = NewReplay(
            endpoint_id=wanted,
            since=asked.since,
            until=asked.until,
            scope=ReplayScope(asked.status),
        )
        answer = on_connection(
            lambda connection: span_replay_service.start(
                connection, digest, origin, new, claim=claimed
            )
        )
        nudge_replay()
        return responses.from_answer(answer)


class ListReplays(Resource):
    """``GET /webhook_endpoints/{id}/replays``."""

    def get(self, endpoint_id: str) -> Response:
        """List an endpoint's replays, newest first."""
        digest = auth.caller()
        asked = query.read(schemas.ListReplays)
        wanted = uuid_of(endpoint_id)
        return listing.answer(
            digest,
            f"replays {wanted}",
            asked,
            lambda connection, actor, bounds: span_replay_service.list_replays(
                connection,
                actor,
                wanted,
                **bounds,
            ),
        )


class OneReplay(Resource):
    """``GET /webhook_endpoints/{id}/replays/{replay_id}``."""

    def get(self, endpoint_id: str, replay_id: str) -> Response:
        """Read one replay."""
        digest, origin = auth.caller(), auth.origin()
        query.refuse()
        endpoint, replay = uuid_of(endpoint_id), uuid_of(replay_id, "replay_id")
        text = on_connection(
            lambda connection: span_replay_service.get_replay(
                connection,
                key_service.authenticate(connection, digest, origin),
                endpoint,
                replay,
            )
        )
        return responses.ready(text.encode())
