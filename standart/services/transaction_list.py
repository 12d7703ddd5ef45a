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
    parameters: dict[str, Any] = {"limit": limit}
    conditions: list[str] = []

    def add(condition: str, **values: object) -> None:
        conditions.append(condition)
        parameters.update(values)

    if not actor.is_admin:
        add("t.user_id = :owner_id", owner_id=actor.user_id)
    if user_id is not None:
        add("t.user_id = :user_id", user_id=user_id)
    if reference_prefix is not None:
        # As a range, not as LIKE: a plan that is kept for all prefixes uses the index too.
        add("t.reference ~>=~ :prefix", prefix=reference_prefix)
        beyond = _first_beyond(reference_prefix)
        if beyond:
            add("t.reference ~<~ :beyond", beyond=beyond)
        found = " AND ".join(conditions)
        if _are_few(connection, found, parameters):
            conditions.append(f"t.id = ANY (ARRAY(SELECT t.id FROM transactions t WHERE {found}))")
    if status is not None:
        conditions.append(_STATUS_CONDITIONS[status])
    if reference is not None:
        add("t.reference = :reference", reference=reference)
    if metadata_key is not None:
        # The first condition is the index's own: it holds those with any metadata.
        conditions.append("t.metadata <> '{}'::jsonb")
        if metadata_value is None:
            add("t.metadata ? :metadata_key", metadata_key=metadata_key)
        else:
            pair = msgspec.json.encode({metadata_key: metadata_value}).decode()
            add("t.metadata @> CAST(:metadata AS jsonb)", metadata=pair)
    if currency is not None:
        add("t.currency = :currency", currency=currency)
    if created_from is not None:
        add("t.created_at >= :created_from", created_from=created_from)
    if created_to is not None:
        add("t.created_at < :created_to", created_to=created_to)
    if after is not None:
        add(
            "(t.created_at, t.id) < (:after_at, :after_id)",
            after_at=after[0],
            after_id=after[1],
        )
    rows = connection.execute(read_many(conditions), parameters)
    return [(row.body, row.created_at, row.id) for row in rows]


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
