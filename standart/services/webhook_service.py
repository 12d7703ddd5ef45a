"""Webhooks: what is due, who sends it, what came of it. The database is the truth.

A worker claims due deliveries with a lease, commits, sends, and records. A worker that
dies leaves a lease that ends; the next sweep finds the delivery again. So delivery is at
least once, always with the same event id and body. Each endpoint has a lane: how many attempts
may be under way grows while they succeed and shrinks when they fail; one that fails again and
again is only probed, with pauses that grow, until it answers.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from standart.clock import new_id
from standart.db import savepoint, unit
from standart.encryption import Keyring
from standart.errors import ConfigurationError
from standart.models import DisabledReason
from standart.services import endpoint_service
from standart.services import webhook_sql as sql
from standart.services.webhook_work import AttemptResult, Claim, ClaimedDelivery, Latency, Receiver

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 30
JITTER: Final = 0.2
LONGEST_RETRY_AFTER: Final = 86_400
GONE: Final = 410
KEPT_CHARACTERS: Final = 4096

ROOM: Final = 100
"""How many attempts at one endpoint may be under way at most, over all workers."""

BACKOFF: Final = 4
"""A failed attempt takes back as much of that as so many successful ones gave."""

PATIENCE: Final = endpoint_service.PATIENCE

SHORTEST_PAUSE: Final = 5
LONGEST_PAUSE: Final = 60
"""Seconds between two probes: doubled with each one that fails."""

FAILING_SECONDS: Final = 5 * 86_400
"""An endpoint that only failed for so long is disabled."""

QUIET_SECONDS: Final = 36 * 3600
"""After so long without any attempt a failure is the first of a new series.

