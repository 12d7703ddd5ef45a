"""Finding events, by what became of them too; bounded whatever is asked.

Nothing goes through all events. What waits or was given up is taken from its own small indexes
where it is little; else the newest events are looked through, so many at a time, and whoever
wants more goes on from where the look ended.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.models import DeliveryState, Scope
from standart.services.access import Actor
from standart.services.event_list import EVENT_JSON

FEW: Final = 4_000
"""So many deliveries in a state are sorted at most; of more the newest events are looked at."""

PATIENCE: Final = 1.0
"""For how many seconds a page is sought."""

LOOK: Final = 4_000
"""How many events one page looks through at most."""

FARTHEST_LOOK: Final = 64_000
"""How many events one look goes through at most, where a page takes several."""

NO_ANSWER: Final = 0
"""What stands for the class of an answer where none came."""

Place = tuple[datetime, UUID]
"""Where an event stands in the list: its ``created_at`` and ``id``."""

Row = tuple[str, datetime, UUID]
"""An event on the wire, and its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events: a span holds its beginning and not its end; moments are UTC.

    ``object_id`` is that of a transaction, refund, payout, adjustment or endpoint.
    ``answer`` is the first digit of the last attempt's HTTP status, or ``NO_ANSWER``. State,
    answer and endpoint are those of one and the same delivery.
    """

    user_id: UUID | None = None
    type: str | None = None
    transaction_id: UUID | None = None
    object_id: UUID | None = None
    endpoint_id: UUID | None = None
    state: DeliveryState | None = None
    answer: int | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None

    @property
    def of_deliveries(self) -> bool:
        """Whether it asks about deliveries at all."""
        return any(each is not None for each in (self.endpoint_id, self.state, self.answer))


@dataclass(frozen=True, slots=True)
class Key:
    """An event and its owner."""

    user_id: UUID
    id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """Events, newest first; ``looked_to`` is where a look ended that found too little."""

    keys: list[Key]
    looked_to: Place | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Events on the wire, newest first; ``looked_to`` is where the search ran out of time."""

    rows: list[Row]
    looked_to: Place | None = None


# By the merchant first: each index of events over an object begins with it.
_ABOUT: Final = """v.user_id IN (
        SELECT user_id FROM transactions WHERE id = :object_id
        UNION ALL SELECT user_id FROM refunds WHERE id = :object_id
        UNION ALL SELECT user_id FROM payouts WHERE id = :object_id
        UNION ALL SELECT user_id FROM adjustments WHERE id = :object_id
        UNION ALL SELECT user_id FROM webhook_endpoints WHERE id = :object_id
    ) AND (v.transaction_id = :object_id OR v.refund_id = :object_id
        OR v.payout_id = :object_id OR v.adjustment_id = :object_id
        OR v.endpoint_id = :object_id)"""

_OWNERS: Final = text(
    """
    SELECT (SELECT user_id FROM transactions WHERE id = :transaction_id) AS of_transaction,
        (SELECT user_id FROM webhook_endpoints WHERE id = :endpoint_id) AS of_endpoint
    """
)

_BODIES: Final = text(
    f"""
    SELECT {EVENT_JSON} AS body, v.created_at, v.id
    FROM unnest(CAST(:user_ids AS uuid[]), CAST(:ids AS uuid[])) WITH ORDINALITY
        AS k (user_id, id, n)
    JOIN events v ON v.user_id = k.user_id AND v.id = k.id
    ORDER BY k.n
    """
)


def find(
    connection: Connection,
    actor: Actor,
    wanted: Wanted,
    *,
    after: Place | None = None,
    limit: int,
    look: int = LOOK,
) -> Found:
    """Return events, newest first, behind ``after``; a merchant's are its own, whatever it asks.

    Raises:
        InsufficientScope: the actor may not read.
    """
    actor.require(Scope.READ)
    owners: set[UUID | None] = {wanted.user_id} if wanted.user_id else set()
    if not actor.sees_all:
        owners.add(actor.user_id)
    owners |= _owners_of(connection, wanted)
    if len(owners) > 1 or None in owners:
        return Found([])
    search = _Search(wanted, next(iter(owners), None), after, limit, look)
    if search.open_states and search.are_few(connection):
        return Found(search.among_few(connection))
    return search.among_newest(connection)


