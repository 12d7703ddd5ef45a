"""Transactions: what is asked and answered."""

from __future__ import annotations

from standart.api import checks
from standart.api.fields import (
    Amount,
    Currency,
    Cursor,
    Description,
    Id,
    Limit,
    Metadata,
    MetadataKey,
    MetadataValue,
    Moment,
    Money,
    Rate,
    Reason,
    Reference,
    ReferencePrefix,
    Since,
    Status,
    UserId,
)
from standart.api.schemas.common import Reply, Request
from standart.errors import InvalidInput


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


class ListTransactions(Request, frozen=True):
    """Filters of a list of transactions; all given ones must hold."""

    status: Status | None = None
    user_id: UserId | None = None
    reference: Reference | None = None
    reference_prefix: ReferencePrefix | None = None
    metadata_key: MetadataKey | None = None
    metadata_value: MetadataValue | None = None
    currency: Currency | None = None
    created_from: Since | None = None
    created_to: Since | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier),
            ("reference", self.reference, checks.plain),
            ("reference_prefix", self.reference_prefix, checks.plain),
            ("metadata_key", self.metadata_key, checks.metadata_key),
            ("metadata_value", self.metadata_value, checks.plain),
            ("currency", self.currency, checks.currency),
            ("limit", self.limit, checks.limit),
        )
        if self.metadata_value is not None and self.metadata_key is None:
            raise InvalidInput.of("metadata_value", "needs metadata_key beside it")


class AppliedFee(Reply, frozen=True):
    """The fee schedule that a transaction was created by."""

    id: Id
    rate: Rate
    fixed: Money
    minimum: Money
    maximum: Money | None


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
    fee_schedule: AppliedFee | None
    refunded_amount: Money
    late_for: Id | None
    approvals: int


class TransactionPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Transaction]
    next_cursor: str | None
