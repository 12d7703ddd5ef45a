"""Refunds: what is asked and answered."""

from __future__ import annotations

from typing import Annotated, Literal

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
    Reason,
    Since,
    UserId,
)
from standart.api.schemas.common import Reply, Request


class CreateRefund(Request, frozen=True):
    """Which transaction to refund, and how much of it: all that is left if not said."""

    id: Id
    amount: Amount | None = None
    reason: Reason | None = None
    refund_commission: Annotated[
        bool, Meta(description="Whether the commission's share is given back too.")
    ] = False

    def __post_init__(self) -> None:
        checks.require(
            ("id", self.id, checks.identifier),
            ("amount", self.amount, checks.amount),
            ("reason", self.reason, checks.prose),
        )


class CheckRefund(Request, frozen=True):
    """Which refund to read."""

    id: Id

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier))


class ListRefunds(Request, frozen=True):
    """Filters of a list of refunds; all given ones must hold."""

    user_id: UserId | None = None
    transaction_id: Id | None = None
    currency: Currency | None = None
    created_from: Since | None = None
    created_to: Since | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier),
            ("transaction_id", self.transaction_id, checks.identifier),
            ("currency", self.currency, checks.currency),
            ("limit", self.limit, checks.limit),
        )


class Refund(Reply, frozen=True):
    """What was given back of a transaction; `debited` is what the merchant paid of it."""

    id: Id
    transaction_id: Id
    user_id: UserId
    status: Literal["posted"]
    amount: Money
    currency: Currency
    refund_commission: bool
    commission_returned: Money
    debited: Money
    reason: str | None
    created_at: Moment


class RefundPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Refund]
    next_cursor: str | None
