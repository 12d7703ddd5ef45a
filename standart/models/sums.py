"""Sums of transactions that a sweep keeps, so that a year's figures cost no year's rows.

``series`` is what is counted: those ``created`` by the hour they were created in, and those
that ended by the hour of the end. Money is in minor units. See ``sums_service``.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import Base, UtcDateTime

_SERIES = "series IN ('created', 'confirmed', 'canceled', 'expired')"
_ROOM = {"postgresql_with": {"fillfactor": 70}}


def _rules(*key: str) -> tuple[PrimaryKeyConstraint | CheckConstraint, ...]:
    return (
        PrimaryKeyConstraint(*key),
        CheckConstraint(_SERIES, name="series_known"),
        CheckConstraint("count > 0", name="count_positive"),
    )


class HourlySum(Base):
    """An hour of all merchants together."""

    __tablename__ = "hourly_sums"
    __table_args__ = (*_rules("hour", "currency", "series"), _ROOM)

    currency: Mapped[str] = mapped_column(Text)
    series: Mapped[str] = mapped_column(Text)
    hour: Mapped[datetime] = mapped_column(UtcDateTime)
    count: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(Numeric(38, 0))
    commission: Mapped[int] = mapped_column(Numeric(38, 0))


class MerchantHourlySum(Base):
    """An hour of one merchant; old hours are forgotten."""

    __tablename__ = "merchant_hourly_sums"
    __table_args__ = (*_rules("user_id", "hour", "currency", "series"), _ROOM)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    currency: Mapped[str] = mapped_column(Text)
    series: Mapped[str] = mapped_column(Text)
    hour: Mapped[datetime] = mapped_column(UtcDateTime)
    count: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(Numeric(38, 0))
    commission: Mapped[int] = mapped_column(Numeric(38, 0))


class MerchantSum(Base):
    """All of one merchant, from its first day up to the mark."""

    __tablename__ = "merchant_sums"
    __table_args__ = (*_rules("user_id", "currency", "series"), _ROOM)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    currency: Mapped[str] = mapped_column(Text)
    series: Mapped[str] = mapped_column(Text)
    count: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(Numeric(38, 0))
    commission: Mapped[int] = mapped_column(Numeric(38, 0))


class SumsMark(Base):
    """One row: all that was created or ended up to this moment is in the sums, and no more."""

    __tablename__ = "sums_mark"
    __table_args__ = (
        PrimaryKeyConstraint("single"),
        CheckConstraint("single", name="one_row"),
    )

    single: Mapped[bool] = mapped_column(server_default=text("true"))
    upto: Mapped[datetime] = mapped_column(UtcDateTime)
