"""The Idempotency-Key of a request, bound to its path and to what was asked."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

import msgspec
from flask import request

from standart.errors import Malformed
from standart.extensions import settings
from standart.services.idempotency_service import IdempotencyClaim

# Visible ASCII without the comma, by which servers join repeated headers.
_KEY: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,255}")

_DERIVATION: Final = b"standart fingerprint 1 "

_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")


def claim(asked: msgspec.Struct) -> IdempotencyClaim | None:
    """Return the claim of the request's Idempotency-Key, ``None`` if it has none.

    Raises:
        Malformed: the header is empty, too long, repeated or not visible ASCII.
    """
    key = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Malformed(
            "Idempotency-Key must be one header of 1 to 255 visible ASCII characters, no comma."
        )
    return IdempotencyClaim.of(request.path, key, _CANONICAL.encode(asked))


def private_claim(asked: msgspec.Struct) -> IdempotencyClaim | None:
    """Return the claim of a request that holds secrets, as ``claim`` does.

    What is kept is a keyed digest: from a plain one, whoever reads the table could find out a
    short secret by trying.

    Raises:
        Malformed: as ``claim``.
    """
    plain = claim(asked)
    if plain is None:
        return None
    key = hashlib.sha256(_DERIVATION + settings().secret_key.encode()).digest()
    return IdempotencyClaim(
        plain.path, plain.key, hmac.new(key, plain.fingerprint, hashlib.sha256).digest()
    )
