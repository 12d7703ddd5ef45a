"""All tables. No queries, no commits: what a row is, and what can never be in it.

Tenant tables lead their keys with ``user_id``, so a reference across tenants is
impossible by constraint. Money is integer minor units; times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from standart.db import Base, UtcDateTime, text_enum
from standart.states import TransactionStatus


class Role(StrEnum):
    """What a user may do: an admin sees and settles all, a regular one owns its rows."""

    ADMIN = "admin"
    REGULAR = "regular"


class Scope(StrEnum):
    """What an API key may do."""

    READ = "read"
    WRITE = "write"
    CONFIRM = "confirm"


class AccountKind(StrEnum):
    """The accounts of a user in one currency."""

    AVAILABLE = "available"
    CLEARING = "clearing"
    COMMISSION = "commission"


class JournalKind(StrEnum):
    """Why money moved."""

    SETTLEMENT = "settlement"


class DeliveryState(StrEnum):
    """Where the delivery of an event stands; only ``waiting`` is ever claimed."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


MAX_AMOUNT = 10**15


def _created_at() -> Mapped[datetime]:
    return mapped_column(UtcDateTime, server_default=func.clock_timestamp())


class User(Base):
    """A merchant (``regular``) or an operator (``admin``)."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 128", name="name_length"),
        CheckConstraint("commission_rate BETWEEN 0 AND 1", name="commission_rate_range"),
        CheckConstraint("currency ~ '^[A-Z]{3,5}$'", name="currency_code"),
        Index("uq_users_name", text("lower(name)"), unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[Role] = mapped_column(text_enum(Role, "role"))
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    password_hash: Mapped[str | None] = mapped_column(Text)
    commission_rate: Mapped[Decimal] = mapped_column(Numeric(7, 6), server_default=text("0"))
    currency: Mapped[str] = mapped_column(Text)
    webhook_url: Mapped[str | None] = mapped_column(Text)
    # A receiver that answers 410 is not called again until its URL is saved anew.
    webhook_stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    webhook_secret: Mapped[bytes] = mapped_column(LargeBinary)
    previous_webhook_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = _created_at()

    balances: Mapped[list[AccountBalance]] = relationship(
        viewonly=True,
        primaryjoin="and_(User.id == foreign(AccountBalance.user_id),"
        " AccountBalance.kind == 'available')",
        order_by="AccountBalance.currency",
    )


class ApiKey(Base):
    """A bearer key: only its SHA-256 is kept, ``prefix`` and ``last4`` are for people."""

    __tablename__ = "api_keys"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("digest"),
        UniqueConstraint("prefix"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
        CheckConstraint(
            "scopes <@ ARRAY['read', 'write', 'confirm'] AND cardinality(scopes) > 0",
            name="scopes_known",
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    id: Mapped[UUID] = mapped_column()
    prefix: Mapped[str] = mapped_column(Text)
    last4: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = _created_at()
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Transaction(Base):
    """A payment on its way: born pending, ended once, never changed after that."""

    __tablename__ = "transactions"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        CheckConstraint(f"amount BETWEEN 1 AND {MAX_AMOUNT}", name="amount_range"),
        CheckConstraint("currency ~ '^[A-Z]{3,5}$'", name="currency_code"),
        CheckConstraint("commission_rate BETWEEN 0 AND 1", name="commission_rate_range"),
        CheckConstraint(
            "commission = least(amount, round(amount * commission_rate))",
            name="commission_rule",
        ),
        CheckConstraint("expires_at > created_at", name="expires_after_creation"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished_when_ended"),
        CheckConstraint(
            "CASE status WHEN 'expired' THEN finished_at = expires_at"
            " ELSE finished_at IS NULL OR finished_at < expires_at END",
            name="finished_in_time",
        ),
        CheckConstraint("char_length(reference) BETWEEN 1 AND 128", name="reference_length"),
        CheckConstraint("char_length(description) <= 500", name="description_length"),
        CheckConstraint("char_length(reason) <= 500", name="reason_length"),
        CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_is_object"),
        Index(
            "ix_transactions_user_newest",
            "user_id",
            text("created_at DESC"),
            text("id DESC"),
        ),
        Index(
            "ix_transactions_pending_expires_at",
            "expires_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_transactions_reference",
            "user_id",
            "reference",
            postgresql_where=text("reference IS NOT NULL"),
        ),
        Index("ix_transactions_created_at", "created_at", postgresql_using="brin"),
        Index("ix_transactions_finished_at", "finished_at", postgresql_using="brin"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    id: Mapped[UUID] = mapped_column()
    amount: Mapped[int] = mapped_column(BigInteger)
    commission: Mapped[int] = mapped_column(BigInteger)
    net: Mapped[int] = mapped_column(BigInteger, Computed("amount - commission", persisted=True))
    commission_rate: Mapped[Decimal] = mapped_column(Numeric(7, 6))
    currency: Mapped[str] = mapped_column(Text)
    status: Mapped[TransactionStatus] = mapped_column(
        text_enum(TransactionStatus, "status"),
        server_default=TransactionStatus.PENDING.value,
    )
    reference: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    # ``metadata`` is taken by SQLAlchemy on declarative classes.
    details: Mapped[dict[str, str]] = mapped_column(
        "metadata", JSONB, server_default=text("'{}'::jsonb")
    )
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created_at()
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship(viewonly=True)


class Account(Base):
    """The folded part of a balance in minor units; what is not folded yet are the deltas."""

    __tablename__ = "accounts"
    __table_args__ = (PrimaryKeyConstraint("user_id", "currency", "kind"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    currency: Mapped[str] = mapped_column(Text)
    kind: Mapped[AccountKind] = mapped_column(text_enum(AccountKind, "kind"))
    balance: Mapped[int] = mapped_column(BigInteger)


class BalanceDelta(Base):
    """What one entry adds to an account's balance until a sweep folds it in.

    Credits of one merchant would queue on a single balance row; inserts do not.
    """

    __tablename__ = "balance_deltas"
    __table_args__ = (
        PrimaryKeyConstraint("id"),
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
        CheckConstraint(
            "(kind = 'settlement') = (transaction_id IS NOT NULL)",
            name="settles_a_transaction",
        ),
        CheckConstraint("entry_count >= 2", name="entry_count_balances"),
        Index(
            "uq_journals_settlement",
            "user_id",
            "transaction_id",
            unique=True,
            postgresql_where=text("kind = 'settlement'"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    kind: Mapped[JournalKind] = mapped_column(text_enum(JournalKind, "kind"))
    transaction_id: Mapped[UUID | None] = mapped_column()
    # A journal is written whole: no line can be slipped in later, balanced or not.
    entry_count: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime] = _created_at()


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


class Event(Base):
    """What happened, with the body that webhooks carry; written once, never changed."""

    __tablename__ = "events"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("id"),
        UniqueConstraint("user_id", "transaction_id", "type"),
        ForeignKeyConstraint(
            ["user_id", "transaction_id"],
            ["transactions.user_id", "transactions.id"],
            ondelete="RESTRICT",
        ),
        Index("ix_events_user_newest", "user_id", text("created_at DESC"), text("id DESC")),
    )

    user_id: Mapped[UUID] = mapped_column()
    id: Mapped[UUID] = mapped_column()
    transaction_id: Mapped[UUID] = mapped_column()
    type: Mapped[str] = mapped_column(Text)
    # Text, not jsonb: the same bytes are signed and sent at every try.
    payload: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = _created_at()


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
    created_at: Mapped[datetime] = _created_at()


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
    created_at: Mapped[datetime] = _created_at()


class IdempotencyKey(Base):
    """A kept answer: 24 hours for each user and path, written with the effect it tells of."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "path", "key"),
        Index("ix_idempotency_keys_created_at", "created_at", postgresql_using="brin"),
    )

    # No foreign key: the statement that writes a row has just read its user, every create
    # would pay for the check a second time, and the rows live for a day.
    user_id: Mapped[UUID] = mapped_column()
    path: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = _created_at()


