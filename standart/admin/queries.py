"""What the panel reads beyond the services: figures for the dashboard, rows for the lists.

Nothing here writes. A regular viewer's figures and rows are narrowed to its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, and_, func, literal, select, union_all
from sqlalchemy.orm import Session, selectinload

from standart import money
from standart.models import (
    ApiKey,
    Approval,
    ApprovalOf,
    Entry,
    Journal,
    JournalKind,
    Refund,
    Role,
    Transaction,
    User,
)
from standart.services.access import SETTLERS
from standart.services.ledger_service import Balance


@dataclass(frozen=True)
class Sum:
    """An exact sum of one currency as decimal text, and how many rows it is of."""

    amount: str
    currency: str
    count: int = 0


def as_sum(minor: int, currency: str, count: int = 0) -> Sum:
    """Return ``minor`` units as a sum that can be shown."""
    return Sum(money.format_minor(minor, currency), currency, count)


@dataclass(frozen=True)
class Holding:
    """What is available to a merchant in one currency, and what its payouts have reserved."""

    available: Sum
    reserved: Sum
    any_reserved: bool


def as_holding(held: Balance) -> Holding:
    """Return a balance as sums that can be shown."""
    return Holding(
        as_sum(held.available, held.currency),
        as_sum(held.pending_payout, held.currency),
        held.pending_payout > 0,
    )


def names_of(session: Session, ids: Iterable[UUID]) -> dict[str, str]:
    """Return the names of users by the text of their ids."""
    rows = session.execute(select(User.id, User.name).where(User.id.in_(set(ids))))
    return {str(row.id): row.name for row in rows}


def first_names(session: Session, limit: int) -> list[str]:
    """Return the first names of users, for the browser to offer while one is typed."""
    return list(session.scalars(select(User.name).order_by(func.lower(User.name)).limit(limit)))


def users_page(session: Session, *, part: str = "", after: str = "", limit: int) -> list[User]:
    """Return users by name with their balances: those with ``part`` in it, behind ``after``."""
    query = select(User).options(selectinload(User.balances))
    if part:
        query = query.where(func.lower(User.name).contains(part.lower(), autoescape=True))
    if after:
        query = query.where(func.lower(User.name) > func.lower(after))
    return list(session.scalars(query.order_by(func.lower(User.name)).limit(limit)))


def balances_of(user: User) -> list[Sum]:
    """Return what is available to a user: at least zero in its own currency."""
    sums = [as_sum(row.balance, row.currency) for row in user.balances]
    return sums or [as_sum(0, user.currency)]


@dataclass(frozen=True)
class Posting:
    """A journal as a page shows it; its lines are (account, signed sum).

    ``reason`` is what was said to a refund.
    """

    kind: str
    created_at: datetime
    reason: str | None
    lines: list[tuple[str, Sum]]


def postings_of(session: Session, user_id: UUID, transaction_id: UUID) -> list[Posting]:
    """Return what a transaction and its refunds have posted, oldest first."""
    own = {"user_id": user_id, "transaction_id": transaction_id}
    # Each way by its own index; an OR of the two would go through all of the merchant's.
    ways = union_all(
        select(Journal.id, literal(None, Text).label("reason")).filter_by(
            **own, kind=JournalKind.SETTLEMENT
        ),
        select(Journal.id, Refund.reason)
        .join(Refund, and_(Refund.user_id == Journal.user_id, Refund.id == Journal.refund_id))
        .where(Refund.user_id == user_id, Refund.transaction_id == transaction_id),
    ).subquery()
    query = (
        select(Journal, ways.c.reason, Entry)
        .join(ways, and_(Journal.user_id == user_id, Journal.id == ways.c.id))
        .join(Entry, and_(Entry.user_id == user_id, Entry.journal_id == Journal.id))
        .order_by(Journal.created_at, Journal.id, Entry.line)
    )
    found: dict[UUID, Posting] = {}
    for journal, reason, entry in session.execute(query):
        fresh = Posting(journal.kind.value, journal.created_at, reason, [])
        posting = found.setdefault(journal.id, fresh)
        posting.lines.append((entry.kind.value, as_sum(entry.amount, entry.currency)))
    return list(found.values())


def paid_late(session: Session, user_id: UUID, transaction_id: UUID) -> UUID | None:
    """Return the transaction by which one that had ended unpaid was paid after all."""
    query = select(Transaction.id).filter_by(user_id=user_id, late_for=transaction_id)
    return session.scalar(query)


def approvals_of(
    session: Session, user_id: UUID, of: ApprovalOf, object_id: UUID, *, waits: bool
) -> list[tuple[str, datetime]]:
    """Return who has agreed to a movement of money, and when; oldest first.

    While it waits for another consent, only those that count now.
    """
    query = (
        select(User.name, Approval.created_at)
        .join(User, User.id == Approval.approver_id)
        .filter(
            Approval.user_id == user_id,
            Approval.object_type == of,
            Approval.object_id == object_id,
        )
        .order_by(Approval.created_at)
    )
    if waits:
        consenting = {Role.ADMIN} if of is ApprovalOf.ADJUSTMENT else SETTLERS
        query = query.filter(User.active, User.role.in_(consenting))
    return [(row.name, row.created_at) for row in session.execute(query)]


def has_transactions(session: Session, user_id: UUID) -> bool:
    """Whether a user has ever had a transaction, and so cannot be deleted."""
    return bool(session.scalar(select(select(Transaction.id).filter_by(user_id=user_id).exists())))


def key_prefix(session: Session, user_id: UUID, key_id: UUID) -> str | None:
    """Return by what prefix a key is known, ``None`` when the user has no such key."""
    return session.scalar(select(ApiKey.prefix).filter_by(user_id=user_id, id=key_id))
