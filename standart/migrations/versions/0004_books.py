"""Room for them in the tables that were there: kinds, sources, fees, scopes.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

GUARDED = "('available', 'pending_payout')"
OLD_ACCOUNTS = "kind IN ('available', 'clearing', 'commission')"
ACCOUNTS = "kind IN ('available', 'pending_payout', 'clearing', 'commission', 'adjustment')"
SOURCE = (
    "num_nonnulls(transaction_id, refund_id, payout_id, adjustment_id) = 1"
    " AND CASE kind WHEN 'settlement' THEN transaction_id WHEN 'refund' THEN refund_id"
    " WHEN 'adjustment' THEN adjustment_id WHEN 'opening_balance' THEN adjustment_id"
    " ELSE payout_id END IS NOT NULL"
)
COMMISSION = (
    "commission = least(amount, greatest(coalesce(fee_minimum, 0),"
    " least(coalesce(fee_maximum, amount),"
    " round(amount * commission_rate) + coalesce(fee_fixed, 0))))"
)
FEE = (
    "(fee_schedule_id IS NULL) = (fee_fixed IS NULL)"
    " AND (fee_schedule_id IS NULL) = (fee_minimum IS NULL)"
    " AND (fee_schedule_id IS NOT NULL OR fee_maximum IS NULL)"
)
JOURNALS = (
    "kind IN ('settlement', 'refund', 'payout_reserved', 'payout_returned', 'payout_paid',"
    " 'adjustment', 'opening_balance')"
)
SCOPES = "scopes <@ ARRAY[%s] AND cardinality(scopes) > 0"

# (table, name, rule before, rule from now on); None where there is no such rule.
CHECKS: tuple[tuple[str, str, str | None, str | None], ...] = (
    ("accounts", "kind", OLD_ACCOUNTS, ACCOUNTS),
    ("balance_deltas", "kind", OLD_ACCOUNTS, ACCOUNTS),
    ("entries", "kind", OLD_ACCOUNTS, ACCOUNTS),
    ("accounts", "guarded_not_negative", None, f"kind NOT IN {GUARDED} OR balance >= 0"),
    ("balance_deltas", "guarded_only_add", None, f"kind NOT IN {GUARDED} OR amount > 0"),
    ("journals", "kind", "kind IN ('settlement')", JOURNALS),
    (
        "journals",
        "settles_a_transaction",
        "(kind = 'settlement') = (transaction_id IS NOT NULL)",
        None,
    ),
    ("journals", "has_its_source", None, SOURCE),
    (
        "events",
        "about_one_object",
        None,
        "num_nonnulls(transaction_id, refund_id, payout_id, adjustment_id) = 1",
    ),
    (
        "transactions",
        "commission_rule",
        "commission = least(amount, round(amount * commission_rate))",
        COMMISSION,
    ),
    ("transactions", "fee_of_its_schedule", None, FEE),
    (
        "transactions",
        "late_is_paid",
        None,
        "late_for IS NULL OR (status = 'confirmed' AND late_for <> id)",
    ),
    ("transactions", "unique_needs_one", None, "NOT unique_reference OR reference IS NOT NULL"),
    (
        "api_keys",
        "scopes_known",
        SCOPES % "'read', 'write', 'confirm'",
        SCOPES % "'read', 'write', 'confirm', 'refund', 'payout'",
    ),
)


# Keys and passwords are people's; who made them for whom decides whose consent may count.
MADE_BY = (("users", "password_made_by"), ("api_keys", "made_by"), ("panel_sessions", "made_by"))

# What is there already was made by whom the audit log names, and by whoever may have acted in
# that one's name by the present passwords. Nobody made what came from the command line.
FILL_MADE_BY = """
WITH RECURSIVE
passwords AS (
    SELECT DISTINCT ON (object_id) object_id::uuid AS user_id, actor_id AS maker
    FROM audit_log
    WHERE object_type = 'user' AND (action = 'user.created'
        OR action = 'user.updated' AND after ->> 'password_changed' = 'true')
    ORDER BY object_id, id DESC
),
makers AS (
    SELECT user_id, maker FROM passwords WHERE maker IS NOT NULL
    UNION
    SELECT m.user_id, p.maker FROM makers m JOIN passwords p ON p.user_id = m.maker
    WHERE p.maker IS NOT NULL
),
filled AS (
    UPDATE users u SET password_made_by = m.made_by
    FROM (SELECT user_id, array_agg(maker ORDER BY maker) AS made_by FROM makers GROUP BY 1) AS m
    WHERE m.user_id = u.id
),
sessions AS (
    UPDATE panel_sessions s SET made_by = m.made_by
    FROM (SELECT user_id, array_agg(maker ORDER BY maker) AS made_by FROM makers GROUP BY 1) AS m
    WHERE m.user_id = s.user_id
)
UPDATE api_keys k SET made_by = ARRAY(
    SELECT a.actor_id UNION SELECT m.maker FROM makers m WHERE m.user_id = a.actor_id ORDER BY 1)
