"""Who there is: users with their keys, logins, fees and limits."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from standart.db import Base, UtcDateTime, text_enum
from standart.models.columns import CURRENCY_CODE, people, written_at
from standart.models.kinds import MAX_AMOUNT, LimitKind, Role
from standart.models.ledger import AccountBalance
from standart.models.webhooks import WebhookEndpoint


class User(Base):
    """A merchant (``regular``) or an operator (``admin``)."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 128", name="name_length"),
        CheckConstraint("commission_rate BETWEEN 0 AND 1", name="commission_rate_range"),
        CheckConstraint(CURRENCY_CODE, name="currency_code"),
        CheckConstraint("timezone ~ '^[A-Za-z0-9_+/-]{1,64}$'", name="timezone_name"),
        Index("uq_users_name", text("lower(name)"), unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[Role] = mapped_column(text_enum(Role, "role"))
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    password_hash: Mapped[str | None] = mapped_column(Text)
    # Who may know it beside the user: see ``Approval``. Empty: it came from the command line.
    password_made_by: Mapped[list[UUID]] = people()
    commission_rate: Mapped[Decimal] = mapped_column(Numeric(7, 6), server_default=text("0"))
    currency: Mapped[str] = mapped_column(Text)
    # IANA name: where the merchant's days and months begin.
    timezone: Mapped[str] = mapped_column(Text, server_default=text("'UTC'"))
    # Whether a reference may name one transaction only; see ``transactions``.
    unique_reference: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = written_at()

    balances: Mapped[list[AccountBalance]] = relationship(
        AccountBalance,
        viewonly=True,
        primaryjoin="and_(User.id == foreign(AccountBalance.user_id),"
        " AccountBalance.kind == 'available')",
        order_by="AccountBalance.currency",
    )
    # The plain field "webhook URL" is the URL of this one, which every user has.
    endpoint: Mapped[WebhookEndpoint] = relationship(
        WebhookEndpoint,
        primaryjoin="and_(User.id == foreign(WebhookEndpoint.user_id),"
        " WebhookEndpoint.id == WebhookEndpoint.user_id)",
        uselist=False,
        lazy="selectin",
        passive_deletes="all",
    )

    @property
    def webhook_url(self) -> str | None:
        """The URL of the default endpoint; None where there is no receiver."""
        return self.endpoint.url


class ApiKey(Base):
    """A bearer key: only its SHA-256 is kept, ``prefix`` and ``last4`` are for people."""

    __tablename__ = "api_keys"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("digest"),
        UniqueConstraint("prefix"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
        CheckConstraint(
            "scopes <@ ARRAY['read', 'write', 'confirm', 'refund', 'payout']"
            " AND cardinality(scopes) > 0",
            name="scopes_known",
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    id: Mapped[UUID] = mapped_column()
    prefix: Mapped[str] = mapped_column(Text)
    last4: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    # Who may know the key beside the user: see ``Approval``.
    made_by: Mapped[list[UUID]] = people()
    created_at: Mapped[datetime] = written_at()
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FeeSchedule(Base):
    """A merchant's fee in one currency from ``starts_at`` on, until the next one starts.

    The fee is amount times ``rate`` plus ``fixed``, at least ``minimum``, at most ``maximum``
    and never above the amount; all but the rate in minor units. A schedule without a rate
    ends the ones before it: the user's plain commission rate is in force again. Of two with
    the same start the one written later counts, so that a planned one can be replaced.
    """

    __tablename__ = "fee_schedules"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id"),
        UniqueConstraint("user_id", "currency", "starts_at", "created_at"),
        CheckConstraint(CURRENCY_CODE, name="currency_code"),
        CheckConstraint("rate BETWEEN 0 AND 1", name="rate_range"),
        CheckConstraint(f"fixed BETWEEN 0 AND {MAX_AMOUNT}", name="fixed_range"),
        CheckConstraint(f"minimum BETWEEN 0 AND {MAX_AMOUNT}", name="minimum_range"),
        CheckConstraint(f"maximum BETWEEN minimum AND {MAX_AMOUNT}", name="maximum_range"),
        CheckConstraint(
            "rate IS NOT NULL OR (fixed = 0 AND minimum = 0 AND maximum IS NULL)",
            name="plain_is_plain",
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    id: Mapped[UUID] = mapped_column()
    currency: Mapped[str] = mapped_column(Text)
    rate: Mapped[Decimal | None] = mapped_column(Numeric(7, 6))
    fixed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    minimum: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    maximum: Mapped[int | None] = mapped_column(BigInteger)
    starts_at: Mapped[datetime] = written_at()
    created_at: Mapped[datetime] = written_at()


class Limit(Base):
    """What a merchant may not exceed: minor units of ``currency``, or a number of rows.

    Counts are over all currencies, which is written as ``*``.
    """

    __tablename__ = "limits"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "kind", "currency"),
        CheckConstraint(
            "CASE WHEN kind IN ('transaction_amount', 'daily_amount')"
            " THEN currency ~ '^[A-Z]{3,5}$' ELSE currency = '*' END",
            name="currency_of_amounts",
        ),
        CheckConstraint("value >= 0", name="value_not_negative"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    kind: Mapped[LimitKind] = mapped_column(text_enum(LimitKind, "kind"))
    currency: Mapped[str] = mapped_column(Text)
    value: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = written_at()


class LimitSum(Base):
    """What a limited merchant's ``day`` came to ``upto`` a moment: see ``limit_sums``."""

    __tablename__ = "limit_sums"
    __table_args__ = (PrimaryKeyConstraint("user_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    day: Mapped[datetime] = mapped_column(UtcDateTime)
    upto: Mapped[datetime] = mapped_column(UtcDateTime)
    count: Mapped[int] = mapped_column(BigInteger)
    # Currency → minor units.
    amounts: Mapped[dict[str, int]] = mapped_column(JSONB)
