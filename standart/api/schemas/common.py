"""What all schemas share: strict requests, closed answers, problems."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from standart.api import checks
from standart.api.fields import (
    AdjustmentStatus,
    Currency,
    LimitKind,
    Money,
    PayoutStatus,
    Status,
    UserId,
)


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body or a query: fields that are not named here are refused."""


class NoQuery(Request, frozen=True):
    """No query parameters."""


class OfUser(Request, frozen=True):
    """Whose balance; an admin's key must say it."""

    user_id: UserId | None = None

    def __post_init__(self) -> None:
        checks.require(("user_id", self.user_id, checks.identifier))


class Reply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of an answer."""


class Health(Reply, frozen=True):
    """The process answers."""

    status: Literal["ok"]


class FieldProblem(Reply, frozen=True):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457; `code` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None
    transaction_status: Status | None = None
    required_scope: Literal["read", "write", "confirm", "refund", "payout"] | None = None
    payout_status: PayoutStatus | None = None
    adjustment_status: AdjustmentStatus | None = None
    refundable: Money | None = None
    available: Money | None = None
    currency: Currency | None = None
    limit: LimitKind | None = None
    value: str | None = None
    replay_id: str | None = None
