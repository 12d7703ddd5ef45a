"""What goes over the wire, once for reading, checking and documenting it.

Requests refuse unknown fields; ``__post_init__`` applies the grammars that types cannot
say. Answers are written by the database (``services/wire.py``): their schemas here
document them, and the tests hold the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from standart.api import checks

DEFAULT_LIMIT = 20

# Marks in a schema what the document says instead: an amount is read as text, but a client
# may send it as a number.
SENT_AS = "x-sent-as"

EXAMPLE_ID = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
EXAMPLE_USER = "0198f0c1-1b2a-7e0d-8c3f-5a6b7c8d9e0f"


def _text(description: str, *, longest: int, shortest: int = 0, example: str) -> Meta:
    return Meta(
        min_length=shortest,
        max_length=longest,
        description=f"{description} No control characters.",
        examples=[example],
    )


def _form(description: str, *examples: object, **schema: Any) -> Meta:
    """Document a field whose grammar ``checks`` holds; ``sent_as`` stands in for its type."""
    if "sent_as" in schema:
        schema[SENT_AS] = schema.pop("sent_as")
    return Meta(description=description, examples=list(examples), extra_json_schema=schema)


Amount = Annotated[
    str,
    _form(
        "A decimal text, or a number literal that is read exactly: above 0, at most 10^15 "
        "minor units, no more fractional digits than the currency has.",
        "100.00",
        sent_as={"type": ["string", "number"], "pattern": f"^{checks.AMOUNT}$"},
    ),
]
Money = Annotated[
    str,
    _form(
        "Exact decimal text with the currency's digits.", "100.00", pattern=r"^[0-9]+(\.[0-9]+)?$"
    ),
]
Currency = Annotated[str, _form("ISO 4217 code.", "RUB", pattern="^[A-Z]{3}$")]
Id = Annotated[str, _form("A UUID.", EXAMPLE_ID, format="uuid", pattern=f"^{checks.IDENTIFIER}$")]
UserId = Annotated[
    str,
    _form("A merchant's id.", EXAMPLE_USER, format="uuid", pattern=f"^{checks.IDENTIFIER}$"),
]
Reference = Annotated[
    str, _text("Your own name for it.", shortest=1, longest=128, example="order-1017")
]
Description = Annotated[
    str, _text("For people. No card numbers.", longest=500, example="Two tickets")
]
Reason = Annotated[
    str, _text("For people. No card numbers.", longest=500, example="Customer changed her mind")
]
Metadata = Annotated[
    dict[str, Annotated[str, Meta(max_length=500)]],
    _form(
        "Your own data: at most 50 short strings under plain keys. No control characters.",
        {"cart": "17"},
        maxProperties=checks.MOST_METADATA,
        propertyNames={"pattern": f"^{checks.METADATA_KEY}$"},
    ),
]
Moment = Annotated[
    str,
    _form("RFC 3339, UTC, microseconds.", "2026-11-23T09:00:00.123456Z", format="date-time"),
]
Status = Literal["pending", "confirmed", "canceled", "expired"]
EventType = Literal["transaction.confirmed", "transaction.canceled", "transaction.expired"]
Limit = Annotated[
    str,
    _form(
        "Rows on a page.",
        20,
        sent_as={
            "type": "integer",
            "minimum": 1,
            "maximum": checks.LONGEST_PAGE,
            "default": DEFAULT_LIMIT,
        },
    ),
]
Cursor = Annotated[
    str,
    _form("`next_cursor` of the page before, with the same filters.", "AZjwwn0-fEuaUT8Nfxwraq"),
]
Since = Annotated[
    datetime,
    Meta(
        tz=True,
        description="RFC 3339 with a zone; write `+` as `%2B`.",
        examples=["2026-11-23T00:00:00Z"],
    ),
]


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
    commission_rate: Annotated[str, _form("From 0 to 1, as it was at creation.", "0.03")]
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
    balance: Annotated[str, _form("Exact decimal text.", "97.00")]


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
