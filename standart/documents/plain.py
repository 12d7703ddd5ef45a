"""Amounts and moments as programs read them, quickly: a statement may have a million rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from standart.money import digits_of

ROWS: Final = 250
"""Movements that are put out at a time."""


def utc(at: datetime) -> str:
    """Return a UTC moment as all answers have it: RFC 3339 with microseconds and ``Z``."""
    return f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def amounts(currency: str) -> Callable[[int], str]:
    """Return what writes minor units of ``currency`` as ``money.format_minor`` does."""
    digits = digits_of(currency)
    if digits == 0:
        return str
    unit = 10**digits
    nothing = f"0.{'0' * digits}"

    def write(minor: int) -> str:
        if minor > 0:
            return f"{minor // unit}.{minor % unit:0{digits}d}"
        if minor < 0:
            return f"-{-minor // unit}.{-minor % unit:0{digits}d}"
        return nothing

    return write
