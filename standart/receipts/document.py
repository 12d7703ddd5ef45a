"""What a receipt says, and the answer that carries it with its signature.

The whole answer is canonical JSON, so a file has one right form and the signed bytes are a
part of it as they stand. The transaction is as on the wire and may get further fields.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from standart.receipts import keys
from standart.receipts.canonical import canonical

TYPE: Final = "transaction_receipt"
VERSION: Final = 1
SERVICE: Final = "standart"

LONGEST: Final = 256 * 1024
"""More bytes than a receipt can have."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part that has these fields and no others."""


class Issuer(Part, frozen=True):
    """Who signs: the key is named in what is signed as well."""

    service: Literal["standart"]
    key_id: str


class Fee(msgspec.Struct, frozen=True, kw_only=True):
    """The fee schedule that a transaction was created by."""

    rate: str
    fixed: str
    minimum: str
    maximum: str | None


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """What is checked of a transaction; the rest of it is signed all the same."""

    id: str
    user_id: str
    amount: str
    currency: str
    commission_rate: str
    commission: str
    net: str
    status: Literal["pending", "confirmed", "canceled", "expired"]
    created_at: str
    finished_at: str | None
    fee_schedule: Fee | None
    refunded_amount: str


class Entry(Part, frozen=True):
    """A line of a journal: what an account got, negative for what it gave."""

    account: str
    currency: str
    amount: str


class Settlement(Part, frozen=True):
    """The journal that a confirmation wrote."""

    id: str
    kind: Literal["settlement"]
    created_at: str
    entries: list[Entry]


class Anchor(Part, frozen=True):
    """A seal of the chain; the hash is hexadecimal."""

    number: int
    hash: str


class Receipt(Part, frozen=True):
    """What is signed. ``seal`` covers the settlement, ``chain_head`` is the last one of all."""

    type: Literal["transaction_receipt"]
    version: Literal[1]
    issuer: Issuer
    transaction: Transaction
    settlement: Settlement | None
    seal: Anchor | None
    chain_head: Anchor | None


class Envelope(Part, frozen=True):
    """A receipt and its signature."""

    algorithm: Literal["ed25519"]
    key_id: str
    receipt: Receipt
    signature: str


def signed(
    key_id: str,
    private_key: bytes,
    *,
    transaction: Any,
    settlement: Any,
    seal: Any,
    chain_head: Any,
) -> bytes:
    """Return the answer that carries a receipt; the same bytes for the same content."""
    receipt = {
        "type": TYPE,
        "version": VERSION,
        "issuer": {"service": SERVICE, "key_id": key_id},
        "transaction": transaction,
        "settlement": settlement,
        "seal": seal,
        "chain_head": chain_head,
    }
    signed_bytes = canonical(receipt)
    signature = keys.encoded(keys.sign(private_key, signed_bytes))
    # Their names are in order, and none of the other values needs an escape.
    return b'{"algorithm":"%s","key_id":"%s","receipt":%s,"signature":"%s"}' % (
        keys.ALGORITHM.encode(),
        key_id.encode(),
        signed_bytes,
        signature.encode(),
    )
