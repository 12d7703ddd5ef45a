"""Signed receipts over HTTP, and the keys that others check them with."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from flask import Response

from standart.api import auth, query, responses, schemas
from standart.api.restful import Resource
from standart.extensions import keyring, on_connection
from standart.receipts import keys
from standart.services import receipt_service, signing_key_service
from standart.services.signing_key_service import SigningKey

# A receipt by a key that a kept list lacks is a reason to ask again, so a while is harmless.
_CACHEABLE: Final = (("Cache-Control", "public, max-age=300"),)


class OneReceipt(Resource):
    """``GET /receipt``."""

    def get(self) -> Response:
        """Sign what became of one transaction."""
        digest, origin = auth.caller(), auth.origin()
        transaction_id = UUID(query.read(schemas.ReadReceipt).id)
        ring = keyring()
        return responses.ready(
            on_connection(
                lambda connection: receipt_service.issue(
                    connection, digest, origin, ring, transaction_id
                )
            )
        )


class ListKeys(Resource):
    """``GET /receipt_keys``."""

    def get(self) -> Response:
        """List the public keys, the current one first."""
        query.refuse()
        found = on_connection(signing_key_service.list_keys)
        answer = schemas.ReceiptKeys(keys=[_shown(key) for key in found])
        return responses.ready(msgspec.json.encode(answer), headers=_CACHEABLE)


def _shown(key: SigningKey) -> schemas.ReceiptKey:
    return schemas.ReceiptKey(
        id=key.id,
        algorithm=keys.ALGORITHM,
        public_key=keys.encoded(key.public_key),
        created_at=_moment(key.created_at),
        retired_at=None if key.retired_at is None else _moment(key.retired_at),
    )


def _moment(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
