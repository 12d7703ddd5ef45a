"""Sending a span of an endpoint's events anew, in batches, by whoever of the workers is free.

A replay is a row that says how far it has come. A batch is one transaction that holds this row,
so several workers never send one twice, and one that dies leaves nothing half done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from standart.clock import new_id
from standart.db import constraint_name, unit
from standart.errors import EndpointNotCallable, InvalidInput, NotFound, ReplayRunning
from standart.models import ReplayScope, Scope
from standart.services import acts, audit_service, endpoint_acts
from standart.services import span_replay_sql as sql
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest

MOST_EVENTS: Final = 100_000
"""How many events a span may hold, whether or not they are sent anew."""

_TRIES: Final = 3
_EVENT_IS_THERE: Final = "fk_deliveries_events"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReplay:
    """What shall be sent anew: events of an endpoint's owner from ``since`` to before ``until``.

    Only those whose delivery is dead, or all that the endpoint asks for or got before.
    ``fresh_id`` lets a repeated run find what the first wrote.
    """

    endpoint_id: UUID
    since: datetime
    until: datetime
    scope: ReplayScope
    fresh_id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch came to."""

    examined: int
    requeued: int


def start(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    new: NewReplay,
    *,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Begin to send a span anew; answers 202 with the replay, whose work is done by ``step``.

    While one of the same endpoint runs, the same request is answered with that one.
    ``connection`` is in autocommit mode.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not write.
        NotFound: the endpoint is unknown, deleted, or somebody else's.
        EndpointNotCallable: it is disabled, or has no URL.
        ReplayRunning: another one of this endpoint runs.
        InvalidInput: the span is empty, or holds more than ``MOST_EVENTS``.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """

    def work(actor: Actor) -> Answer:
        if new.since >= new.until:
            raise InvalidInput.of("until", "must be later than since")
        owner_id = endpoint_acts.owner_of(connection, actor, new.endpoint_id)
        endpoint = {"user_id": owner_id, "endpoint_id": new.endpoint_id}
        # Held until the commit: two starts of one endpoint come one after the other.
        is_callable = connection.execute(sql.HOLD_ENDPOINT, endpoint).scalar_one()
        replay_id = _known(connection, endpoint, new)
        if replay_id is None:
            if not is_callable:
                raise EndpointNotCallable
            _begin(connection, actor, endpoint, new)
            replay_id = new.fresh_id
        read = {**endpoint, "id": replay_id}
        return Answer(202, connection.execute(sql.READ, read).scalar_one())

    return acts.perform(connection, caller, origin, Scope.WRITE, work, claim=claim)


def _known(connection: Connection, endpoint: dict[str, Any], new: NewReplay) -> UUID | None:
    """Return the replay that this request has begun already, ``None`` if there is none."""
    row = connection.execute(sql.KNOWN, {**endpoint, "id": new.fresh_id}).one_or_none()
    if row is None:
        return None
    asked = (new.since, new.until, new.scope.value)
    if row.id != new.fresh_id and (row.since, row.until, row.scope) != asked:
        raise ReplayRunning(replay_id=str(row.id))
    found: UUID = row.id
    return found


def _begin(connection: Connection, actor: Actor, endpoint: dict[str, Any], new: NewReplay) -> None:
    span = {**endpoint, "since": new.since, "until": new.until}
    total = int(connection.execute(sql.COUNT, {**span, "most": MOST_EVENTS + 1}).scalar_one())
    if total > MOST_EVENTS:
        raise InvalidInput.of(
            "until", f"ends a span of more than {MOST_EVENTS} events; choose a shorter one"
        )
    connection.execute(
        sql.BEGIN, {**span, "id": new.fresh_id, "scope": new.scope.value, "total": total}
    )
    audit_service.record(
        connection,
        actor,
        "endpoint.replay_started",
        "webhook_endpoint",
        new.endpoint_id,
        after={
            "replay_id": str(new.fresh_id),
            "since": new.since.isoformat(),
            "until": new.until.isoformat(),
            "status": new.scope.value,
            "total": total,
        },
    )


def step(connection: Connection, *, batch: int = 500) -> Step | None:
    """Examine up to ``batch`` events of some replay; ``None`` if none is to be gone on with.

    The one that has come least far comes first, so that a short one never waits for a long one.
    It ends early where its endpoint may not be called any more. A batch that meets a purge is
    tried again without what went meanwhile. ``connection`` is in autocommit mode.
    """
    for _ in range(_TRIES):
        try:
            return _step(connection, batch)
        except IntegrityError as error:
            if constraint_name(error) != _EVENT_IS_THERE:
                raise
    return Step(0, 0)


def _step(connection: Connection, batch: int) -> Step | None:
    with unit(connection):
        row = connection.execute(sql.NEXT).one_or_none()
        if row is None:
            return None
        if not _mark(connection, row, batch):
            return Step(0, 0)
        done = _send(connection, row, batch) if row.callable else Step(0, 0)
        if done.examined < batch:
            connection.execute(sql.FINISH, {"user_id": row.user_id, "id": row.id})
        return done


def _mark(connection: Connection, row: Row[Any], batch: int) -> bool:
    """Let what is under way be tried once more if it fails; tell whether all could be reached.

    What could not is being recorded right now: the next step sees how it ended.
    """
    if row.scope == ReplayScope.DEAD.value or not row.callable:
        return True
    return int(connection.execute(sql.MARK, _batch(row, batch)).scalar_one()) == 0


def _batch(row: Row[Any], batch: int) -> dict[str, Any]:
    return {
        "user_id": row.user_id,
        "endpoint_id": row.endpoint_id,
        "reached_at": row.reached_at,
        "reached_id": row.reached_id,
        "until": row.until,
        "batch": batch,
    }


def _send(connection: Connection, row: Row[Any], batch: int) -> Step:
    statement = sql.SEND_DEAD if row.scope == ReplayScope.DEAD.value else sql.SEND_ALL
    sent = connection.execute(statement, _batch(row, batch)).one()
    if sent.examined:
        connection.execute(
            sql.ADVANCE,
            {
                "user_id": row.user_id,
                "id": row.id,
                "examined": sent.examined,
                "requeued": sent.requeued,
                "last_at": sent.last_at,
                "last_id": sent.last_id,
            },
        )
    return Step(sent.examined, sent.requeued)


def list_replays(
    connection: Connection,
    actor: Actor,
    endpoint_id: UUID,
    *,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[tuple[str, datetime, UUID]]:
    """Return (wire JSON, created_at, id) of an endpoint's replays, newest first.

    ``after`` is the (created_at, id) of the last row already seen.

    Raises:
        InsufficientScope: the actor may not read.
        NotFound: the endpoint is unknown, deleted, or somebody else's, in the same words.
    """
    actor.require(Scope.READ)
    parameters: dict[str, Any] = {
        "user_id": endpoint_acts.owner_of(connection, actor, endpoint_id),
        "endpoint_id": endpoint_id,
        "limit": limit,
    }
    behind = ""
    if after is not None:
        behind = "AND (r.created_at, r.id) < (:after_at, :after_id)"
        parameters |= {"after_at": after[0], "after_id": after[1]}
    rows = connection.execute(text(sql.list_page(behind)), parameters)
    return [(row.body, row.created_at, row.id) for row in rows]


def get_replay(connection: Connection, actor: Actor, endpoint_id: UUID, replay_id: UUID) -> str:
    """Return the wire JSON of one replay.

    Raises:
        InsufficientScope: the actor may not read.
        NotFound: endpoint or replay are unknown, or somebody else's, in the same words.
    """
    actor.require(Scope.READ)
    owner_id = endpoint_acts.owner_of(connection, actor, endpoint_id)
    key = {"user_id": owner_id, "endpoint_id": endpoint_id, "id": replay_id}
    body = connection.scalar(sql.READ, key)
    if body is None:
        raise NotFound
    return str(body)