class AuditRecord(Base):
    """Who did what, when, from where: before and after. Append-only."""

    __tablename__ = "audit_log"
    __table_args__ = (
        PrimaryKeyConstraint("id"),
        Index("ix_audit_log_object", "object_type", "object_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    created_at: Mapped[datetime] = _created_at()
    actor_id: Mapped[UUID | None] = mapped_column()
    actor_name: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    object_type: Mapped[str] = mapped_column(Text)
    object_id: Mapped[str] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    request_id: Mapped[str | None] = mapped_column(Text)
    ip: Mapped[str | None] = mapped_column(Text)


class PanelSession(Base):
    """A login in the panel; the cookie holds the token, this row only its SHA-256."""

    __tablename__ = "panel_sessions"
    __table_args__ = (
        PrimaryKeyConstraint("digest"),
        Index("ix_panel_sessions_user_id", "user_id"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    created_at: Mapped[datetime] = _created_at()
    last_seen_at: Mapped[datetime] = _created_at()
    ip: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)


class LoginFailure(Base):
    """A failed login, counted for the throttle; old ones are purged."""

    __tablename__ = "login_failures"
    __table_args__ = (
        PrimaryKeyConstraint("id"),
        Index("ix_login_failures_name", "name", "created_at"),
        Index("ix_login_failures_ip", "ip", "created_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    name: Mapped[str] = mapped_column(Text)
    ip: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = _created_at()


class Heartbeat(Base):
    """When a background part was last seen, by the database's clock."""

    __tablename__ = "heartbeats"
    __table_args__ = (PrimaryKeyConstraint("name"),)

    name: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[datetime] = _created_at()
