"""The filters of the audit log, read from the URL alone.

What makes no sense is a filter in force too: it matches nothing, and its chip says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from flask import request

from standart.admin import language, listing, messages, transaction_filters
from standart.admin.base import query_text
from standart.admin.language import gettext
from standart.admin.listing import Chip
from standart.services.audit_list import Kind, Place, Wanted

FIELDS: Final = ("actor", "action", "object_type", "object_id", "created_from", "created_to")
"""The parameters of the URL that are filters; each is a field of ``Wanted``."""

_LARGEST: Final = 2**63 - 1


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


def read(known: Sequence[Kind]) -> Asked:
    """Read the filters; ``known`` is what the log has ever kept."""
    texts = {name: query_text(name) for name in FIELDS}
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, text in texts.items():
        if not text:
            continue
        try:
            values[name] = _read(name, text, known)
        except (ValueError, ArithmeticError):
            wrong[name] = gettext("unknown")
    wrong |= transaction_filters.backwards(
        "created_to", values.get("created_from"), values.get("created_to")
    )
    return Asked(None if wrong else Wanted(**values), _chips(texts, wrong), texts)


def _read(name: str, text: str, known: Sequence[Kind]) -> str | datetime:
    """Return the field of ``Wanted`` that a parameter stands for.

    Raises:
        ValueError, ArithmeticError: it makes no sense.
    """
    zone = language.viewer_zone()[1]
    match name:
        case "action" | "object_type":
            if text not in {getattr(kind, name) for kind in known}:
                raise ValueError(text)
            return text
        case "actor":
            return messages.actor_named(text)
        case "created_from":
            return transaction_filters.moment(text, zone)
        case "created_to":
            # A day is meant with all its hours.
            return transaction_filters.moment(text, zone, day=1)
        case "object_id":
            found = listing.as_id(text)
            return text if found is None else str(found)
    return text


def _chips(texts: dict[str, str], wrong: Mapping[str, str]) -> list[Chip]:
    labels = {
        "actor": gettext("Who"),
        "action": gettext("What"),
        "object_type": gettext("Kind of object"),
        "object_id": gettext("Id"),
        "created_from": gettext("Since"),
        "created_to": gettext("Up to"),
    }
    shown = {
        **texts,
        "action": messages.label(messages.ACTIONS, texts["action"]),
        "object_type": messages.label(messages.OBJECTS, texts["object_type"]),
    }
    names = [name for name in FIELDS if texts[name]]
    made = listing.chips({name: (labels[name], shown[name]) for name in names})
    return [
        replace(chip, text=f"{chip.text} ({wrong[name]})", wrong=True) if name in wrong else chip
        for name, chip in zip(names, made, strict=True)
    ]


def place(parameter: str) -> Place | None:
    """Return the place that a parameter of the URL names, ``None`` for none or nonsense."""
    moment, _, number = request.args.get(parameter, "").partition("_")
    if not (number.isascii() and number.isdigit() and len(number) <= len(str(_LARGEST))):
        return None
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (at, min(int(number), _LARGEST)) if at.tzinfo else None


def mark(at: datetime, number: int) -> str:
    """Return how the URL names the place of a record."""
    return f"{at.isoformat()}_{number}"
