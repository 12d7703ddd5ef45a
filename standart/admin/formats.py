"""How numbers and lengths of time look in the viewer's language; amounts stay exact."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import cycle

from babel import Locale
from babel.dates import format_timedelta
from babel.numbers import NumberPattern, format_decimal, format_percent, parse_pattern
from flask_babel import get_locale
from markupsafe import Markup, escape

from standart.clock import now

# A year, a month, a week, a day, an hour and a minute in seconds, as Babel counts them.
_UNITS = (31_536_000, 2_592_000, 604_800, 86_400, 3_600, 60)

# More digits than any sum has, so that none is rounded.
_LONGEST = 100


def amount(value: str | Decimal | int) -> str:
    """Return a decimal with exactly its digits, grouped and pointed as the viewer is used to."""
    number = Decimal(value)
    digits = max(-int(number.as_tuple().exponent), 0)
    with localcontext(prec=_LONGEST):
        return str(_pattern(digits).apply(number, _locale(), decimal_quantization=False))


def percent(rate: str | Decimal) -> str:
    """Return a rate as the per cent that it is, with all its digits: 2.9% for 0.029."""
    exact = format_percent(Decimal(rate), locale=_locale(), decimal_quantization=False)
    return str(exact)


def count(value: int) -> str:
    """Return a whole number, grouped as the viewer is used to."""
    return str(format_decimal(value, locale=_locale()))


def coded(text: str) -> Markup:
    """Return a sentence with what stands between backticks set as code."""
    marks = cycle((Markup("<code>"), Markup("</code>")))
    first, *others = text.split("`")
    return escape(first) + Markup("").join(next(marks) + part for part in others)


def ago(at: datetime) -> str:
    """Return how long ago ``at`` was, or in how long it will be; nothing within a minute."""
    seconds = int((now() - at).total_seconds())
    size = next((unit for unit in _UNITS if abs(seconds) >= unit), None)
    if size is None:
        return ""
    # Cut down to whole units, as the script in the page does; Babel alone would round.
    passed = timedelta(seconds=abs(seconds) // size * size)
    return str(
        format_timedelta(
            passed if seconds < 0 else -passed,
            threshold=1,
            format="short",
            add_direction=True,
            locale=_locale(),
        )
    )


def _locale() -> Locale:
    return get_locale() or Locale("en")


@lru_cache(maxsize=32)
def _pattern(digits: int) -> NumberPattern:
    return parse_pattern("#,##0" + ("." + "0" * digits if digits else ""))
