"""What a statement says, whatever its format: head, movements, foot.

All money is in minor units of the head's currency, all times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in the chain of seals: ``hash`` (hex) of seal ``number``."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Head:
    """Whose statement it is, for which half-open span, and what there was at its start.

    ``zone`` is the merchant's IANA time zone; ``start`` and ``end`` are UTC. ``closed`` tells
    that the span lies in closed periods, so that the document can never change by a byte.
    ``anchor`` is the chain's head at that close, else the present one; ``None`` before the
    first seal. ``available`` and ``reserved`` are the two parts of the opening balance.
    """

    number: str
    merchant_id: UUID
    merchant: str
    currency: str
    start: datetime
    end: datetime
    zone: str
    closed: bool
    anchor: Anchor | None
    available: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Movement:
    """One journal as it moved the merchant's balance.

    Columns add up: over all rows ``gross`` - ``commission`` - ``refunded`` +
    ``commission_returned`` - ``paid_out`` + ``adjusted`` = ``net``, what ``available`` changed
    by; ``reserved`` is what was set aside for payouts (negative when it left or came back).
    ``paid_out`` is what payouts took out of ``available``, negative when it came back.
    ``balance`` is what is available after the movement.
    """

    number: int
    at: datetime
    kind: str
    journal_id: UUID
    source_id: UUID
    transaction_id: UUID | None
    reference: str | None
    gross: int
    commission: int
    refunded: int
    commission_returned: int
    paid_out: int
    adjusted: int
    net: int
    reserved: int
    balance: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of some movements' columns, and how many they are."""

    count: int = 0
    gross: int = 0
    commission: int = 0
    refunded: int = 0
    commission_returned: int = 0
    paid_out: int = 0
    adjusted: int = 0
    net: int = 0
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class Foot:
    """What all movements came to: totals in all and by kind of journal, the closing balance.

    ``digest`` (hex) is SHA-256 over the canonical lines of the movements' journals, in order.
    """

    totals: Totals
    by_kind: dict[str, Totals]
    available: int
    reserved: int
    digest: str
