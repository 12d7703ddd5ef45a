"""Cursors: where a page ended, sealed so that nobody makes or borrows one.

A cursor is the (created_at, id), or (position, id), of the last row and an HMAC over it, keyed by
``SECRET_KEY``. What is signed includes who asked and with which filters: a cursor of
another caller, list or filter is refused like a forged one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from standart.errors import InvalidInput
from standart.services.access import Actor

Position = tuple[datetime, UUID]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NUMBER_BYTES: Final = 8
_SEAL_BYTES: Final = 16
_FORM: Final = re.compile(r"[A-Za-z0-9_-]{54}")
_DERIVATION: Final = b"standart cursor 1 "

# What a change of page may change.
_PAGING: Final = frozenset({"limit", "cursor", "after", "wait"})


class Sealer:
    """Makes and opens the cursors of one caller's list with its filters."""

    def __init__(self, secret_key: str, list_name: str, actor: Actor, filters: msgspec.Struct):
        """``filters`` is the query as it was read, page size and cursor included."""
        used = {
            name: value
            for name, value in msgspec.structs.asdict(filters).items()
            if name not in _PAGING
        }
        scope = msgspec.json.encode(
            [list_name, actor.user_id, actor.role, used], order="deterministic"
        )
        key = hashlib.sha256(_DERIVATION + secret_key.encode()).digest()
        self._seal = hmac.new(key, scope, hashlib.sha256)

    def seal(self, position: Position) -> str:
        """Return the cursor of the row at ``position``."""
        created_at, row_id = position
        return self.seal_number((created_at - _EPOCH) // _MICROSECOND, row_id)

    def seal_number(self, number: int, row_id: UUID) -> str:
        """Return the cursor of a row whose place is ``number``, of at most 63 bits."""
        body = number.to_bytes(_NUMBER_BYTES, "big", signed=True) + row_id.bytes
        return base64.urlsafe_b64encode(body + self._sealed(body)).decode().rstrip("=")

    def open(self, cursor: str | None) -> Position | None:
        """Return the position that ``cursor`` holds, ``None`` for the first page.

        Raises:
            InvalidInput: it was not made here for this caller, list and filters.
        """
        if cursor is None:
            return None
        micros, row_id = self.open_number(cursor)
        return _EPOCH + micros * _MICROSECOND, row_id

    def open_number(self, cursor: str, field: str = "cursor") -> tuple[int, UUID]:
        """Return what ``seal_number`` made ``cursor`` of; errors name ``field``.

        Raises:
            InvalidInput: it was not made here for this caller, list and filters.
        """
        if not _FORM.fullmatch(cursor):
            raise _unknown(field)
        packed = base64.urlsafe_b64decode(cursor + "==")
        body, seal = packed[:-_SEAL_BYTES], packed[-_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._sealed(body)):
            raise _unknown(field)
        number = int.from_bytes(body[:_NUMBER_BYTES], "big", signed=True)
        return number, UUID(bytes=body[_NUMBER_BYTES:])

    def _sealed(self, body: bytes) -> bytes:
        seal = self._seal.copy()
        seal.update(b"\0" + body)
        return seal.digest()[:_SEAL_BYTES]


def _unknown(field: str) -> InvalidInput:
    return InvalidInput.of(field, "was not given for this list and these filters")