FROM audit_log a
WHERE a.action = 'api_key.created' AND a.actor_id IS NOT NULL AND a.object_type = 'user'
  AND a.object_id = k.user_id::text AND a.after ->> 'prefix' = k.prefix
"""


def replace_checks(old: int, new: int) -> None:
    for table, name, *rules in CHECKS:
        if rules[old] is not None:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
        rule = rules[new]
        if rule is not None:
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, rule)


def upgrade() -> None:
    op.add_column("events", sa.Column("refund_id", sa.Uuid(), nullable=True))
    op.add_column("events", sa.Column("payout_id", sa.Uuid(), nullable=True))
    op.add_column("events", sa.Column("adjustment_id", sa.Uuid(), nullable=True))
    op.alter_column("events", "transaction_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(
        "uq_events_adjustment",
        "events",
        ["user_id", "adjustment_id", "type"],
        unique=True,
        postgresql_where=sa.text("adjustment_id IS NOT NULL"),
    )
    op.create_index(
        "uq_events_payout",
        "events",
        ["user_id", "payout_id", "type"],
        unique=True,
        postgresql_where=sa.text("payout_id IS NOT NULL"),
    )
    op.create_index(
        "uq_events_refund",
        "events",
        ["user_id", "refund_id", "type"],
        unique=True,
        postgresql_where=sa.text("refund_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_events_payouts"),
        "events",
        "payouts",
        ["user_id", "payout_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.create_foreign_key(
        op.f("fk_events_adjustments"),
        "events",
        "adjustments",
        ["user_id", "adjustment_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.create_foreign_key(
        op.f("fk_events_refunds"),
        "events",
        "refunds",
        ["user_id", "refund_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.add_column("journals", sa.Column("refund_id", sa.Uuid(), nullable=True))
    op.add_column("journals", sa.Column("payout_id", sa.Uuid(), nullable=True))
    op.add_column("journals", sa.Column("adjustment_id", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_journals_created_at", "journals", ["created_at"], unique=False, postgresql_using="brin"
    )
    op.create_index(
        "uq_journals_adjustment",
        "journals",
        ["user_id", "adjustment_id"],
        unique=True,
        postgresql_where=sa.text("adjustment_id IS NOT NULL"),
    )
    op.create_index(
        "uq_journals_payout",
        "journals",
        ["user_id", "payout_id", "kind"],
        unique=True,
        postgresql_where=sa.text("payout_id IS NOT NULL"),
    )
    op.create_index(
        "uq_journals_refund",
        "journals",
        ["user_id", "refund_id"],
        unique=True,
        postgresql_where=sa.text("refund_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_journals_refunds"),
        "journals",
        "refunds",
        ["user_id", "refund_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.create_foreign_key(
        op.f("fk_journals_adjustments"),
        "journals",
        "adjustments",
        ["user_id", "adjustment_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.create_foreign_key(
        op.f("fk_journals_payouts"),
        "journals",
        "payouts",
        ["user_id", "payout_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.add_column("transactions", sa.Column("fee_schedule_id", sa.Uuid(), nullable=True))
    op.add_column("transactions", sa.Column("fee_fixed", sa.BigInteger(), nullable=True))
    op.add_column("transactions", sa.Column("fee_minimum", sa.BigInteger(), nullable=True))
    op.add_column("transactions", sa.Column("fee_maximum", sa.BigInteger(), nullable=True))
    op.add_column(
        "transactions",
        sa.Column(
            "unique_reference", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
    )
    op.add_column("transactions", sa.Column("late_for", sa.Uuid(), nullable=True))
    op.drop_index("ix_transactions_reference", table_name="transactions")
    op.create_index(
        "ix_transactions_reference",
        "transactions",
        ["user_id", "reference"],
        unique=False,
        postgresql_ops={"reference": "text_pattern_ops"},
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.create_index(
        "ix_transactions_metadata",
        "transactions",
        ["metadata"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("metadata <> '{}'::jsonb"),
    )
    op.create_index(
        "uq_transactions_late_for",
        "transactions",
        ["user_id", "late_for"],
        unique=True,
        postgresql_where=sa.text("late_for IS NOT NULL"),
    )
    op.create_index(
        "uq_transactions_reference",
        "transactions",
        ["user_id", "reference"],
        unique=True,
        postgresql_where=sa.text("unique_reference"),
    )
    op.create_foreign_key(
        op.f("fk_transactions_fee_schedules"),
        "transactions",
        "fee_schedules",
        ["user_id", "fee_schedule_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.create_foreign_key(
        op.f("fk_transactions_transactions"),
        "transactions",
        "transactions",
        ["user_id", "late_for"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.add_column(
        "users",
        sa.Column(
            "unique_reference", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
    )
    for table, column in MADE_BY:
        people = postgresql.ARRAY(sa.Uuid())
        op.add_column(
            table, sa.Column(column, people, server_default=sa.text("'{}'"), nullable=False)
        )
    op.execute(FILL_MADE_BY)
    replace_checks(0, 1)


def downgrade() -> None:
    replace_checks(1, 0)
    for table, column in reversed(MADE_BY):
        op.drop_column(table, column)
    op.drop_column("users", "unique_reference")
    op.drop_constraint(op.f("fk_transactions_transactions"), "transactions", type_="foreignkey")
    op.drop_constraint(op.f("fk_transactions_fee_schedules"), "transactions", type_="foreignkey")
    op.drop_index(
        "uq_transactions_reference",
        table_name="transactions",
        postgresql_where=sa.text("unique_reference"),
    )
    op.drop_index(
        "uq_transactions_late_for",
        table_name="transactions",
        postgresql_where=sa.text("late_for IS NOT NULL"),
    )
    op.drop_index("ix_transactions_reference", table_name="transactions")
    op.create_index(
        "ix_transactions_reference",
        "transactions",
        ["user_id", "reference"],
        unique=False,
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.drop_index(
        "ix_transactions_metadata",
        table_name="transactions",
        postgresql_using="gin",
        postgresql_where=sa.text("metadata <> '{}'::jsonb"),
    )
    op.drop_column("transactions", "late_for")
    op.drop_column("transactions", "unique_reference")
    op.drop_column("transactions", "fee_maximum")
    op.drop_column("transactions", "fee_minimum")
    op.drop_column("transactions", "fee_fixed")
    op.drop_column("transactions", "fee_schedule_id")
    op.drop_constraint(op.f("fk_journals_payouts"), "journals", type_="foreignkey")
    op.drop_constraint(op.f("fk_journals_adjustments"), "journals", type_="foreignkey")
    op.drop_constraint(op.f("fk_journals_refunds"), "journals", type_="foreignkey")
    op.drop_index(
        "uq_journals_refund",
        table_name="journals",
        postgresql_where=sa.text("refund_id IS NOT NULL"),
    )
    op.drop_index(
        "uq_journals_payout",
        table_name="journals",
        postgresql_where=sa.text("payout_id IS NOT NULL"),
    )
    op.drop_index(
        "uq_journals_adjustment",
        table_name="journals",
        postgresql_where=sa.text("adjustment_id IS NOT NULL"),
    )
    op.drop_index("ix_journals_created_at", table_name="journals", postgresql_using="brin")
    op.drop_column("journals", "adjustment_id")
    op.drop_column("journals", "payout_id")
    op.drop_column("journals", "refund_id")
    op.drop_constraint(op.f("fk_events_refunds"), "events", type_="foreignkey")
    op.drop_constraint(op.f("fk_events_adjustments"), "events", type_="foreignkey")
    op.drop_constraint(op.f("fk_events_payouts"), "events", type_="foreignkey")
    op.drop_index(
        "uq_events_refund", table_name="events", postgresql_where=sa.text("refund_id IS NOT NULL")
    )
    op.drop_index(
        "uq_events_payout", table_name="events", postgresql_where=sa.text("payout_id IS NOT NULL")
    )
    op.drop_index(
        "uq_events_adjustment",
        table_name="events",
        postgresql_where=sa.text("adjustment_id IS NOT NULL"),
    )
    op.alter_column("events", "transaction_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("events", "adjustment_id")
    op.drop_column("events", "payout_id")
    op.drop_column("events", "refund_id")
