"""The filters of the lists of payouts, refunds and adjustments, read from the URL alone.

What makes no sense is a filter in force too: it matches nothing, and its chip says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from standart import money
from standart.admin import language, listing, messages, movements
from standart.admin.base import actor, query_text
from standart.admin.language import gettext
from standart.admin.listing import Chip
from standart.admin.transaction_filters import backwards, moment
from standart.services import user_service
from standart.services.access import Actor

OPEN: Final = "open"
"""What stands in the URL for all statuses of what has not ended."""


@dataclass
class Asked:
    """What the URL asks for: ``values`` for the service, ``texts`` as they came.

    Where something in it makes no sense, ``possible`` is false: nothing matches.
    """

    texts: dict[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    chips: list[Chip] = field(default_factory=list)
    possible: bool = True


def read(
    session: Session,
    viewer: Actor,
    names: Collection[str],
    statuses: Mapping[str, object] | None = None,
) -> Asked:
    """Read the filters ``names``; only who sees all may ask for a merchant."""
    asked = Asked({name: query_text(name) for name in names})
    if not viewer.sees_all:
        asked.texts["user"] = ""
    shown: dict[str, tuple[str, str]] = {}
    wrong: dict[str, str] = {}
    for name, text in asked.texts.items():
        if not text:
            continue
        shown[name] = (str(_LABELS[name]()), _in_words(text, name, statuses or {}))
        try:
            asked.values.update(_read(session, name, text, statuses or {}))
        except ValueError:
            wrong[name] = gettext("unknown")
    ends = (asked.values.get("created_from"), asked.values.get("created_to"))
    wrong |= backwards("created_to", *ends)
    shown |= {name: (shown[name][0], f"{shown[name][1]} ({why})") for name, why in wrong.items()}
    asked.possible = not wrong
    asked.chips = [
        replace(chip, wrong=name in wrong)
        for name, chip in zip(shown, listing.chips(shown), strict=True)
    ]
    return asked


def page_of(
    session: Session,
    names: Collection[str],
    rows: Callable[..., list[tuple[str, datetime, UUID]]],
    statuses: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return what a list's page shows; ``rows`` is the service that reads them."""
    viewer = actor()
    asked, found = read(session, viewer, names, statuses), []
    if asked.possible:
        found = rows(
            session.connection(),
            viewer,
            **asked.values,
            after=listing.after_row(),
            limit=listing.page_size() + 1,
        )
    return {
        "listing": movements.listing_of(session, found, asked.chips),
        "asked": asked.texts,
        "statuses": statuses or {},
    }


_LABELS: Final = {
    "user": lambda: gettext("User"),
    "status": lambda: gettext("Status"),
    "currency": lambda: gettext("Currency"),
    "created_from": lambda: gettext("Created from"),
    "created_to": lambda: gettext("Created up to"),
    "reference": lambda: gettext("Payout reference"),
    "transaction": lambda: gettext("Transaction"),
}


def _read(session: Session, name: str, text: str, statuses: Mapping[str, object]) -> dict[str, Any]:
    """Return what a parameter stands for.

    Raises:
        ValueError: it makes no sense.
    """
    match name:
        case "user":
            user = user_service.find_user(session, text)
            if user is None:
                raise ValueError(text)
            return {"user_id": user.id}
        case "status":
            if text not in statuses:
                raise ValueError(text)
            return {"only_open": True} if text == OPEN else {"status": text}
        case "currency":
            if text.upper() not in money.CURRENCIES:
                raise ValueError(text)
            return {"currency": text.upper()}
        case "created_from":
            return {name: moment(text, language.viewer_zone()[1])}
        case "created_to":
            # A day is meant with all its hours.
            return {name: moment(text, language.viewer_zone()[1], day=1)}
        case "transaction":
            return {"transaction_id": _id(text)}
    return {"reference": text}


def _in_words(text: str, name: str, statuses: Mapping[str, object]) -> str:
    return messages.label(statuses, text) if name == "status" else text


def _id(text: str) -> UUID:
    found = listing.as_id(text)
    if found is None:
        raise ValueError(text)
    return found
