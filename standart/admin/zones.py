"""The time zones that forms offer."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

from standart.admin.choices import SelectChoice

_AREAS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)


@cache
def zones() -> tuple[str, ...]:
    """Return the names of time zones that people live in, and UTC."""
    known = available_timezones()
    return (
        "UTC",
        *sorted(name for name in known if name.partition("/")[0] in _AREAS and "/" in name),
    )


def choices(present: str = "") -> list[SelectChoice]:
    """Return what to choose from, with the ``present`` one, which may be of another kind."""
    offered = zones()
    others = [present] if present and present not in offered else []
    return [SelectChoice(name, name.replace("_", " ")) for name in (*others, *offered)]
