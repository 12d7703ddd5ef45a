"""The words of a payment's purpose by which it may name a transaction."""

from __future__ import annotations

import re
from typing import Final

from standart.bank_files.records import Token

LONGEST: Final = 128
"""Characters of a reference."""

_SHORTEST: Final = 3

# A purpose has 210 characters by the rules of Russian banks; more words than this are a flood.
_MOST: Final = 24

_EDGES: Final = ".,;:!?()[]{}<>«»“”„\"'№#=-/\\"
_BETWEEN: Final = re.compile(r"[,;:()\[\]{}<>«»“”„\"'№#=/\\]+")
_DIGIT: Final = re.compile(r"[0-9]")
_DAY_OR_SUM: Final = re.compile(
    r"[0-9]{1,2}\.[0-9]{2}\.[0-9]{2,4}|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]+[.,-][0-9]{2}"
)
_WEAK: Final = re.compile(r"[0-9]{1,4}")
_ID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def of_reference(reference: str) -> tuple[Token, ...]:
    """Return the tokens of what a file says is the reference, or the transaction's id."""
    if len(reference) > LONGEST:
        return ()
    return tuple(Token(each) for each in _forms(reference))


def of_purpose(purpose: str) -> tuple[Token, ...]:
    """Return the whole words of ``purpose`` that can be a reference or an id.

    Those are words with a digit, of 3 to 128 characters, as they stand between spaces and as
    they stand between signs; dates and sums are none.
    """
    found: dict[str, Token] = {}
    for run in purpose.split():
        # Most words have none, and a file has a million purposes.
        if _DIGIT.search(run) is None:
            continue
        parts = _BETWEEN.split(run)
        for word in parts if len(parts) == 1 else (run, *parts):
            word = word.strip(_EDGES)
            if _SHORTEST <= len(word) <= LONGEST and _may_name(word):
                weak = _WEAK.fullmatch(word) is not None
                for form in _forms(word):
                    found.setdefault(form, Token(form, weak))
    return tuple(list(found.values())[:_MOST])


def _may_name(word: str) -> bool:
    return _DIGIT.search(word) is not None and _DAY_OR_SUM.fullmatch(word) is None


def _forms(word: str) -> tuple[str, ...]:
    """The word; beside it an id as we write ids, in lower case."""
    lower = word.lower()
    return (word, lower) if lower != word and _ID.fullmatch(word) else (word,)
