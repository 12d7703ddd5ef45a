"""Ways to what costs so much, and to the few payouts and refunds that are looked for.

Whoever looked for an amount that is rare, for a reference that no payout has, for a state or a
currency of few, had all of the history read. Payouts and refunds are few beside payments, so
their indexes cost little; that of amounts gets an entry when a payment ends.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NEWEST = [sa.text("created_at DESC"), sa.text("id DESC")]


def upgrade() -> None:
    op.create_index(
        "ix_transactions_amount",
        "transactions",
        ["currency", "amount"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("ix_payouts_status", "payouts", ["status", *NEWEST])
    op.create_index("ix_payouts_currency", "payouts", ["currency", *NEWEST])
    op.create_index(
        "ix_payouts_reference",
        "payouts",
        ["reference", *NEWEST],
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.create_index("ix_refunds_currency", "refunds", ["currency", *NEWEST])


def downgrade() -> None:
    op.drop_index("ix_refunds_currency", table_name="refunds")
    for index in ("reference", "currency", "status"):
        op.drop_index(f"ix_payouts_{index}", table_name="payouts")
    op.drop_index("ix_transactions_amount", table_name="transactions")
