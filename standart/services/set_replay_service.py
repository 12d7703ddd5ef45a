"""Sending many events anew: those that a filter shows, so many at a time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection, text

from standart.clock import new_id
from standart.errors import InvalidInput
from standart.models import Scope
from standart.services import acts, audit_service, event_search
from standart.services.access import Actor, Origin
from standart.services.event_search import Wanted
from standart.services.idempotency_service import Answer
from standart.services.outbox import CALLABLE, PING

MOST_EVENTS: Final = 1_000
"""So many events are sent anew at once; the newest ones."""

LOOK: Final = 50_000
"""How many events are looked through for them at most."""

STALE: Final = timedelta(days=1)
"""What is older tells receivers of things that have most likely changed since."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would be sent anew. ``more``: there may be further events behind these."""

    events: int
    stale: int
    oldest: datetime | None
    more: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of it: events that were chosen, deliveries of theirs, those that go out."""

    events: int
    deliveries: int
    requeued: int


# What is under way is left alone. What somebody else writes is passed by, for he may wait for
# the rows that are held here. A test is nothing that happened.
_SEND: Final = """
    WITH chosen AS MATERIALIZED (
        SELECT d.ctid AS place, d.lease, {callable} AS callable
        FROM unnest(CAST(:user_ids AS uuid[]), CAST(:ids AS uuid[])) AS k (user_id, id)
        JOIN events v ON v.user_id = k.user_id AND v.id = k.id AND v.type <> '{ping}'
        JOIN deliveries d ON d.user_id = k.user_id AND d.event_id = k.id
        JOIN webhook_endpoints w ON w.user_id = d.user_id AND w.id = d.endpoint_id
        WHERE {wanted}
    ),
    held AS MATERIALIZED (
        SELECT d.ctid AS place FROM deliveries d
        WHERE d.ctid = ANY (ARRAY(SELECT place FROM chosen WHERE callable AND lease IS NULL))
          AND d.lease IS NULL
        FOR UPDATE SKIP LOCKED
    ),
    sent AS (
        UPDATE deliveries d SET state = 'waiting', schedule_start = d.attempt_count,
            delivered_at = NULL, next_attempt_at = clock_timestamp()
        WHERE d.ctid = ANY (ARRAY(SELECT place FROM held))
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM chosen) AS deliveries, (SELECT count(*) FROM sent) AS requeued
    """


def preview(connection: Connection, actor: Actor, wanted: Wanted, at: datetime) -> Outlook:
    """Return what ``replay`` would send at the moment ``at``.

    Raises:
        InsufficientScope: the actor may not read.
    """
    found = event_search.find(connection, actor, wanted, limit=MOST_EVENTS + 1, look=LOOK)
    keys = found.keys[:MOST_EVENTS]
    return Outlook(
        events=len(keys),
        stale=sum(key.created_at < at - STALE for key in keys),
        oldest=keys[-1].created_at if keys else None,
        more=len(found.keys) > MOST_EVENTS or found.looked_to is not None,
    )


def replay(connection: Connection, actor: Actor, origin: Origin, wanted: Wanted) -> Sent:
    """Send the newest events that are wanted once more, each with the same id and body.

    They go to the endpoints that they went to before, where those may be called: of their
    deliveries those that are wanted. Each begins its retry schedule anew; one that waits becomes
    due now. ``wanted`` must end somewhere, so that nothing newer than what was looked at goes out.
    ``connection`` is in autocommit mode.

    Raises:
        InsufficientScope: the actor may not write.
        InvalidInput: ``wanted`` has no end.
    """
    if wanted.created_to is None:
        raise InvalidInput.of("created_to", "must be given")

    def work(by: Actor) -> Answer:
        found = event_search.find(connection, by, wanted, limit=MOST_EVENTS, look=LOOK)
        sent = _send(connection, wanted, found.keys)
        audit_service.record(
            connection,
            by,
            "events.replayed",
            "webhook_replay",
            new_id(),
            after={**_told(wanted), **asdict(sent)},
        )
        return Answer(200, msgspec.json.encode(sent).decode())

    answer = acts.perform(connection, actor, origin, Scope.WRITE, work)
    return msgspec.json.decode(answer.body, type=Sent)


def _send(connection: Connection, wanted: Wanted, keys: list[event_search.Key]) -> Sent:
    statement = _SEND.format(
        callable=f"({CALLABLE})", ping=PING, wanted=event_search.delivered_so(wanted)
    )
    values = {
        **event_search.parameters_of(wanted),
        "user_ids": [key.user_id for key in keys],
        "ids": [key.id for key in keys],
    }
    row = connection.execute(text(statement), values).one()
    return Sent(len(keys), int(row.deliveries), int(row.requeued))


def _told(wanted: Wanted) -> dict[str, str]:
    return {key: str(value) for key, value in asdict(wanted).items() if value is not None}
