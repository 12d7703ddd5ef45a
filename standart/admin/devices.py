"""What a browser calls itself, as people call it: Firefox 128, Windows."""

from __future__ import annotations

import re
from typing import Final

# In this order: most also claim to be those behind them.
_BROWSERS: Final = (
    ("Edge", re.compile(r"\bEdg(?:A|iOS)?/([0-9]+)")),
    ("Opera", re.compile(r"\bOPR/([0-9]+)")),
    ("Yandex Browser", re.compile(r"\bYaBrowser/([0-9]+)")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/([0-9]+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/([0-9]+)")),
    ("Chrome", re.compile(r"\b(?:HeadlessChrome|Chrome|CriOS)/([0-9]+)")),
    ("Safari", re.compile(r"\bVersion/([0-9]+)\S* .*\bSafari/")),
)
_SYSTEMS: Final = (
    ("Android", re.compile(r"\bAndroid\b")),
    ("iOS", re.compile(r"\b(?:iPhone|iPad|iPod)\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("macOS", re.compile(r"\bMacintosh\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("Linux", re.compile(r"\bLinux\b")),
)


def device(user_agent: str) -> str:
    """Return browser and system; the whole text where the browser is none of those known."""
    browser = next(
        (f"{name} {found[1]}" for name, way in _BROWSERS if (found := way.search(user_agent))), None
    )
    if browser is None:
        return user_agent
    system = next((name for name, way in _SYSTEMS if way.search(user_agent)), None)
    return f"{browser}, {system}" if system else browser
