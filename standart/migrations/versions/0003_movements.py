"""Tables of what moves money beside payments: refunds, payouts, adjustments, and their rules.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "adjustments",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "adjustment",
                "opening_balance",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "posted",
                "canceled",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="pending",
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'pending') = (finished_at IS NULL)",
            name=op.f("ck_adjustments_finished_when_ended"),
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3,5}$'", name=op.f("ck_adjustments_currency_code")),
        sa.CheckConstraint(
            "kind = 'adjustment' OR amount > 0", name=op.f("ck_adjustments_opening_not_negative")
        ),
        sa.CheckConstraint(
            "amount BETWEEN -1000000000000000 AND 1000000000000000 AND amount <> 0",
            name=op.f("ck_adjustments_amount_range"),
        ),
        sa.CheckConstraint(
            "char_length(reason) BETWEEN 1 AND 500", name=op.f("ck_adjustments_reason_length")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_adjustments_users"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_adjustments")),
        sa.UniqueConstraint("id", name=op.f("uq_adjustments_id")),
    )
    op.create_index(
        "ix_adjustments_user_newest",
        "adjustments",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "uq_adjustments_opening",
        "adjustments",
        ["user_id", "currency"],
        unique=True,
        postgresql_where=sa.text("kind = 'opening_balance'"),
    )
    op.create_index(
        "ix_adjustments_newest",
        "adjustments",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "approvals",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "object_type",
            sa.Enum(
                "transaction",
                "late_payment",
                "payout",
                "adjustment",
                name="object_type",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("approver_id", sa.Uuid(), nullable=False),
        sa.Column("hands", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("act_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "approver_id = ANY (hands)", name=op.f("ck_approvals_approver_has_a_hand")
        ),
        sa.ForeignKeyConstraint(
            ["approver_id"], ["users.id"], name="fk_approvals_approvers", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_approvals_users"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "object_type", "object_id", "approver_id", name=op.f("pk_approvals")
        ),
    )
    op.create_table(
        "fee_schedules",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("rate", sa.Numeric(precision=7, scale=6), nullable=True),
        sa.Column("fixed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("minimum", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("maximum", sa.BigInteger(), nullable=True),
        sa.Column(
            "starts_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "currency ~ '^[A-Z]{3,5}$'", name=op.f("ck_fee_schedules_currency_code")
        ),
        sa.CheckConstraint(
            "fixed BETWEEN 0 AND 1000000000000000", name=op.f("ck_fee_schedules_fixed_range")
        ),
        sa.CheckConstraint(
            "maximum BETWEEN minimum AND 1000000000000000",
            name=op.f("ck_fee_schedules_maximum_range"),
        ),
        sa.CheckConstraint(
            "minimum BETWEEN 0 AND 1000000000000000", name=op.f("ck_fee_schedules_minimum_range")
        ),
        sa.CheckConstraint("rate BETWEEN 0 AND 1", name=op.f("ck_fee_schedules_rate_range")),
        sa.CheckConstraint(
            "rate IS NOT NULL OR (fixed = 0 AND minimum = 0 AND maximum IS NULL)",
            name=op.f("ck_fee_schedules_plain_is_plain"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_fee_schedules_users"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_fee_schedules")),
        sa.UniqueConstraint(
            "user_id",
            "currency",
            "starts_at",
            "created_at",
            name=op.f("uq_fee_schedules_user_id_currency_starts_at_created_at"),
        ),
    )
    op.create_table(
        "limits",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "transaction_amount",
                "daily_amount",
                "daily_count",
                "pending_count",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "CASE WHEN kind IN ('transaction_amount', 'daily_amount')"
            " THEN currency ~ '^[A-Z]{3,5}$' ELSE currency = '*' END",
            name=op.f("ck_limits_currency_of_amounts"),
        ),
        sa.CheckConstraint("value >= 0", name=op.f("ck_limits_value_not_negative")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_limits_users"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("user_id", "kind", "currency", name=op.f("pk_limits")),
    )
    op.create_table(
        "limit_sums",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.DateTime(timezone=True), nullable=False),
        sa.Column("upto", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("amounts", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_limit_sums_users"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_limit_sums")),
    )
    op.create_table(
        "payouts",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "approved",
                "paid",
                "failed",
                "rejected",
                "canceled",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("destination", sa.LargeBinary(), nullable=True),
        sa.Column(
            "destination_shown",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(approved_at IS NOT NULL) = (status IN ('approved', 'paid', 'failed'))",
            name=op.f("ck_payouts_approved_before_paid"),
        ),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (status IN ('pending', 'approved'))",
            name=op.f("ck_payouts_finished_when_ended"),
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3,5}$'", name=op.f("ck_payouts_currency_code")),
        sa.CheckConstraint(
            "(destination IS NULL) = (destination_shown IS NULL)",
            name=op.f("ck_payouts_destination_shown_masked"),
        ),
        sa.CheckConstraint(
            "amount BETWEEN 1 AND 1000000000000000", name=op.f("ck_payouts_amount_range")
        ),
        sa.CheckConstraint("char_length(reason) <= 500", name=op.f("ck_payouts_reason_length")),
        sa.CheckConstraint(
            "char_length(reference) BETWEEN 1 AND 128", name=op.f("ck_payouts_reference_length")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_payouts_users"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_payouts")),
        sa.UniqueConstraint("id", name=op.f("uq_payouts_id")),
    )
    op.create_index(
        "ix_payouts_open",
        "payouts",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'approved')"),
    )
    op.create_index(
        "ix_payouts_user_newest",
        "payouts",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_payouts_newest",
        "payouts",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "notes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("internal", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "char_length(body) BETWEEN 1 AND 2000", name=op.f("ck_notes_body_length")
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["users.id"], name=op.f("fk_notes_users"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            name=op.f("fk_notes_transactions"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_notes")),
        sa.UniqueConstraint("id", name=op.f("uq_notes_id")),
    )
    op.create_index(
        "ix_notes_transaction", "notes", ["user_id", "transaction_id", "created_at"], unique=False
    )
    op.create_table(
        "refund_totals",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "refunded BETWEEN 1 AND amount", name=op.f("ck_refund_totals_refunded_range")
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            name=op.f("fk_refund_totals_transactions"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "transaction_id", name=op.f("pk_refund_totals")),
    )
    op.create_table(
        "refunds",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("refund_commission", sa.Boolean(), nullable=False),
        sa.Column("commission_returned", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3,5}$'", name=op.f("ck_refunds_currency_code")),
        sa.CheckConstraint(
            "amount BETWEEN 1 AND 1000000000000000", name=op.f("ck_refunds_amount_range")
        ),
        sa.CheckConstraint("char_length(reason) <= 500", name=op.f("ck_refunds_reason_length")),
        sa.CheckConstraint(
            "commission_returned BETWEEN 0 AND amount", name=op.f("ck_refunds_commission_range")
        ),
        sa.CheckConstraint(
            "refund_commission OR commission_returned = 0",
            name=op.f("ck_refunds_commission_when_wanted"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            name=op.f("fk_refunds_transactions"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("id", name=op.f("uq_refunds_id")),
    )
    op.create_index(
        "ix_refunds_transaction", "refunds", ["user_id", "transaction_id"], unique=False
    )
    op.create_index(
        "ix_refunds_user_newest",
        "refunds",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_refunds_newest",
        "refunds",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )


def downgrade() -> None:
    op.drop_table("notes")
    op.drop_table("refund_totals")
    op.drop_table("refunds")
    op.drop_table("payouts")
    op.drop_table("limit_sums")
    op.drop_table("limits")
    op.drop_table("fee_schedules")
    op.drop_table("approvals")
    op.drop_table("adjustments")
