"""Who is in the panel, and what proves it: logins, their steps, second factors, failures."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import Base, UtcDateTime, text_enum
from standart.models.columns import people, written_at
from standart.models.kinds import LoginStep, Theme


class PanelSession(Base):
    """A login in the panel; the cookie holds the token, this row only its SHA-256."""

    __tablename__ = "panel_sessions"
    __table_args__ = (
        PrimaryKeyConstraint("digest"),
        # What a page may name it by: the digest opens nothing, but is nobody's business.
        UniqueConstraint("id"),
        Index("ix_panel_sessions_user_id", "user_id"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary)
    id: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    # Who made the password that opened it.
    made_by: Mapped[list[UUID]] = people()
    created_at: Mapped[datetime] = written_at()
    last_seen_at: Mapped[datetime] = written_at()
    # When the person last showed its password, and its code where it has a second factor.
    proven_at: Mapped[datetime] = written_at()
    ip: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)


class PendingLogin(Base):
    """A login whose password was right and whose code is still asked for; lives for minutes."""

    __tablename__ = "pending_logins"
    __table_args__ = (
        PrimaryKeyConstraint("digest"),
        Index("ix_pending_logins_user_id", "user_id"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    made_by: Mapped[list[UUID]] = people()
    created_at: Mapped[datetime] = written_at()


class SecondFactor(Base):
    """The secret behind a person's codes, sealed; it counts from ``confirmed_at`` on."""

    __tablename__ = "second_factors"
    __table_args__ = (
        PrimaryKeyConstraint("user_id"),
        CheckConstraint("last_step >= 0", name="last_step_not_negative"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    # The 30 seconds, counted from 1970, whose code was used last: none counts twice.
    last_step: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[datetime] = written_at()
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RecoveryCode(Base):
    """A code of last resort, as its SHA-256; the row goes when it is used."""

    __tablename__ = "recovery_codes"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "digest"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = written_at()


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
    step: Mapped[LoginStep] = mapped_column(
        text_enum(LoginStep, "step"), server_default=text("'password'")
    )
    created_at: Mapped[datetime] = written_at()


class PanelPreference(Base):
    """How a person wants the panel to look, on whatever device; what is NULL was not chosen."""

    __tablename__ = "panel_preferences"
    __table_args__ = (
        PrimaryKeyConstraint("user_id"),
        CheckConstraint("locale IN ('ru', 'en')", name="locale_known"),
        CheckConstraint("char_length(timezone) BETWEEN 1 AND 64", name="timezone_length"),
        CheckConstraint("refresh_seconds IN (0, 10, 15, 30, 60)", name="refresh_known"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    locale: Mapped[str | None] = mapped_column(Text)
    # Where the person sits; a merchant's own zone may be another one.
    timezone: Mapped[str | None] = mapped_column(Text)
    theme: Mapped[Theme | None] = mapped_column(text_enum(Theme, "theme"))
    # How often the dashboard renews itself; 0 is never.
    refresh_seconds: Mapped[int | None] = mapped_column(SmallInteger)
