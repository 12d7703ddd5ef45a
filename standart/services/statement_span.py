"""The span of a statement: two moments, or a period by its name in the merchant's zone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from standart.errors import FieldError, InvalidInput
from standart.services import periods

LONGEST: Final = timedelta(days=731)
"""Two years, one of them a leap year."""

DEFAULT: Final = "month"

# Half-open, from a day and to the day after the last, by the day it is.
_NAMED: Final[dict[str, Callable[[date], tuple[date, date]]]] = {
    "today": lambda today: (today, _following(today)),
    "yesterday": lambda today: (today - timedelta(days=1), today),
    "7d": lambda today: (today - timedelta(days=6), _following(today)),
    "month": lambda today: (_first(today), _next_month(today)),
    "last_month": lambda today: (_first(_first(today) - timedelta(days=1)), _first(today)),
}

PERIODS: Final = (*_NAMED, "2026-11", "2026-11-28")
"""What a period may be; the last two stand for any month and any day."""

_UNKNOWN: Final = f"must be one of {', '.join(PERIODS)}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: ``period`` alone, or ``start`` with or without ``end``; else a month."""

    start: datetime | None = None
    end: datetime | None = None
    period: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` on and before ``end``, both UTC."""

    start: datetime
    end: datetime


def check(asked: Asked) -> None:
    """Refuse what no merchant and no moment makes sense of.

    Raises:
        InvalidInput: names the period or the moment that is wrong.
    """
    if asked.period is not None:
        for field, moment in (("from", asked.start), ("to", asked.end)):
            if moment is not None:
                raise InvalidInput.of(field, "cannot stand beside period")
        if asked.period not in _NAMED:
            _written(asked.period)
    elif asked.start is None and asked.end is not None:
        raise InvalidInput.of("from", "must be given when to is")
    _require_order(_utc("from", asked.start), _utc("to", asked.end))


def resolve(asked: Asked, zone: ZoneInfo, present: datetime) -> Span:
    """Return the span that was ``asked`` for; nothing of it lies beyond ``present``.

    Days and months are those of ``zone``; ``7d`` is today and the six days before.

    Raises:
        InvalidInput: as ``check``; or nothing of it has come yet.
    """
    check(asked)
    if asked.start is not None:
        field = "from"
        start, end = _utc("from", asked.start), _utc("to", asked.end) or present
    else:
        field = "period"
        today = present.astimezone(zone).date()
        name = asked.period or DEFAULT
        days = _NAMED[name](today) if name in _NAMED else _written(name)
        start, end = (periods.midnight(day, zone) for day in days)
    assert start is not None
    end = min(end, present)
    if start >= end:
        raise InvalidInput.of(field, "must be in the past")
    _require_order(start, end)
    return Span(start, end)


def is_dated(asked: Asked) -> bool:
    """Tell whether a day or a month is asked for in figures, the same whenever it is asked."""
    return asked.period is not None and asked.period not in _NAMED


def _require_order(start: datetime | None, end: datetime | None) -> None:
    if start is None or end is None:
        return
    if start >= end:
        message = "must be before to"
        raise InvalidInput([FieldError("from", message), FieldError("to", "must be after from")])
    if end - start > LONGEST:
        raise InvalidInput.of("to", "must be at most two years after from")


def _utc(field: str, moment: datetime | None) -> datetime | None:
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput.of(field, "must be in the years 1 to 9999 of UTC") from None


def _written(name: str) -> tuple[date, date]:
    """Return the days of a period that is a day or a month in figures."""
    if not periods.FORM.fullmatch(name):
        raise InvalidInput.of("period", _UNKNOWN)
    return periods.days_of(name)


def _following(day: date) -> date:
    return day + timedelta(days=1)


def _first(day: date) -> date:
    return day.replace(day=1)


def _next_month(day: date) -> date:
    return _first(_first(day) + timedelta(days=31))
