"""Sums of transactions by hour, and the ways to the newest ones.

Two small indexes over ranges of pages give way to ordered ones. Every ending leaves a free
place that a later row takes, so the ranges come to hold rows of many days, and the list of all
merchants had no order to follow at all.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SERIES = "series IN ('created', 'confirmed', 'canceled', 'expired')"

# Those of one statement each, so that nothing about them can be half counted.
SUMS = ("hourly_sums", "merchant_hourly_sums", "merchant_sums")


def _sums(name: str, *, merchant: bool, hour: bool) -> None:
    key = [*(["user_id"] if merchant else []), *(["hour"] if hour else []), "currency", "series"]
    columns: list[sa.Column[Any]] = []
    if merchant:
        columns.append(sa.Column("user_id", sa.Uuid(), nullable=False))
    columns += [
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
    ]
    if hour:
        columns.append(sa.Column("hour", sa.DateTime(timezone=True), nullable=False))
    constraints: list[sa.Constraint] = [
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")),
        sa.CheckConstraint(SERIES, name=op.f(f"ck_{name}_series_known")),
        sa.CheckConstraint("count > 0", name=op.f(f"ck_{name}_count_positive")),
    ]
    if merchant:
        constraints.append(
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], name=op.f(f"fk_{name}_users"), ondelete="RESTRICT"
            )
        )
    op.create_table(
        name,
        *columns,
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.Numeric(38, 0), nullable=False),
        sa.Column("commission", sa.Numeric(38, 0), nullable=False),
        *constraints,
    )
    # The same rows change at every step: room for their new versions on the same page.
    op.execute(f"ALTER TABLE {name} SET (fillfactor = 70)")


def upgrade() -> None:
    op.create_index(
        "ix_transactions_newest",
        "transactions",
        [sa.text("created_at DESC"), sa.text("id DESC")],
    )
    op.create_index(
        "ix_transactions_ended",
        "transactions",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_transactions_unpaid",
        "transactions",
        ["user_id", "status", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("status = 'canceled' OR status = 'expired'"),
    )
    op.drop_index("ix_transactions_created_at", table_name="transactions")
    op.drop_index("ix_transactions_finished_at", table_name="transactions")
    _sums("hourly_sums", merchant=False, hour=True)
    _sums("merchant_hourly_sums", merchant=True, hour=True)
    _sums("merchant_sums", merchant=True, hour=False)
    op.create_table(
        "sums_mark",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("upto", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_sums_mark")),
        sa.CheckConstraint("single", name=op.f("ck_sums_mark_one_row")),
    )
    op.execute("INSERT INTO sums_mark (upto) VALUES ('2000-01-01T00:00:00Z')")


def downgrade() -> None:
    for table in ("sums_mark", *reversed(SUMS)):
        op.drop_table(table)
    op.create_index(
        "ix_transactions_created_at", "transactions", ["created_at"], postgresql_using="brin"
    )
    op.create_index(
        "ix_transactions_finished_at", "transactions", ["finished_at"], postgresql_using="brin"
    )
    for index in ("unpaid", "ended", "newest"):
        op.drop_index(f"ix_transactions_{index}", table_name="transactions")
