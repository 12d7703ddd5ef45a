"""Lists of transactions: keyset paging over (created_at, id), never an OFFSET."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from standart.models import Scope
from standart.services import transaction_amounts
from standart.services.access import Actor
from standart.services.transaction_sql import count_many, read_ids, read_many
from standart.states import TransactionStatus

_PENDING = "t.status = 'pending'"
_ENDED = "t.finished_at IS NOT NULL"

# As readers see it: an overdue pending one is expired, swept or not. Each way to have a
# status has an index of its own.
_STATUS_CONDITIONS = {
    TransactionStatus.PENDING: [f"{_PENDING} AND t.expires_at > clock.now"],
    TransactionStatus.CONFIRMED: ["t.status = 'confirmed'"],
    TransactionStatus.CANCELED: ["t.status = 'canceled'"],
    TransactionStatus.EXPIRED: [
        "t.status = 'expired'",
        f"{_PENDING} AND t.expires_at <= clock.now",
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
    found: Conditions | None = None,
) -> list[Row]:
    """Return up to ``limit`` rows behind ``after``, or those just before ``before``.

    Newest first in either case; each page is as dear as any other. ``found`` is what
    ``conditions`` has returned for the same actor and wanted, if that was asked before.
    """
    found = found or conditions(connection, actor, wanted)
    if after is not None:
        found = found.placed("<", after)
    elif before is not None:
        found = found.placed(">", before)
    upwards = after is None and before is not None
    statement = read_many(found.branches(wanted.status), upwards=upwards)
    rows = connection.execute(statement, {**found.parameters, "limit": limit})
    return [(row.body, row.created_at, row.id) for row in rows]


def of_ids(connection: Connection, actor: Actor, ids: Sequence[UUID]) -> list[Row]:
    """Return the transactions of these ids, newest first; what is somebody else's is left out."""
    found = conditions(connection, actor, Wanted())
    found.all.append("t.id = ANY (CAST(:ids AS uuid[]))")
    bound = {**found.parameters, "ids": list(ids), "limit": len(ids)}
    rows = connection.execute(read_many(found.branches(None)), bound)
    return [(row.body, row.created_at, row.id) for row in rows]


def newest_ids(connection: Connection, actor: Actor, wanted: Wanted, *, limit: int) -> list[UUID]:
    """Return the ids of up to ``limit`` transactions, newest first."""
    found = conditions(connection, actor, wanted)
    statement = read_ids(found.branches(wanted.status))
    return list(connection.scalars(statement, {**found.parameters, "limit": limit}))


def plain_page(
    connection: Connection, actor: Actor, wanted: Wanted, *, after: Place | None, limit: int
) -> list[tuple[Any, ...]]:
    """Return a page as an export has it: created_at, id, then the texts of its columns."""
    found = conditions(connection, actor, wanted)
    if after is not None:
        found = found.placed("<", after)
    statement = read_many(found.branches(wanted.status), plain=True)
    rows = connection.execute(statement, {**found.parameters, "limit": limit})
    return [tuple(row) for row in rows]


def count(
    connection: Connection,
    actor: Actor,
    wanted: Wanted,
    *,
    most: int,
    found: Conditions | None = None,
) -> int:
    """Return how many there are; ``most`` is where counting ends, ``found`` as for ``page``."""
    found = found or conditions(connection, actor, wanted)
    statement = count_many(found.branches(wanted.status))
    return int(connection.execute(statement, {**found.parameters, "most": most}).scalar_one())


def conditions(connection: Connection, actor: Actor, wanted: Wanted) -> Conditions:
    """Return what a transaction must be to be listed, ways to find it included.

    Raises:
        InsufficientScope: the actor may not read.
    """
    actor.require(Scope.READ)
    found = Conditions()
    found.add("t.user_id = :owner_id", None if actor.sees_all else actor.user_id)
    found.add("t.user_id = :user_id", wanted.user_id)
    if wanted.reference_prefix is not None:
        _start_with(connection, found, wanted.reference_prefix)
    found.add("t.id = :id", wanted.id)
    found.add("t.reference = :reference", wanted.reference)
    if wanted.metadata_key is not None:
        _carry(found, wanted.metadata_key, wanted.metadata_value)
    found.add("t.currency = :currency", wanted.currency)
    _cost(connection, found, wanted, wanted.user_id if actor.sees_all else actor.user_id)
    found.add("t.created_at >= :created_from", wanted.created_from)
    found.add("t.created_at < :created_to", wanted.created_to)
    return found


