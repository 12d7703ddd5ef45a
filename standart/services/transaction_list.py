"""Lists of transactions: keyset paging over (created_at, id), never an OFFSET."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from standart.models import Scope
from standart.services.access import Actor
from standart.services.transaction_sql import count_many, read_many
from standart.services.wire import unit
from standart.states import TransactionStatus

# As readers see it: an overdue pending one is expired, swept or not. Each way to have a
# status has an index of its own.
_STATUS_CONDITIONS = {
    TransactionStatus.PENDING: ["t.status = 'pending' AND t.expires_at > clock.now"],
    TransactionStatus.CONFIRMED: ["t.status = 'confirmed'"],
    TransactionStatus.CANCELED: ["t.status = 'canceled'"],
    TransactionStatus.EXPIRED: [
        "t.status = 'expired'",
        "t.status = 'pending' AND t.expires_at <= clock.now",
    ],
}

Place = tuple[datetime, UUID]
"""Where a row stands in a list: by (created_at, id)."""

Row = tuple[str, datetime, UUID]
"""A transaction on the wire, and its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which transactions shall be listed.

    ``created_from`` is inclusive, ``created_to`` exclusive. ``reference_prefix`` is compared
    by bytes; without ``metadata_value`` any value of ``metadata_key`` will do. The amounts, both
    inclusive, are numbers in the currency's main unit, of whatever currency.
    """

    user_id: UUID | None = None
    id: UUID | None = None
    status: TransactionStatus | None = None
    reference: str | None = None
    reference_prefix: str | None = None
    metadata_key: str | None = None
    metadata_value: str | None = None
    currency: str | None = None
    amount_from: Decimal | None = None
    amount_to: Decimal | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


def list_transactions(
    connection: Connection,
    actor: Actor,
    *,
    after: Place | None = None,
    limit: int = 20,
    **wanted: Any,
) -> list[Row]:
    """Return (wire JSON, created_at, id) of transactions, newest first by (created_at, id).

    ``wanted`` are the fields of ``Wanted``; ``after`` is the place of the last row already
    seen. A regular actor sees its own rows, whatever it asks.
    """
    return page(connection, actor, Wanted(**wanted), after=after, limit=limit)


def page(
    connection: Connection,
    actor: Actor,
    wanted: Wanted,
    *,
    after: Place | None = None,
    before: Place | None = None,
    limit: int,
) -> list[Row]:
    """Return up to ``limit`` rows behind ``after``, or those just before ``before``.

    Newest first in either case; each page is as dear as any other.
    """
    found = _conditions(connection, actor, wanted)
    if after is not None:
        found.place("<", after)
    elif before is not None:
        found.place(">", before)
    upwards = after is None and before is not None
    statement = read_many(found.branches(wanted.status), upwards=upwards)
    rows = connection.execute(statement, {**found.parameters, "limit": limit})
    return [(row.body, row.created_at, row.id) for row in rows]


def plain_page(
    connection: Connection, actor: Actor, wanted: Wanted, *, after: Place | None, limit: int
) -> list[tuple[Any, ...]]:
    """Return a page as an export has it: created_at, id, then the texts of its columns."""
    found = _conditions(connection, actor, wanted)
    if after is not None:
        found.place("<", after)
    statement = read_many(found.branches(wanted.status), plain=True)
    rows = connection.execute(statement, {**found.parameters, "limit": limit})
    return [tuple(row) for row in rows]


def count(connection: Connection, actor: Actor, wanted: Wanted, *, most: int) -> int:
    """Return how many there are; ``most`` is where counting ends."""
    found = _conditions(connection, actor, wanted)
    statement = count_many(found.branches(wanted.status))
    return int(connection.execute(statement, {**found.parameters, "most": most}).scalar_one())


def _conditions(connection: Connection, actor: Actor, wanted: Wanted) -> _Conditions:
    actor.require(Scope.READ)
    found = _Conditions()
    found.add("t.user_id = :owner_id", None if actor.sees_all else actor.user_id)
    found.add("t.user_id = :user_id", wanted.user_id)
    if wanted.reference_prefix is not None:
        _start_with(connection, found, wanted.reference_prefix)
    found.add("t.id = :id", wanted.id)
    found.add("t.reference = :reference", wanted.reference)
    if wanted.metadata_key is not None:
        _carry(found, wanted.metadata_key, wanted.metadata_value)
    found.add("t.currency = :currency", wanted.currency)
    found.add(f"t.amount * {unit('t.currency')} >= :amount_from", wanted.amount_from)
    found.add(f"t.amount * {unit('t.currency')} <= :amount_to", wanted.amount_to)
    found.add("t.created_at >= :created_from", wanted.created_from)
    found.add("t.created_at < :created_to", wanted.created_to)
    return found


class _Conditions:
    """What must hold for ``transactions t``, with the bound values."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.parameters: dict[str, Any] = {}

    def add(self, condition: str, value: object) -> None:
        """Add a condition that ends in its parameter, unless nobody asked for it."""
        if value is not None:
            self.all.append(condition)
            self.parameters[condition.rpartition(":")[2]] = value

    def place(self, sign: str, place: Place) -> None:
        """Ask for what is behind (``<``) or before (``>``) a place."""
        self.all.append(f"(t.created_at, t.id) {sign} (:place_at, :place_id)")
        self.parameters |= {"place_at": place[0], "place_id": place[1]}

    def branches(self, status: TransactionStatus | None) -> list[list[str]]:
        """Return the conditions of each way to have ``status``."""
        if status is None:
            return [self.all]
        return [[*self.all, way] for way in _STATUS_CONDITIONS[status]]


