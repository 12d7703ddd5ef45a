"""Webhook endpoints over HTTP: create, list, read, change, delete, give another secret."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response
from sqlalchemy import Connection

from standart.api import auth, body, listing, query, responses, schemas
from standart.api.checks import uuid_of, uuid_or_none
from standart.api.idempotency import private_claim
from standart.api.restful import Resource
from standart.delivery import url_rules
from standart.extensions import keyring, on_connection
from standart.models.webhooks import ENDINGS
from standart.services import endpoint_acts, endpoint_list, key_service
from standart.services.endpoint_acts import Changes, NewEndpoint
from standart.services.idempotency_service import Answer
from standart.webhooks import signing
from standart.webhooks.addresses import parse_url


class CreateEndpoint(Resource):
    """``POST /webhook_endpoints``."""

    def post(self) -> Response:
        """Add an endpoint."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.CreateEndpoint)
        claimed, origin, ring = private_claim(asked), auth.origin(), keyring()
        new = NewEndpoint(
            url=_canonical(asked.url),
            event_types=asked.event_types or ENDINGS,
            description=asked.description,
            headers=asked.headers or {},
            rate_limit=asked.rate_limit,
            ordered=asked.ordered,
            enabled=asked.enabled,
            user_id=uuid_or_none(asked.user_id),
        )
        return _answer(
            lambda connection: endpoint_acts.create(
                connection, digest, origin, ring, new, claim=claimed
            )
        )


class ListEndpoints(Resource):
    """``GET /webhook_endpoints``."""

    def get(self) -> Response:
        """List endpoints, newest first."""
        digest = auth.caller()
        asked = query.read(schemas.ListEndpoints)
        user_id = uuid_or_none(asked.user_id)
        return listing.answer(
            digest,
            "webhook_endpoints",
            asked,
            lambda connection, actor, bounds: endpoint_list.list_endpoints(
                connection,
                actor,
                user_id=user_id,
                **bounds,
            ),
        )


class OneEndpoint(Resource):
    """``GET /webhook_endpoints/{id}``."""

    def get(self, endpoint_id: str) -> Response:
        """Read one endpoint."""
        digest, origin = auth.caller(), auth.origin()
        query.refuse()
        wanted = uuid_of(endpoint_id)
        text = on_connection(
            lambda connection: endpoint_list.get_endpoint(
                connection, key_service.authenticate(connection, digest, origin), wanted
            )
        )
        return responses.ready(text.encode())


class UpdateEndpoint(Resource):
    """``PATCH /webhook_endpoints/{id}``."""

    def patch(self, endpoint_id: str) -> Response:
        """Change an endpoint."""
        digest, origin, ring = auth.caller(), auth.origin(), keyring()
        query.refuse()
        wanted = uuid_of(endpoint_id)
        asked = body.read(schemas.UpdateEndpoint)
        changes = Changes(
            url=_canonical(asked.url) if isinstance(asked.url, str) else asked.url,
            event_types=asked.event_types,
            description=asked.description,
            headers={} if asked.headers is None else asked.headers,
            rate_limit=asked.rate_limit,
            ordered=asked.ordered,
            enabled=asked.enabled,
        )
        return _answer(
            lambda connection: endpoint_acts.update(
                connection, digest, origin, ring, wanted, changes
            )
        )


class DeleteEndpoint(Resource):
    """``DELETE /webhook_endpoints/{id}``."""

    def delete(self, endpoint_id: str) -> Response:
        """Delete an endpoint."""
        digest, origin = auth.caller(), auth.origin()
        query.refuse()
        wanted = uuid_of(endpoint_id)
        return _answer(lambda connection: endpoint_acts.delete(connection, digest, origin, wanted))


class RotateSecret(Resource):
    """``POST /webhook_endpoints/{id}/rotate_secret``."""

    def post(self, endpoint_id: str) -> Response:
        """Give an endpoint another secret."""
        digest, origin, ring = auth.caller(), auth.origin(), keyring()
        query.refuse()
        wanted = uuid_of(endpoint_id)
        claimed = private_claim(body.read(schemas.NoBody, optional=True))
        secret = signing.new_secret()
        return _answer(
            lambda connection: endpoint_acts.rotate_secret(
                connection, digest, origin, ring, wanted, fresh_secret=secret, claim=claimed
            )
        )


def _canonical(url: str) -> str:
    """Return the one form of a URL that may be called.

    Raises:
        InvalidInput: it may not.
    """
    return parse_url(url, url_rules(), field="url").url


def _answer(work: Callable[[Connection], Answer]) -> Response:
    return responses.from_answer(on_connection(work))
