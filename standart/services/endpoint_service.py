"""Endpoints: the receivers of a user's events, their secrets and their headers.

Every user has a default one, which has the user's own id; its URL is the user's plain field
"webhook URL". Secrets are sealed by the key ring for the endpoint they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session, object_session

from standart.clock import now
from standart.encryption import Keyring
from standart.models import DisabledReason, User, WebhookEndpoint, WebhookLane
from standart.services import audit_service, outbox
from standart.services.access import SYSTEM, Actor
from standart.services.endpoint_rules import MASK
from standart.services.wire import rfc3339
from standart.webhooks import signing

SECRET_OVERLAP: Final = timedelta(hours=24)
"""For how long after a rotation the former secret signs as well."""

PATIENCE: Final = 5
"""After so many failures in a row an endpoint is only probed, one attempt at a time."""


def add_default(session: Session, keyring: Keyring, user: User, url: str | None) -> str:
    """Give a new user its default endpoint; return the secret in plain text.

    ``url`` must have passed ``webhooks.addresses.parse_url``.
    """
    secret = signing.new_secret()
    user.endpoint = WebhookEndpoint(
        user_id=user.id, id=user.id, url=url, secret=seal_secret(keyring, user.id, secret)
    )
    session.flush()
    session.add(WebhookLane(user_id=user.id, endpoint_id=user.id))
    session.flush()
    return secret


def set_default_url(user: User, url: str | None) -> None:
    """Change where the default endpoint is; a saved URL is called again after a stop."""
    enable(user.endpoint)
    user.endpoint.url = url


def enable(endpoint: WebhookEndpoint) -> None:
    """Let an endpoint be called again, whyever it was not; its failures are forgotten."""
    session = object_session(endpoint)
    if session is not None:
        forgive(session, endpoint.user_id, endpoint.id)
    endpoint.disabled_at = None
    endpoint.disabled_reason = None


_FORGIVE = text(
    """
    UPDATE webhook_lanes SET failures = 0, failing_since = NULL, failed_at = NULL,
        open_until = NULL, free_at = NULL
    WHERE user_id = :user_id AND endpoint_id = :id
    """
)


def forgive(session: Session | Connection, user_id: UUID, endpoint_id: UUID) -> None:
    """Forget how an endpoint has failed: one that failed for days would be stopped at once.

    The lane is locked before the endpoint, as by whoever records attempts.
    """
    session.execute(_FORGIVE, {"user_id": user_id, "id": endpoint_id})


def secret_of(keyring: Keyring, endpoint: WebhookEndpoint) -> str:
    """Return an endpoint's secret in plain text."""
    return open_secrets(keyring, endpoint.id, endpoint.secret)[0]


def show_secret(session: Session, actor: Actor, keyring: Keyring, endpoint: WebhookEndpoint) -> str:
    """Return an endpoint's secret in plain text, and note in the audit log that it was shown."""
    if endpoint.id == endpoint.user_id:
        audit_service.record(session, actor, "user.webhook_secret_shown", "user", endpoint.user_id)
    else:
        audit_service.record(
            session, actor, "endpoint.secret_shown", "webhook_endpoint", endpoint.id
        )
    return secret_of(keyring, endpoint)


def open_secrets(
    keyring: Keyring, endpoint_id: UUID, current: bytes, previous: bytes | None = None
) -> list[str]:
    """Unseal the secrets that sign: the present one, and the former while both are valid.

    Raises:
        ConfigurationError: the ring lacks their key, or they are damaged.
    """
    sealed = [current] if previous is None else [current, previous]
    return [keyring.decrypt(box, _secret_context(endpoint_id)).decode() for box in sealed]


def seal_secret(keyring: Keyring, endpoint_id: UUID, secret: str) -> bytes:
    """Seal the secret of one endpoint; the box opens for no other."""
    return keyring.encrypt(secret.encode(), _secret_context(endpoint_id))


def rotate_secret(
    session: Session, actor: Actor, keyring: Keyring, endpoint: WebhookEndpoint
) -> str:
    """Give an endpoint a new secret; for 24 h both sign. Returns the plain text."""
    secret = signing.new_secret()
    endpoint.previous_secret = endpoint.secret
    endpoint.previous_secret_until = now() + SECRET_OVERLAP
    endpoint.secret = seal_secret(keyring, endpoint.id, secret)
    session.flush()
    record_rotation(session, actor, endpoint.user_id, endpoint.id)
    return secret


def record_rotation(
    session: Session | Connection, actor: Actor, user_id: UUID, endpoint_id: UUID
) -> None:
    """Note in the audit log that an endpoint has a new secret."""
    if endpoint_id == user_id:
        audit_service.record(session, actor, "user.webhook_secret_rotated", "user", user_id)
    else:
        audit_service.record(
            session, actor, "endpoint.secret_rotated", "webhook_endpoint", endpoint_id
        )


