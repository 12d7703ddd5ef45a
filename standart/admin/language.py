"""The viewer's language and time zone, and how moments and labels look in them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_skeleton, format_timedelta
from flask import has_request_context, request
from flask_babel import get_locale
from flask_babel import gettext as translated
from markupsafe import Markup

from standart.admin import formats
from standart.clock import now
from standart.extensions import settings

LANGUAGES: Final = {"ru": "Русский", "en": "English"}
LANGUAGE_COOKIE: Final = "standart_language"
ZONE_COOKIE: Final = "standart_zone"
CHOSEN_ZONE_COOKIE: Final = "standart_chosen_zone"

_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)


def choose_language() -> str:
    """Return the language of this request: the switch, else the browser's, else the setting's."""
    if not has_request_context():
        return settings().default_locale
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(list(LANGUAGES)) or settings().default_locale


def gettext(text: str, /, **values: object) -> str:
    """Return ``text`` in the language of this request, with its ``%(name)s`` filled in."""
    return str(translated(text, **values))


def language() -> str:
    """Return the code that the pages' ``lang`` attribute carries."""
    return str(get_locale())


def viewer_zone() -> tuple[str, tzinfo]:
    """Return name and rules of the zone that was chosen, else the browser's, else UTC."""
    for cookie in (CHOSEN_ZONE_COOKIE, ZONE_COOKIE):
        name = request.cookies.get(cookie, "")
        zone = _zone(name)
        if zone is not None:
            return name, zone
    return "UTC", UTC


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo | None:
    if not _ZONE_NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def day_starts(zone: tzinfo, count: int, moment: datetime | None = None) -> list[datetime]:
    """Return when the last ``count`` days began in ``zone``, and when the next one will, in UTC.

    The last one is that of ``moment`` (by default: now). Days of a zone that moves its clocks
    are not all as long, so they are counted by the calendar.
    """
    today = (moment or now()).astimezone(zone).date()
    return [_start_of(today - timedelta(days=n), zone) for n in range(count - 1, -2, -1)]


def _start_of(day: date, zone: tzinfo) -> datetime:
    return from_wall_clock(datetime.combine(day, time()), zone)


def from_wall_clock(local: datetime, zone: tzinfo) -> datetime:
    """Return in UTC the first moment at which clocks in ``zone`` show ``local`` (naive).

    Where they skip it, it is the moment at which they would have shown it.

    Raises:
        OverflowError: the moment is in no year that there is.
    """
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def as_moment(value: datetime | str) -> datetime:
    """Return a moment given as datetime or in the wire's RFC 3339 form."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def moment(value: datetime | str | None) -> Markup:
    """Return a ``<time>`` in the viewer's zone, UTC when it is pointed at, and how long ago it was.

    The year is left out where it is the present one; — stands for no moment.
    """
    if value is None:
        return Markup('<span class="none">—</span>')
    at = as_moment(value)
    utc = at.astimezone(UTC)
    return Markup(
        '<span class="when"><time datetime="{}" title="{} UTC">{}</time>'
        ' <span class="ago">{}</span></span>'
    ).format(
        utc.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        moment_text(at),
        formats.ago(at),
    )


def moment_text(value: datetime | str) -> str:
    """Return a moment in the viewer's zone, with its year unless that is the present one."""
    at, zone = as_moment(value), viewer_zone()[1]
    this_year = at.astimezone(zone).year == now().astimezone(zone).year
    day, clock = (
        format_skeleton(skeleton, at, tzinfo=zone, locale=get_locale())
        for skeleton in ("MMMd" if this_year else "yMMMd", "Hms")
    )
    return f"{day}, {clock}"


def day_text(text: str) -> str:
    """Return a date as the viewer writes it; what is none stays as it is."""
    try:
        return str(format_date(date.fromisoformat(text), locale=get_locale()))
    except ValueError:
        return text


def clock_time(value: datetime) -> str:
    """Return hours, minutes and seconds of a moment in the viewer's zone."""
    return value.astimezone(viewer_zone()[1]).strftime("%H:%M:%S")


def duration(seconds: float) -> str:
    """Return a length of time in the viewer's words, by its largest unit."""
    if seconds < 1:
        return gettext("none")
    length = timedelta(seconds=seconds)
    return str(format_timedelta(length, threshold=1.5, locale=get_locale()))
