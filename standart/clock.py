"""The only callers of time and uuid, so that tests can hold both.

Whether a transaction is overdue is never decided here: that is the database's clock.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from uuid import UUID, uuid5


def now() -> datetime:
    """Return the present moment as an aware datetime in UTC."""
    return datetime.now(UTC)


def timestamp() -> int:
    """Return whole seconds since the Unix epoch, UTC."""
    return int(time.time())


def monotonic() -> float:
    """Return seconds of a clock that never goes back, for measuring durations."""
    return time.monotonic()


def new_id() -> UUID:
    """Return a new UUID version 7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    tail = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | tail
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def derived_id(origin: UUID, name: str) -> UUID:
    """Return the id that always follows from an id and a name."""
    return uuid5(origin, name)
