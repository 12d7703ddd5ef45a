"""Filters and pages of a list live in its URL alone; pages go by key, never by offset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from flask import request

from standart.admin import language

PAGE_SIZE: Final = 25
PAGE_SIZES: Final = (25, 50, 100)
_LARGEST_KEY: Final = 2**63 - 1

_DAYS: Final = frozenset({"created_from", "created_to"})

Item = TypeVar("Item")

_FIRST_PAGE: Final[dict[str, str | None]] = {"after": None, "before": None, "jump": None}


@dataclass(frozen=True)
class Chip:
    """A filter in force: what it says, the list without it, and whether it makes no sense."""

    text: str
    without: str
    wrong: bool = False


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """One page of a list, the filters in force and the ways to older and newer rows."""

    items: Sequence[Item]
    chips: Sequence[Chip]
    older: str | None
    newest: str | None
    newer: str | None = None


def page_size() -> int:
    """Return how many rows the URL asks for, one of the offered sizes."""
    size = request.args.get("limit", "")
    return int(size) if size in map(str, PAGE_SIZES) else PAGE_SIZE


def link(**changes: str | None) -> str:
    """Return this page's URL with some parameters changed or (``None``) dropped."""
    kept = {**request.args.to_dict(), **changes}
    # Not by url_for: a parameter of the URL must not become one of the function, which would
    # let an address such as ?_scheme=javascript choose what the page links to.
    query = urlencode({key: value for key, value in kept.items() if value})
    return f"{request.path}?{query}" if query else request.path


def tabs(
    current: str, labels: Mapping[str, object], address: Callable[[str | None], str]
) -> list[tuple[str, str, bool]]:
    """Return what a list may be narrowed to: words, address, whether it is this one.

    The code "" is for the whole list; its address is asked for with ``None``.
    """
    return [(str(words), address(code or None), code == current) for code, words in labels.items()]


def chips(filters: dict[str, tuple[str, str]]) -> list[Chip]:
    """Return a chip for each filter in force: parameter → (label, shown value)."""
    return [
        Chip(f"{label}: {_said(parameter, shown)}", link(**{parameter: None, **_FIRST_PAGE}))
        for parameter, (label, shown) in filters.items()
        if shown
    ]


def _said(parameter: str, shown: str) -> str:
    return language.day_text(shown) if parameter in _DAYS else shown


def listing(rows: Sequence[Item], marks: Sequence[str], filters: list[Chip]) -> Listing[Item]:
    """Cut the page off ``rows``, of which there is one more when there are older ones.

    ``marks`` has for each row what ``after`` has to be to go on behind it.
    """
    size = page_size()
    return Listing(
        items=rows[:size],
        chips=filters,
        older=link(after=marks[size - 1]) if len(rows) > size else None,
        newest=link(after=None) if request.args.get("after") else None,
    )


def two_way(rows: Sequence[Item], marks: Sequence[str], filters: list[Chip]) -> Listing[Item]:
    """Cut a page off ``rows``, of which there is one more where the list goes on that way.

    The rows are those behind the place that the URL names as ``after``, or those before the
    one that it names as ``before``; in either case newest first.
    """
    size = page_size()
    more, upwards = len(rows) > size, bool(request.args.get("before"))
    shown = slice(-size, None) if upwards else slice(size)
    rows, marks = rows[shown], marks[shown]
    placed = upwards or request.args.get("after") or request.args.get("jump")
    older = link(**{**_FIRST_PAGE, "after": marks[-1]}) if marks else None
    newer = link(**{**_FIRST_PAGE, "before": marks[0]}) if marks else None
    return Listing(
        items=rows,
        chips=filters,
        older=older if more or upwards else None,
        newer=newer if (more if upwards else placed) else None,
        newest=link(**_FIRST_PAGE) if placed else None,
    )


def mark(created_at: datetime, row_id: UUID) -> str:
    """Return the place behind a row in a list by (created_at, id)."""
    return f"{created_at.isoformat()}_{row_id}"


def after_row() -> tuple[datetime, UUID] | None:
    """Return the place that the URL names, ``None`` for the beginning or for nonsense."""
    return row_at("after")


def row_at(parameter: str) -> tuple[datetime, UUID] | None:
    """Return the place that a parameter of the URL names, ``None`` for none or nonsense."""
    moment, _, row_id = request.args.get(parameter, "").partition("_")
    try:
        at = datetime.fromisoformat(moment)
        return (at, UUID(row_id)) if at.tzinfo else None
    except ValueError:
        return None


def after_number() -> int | None:
    """Return the number that the URL names, ``None`` for nonsense or more than a bigint."""
    text = request.args.get("after", "")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST_KEY))):
        return None
    return min(int(text), _LARGEST_KEY)


def as_id(text: str) -> UUID | None:
    """Return the UUID in ``text`` in its usual form with dashes, else ``None``."""
    try:
        return UUID(text) if len(text) == len(str(UUID(int=0))) else None
    except ValueError:
        return None
