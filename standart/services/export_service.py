"""Exports: exactly the rows that a filter shows, in pages by key, each read by itself.

No transaction stays open while somebody downloads, however slowly; a row that changes in
between is told as it was when its page was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, Engine

from standart.clock import new_id
from standart.db import autocommit
from standart.models import Scope
from standart.services import audit_service, dashboard_service, transaction_list
from standart.services.access import Actor
from standart.services.transaction_list import Place, Wanted

MOST_ROWS: Final = 1_000_000
"""An export ends here; whoever needs more narrows the time range."""

MOST_COUNTED: Final = 100_000
"""Up to so many are counted one by one before an export; of all of a merchant there are sums."""

BATCH: Final = 2_000

COLUMNS: Final = (
    "id",
    "created_at",
    "status",
    "finished_at",
    "expires_at",
    "user_id",
    "user_name",
    "amount",
    "currency",
    "commission",
    "net",
    "refunded",
    "reference",
    "description",
    "reason",
)
"""What a row has. Moments are RFC 3339 in UTC, money is exact decimal text."""


def count(connection: Connection, actor: Actor, wanted: Wanted) -> int | None:
    """Return how many rows match, ``None`` for more than are counted quickly.

    Raises:
        InsufficientScope: the actor may not read.
    """
    actor.require(Scope.READ)
    own = actor.sees_all or wanted.user_id in (None, actor.user_id)
    if own and wanted == Wanted(user_id=wanted.user_id, currency=wanted.currency):
        owner_id = wanted.user_id if actor.sees_all else actor.user_id
        totals = dashboard_service.totals(connection, owner_id)
        return totals.count(dashboard_service.CREATED, wanted.currency)
    found = transaction_list.count(connection, actor, wanted, most=MOST_COUNTED + 1)
    return None if found > MOST_COUNTED else found


def note(connection: Connection, actor: Actor, wanted: Wanted, form: str) -> None:
    """Keep in the audit log who took which rows away, and in what ``form``."""
    actor.require(Scope.READ)
    asked = {key: str(value) for key, value in asdict(wanted).items() if value is not None}
    audit_service.record(
        connection,
        actor,
        "transactions.exported",
        "export",
        new_id(),
        after={"form": form, "filters": asked},
    )


def rows(engine: Engine, actor: Actor, wanted: Wanted) -> Iterator[tuple[str, ...]]:
    """Yield the rows, newest first, as texts in the order of ``COLUMNS``; "" for nothing."""
    after: Place | None = None
    left = MOST_ROWS
    while left:
        with autocommit(engine) as connection:
            found = transaction_list.plain_page(
                connection, actor, wanted, after=after, limit=min(BATCH, left)
            )
        for row in found:
            yield tuple(_text(value) for value in row[2:])
        if len(found) < min(BATCH, left):
            return
        left -= len(found)
        after = (found[-1][0], found[-1][1])


def _text(value: Any) -> str:
    return "" if value is None else str(value)
