"""Adjustments: what is asked and answered."""

from __future__ import annotations

from typing import Literal

from standart.api import checks
from standart.api.fields import (
    AdjustmentStatus,
    Amount,
    Currency,
    Cursor,
    Id,
    Limit,
    Moment,
    Money,
    Since,
    UserId,
    Why,
)
from standart.api.schemas.common import Reply, Request


class CreateAdjustment(Request, frozen=True):
    """What to correct, and why."""

    user_id: UserId
    amount: Amount
    direction: Literal["credit", "debit"]
    reason: Why
    currency: Currency | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier),
            ("amount", self.amount, checks.amount),
            ("reason", self.reason, checks.said),
            ("currency", self.currency, checks.currency),
        )


class OneAdjustment(Request, frozen=True):
    """Which adjustment."""

    id: Id

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier))


class ListAdjustments(Request, frozen=True):
    """Filters of a list of adjustments; all given ones must hold."""

    status: AdjustmentStatus | None = None
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


class Adjustment(Reply, frozen=True):
    """A correction or an opening balance, as its owner sees it."""

    id: Id
    user_id: UserId
    kind: Literal["adjustment", "opening_balance"]
    direction: Literal["credit", "debit"]
    amount: Money
    currency: Currency
    reason: str
    status: AdjustmentStatus
    approvals: int
    created_at: Moment
    finished_at: Moment | None


class AdjustmentPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Adjustment]
    next_cursor: str | None
