"""Money as integers of a currency's smallest unit; text goes in and out exactly.

No float ever touches an amount. ``currencies.csv`` says how many fractional digits each
currency has. Those of kind ``iso`` are ISO 4217 List One as of 2026: currencies and funds
with a minor unit, so neither metals nor the testing and "no currency" codes. Those of kind
``crypto`` have the digits of their smallest unit on the chain (BTC 8: one satoshi).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from types import MappingProxyType

from standart.errors import InvalidInput

MAX_MINOR = 10**15
"""The largest amount of one transaction, in minor units."""

RATE_DIGITS = 6
"""The fractional digits a commission rate may have."""

# The longest whole part that can still be within MAX_MINOR. It is checked before int(),
# which refuses very long texts with an error of its own.
_MAX_WHOLE_DIGITS = len(str(MAX_MINOR))

# [0-9] rather than \d, which also matches the digits of other scripts.
_NUMBER = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")


def _load_currencies() -> Mapping[str, int]:
    text = files("standart").joinpath("currencies.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return MappingProxyType({row["code"]: int(row["digits"]) for row in rows})


CURRENCIES: Mapping[str, int] = _load_currencies()
"""Code → fractional digits, for instance RUB 2, JPY 0, KWD 3, BTC 8."""

SOME_AMOUNT = (
    rf"(0|[1-9][0-9]{{0,{_MAX_WHOLE_DIGITS - 1}}})(\.[0-9]{{1,{max(CURRENCIES.values())}}})?"
)
"""The grammar of what can be an amount in at least one currency, for a full match."""

UNKNOWN_CURRENCY = "is not a known currency code such as RUB or USDT"

_SOME_AMOUNT = re.compile(SOME_AMOUNT)


@dataclass(frozen=True, slots=True)
class Money:
    """An exact sum: ``amount`` in minor units (may be negative) of ``currency``.

    Raises:
        InvalidInput: the currency is unknown.
    """

    amount: int
    currency: str

    def __post_init__(self) -> None:
        digits_of(self.currency)

    def __str__(self) -> str:
        return format_minor(self.amount, self.currency)


def digits_of(currency: str, *, field: str = "currency") -> int:
    """Return how many fractional digits ``currency`` has.

    Raises:
        InvalidInput: ``field`` is not the code of a currency that one can pay in.
    """
    try:
        return CURRENCIES[currency]
    except KeyError:
        raise InvalidInput.of(field, UNKNOWN_CURRENCY) from None


def parse_amount(
    text: str, currency: str, *, field: str = "amount", may_be_zero: bool = False
) -> Money:
    """Read a decimal text or JSON number literal exactly.

    The grammar is ``(0|[1-9][0-9]*)(.[0-9]{1,digits})?`` in ASCII: no sign, exponent,
    separator or space. The value must be above zero, unless it ``may_be_zero``, and at
    most ``MAX_MINOR``.

    Raises:
        InvalidInput: the text is something else, or the currency is unknown.
    """
    digits = digits_of(currency)
    whole, fraction = _split(text, field, "100.00")
    if len(fraction) > digits:
        raise InvalidInput.of(field, f"has more than {digits} fractional digits ({currency})")
    if len(whole) > _MAX_WHOLE_DIGITS:
        raise _too_large(currency, field)
    amount = int(whole + fraction.ljust(digits, "0"))
    if amount == 0 and not may_be_zero:
        raise InvalidInput.of(field, "must be greater than 0")
    if amount > MAX_MINOR:
        raise _too_large(currency, field)
    return Money(amount, currency)


def may_be_amount(text: str) -> bool:
    """Whether ``text`` follows the grammar of amounts and is short enough for one.

    For whoever learns the currency later: ``parse_amount`` has the last word.
    """
    return _SOME_AMOUNT.fullmatch(text) is not None


def parse_rate(text: str, *, field: str = "commission_rate") -> Decimal:
    """Read a rate from 0 to 1 with at most six fractional digits, by the grammar of amounts.

    Raises:
        InvalidInput: the text is something else.
    """
    whole, fraction = _split(text, field, "0.03")
    if len(fraction) > RATE_DIGITS:
        raise InvalidInput.of(field, f"has more than {RATE_DIGITS} fractional digits")
    if whole not in ("0", "1") or (whole == "1" and fraction.strip("0")):
        raise InvalidInput.of(field, "must be between 0 and 1")
    return Decimal(text)


def format_minor(amount: int, currency: str) -> str:
    """Return ``amount`` minor units as decimal text with exactly the currency's digits.

    Raises:
        InvalidInput: the currency is unknown.
    """
    digits = digits_of(currency)
    sign = "-" if amount < 0 else ""
    if digits == 0:
        return f"{sign}{abs(amount)}"
    whole, fraction = divmod(abs(amount), 10**digits)
    return f"{sign}{whole}.{fraction:0{digits}d}"


def format_rate(rate: Decimal) -> str:
    """Return a rate in its shortest plain form: ``0.03``, ``0``, ``1``."""
    text = f"{rate:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def commission(amount: int, rate: Decimal) -> int:
    """Return ``amount`` × ``rate`` in minor units, rounded half-up once.

    Integers all the way: with rate = n / d it is floor((2·amount·n + d) / 2d). As the rate
    is at most 1 and the amount is whole, the result never exceeds the amount.

    Raises:
        ValueError: the amount is negative, or the rate is not within 0 and 1.
    """
    numerator, denominator = rate.as_integer_ratio()
    if amount < 0 or not 0 <= numerator <= denominator:
        raise ValueError("commission needs an amount of at least 0 and a rate within 0 and 1")
    return (2 * amount * numerator + denominator) // (2 * denominator)


def fee(amount: int, rate: Decimal, fixed: int, minimum: int, maximum: int | None) -> int:
    """Return the commission on ``amount`` by a fee schedule, all in minor units.

    ``amount`` × ``rate``, rounded half-up once, plus ``fixed``; at most ``maximum``, at
    least ``minimum``, and in the end never above the amount.

    Raises:
        ValueError: the rate is not within 0 and 1, or something is negative.
    """
    if min(fixed, minimum, minimum if maximum is None else maximum) < 0:
        raise ValueError("the parts of a fee must not be negative")
    taken = commission(amount, rate) + fixed
    if maximum is not None:
        taken = min(taken, maximum)
    return min(max(taken, minimum), amount)


def share(commission: int, amount: int, before: int, part: int) -> int:
    """Return what of ``commission`` on ``amount`` belongs to ``part``, ``before`` being gone.

    All in minor units. With S(x) = ``commission`` · x / ``amount``, rounded half-up, it is
    S(before + part) − S(before): the shares of parts that make up the amount, in any order
    and of any sizes, make up the commission, and none is above its part.

    Raises:
        ValueError: the parts pass the amount, the commission does, or something is negative.
    """
    if min(commission, before, part) < 0 or amount < 1 or max(commission, before + part) > amount:
        raise ValueError("a share needs parts and a commission within the amount")

    def until(parts: int) -> int:
        return (2 * commission * parts + amount) // (2 * amount)

    return until(before + part) - until(before)


def _split(text: str, field: str, example: str) -> tuple[str, str]:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise InvalidInput.of(field, f"must be a plain decimal number such as {example}")
    return match[1], match[2] or ""


def _too_large(currency: str, field: str) -> InvalidInput:
    return InvalidInput.of(field, f"must be at most {format_minor(MAX_MINOR, currency)}")
