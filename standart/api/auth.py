"""Who asks: the API key of the ``Authorization`` header, as a digest.

Nothing here asks the database. Whether the key opens anything is decided in the statement
that does the work, so that a revoked key counts with the next request.
"""

from __future__ import annotations

from typing import Final

from flask import current_app, request

from standart.api.responses import request_id
from standart.errors import Unauthenticated
from standart.services.access import Origin
from standart.services.key_service import KeyDigest, digest_of

LIMITER: Final = "standart.rate_limiter"

_SCHEME: Final = "bearer "


def caller() -> KeyDigest:
    """Return the digest of the key that the request carries, its rate already counted.

    The server joins repeated headers by a comma, which no key contains.

    Raises:
        Unauthenticated: there is no header, more than one, or not ``Bearer <key>``.
        TooManyRequests: the key has used up its rate.
    """
    header: str | None = request.environ.get("HTTP_AUTHORIZATION")
    if header is None:
        raise Unauthenticated
    if header[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthenticated("The Authorization header must be: Bearer <API key>.")
    digest = digest_of(header[len(_SCHEME) :])
    limiter = current_app.extensions.get(LIMITER)
    if limiter is not None:
        limiter.count(digest)
    return digest


def origin() -> Origin:
    """Return where the request came from, for the audit log."""
    return Origin("api", request_id(), request.remote_addr)