def page(
    connection: Connection,
    actor: Actor,
    wanted: Wanted,
    *,
    after: Place | None = None,
    limit: int = 20,
    seconds: float = PATIENCE,
) -> Page:
    """Return up to ``limit`` events behind ``after``, with their deliveries and attempts.

    What is rare among a long history is sought for so many seconds, in looks that go farther and
    farther; whoever wants more goes on from ``looked_to``. A regular actor sees its own events,
    whatever it asks.

    Raises:
        InsufficientScope: the actor may not read.
    """
    until, look = time.monotonic() + seconds, LOOK
    found = find(connection, actor, wanted, after=after, limit=limit, look=look)
    keys = found.keys
    while found.looked_to is not None and time.monotonic() < until:
        look = min(2 * look, FARTHEST_LOOK)
        behind, left = found.looked_to, limit - len(keys)
        found = find(connection, actor, wanted, after=behind, limit=left, look=look)
        keys += found.keys
    return Page(shown(connection, keys), found.looked_to)


def shown(connection: Connection, keys: list[Key]) -> list[Row]:
    """Return events with their deliveries and attempts, in the same order.

    One that was purged since it was found is left out.
    """
    if not keys:
        return []
    parameters = {"user_ids": [key.user_id for key in keys], "ids": [key.id for key in keys]}
    rows = connection.execute(_BODIES, parameters)
    return [(row.body, row.created_at, row.id) for row in rows]


def delivered_so(wanted: Wanted) -> str:
    """SQL: whether the delivery ``d`` is one that is wanted; its values are ``parameters_of``."""
    conditions = ["true"]
    if wanted.endpoint_id is not None:
        conditions.append("d.endpoint_id = :endpoint_id")
    if wanted.state is not None:
        conditions.append(f"d.state = '{wanted.state.value}'")
    if wanted.answer is not None:
        conditions.append(
            f"""(SELECT coalesce(a.status_code / 100, {NO_ANSWER}) FROM attempts a
            WHERE a.user_id = d.user_id AND a.delivery_id = d.id
            ORDER BY a.number DESC LIMIT 1) = :answer"""
        )
    return " AND ".join(conditions)


def parameters_of(wanted: Wanted) -> dict[str, Any]:
    """Return the values that ``delivered_so`` binds."""
    named = {"endpoint_id": wanted.endpoint_id, "answer": wanted.answer}
    return {name: value for name, value in named.items() if value is not None}


def _owners_of(connection: Connection, wanted: Wanted) -> set[UUID | None]:
    """Return whose the named transaction and endpoint are; ``None`` for one that is not there."""
    if wanted.transaction_id is None and wanted.endpoint_id is None:
        return set()
    asked = {"transaction_id": wanted.transaction_id, "endpoint_id": wanted.endpoint_id}
    row = connection.execute(_OWNERS, asked).one()
    named = ((wanted.transaction_id, row.of_transaction), (wanted.endpoint_id, row.of_endpoint))
    return {owner for asked_id, owner in named if asked_id is not None}


