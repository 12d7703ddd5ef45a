"""The tables.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column(
            "before",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "after",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(
        "ix_audit_log_object", "audit_log", ["object_type", "object_id"], unique=False
    )
    op.create_table(
        "balance_deltas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "available",
                "clearing",
                "commission",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_balance_deltas")),
    )
    op.create_index(
        "ix_balance_deltas_account",
        "balance_deltas",
        ["user_id", "currency", "kind"],
        unique=False,
    )
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeats")),
    )
    op.create_table(
        "login_failures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failures")),
    )
    op.create_index(
        "ix_login_failures_ip", "login_failures", ["ip", "created_at"], unique=False
    )
    op.create_index(
        "ix_login_failures_name", "login_failures", ["name", "created_at"], unique=False
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "admin",
                "regular",
                name="role",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "active", sa.Boolean(), server_default=sa.text("true"), nullable=False
        ),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column(
            "commission_rate",
            sa.Numeric(precision=7, scale=6),
            server_default=sa.text("0"),
            nullable=False,
        ),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("webhook_stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("webhook_secret", sa.LargeBinary(), nullable=False),
        sa.Column("previous_webhook_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "currency ~ '^[A-Z]{3,5}$'", name=op.f("ck_users_currency_code")
        ),
        sa.CheckConstraint(
            "char_length(name) BETWEEN 1 AND 128", name=op.f("ck_users_name_length")
        ),
        sa.CheckConstraint(
            "commission_rate BETWEEN 0 AND 1",
            name=op.f("ck_users_commission_rate_range"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index(
        "uq_users_name", "users", [sa.literal_column("lower(name)")], unique=True
    )
    op.create_table(
        "accounts",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "available",
                "clearing",
                "commission",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_accounts_users"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "currency", "kind", name=op.f("pk_accounts")
        ),
    )
    op.create_table(
        "api_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("last4", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "scopes <@ ARRAY['read', 'write', 'confirm'] AND cardinality(scopes) > 0",
            name=op.f("ck_api_keys_scopes_known"),
        ),
        sa.CheckConstraint(
            "octet_length(digest) = 32", name=op.f("ck_api_keys_digest_is_sha256")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_api_keys_users"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "path", "key", name=op.f("pk_idempotency_keys")
        ),
    )
    op.create_index(
        "ix_idempotency_keys_created_at",
        "idempotency_keys",
        ["created_at"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_table(
        "panel_sessions",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "last_seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_panel_sessions_users"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_panel_sessions")),
    )
    op.create_index(
        "ix_panel_sessions_user_id", "panel_sessions", ["user_id"], unique=False
    )
    op.create_table(
        "transactions",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("commission", sa.BigInteger(), nullable=False),
        sa.Column(
            "net",
            sa.BigInteger(),
            sa.Computed("amount - commission", persisted=True),
            nullable=False,
        ),
        sa.Column("commission_rate", sa.Numeric(precision=7, scale=6), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "confirmed",
                "canceled",
                "expired",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'pending') = (finished_at IS NULL)",
            name=op.f("ck_transactions_finished_when_ended"),
        ),
        sa.CheckConstraint(
            "CASE status WHEN 'expired' THEN finished_at = expires_at ELSE finished_at IS NULL OR finished_at < expires_at END",
            name=op.f("ck_transactions_finished_in_time"),
        ),
        sa.CheckConstraint(
            "currency ~ '^[A-Z]{3,5}$'", name=op.f("ck_transactions_currency_code")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(metadata) = 'object'",
            name=op.f("ck_transactions_metadata_is_object"),
        ),
        sa.CheckConstraint(
            "amount BETWEEN 1 AND 1000000000000000",
            name=op.f("ck_transactions_amount_range"),
        ),
        sa.CheckConstraint(
            "char_length(description) <= 500",
            name=op.f("ck_transactions_description_length"),
        ),
        sa.CheckConstraint(
            "char_length(reason) <= 500", name=op.f("ck_transactions_reason_length")
        ),
        sa.CheckConstraint(
            "char_length(reference) BETWEEN 1 AND 128",
            name=op.f("ck_transactions_reference_length"),
        ),
        sa.CheckConstraint(
            "commission = least(amount, round(amount * commission_rate))",
            name=op.f("ck_transactions_commission_rule"),
        ),
        sa.CheckConstraint(
            "commission_rate BETWEEN 0 AND 1",
            name=op.f("ck_transactions_commission_rate_range"),
        ),
        sa.CheckConstraint(
            "expires_at > created_at",
            name=op.f("ck_transactions_expires_after_creation"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_transactions_users"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_transactions")),
        sa.UniqueConstraint("id", name=op.f("uq_transactions_id")),
    )
    op.create_index(
        "ix_transactions_created_at",
        "transactions",
        ["created_at"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index(
        "ix_transactions_finished_at",
        "transactions",
        ["finished_at"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index(
        "ix_transactions_pending_expires_at",
        "transactions",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_transactions_reference",
        "transactions",
        ["user_id", "reference"],
        unique=False,
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.create_index(
        "ix_transactions_user_newest",
        "transactions",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "events",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            name=op.f("fk_events_transactions"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
        sa.UniqueConstraint(
            "user_id",
            "transaction_id",
            "type",
            name=op.f("uq_events_user_id_transaction_id_type"),
        ),
    )
    op.create_index(
        "ix_events_user_newest",
        "events",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "journals",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "settlement",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("entry_count", sa.SmallInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "entry_count >= 2", name=op.f("ck_journals_entry_count_balances")
        ),
        sa.CheckConstraint(
            "(kind = 'settlement') = (transaction_id IS NOT NULL)",
            name=op.f("ck_journals_settles_a_transaction"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            name=op.f("fk_journals_transactions"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_journals")),
    )
    op.create_index(
        "uq_journals_settlement",
        "journals",
        ["user_id", "transaction_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'settlement'"),
    )
    op.create_table(
        "deliveries",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "waiting",
                "delivered",
                "dead",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="waiting",
            nullable=False,
        ),
        sa.Column(
            "attempt_count", sa.Integer(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("schedule_start", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "next_attempt_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=True,
        ),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(state = 'waiting') = (next_attempt_at IS NOT NULL)",
            name=op.f("ck_deliveries_due_while_waiting"),
        ),
        sa.CheckConstraint(
            "attempt_count >= 0", name=op.f("ck_deliveries_attempt_count_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "event_id"],
            ["events.user_id", "events.id"],
            name=op.f("fk_deliveries_events"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "user_id", "event_id", name=op.f("uq_deliveries_user_id_event_id")
        ),
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "entries",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("journal_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.SmallInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "available",
                "clearing",
                "commission",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_entries_amount_not_zero")),
        sa.CheckConstraint("line > 0", name=op.f("ck_entries_line_positive")),
        sa.ForeignKeyConstraint(
            ["user_id", "journal_id"],
            ["journals.user_id", "journals.id"],
            name=op.f("fk_entries_journals"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "journal_id", "line", name=op.f("pk_entries")
        ),
    )
    op.create_table(
        "attempts",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=True),
        sa.Column("excerpt", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "delivery_id"],
            ["deliveries.user_id", "deliveries.id"],
            name=op.f("fk_attempts_deliveries"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "delivery_id", "number", name=op.f("pk_attempts")
        ),
    )


def downgrade() -> None:
    op.drop_table("attempts")
    op.drop_table("entries")
    op.drop_index(
        "ix_deliveries_due",
        table_name="deliveries",
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.drop_table("deliveries")
    op.drop_index(
        "uq_journals_settlement",
        table_name="journals",
        postgresql_where=sa.text("kind = 'settlement'"),
    )
    op.drop_table("journals")
    op.drop_index("ix_events_user_newest", table_name="events")
    op.drop_table("events")
    op.drop_index("ix_transactions_user_newest", table_name="transactions")
    op.drop_index(
        "ix_transactions_reference",
        table_name="transactions",
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.drop_index(
        "ix_transactions_pending_expires_at",
        table_name="transactions",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.drop_index(
        "ix_transactions_finished_at",
        table_name="transactions",
        postgresql_using="brin",
    )
    op.drop_index(
        "ix_transactions_created_at", table_name="transactions", postgresql_using="brin"
    )
    op.drop_table("transactions")
    op.drop_index("ix_panel_sessions_user_id", table_name="panel_sessions")
    op.drop_table("panel_sessions")
    op.drop_index(
        "ix_idempotency_keys_created_at",
        table_name="idempotency_keys",
        postgresql_using="brin",
    )
    op.drop_table("idempotency_keys")
    op.drop_table("api_keys")
    op.drop_table("accounts")
    op.drop_index("uq_users_name", table_name="users")
    op.drop_table("users")
    op.drop_index("ix_login_failures_name", table_name="login_failures")
    op.drop_index("ix_login_failures_ip", table_name="login_failures")
    op.drop_table("login_failures")
    op.drop_table("heartbeats")
    op.drop_index("ix_balance_deltas_account", table_name="balance_deltas")
    op.drop_table("balance_deltas")
    op.drop_index("ix_audit_log_object", table_name="audit_log")
    op.drop_table("audit_log")
