"""Balances: what a merchant has now, and what it had at any moment before.

Double entry: every journal's entries sum to zero in each currency, and a balance is the
sum of its entries. All accounts are the merchant's own, so that no row of the system is
hot. ``docs/ledger.md`` goes through every posting; ``verify_service`` proves the books.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.errors import InvalidInput, Unavailable
from standart.models import Scope
from standart.services import posting
from standart.services.access import Actor

_HELD = "('available', 'pending_payout')"

_BALANCES = text(
    f"""
    SELECT coalesce(b.currency, u.currency) AS currency,
        coalesce(sum(b.balance) FILTER (WHERE b.kind = 'available'), 0)::bigint AS available,
        coalesce(sum(b.balance) FILTER (WHERE b.kind = 'pending_payout'), 0)::bigint
            AS pending_payout
    FROM users u
    LEFT JOIN account_balances b ON b.user_id = u.id AND b.kind IN {_HELD}
    WHERE u.id = :user_id
    GROUP BY 1 ORDER BY 1
    """
)

# What there is, less what has come since: yesterday's balance costs a day's journals and
# not all of them. A currency that had no entry yet is none of that moment's.
_BALANCES_AT = text(
    f"""
    WITH held AS (
        SELECT currency, kind, balance FROM account_balances
        WHERE user_id = :user_id AND kind IN {_HELD}
        UNION ALL
        SELECT e.currency, e.kind, -e.amount
        FROM journals j
        JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
        WHERE j.user_id = :user_id AND j.created_at > :at AND e.kind IN {_HELD}
    ),
    had AS (
        SELECT h.currency, h.available, h.pending_payout
        FROM (
            SELECT currency,
                coalesce(sum(balance) FILTER (WHERE kind = 'available'), 0)::bigint AS available,
                coalesce(sum(balance) FILTER (WHERE kind = 'pending_payout'), 0)::bigint
                    AS pending_payout
            FROM held GROUP BY currency
        ) AS h
        CROSS JOIN LATERAL (
            SELECT FROM journals j
            JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
            WHERE j.user_id = :user_id AND j.created_at <= :at
              AND e.currency = h.currency AND e.kind IN {_HELD}
            LIMIT 1
        ) AS begun
    )
    SELECT currency, available, pending_payout FROM had
    UNION ALL
    SELECT currency, 0, 0 FROM users WHERE id = :user_id AND NOT EXISTS (SELECT FROM had)
    ORDER BY 1
    """
)

_IS_PAST = text("SELECT :at < clock_timestamp()")

# Whoever writes a journal holds this lock before its row reads the clock, and lets it go
# after its commit can be seen. Snapshots of transaction ids would not do: one that has
# begun may be above the xmax of a snapshot, and long work elsewhere would count as well.
_WRITERS = text(
    """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'journals'::regclass
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()
    """
)
_PAUSE = text("SELECT pg_sleep(:seconds)")

PAUSES: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 0.64)
"""Seconds to wait for writers, again and again: two seconds in all."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What a merchant has in one currency, in minor units.

    ``available`` can be refunded and paid out, ``pending_payout`` is on its way out.
    """

    currency: str
    available: int
    pending_payout: int


def balances(
    connection: Connection, actor: Actor, *, user_id: UUID | None = None
) -> list[tuple[str, int]]:
    """Return (currency, available minor units) as ``holdings`` has them."""
    return [
        (each.currency, each.available) for each in holdings(connection, actor, user_id=user_id)
    ]


def holdings(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    at: datetime | None = None,
) -> list[Balance]:
    """Return what a merchant has now, or had when all journals up to ``at`` were posted.

    At least the user's own currency with zero. What was at a moment is answered once it
    can never change any more: asking again gives the same. ``connection`` is in autocommit
    mode. An admin names the user; a regular actor has its own only.

    Raises:
        InvalidInput: ``user_id`` is missing, unknown, or not the actor's to name; ``at`` is
            not in the past.
        Unavailable: somebody has been writing a journal since before ``at``, for too long.
    """
    actor.require(Scope.READ)
    if actor.is_admin and user_id is None:
        raise InvalidInput.of("user_id", "An admin's key must name the merchant.")
    if not actor.is_admin and user_id is not None:
        raise InvalidInput.of("user_id", "Only an admin's key may name a merchant.")
    owner = {"user_id": user_id or actor.user_id}
    if at is None:
        rows = connection.execute(_BALANCES, owner).all()
    else:
        _let_finish(connection, at)
        rows = connection.execute(_BALANCES_AT, {**owner, "at": at}).all()
    if not rows:
        raise InvalidInput.of("user_id", "There is no such user.")
    return [Balance(row.currency, row.available, row.pending_payout) for row in rows]


def _let_finish(connection: Connection, at: datetime) -> None:
    """Wait until nobody can post a journal of ``at`` or earlier any more."""
    if not connection.scalar(_IS_PAST, {"at": at}):
        raise InvalidInput.of("at", "must be in the past")
    writers = set(connection.scalars(_WRITERS))
    pauses = iter(PAUSES)
    while writers:
        seconds = next(pauses, None)
        if seconds is None:
            raise Unavailable("What was posted up to then is not settled yet.", retry_after=1)
        connection.execute(_PAUSE, {"seconds": seconds})
        writers &= set(connection.scalars(_WRITERS))


def fold_deltas(connection: Connection, *, batch: int = 5000) -> int:
    """Fold up to ``batch`` deltas into their accounts; return how many. Changes no balance."""
    return posting.fold(connection, batch=batch)
