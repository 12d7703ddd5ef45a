"""Closed periods and seals: what is asked and answered."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from standart.api import checks
from standart.api.fields import Cursor, Limit, Moment
from standart.api.schemas.common import Reply, Request

Period = Annotated[
    str,
    Meta(
        description="A day or a month, as the operator's calendar has it.",
        examples=["2026-11", "2026-11-28"],
        extra_json_schema={"pattern": "^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$"},
    ),
]
Hash = Annotated[
    str,
    Meta(
        description="SHA-256 in hex.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        extra_json_schema={"pattern": "^[0-9a-f]{64}$"},
    ),
]
SealNumber = Annotated[int, Meta(ge=1, description="Its place in the chain.", examples=[17])]


class ClosePeriod(Request, frozen=True):
    """Which period to close."""

    period: Period

    def __post_init__(self) -> None:
        checks.require(("period", self.period, checks.plain))


class ListCloses(Request, frozen=True):
    """A page of closed periods."""

    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(("limit", self.limit, checks.limit))


class ChainPlace(Reply, frozen=True):
    """A seal, by number and hash."""

    number: SealNumber
    hash: Hash


class Close(Reply, frozen=True, rename={"from_": "from"}):
    """A closed period: `from` inclusive, `to` exclusive, in UTC.

    `digest` is over the journals of all merchants in it; `chain_head` is null where nothing had
    ever been posted, `closed_by` for merchants.
    """

    period: Period
    zone: str
    from_: Moment
    to: Moment
    journals: int
    digest: Hash
    chain_head: ChainPlace | None
    closed_by: str | None
    closed_at: Moment


class ClosePage(Reply, frozen=True):
    """The last one closed first; `next_cursor` is null on the last page."""

    data: list[Close]
    next_cursor: str | None


class Seal(Reply, frozen=True):
    """A link of the chain: over all journals `before` a moment that no earlier seal is over.

    `total` counts all journals sealed so far; docs/proof.md tells how the hashes are made.
    """

    number: SealNumber
    before: Moment
    journals: int
    total: int
    previous: Hash
    content: Hash
    hash: Hash
