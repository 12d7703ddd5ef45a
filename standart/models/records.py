"""What the service remembers about itself: kept answers, the audit log, signs of life."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import Base
from standart.models.columns import written_at


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
    created_at: Mapped[datetime] = written_at()


class AuditRecord(Base):
    """Who did what, when, from where: before and after. Append-only."""

    __tablename__ = "audit_log"
    __table_args__ = (
        PrimaryKeyConstraint("id"),
        Index("ix_audit_log_object", "object_type", "object_id"),
        Index("ix_audit_log_action", "action", "created_at", "id"),
        Index("ix_audit_log_actor", text("lower(actor_name)"), "action", "created_at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    created_at: Mapped[datetime] = written_at()
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


class Heartbeat(Base):
    """When a background part was last seen, by the database's clock."""

    __tablename__ = "heartbeats"
    __table_args__ = (PrimaryKeyConstraint("name"),)

    name: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[datetime] = written_at()
