"""The sections of the panel as the side menu shows them: icon, and the letter that opens each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask_admin import Admin, BaseView

# The last part of a section's address → its icon and the letter that follows ``g``.
_LOOKS: Final = {
    "admin": ("layout-dashboard", "d"),
    "users": ("users", "u"),
    "transactions": ("arrows-exchange", "t"),
    "payouts": ("cash-banknote", "p"),
    "refunds": ("receipt-refund", "r"),
    "reconciliation": ("scale", "c"),
    "webhooks": ("webhook", "w"),
    "audit": ("list-details", "a"),
    "settings": ("settings", "s"),
    "profile": ("user-circle", "m"),
}
_PLAIN: Final = ("circle-dot", "")


@dataclass(frozen=True)
class Section:
    """A line of the menu; ``letter`` is empty where no key opens it."""

    name: str
    url: str
    current: bool
    icon: str
    letter: str


def items_of(panel: Admin, shown: BaseView | None) -> list[Section]:
    """Return the sections that the viewer may open; ``shown`` is the one of this page."""
    return [
        Section(item.name, item.get_url(), item.is_active(shown), *_look(item.get_url()))
        for item in panel.menu()
        if item.is_accessible() and item.is_visible()
    ]


def _look(url: str) -> tuple[str, str]:
    return _LOOKS.get(url.rstrip("/").rpartition("/")[2], _PLAIN)
