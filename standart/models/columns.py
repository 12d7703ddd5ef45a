"""Columns and rules that many tables share."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import UtcDateTime

CURRENCY_CODE = "currency ~ '^[A-Z]{3,5}$'"


def written_at() -> Mapped[datetime]:
    """When the row was written, by the database's clock."""
    return mapped_column(UtcDateTime, server_default=func.clock_timestamp())
