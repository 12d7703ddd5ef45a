"""Rules for the text of single fields, in words that complete "field …"; ``None`` is fine.

Each pattern is the contract's grammar in ASCII and is matched in full: ``$`` alone would
let a line break through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from standart.card_numbers import holds_card_number
from standart.errors import FieldError, InvalidInput
from standart.money import CURRENCIES, SOME_AMOUNT, UNKNOWN_CURRENCY

AMOUNT: Final = SOME_AMOUNT
IDENTIFIER: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
METADATA_KEY: Final = r"[A-Za-z0-9_.-]{1,40}"
LIMIT: Final = r"[1-9][0-9]{0,2}"

LONGEST_PAGE: Final = 100
LONGEST_WAIT: Final = 25
MOST_METADATA: Final = 50

_AMOUNT: Final = re.compile(AMOUNT)
_IDENTIFIER: Final = re.compile(IDENTIFIER)
_METADATA_KEY: Final = re.compile(METADATA_KEY)
_LIMIT: Final = re.compile(LIMIT)
_WAIT: Final = re.compile(r"0|[1-9][0-9]?")

# Control characters (Unicode category Cc) and halves of surrogate pairs, which no
# encoding can carry.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Check = Callable[[Any], str | None]


def amount(text: str) -> str | None:
    """A plain decimal above zero; how many digits it may have depends on the currency."""
    if not _AMOUNT.fullmatch(text):
        return "must be a plain decimal number such as 100.00, in range"
    return None if text.strip("0.") else "must be greater than 0"


def currency(text: str) -> str | None:
    """The code of a currency that one can pay in."""
    return None if text in CURRENCIES else UNKNOWN_CURRENCY


def identifier(text: str) -> str | None:
    """A UUID with dashes, in either case."""
    return None if _IDENTIFIER.fullmatch(text) else "must be a UUID with dashes"


def plain(text: str) -> str | None:
    """Text without control characters and lone surrogates."""
    return "must not hold control characters" if _UNFIT.search(text) else None


def prose(text: str) -> str | None:
    """Plain text without the number of a payment card."""
    return plain(text) or ("must not hold a card number" if holds_card_number(text) else None)


def said(text: str) -> str | None:
    """Prose that says something."""
    return prose(text) if text.strip() else "must not be blank"


def limit(text: str) -> str | None:
    """The size of a page."""
    if _LIMIT.fullmatch(text) and int(text) <= LONGEST_PAGE:
        return None
    return f"must be a whole number from 1 to {LONGEST_PAGE}"


def wait(text: str) -> str | None:
    """For how long an answer may be held."""
    if _WAIT.fullmatch(text) and int(text) <= LONGEST_WAIT:
        return None
    return f"must be a whole number from 0 to {LONGEST_WAIT}"


def metadata_key(text: str) -> str | None:
    """A plain key."""
    if _METADATA_KEY.fullmatch(text):
        return None
    return "must be 1 to 40 letters, digits, dots, dashes and underscores"


def metadata(values: Mapping[str, str]) -> str | None:
    """A flat object of few short strings under plain keys."""
    if len(values) > MOST_METADATA:
        return f"must have at most {MOST_METADATA} keys"
    for key, value in values.items():
        if not _METADATA_KEY.fullmatch(key):
            return "must have keys of 1 to 40 letters, digits, dots, dashes and underscores"
        if _UNFIT.search(value):
            return "must not hold control characters"
    return None


def require(*fields: tuple[str, object, Check]) -> None:
    """Check fields given as (name, value, rule); absent ones are fine.

    Raises:
        InvalidInput: names every field that breaks its rule.
    """
    problems = [
        FieldError(name, problem)
        for name, value, check in fields
        if value is not None and (problem := check(value)) is not None
    ]
    if problems:
        raise InvalidInput(problems)


def uuid_of(text: str, field: str = "id") -> UUID:
    """Return the id that ``text`` writes.

    Raises:
        InvalidInput: ``text`` is not a UUID with dashes.
    """
    require((field, text, identifier))
    return UUID(text)


def uuid_or_none(text: str | None) -> UUID | None:
    """Return the id of a field that was checked already."""
    return None if text is None else UUID(text)