def reseal_secret(keyring: Keyring, endpoint_id: UUID, box: bytes) -> bytes:
    """Seal the secret in ``box`` with the first key of the ring.

    Raises:
        ConfigurationError: as ``open_secrets``.
    """
    return keyring.reseal(box, _secret_context(endpoint_id))


def reseal_headers(keyring: Keyring, endpoint_id: UUID, box: bytes) -> bytes:
    """Seal the headers in ``box`` with the first key of the ring.

    Raises:
        ConfigurationError: as ``open_secrets``.
    """
    return keyring.reseal(box, _headers_context(endpoint_id))


def _secret_context(endpoint_id: UUID) -> bytes:
    return b"webhook_secret:" + endpoint_id.bytes


def _headers_context(endpoint_id: UUID) -> bytes:
    return b"webhook_headers:" + endpoint_id.bytes


def open_headers(keyring: Keyring, endpoint_id: UUID, sealed: bytes | None) -> Mapping[str, str]:
    """Unseal the headers that an endpoint wants with each request; none is an empty mapping.

    Raises:
        ConfigurationError: as ``open_secrets``.
    """
    if sealed is None:
        return {}
    plain = keyring.decrypt(sealed, _headers_context(endpoint_id))
    return msgspec.json.decode(plain, type=dict[str, str])


def seal_headers(keyring: Keyring, endpoint_id: UUID, headers: Mapping[str, str]) -> bytes | None:
    """Seal the custom headers of one endpoint: they may hold what opens the receiver's door."""
    if not headers:
        return None
    return keyring.encrypt(msgspec.json.encode(headers), _headers_context(endpoint_id))


# Only while it is the URL that failed: one that was saved meanwhile gets its own chance.
_STOP = text(
    """
    UPDATE webhook_endpoints w
    SET disabled_at = clock_timestamp(), disabled_reason = CAST(:reason AS text)
    WHERE w.user_id = :user_id AND w.id = :id AND w.disabled_at IS NULL
      AND w.url = coalesce(CAST(:url AS text), w.url)
    """
)


def stop(
    connection: Connection,
    user_id: UUID,
    endpoint_id: UUID,
    reason: DisabledReason,
    *,
    url: str | None = None,
) -> None:
    """Disable an endpoint that is gone or only fails, and tell its owner's other endpoints.

    With ``url``, only if that still is its URL.
    """
    parameters = {"user_id": user_id, "id": endpoint_id, "reason": reason.value, "url": url}
    if connection.execute(_STOP, parameters).rowcount == 0:
        return
    body = connection.execute(READ, {"user_id": user_id, "id": endpoint_id}).scalar_one()
    outbox.tell_of_stop(connection, user_id, endpoint_id, body)
    audit_service.record(
        connection,
        SYSTEM,
        "endpoint.disabled",
        "webhook_endpoint",
        endpoint_id,
        after={"reason": reason.value},
    )


def endpoint_json(row: str) -> str:
    """SQL: the wire form of ``row`` (an alias of ``webhook_endpoints``) as json; no secret."""
    return f"""(SELECT row_to_json(j) FROM (SELECT
        {row}.id, {row}.user_id, {row}.id = {row}.user_id AS "default", {row}.url,
        {row}.event_types, {row}.description, {row}.ordered, {row}.rate_limit,
        coalesce((SELECT json_object_agg(h.name, '{MASK}')
            FROM unnest({row}.header_names) AS h (name)), '{{}}'::json) AS headers,
        {row}.disabled_at IS NULL AS enabled, {row}.disabled_reason,
        CASE WHEN {row}.disabled_at IS NULL THEN 'enabled' ELSE 'disabled' END AS status,
        {rfc3339(f"{row}.disabled_at")} AS disabled_at,
        (SELECT CASE WHEN l.failures < {PATIENCE} THEN 'normal' ELSE 'slow' END
            FROM webhook_lanes l
            WHERE l.user_id = {row}.user_id AND l.endpoint_id = {row}.id) AS lane,
        (SELECT {rfc3339("l.failing_since")} FROM webhook_lanes l
            WHERE l.user_id = {row}.user_id AND l.endpoint_id = {row}.id) AS failing_since,
        CASE WHEN {row}.previous_secret_until > clock_timestamp()
            THEN {rfc3339(f"{row}.previous_secret_until")} END AS previous_secret_until,
        {rfc3339(f"{row}.created_at")} AS created_at
    ) AS j)"""


READ = text(
    f"""
    SELECT {endpoint_json("w")}::text FROM webhook_endpoints w
    WHERE w.user_id = :user_id AND w.id = :id
    """
)
