"""Signed receipts: what is asked and answered."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from standart.api import checks
from standart.api.fields import Currency, Id, Moment, Money
from standart.api.schemas.common import Reply, Request
from standart.api.schemas.transactions import Transaction

KeyId = Annotated[
    str,
    Meta(
        pattern="^[0-9a-f]{16}$",
        description="The first 16 hexadecimal digits of the public key's SHA-256.",
    ),
]


class ReadReceipt(Request, frozen=True):
    """Which transaction to get a receipt of."""

    id: Id

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier))


class Issuer(Reply, frozen=True):
    """Who signs."""

    service: Literal["standart"]
    key_id: KeyId


class ReceiptEntry(Reply, frozen=True):
    """A line of the settlement: what an account got, negative for what it gave."""

    account: Literal["clearing", "available", "commission"]
    currency: Currency
    amount: Money


class Settlement(Reply, frozen=True):
    """The journal that the confirmation wrote; its entries sum to zero."""

    id: Id
    kind: Literal["settlement"]
    created_at: Moment
    entries: list[ReceiptEntry]


class SealAnchor(Reply, frozen=True):
    """A seal of the chain over all journals."""

    number: Annotated[int, Meta(ge=1)]
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256.")]


class Receipt(Reply, frozen=True):
    """What is signed. `settlement` is null unless confirmed, `seal` until it is sealed."""

    type: Literal["transaction_receipt"]
    version: Literal[1]
    issuer: Issuer
    transaction: Transaction
    settlement: Settlement | None
    seal: SealAnchor | None
    chain_head: SealAnchor | None


class SignedReceipt(Reply, frozen=True):
    """Canonical JSON (RFC 8785); the signature is over the bytes of `receipt` as they stand."""

    algorithm: Literal["ed25519"]
    key_id: KeyId
    receipt: Receipt
    signature: Annotated[str, Meta(description="Base64 of 64 bytes.")]


class ReceiptKey(Reply, frozen=True):
    """A public key; a retired one has signed and does not sign any more."""

    id: KeyId
    algorithm: Literal["ed25519"]
    public_key: Annotated[str, Meta(description="Base64 of 32 bytes.")]
    created_at: Moment
    retired_at: Moment | None


class ReceiptKeys(Reply, frozen=True):
    """The current key first; none before the first receipt."""

    keys: list[ReceiptKey]
