"""Webhooks: what is due, who sends it, what came of it. The database is the truth.

A worker claims due deliveries with a lease, commits, sends, and records. A worker that
dies leaves a lease that ends; the next sweep finds the delivery again. So delivery is at
least once, always with the same event id and body.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.orm import Session

from standart import __version__
from standart.clock import new_id, timestamp
from standart.encryption import Keyring
from standart.errors import ConfigurationError, Conflict, NotFound
from standart.models import Scope
from standart.services import audit_service, user_service
from standart.services.access import Actor
from standart.services.wire import rfc3339
from standart.webhooks import signing

LEASE_SECONDS: Final = 30
JITTER: Final = 0.2
LONGEST_RETRY_AFTER: Final = 86_400
GONE: Final = 410
KEPT_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this worker may try once before the lease ends."""

    user_id: UUID
    id: UUID
    event_id: UUID
    lease: UUID
    attempt: int
    """Which try this is since the retry schedule began, from 1."""
    url: str
    body: bytes
    secrets: tuple[str, ...]
    problem: str = ""
    """Why it cannot be signed and so not be sent; empty for nearly all."""

    def headers(self) -> dict[str, str]:
        """Return the headers of a try now, signed by Standard Webhooks."""
        moment = timestamp()
        return {
            "content-type": "application/json",
            "user-agent": f"Standart/{__version__}",
            "webhook-id": str(self.event_id),
            "webhook-timestamp": str(moment),
            "webhook-signature": signing.sign(self.secrets, str(self.event_id), moment, self.body),
        }


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of a try; ``retry_after`` in seconds, ``duration_ms`` in milliseconds."""

    outcome: str
    status_code: int | None
    excerpt: str
    error: str
    duration_ms: int
    retry_after: int | None = None


# The lease is the due time itself, moved behind its end: whatever happens to the worker,
# the delivery is due again then. A receiver without URL or that answered 410 is not called;
# a deactivated merchant's still is, since what was pending can still be settled.
_CLAIM = text(
    """
    WITH due AS MATERIALIZED (
        SELECT d.user_id, d.id FROM deliveries d
        WHERE d.state = 'waiting' AND d.next_attempt_at <= clock_timestamp()
        ORDER BY d.next_attempt_at LIMIT :batch
        FOR UPDATE OF d SKIP LOCKED
    ),
    orphaned AS (
        UPDATE deliveries d
        SET state = 'dead', next_attempt_at = NULL, lease = NULL
        FROM due JOIN users u ON u.id = due.user_id
        WHERE d.user_id = due.user_id AND d.id = due.id
          AND (u.webhook_url IS NULL OR u.webhook_stopped_at IS NOT NULL)
    ),
    leased AS (
        UPDATE deliveries d
        SET lease = :lease, attempt_count = d.attempt_count + 1,
            next_attempt_at = clock_timestamp() + make_interval(secs => :lease_seconds)
        FROM due JOIN users u ON u.id = due.user_id
        WHERE d.user_id = due.user_id AND d.id = due.id
          AND u.webhook_url IS NOT NULL AND u.webhook_stopped_at IS NULL
        RETURNING d.user_id, d.id, d.event_id, d.attempt_count - d.schedule_start AS step
    )
    SELECT seen.due, l.user_id, l.id, l.event_id, l.step, u.webhook_url AS url, v.payload,
        u.webhook_secret AS secret,
        CASE WHEN u.previous_secret_until > clock_timestamp()
            THEN u.previous_webhook_secret END AS previous_secret
    FROM (SELECT count(*) AS due FROM due) AS seen
    LEFT JOIN (
        leased l
        JOIN users u ON u.id = l.user_id
        JOIN events v ON v.user_id = l.user_id AND v.id = l.event_id
    ) ON true
    """
)

# Only the holder of the lease records: a result that comes after the lease has ended and
# another worker took over is dropped.
_RECORD = text(
    """
    WITH mine AS (
        UPDATE deliveries d
        SET state = CAST(:state AS text), lease = NULL,
            delivered_at = CASE WHEN CAST(:state AS text) = 'delivered'
                THEN clock_timestamp() END,
            next_attempt_at = CASE WHEN CAST(:state AS text) = 'waiting'
                THEN clock_timestamp() + make_interval(secs => :delay) END
        WHERE d.user_id = :user_id AND d.id = :id AND d.lease = :lease
        RETURNING d.user_id, d.id, d.attempt_count
    ),
    stopped AS (
        UPDATE users u SET webhook_stopped_at = clock_timestamp()
        FROM mine WHERE u.id = mine.user_id AND :stop AND u.webhook_url = :url
    )
    INSERT INTO attempts (user_id, delivery_id, number, url, outcome, status_code, excerpt,
        error, duration_ms)
    SELECT user_id, id, attempt_count, :url, :outcome, :status_code, :excerpt, :error,
        :duration_ms
    FROM mine
    """
)

_EVENT_JSON = f"""(SELECT row_to_json(w)::text FROM (SELECT
    v.id, v.type,
    CASE WHEN v.transaction_id IS NOT NULL THEN 'transaction'
        WHEN v.refund_id IS NOT NULL THEN 'refund'
        WHEN v.payout_id IS NOT NULL THEN 'payout' ELSE 'adjustment' END AS object_type,
    coalesce(v.transaction_id, v.refund_id, v.payout_id, v.adjustment_id) AS object_id,
    v.transaction_id, v.user_id, {rfc3339("v.created_at")} AS created_at,
    v.payload::json AS payload,
    coalesce((
        SELECT json_agg(row_to_json(x)) FROM (
            SELECT d.id, d.state, d.attempt_count,
                {rfc3339("d.next_attempt_at")} AS next_attempt_at,
                {rfc3339("d.delivered_at")} AS delivered_at,
                coalesce((
                    SELECT json_agg(row_to_json(y)) FROM (
                        SELECT a.number, a.url, a.outcome, a.status_code, a.duration_ms,
                            {rfc3339("a.created_at")} AS created_at
                        FROM attempts a
                        WHERE a.user_id = d.user_id AND a.delivery_id = d.id
                        ORDER BY a.number
                    ) AS y
                ), '[]'::json) AS attempts
            FROM deliveries d
            WHERE d.user_id = v.user_id AND d.event_id = v.id
            ORDER BY d.created_at
        ) AS x
    ), '[]'::json) AS deliveries
) AS w)"""

# By the merchant first: each index of events over an object begins with it.
_ABOUT = """v.user_id IN (
        SELECT user_id FROM transactions WHERE id = :object_id
        UNION ALL SELECT user_id FROM refunds WHERE id = :object_id
        UNION ALL SELECT user_id FROM payouts WHERE id = :object_id
        UNION ALL SELECT user_id FROM adjustments WHERE id = :object_id
    ) AND (v.transaction_id = :object_id OR v.refund_id = :object_id
        OR v.payout_id = :object_id OR v.adjustment_id = :object_id)"""

_RECEIVER_OF = text(
    """
    SELECT v.user_id, u.webhook_url IS NOT NULL AND u.webhook_stopped_at IS NULL AS callable,
        v.transaction_id IS NOT NULL AS sent
    FROM events v JOIN users u ON u.id = v.user_id
    WHERE v.id = :id
    """
)

# A try that is under way goes on: its lease stands, and so does its due time.
_REPLAY = text(
    """
    INSERT INTO deliveries AS d (user_id, id, event_id)
    VALUES (:user_id, :delivery_id, :event_id)
    ON CONFLICT (user_id, event_id) DO UPDATE
        SET state = 'waiting', schedule_start = d.attempt_count, delivered_at = NULL,
            next_attempt_at = clock_timestamp()
        WHERE d.lease IS NULL OR d.next_attempt_at <= clock_timestamp()
    """
)

_LAG = text(
    """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(next_attempt_at)), 0)
    FROM deliveries WHERE state = 'waiting' AND next_attempt_at <= clock_timestamp()
    """
)


def claim_due(
    connection: Connection, keyring: Keyring, *, batch: int = 50
) -> list[ClaimedDelivery]:
    """Lease up to ``batch`` due deliveries for ``LEASE_SECONDS``; nobody else gets them.

    None means that none is due: batches of which nothing can be called, since their
    receivers have been stopped or removed, are gone past. A delivery whose merchant's secret
    does not open has a ``problem`` instead of secrets, and holds up nobody else's.
    """
    lease = new_id()
    parameters = {"batch": batch, "lease": lease, "lease_seconds": LEASE_SECONDS}
    while True:
        rows = connection.execute(_CLAIM, parameters).all()
        claimed = [_claimed(row, lease, keyring) for row in rows if row.id is not None]
        if claimed or rows[0].due < batch:
            return claimed


def _claimed(row: Row[Any], lease: UUID, keyring: Keyring) -> ClaimedDelivery:
    secrets: list[str] = []
    problem = ""
    try:
        secrets = user_service.webhook_secrets(
            keyring, row.user_id, row.secret, row.previous_secret
        )
    except ConfigurationError as error:
        problem = error.detail
    return ClaimedDelivery(
        user_id=row.user_id,
        id=row.id,
        event_id=row.event_id,
        lease=lease,
        attempt=row.step,
        url=row.url,
        body=row.payload.encode(),
        secrets=tuple(secrets),
        problem=problem,
    )


def record_attempts(
    connection: Connection,
    results: Sequence[tuple[ClaimedDelivery, AttemptResult]],
    *,
    schedule: Sequence[int],
) -> None:
    """Write down what came of each try, and when the next one is due.

    ``schedule`` has the seconds from each failed try to the next; after its last entry the
    delivery is dead. A receiver that answers 410 is stopped.
    """
    for delivery, result in results:
        connection.execute(_RECORD, _outcome(delivery, result, schedule))


def _outcome(
    delivery: ClaimedDelivery, result: AttemptResult, schedule: Sequence[int]
) -> Mapping[str, Any]:
    gone = result.status_code == GONE
    state, delay = "waiting", 0.0
    if result.outcome == "delivered":
        state = "delivered"
    elif gone or delivery.attempt > len(schedule):
        state = "dead"
    else:
        delay = next_delay(schedule[delivery.attempt - 1], result.retry_after)
    return {
        "user_id": delivery.user_id,
        "id": delivery.id,
        "lease": delivery.lease,
        "state": state,
        "delay": delay,
        "stop": gone,
        "url": delivery.url,
        "outcome": result.outcome,
        "status_code": result.status_code,
        "excerpt": result.excerpt[:KEPT_CHARACTERS].replace("\0", "\ufffd"),
        "error": result.error[:KEPT_CHARACTERS].replace("\0", "\ufffd"),
        "duration_ms": result.duration_ms,
    }


def next_delay(scheduled: int, retry_after: int | None) -> float:
    """Return the seconds to wait: the schedule ±20 %, or longer if the receiver says so."""
    spread = random.uniform(1 - JITTER, 1 + JITTER)  # spreads load, guards nothing
    return max(scheduled * spread, float(min(retry_after or 0, LONGEST_RETRY_AFTER)))


def replay(session: Session, actor: Actor, event_id: UUID) -> None:
    """Send an event once more, with the same id and body, by a retry schedule from its start.

    Also one that was never sent, since the merchant had no webhook URL then. One that is
    waiting already becomes due now.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
        Conflict: the merchant has no webhook URL, or its receiver answered 410, or the
            event is not one that webhooks carry.
    """
    row = session.execute(_RECEIVER_OF, {"id": event_id}).one_or_none()
    if row is None:
        raise NotFound
    actor.require_owner(row.user_id)
    if not row.sent:
        raise Conflict("Webhooks carry the endings of transactions only.")
    if not row.callable:
        raise Conflict("The merchant has no webhook URL that may be called; save it anew first.")
    session.execute(
        _REPLAY, {"user_id": row.user_id, "event_id": event_id, "delivery_id": new_id()}
    )
    audit_service.record(session, actor, "event.replayed", "event", event_id)


def list_events(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    type: str | None = None,
    transaction_id: UUID | None = None,
    object_id: UUID | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[tuple[str, datetime, UUID]]:
    """Return (wire JSON, created_at, id) of events with their deliveries, newest first.

    ``object_id`` is that of a transaction, refund, payout or adjustment. ``after`` is the
    (created_at, id) of the last row already seen. A regular actor sees its own rows,
    whatever it asks.
    """
    actor.require(Scope.READ)
    wanted: dict[str, Any] = {
        "v.user_id = :owner_id": None if actor.is_admin else actor.user_id,
        "v.user_id = :user_id": user_id,
        "v.type = :type": type,
        "v.transaction_id = :transaction_id": transaction_id,
    }
    used = {condition: value for condition, value in wanted.items() if value is not None}
    parameters = {condition.split(":")[1]: value for condition, value in used.items()}
    conditions = list(used)
    if object_id is not None:
        conditions.append(_ABOUT)
        parameters["object_id"] = object_id
    if after is not None:
        conditions.append("(v.created_at, v.id) < (:after_at, :after_id)")
        parameters |= {"after_at": after[0], "after_id": after[1]}
    rows = connection.execute(
        text(
            f"SELECT {_EVENT_JSON} AS body, v.created_at, v.id FROM events v"
            f" WHERE {' AND '.join(conditions) or 'true'}"
            " ORDER BY v.created_at DESC, v.id DESC LIMIT :limit"
        ),
        {**parameters, "limit": limit},
    )
    return [(row.body, row.created_at, row.id) for row in rows]


_ONE_EVENT = text(f"SELECT {_EVENT_JSON} AS body, v.user_id FROM events v WHERE v.id = :id")


def get_event(connection: Connection, actor: Actor, event_id: UUID) -> str:
    """Return the wire JSON of one event with its deliveries and attempts.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
    """
    actor.require(Scope.READ)
    row = connection.execute(_ONE_EVENT, {"id": event_id}).one_or_none()
    if row is None:
        raise NotFound
    actor.require_owner(row.user_id)
    return str(row.body)


def oldest_due_seconds(connection: Connection) -> float:
    """Return for how many seconds the oldest due delivery has been waiting, 0 if none is."""
    return float(connection.execute(_LAG).scalar_one())