class Conditions:
    """What must hold for ``transactions t``, with the bound values."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.parameters: dict[str, Any] = {}
        self.by_amount = False

    def add(self, condition: str, value: object) -> None:
        """Add a condition that ends in its parameter, unless nobody asked for it."""
        if value is not None:
            self.all.append(condition)
            self.parameters[condition.rpartition(":")[2]] = value

    def placed(self, sign: str, place: Place) -> Conditions:
        """Return the same for what is behind (``<``) or before (``>``) a place."""
        made = Conditions()
        made.all = [*self.all, f"(t.created_at, t.id) {sign} (:place_at, :place_id)"]
        made.parameters = {**self.parameters, "place_at": place[0], "place_id": place[1]}
        made.by_amount = self.by_amount
        return made

    def branches(self, status: TransactionStatus | None) -> list[list[str]]:
        """Return the conditions of each way to have ``status``."""
        ways = [] if status is None else _STATUS_CONDITIONS[status]
        if not self.by_amount:
            return [[*self.all, way] for way in ways] or [self.all]
        # The index of amounts holds what has ended; of what is pending there is little.
        return [
            [*self.all, way] if way.startswith(_PENDING) else [*self.all, _ENDED, way]
            for way in ways or ["true", _PENDING]
        ]


def _cost(connection: Connection, found: Conditions, wanted: Wanted, owner_id: UUID | None) -> None:
    """Ask for a range of amounts, and for none of a currency that the owner has nothing in."""
    by_amount = wanted.amount_from is not None or wanted.amount_to is not None
    if wanted.currency is None and not by_amount:
        return
    found.by_amount = True
    known = None if owner_id is None else transaction_amounts.currencies_of(connection, owner_id)
    if wanted.currency is not None:
        if known is not None and wanted.currency not in known:
            found.all.append("false")
        known = [wanted.currency]
    if by_amount:
        found.all.append(transaction_amounts.between(wanted.amount_from, wanted.amount_to, known))


def _start_with(connection: Connection, wanted: Conditions, prefix: str) -> None:
    """Ask for a prefix of the reference, beside what is asked for already."""
    # As a range, not as LIKE: a plan that is kept for all prefixes uses the index too.
    wanted.add("t.reference ~>=~ :prefix", prefix)
    wanted.add("t.reference ~<~ :beyond", first_beyond(prefix))
    few = _few(connection, " AND ".join(wanted.all), wanted.parameters)
    if few is not None:
        wanted.all.append("t.id = ANY (CAST(:few AS uuid[]))")
        wanted.parameters["few"] = few


def _carry(wanted: Conditions, key: str, value: str | None) -> None:
    """Ask for a key of the metadata, and for its value if there is one."""
    # The condition of the index: it holds those with any metadata.
    wanted.all.append("t.metadata <> '{}'::jsonb")
    if value is None:
        wanted.add("t.metadata ? :metadata_key", key)
    else:
        wanted.all.append("t.metadata @> CAST(:metadata AS jsonb)")
        wanted.parameters["metadata"] = msgspec.json.encode({key: value}).decode()


_FEW = 1000


def _few(connection: Connection, found: str, parameters: dict[str, Any]) -> list[UUID] | None:
    """Return the ids of those with a prefix, if they are so few that they can be sorted.

    The planner has no good guess of that, and for a rare prefix it would read all of the
    merchant's history, newest first, in the hope of finding a page soon. Many are found soon.
    """
    probe = text(f"SELECT t.id FROM transactions t WHERE {found} LIMIT {_FEW}")
    ids = list(connection.scalars(probe, parameters))
    return ids if len(ids) < _FEW else None


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
