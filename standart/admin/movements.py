"""What the pages of payouts, refunds and adjustments share: rows, questions, one effect only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import request
from sqlalchemy.orm import Session

from standart import money
from standart.admin import listing, messages, queries
from standart.admin.listing import Chip, Listing
from standart.clock import new_id
from standart.extensions import in_transaction, settings
from standart.models import AuditRecord
from standart.services import approval_service
from standart.services.idempotency_service import Answer, IdempotencyClaim

Wire = dict[str, Any]

_DERIVATION: Final = b"standart panel form 1 "

_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A line of what is asked about: ``text``, a moment, a sum, or who it is about."""

    label: str
    text: str = ""
    amount: str = ""
    currency: str = ""
    user_id: str = ""
    at: datetime | None = None


def rows_of(session: Session, found: Iterable[tuple[str, datetime, UUID]]) -> list[Wire]:
    """Return the rows of a list as the pages show them, with the names of their merchants."""
    rows: list[Wire] = [msgspec.json.decode(body) for body, _, _ in found]
    names = queries.names_of(session, (UUID(row["user_id"]) for row in rows))
    return [{**row, "user_name": names[row["user_id"]]} for row in rows]


def named(found: Wire) -> Wire:
    """Return one movement with the name of its merchant."""
    user_id = found["user_id"]
    names = in_transaction(lambda session: queries.names_of(session, [UUID(user_id)]))
    return {**found, "user_name": names[user_id]}


def listing_of(
    session: Session, rows: Sequence[tuple[str, datetime, UUID]], chips: list[Chip]
) -> Listing[Wire]:
    """Return a page of a list by (created_at, id); ``rows`` has one more if there is another."""
    marks = [listing.mark(at, row_id) for _, at, row_id in rows]
    return listing.listing(rows_of(session, rows), marks, chips)


def wire(answer: Answer) -> Wire:
    """Return what an act answered."""
    body: Wire = msgspec.json.decode(answer.body)
    return body


def once() -> str:
    """Return what a form carries so that sending it twice has one effect."""
    return str(new_id())


def claim(key: str, asked: object) -> IdempotencyClaim:
    """Return the claim of a form that carries ``key``, from ``once``, about what was ``asked``.

    What is kept is a keyed digest: a form may hold the number of an account.
    """
    secret = hashlib.sha256(_DERIVATION + settings().secret_key.encode()).digest()
    digest = hmac.new(secret, _CANONICAL.encode(asked), hashlib.sha256).digest()
    return IdempotencyClaim(request.path, key, digest)


def takes_two(amount: str, currency: str) -> bool:
    """Whether a sum, as decimal text, is above what one person may move."""
    read = money.parse_amount(amount, currency)
    return approval_service.needs_two(read, settings().four_eyes_above)


def done_by(audit: Iterable[AuditRecord]) -> dict[str, str]:
    """Return who did what last, by the action's name in the audit log."""
    return {row.action: messages.actor(row.actor_id, row.actor_name) for row in audit}
