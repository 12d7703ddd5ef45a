"""Money that moves without a payment: payouts, adjustments, and who agreed to them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import Base, UtcDateTime, text_enum
from standart.models.columns import CURRENCY_CODE, written_at
from standart.models.kinds import MAX_AMOUNT, AdjustmentKind, ApprovalOf
from standart.states import AdjustmentStatus, PayoutStatus


class Payout(Base):
    """Money on its way to the merchant: reserved at once, paid or given back in the end."""

    __tablename__ = "payouts"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        CheckConstraint(f"amount BETWEEN 1 AND {MAX_AMOUNT}", name="amount_range"),
        CheckConstraint(CURRENCY_CODE, name="currency_code"),
        CheckConstraint(
            "(destination IS NULL) = (destination_shown IS NULL)", name="destination_shown_masked"
        ),
        CheckConstraint(
            "(finished_at IS NULL) = (status IN ('pending', 'approved'))",
            name="finished_when_ended",
        ),
        CheckConstraint(
            "(approved_at IS NOT NULL) = (status IN ('approved', 'paid', 'failed'))",
            name="approved_before_paid",
        ),
        CheckConstraint("char_length(reference) BETWEEN 1 AND 128", name="reference_length"),
        CheckConstraint("char_length(reason) <= 500", name="reason_length"),
        Index("ix_payouts_user_newest", "user_id", text("created_at DESC"), text("id DESC")),
        Index("ix_payouts_newest", text("created_at DESC"), text("id DESC")),
        Index("ix_payouts_status", "status", text("created_at DESC"), text("id DESC")),
        Index("ix_payouts_currency", "currency", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_payouts_reference",
            "reference",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=text("reference IS NOT NULL"),
        ),
        Index(
            "ix_payouts_open",
            "created_at",
            postgresql_where=text("status IN ('pending', 'approved')"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    id: Mapped[UUID] = mapped_column()
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    status: Mapped[PayoutStatus] = mapped_column(
        text_enum(PayoutStatus, "status"), server_default=PayoutStatus.PENDING.value
    )
    # Encrypted JSON of the fields; beside it the same fields masked, for all who read.
    destination: Mapped[bytes | None] = mapped_column(LargeBinary)
    destination_shown: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    reference: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = written_at()
    approved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Adjustment(Base):
    """A correction of what is available, or an opening balance: minor units with a sign."""

    __tablename__ = "adjustments"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        CheckConstraint(
            f"amount BETWEEN -{MAX_AMOUNT} AND {MAX_AMOUNT} AND amount <> 0", name="amount_range"
        ),
        CheckConstraint("kind = 'adjustment' OR amount > 0", name="opening_not_negative"),
        CheckConstraint(CURRENCY_CODE, name="currency_code"),
        CheckConstraint("char_length(reason) BETWEEN 1 AND 500", name="reason_length"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished_when_ended"),
        Index("ix_adjustments_user_newest", "user_id", text("created_at DESC"), text("id DESC")),
        Index("ix_adjustments_newest", text("created_at DESC"), text("id DESC")),
        Index(
            "uq_adjustments_opening",
            "user_id",
            "currency",
            unique=True,
            postgresql_where=text("kind = 'opening_balance'"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    id: Mapped[UUID] = mapped_column()
    kind: Mapped[AdjustmentKind] = mapped_column(text_enum(AdjustmentKind, "kind"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    status: Mapped[AdjustmentStatus] = mapped_column(
        text_enum(AdjustmentStatus, "status"), server_default=AdjustmentStatus.PENDING.value
    )
    created_at: Mapped[datetime] = written_at()
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Approval(Base):
    """One person's consent to a movement of money; two are needed above the four-eyes sum.

    ``hands`` are all who may have given it: the approver, and whoever made the key or the
    password by which it was given. No two consents to one movement have a hand in common.
    """

    __tablename__ = "approvals"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "object_type", "object_id", "approver_id"),
        CheckConstraint("approver_id = ANY (hands)", name="approver_has_a_hand"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    object_type: Mapped[ApprovalOf] = mapped_column(text_enum(ApprovalOf, "object_type"))
    object_id: Mapped[UUID] = mapped_column()
    approver_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", name="fk_approvals_approvers", ondelete="RESTRICT")
    )
    hands: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    # Drawn by the service for each request: by it a second run knows what the first one kept.
    act_id: Mapped[UUID] = mapped_column()
    created_at: Mapped[datetime] = written_at()