Longer than any pause of the schedule, so what is tried again and again counts as one series."""

REFUSING_SECONDS: Final = 60
"""Answers 4xx count for the breaker once for so long nothing but failures came."""

UNSIGNED: Final = "unsigned"
"""The outcome of a try that did not reach the receiver, by a fault of ours."""

OWN_PAUSE: Final = 60
LONGEST_OWN_PAUSE: Final = 3600
"""Seconds until such a delivery is tried again: doubled with each time."""

BURST_SECONDS: Final = 0.1
"""How much of a rate limit may be used at once."""

# How many endpoints one claim looks at, and how much that waits for stopped ones it ends:
# bounded work, and the next claim goes on from there.
WALK: Final = 1000
ORPHANS: Final = 1000

# How much that is due at ordered endpoints one claim looks at, and at each at least: an event that
# waits for an earlier one is moved behind it, and the next claim goes on from there.
LOOK: Final = 500
LEAST_LOOK: Final = 10

LATE_SECONDS: Final = 60
"""From this age on of the oldest due delivery that waits for us somebody must look."""

_START: Final = UUID(int=0)

BEGINNING: Final = (_START, _START)
"""The cursor of a first claim."""


def claim_due(
    connection: Connection,
    keyring: Keyring,
    *,
    batch: int = 50,
    after: tuple[UUID, UUID] = BEGINNING,
) -> Claim:
    """Lease up to ``batch`` due deliveries for ``LEASE_SECONDS``; nobody else gets them.

    They are spread over the endpoints behind ``after``, whoever's pile is the longest.
    ``connection`` is in autocommit mode. What waits for an endpoint that has been stopped or
    removed is dead now. Where secrets do not open, the receiver has a ``problem`` instead, and
    holds up nobody else's.
    """
    with unit(connection):
        rows = connection.execute(
            sql.HOLD_LANES,
            {
                "after_user": after[0],
                "after_endpoint": after[1],
                "steps": WALK,
                "lanes": batch,
            },
        ).all()
        if not rows:
            return Claim([], BEGINNING, None, full=False)
        held = [row for row in rows if row.user_id is not None]
        stopped = [row for row in held if not row.callable]
        lanes = [row for row in held if row.callable]
        if stopped:
            per_lane = max(1, ORPHANS // len(stopped))
            connection.execute(sql.ORPHAN, {**_names(stopped), "batch": per_lane})
        deliveries, cut = (
            _claim(connection, keyring, lanes, batch // len(lanes)) if lanes else ([], False)
        )
    cursor = _go_on(rows[0], held, batch)
    soonest = None if rows[0].soonest is None else float(rows[0].soonest)
    return Claim(deliveries, cursor, soonest, full=cursor != BEGINNING or cut or bool(stopped))


def _go_on(last: Row[Any], held: Sequence[Row[Any]], batch: int) -> tuple[UUID, UUID]:
    """Return where the next claim begins."""
    if len(held) >= batch:
        return held[-1].user_id, held[-1].endpoint_id
    if last.steps >= WALK:
        return last.last_user, last.last_endpoint
    return BEGINNING


def _claim(
    connection: Connection, keyring: Keyring, lanes: Sequence[Row[Any]], share: int
) -> tuple[list[ClaimedDelivery], bool]:
    """Claim up to ``share`` for each lane; also tell whether there may be more right now."""
    lease = new_id()
    free = [lane for lane in lanes if not lane.ordered]
    ordered = [lane for lane in lanes if lane.ordered]
    rows = list(connection.execute(sql.CLAIM, _wanted(free, share, lease)).all()) if free else []
    more, moved = _claim_ordered(connection, ordered, share, lease) if ordered else ([], False)
    rows += more
    taken = Counter(row.endpoint_id for row in rows)
    _keep_pace(connection, [lane for lane in lanes if lane.rate_limit is not None], taken)
    receivers = {
        lane.endpoint_id: _receiver(keyring, lane) for lane in lanes if taken[lane.endpoint_id]
    }
    claimed = [
        ClaimedDelivery(
            user_id=row.user_id,
            id=row.id,
            endpoint_id=row.endpoint_id,
            event_id=row.event_id,
            lease=lease,
            attempt=row.step,
            receiver=receivers[row.endpoint_id],
            body=row.payload.encode(),
        )
        for row in rows
    ]
    return claimed, moved or max(taken.values(), default=0) >= share


def _claim_ordered(
    connection: Connection, lanes: Sequence[Row[Any]], share: int, lease: UUID
) -> tuple[list[Row[Any]], bool]:
    """Claim for endpoints that want order; also tell whether something had to be moved.

    What goes wrong with one of them takes no other along, neither these nor those without order.
    """
    look = max(LEAST_LOOK, LOOK // len(lanes))
    try:
        with savepoint(connection):
            wanted = _wanted(lanes, share, lease)
            found = connection.execute(sql.CLAIM_ORDERED, {**wanted, "look": look}).all()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        if len(lanes) == 1:
            log.warning("nothing is claimed for endpoint %s: %r", lanes[0].endpoint_id, error)
            return [], False
        halves = lanes[::2], lanes[1::2]
        parts = [_claim_ordered(connection, half, share, lease) for half in halves]
        return [row for rows, _ in parts for row in rows], any(moved for _, moved in parts)
    return [row for row in found if row.id is not None], found[0].moved > 0


def _wanted(lanes: Sequence[Row[Any]], share: int, lease: UUID) -> dict[str, Any]:
    return {
        **_names(lanes),
        "rooms": [_room(lane) for lane in lanes],
        "shares": [min(share, _pace(lane)) for lane in lanes],
        "lease": lease,
        "lease_seconds": LEASE_SECONDS,
    }


def _names(lanes: Iterable[Row[Any]]) -> dict[str, list[UUID]]:
    return {
        "user_ids": [lane.user_id for lane in lanes],
        "endpoint_ids": [lane.endpoint_id for lane in lanes],
    }


def _room(lane: Row[Any]) -> int:
    """How many attempts may be under way; a failing endpoint is probed by one."""
    return 1 if lane.failures >= PATIENCE else int(lane.room)


def _burst(lane: Row[Any]) -> float:
    """Seconds' worth of a rate limit that may be used at once: at least one attempt's."""
    return max(BURST_SECONDS, 1 / int(lane.rate_limit))


def _pace(lane: Row[Any]) -> int:
    """How many attempts the rate limit allows now (a token bucket, kept as GCRA does)."""
    if lane.rate_limit is None:
        return ROOM
    saved = _burst(lane) if lane.free_for is None else min(float(lane.free_for), _burst(lane))
    # The moment of the last token is in the past or now, or the lane would not be held.
    return max(1, math.floor(saved * int(lane.rate_limit) + 1e-6))


def _keep_pace(
    connection: Connection, paced: Iterable[Row[Any]], taken: Mapping[UUID, int]
) -> None:
    used = [lane for lane in paced if taken[lane.endpoint_id]]
    if used:
        connection.execute(
            sql.PACE,
            {
                **_names(used),
                "bursts": [_burst(lane) for lane in used],
                "taken": [taken[lane.endpoint_id] / lane.rate_limit for lane in used],
            },
        )


def _receiver(keyring: Keyring, lane: Row[Any]) -> Receiver:
    to = Receiver(lane.url, (), {}, slow=lane.failures >= PATIENCE, ordered=lane.ordered)
    try:
        secrets = endpoint_service.open_secrets(
            keyring, lane.endpoint_id, lane.secret, lane.previous_secret
        )
        extra = endpoint_service.open_headers(keyring, lane.endpoint_id, lane.headers)
    except ConfigurationError as error:
        return replace(to, problem=error.detail)
    except (ValueError, msgspec.MsgspecError):
        return replace(to, problem="what was sealed is no secret and no headers")
    return replace(to, secrets=tuple(secrets), extra_headers=extra)


def record_attempts(
    connection: Connection,
    results: Sequence[tuple[ClaimedDelivery, AttemptResult]],
    *,
    schedule: Sequence[int],
) -> list[Latency]:
    """Write down what came of each try, and when the next one is due.

    ``schedule`` has the seconds from each failed try to the next; after its last entry the
    delivery is dead. A receiver that answers 410, or that only failed for ``FAILING_SECONDS``,
    is disabled, and its owner's other endpoints are told. A failed try during which a replay was
    asked for leaves the delivery due now. ``connection`` is in autocommit mode.
    Returns how long those took that were delivered for the first time.
    """
    outcomes = [_outcome(delivery, result, schedule) for delivery, result in results]
    with unit(connection):
        rows = connection.execute(
            sql.RECORD,
            {
                "own_pause": OWN_PAUSE,
                "longest_own_pause": LONGEST_OWN_PAUSE,
                "quiet_seconds": QUIET_SECONDS,
                "refusing_seconds": REFUSING_SECONDS,
                "results": msgspec.json.encode(outcomes).decode(),
                "most": ROOM,
                "backoff": BACKOFF,
                "patience": PATIENCE,
                "shortest_pause": SHORTEST_PAUSE,
                "longest_pause": LONGEST_PAUSE,
                "failing_seconds": FAILING_SECONDS,
            },
        ).all()
        for row in rows:
            if row.gone is not None:
                reason, url = DisabledReason.GONE, row.gone
            elif row.failing:
                reason, url = DisabledReason.FAILING, None
            else:
                continue
            endpoint_service.stop(connection, row.user_id, row.endpoint_id, reason, url=url)
    return [
        Latency(float(seconds), at_once)
        for row in rows
        for seconds, at_once in zip(row.latencies or (), row.at_once or (), strict=True)
    ]


def _outcome(
    delivery: ClaimedDelivery, result: AttemptResult, schedule: Sequence[int]
) -> dict[str, Any]:
    state, delay = "waiting", 0.0
    if result.outcome == "delivered":
        state = "delivered"
    elif result.outcome == UNSIGNED:
        pass  # no step of the schedule: the row knows how long it has been so
    elif result.status_code == GONE or delivery.attempt > len(schedule):
        state = "dead"
    else:
        delay = next_delay(schedule[delivery.attempt - 1], result.retry_after)
    return {
        "user_id": delivery.user_id,
        "id": delivery.id,
        "lease": delivery.lease,
        "state": state,
        "delay": delay,
        "url": delivery.receiver.url,
        "ordered": delivery.receiver.ordered,
        "outcome": result.outcome,
        "status_code": result.status_code,
        "excerpt": _clean(result.excerpt),
        "error": _clean(result.error),
        "duration_ms": result.duration_ms,
        "request_headers": _headers_text(result.request_headers),
        "response_headers": _headers_text(result.response_headers),
        "dns_ms": result.dns_ms,
        "connect_ms": result.connect_ms,
        "tls_ms": result.tls_ms,
        "first_byte_ms": result.first_byte_ms,
    }


def _clean(said: str) -> str:
    """Return text that the database can keep, whatever a receiver said."""
    kept = said[:KEPT_CHARACTERS].replace("\0", "\ufffd")
    return kept.encode("utf-8", "replace").decode()


def _headers_text(headers: Mapping[str, str]) -> str | None:
    clean = {_clean(name): _clean(value) for name, value in headers.items()}
    return msgspec.json.encode(clean).decode() if clean else None


def next_delay(scheduled: int, retry_after: int | None) -> float:
    """Return the seconds to wait: the schedule ±20 %, or longer if the receiver says so."""
    spread = random.uniform(1 - JITTER, 1 + JITTER)  # spreads load, guards nothing
    return max(scheduled * spread, float(min(retry_after or 0, LONGEST_RETRY_AFTER)))


def oldest_due_seconds(connection: Connection) -> float:
    """Return for how many seconds the oldest due delivery has been waiting for us, 0 if none.

    What waits for its own receiver does not count: one that fails and is only probed, or while
    the pace that it asked for explains the wait.
    """
    return float(connection.execute(sql.LAG, {"patience": PATIENCE, "look": LOOK}).scalar_one())
