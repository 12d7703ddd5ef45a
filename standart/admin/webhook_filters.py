"""The filters of the list of events, read from the URL alone.

What makes no sense is a filter in force too: it matches nothing, and its chip says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from standart.admin import language, listing, messages, transaction_filters
from standart.admin.base import query_text
from standart.admin.language import gettext
from standart.admin.listing import Chip
from standart.models import DeliveryState
from standart.services import user_service
from standart.services.access import Actor
from standart.services.event_search import Wanted

FIELDS: Final = (
    "user",
    "type",
    "state",
    "answer",
    "endpoint",
    "transaction",
    "created_from",
    "created_to",
)
"""The parameters of the URL that are filters."""

ANSWERS: Final = {"2xx": 2, "3xx": 3, "4xx": 4, "5xx": 5, "none": 0}
"""The class of the last attempt's answer as the URL names it."""

_CHOICES: Final = {
    "type": messages.EVENT_TYPES,
    "state": messages.DELIVERY_STATES,
    "answer": messages.ANSWERS,
}


@dataclass(frozen=True)
class Asked:
    """What the URL asks for.

    ``wanted`` is ``None`` where nothing can match; ``texts`` are the parameters as they came.
    """

    wanted: Wanted | None
    chips: list[Chip]
    texts: dict[str, str]

    @property
    def query(self) -> str:
        """The filters in force as they came, to be put behind an address; empty without any."""
        given = urlencode({name: text for name, text in self.texts.items() if text})
        return f"?{given}" if given else ""


def read(session: Session, viewer: Actor) -> Asked:
    """Read the filters; a merchant's name is looked up, and only for those who see all."""
    texts = {name: query_text(name) for name in FIELDS}
    if not viewer.sees_all:
        texts["user"] = ""
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, text in texts.items():
        if not text:
            continue
        try:
            values |= _read(session, name, text)
        except (ValueError, ArithmeticError):
            wrong[name] = gettext("unknown")
    wrong |= transaction_filters.backwards(
        "created_to", values.get("created_from"), values.get("created_to")
    )
    return Asked(None if wrong else Wanted(**values), _chips(texts, wrong), texts)


def _read(session: Session, name: str, text: str) -> dict[str, Any]:
    """Return the field of ``Wanted`` that a parameter stands for.

    Raises:
        ValueError, ArithmeticError: it makes no sense.
    """
    zone = language.viewer_zone()[1]
    match name:
        case "type":
            if text not in messages.EVENT_TYPES:
                raise ValueError(text)
            return {"type": text}
        case "state":
            return {"state": DeliveryState(text)}
        case "answer":
            if text not in ANSWERS:
                raise ValueError(text)
            return {"answer": ANSWERS[text]}
        case "created_from":
            return {name: transaction_filters.moment(text, zone)}
        case "created_to":
            # A day is meant with all its hours.
            return {name: transaction_filters.moment(text, zone, day=1)}
        case "user":
            user = user_service.find_user(session, text)
            found = user and user.id
        case _:
            found = listing.as_id(text)
    if found is None:
        raise ValueError(text)
    return {f"{name}_id": found}


def _chips(texts: dict[str, str], wrong: Mapping[str, str]) -> list[Chip]:
    labels = {
        "user": gettext("User"),
        "type": gettext("Event"),
        "state": gettext("Delivery"),
        "answer": gettext("Answer"),
        "endpoint": gettext("Endpoint"),
        "transaction": gettext("Transaction"),
        "created_from": gettext("Created from"),
        "created_to": gettext("Created up to"),
    }
    names = [name for name in FIELDS if texts[name]]
    made = listing.chips(
        {
            name: (labels[name], messages.label(_CHOICES.get(name, {}), texts[name]))
            for name in names
        }
    )
    return [
        replace(chip, text=f"{chip.text} ({wrong[name]})", wrong=True) if name in wrong else chip
        for name, chip in zip(names, made, strict=True)
    ]
