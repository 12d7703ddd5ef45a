"""Lists of payouts: keyset paging over (created_at, id), never an OFFSET."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.models import Scope
from standart.services import payout_sql
from standart.services.access import Actor
from standart.states import PayoutStatus

OPEN: Final = (PayoutStatus.PENDING, PayoutStatus.APPROVED)
"""Those whose money is reserved; a partial index holds them."""

_IS_OPEN: Final = "p.status IN ('pending', 'approved')"


def list_payouts(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    status: PayoutStatus | None = None,
    only_open: bool = False,
    currency: str | None = None,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    reference: str | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[tuple[str, datetime, UUID]]:
    """Return (wire JSON, created_at, id) of payouts, newest first by (created_at, id).

    ``created_from`` is inclusive, ``created_to`` exclusive; ``after`` is the (created_at,
    id) of the last row already seen. ``only_open``: those that have not ended.
    A regular actor sees its own rows, whatever it asks.
    """
    actor.require(Scope.READ)
    wanted: dict[str, Any] = {
        "p.user_id = :owner_id": None if actor.sees_all else actor.user_id,
        "p.user_id = :user_id": user_id,
        "p.status = :status": status,
        "p.currency = :currency": currency,
        "p.created_at >= :created_from": created_from,
        "p.created_at < :created_to": created_to,
        "p.reference = :reference": reference,
    }
    used = {condition: value for condition, value in wanted.items() if value is not None}
    parameters = {condition.split(":")[1]: value for condition, value in used.items()}
    conditions = list(used)
    if only_open or status in OPEN:
        # Said in so many words, so that the planner sees that the index of the open ones fits.
        conditions.append(_IS_OPEN)
    if after is not None:
        conditions.append("(p.created_at, p.id) < (:after_at, :after_id)")
        parameters |= {"after_at": after[0], "after_id": after[1]}
    rows = connection.execute(
        text(payout_sql.list_page(conditions)), {**parameters, "limit": limit}
    )
    return [(row.body, row.created_at, row.id) for row in rows]
