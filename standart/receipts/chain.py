"""The chain of seals as `standart seal --export` writes it: one JSON object a line.

A seal's hash is the SHA-256 of its other fields, the hash before it included, so a chain that
holds together up to a known head holds nothing but what that head was made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from standart.receipts.canonical import NotJson, parse
from standart.receipts.document import Anchor

LONGEST_LINE: Final = 64 * 1024

_FORM: Final = "standart-seal-1"


class BadSeals(ValueError):
    """The file is no export of seals; the message names the line."""


class BrokenChain(ValueError):
    """The seals do not follow each other; the message names the first that does not."""


class _Seal(msgspec.Struct, frozen=True):
    number: int
    before: str
    journals: int
    total: int
    previous: str
    content: str
    hash: str

    def is_sound(self) -> bool:
        """Whether the hash follows from the other fields."""
        fields = (self.number, self.before, self.journals, self.total, self.previous, self.content)
        line = "|".join((_FORM, *map(str, fields)))
        return hashlib.sha256(line.encode("utf-8")).hexdigest() == self.hash

    def goes_on_from(self, last: _Seal) -> bool:
        """Whether it is the next one."""
        return (self.number, self.previous) == (last.number + 1, last.hash)


def find(lines: Iterable[bytes], wanted: Iterable[Anchor]) -> Mapping[int, str]:
    """Return number → hash of those seals that are ``wanted``, having read the chain to its end.

    The file may begin in the middle of the chain.

    Raises:
        BadSeals: a line is not a seal.
        BrokenChain: a seal is changed, or does not go on from the one before.
    """
    numbers = {anchor.number for anchor in wanted}
    found: dict[int, str] = {}
    last: _Seal | None = None
    for place, line in enumerate(lines, start=1):
        seal = _read(line, place)
        if not seal.is_sound():
            raise BrokenChain(f"seal {seal.number} has another hash than its fields make")
        if last is not None and not seal.goes_on_from(last):
            raise BrokenChain(f"seal {seal.number} does not go on from seal {last.number}")
        if seal.number in numbers:
            found[seal.number] = seal.hash
        last = seal
    return found


def _read(line: bytes, place: int) -> _Seal:
    if len(line) > LONGEST_LINE:
        raise BadSeals(f"line {place} is longer than {LONGEST_LINE} bytes")
    try:
        return msgspec.convert(parse(line), _Seal)
    except (NotJson, msgspec.ValidationError) as error:
        raise BadSeals(f"line {place}: {ascii(str(error))[1:-1]}") from None
