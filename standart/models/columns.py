"""Columns and rules that many tables share."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import UtcDateTime

CURRENCY_CODE = "currency ~ '^[A-Z]{3,5}$'"


def written_at() -> Mapped[datetime]:
    """When the row was written, by the database's clock."""
    return mapped_column(UtcDateTime, server_default=func.clock_timestamp())


def people() -> Mapped[list[UUID]]:
    """Some users; no foreign key, since what they did outlives them."""
    return mapped_column(ARRAY(Uuid), server_default=text("'{}'"))
