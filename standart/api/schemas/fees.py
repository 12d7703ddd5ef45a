"""Commissions: what is asked and answered."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from standart.api import checks
from standart.api.fields import Amount, Currency, Money, Rate, UserId
from standart.api.schemas.common import Reply, Request
from standart.api.schemas.transactions import AppliedFee


class PreviewCommission(Request, frozen=True):
    """The amount whose commission is asked for."""

    amount: Amount
    currency: Currency | None = None
    user_id: UserId | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("amount", self.amount, checks.amount),
            ("currency", self.currency, checks.currency),
            ("user_id", self.user_id, checks.identifier),
        )


class Calculation(Reply, frozen=True):
    """How a commission comes about."""

    rule: Annotated[str, Meta(description="Version of the fee rule.", examples=["fee-1"])]
    rounding: Literal["half-up"]
    steps: Annotated[list[str], Meta(description="For people, in the order of the rule.")]


class CommissionPreview(Reply, frozen=True):
    """What a transaction created now would cost; `fee_schedule` is null by the plain rate."""

    amount: Money
    currency: Currency
    commission_rate: Rate
    commission: Money
    net: Money
    fee_schedule: AppliedFee | None
    calculation: Calculation
