"""What a person has chosen, as cookies: pages need no query to know it."""

from __future__ import annotations

from typing import Final

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import language, theme
from standart.models import PanelPreference

REFRESH_COOKIE: Final = "standart_refresh"
REFRESH_SECONDS: Final = (0, 10, 15, 30, 60)
"""How often the dashboard may renew itself; 0 is never."""

_YEAR_SECONDS: Final = 31_536_000


def remember(response: AnyResponse, chosen: PanelPreference) -> None:
    """Let this browser look as the person who has come in wants it."""
    for name, value in (
        (language.LANGUAGE_COOKIE, chosen.locale),
        (language.CHOSEN_ZONE_COOKIE, chosen.timezone),
        (theme.THEME_COOKIE, chosen.theme.value if chosen.theme else None),
    ):
        if value is not None:
            put(response, name, value)


def refresh_seconds() -> int:
    """Return how often the dashboard renews itself: as the URL says, else as was chosen."""
    for said in (request.args.get("refresh", ""), request.cookies.get(REFRESH_COOKIE, "")):
        if said in map(str, REFRESH_SECONDS):
            return int(said)
    return 0


def forget(response: AnyResponse) -> None:
    """Let the browser decide again."""
    for name in (language.LANGUAGE_COOKIE, language.CHOSEN_ZONE_COOKIE, theme.THEME_COOKIE):
        response.delete_cookie(
            name, path="/", secure=request.is_secure, httponly=True, samesite="Lax"
        )


def put(response: AnyResponse, name: str, value: str) -> None:
    """Keep one choice in this browser for a year."""
    response.set_cookie(
        name,
        value,
        max_age=_YEAR_SECONDS,
        path="/",
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
