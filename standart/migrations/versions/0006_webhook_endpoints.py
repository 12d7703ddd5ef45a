"""Endpoints: several receivers for each user, and what the engine remembers of each.

The URL and the secret of a user move into the endpoint that has the user's own id. Events
get a position, by which a reader can follow them without missing one that commits late.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OBJECTS = "transaction_id, refund_id, payout_id, adjustment_id"

# The functions are called by name in every insert, so they name their tables in full.
# A row of the clock that was not written by the transaction it names came out of a dump: the
# numbers of this server are others, and 2^52 lies above all that the former one gave out. A
# server that took over, or went back to a point in time, has a higher timeline, and 2^36 lies
# above the transactions that it may have lost.
RESTORED = "xmin::text::bigint <> (written_by & 4294967295)"
BASE = f"""base + CASE WHEN {RESTORED} THEN 1::bigint << 52 ELSE 0 END
        + (('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint << 36)"""

# Written out in each, since a function within a function costs each event more time.
FUNCTIONS = f"""
CREATE FUNCTION standart_event_clock_is_restored() RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT {RESTORED} FROM public.event_clock
$$;
CREATE FUNCTION standart_event_base() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT {BASE} FROM public.event_clock
$$;
CREATE FUNCTION standart_event_position() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT {BASE} + pg_current_xact_id()::text::bigint FROM public.event_clock
$$;
CREATE FUNCTION standart_event_horizon() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT {BASE} + pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    FROM public.event_clock
$$;
"""

MOVE_URLS = """
INSERT INTO webhook_endpoints (user_id, id, url, secret, previous_secret, previous_secret_until,
    disabled_at, disabled_reason, created_at)
SELECT id, id, webhook_url, webhook_secret, previous_webhook_secret, previous_secret_until,
    webhook_stopped_at, CASE WHEN webhook_stopped_at IS NOT NULL THEN 'gone' END, created_at
FROM users
"""
MOVE_URLS_BACK = """
UPDATE users u SET webhook_url = w.url, webhook_secret = w.secret,
    previous_webhook_secret = w.previous_secret, previous_secret_until = w.previous_secret_until,
    webhook_stopped_at = w.disabled_at
FROM webhook_endpoints w WHERE w.user_id = u.id AND w.id = u.id
"""

# Which change of its object an event is; a late payment is born confirmed. Creations are told
# of only where this revision has been before.
NUMBER_EVENTS = """
UPDATE events v SET sequence = CASE
    WHEN v.type = 'transaction.created' THEN 1
    WHEN v.transaction_id IS NOT NULL THEN CASE WHEN t.late_for IS NULL THEN 2 ELSE 1 END
    WHEN v.type IN ('payout.paid', 'payout.failed') THEN 3
    WHEN v.payout_id IS NOT NULL AND v.type <> 'payout.created' THEN 2
    ELSE 1 END
FROM events AS e LEFT JOIN transactions t ON t.user_id = e.user_id AND t.id = e.transaction_id
WHERE v.user_id = e.user_id AND v.id = e.id
"""

DETAILS = (
    ("request_headers", sa.Text()),
    ("response_headers", sa.Text()),
    ("dns_ms", sa.Integer()),
    ("connect_ms", sa.Integer()),
    ("tls_ms", sa.Integer()),
    ("first_byte_ms", sa.Integer()),
)


def upgrade() -> None:
    """Create the tables, move what users had, then tie events and deliveries to endpoints."""
    _create_endpoints()
    _create_lanes()
    _create_replays()
    _create_clock()
    op.execute(MOVE_URLS)
    op.execute("INSERT INTO webhook_lanes (user_id, endpoint_id) SELECT id, id FROM users")
    for column in (
        "webhook_url",
        "webhook_stopped_at",
        "webhook_secret",
        "previous_webhook_secret",
        "previous_secret_until",
    ):
        op.drop_column("users", column)
    _extend_events()
    _extend_deliveries()
    for name, kind in DETAILS:
        op.add_column("attempts", sa.Column(name, kind, nullable=True))


def _create_endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column(
            "event_types",
            sa.ARRAY(sa.Text()),
            server_default=sa.text(
                "'{transaction.confirmed,transaction.canceled,transaction.expired}'"
            ),
            nullable=False,
        ),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("ordered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("rate_limit", sa.Integer(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=True),
        sa.Column(
            "header_names", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "disabled_reason",
            sa.Enum(
                "owner",
                "gone",
                "failing",
                name="disabled_reason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        _written_at(),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        *_endpoint_checks(),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_webhook_endpoints_users"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_webhook_endpoints")),
        sa.UniqueConstraint("id", name=op.f("uq_webhook_endpoints_id")),
    )


def _endpoint_checks() -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint(
            "url IS NOT NULL OR id = user_id",
            name=op.f("ck_webhook_endpoints_url_unless_default"),
        ),
        sa.CheckConstraint(
            "cardinality(event_types) BETWEEN 1 AND 50",
            name=op.f("ck_webhook_endpoints_event_types_count"),
        ),
        sa.CheckConstraint(
            "char_length(description) BETWEEN 1 AND 500",
            name=op.f("ck_webhook_endpoints_description_length"),
        ),
        sa.CheckConstraint(
            "rate_limit BETWEEN 1 AND 10000", name=op.f("ck_webhook_endpoints_rate_limit_range")
        ),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_reason IS NULL)",
            name=op.f("ck_webhook_endpoints_disabled_for_a_reason"),
        ),
        sa.CheckConstraint(
            "deleted_at IS NULL OR (disabled_at IS NOT NULL AND id <> user_id)",
            name=op.f("ck_webhook_endpoints_deleted_is_disabled"),
        ),
    ]


def _create_lanes() -> None:
    op.create_table(
        "webhook_lanes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("room", sa.Integer(), server_default=sa.text("8"), nullable=False),
        sa.Column("free_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_webhook_lanes_failures_not_negative")),
        sa.CheckConstraint("room BETWEEN 1 AND 1000", name=op.f("ck_webhook_lanes_room_range")),
        sa.ForeignKeyConstraint(
            ["user_id", "endpoint_id"],
            ["webhook_endpoints.user_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_lanes_webhook_endpoints"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "endpoint_id", name=op.f("pk_webhook_lanes")),
    )


def _create_replays() -> None:
    op.create_table(
        "webhook_replays",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "scope",
            sa.Enum(
                "dead",
                "all",
                name="scope",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("examined", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("requeued", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reached_id", sa.Uuid(), nullable=True),
        _written_at(),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint('since < "until"', name=op.f("ck_webhook_replays_span_not_empty")),
        sa.CheckConstraint(
            "examined >= requeued AND requeued >= 0",
            name=op.f("ck_webhook_replays_counts_agree"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "endpoint_id"],
            ["webhook_endpoints.user_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_replays_webhook_endpoints"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_webhook_replays")),
        sa.UniqueConstraint("id", name=op.f("uq_webhook_replays_id")),
    )
    op.create_index(
        "uq_webhook_replays_running",
        "webhook_replays",
        ["user_id", "endpoint_id"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def _create_clock() -> None:
    op.create_table(
        "event_clock",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("base", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("purged_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "written_by",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        sa.Column(
            "server",
            sa.BigInteger(),
            server_default=sa.text("(pg_control_system()).system_identifier"),
            nullable=False,
        ),
        sa.CheckConstraint("single", name=op.f("ck_event_clock_one_row")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_event_clock")),
    )
    op.execute("INSERT INTO event_clock DEFAULT VALUES")


def _written_at() -> sa.Column[object]:
    return sa.Column(
        "created_at",
        sa.DateTime(timezone=True),
        server_default=sa.text("clock_timestamp()"),
        nullable=False,
    )


def _extend_events() -> None:
    op.execute(FUNCTIONS)
    op.add_column("events", sa.Column("endpoint_id", sa.Uuid(), nullable=True))
    # A constant for what is there, so that no row is rewritten: it lies below all that comes.
    op.add_column(
        "events",
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.alter_column("events", "position", server_default=sa.text("standart_event_position()"))
    op.add_column(
        "events",
        sa.Column("sequence", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
    )
    op.alter_column("events", "sequence", server_default=None)
    # The one thing that history did not say yet; its guards stand again in the same transaction.
    op.execute("ALTER TABLE events DISABLE TRIGGER USER")
    op.execute(NUMBER_EVENTS)
    op.execute("ALTER TABLE events ENABLE TRIGGER USER")
    op.create_check_constraint(op.f("ck_events_sequence_positive"), "events", "sequence > 0")
    op.drop_constraint(op.f("ck_events_about_one_object"), "events", type_="check")
    op.create_check_constraint(
        op.f("ck_events_about_one_object"),
        "events",
        f"num_nonnulls({OBJECTS}, endpoint_id) = 1",
    )
    op.create_foreign_key(
        op.f("fk_events_webhook_endpoints"),
        "events",
        "webhook_endpoints",
        ["user_id", "endpoint_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.create_index("ix_events_user_position", "events", ["user_id", "position", "id"])


def _extend_deliveries() -> None:
    op.add_column("deliveries", sa.Column("endpoint_id", sa.Uuid(), nullable=True))
    op.execute("UPDATE deliveries SET endpoint_id = user_id")
    op.alter_column("deliveries", "endpoint_id", nullable=False)
    op.drop_constraint(op.f("uq_deliveries_user_id_event_id"), "deliveries", type_="unique")
    op.create_unique_constraint(
        op.f("uq_deliveries_user_id_event_id_endpoint_id"),
        "deliveries",
        ["user_id", "event_id", "endpoint_id"],
    )
    op.create_foreign_key(
        op.f("fk_deliveries_webhook_endpoints"),
        "deliveries",
        "webhook_endpoints",
        ["user_id", "endpoint_id"],
        ["user_id", "id"],
        ondelete="RESTRICT",
    )
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["user_id", "endpoint_id", "next_attempt_at"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_deliveries_leased",
        "deliveries",
        ["user_id", "endpoint_id"],
        postgresql_where=sa.text("lease IS NOT NULL"),
    )


def downgrade() -> None:
    """Give users their URL and secret back; refused while others than the default were used."""
    for name, _ in DETAILS:
        op.drop_column("attempts", name)
    op.drop_index("ix_deliveries_leased", table_name="deliveries")
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["next_attempt_at"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.drop_constraint(op.f("fk_deliveries_webhook_endpoints"), "deliveries", type_="foreignkey")
    op.drop_constraint(
        op.f("uq_deliveries_user_id_event_id_endpoint_id"), "deliveries", type_="unique"
    )
    op.create_unique_constraint(
        op.f("uq_deliveries_user_id_event_id"), "deliveries", ["user_id", "event_id"]
    )
    op.drop_column("deliveries", "endpoint_id")
    op.drop_index("ix_events_user_position", table_name="events")
    op.drop_constraint(op.f("fk_events_webhook_endpoints"), "events", type_="foreignkey")
    op.drop_constraint(op.f("ck_events_about_one_object"), "events", type_="check")
    op.create_check_constraint(
        op.f("ck_events_about_one_object"), "events", f"num_nonnulls({OBJECTS}) = 1"
    )
    op.drop_constraint(op.f("ck_events_sequence_positive"), "events", type_="check")
    for column in ("sequence", "position", "endpoint_id"):
        op.drop_column("events", column)
    op.execute(
        "DROP FUNCTION standart_event_position(), standart_event_horizon(),"
        " standart_event_base(), standart_event_clock_is_restored()"
    )
    op.drop_table("event_clock")
    for name, kind in (
        ("webhook_url", sa.Text()),
        ("webhook_stopped_at", sa.DateTime(timezone=True)),
        ("webhook_secret", sa.LargeBinary()),
        ("previous_webhook_secret", sa.LargeBinary()),
        ("previous_secret_until", sa.DateTime(timezone=True)),
    ):
        op.add_column("users", sa.Column(name, kind, nullable=True))
    op.execute(MOVE_URLS_BACK)
    op.alter_column("users", "webhook_secret", nullable=False)
    op.drop_table("webhook_replays")
    op.drop_table("webhook_lanes")
    op.drop_table("webhook_endpoints")
