"""The ledger: journals and their entries, append-only, and the balances they sum up to."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import Base, text_enum
from standart.models.columns import written_at
from standart.models.kinds import AccountKind, JournalKind

GUARDED = "('available', 'pending_payout')"
"""SQL: the kinds of accounts that never fall below zero."""


class Account(Base):
    """The folded part of a balance in minor units; what is not folded yet are the deltas."""

    __tablename__ = "accounts"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "currency", "kind"),
        CheckConstraint(f"kind NOT IN {GUARDED} OR balance >= 0", name="guarded_not_negative"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    currency: Mapped[str] = mapped_column(Text)
    kind: Mapped[AccountKind] = mapped_column(text_enum(AccountKind, "kind"))
    balance: Mapped[int] = mapped_column(BigInteger)


class BalanceDelta(Base):
    """What one entry adds to an account's balance until a sweep folds it in.

    Credits of one merchant would queue on a single balance row; inserts do not. What must
    not fall below zero is debited on the account's row itself, so its deltas only add.
    """

    __tablename__ = "balance_deltas"
    __table_args__ = (
        PrimaryKeyConstraint("id"),
        CheckConstraint(f"kind NOT IN {GUARDED} OR amount > 0", name="guarded_only_add"),
        Index("ix_balance_deltas_account", "user_id", "currency", "kind"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    user_id: Mapped[UUID] = mapped_column()
    currency: Mapped[str] = mapped_column(Text)
    kind: Mapped[AccountKind] = mapped_column(text_enum(AccountKind, "kind"))
    amount: Mapped[int] = mapped_column(BigInteger)


class AccountBalance(Base):
    """The view ``account_balances``: folded part and deltas, exact in every snapshot."""

    __tablename__ = "account_balances"
    __table_args__ = {"info": {"is_view": True}}

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger)


class Journal(Base):
    """One movement of money: its entries sum to zero in each currency."""

    __tablename__ = "journals"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            ondelete="RESTRICT",
        ),
        ForeignKeyConstraint(
            ["user_id", "refund_id"], ["refunds.user_id", "refunds.id"], ondelete="RESTRICT"
        ),
        ForeignKeyConstraint(
            ["user_id", "payout_id"], ["payouts.user_id", "payouts.id"], ondelete="RESTRICT"
        ),
        ForeignKeyConstraint(
            ["user_id", "adjustment_id"],
            ["adjustments.user_id", "adjustments.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint(
            "num_nonnulls(transaction_id, refund_id, payout_id, adjustment_id) = 1"
            " AND CASE kind WHEN 'settlement' THEN transaction_id WHEN 'refund' THEN refund_id"
            " WHEN 'adjustment' THEN adjustment_id WHEN 'opening_balance' THEN adjustment_id"
            " ELSE payout_id END IS NOT NULL",
            name="has_its_source",
        ),
        CheckConstraint("entry_count >= 2", name="entry_count_balances"),
        Index(
            "uq_journals_settlement",
            "user_id",
            "transaction_id",
            unique=True,
            postgresql_where=text("kind = 'settlement'"),
        ),
        Index(
            "uq_journals_refund",
            "user_id",
            "refund_id",
            unique=True,
            postgresql_where=text("refund_id IS NOT NULL"),
        ),
        Index(
            "uq_journals_payout",
            "user_id",
            "payout_id",
            "kind",
            unique=True,
            postgresql_where=text("payout_id IS NOT NULL"),
        ),
        Index(
            "uq_journals_adjustment",
            "user_id",
            "adjustment_id",
            unique=True,
            postgresql_where=text("adjustment_id IS NOT NULL"),
        ),
        # A statement goes along it; the chain and the closes go by time alone.
        Index("ix_journals_user_created", "user_id", "created_at", "id"),
        Index("ix_journals_created_at", "created_at", postgresql_using="brin"),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    kind: Mapped[JournalKind] = mapped_column(text_enum(JournalKind, "kind"))
    transaction_id: Mapped[UUID | None] = mapped_column()
    refund_id: Mapped[UUID | None] = mapped_column()
    payout_id: Mapped[UUID | None] = mapped_column()
    adjustment_id: Mapped[UUID | None] = mapped_column()
    # A journal is written whole: no line can be slipped in later, balanced or not.
    entry_count: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime] = written_at()


class Entry(Base):
    """One line of a journal: credit positive, debit negative, in minor units."""

    __tablename__ = "entries"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "journal_id", "line"),
        ForeignKeyConstraint(
            ["user_id", "journal_id"],
            ["journals.user_id", "journals.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint("amount <> 0", name="amount_not_zero"),
        CheckConstraint("line > 0", name="line_positive"),
    )

    user_id: Mapped[UUID] = mapped_column()
    journal_id: Mapped[UUID] = mapped_column()
    line: Mapped[int] = mapped_column(SmallInteger)
    currency: Mapped[str] = mapped_column(Text)
    kind: Mapped[AccountKind] = mapped_column(text_enum(AccountKind, "kind"))
    amount: Mapped[int] = mapped_column(BigInteger)