def _start_with(connection: Connection, wanted: _Conditions, prefix: str) -> None:
    """Ask for a prefix of the reference, beside what is asked for already."""
    # As a range, not as LIKE: a plan that is kept for all prefixes uses the index too.
    wanted.add("t.reference ~>=~ :prefix", prefix)
    wanted.add("t.reference ~<~ :beyond", first_beyond(prefix))
    found = " AND ".join(wanted.all)
    if _are_few(connection, found, wanted.parameters):
        wanted.all.append(f"t.id = ANY (ARRAY(SELECT t.id FROM transactions t WHERE {found}))")


def _carry(wanted: _Conditions, key: str, value: str | None) -> None:
    """Ask for a key of the metadata, and for its value if there is one."""
    # The condition of the index: it holds those with any metadata.
    wanted.all.append("t.metadata <> '{}'::jsonb")
    if value is None:
        wanted.add("t.metadata ? :metadata_key", key)
    else:
        wanted.all.append("t.metadata @> CAST(:metadata AS jsonb)")
        wanted.parameters["metadata"] = msgspec.json.encode({key: value}).decode()


_FEW = 1000


def _are_few(connection: Connection, found: str, parameters: dict[str, Any]) -> bool:
    """Whether so few rows have a prefix that they are read first and sorted then.

    The planner has no good guess of that, and for a rare prefix it would read all of the
    merchant's history, newest first, in the hope of finding a page soon. Many are found soon.
    """
    probe = f"SELECT count(*) FROM (SELECT FROM transactions t WHERE {found} LIMIT {_FEW}) AS t"
    return int(connection.execute(text(probe), parameters).scalar_one()) < _FEW


_LAST_BEFORE_SURROGATES = "\ud7ff"
_FIRST_AFTER_SURROGATES = "\ue000"


def first_beyond(prefix: str) -> str | None:
    """Return the smallest text above all that start with ``prefix``; ``None``: there is none.

    In the order of bytes, which for UTF-8 is that of code points. Halves of surrogate pairs
    are no characters.
    """
    head = prefix.rstrip(chr(sys.maxunicode))
    if not head:
        return None
    last = head[-1]
    following = _FIRST_AFTER_SURROGATES if last == _LAST_BEFORE_SURROGATES else chr(ord(last) + 1)
    return head[:-1] + following
