"""The filters of the lists of payouts, refunds and adjustments, read from the URL alone.

What makes no sense is a filter in force too: it matches nothing, and its chip says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from standart import money
from standart.admin import language, listing, messages
from standart.admin.base import query_text
from standart.admin.language import gettext
from standart.admin.listing import Chip
from standart.admin.transaction_filters import moment
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
    wrong: set[str] = set()
    for name, text in asked.texts.items():
        if not text:
            continue
        label = str(_LABELS[name]())
        try:
            asked.values.update(_read(session, name, text, statuses or {}))
            shown[name] = (label, _in_words(text, name, statuses or {}))
        except ValueError:
            asked.possible = False
            wrong.add(name)
            shown[name] = (label, listing.unknown(text))
    asked.chips = [
        replace(chip, wrong=name in wrong)
        for name, chip in zip(shown, listing.chips(shown), strict=True)
    ]
    return asked


_LABELS: Final = {
    "user": lambda: gettext("User"),
    "status": lambda: gettext("Status"),
    "currency": lambda: gettext("Currency"),
    "created_from": lambda: gettext("Created from"),
    "created_to": lambda: gettext("Created up to"),
    "reference": lambda: gettext("Reference"),
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
