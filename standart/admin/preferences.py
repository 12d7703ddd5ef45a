"""What a person has chosen, as cookies: pages need no query to know it."""

from __future__ import annotations

from typing import Final

from flask import request
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import language, theme
from standart.models import PanelPreference

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
