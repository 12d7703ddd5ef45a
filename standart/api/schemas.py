"""What goes over the wire, once for reading, checking and documenting it.

Requests refuse unknown fields; ``__post_init__`` applies the grammars that types cannot
say. Answers are written by the database (``services/wire.py``): their schemas here
document them, and the tests hold the two together.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from standart.api import checks
from standart.api.fields import (
    Amount,
    Currency,
    Cursor,
    Description,
    EventType,
    Id,
    Limit,
    Metadata,
    Moment,
    Money,
    Rate,
    Reason,
    Reference,
    Since,
    Status,
    UserId,
)


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body or a query: fields that are not named here are refused."""


class CreateTransaction(Request, frozen=True):
    """A new transaction."""

    amount: Amount
    currency: Currency | None = None
    id: Id | None = None
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    user_id: UserId | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("amount", self.amount, checks.amount),
            ("currency", self.currency, checks.currency),
            ("id", self.id, checks.identifier),
            ("reference", self.reference, checks.plain),
            ("description", self.description, checks.prose),
            ("metadata", self.metadata, checks.metadata),
            ("user_id", self.user_id, checks.identifier),
        )


class CancelTransaction(Request, frozen=True):
    """Which transaction to cancel, and why."""

    id: Id
    reason: Reason | None = None

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier), ("reason", self.reason, checks.prose))


class ConfirmTransaction(Request, frozen=True):
    """Which transaction to confirm."""

    id: Id

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier))


class CheckTransaction(Request, frozen=True):
    """Which transaction to read."""

    id: Id

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier))


class NoQuery(Request, frozen=True):
    """No query parameters."""


class ListTransactions(Request, frozen=True):
    """Filters of a list of transactions; all given ones must hold."""

    status: Status | None = None
    user_id: UserId | None = None
    reference: Reference | None = None
    currency: Currency | None = None
    created_from: Since | None = None
    created_to: Since | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier),
            ("reference", self.reference, checks.plain),
            ("currency", self.currency, checks.currency),
            ("limit", self.limit, checks.limit),
        )


class ListEvents(Request, frozen=True):
    """Filters of a list of events; all given ones must hold."""

    user_id: UserId | None = None
    type: EventType | None = None
    transaction_id: Id | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier),
            ("transaction_id", self.transaction_id, checks.identifier),
            ("limit", self.limit, checks.limit),
        )


class OfUser(Request, frozen=True):
    """Whose balance; an admin's key must say it."""

    user_id: UserId | None = None

    def __post_init__(self) -> None:
        checks.require(("user_id", self.user_id, checks.identifier))


class Reply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of an answer."""


class Transaction(Reply, frozen=True):
    """A transaction as its owner sees it."""

    id: Id
    user_id: UserId
    amount: Money
    currency: Currency
    commission_rate: Rate
    commission: Money
    net: Money
    status: Status
    reference: str | None
    description: str | None
    metadata: Metadata
    reason: str | None
    created_at: Moment
    expires_at: Moment
    finished_at: Moment | None


class TransactionPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Transaction]
    next_cursor: str | None


class CurrencyBalance(Reply, frozen=True):
    """What is available in one currency."""

    currency: Currency
    balance: Money


class Balances(Reply, frozen=True):
    """One row for each currency."""

    balances: list[CurrencyBalance]


class WebhookBody(Reply, frozen=True):
    """What a webhook carries; `id` and `status` are the transaction's."""

    type: EventType
    timestamp: Moment
    id: Id
    status: Status
    data: Transaction


class Attempt(Reply, frozen=True):
    """One try to deliver an event."""

    number: int
    url: str
    outcome: str
    status_code: int | None
    duration_ms: int
    created_at: Moment


class Delivery(Reply, frozen=True):
    """The way of an event to a receiver."""

    id: Id
    state: Literal["waiting", "delivered", "dead"]
    attempt_count: int
    next_attempt_at: Moment | None
    delivered_at: Moment | None
    attempts: list[Attempt]


class Event(Reply, frozen=True):
    """What happened to a transaction, and how the webhook fared."""

    id: Id
    type: EventType
    transaction_id: Id
    user_id: UserId
    created_at: Moment
    payload: WebhookBody
    deliveries: list[Delivery]


class EventPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Event]
    next_cursor: str | None


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
    required_scope: Literal["read", "write", "confirm"] | None = None
