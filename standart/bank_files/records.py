"""What a file of a bank or provider says, line by line, whatever its format.

All money is in minor units of the record's currency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum
from typing import Final

from standart.errors import InvalidInput
from standart.phrases import Phrase

MAX_RECORDS: Final = 1_000_000
"""Payments of one file."""

# Of what an error quotes, so that a hostile cell does not fill the screen.
_SHOWN: Final = 40


class FileFormat(StrEnum):
    """How a file is written."""

    CSV = "csv"
    EXCHANGE = "1c"


class Direction(StrEnum):
    """Whether money came in or went out, as the account's owner sees it."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Token:
    """A word by which a record may name a transaction.

    A ``weak`` one, such as ``1204`` somewhere in a purpose, may be any other number: it names
    a transaction only where the amounts agree.
    """

    text: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One payment of the file.

    ``line`` is where it begins, from 1. ``paid`` is false where the file itself says that no
    money moved. ``reference`` is what the file has for one, ``tokens`` are all words by which
    it may be found. ``date`` is a calendar day of the file's time zone.
    """

    line: int
    direction: Direction
    date: date
    time: time | None
    amount: int
    currency: str
    reference: str | None = None
    tokens: tuple[Token, ...] = ()
    paid: bool = True
    fee: int | None = None
    purpose: str | None = None
    counterparty: str | None = None
    document: str | None = None


@dataclass(slots=True)
class Facts:
    """What is known of a file as a whole; complete once its last record was read.

    ``first_day`` and ``last_day`` are what the file states as its period; ``directions`` is
    what it could hold, ``transfers`` how many movements between its own accounts it has.
    """

    format: FileFormat
    directions: frozenset[Direction]
    encoding: str = ""
    first_day: date | None = None
    last_day: date | None = None
    transfers: int = 0
    warnings: list[str] = field(default_factory=list)


def wrong(line: int, message: str) -> InvalidInput:
    """Return the one error that a bad file ends with; ``message`` goes on after the number."""
    return InvalidInput.of(f"line {line}:", message)


def unfit(line: int, problem: str, field: str, text: str) -> InvalidInput:
    """Return the error of one value: what is it of, how it is written, what is wrong with it."""
    message = Phrase(
        "%(field)s %(text)s %(problem)s", field=field, text=shown(text), problem=problem
    )
    return wrong(line, message)


def shown(text: str) -> str:
    """Return ``text`` as an error quotes it: short, without control characters."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def plain(text: str, most: int) -> str | None:
    """Return ``text`` on one line without control characters, ``None`` when nothing is left.

    ``most`` is how many characters are kept.
    """
    if not text.isprintable():
        text = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(text.split())[:most].rstrip() or None
