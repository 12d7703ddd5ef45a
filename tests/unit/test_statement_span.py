"""Which moments a period or two moments mean, in every zone, and what makes no sense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from standart.errors import InvalidInput
from standart.services.statement_span import LONGEST, Asked, Span, resolve

MOSCOW = ZoneInfo("Europe/Moscow")
# A Saturday, 02:30 of the 29th in Moscow.
PRESENT = datetime(2026, 11, 28, 23, 30, tzinfo=UTC)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


PERIODS = {
    "today": (utc(2026, 11, 28, 21), PRESENT),
    "yesterday": (utc(2026, 11, 27, 21), utc(2026, 11, 28, 21)),
    "7d": (utc(2026, 11, 22, 21), PRESENT),
    "month": (utc(2026, 10, 31, 21), PRESENT),
    "last_month": (utc(2026, 9, 30, 21), utc(2026, 10, 31, 21)),
    "2026-11": (utc(2026, 10, 31, 21), PRESENT),
    "2026-02": (utc(2026, 1, 31, 21), utc(2026, 2, 28, 21)),
    "2024-02-29": (utc(2024, 2, 28, 21), utc(2024, 2, 29, 21)),
    "2025-12": (utc(2025, 11, 30, 21), utc(2025, 12, 31, 21)),
    # Moscow was four hours ahead of UTC then.
    "2012-07": (utc(2012, 6, 30, 20), utc(2012, 7, 31, 20)),
}


@pytest.mark.parametrize(("name", "expected"), PERIODS.items(), ids=PERIODS)
def test_periods_are_those_of_the_zone(name: str, expected: tuple[datetime, datetime]) -> None:
    assert resolve(Asked(period=name), MOSCOW, PRESENT) == Span(*expected)


def test_nothing_named_is_this_month() -> None:
    assert resolve(Asked(), MOSCOW, PRESENT) == resolve(Asked(period="month"), MOSCOW, PRESENT)


def test_the_first_of_january_has_a_month_before_it() -> None:
    present = utc(2027, 1, 1, 12)
    span = resolve(Asked(period="last_month"), ZoneInfo("UTC"), present)
    assert span == Span(utc(2026, 12, 1), utc(2027, 1, 1))


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)]
)
def test_days_are_as_long_as_the_clocks_have_them(day: str, hours: int) -> None:
    span = resolve(Asked(period=day), ZoneInfo("Europe/Berlin"), PRESENT)
    assert span.end - span.start == timedelta(hours=hours)


def test_consecutive_days_join_where_midnight_is_skipped() -> None:
    zone = ZoneInfo("America/Santiago")  # on 2026-09-06 the clocks go from 00:00 to 01:00
    days = [f"2026-09-{day:02}" for day in range(4, 9)]
    spans = [resolve(Asked(period=day), zone, PRESENT) for day in days]
    for before, after in pairwise(spans):
        assert before.end == after.start


def test_moments_keep_their_meaning_whatever_their_zone() -> None:
    east = timezone(timedelta(hours=3))
    asked = Asked(datetime(2026, 11, 1, 3, tzinfo=east), datetime(2026, 11, 2, 3, tzinfo=east))
    assert resolve(asked, MOSCOW, PRESENT) == Span(utc(2026, 11, 1), utc(2026, 11, 2))


def test_the_end_is_the_present_at_the_latest() -> None:
    start = PRESENT - timedelta(days=1)
    for end in (None, PRESENT, PRESENT + timedelta(days=300)):
        assert resolve(Asked(start, end), MOSCOW, PRESENT) == Span(start, PRESENT)


def test_two_years_are_the_most() -> None:
    start = utc(2024, 1, 1)
    end = start + LONGEST
    assert end == utc(2026, 1, 1)
    assert resolve(Asked(start, end), MOSCOW, PRESENT) == Span(start, end)
    with pytest.raises(InvalidInput):
        resolve(Asked(start, end + timedelta(microseconds=1)), MOSCOW, PRESENT)


WRONG = {
    "begins now": (Asked(PRESENT), "from"),
    "begins later": (Asked(PRESENT + timedelta(seconds=1), PRESENT + timedelta(days=1)), "from"),
    "tomorrow": (Asked(period="2026-11-30"), "period"),
    "next month": (Asked(period="2026-12"), "period"),
    "year 1 of a zone ahead": (Asked(period="0001-01-01"), "period"),
    "the last day": (Asked(period="9999-12-31"), "period"),
    "no end": (Asked(utc(1, 1, 1)), "to"),
    "period and from": (Asked(PRESENT, None, "month"), "from"),
    "only to": (Asked(None, PRESENT), "from"),
}


@pytest.mark.parametrize(("asked", "field"), WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_is_refused(asked: Asked, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        resolve(asked, MOSCOW, PRESENT)
    assert [each.field for each in refused.value.errors] == [field]
