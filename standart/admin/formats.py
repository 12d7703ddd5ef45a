"""How numbers and lengths of time look in the viewer's language; amounts stay exact."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from functools import lru_cache

from babel import Locale
from babel.dates import format_timedelta
from babel.numbers import NumberPattern, format_decimal, parse_pattern
from flask_babel import get_locale

from standart.clock import now

_MINUTE = timedelta(minutes=1)

# More digits than any sum has, so that none is rounded.
_LONGEST = 100


def amount(value: str | Decimal | int) -> str:
    """Return a decimal with exactly its digits, grouped and pointed as the viewer is used to."""
    number = Decimal(value)
    digits = max(-int(number.as_tuple().exponent), 0)
    with localcontext(prec=_LONGEST):
        return str(_pattern(digits).apply(number, _locale(), decimal_quantization=False))


def count(value: int) -> str:
    """Return a whole number, grouped as the viewer is used to."""
    return str(format_decimal(value, locale=_locale()))


def ago(at: datetime) -> str:
    """Return how long ago ``at`` was, or in how long it will be; nothing within a minute."""
    passed = now() - at
    if abs(passed) < _MINUTE:
        return ""
    return str(
        format_timedelta(-passed, threshold=1, format="short", add_direction=True, locale=_locale())
    )


def _locale() -> Locale:
    return get_locale() or Locale("en")


@lru_cache(maxsize=32)
def _pattern(digits: int) -> NumberPattern:
    return parse_pattern("#,##0" + ("." + "0" * digits if digits else ""))
