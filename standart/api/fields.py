"""The types of single fields: what may be in them, and how the documentation tells it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from standart.api import checks

DEFAULT_LIMIT = 20

# Marks in a schema what the document says instead: an amount is read as text, but a client
# may send it as a number.
SENT_AS = "x-sent-as"

EXAMPLE_ID = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
EXAMPLE_USER = "0198f0c1-1b2a-7e0d-8c3f-5a6b7c8d9e0f"
EXAMPLE_ENDPOINT = "0198f0c1-9c8d-7a6b-8e5f-4d3c2b1a0f9e"


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
        "Exact decimal text with the currency's digits.", "100.00", pattern=r"^-?[0-9]+(\.[0-9]+)?$"
    ),
]
Rate = Annotated[str, Meta(description="From 0 to 1, as it was at creation.", examples=["0.03"])]
Currency = Annotated[
    str,
    _form("An ISO 4217 code, or the code of a crypto asset.", "RUB", pattern="^[A-Z]{3,5}$"),
]
Id = Annotated[str, _form("A UUID.", EXAMPLE_ID, format="uuid", pattern=f"^{checks.IDENTIFIER}$")]
UserId = Annotated[
    str,
    _form("A merchant's id.", EXAMPLE_USER, format="uuid", pattern=f"^{checks.IDENTIFIER}$"),
]
Reference = Annotated[
    str, _text("Your own name for it.", shortest=1, longest=128, example="order-1017")
]
ReferencePrefix = Annotated[
    str, _text("What the reference starts with.", shortest=1, longest=128, example="order-")
]
Description = Annotated[
    str, _text("For people. No card numbers.", longest=500, example="Two tickets")
]
Reason = Annotated[
    str, _text("For people. No card numbers.", longest=500, example="Customer changed her mind")
]
NoteText = Annotated[
    str,
    _text(
        "For people, not blank. No card numbers.",
        shortest=1,
        longest=2000,
        example="Deliver after six",
    ),
]
Why = Annotated[
    str,
    _text(
        "For people, not blank. No card numbers.",
        shortest=1,
        longest=500,
        example="The account has another holder",
    ),
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
MetadataKey = Annotated[
    str, _form("A key of the metadata.", "cart", pattern=f"^{checks.METADATA_KEY}$")
]
MetadataValue = Annotated[
    str,
    _text("The value of `metadata_key`; without it any value will do.", longest=500, example="17"),
]
Moment = Annotated[
    str,
    _form("RFC 3339, UTC, microseconds.", "2026-11-23T09:00:00.123456Z", format="date-time"),
]
Status = Literal["pending", "confirmed", "canceled", "expired"]
TransactionEvent = Literal[
    "transaction.created",
    "transaction.confirmed",
    "transaction.canceled",
    "transaction.expired",
]
EventType = Literal[
    TransactionEvent,
    "refund.created",
    "payout.created",
    "payout.approved",
    "payout.rejected",
    "payout.canceled",
    "payout.paid",
    "payout.failed",
    "balance.adjusted",
    "webhook_endpoint.disabled",
    "ping",
]
ObjectType = Literal["transaction", "refund", "payout", "adjustment", "webhook_endpoint"]
Sequence = Annotated[
    int,
    Meta(
        ge=1,
        description="Which change of the object this is: 1 is its creation. An event of a lower "
        "one tells nothing new.",
        examples=[2],
    ),
]
PayoutStatus = Literal["pending", "approved", "paid", "failed", "rejected", "canceled"]
AdjustmentStatus = Literal["pending", "posted", "canceled"]
LimitKind = Literal["transaction_amount", "daily_amount", "daily_count", "pending_count"]
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
DeliveryState = Literal["waiting", "delivered", "dead"]
After = Annotated[
    str,
    _form(
        "Follows events: those behind this `next`, oldest first. `now` begins with what happens "
        "from now on, `start` with the oldest. Only with `type`, `user_id`, `limit` and `wait`.",
        "now",
    ),
]
Wait = Annotated[
    str,
    _form(
        "With `after`: for how many seconds an answer may be held until something happens.",
        20,
        sent_as={"type": "integer", "minimum": 0, "maximum": checks.LONGEST_WAIT, "default": 0},
    ),
]
Since = Annotated[
    datetime,
    Meta(
        tz=True,
        description="RFC 3339 with a zone; write `+` as `%2B`.",
        examples=["2026-11-23T00:00:00Z"],
    ),
]
