"""What a filled database shall look like."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime


def _whole_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``until`` is the newest moment (UTC); shares are parts of one.

    What is neither ``confirmed``, ``canceled`` nor ``pending`` is expired. ``big`` is the
    part of the first merchant, the others share the rest unevenly. ``refunds`` is a part of
    what is confirmed, and ``payouts`` the part of each week's net that is paid out. Events
    are kept of the last ``event_days``; the older ones count as purged.
    """

    transactions: int = 100_000
    merchants: int = 200
    days: int = 400
    big: float = 0.4
    confirmed: float = 0.85
    canceled: float = 0.08
    pending: float = 0.004
    refunds: float = 0.01
    payouts: float = 0.5
    event_days: int = 7
    seed: int = 1
    batch: int = 100_000
    until: datetime = field(default_factory=_whole_second)
