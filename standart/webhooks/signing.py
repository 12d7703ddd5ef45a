"""Signatures and secrets of Standard Webhooks 1.0.0, symmetric scheme ``v1``.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as random_source
from collections.abc import Sequence

from standart import __version__

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with, no secret itself
SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new signing secret: ``whsec_`` and the base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(random_source.token_bytes(SECRET_BYTES)).decode()


def sign(secrets: Sequence[str], event_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``: one ``v1,<base64>`` for each secret.

    Each is HMAC-SHA256 over ``event_id.timestamp.body``; ``timestamp`` is in whole seconds since
    the Unix epoch and must be the one sent as ``webhook-timestamp``. Several secrets are given
    while an old one is still valid after a rotation; a receiver accepts any match. Raises
    ValueError, which never shows the secret, when there is no secret or one is not of our form.
    """
    if not secrets:
        raise ValueError("a webhook needs at least one secret to be signed with")
    content = f"{event_id}.{timestamp}.".encode() + body
    return " ".join(_signature(_key(secret), content) for secret in secrets)


def headers(secrets: Sequence[str], event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return all that Standart sets on a message itself; the signature as ``sign`` makes it."""
    return {
        "content-type": "application/json",
        "user-agent": f"Standart/{__version__}",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secrets, event_id, timestamp, body),
    }


def _signature(key: bytes, content: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if encoded == secret or not key:
        # The cause would carry the secret's characters into a traceback.
        raise ValueError("a webhook secret must be whsec_ followed by base64") from None
    return key
