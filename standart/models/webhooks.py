"""Events, the outbox of all changes; endpoints, their receivers; the way between the two."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import Base, UtcDateTime, text_enum
from standart.models.columns import written_at
from standart.models.kinds import DeliveryState, DisabledReason, ReplayScope

ENDINGS = ("transaction.confirmed", "transaction.canceled", "transaction.expired")
"""What an endpoint gets unless it asks for something else."""


class WebhookEndpoint(Base):
    """A receiver of a user's events; the default one has its user's own id.

    Only the default one may be without a URL, and then nothing is sent to it. ``secret`` and
    ``headers`` (JSON, name to value) are sealed by the key ring. ``event_types`` are names,
    prefixes such as ``payout.*``, or ``*``. A deleted one stays for its deliveries' sake.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        CheckConstraint("url IS NOT NULL OR id = user_id", name="url_unless_default"),
        CheckConstraint("cardinality(event_types) BETWEEN 1 AND 50", name="event_types_count"),
        CheckConstraint("char_length(description) BETWEEN 1 AND 500", name="description_length"),
        CheckConstraint("rate_limit BETWEEN 1 AND 10000", name="rate_limit_range"),
        CheckConstraint(
            "(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_for_a_reason"
        ),
        CheckConstraint(
            "deleted_at IS NULL OR (disabled_at IS NOT NULL AND id <> user_id)",
            name="deleted_is_disabled",
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    id: Mapped[UUID] = mapped_column()
    url: Mapped[str | None] = mapped_column(Text)
    event_types: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default=text(f"'{{{','.join(ENDINGS)}}}'")
    )
    description: Mapped[str | None] = mapped_column(Text)
    ordered: Mapped[bool] = mapped_column(server_default=text("false"))
    # Attempts a second at most; None means as many as the receiver bears.
    rate_limit: Mapped[int | None] = mapped_column()
    headers: Mapped[bytes | None] = mapped_column(LargeBinary)
    # The names of them, for people: only the values may be secret.
    header_names: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_reason: Mapped[DisabledReason | None] = mapped_column(
        text_enum(DisabledReason, "disabled_reason")
    )
    created_at: Mapped[datetime] = written_at()
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class WebhookLane(Base):
    """How an endpoint bears what it gets: what the engine remembers of it between claims.

    A row of its own, since it changes while the endpoint's settings do not. Who claims for an
    endpoint holds this row, so several workers share the work without passing its bounds.
    """

    __tablename__ = "webhook_lanes"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "endpoint_id"),
        ForeignKeyConstraint(
            ["user_id", "endpoint_id"],
            ["webhook_endpoints.user_id", "webhook_endpoints.id"],
            ondelete="CASCADE",
        ),
        CheckConstraint("failures >= 0", name="failures_not_negative"),
        CheckConstraint("room BETWEEN 1 AND 1000", name="room_range"),
    )

    user_id: Mapped[UUID] = mapped_column()
    endpoint_id: Mapped[UUID] = mapped_column()
    # Failed attempts since the last success, as far as they count for the breaker, and when the
    # first and the last of all of them were.
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The circuit breaker: no attempt before this moment, then one that probes.
    open_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # How many attempts may be under way: grows while they succeed, shrinks when they fail.
    room: Mapped[int] = mapped_column(server_default=text("8"))
    # The rate limit: the moment at which the next attempt is due by it (GCRA).
    free_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class WebhookReplay(Base):
    """A request to send a span of an endpoint's events anew, and how far it has come."""

    __tablename__ = "webhook_replays"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        ForeignKeyConstraint(
            ["user_id", "endpoint_id"],
            ["webhook_endpoints.user_id", "webhook_endpoints.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint('since < "until"', name="span_not_empty"),
        CheckConstraint("examined >= requeued AND requeued >= 0", name="counts_agree"),
        Index(
            "uq_webhook_replays_running",
            "user_id",
            "endpoint_id",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    endpoint_id: Mapped[UUID] = mapped_column()
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    until: Mapped[datetime] = mapped_column(UtcDateTime)
    scope: Mapped[ReplayScope] = mapped_column(text_enum(ReplayScope, "scope"))
    # The events of the span as it was counted first; then how many of them are done with.
    total: Mapped[int] = mapped_column(server_default=text("0"))
    examined: Mapped[int] = mapped_column(server_default=text("0"))
    requeued: Mapped[int] = mapped_column(server_default=text("0"))
    # The (created_at, id) of the last event that was examined.
    reached_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reached_id: Mapped[UUID | None] = mapped_column()
    created_at: Mapped[datetime] = written_at()
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class EventClock(Base):
    """One row that makes the positions of events: ``base`` plus the transaction's number.

    Transaction numbers begin anew where a dump is restored. The row then was not written by the
    transaction ``written_by``, so a gap is added that lies above all positions and cursors given
    out; the next change of the row takes it into ``base``. ``server`` is the system identifier
    of the cluster. Below ``purged_before`` events may have been purged; the purge goes on behind
    the event at ``purge_user``, ``purge_at`` and ``purge_id``.
    """

    __tablename__ = "event_clock"
    __table_args__ = (
        PrimaryKeyConstraint("single"),
        CheckConstraint("single", name="one_row"),
    )

    single: Mapped[bool] = mapped_column(server_default=text("true"))
    base: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    purged_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    written_by: Mapped[int] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint")
    )
    server: Mapped[int] = mapped_column(
        BigInteger, server_default=text("(pg_control_system()).system_identifier")
    )
    purge_user: Mapped[UUID | None]
    purge_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    purge_id: Mapped[UUID | None]


class Event(Base):
    """What happened, with the body that webhooks carry; written once, never changed."""

    __tablename__ = "events"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        UniqueConstraint("user_id", "transaction_id", "type"),
        CheckConstraint(
            "num_nonnulls(transaction_id, refund_id, payout_id, adjustment_id, endpoint_id) = 1",
            name="about_one_object",
        ),
        CheckConstraint("sequence > 0", name="sequence_positive"),
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
        ForeignKeyConstraint(
            ["user_id", "endpoint_id"],
            ["webhook_endpoints.user_id", "webhook_endpoints.id"],
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
        Index("ix_events_newest", "created_at", "id"),
        Index(
            "ix_events_type_newest",
            "type",
            "created_at",
            "id",
            postgresql_where=text("transaction_id IS NULL"),
        ),
        Index("ix_events_user_position", "user_id", "position", "id"),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    # What it happened to: exactly one of these.
    transaction_id: Mapped[UUID | None] = mapped_column()
    refund_id: Mapped[UUID | None] = mapped_column()
    payout_id: Mapped[UUID | None] = mapped_column()
    adjustment_id: Mapped[UUID | None] = mapped_column()
    endpoint_id: Mapped[UUID | None] = mapped_column()
    # Which change of the object this is, from 1: its creation.
    sequence: Mapped[int] = mapped_column(SmallInteger)
    # Grows in the order of commits as far as readers can tell: see ``EventClock``.
    position: Mapped[int] = mapped_column(
        BigInteger, server_default=text("standart_event_position()")
    )
    type: Mapped[str] = mapped_column(Text)
    # Text, not jsonb: the same bytes are signed and sent at every try.
    payload: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = written_at()


class Delivery(Base):
    """The way of one event to one receiver; due times and leases live here, not in Redis."""

    __tablename__ = "deliveries"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("user_id", "event_id", "endpoint_id"),
        ForeignKeyConstraint(
            ["user_id", "event_id"],
            ["events.user_id", "events.id"],
            ondelete="RESTRICT",
        ),
        ForeignKeyConstraint(
            ["user_id", "endpoint_id"],
            ["webhook_endpoints.user_id", "webhook_endpoints.id"],
            ondelete="RESTRICT",
        ),
        CheckConstraint("attempt_count >= 0", name="attempt_count_not_negative"),
        CheckConstraint(
            "(state = 'waiting') = (next_attempt_at IS NOT NULL)",
            name="due_while_waiting",
        ),
        # By endpoint first: the claim goes from endpoint to endpoint, however long one's pile is.
        Index(
            "ix_deliveries_due",
            "user_id",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "ix_deliveries_leased",
            "user_id",
            "endpoint_id",
            postgresql_where=text("lease IS NOT NULL"),
        ),
        Index(
            "ix_deliveries_dead",
            "user_id",
            "endpoint_id",
            postgresql_where=text("state = 'dead'"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    event_id: Mapped[UUID] = mapped_column()
    endpoint_id: Mapped[UUID] = mapped_column()
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
    # JSON texts, name to value; secrets of the request are masked.
    request_headers: Mapped[str | None] = mapped_column(Text)
    response_headers: Mapped[str | None] = mapped_column(Text)
    # Milliseconds of the phases; None where a phase did not take place.
    dns_ms: Mapped[int | None] = mapped_column()
    connect_ms: Mapped[int | None] = mapped_column()
    tls_ms: Mapped[int | None] = mapped_column()
    first_byte_ms: Mapped[int | None] = mapped_column()
    created_at: Mapped[datetime] = written_at()
