"""Days and months by their names, and where they begin and end in a time zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from standart.errors import InvalidInput

FORM: Final = re.compile(r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2}))?", re.ASCII)
"""What a day or a month looks like."""


def days_of(name: str) -> tuple[date, date]:
    """Return the first day of ``2026-11`` or ``2026-11-28``, and the day after its last.

    Raises:
        InvalidInput: it is neither a day nor a month.
    """
    found = FORM.fullmatch(name)
    if found is None:
        raise InvalidInput.of("period", "must be a day or a month such as 2026-11-28 or 2026-11")
    year, month, day = (int(part or 1) for part in found.groups())
    try:
        first = date(year, month, day)
        if found[3]:
            return first, first + timedelta(days=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    except (ValueError, OverflowError):
        raise InvalidInput.of("period", "names no day or month") from None


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the UTC moment at which ``day`` begins in ``zone``.

    Where clocks are put forward at midnight it is the first moment after the gap.

    Raises:
        InvalidInput: UTC has no such moment.
    """
    try:
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    except OverflowError:
        raise InvalidInput.of("period", "must be in the years 1 to 9999 of UTC") from None


def bounds(name: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the half-open UTC span of a day or month in ``zone``.

    Raises:
        InvalidInput: it is neither a day nor a month.
    """
    first, behind = days_of(name)
    return midnight(first, zone), midnight(behind, zone)
