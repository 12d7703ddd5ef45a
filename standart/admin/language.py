"""The viewer's language and time zone, and how moments and labels look in them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from babel.dates import format_skeleton, format_timedelta, get_timezone
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
        return get_timezone(name)
    except (LookupError, ValueError, OSError):
        return None


def start_of_day(zone: tzinfo, moment: datetime | None = None) -> datetime:
    """Return when the day of ``moment`` (by default: now) began in ``zone``, in UTC.

    The wall clock's distance from midnight is taken off; where the offset changed since
    midnight, the second look corrects it.
    """
    at = (moment or now()).astimezone(UTC)
    midnight = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for _ in range(2):
        at -= at.astimezone(zone).replace(tzinfo=None) - midnight
    return at


def from_wall_clock(local: datetime, zone: tzinfo) -> datetime:
    """Return in UTC the moment at which clocks in ``zone`` show ``local`` (naive).

    The second look corrects the first where the offset changed in between.
    """
    at = local.replace(tzinfo=UTC)
    for _ in range(2):
        at -= at.astimezone(zone).replace(tzinfo=None) - local
    return at


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


def clock_time(value: datetime) -> str:
    """Return hours, minutes and seconds of a moment in the viewer's zone."""
    return value.astimezone(viewer_zone()[1]).strftime("%H:%M:%S")


def duration(seconds: float) -> str:
    """Return a length of time in the viewer's words, by its largest unit."""
    if seconds < 1:
        return gettext("none")
    length = timedelta(seconds=seconds)
    return str(format_timedelta(length, threshold=1.5, locale=get_locale()))