class _Search:
    """One look at the events of one merchant, or of all where ``owner_id`` is ``None``."""

    def __init__(
        self,
        wanted: Wanted,
        owner_id: UUID | None,
        after: Place | None,
        limit: int,
        look: int,
    ) -> None:
        self._wanted, self._owner_id, self._look = wanted, owner_id, look
        self._after, self._limit = after, limit
        self._values: dict[str, Any] = {"limit": limit, **parameters_of(wanted)}

    @property
    def open_states(self) -> tuple[DeliveryState, ...]:
        """The states of what is wanted, if those are of the few that have an index."""
        wanted = self._wanted
        if wanted.state is DeliveryState.DELIVERED:
            return ()
        if wanted.state is not None:
            return (wanted.state,)
        # Whatever was answered by anything else than success is not delivered.
        failed = wanted.answer is not None and wanted.answer != 2
        return (DeliveryState.WAITING, DeliveryState.DEAD) if failed else ()

    def are_few(self, connection: Connection) -> bool:
        """Whether so little is in those states that all of it can be sorted."""
        bounded = f"SELECT count(*) FROM (SELECT FROM ({self._open()}) AS d LIMIT :most) AS few"
        values = {**self._owned(), "most": FEW + 1}
        return int(connection.execute(text(bounded), values).scalar_one()) <= FEW

    def among_few(self, connection: Connection) -> list[Key]:
        """Find what is wanted among all that are in those states."""
        statement = f"""
            SELECT v.user_id, v.id, v.created_at FROM (
                SELECT DISTINCT d.user_id, d.event_id FROM ({self._open()}) AS d
                WHERE {delivered_so(self._wanted)}
            ) AS c JOIN events v ON v.user_id = c.user_id AND v.id = c.event_id
            WHERE {self._all([*self._of_event(), *self._of_type()])}
            ORDER BY v.created_at DESC, v.id DESC LIMIT :limit
            """
        return self._keys(connection, statement)

    def among_newest(self, connection: Connection) -> Found:
        """Find what is wanted among the newest events behind the place."""
        inner, outer = self._of_event(), self._of_type()
        if outer and self._has_index():
            inner, outer = [*inner, *outer, "v.transaction_id IS NULL"], []
        if self._wanted.of_deliveries:
            # Not EXISTS, which may become a join over all deliveries of an endpoint.
            outer.append(
                f"""(SELECT true FROM deliveries d WHERE d.user_id = v.user_id
                AND d.event_id = v.id AND {delivered_so(self._wanted)} LIMIT 1)"""
            )
        self._values["look"] = self._look if outer else self._limit
        newest = f"""SELECT v.user_id, v.id, v.created_at, v.type FROM events v
            WHERE {self._all(inner)} ORDER BY v.created_at DESC, v.id DESC"""
        keys = self._keys(
            connection,
            f"""
            SELECT v.user_id, v.id, v.created_at FROM ({newest} LIMIT :look) AS v
            WHERE {self._all(outer)} ORDER BY v.created_at DESC, v.id DESC LIMIT :limit
            """,
        )
        if not outer or len(keys) >= self._limit:
            return Found(keys)
        end = connection.execute(text(f"{newest} OFFSET :look - 1 LIMIT 1"), self._values)
        last = end.one_or_none()
        return Found(keys, None if last is None else (last.created_at, last.id))

    def _has_index(self) -> bool:
        """Whether what is of the type is found by it: few events are about no transaction."""
        type_ = self._wanted.type or ""
        return self._owner_id is None and not type_.startswith("transaction.")

    def _open(self) -> str:
        owned = [f"d.{name} = :{name}" for name in self._owned()]
        return " UNION ALL ".join(
            f"""(SELECT d.user_id, d.id, d.event_id, d.endpoint_id, d.state FROM deliveries d
            WHERE {self._all([f"d.state = '{state.value}'", *owned])})"""
            for state in self.open_states
        )

    def _owned(self) -> dict[str, Any]:
        named = {"user_id": self._owner_id, "endpoint_id": self._wanted.endpoint_id}
        return {name: value for name, value in named.items() if value is not None}

    def _of_event(self) -> list[str]:
        wanted = self._wanted
        named = {
            "v.user_id = :user_id": self._owner_id,
            "v.transaction_id = :transaction_id": wanted.transaction_id,
            "v.created_at >= :created_from": wanted.created_from,
            "v.created_at < :created_to": wanted.created_to,
        }
        used = {condition: value for condition, value in named.items() if value is not None}
        self._values |= {condition.split(":")[1]: value for condition, value in used.items()}
        conditions = list(used)
        if wanted.object_id is not None:
            conditions.append(_ABOUT)
            self._values["object_id"] = wanted.object_id
        if self._after is not None:
            conditions.append("(v.created_at, v.id) < (:after_at, :after_id)")
            self._values |= {"after_at": self._after[0], "after_id": self._after[1]}
        return conditions

    def _of_type(self) -> list[str]:
        if self._wanted.type is None:
            return []
        self._values["type"] = self._wanted.type
        return ["v.type = :type"]

    def _all(self, conditions: list[str]) -> str:
        return " AND ".join(conditions) or "true"

    def _keys(self, connection: Connection, statement: str) -> list[Key]:
        values = {**self._values, **self._owned()}
        rows = connection.execute(text(statement), values)
        return [Key(row.user_id, row.id, row.created_at) for row in rows]
