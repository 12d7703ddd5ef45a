"""Balances: what a merchant has now, and what it had at any moment before.

Double entry: every journal's entries sum to zero in each currency, and a balance is the
sum of its entries. All accounts are the merchant's own, so that no row of the system is
hot. ``docs/ledger.md`` goes through every posting; ``verify_service`` proves the books.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from standart.errors import InvalidInput
from standart.models import Scope
from standart.services import posting, writers
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
    owner_id = owner_of(actor, user_id)
    if at is None:
        rows = connection.execute(_BALANCES, {"user_id": owner_id}).all()
        found = [Balance(row.currency, row.available, row.pending_payout) for row in rows]
    else:
        let_finish(connection, at)
        found = held_at(connection, owner_id, at)
    if not found:
        raise InvalidInput.of("user_id", "There is no such user.")
    return found


def owner_of(actor: Actor, user_id: UUID | None) -> UUID:
    """Return whose books are meant: the merchant that an admin names, else the actor's own.

    Raises:
        InvalidInput: ``user_id`` is missing, or not the actor's to name.
    """
    actor.require(Scope.READ)
    if actor.sees_all and user_id is None:
        raise InvalidInput.of("user_id", "An admin's key must name the merchant.")
    if not actor.sees_all and user_id is not None:
        raise InvalidInput.of("user_id", "Only an admin's key may name a merchant.")
    owner_id = user_id or actor.user_id
    assert owner_id is not None
    return owner_id


def held_at(connection: Connection, user_id: UUID, at: datetime) -> list[Balance]:
    """Return what there was at a moment that ``let_finish`` has waited for; none: no such user."""
    rows = connection.execute(_BALANCES_AT, {"user_id": user_id, "at": at})
    return [Balance(row.currency, row.available, row.pending_payout) for row in rows]


def let_finish(connection: Connection, at: datetime) -> None:
    """Wait until nobody can post a journal of ``at`` or earlier any more.

    Raises:
        InvalidInput: ``at`` is not in the past.
        Unavailable: somebody has been writing a journal since before ``at``, for too long.
    """
    if not connection.scalar(_IS_PAST, {"at": at}):
        raise InvalidInput.of("at", "must be in the past")
    writers.let_finish(connection)


def fold_deltas(connection: Connection, *, batch: int = 5000) -> int:
    """Fold up to ``batch`` deltas into their accounts; return how many. Changes no balance."""
    return posting.fold(connection, batch=batch)
