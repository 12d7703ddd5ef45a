"""The calls about receipts. Their example is signed, by a key of its own, and can be checked."""

from __future__ import annotations

import json
from typing import Any, Final

from standart.api import examples, schemas
from standart.api.operations.base import KEYED, Operation
from standart.errors import InvalidInput, NotFinished, NotFound, Unavailable
from standart.models import Scope
from standart.receipts import document, keys

_PRIVATE_KEY: Final = bytes(range(keys.KEY_BYTES))
_PUBLIC_KEY: Final = keys.public_key_of(_PRIVATE_KEY)
_KEY_ID: Final = keys.id_of(_PUBLIC_KEY)

_SETTLEMENT: Final[dict[str, Any]] = {
    "id": "0198f0c4-0a1a-7b2c-8d3e-4f5a6b7c8d9e",
    "kind": "settlement",
    "created_at": "2026-11-23T09:02:11.654330Z",
    "entries": [
        {"account": "clearing", "currency": "RUB", "amount": "-100.00"},
        {"account": "available", "currency": "RUB", "amount": "97.00"},
        {"account": "commission", "currency": "RUB", "amount": "3.00"},
    ],
}

_RECEIPT: Final[dict[str, Any]] = json.loads(
    document.signed(
        _KEY_ID,
        _PRIVATE_KEY,
        transaction=examples.CONFIRMED,
        settlement=_SETTLEMENT,
        seal={"number": 1840, "hash": "9f2c4e6a8b0d1f33" * 4},
        chain_head={"number": 1863, "hash": "41c7a5e3b1907f5d" * 4},
    )
)

_KEYS: Final = {
    "keys": [
        {
            "id": _KEY_ID,
            "algorithm": keys.ALGORITHM,
            "public_key": keys.encoded(_PUBLIC_KEY),
            "created_at": "2026-11-01T00:00:00.123456Z",
            "retired_at": None,
        }
    ]
}

OPERATIONS: Final = (
    Operation(
        method="get",
        path="/receipt",
        id="receipt",
        tag="receipts",
        summary="Get a signed receipt",
        description="What became of a finished transaction, signed (ed25519): `standart "
        "verify-receipt` or ten lines of your own check the saved answer offline. It states the "
        "moment: the same bytes until something is refunded, the chain of seals gets longer or "
        "the signing key is rotated; every one of them stays right.",
        scope=Scope.READ,
        query=schemas.ReadReceipt,
        answer=schemas.SignedReceipt,
        example=_RECEIPT,
        errors=(*KEYED, NotFound, NotFinished),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/receipt_keys",
        id="receipt_keys",
        tag="receipts",
        summary="List the keys that receipts are checked with",
        description="The current key first, then retired ones, which stay for ever. Keep what you "
        "trust: a key fetched together with a receipt proves nothing. May be cached for five "
        "minutes.",
        scope=None,
        answer=schemas.ReceiptKeys,
        example=_KEYS,
        errors=(InvalidInput, Unavailable),
        wrong_field="verbose",
    ),
)
