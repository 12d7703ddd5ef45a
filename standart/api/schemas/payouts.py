"""Payouts: what is asked and answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta

from standart.api import checks
from standart.api.fields import (
    Amount,
    Currency,
    Cursor,
    Id,
    Limit,
    Moment,
    Money,
    PayoutStatus,
    Reason,
    Reference,
    Since,
    UserId,
    Why,
)
from standart.api.schemas.common import Reply, Request
from standart.card_numbers import holds_card_number

_NAME: Final = re.compile(checks.METADATA_KEY)

_NAMES: Final = {"propertyNames": {"pattern": f"^{checks.METADATA_KEY}$"}}

Destination = Annotated[
    dict[str, Annotated[str, Meta(min_length=1, max_length=200)]],
    Meta(
        min_length=1,
        max_length=20,
        description="Where the money goes: at most 20 texts under plain names of your choice. "
        "Kept encrypted, shown masked. No control characters, no card numbers.",
        examples=[{"iban": "DE89370400440532013000", "holder": "Anna Petrova"}],
        extra_json_schema=_NAMES,
    ),
]
Masked = Annotated[
    dict[str, str],
    Meta(
        description="Of a value longer than 8 characters the last 4, of a shorter one nothing.",
        examples=[{"iban": "****3000", "holder": "****rova"}],
    ),
]


class CreatePayout(Request, frozen=True):
    """A new payout."""

    amount: Amount
    currency: Currency | None = None
    destination: Destination | None = None
    reference: Reference | None = None
    user_id: UserId | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("amount", self.amount, checks.amount),
            ("currency", self.currency, checks.currency),
            ("destination", self.destination, _destination),
            ("reference", self.reference, checks.plain),
            ("user_id", self.user_id, checks.identifier),
        )


class OnePayout(Request, frozen=True):
    """Which payout."""

    id: Id

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier))


class RejectPayout(Request, frozen=True):
    """Which payout to reject, and why."""

    id: Id
    reason: Why

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier), ("reason", self.reason, checks.said))


class CompletePayout(Request, frozen=True):
    """What became of an approved payout."""

    id: Id
    result: Literal["paid", "failed"]
    reason: Reason | None = None

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier), ("reason", self.reason, checks.prose))


class ListPayouts(Request, frozen=True):
    """Filters of a list of payouts; all given ones must hold."""

    status: PayoutStatus | None = None
    user_id: UserId | None = None
    currency: Currency | None = None
    created_from: Since | None = None
    created_to: Since | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier),
            ("currency", self.currency, checks.currency),
            ("limit", self.limit, checks.limit),
        )


class Payout(Reply, frozen=True):
    """A payout as its owner sees it."""

    id: Id
    user_id: UserId
    amount: Money
    currency: Currency
    status: PayoutStatus
    destination: Masked | None
    reference: str | None
    reason: str | None
    approvals: int
    created_at: Moment
    approved_at: Moment | None
    finished_at: Moment | None


class PayoutPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Payout]
    next_cursor: str | None


class PayoutDestination(Reply, frozen=True):
    """Where a payout goes, in plain."""

    id: Id
    destination: dict[str, str] | None


def _destination(values: Mapping[str, str]) -> str | None:
    """Plain texts under plain names, without the number of a payment card in either."""
    for name, value in values.items():
        if not _NAME.fullmatch(name):
            return "must have names of 1 to 40 letters, digits, dots, dashes and underscores"
        problem = checks.prose(value)
        if problem is not None or holds_card_number(name):
            return problem or "must not hold a card number"
    return None
