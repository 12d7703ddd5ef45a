"""Payments: transactions, what was given back of them, and notes on them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from standart.db import Base, UtcDateTime, text_enum
from standart.models.columns import CURRENCY_CODE, written_at
from standart.models.kinds import MAX_AMOUNT
from standart.models.users import User
from standart.states import TransactionStatus


class Transaction(Base):
    """A payment on its way: born pending, ended once, never changed after that."""

    __tablename__ = "transactions"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        CheckConstraint(f"amount BETWEEN 1 AND {MAX_AMOUNT}", name="amount_range"),
        CheckConstraint(CURRENCY_CODE, name="currency_code"),
        CheckConstraint("commission_rate BETWEEN 0 AND 1", name="commission_rate_range"),
        CheckConstraint(
            "commission = least(amount, greatest(coalesce(fee_minimum, 0),"
            " least(coalesce(fee_maximum, amount),"
            " round(amount * commission_rate) + coalesce(fee_fixed, 0))))",
            name="commission_rule",
        ),
        CheckConstraint(
            "(fee_schedule_id IS NULL) = (fee_fixed IS NULL)"
            " AND (fee_schedule_id IS NULL) = (fee_minimum IS NULL)"
            " AND (fee_schedule_id IS NOT NULL OR fee_maximum IS NULL)",
            name="fee_of_its_schedule",
        ),
        ForeignKeyConstraint(
            ["user_id", "fee_schedule_id"],
            ["fee_schedules.user_id", "fee_schedules.id"],
            ondelete="RESTRICT",
        ),
        ForeignKeyConstraint(
            ["user_id", "late_for"],
            ["transactions.user_id", "transactions.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint(
            "late_for IS NULL OR (status = 'confirmed' AND late_for <> id)", name="late_is_paid"
        ),
        CheckConstraint("NOT unique_reference OR reference IS NOT NULL", name="unique_needs_one"),
        CheckConstraint("expires_at > created_at", name="expires_after_creation"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished_when_ended"),
        CheckConstraint(
            "CASE status WHEN 'expired' THEN finished_at = expires_at"
            " ELSE finished_at IS NULL OR finished_at < expires_at END",
            name="finished_in_time",
        ),
        CheckConstraint("char_length(reference) BETWEEN 1 AND 128", name="reference_length"),
        CheckConstraint("char_length(description) <= 500", name="description_length"),
        CheckConstraint("char_length(reason) <= 500", name="reason_length"),
        CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_is_object"),
        Index(
            "ix_transactions_user_newest",
            "user_id",
            text("created_at DESC"),
            text("id DESC"),
        ),
        Index(
            "ix_transactions_pending_expires_at",
            "expires_at",
            postgresql_where=text("status = 'pending'"),
        ),
        # By bytes whatever the database's collation, so that it serves prefixes too.
        Index(
            "ix_transactions_reference",
            "user_id",
            "reference",
            postgresql_ops={"reference": "text_pattern_ops"},
            postgresql_where=text("reference IS NOT NULL"),
        ),
        Index(
            "uq_transactions_reference",
            "user_id",
            "reference",
            unique=True,
            postgresql_where=text("unique_reference"),
        ),
        Index(
            "uq_transactions_late_for",
            "user_id",
            "late_for",
            unique=True,
            postgresql_where=text("late_for IS NOT NULL"),
        ),
        # Only those that carry any metadata pay for the index over it.
        Index(
            "ix_transactions_metadata",
            "metadata",
            postgresql_using="gin",
            postgresql_where=text("metadata <> '{}'::jsonb"),
        ),
        # The list of all merchants, and what was created or has ended since the sums' mark.
        Index("ix_transactions_newest", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_transactions_ended",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        # What costs so much, whosever it is, and what is rare in a currency. Amounts come in no
        # order, so an entry is dear: each payment gets one at its end, and none at its creation.
        Index(
            "ix_transactions_amount",
            "currency",
            "amount",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        # Few end so, and only they pay: without it a rare one is sought among all.
        Index(
            "ix_transactions_unpaid",
            "user_id",
            "status",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=text("status = 'canceled' OR status = 'expired'"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    id: Mapped[UUID] = mapped_column()
    amount: Mapped[int] = mapped_column(BigInteger)
    commission: Mapped[int] = mapped_column(BigInteger)
    net: Mapped[int] = mapped_column(BigInteger, Computed("amount - commission", persisted=True))
    commission_rate: Mapped[Decimal] = mapped_column(Numeric(7, 6))
    # The fee schedule that was in force, with its terms; all null by the plain rate.
    fee_schedule_id: Mapped[UUID | None] = mapped_column()
    fee_fixed: Mapped[int | None] = mapped_column(BigInteger)
    fee_minimum: Mapped[int | None] = mapped_column(BigInteger)
    fee_maximum: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    status: Mapped[TransactionStatus] = mapped_column(
        text_enum(TransactionStatus, "status"),
        server_default=TransactionStatus.PENDING.value,
    )
    reference: Mapped[str | None] = mapped_column(Text)
    # The merchant's setting at creation: this reference names no other transaction.
    unique_reference: Mapped[bool] = mapped_column(server_default=text("false"))
    description: Mapped[str | None] = mapped_column(Text)
    # ``metadata`` is taken by SQLAlchemy on declarative classes.
    details: Mapped[dict[str, str]] = mapped_column(
        "metadata", JSONB, server_default=text("'{}'::jsonb")
    )
    reason: Mapped[str | None] = mapped_column(Text)
    # The canceled or expired transaction whose money came after all.
    late_for: Mapped[UUID | None] = mapped_column()
    created_at: Mapped[datetime] = written_at()
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship(viewonly=True)


class Refund(Base):
    """Money given back to the payer; written once, with its journal.

    ``amount`` left the merchant's side, ``commission_returned`` of it came out of our
    commission; both in minor units.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint(f"amount BETWEEN 1 AND {MAX_AMOUNT}", name="amount_range"),
        CheckConstraint(CURRENCY_CODE, name="currency_code"),
        CheckConstraint("commission_returned BETWEEN 0 AND amount", name="commission_range"),
        CheckConstraint(
            "refund_commission OR commission_returned = 0", name="commission_when_wanted"
        ),
        CheckConstraint("char_length(reason) <= 500", name="reason_length"),
        Index("ix_refunds_transaction", "user_id", "transaction_id"),
        Index("ix_refunds_user_newest", "user_id", text("created_at DESC"), text("id DESC")),
        Index("ix_refunds_newest", text("created_at DESC"), text("id DESC")),
        Index("ix_refunds_currency", "currency", text("created_at DESC"), text("id DESC")),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    transaction_id: Mapped[UUID] = mapped_column()
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    refund_commission: Mapped[bool] = mapped_column()
    commission_returned: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = written_at()


class RefundTotal(Base):
    """How much of a transaction was given back: the row that decides between racing refunds."""

    __tablename__ = "refund_totals"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "transaction_id"),
        ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint("refunded BETWEEN 1 AND amount", name="refunded_range"),
    )

    user_id: Mapped[UUID] = mapped_column()
    transaction_id: Mapped[UUID] = mapped_column()
    amount: Mapped[int] = mapped_column(BigInteger)
    refunded: Mapped[int] = mapped_column(BigInteger)


class Note(Base):
    """What somebody wrote down about a transaction; ``internal`` ones are for admins only."""

    __tablename__ = "notes"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint("char_length(body) BETWEEN 1 AND 2000", name="body_length"),
        Index("ix_notes_transaction", "user_id", "transaction_id", "created_at"),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    transaction_id: Mapped[UUID] = mapped_column()
    author_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    author_name: Mapped[str] = mapped_column(Text)
    internal: Mapped[bool] = mapped_column(server_default=text("false"))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = written_at()
