"""Following events: each of them once, one that commits late included.

An event's position is its transaction's number (``EventClock``). Below the horizon every
transaction has ended, so what lies there never grows any more: a reader that stays below it
misses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.models import Scope
from standart.services import merchants
from standart.services.access import Actor
from standart.services.event_list import EVENT_JSON

_FIRST: Final = UUID(int=0)

START: Final = (-1, _FIRST)
"""The place before all events."""

_HORIZON: Final = text("SELECT standart_event_horizon()")

_READ: Final = text(
    f"""
    SELECT {EVENT_JSON} AS body, v.position, v.id FROM events v
    WHERE v.user_id = :user_id AND (v.position, v.id) > (:position, :id)
      AND v.position < :horizon AND v.type = coalesce(CAST(:type AS text), v.type)
    ORDER BY v.position, v.id LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events one after the other as wire JSON, and the place behind them to go on from."""

    events: list[str]
    next: tuple[int, UUID]


def read(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    type: str | None = None,
    after: tuple[int, UUID] | None = None,
    limit: int = 20,
) -> Stretch:
    """Return up to ``limit`` events of one merchant behind ``after``, oldest first.

    Without ``after`` only the place of the present: what happens from now on lies behind it.
    An admin names the merchant by ``user_id``. ``connection`` is in autocommit mode.

    Raises:
        InsufficientScope: the actor may not read.
        InvalidInput: ``user_id`` does not fit.
    """
    actor.require(Scope.READ)
    owner_id = merchants.meant_by(connection, actor, user_id, leaving=True).id
    # By a statement of its own, before the other one: what has ended by then, that one sees.
    horizon = int(connection.execute(_HORIZON).scalar_one())
    if after is None:
        return Stretch([], (horizon, _FIRST))
    rows = connection.execute(
        _READ,
        {
            "user_id": owner_id,
            "position": after[0],
            "id": after[1],
            "horizon": horizon,
            "type": type,
            "limit": limit,
        },
    ).all()
    if len(rows) == limit:
        place = (rows[-1].position, rows[-1].id)
    else:
        # All below the horizon is read; after a restore ``after`` may lie beyond it.
        place = max(after, (horizon, _FIRST))
    return Stretch([row.body for row in rows], place)
