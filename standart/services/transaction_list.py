"""Lists of transactions: keyset paging over (created_at, id), never an OFFSET."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from standart.models import Scope
from standart.services.access import Actor
from standart.services.transaction_sql import read_many
from standart.states import TransactionStatus

# As readers see it: an overdue pending one is expired, swept or not.
_STATUS_CONDITIONS = {
    TransactionStatus.PENDING: "t.status = 'pending' AND t.expires_at > clock.now",
    TransactionStatus.CONFIRMED: "t.status = 'confirmed'",
    TransactionStatus.CANCELED: "t.status = 'canceled'",
    TransactionStatus.EXPIRED: "(t.status = 'expired'"
    " OR t.status = 'pending' AND t.expires_at <= clock.now)",
}


def list_transactions(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    status: TransactionStatus | None = None,
    reference: str | None = None,
    reference_prefix: str | None = None,
    metadata_key: str | None = None,
    metadata_value: str | None = None,
    currency: str | None = None,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[tuple[str, datetime, UUID]]:
    """Return (wire JSON, created_at, id) of transactions, newest first by (created_at, id).

    ``created_from`` is inclusive, ``created_to`` exclusive; ``after`` is the (created_at,
    id) of the last row already seen. ``reference_prefix`` is compared by bytes; without
    ``metadata_value`` any value of ``metadata_key`` will do. A regular actor sees its own
    rows, whatever it asks.
    """
    actor.require(Scope.READ)
    wanted = _Conditions()
    wanted.add("t.user_id = :owner_id", None if actor.is_admin else actor.user_id)
    wanted.add("t.user_id = :user_id", user_id)
    if reference_prefix is not None:
        _start_with(connection, wanted, reference_prefix)
    if status is not None:
        wanted.all.append(_STATUS_CONDITIONS[status])
    wanted.add("t.reference = :reference", reference)
    if metadata_key is not None:
        _carry(wanted, metadata_key, metadata_value)
    wanted.add("t.currency = :currency", currency)
    wanted.add("t.created_at >= :created_from", created_from)
    wanted.add("t.created_at < :created_to", created_to)
    if after is not None:
        wanted.all.append("(t.created_at, t.id) < (:after_at, :after_id)")
        wanted.parameters |= {"after_at": after[0], "after_id": after[1]}
    rows = connection.execute(read_many(wanted.all), {**wanted.parameters, "limit": limit})
    return [(row.body, row.created_at, row.id) for row in rows]


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


def _start_with(connection: Connection, wanted: _Conditions, prefix: str) -> None:
    """Ask for a prefix of the reference, beside what is asked for already."""
    # As a range, not as LIKE: a plan that is kept for all prefixes uses the index too.
    wanted.add("t.reference ~>=~ :prefix", prefix)
    wanted.add("t.reference ~<~ :beyond", _first_beyond(prefix))
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


def _first_beyond(prefix: str) -> str | None:
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
