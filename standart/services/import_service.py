"""Opening balances from a CSV file: what merchants bring along from another system.

Each line becomes an adjustment of its own kind with a balanced journal; no balance is ever
typed in. The file is read line by line with a bound on each, so that no file costs more
memory than its merchants do, and the first thing that is wrong ends it all. It is read whole
before the transaction begins that posts it: a file may come as slowly as it wants.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from standart import money
from standart.errors import InvalidInput, Unavailable
from standart.services import adjustment_service, user_service
from standart.services.access import Actor

HEADER: Final = ("user", "currency", "balance")

# A name has at most 128 characters of 4 bytes; the rest of a line is short.
LONGEST_LINE: Final = 2048
"""Bytes of a line, its end included."""

# Characters of a name that nobody has, as an error shows it.
_SHOWN: Final = 128

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# Two at once would not see each other's rows.
_ONLY_IMPORT = text("SELECT pg_try_advisory_xact_lock(hashtextextended('opening balances', 0))")

_OPENED = text(
    """
    SELECT EXISTS (SELECT FROM adjustments
        WHERE user_id = :user_id AND currency = :currency AND kind = 'opening_balance')
    """
)

# Locked as its foreign key would lock it anyway: a user that is found stays until the commit.
_HOLD_USER = text("SELECT id FROM users WHERE id = :user_id FOR KEY SHARE")

# What the commit would check; so a dry run checks it, too.
_CHECK_NOW = text("SET CONSTRAINTS ALL IMMEDIATE")


@dataclass(frozen=True, slots=True)
class Opening:
    """What one line of a file says: whose balance, and how much."""

    line: int
    name: str
    user_id: UUID
    amount: money.Money


def read_balances(session: Session, file: BinaryIO) -> list[Opening]:
    """Read and check all of ``file``, as slowly as it comes; keep no more than its merchants.

    Nothing is written, and whoever waits for a line holds no transaction if the session's
    connection is in autocommit mode. Columns: the merchant's name, the currency, the balance
    as decimal text above zero.

    Raises:
        InvalidInput: the first line that does not fit, by its number.
    """
    read: dict[tuple[UUID, str], Opening] = {}
    for number, (name, currency, balance) in _rows(file):
        user_id = _user_id(session, number, name)
        amount = _amount(number, balance, currency)
        opening = Opening(number, name, user_id, amount)
        first = read.setdefault((user_id, amount.currency), opening)
        if first is not opening:
            raise _wrong(number, f"names {name} and {currency} again, as line {first.line} does")
        _require_unopened(session, opening)
    if not read:
        raise InvalidInput.of("file", "has no balances")
    return list(read.values())


def import_balances(session: Session, actor: Actor, openings: Sequence[Opening]) -> None:
    """Post what was read in the session's transaction, all of it or nothing.

    A merchant gets one opening balance in each currency, ever.

    Raises:
        InvalidInput: what a line says fits no longer, by its number. The caller rolls back.
        Unavailable: another import is running.
    """
    if not session.scalar(_ONLY_IMPORT):
        raise Unavailable("Another import is running; try again when it has ended.")
    # Asked before the first journal: from that on, a balance of the past waits for the commit.
    for opening in openings:
        if session.scalar(_HOLD_USER, {"user_id": opening.user_id}) is None:
            raise _unknown(opening.line, opening.name)
        _require_unopened(session, opening)
    connection = session.connection()
    for opening in openings:
        adjustment_service.open_balance(connection, actor, opening.user_id, opening.amount)
    session.execute(_CHECK_NOW)


def _require_unopened(session: Session, opening: Opening) -> None:
    currency = opening.amount.currency
    if session.scalar(_OPENED, {"user_id": opening.user_id, "currency": currency}):
        raise _wrong(opening.line, f"{opening.name} has an opening balance in {currency} already")


def _rows(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield each row behind the header with the number of its line."""
    lines = _lines(file)
    first, header = next(lines, (1, []))
    if tuple(header) != HEADER:
        raise _wrong(first, f"must be the header {','.join(HEADER)}")
    for number, cells in lines:
        if len(cells) != len(HEADER):
            raise _wrong(number, f"has {len(cells)} columns instead of {len(HEADER)}")
        yield number, cells


def _lines(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line that is not empty; a quoted line break is none."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise _wrong(number, f"is longer than {LONGEST_LINE} bytes")
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        try:
            written = line.decode().rstrip("\r\n")
            cells = next(csv.reader([written], strict=True), [])
        except UnicodeDecodeError:
            raise _wrong(number, "is not UTF-8") from None
        except csv.Error:
            raise _wrong(number, "is not CSV") from None
        if cells:
            yield number, cells


def _user_id(session: Session, number: int, name: str) -> UUID:
    # No name holds a control character, and the database could not even look for NUL.
    user = user_service.find_user(session, name) if name.isprintable() else None
    if user is None:
        raise _unknown(number, name)
    return user.id


def _amount(number: int, balance: str, currency: str) -> money.Money:
    try:
        return money.parse_amount(balance, currency, field="balance")
    except InvalidInput as error:
        wrong = error.errors[0]
        raise _wrong(number, f"{wrong.field} {wrong.message}") from None


def _unknown(number: int, name: str) -> InvalidInput:
    return _wrong(number, f"there is no user called {name[:_SHOWN]!r}")


def _wrong(number: int, message: str) -> InvalidInput:
    return InvalidInput.of(f"line {number}:", message)
