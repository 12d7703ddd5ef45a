"""Light or dark: by the system, or as this browser was told; the server writes it into the page.

Nothing flashes up in the other theme, since no script has a part in it.
"""

from __future__ import annotations

from typing import Final

from flask import request
from flask_babel import lazy_gettext

THEME_COOKIE: Final = "standart_theme"
THEMES: Final = {
    "system": (lazy_gettext("As the system"), "device-desktop"),
    "light": (lazy_gettext("Light"), "sun"),
    "dark": (lazy_gettext("Dark"), "moon"),
}


def theme() -> str:
    """Return the theme of this browser: ``system``, ``light`` or ``dark``."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else "system"
