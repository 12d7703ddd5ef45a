"""The filters of the list of transactions, read from the URL alone.

What makes no sense is a filter in force too: it matches nothing, and says so in its chip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from flask import request
from sqlalchemy.orm import Session

from standart import money
from standart.admin import language, listing, messages
from standart.admin.base import query_text
from standart.admin.language import gettext
from standart.admin.listing import Chip
from standart.services import user_service
from standart.services.access import Actor
from standart.services.transaction_list import Place, Wanted
from standart.states import TransactionStatus

FIELDS: Final = (
    "user",
    "status",
    "currency",
    "amount_from",
    "amount_to",
    "created_from",
    "created_to",
    "reference",
    "id",
)
"""The parameters of the URL that are filters."""

_BLANKS: Final = str.maketrans("", "", " \u00a0\u202f")
_GROUPED: Final = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")

_LAST_ID: Final = UUID(int=2**128 - 1)


@dataclass(frozen=True)
class Asked:
    """What the URL asks for.

    ``wanted`` is ``None`` where nothing can match; ``texts`` are the parameters as they came.
    """

    wanted: Wanted | None
    chips: list[Chip]
    texts: dict[str, str]

    @property
    def any(self) -> bool:
        """Whether there is any filter."""
        return any(self.texts.values())


def read(session: Session, viewer: Actor) -> Asked:
    """Read the filters; a merchant's name is looked up, and only for those who see all."""
    texts = {name: query_text(name) for name in FIELDS}
    if not viewer.sees_all:
        texts["user"] = ""
    zone = language.viewer_zone()[1]
    wanted, wrong = Wanted(), dict[str, str]()
    for name, text in texts.items():
        if not text:
            continue
        try:
            wanted = replace(wanted, **_read(session, name, text, zone))
        except (ValueError, ArithmeticError):
            wrong[name] = gettext("unknown")
    wrong |= backwards("amount_to", wanted.amount_from, wanted.amount_to, may_be_same=True)
    wrong |= backwards("created_to", wanted.created_from, wanted.created_to)
    return Asked(None if wrong else wanted, _chips(texts, wrong), texts)


def _read(session: Session, name: str, text: str, zone: tzinfo) -> dict[str, Any]:
    """Return the field of ``Wanted`` that a parameter stands for.

    Raises:
        ValueError, ArithmeticError: it makes no sense.
    """
    match name:
        case "user":
            user = user_service.find_user(session, text)
            if user is None:
                raise ValueError(text)
            return {"user_id": user.id}
        case "status":
            return {"status": TransactionStatus(text)}
        case "currency":
            if text.upper() not in money.CURRENCIES:
                raise ValueError(text)
            return {"currency": text.upper()}
        case "amount_from" | "amount_to":
            return {name: amount(text)}
        case "created_from":
            return {name: moment(text, zone)}
        case "created_to":
            # A day is meant with all its hours.
            return {name: moment(text, zone, day=1)}
        case "reference":
            return {"reference_prefix": text}
    found = listing.as_id(text)
    if found is None:
        raise ValueError(text)
    return {"id": found}


def backwards(name: str, low: Any, high: Any, *, may_be_same: bool = False) -> dict[str, str]:
    """Return what is wrong with the filter ``name`` where its range ends before it begins."""
    if low is None or high is None or low < high or (may_be_same and low == high):
        return {}
    return {name: gettext("ends before it begins")}


def amount(text: str) -> Decimal:
    """Read an amount as the viewer's language writes it.

    Raises:
        ValueError, ArithmeticError: it is none.
    """
    text = text.translate(_BLANKS)
    # In English the comma groups digits, wherever it can be read so.
    grouped = language.language() == "en" and _GROUPED.fullmatch(text)
    text = text.replace(",", "" if grouped else ".")
    if not money.may_be_amount(text):
        raise ValueError(text)
    return Decimal(text)


def moment(text: str, zone: tzinfo, day: int = 0) -> datetime:
    """Read a date, or a moment with or without its zone, which is the viewer's then.

    Returns it in UTC; a date means its beginning, or ``day`` days later.

    Raises:
        ValueError: it is neither.
    """
    try:
        return _moment(text, zone, day)
    except OverflowError as error:
        raise ValueError(text) from error


def _moment(text: str, zone: tzinfo, day: int) -> datetime:
    try:
        on = date.fromisoformat(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else language.from_wall_clock(at, zone)
    return language.from_wall_clock(datetime.combine(on + timedelta(days=day), time()), zone)


def after() -> Place | None:
    """Return the place behind which the page begins: as it was, or as a date to jump to."""
    if place := listing.row_at("after"):
        return place
    try:
        return moment(query_text("jump"), language.viewer_zone()[1], day=1), _LAST_ID
    except ValueError:
        return None


def _chips(texts: dict[str, str], wrong: Mapping[str, str]) -> list[Chip]:
    labels = {
        "user": gettext("User"),
        "status": gettext("Status"),
        "currency": gettext("Currency"),
        "amount_from": gettext("Amount from"),
        "amount_to": gettext("Amount up to"),
        "created_from": gettext("Created from"),
        "created_to": gettext("Created up to"),
        "reference": gettext("Reference"),
        "id": gettext("Id"),
    }
    shown = {**texts, "status": messages.label(messages.STATUSES, texts["status"])}
    made = listing.chips(
        {name: (labels[name], shown[name] or texts[name]) for name in FIELDS if texts[name]}
    )
    names = [name for name in FIELDS if texts[name]]
    return [
        replace(chip, text=f"{chip.text} ({wrong[name]})", wrong=True) if name in wrong else chip
        for name, chip in zip(names, made, strict=True)
    ]


def place() -> str:
    """Return the query of the list as it is looked at, for the pages that lead back to it."""
    return _cleaned(request.args.to_dict())


def place_left() -> str:
    """Return the query of the list from which one came to this page, "" for the whole list."""
    return _cleaned(dict(parse_qsl(request.args.get("list", ""))))


def _cleaned(query: dict[str, str]) -> str:
    kept = (*FIELDS, "after", "before", "jump", "limit")
    return urlencode({name: query[name] for name in kept if query.get(name)})


def parameters() -> dict[str, Any]:
    """Return the filters of the URL as they came, to be carried on."""
    return {name: text for name in FIELDS if (text := request.args.get(name, ""))}


def way_back() -> dict[str, Any]:
    """Return what leads back to the same page of the same list from whatever follows it."""
    places = ("limit", "after", "before", "jump")
    return {**parameters(), **{name: text for name in places if (text := request.args.get(name))}}
