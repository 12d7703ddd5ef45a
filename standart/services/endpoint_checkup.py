"""What a check-up of an endpoint needs to know; it writes an audit row and nothing else."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from standart.encryption import Keyring
from standart.errors import Conflict, NotFound
from standart.models import WebhookEndpoint
from standart.services import audit_service, endpoint_service
from standart.services.access import Actor
from standart.services.webhook_work import Receiver

# The former secret signs as well for as long as the database's clock says so.
_ENDPOINT = select(
    WebhookEndpoint.user_id,
    WebhookEndpoint.url,
    WebhookEndpoint.headers,
    WebhookEndpoint.secret,
    case(
        (
            WebhookEndpoint.previous_secret_until > func.clock_timestamp(),
            WebhookEndpoint.previous_secret,
        )
    ).label("previous"),
).where(WebhookEndpoint.deleted_at.is_(None))


def prepare(session: Session, actor: Actor, keyring: Keyring, endpoint_id: UUID) -> Receiver:
    """Return where an endpoint is, and all that real messages to it are signed and sent with.

    One that is disabled can be checked too: whoever mends a receiver wants to know before it is
    called again. Hand it to ``webhooks.checkup.check`` after the commit.

    Raises:
        NotFound: unknown, deleted, or somebody else's, in the same words.
        Conflict: it has no URL.
        ConfigurationError: the key ring does not open its secrets.
    """
    row = session.execute(_ENDPOINT.where(WebhookEndpoint.id == endpoint_id)).one_or_none()
    if row is None:
        raise NotFound
    actor.require_owner(row.user_id)
    if row.url is None:
        raise Conflict("The endpoint has no URL.")
    secrets = endpoint_service.open_secrets(keyring, endpoint_id, row.secret, row.previous)
    headers = endpoint_service.open_headers(keyring, endpoint_id, row.headers)
    audit_service.record(session, actor, "endpoint.checked", "webhook_endpoint", endpoint_id)
    return Receiver(row.url, tuple(secrets), headers)
