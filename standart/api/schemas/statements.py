"""Settlement statements: what is asked and answered."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from standart.api import checks
from standart.api.fields import Currency, Id, Moment, Money, Since, UserId
from standart.api.schemas.common import Reply, Request

Format = Annotated[
    Literal["json", "csv", "xlsx", "pdf"], Meta(description="`json` unless another is named.")
]
Language = Annotated[
    Literal["ru", "en"],
    Meta(
        description="Of the words in `pdf` and `xlsx`. In `csv`, `ru` is a table for Russian "
        "Excel: `;` between cells, a decimal comma, Russian names."
    ),
]
Period = Annotated[
    str,
    Meta(
        description="Instead of `from` and `to`, in the merchant's time zone: `today`, "
        "`yesterday`, `7d` (today and the six days before), `month`, `last_month`, a month or a "
        "day. `month` unless anything is named.",
        examples=["2026-11"],
    ),
]
Kind = Literal[
    "settlement",
    "refund",
    "payout_reserved",
    "payout_returned",
    "payout_paid",
    "adjustment",
    "opening_balance",
]
Hash = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 in hexadecimal.", examples=["9f" * 32])
]
Name = Annotated[str, Meta(description="For people.", examples=["shop"])]


class ReadStatement(Request, frozen=True):
    """Whose statement, of which currency and span, and how it is written."""

    user_id: UserId | None = None
    currency: Currency | None = None
    period: Period | None = None
    start: Since | None = field(name="from", default=None)
    end: Since | None = field(name="to", default=None)
    format: Format | None = None
    lang: Language | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier),
            ("currency", self.currency, checks.currency),
            ("period", self.period, checks.plain),
        )


class Held(Reply, frozen=True):
    """`available` can be refunded and paid out, `reserved` is on its way out by payouts."""

    available: Money
    reserved: Money


class StatementHead(Reply, frozen=True):
    """Whose statement it is, for which span, and what there was at its start.

    Half-open: from `from` on and before `to`. `closed` tells that the span lies in closed
    periods, so that the statement never changes again.
    """

    number: Annotated[str, Meta(examples=["RUB-20261101-20261130-5b8c2f9a01"])]
    user_id: UserId
    merchant: Name
    currency: Currency
    start: Moment = field(name="from")
    end: Moment = field(name="to")
    timezone: Annotated[str, Meta(examples=["Europe/Moscow"])]
    from_local: Annotated[str, Meta(examples=["2026-11-01T00:00:00+03:00"])]
    to_local: Annotated[str, Meta(examples=["2026-12-01T00:00:00+03:00"])]
    closed: bool
    opening: Held


class Columns(Reply, frozen=True):
    """Columns that may be summed, and `net`, what `available` changed by.

    `gross` - `commission` - `refunded` + `commission_returned` - `paid_out` + `adjusted` = `net`.
    `reserved` is what was set aside for payouts, negative when it left or came back.
    """

    gross: Money
    commission: Money
    refunded: Money
    commission_returned: Money
    paid_out: Money
    adjusted: Money
    net: Money
    reserved: Money


class StatementMovement(Columns, frozen=True):
    """One journal.

    `source_id` is its transaction, refund, payout or adjustment; `balance` is what is available
    after it.
    """

    number: Annotated[int, Meta(ge=1)]
    at: Moment
    kind: Kind
    source_id: Id
    transaction_id: Id | None
    reference: str | None
    balance: Money
    journal_id: Id


class StatementTotals(Columns, frozen=True):
    """The sums of the columns over `count` movements."""

    count: Annotated[int, Meta(ge=0)]


class Statement(Reply, frozen=True):
    """A settlement statement.

    `digest` is over the canonical lines of the movements' journals; `chain_head` is the number
    and hash of the chain's head at the close, else the present one.
    """

    statement: StatementHead
    movements: list[StatementMovement]
    totals: StatementTotals
    totals_by_kind: dict[str, StatementTotals]
    closing: Held
    digest: Hash
    chain_head: Annotated[
        str | None, Meta(description="`NUMBER:HASH`.", examples=["12:" + "9f" * 32])
    ]
