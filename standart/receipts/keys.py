"""Keys that sign and keys that check: ed25519 (RFC 8032), named by their SHA-256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from standart.receipts.canonical import NotJson, parse

ALGORITHM: Final = "ed25519"
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
ID_LENGTH: Final = 16


class BadKeys(ValueError):
    """What was given as keys is none; the message says why."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that checks; ``retired_at`` (RFC 3339) is when it signed for the last time."""

    id: str
    raw: bytes
    retired_at: str | None = None

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the key's private half made ``signature`` of ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class _Key(msgspec.Struct, frozen=True):
    """A key as the service tells it; what else is told of it does not matter here."""

    id: str
    algorithm: Literal["ed25519"]
    public_key: str
    retired_at: str | None


class _Keys(msgspec.Struct, frozen=True):
    keys: list[_Key]


def new_private_key() -> bytes:
    """Return the 32 bytes of a new private key."""
    return os.urandom(KEY_BYTES)


def public_key_of(private_key: bytes) -> bytes:
    """Return the 32 bytes of the public half."""
    public = Ed25519PrivateKey.from_private_bytes(private_key).public_key()
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(private_key: bytes, message: bytes) -> bytes:
    """Return the signature of ``message``, 64 bytes; always the same for the same message."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign(message)


def id_of(public_key: bytes) -> str:
    """Return the name of a key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:ID_LENGTH]


def encoded(raw: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(raw).decode("ascii")


def decoded(text: str, length: int) -> bytes | None:
    """Return ``length`` bytes that ``text`` writes in the one right way, else ``None``.

    Readers of base64 pass over bits at its end and characters in between; one signature must
    have one form.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length and encoded(raw) == text else None


def read_key(text: str) -> PublicKey:
    """Return the public key that base64 ``text`` writes.

    Raises:
        BadKeys: it is none.
    """
    raw = decoded(text.strip(), KEY_BYTES)
    if raw is None:
        raise BadKeys("a public key is base64 of 32 bytes")
    return PublicKey(id_of(raw), raw)


def read_keys(data: bytes) -> Mapping[str, PublicKey]:
    """Return by their ids the keys of a saved answer of ``GET /receipt_keys``.

    Raises:
        BadKeys: it is no such answer, or a key in it has the name of another one.
    """
    try:
        found = msgspec.convert(parse(data), _Keys)
    except NotJson as error:
        raise BadKeys(str(error)) from None
    except msgspec.ValidationError as error:
        raise BadKeys(ascii(str(error))[1:-1]) from None
    keys: dict[str, PublicKey] = {}
    for each in found.keys:
        key = read_key(each.public_key)
        if key.id != each.id:
            raise BadKeys(f"the key called {each.id!a} is not that key but {key.id}")
        keys[key.id] = PublicKey(key.id, key.raw, each.retired_at)
    return keys
