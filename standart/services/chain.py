"""The chain of seals: each says what had been posted, and that nothing before has changed.

A seal's hash is the SHA-256 of one line of ASCII::

    standart-seal-1|number|before|journals|total|previous|content

``before`` is UTC with microseconds, ``previous`` and ``content`` are lower-case hex; the first
seal's ``previous`` is all zeros. Whoever owns the database can make the whole chain anew, so a
head is worth something where it is kept outside: ``Anchor`` names one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from standart.documents.statement import Anchor
from standart.errors import InvalidInput
from standart.services.canonical import Digest

GENESIS: Final = bytes(32)
"""What stands for the hash before the first seal."""

_ANCHOR: Final = re.compile(r"(?:([1-9][0-9]{0,17}):)?([0-9a-f]{64})", re.ASCII)


def readable(column: str) -> str:
    """SQL: a moment that Python can hold; a damaged one beyond is not what it was in any case."""
    first, last = "'0001-01-02T00:00:00Z'", "'9999-12-30T00:00:00Z'"
    return (
        f"CASE WHEN {column} < {first} THEN {first} WHEN {column} > {last} THEN {last}"
        f" ELSE {column} END"
    )


COLUMNS: Final = f"number, {readable('before')} AS before, journals, total, previous, content, hash"
"""SQL: what ``link_of`` takes."""

_LAST: Final = text(f"SELECT {COLUMNS} FROM seals ORDER BY number DESC LIMIT 1")

_BEHIND: Final = text(
    f"SELECT {COLUMNS} FROM seals WHERE number > :number ORDER BY number LIMIT 1000"
)


@dataclass(frozen=True, slots=True)
class Link:
    """A seal without its marks; ``before`` is the UTC moment up to which it seals."""

    number: int
    before: datetime
    journals: int
    total: int
    previous: bytes
    content: bytes
    hash: bytes

    @property
    def anchor(self) -> Anchor:
        """How the seal is named outside."""
        return Anchor(self.number, self.hash.hex())

    @property
    def expected_hash(self) -> bytes:
        """The hash that follows from all other fields."""
        return seal_hash(
            self.number, self.before, self.journals, self.total, self.previous, self.content
        )

    def row(self) -> dict[str, Any]:
        """Return the columns of ``seals`` but for the marks and the moment of sealing."""
        return {name: getattr(self, name) for name in self.__slots__}

    def wire(self) -> dict[str, Any]:
        """Return the seal as the JSON of an export."""
        return {
            "number": self.number,
            "before": moment(self.before),
            "journals": self.journals,
            "total": self.total,
            "previous": self.previous.hex(),
            "content": self.content.hex(),
            "hash": self.hash.hex(),
        }


def seal_hash(
    number: int, before: datetime, journals: int, total: int, previous: bytes, content: bytes
) -> bytes:
    """Return the hash of a seal with these fields."""
    fields = (
        "standart-seal-1",
        str(number),
        moment(before),
        str(journals),
        str(total),
        previous.hex(),
        content.hex(),
    )
    return hashlib.sha256("|".join(fields).encode("ascii")).digest()


def moment(at: datetime) -> str:
    """Return a moment as it stands in what is hashed."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def link_of(row: Any) -> Link:
    """Return the link that a row with the columns of ``seals`` holds."""
    return Link(
        row.number, row.before, row.journals, row.total, row.previous, row.content, row.hash
    )


def next_link(former: Link | None, before: datetime, digest: Digest) -> Link:
    """Return the link over ``digest``'s journals, dated before ``before``, behind ``former``."""
    number = 1 if former is None else former.number + 1
    total = digest.lines + (0 if former is None else former.total)
    previous = GENESIS if former is None else former.hash
    content = digest.value()
    hashed = seal_hash(number, before, digest.lines, total, previous, content)
    return Link(number, before, digest.lines, total, previous, content, hashed)


def last(connection: Connection) -> Link | None:
    """Return the head of the chain, ``None`` before the first seal."""
    row = connection.execute(_LAST).one_or_none()
    return None if row is None else link_of(row)


def links_after(connection: Connection, number: int) -> Iterator[Link]:
    """Yield the links behind seal ``number``, in order and in flat memory."""
    while rows := connection.execute(_BEHIND, {"number": number}).all():
        yield from map(link_of, rows)
        number = rows[-1].number


def parse_anchor(written: str) -> tuple[int | None, bytes]:
    """Return (number, hash) of ``NUMBER:HASH``, or without a number of a hash alone.

    Raises:
        InvalidInput: it is neither.
    """
    found = _ANCHOR.fullmatch(written.strip().lower())
    if found is None:
        raise InvalidInput.of("head", "must be NUMBER:HASH or a hash of 64 hex digits")
    return (int(found[1]) if found[1] else None), bytes.fromhex(found[2])
