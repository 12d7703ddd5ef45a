"""Amounts, days and currencies as files write them: read exactly or refused, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from standart import money
from standart.bank_files.records import unfit
from standart.errors import InvalidInput
from standart.phrases import Phrase

DECIMAL_MARKS: Final = (".", ",")

# Groups of thousands are set apart by one sign throughout: a space, an apostrophe, or the
# mark that is not the decimal one.
_BLANKS: Final = " \u00a0\u202f'"


def _grammar(mark: str, other: str) -> re.Pattern[str]:
    groups = rf"[1-9][0-9]{{0,2}}(?P<by>[{_BLANKS}{other}])[0-9]{{3}}(?:(?P=by)[0-9]{{3}})*"
    return re.compile(rf"(?P<whole>{groups}|[0-9]+)(?:[{mark}](?P<fraction>[0-9]+))?")


_GRAMMARS: Final = MappingProxyType({".": _grammar(".", ","), ",": _grammar(",", ".")})
_NO_DIGIT: Final = re.compile(r"[^0-9]")

# What banks write for a currency beside its code: ISO's numbers, as in an account of the Bank
# of Russia's plan, where 810 still stands for the rouble.
_OTHER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "RUR": "RUB",
        "810": "RUB",
        "643": "RUB",
        "840": "USD",
        "978": "EUR",
        "156": "CNY",
        "826": "GBP",
        "756": "CHF",
        "392": "JPY",
        "398": "KZT",
        "933": "BYN",
        "949": "TRY",
        "784": "AED",
        "356": "INR",
        "051": "AMD",
        "944": "AZN",
        "417": "KGS",
        "860": "UZS",
        "981": "GEL",
    }
)


def amount(
    text: str, currency: str, mark: str | None, line: int, field: str, *, may_be_zero: bool = False
) -> int:
    """Return the minor units that ``text`` writes, such as ``1 234,56`` or ``1,234.56``.

    ``mark`` is the decimal mark; without one a text must have a single meaning.

    Raises:
        InvalidInput: it is no amount, has two meanings, or is out of range.
    """
    text = text.strip()
    if text.startswith(("-", "\u2212")):
        raise unfit(line, Phrase("must not be negative"), field, text)
    grammars = _GRAMMARS.values() if mark is None else [_GRAMMARS[mark]]
    found = {_number(match) for each in grammars if (match := each.fullmatch(text))}
    if not found:
        raise unfit(line, Phrase("is no amount such as 1234.56"), field, text)
    if len(found) > 1:
        one, other = sorted(found)
        problem = Phrase("may be %(one)s or %(other)s; say --decimal-mark", one=one, other=other)
        raise unfit(line, problem, field, text)
    try:
        parsed = money.parse_amount(found.pop(), currency, field=field, may_be_zero=may_be_zero)
    except InvalidInput as error:
        raise unfit(line, error.errors[0].message, field, text) from None
    return parsed.amount


def _number(match: re.Match[str]) -> str:
    whole, fraction = _NO_DIGIT.sub("", match["whole"]), match["fraction"]
    return whole if fraction is None else f"{whole}.{fraction}"


def currency(text: str, line: int, field: str = "currency") -> str:
    """Return the code of the currency that ``text`` names: ``RUB``, ``RUR`` or ``643``.

    Raises:
        InvalidInput: there is no such currency.
    """
    name = text.strip()
    code = _OTHER_NAMES.get(name, name)
    if code not in money.CURRENCIES:
        raise unfit(line, money.UNKNOWN_CURRENCY, field, text)
    return code


def currency_of_account(account: str) -> str | None:
    """Return the currency of a Russian bank account by its number, ``None`` if it says none."""
    return _OTHER_NAMES.get(account[5:8]) if len(account) == 20 else None


# A clock after the day is let through, with a zone of its own or without.
_CLOCK: Final = (
    r"(?:(?:T| +)(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,][0-9]{1,9})?)?"
    r" ?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_PARTS: Final = MappingProxyType(
    {"YYYY": "(?P<year>[0-9]{4})", "MM": "(?P<month>[0-9]{2})", "DD": "(?P<day>[0-9]{2})"}
)
_SEPARATORS: Final = frozenset(".-/ ")
_TIME: Final = re.compile(
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,][0-9]{1,9})?)?"
)

FIRST_YEAR: Final = 1990
LAST_YEAR: Final = 2199


class Days:
    """Reads days in one format, or by default ``YYYY-MM-DD`` and ``DD.MM.YYYY``."""

    def __init__(self, format: str | None, zone: ZoneInfo) -> None:
        """``format`` is made of YYYY, MM and DD; moments with a zone are taken to ``zone``.

        Raises:
            InvalidInput: the format is not made of these, each once.
        """
        formats = ["YYYY-MM-DD", "DD.MM.YYYY"] if format is None else [format]
        self._shown = " or ".join(formats)
        self._grammars = [re.compile(_day_grammar(each) + _CLOCK) for each in formats]
        self._zone = zone

    def read(self, text: str, line: int, field: str) -> tuple[date, time | None]:
        """Return the day that ``text`` writes, and the time of day if it has one.

        Raises:
            InvalidInput: it is no day of the format.
        """
        text = text.strip()
        match = next((found for each in self._grammars if (found := each.fullmatch(text))), None)
        if match is None:
            problem = Phrase("is no date like %(format)s", format=self._shown)
            raise unfit(line, problem, field, text)
        try:
            return self._moment(match)
        except (ValueError, OverflowError):
            raise unfit(line, Phrase("is no date of the calendar"), field, text) from None

    def _moment(self, match: re.Match[str]) -> tuple[date, time | None]:
        day = date(int(match["year"]), int(match["month"]), int(match["day"]))
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise ValueError("a year that no file is of")
        if match["hour"] is None:
            return day, None
        clock = _clock(match)
        if match["zone"] is None:
            return day, clock
        sign = match["zone"].replace("Z", "+00:00")
        moment = datetime.fromisoformat(f"{day.isoformat()}T{clock.isoformat()}{sign}")
        there = moment.astimezone(self._zone)
        return there.date(), there.time()


def _day_grammar(format: str) -> str:
    rest, grammar = format, ""
    seen: set[str] = set()
    while rest:
        part = next((each for each in _PARTS if rest.startswith(each)), rest[0])
        if part in seen or (part not in _PARTS and part not in _SEPARATORS):
            break
        if part in _PARTS:
            seen.add(part)
        grammar += _PARTS.get(part) or re.escape(part)
        rest = rest[len(part) :]
    if rest or len(seen) != len(_PARTS):
        message = Phrase("is made of YYYY, MM and DD, such as DD/MM/YYYY")
        raise InvalidInput.of("--date-format", message)
    return grammar


def clock(text: str, line: int, field: str) -> time:
    """Return the time of day that ``text`` writes as HH:MM or HH:MM:SS.

    Raises:
        InvalidInput: it writes none.
    """
    match = _TIME.fullmatch(text.strip())
    try:
        if match is not None:
            return _clock(match)
    except ValueError:
        pass
    raise unfit(line, Phrase("is no time like 14:05 or 14:05:00"), field, text)


def _clock(match: re.Match[str]) -> time:
    return time(int(match["hour"]), int(match["minute"]), int(match["second"] or 0))
