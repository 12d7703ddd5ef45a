"""Finding events, by what became of them too; bounded whatever is asked.

Nothing goes through all events. What waits or was given up is taken from its own small indexes
where it is little; else the newest events are looked through, so many at a time, and whoever
wants more goes on from where the look ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy import Row as SqlRow

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


def _keys(found: str) -> str:
    """SQL: where the events of the statement ``found`` stand, newest first."""
    return f"SELECT * FROM ({found}) AS k ORDER BY k.created_at DESC, k.id DESC"


def _bodies(found: str) -> str:
    """SQL: the same on the wire, with their deliveries and attempts."""
    return f"""
        SELECT {EVENT_JSON} AS body, k.created_at, k.id
        FROM ({found}) AS k JOIN events v ON v.user_id = k.user_id AND v.id = k.id
        ORDER BY k.created_at DESC, k.id DESC
        """


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
    rows, looked_to = _look(connection, actor, wanted, after, limit, look, _keys)
    return Found([Key(row.user_id, row.id, row.created_at) for row in rows], looked_to)


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
    farther; 0 is for one look. Whoever wants more goes on from ``looked_to``. A regular actor
    sees its own events, whatever it asks.

    Raises:
        InsufficientScope: the actor may not read.
    """
    until, look = time.monotonic() + seconds, LOOK
    rows, looked_to = _look(connection, actor, wanted, after, limit, look, _bodies)
    while looked_to is not None and time.monotonic() < until:
        look = min(2 * look, FARTHEST_LOOK)
        left = limit - len(rows)
        more, looked_to = _look(connection, actor, wanted, looked_to, left, look, _bodies)
        rows += more
    return Page([(row.body, row.created_at, row.id) for row in rows], looked_to)


def _look(
    connection: Connection,
    actor: Actor,
    wanted: Wanted,
    after: Place | None,
    limit: int,
    look: int,
    shown: Callable[[str], str],
) -> tuple[list[SqlRow[Any]], Place | None]:
    """Return what is found as ``shown`` shows it, and where to go on if that was too little."""
    actor.require(Scope.READ)
    owners: set[UUID | None] = {wanted.user_id} if wanted.user_id else set()
    if not actor.sees_all:
        owners.add(actor.user_id)
    # A stranger's transaction is not in the index of a known owner; for a stranger's endpoint
    # all that the owner has would be looked through in vain.
    if not owners or wanted.endpoint_id is not None:
        owners |= _owners_of(connection, wanted)
    if len(owners) > 1 or None in owners:
        return [], None
    search = _Search(wanted, next(iter(owners), None), after, limit, look)
    if search.open_states and search.are_few(connection):
        return search.read(connection, shown(search.among_few())), None
    rows = search.read(connection, shown(search.among_newest()))
    if not search.is_narrowed or len(rows) >= limit:
        return rows, None
    return rows, search.end_of_look(connection)


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

    def among_few(self) -> str:
        """SQL: what is wanted among all that are in those states."""
        return f"""
            SELECT v.user_id, v.id, v.created_at FROM (
                SELECT DISTINCT d.user_id, d.event_id FROM ({self._open()}) AS d
                WHERE {delivered_so(self._wanted)}
            ) AS c JOIN events v ON v.user_id = c.user_id AND v.id = c.event_id
            WHERE {_all([*self._of_event(), *self._of_type()])}
            ORDER BY v.created_at DESC, v.id DESC LIMIT :limit
            """

    def among_newest(self) -> str:
        """SQL: what is wanted among the newest events behind the place."""
        narrowing = self._narrowing()
        self._values["look"] = self._look if narrowing else self._limit
        return f"""
            SELECT v.user_id, v.id, v.created_at FROM ({self._newest()} LIMIT :look) AS v
            WHERE {_all(narrowing)} ORDER BY v.created_at DESC, v.id DESC LIMIT :limit
            """

    @property
    def is_narrowed(self) -> bool:
        """Whether a look may go through events that are not wanted."""
        return bool(self._narrowing())

    def end_of_look(self, connection: Connection) -> Place | None:
        """Return the last event of a look that went its whole way."""
        last = self.read(connection, f"{self._newest()} OFFSET :look - 1 LIMIT 1")
        return (last[0].created_at, last[0].id) if last else None

    def read(self, connection: Connection, statement: str) -> list[SqlRow[Any]]:
        """Return the rows of one of these statements."""
        return list(connection.execute(text(statement), {**self._values, **self._owned()}))

    def _newest(self) -> str:
        conditions = self._of_event()
        if self._has_index():
            conditions += [*self._of_type(), "v.transaction_id IS NULL"]
        return f"""SELECT v.user_id, v.id, v.created_at, v.type FROM events v
            WHERE {_all(conditions)} ORDER BY v.created_at DESC, v.id DESC"""

    def _narrowing(self) -> list[str]:
        """SQL: what must hold of an event that no index finds."""
        conditions = [] if self._has_index() else self._of_type()
        if self._wanted.of_deliveries:
            # Not EXISTS, which may become a join over all deliveries of an endpoint.
            conditions.append(
                f"""(SELECT true FROM deliveries d WHERE d.user_id = v.user_id
                AND d.event_id = v.id AND {delivered_so(self._wanted)} LIMIT 1)"""
            )
        return conditions

    def _has_index(self) -> bool:
        """Whether what is of the type is found by it: few events are about no transaction."""
        type_ = self._wanted.type
        return type_ is not None and self._owner_id is None and not type_.startswith("transaction.")

    def _open(self) -> str:
        owned = [f"d.{name} = :{name}" for name in self._owned()]
        return " UNION ALL ".join(
            f"""(SELECT d.user_id, d.id, d.event_id, d.endpoint_id, d.state FROM deliveries d
            WHERE {_all([f"d.state = '{state.value}'", *owned])})"""
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


def _all(conditions: list[str]) -> str:
    return " AND ".join(conditions) or "true"
