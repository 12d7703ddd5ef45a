"""Card numbers in free text: there must be none, so that no card data is ever kept here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# Issuer ranges as (first digits from, to) → lengths, after ISO/IEC 7812 and the schemes'
# published ranges: Visa, Mastercard, Mir, American Express, Diners, Discover, JCB,
# UnionPay, Maestro.
_ISSUERS: Final = (
    ("4", "4", (13, 16, 19)),
    ("51", "55", (16,)),
    ("2221", "2720", (16,)),
    ("2200", "2204", (16, 17, 18, 19)),
    ("34", "34", (15,)),
    ("37", "37", (15,)),
    ("300", "305", (14, 16, 17, 18, 19)),
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "39", (14, 16, 17, 18, 19)),
    ("6011", "6011", (16, 17, 18, 19)),
    ("644", "659", (16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),
    ("62", "62", (16, 17, 18, 19)),
    ("81", "81", (16, 17, 18, 19)),
    ("50", "50", (13, 14, 15, 16, 17, 18, 19)),
    ("56", "69", (13, 14, 15, 16, 17, 18, 19)),
)
_DIGITS: Final = re.compile(r"[0-9](?:[ -]?[0-9]){12,}")
_SHORTEST_CARD: Final = 13
_LONGEST_CARD: Final = 19


def holds_card_number(text: str) -> bool:
    """Whether ``text`` has what must be taken for a card number: issuer, length, Luhn.

    Spaces and dashes may part the digits; a number may begin and end at any such gap, so
    that a house number in front does not hide it.
    """
    if len(text) < _SHORTEST_CARD:
        return False
    return any(_is_card(number) for run in _DIGITS.findall(text) for number in _numbers(run))


def _numbers(run: str) -> Iterator[str]:
    groups = re.split(r"[ -]", run)
    for start in range(len(groups)):
        number = ""
        for group in groups[start:]:
            number += group
            if len(number) > _LONGEST_CARD:
                break
            yield number


def _is_card(number: str) -> bool:
    return any(
        len(number) in lengths and low <= number[: len(low)] <= high
        for low, high, lengths in _ISSUERS
    ) and _luhn(number)


def _luhn(number: str) -> bool:
    """Check the last digit by ISO/IEC 7812-1 annex B."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
