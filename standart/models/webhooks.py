"""Events, the outbox of all changes, and their way to the receivers."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import Base, UtcDateTime, text_enum
from standart.models.columns import written_at
from standart.models.kinds import DeliveryState


class Event(Base):
    """What happened, with the body that webhooks carry; written once, never changed."""

    __tablename__ = "events"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        UniqueConstraint("user_id", "transaction_id", "type"),
        CheckConstraint(
            "num_nonnulls(transaction_id, refund_id, payout_id, adjustment_id) = 1",
            name="about_one_object",
        ),
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
        Index(
            "uq_events_refund",
            "user_id",
            "refund_id",
            "type",
            unique=True,
            postgresql_where=text("refund_id IS NOT NULL"),
        ),
        Index(
            "uq_events_payout",
            "user_id",
            "payout_id",
            "type",
            unique=True,
            postgresql_where=text("payout_id IS NOT NULL"),
        ),
        Index(
            "uq_events_adjustment",
            "user_id",
            "adjustment_id",
            "type",
            unique=True,
            postgresql_where=text("adjustment_id IS NOT NULL"),
        ),
        Index("ix_events_user_newest", "user_id", text("created_at DESC"), text("id DESC")),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    # What it happened to: exactly one of these.
    transaction_id: Mapped[UUID | None] = mapped_column()
    refund_id: Mapped[UUID | None] = mapped_column()
    payout_id: Mapped[UUID | None] = mapped_column()
    adjustment_id: Mapped[UUID | None] = mapped_column()
    type: Mapped[str] = mapped_column(Text)
    # Text, not jsonb: the same bytes are signed and sent at every try.
    payload: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = written_at()


class Delivery(Base):
    """The way of one event to one receiver; due times and leases live here, not in Redis."""

    __tablename__ = "deliveries"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("user_id", "event_id"),
        ForeignKeyConstraint(
            ["user_id", "event_id"],
            ["events.user_id", "events.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint("attempt_count >= 0", name="attempt_count_not_negative"),
        CheckConstraint(
            "(state = 'waiting') = (next_attempt_at IS NOT NULL)",
            name="due_while_waiting",
        ),
        Index(
            "ix_deliveries_due",
            "next_attempt_at",
            postgresql_where=text("state = 'waiting'"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    event_id: Mapped[UUID] = mapped_column()
    state: Mapped[DeliveryState] = mapped_column(
        text_enum(DeliveryState, "state"), server_default=DeliveryState.WAITING.value
    )
    attempt_count: Mapped[int] = mapped_column(server_default=text("0"))
    # How many attempts came before the retry schedule began anew by a replay.
    schedule_start: Mapped[int] = mapped_column(server_default=text("0"))
    # While a worker holds the lease this is the moment it ends.
    next_attempt_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, server_default=func.clock_timestamp()
    )
    lease: Mapped[UUID | None] = mapped_column()
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = written_at()


class Attempt(Base):
    """One try to deliver: when, how long, what came back (at most 4 KiB of it)."""

    __tablename__ = "attempts"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "delivery_id", "number"),
        ForeignKeyConstraint(
            ["user_id", "delivery_id"],
            ["deliveries.user_id", "deliveries.id"],
            ondelete="RESTRICT",
        ),
    )

    user_id: Mapped[UUID] = mapped_column()
    delivery_id: Mapped[UUID] = mapped_column()
    number: Mapped[int] = mapped_column()
    url: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    excerpt: Mapped[str] = mapped_column(Text)
    error: Mapped[str] = mapped_column(Text)
    duration_ms: Mapped[int] = mapped_column()
    created_at: Mapped[datetime] = written_at()
