"""Amounts and moments as people of a language read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from standart.documents.words import Lang
from standart.money import format_minor

MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"

_DAYS = {"ru": "%d.%m.%Y", "en": "%Y-%m-%d"}


def amount(minor: int, currency: str, lang: Lang) -> str:
    """Return ``minor`` units exactly, in groups of three: ``−1 234,56`` or ``−1,234.56``.

    The spaces never break and the minus is as wide as a digit.
    """
    whole, _, fraction = format_minor(abs(minor), currency).partition(".")
    group, point = (NBSP, ",") if lang == "ru" else (",", ".")
    grouped = f"{int(whole):,}".replace(",", group)
    sign = MINUS if minor < 0 else ""
    return f"{sign}{grouped}{point}{fraction}" if fraction else f"{sign}{grouped}"


def moment(at: datetime, zone: ZoneInfo, lang: Lang) -> str:
    """Return a moment to the second, in ``zone``: ``01.11.2026 15:04:05``."""
    return at.astimezone(zone).strftime(f"{_DAYS[lang]} %H:%M:%S")


def moment_utc(at: datetime) -> str:
    """Return a moment to the second by ISO 8601: ``2026-11-01 12:04:05Z``."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def offsets(zone: ZoneInfo, start: datetime, end: datetime) -> str:
    """Return how far ``zone`` is from UTC in a span: ``UTC+03:00``, or two of them.

    Only its ends are looked at: a span of summer between two winters shows one.
    """
    both = [_offset(at.astimezone(zone).utcoffset()) for at in (start, end)]
    return " / ".join(dict.fromkeys(both))


def _offset(ahead: timedelta | None) -> str:
    minutes = int((ahead or timedelta()).total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"
