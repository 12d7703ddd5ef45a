"""Keys that sign receipts: one is current, the public halves of former ones are kept.

The private half stands in the database in a box of the key ring that opens for its own row
alone, so every host signs with the same key. It is erased when the key retires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from standart.db import unit
from standart.encryption import Keyring
from standart.receipts import keys
from standart.services import audit_service
from standart.services.access import SYSTEM, Actor


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The public part of a key; times are UTC, ``retired_at`` is ``None`` for the current one."""

    id: str
    public_key: bytes
    created_at: datetime
    retired_at: datetime | None


# Whoever makes a key holds it to the end: a second host waits and finds the first one's.
_ONLY_MAKER: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('signing keys', 0))")

_CURRENT: Final = text("SELECT id FROM signing_keys WHERE retired_at IS NULL")

_ALL: Final = text(
    """
    SELECT id, public_key, created_at, retired_at FROM signing_keys
    ORDER BY retired_at IS NOT NULL, created_at DESC, id
    """
)

_ADD: Final = text(
    "INSERT INTO signing_keys (id, public_key, private_key) VALUES (:id, :public_key, :private_key)"
)

_RETIRE: Final = text(
    """
    UPDATE signing_keys SET retired_at = clock_timestamp(), private_key = NULL
    WHERE retired_at IS NULL AND id = :id
    """
)


def list_keys(connection: Connection) -> Sequence[SigningKey]:
    """Return the current key, if there is one yet, and all retired ones, newest first."""
    return [SigningKey(*row) for row in connection.execute(_ALL)]


def ensure(connection: Connection, keyring: Keyring) -> str:
    """Return the id of the current key; make the first one where there is none.

    ``connection`` is in autocommit mode.
    """
    current = connection.scalar(_CURRENT)
    if current is None:
        with unit(connection):
            connection.execute(_ONLY_MAKER)
            current = connection.scalar(_CURRENT)
            if current is None:
                current = _make(connection, SYSTEM, keyring)
    return str(current)


def rotate(connection: Connection, actor: Actor, keyring: Keyring) -> tuple[str, str | None]:
    """Make a new key current; return its id and that of the one that retired, if there was one.

    What the former key signed goes on being right: its public half is kept. ``connection``
    is in autocommit mode.
    """
    with unit(connection):
        connection.execute(_ONLY_MAKER)
        former: str | None = connection.scalar(_CURRENT)
        if former is not None:
            connection.execute(_RETIRE, {"id": former})
            audit_service.record(connection, actor, "signing_key.retired", "signing_key", former)
        return _make(connection, actor, keyring), former


def _make(connection: Connection, actor: Actor, keyring: Keyring) -> str:
    private_key = keys.new_private_key()
    public_key = keys.public_key_of(private_key)
    key_id = keys.id_of(public_key)
    row: dict[str, Any] = {
        "id": key_id,
        "public_key": public_key,
        "private_key": keyring.encrypt(private_key, _context(key_id)),
    }
    connection.execute(_ADD, row)
    audit_service.record(connection, actor, "signing_key.created", "signing_key", key_id)
    return key_id


def open_key(keyring: Keyring, key_id: str, box: bytes) -> bytes:
    """Return the private key in ``box``.

    Raises:
        ConfigurationError: the ring lacks its key, or it is damaged or that of another row.
    """
    return keyring.decrypt(box, _context(key_id))


def reseal(keyring: Keyring, key_id: str, box: bytes) -> bytes:
    """Return the same private key sealed with the first key of the ring.

    Raises:
        ConfigurationError: as ``open_key``.
    """
    return keyring.reseal(box, _context(key_id))


def _context(key_id: str) -> bytes:
    return b"signing_key:" + key_id.encode("ascii")
