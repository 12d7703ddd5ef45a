"""The statements of replays of a span."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from standart.services.outbox import CALLABLE, PING, subscribed
from standart.services.wire import rfc3339

_JSON: Final = f"""(SELECT row_to_json(w)::text FROM (SELECT
        r.id, r.user_id, r.endpoint_id, {rfc3339("r.since")} AS since,
        {rfc3339('r."until"')} AS "until", r.scope AS status,
        CASE WHEN r.finished_at IS NULL THEN 'running' ELSE 'finished' END AS state,
        r.total, r.examined, r.requeued, {rfc3339("r.created_at")} AS created_at,
        {rfc3339("r.finished_at")} AS finished_at
    ) AS w)"""

HOLD_ENDPOINT: Final = text(
    f"""
    SELECT {CALLABLE} FROM webhook_endpoints w
    WHERE w.user_id = :user_id AND w.id = :endpoint_id FOR NO KEY UPDATE
    """
)

# What the first run of this very request wrote, or the one that runs.
KNOWN: Final = text(
    """
    SELECT id, since, "until", scope FROM webhook_replays
    WHERE user_id = :user_id AND endpoint_id = :endpoint_id
      AND (id = :id OR finished_at IS NULL)
    ORDER BY id = :id DESC LIMIT 1
    """
)

COUNT: Final = text(
    """
    SELECT count(*) FROM (
        SELECT FROM events WHERE user_id = :user_id AND created_at >= :since
          AND created_at < least(:until, clock_timestamp()) LIMIT :most
    ) AS span
    """
)

BEGIN: Final = text(
    """
    INSERT INTO webhook_replays (user_id, id, endpoint_id, since, "until", scope, total,
        reached_at, reached_id)
    VALUES (:user_id, :id, :endpoint_id, :since, :until, :scope, :total,
        :since, '00000000-0000-0000-0000-000000000000')
    """
)

READ: Final = text(
    f"""
    SELECT {_JSON} FROM webhook_replays r
    WHERE r.user_id = :user_id AND r.endpoint_id = :endpoint_id AND r.id = :id
    """
)

# What happens after the start is delivered anyhow. The index of running ones has few rows.
NEXT: Final = text(
    f"""
    SELECT r.user_id, r.id, r.endpoint_id, r.scope, r.reached_at, r.reached_id,
        least(r."until", r.created_at) AS "until",
        (SELECT {CALLABLE} FROM webhook_endpoints w
            WHERE w.user_id = r.user_id AND w.id = r.endpoint_id) AS callable
    FROM webhook_replays r WHERE r.finished_at IS NULL
    ORDER BY r.examined, r.created_at LIMIT 1
    FOR UPDATE OF r SKIP LOCKED
    """
)

_SPAN: Final = """
    span AS MATERIALIZED (
        SELECT v.user_id, v.id, v.created_at, v.type FROM events v
        WHERE v.user_id = :user_id AND (v.created_at, v.id) > (:reached_at, :reached_id)
          AND v.created_at < :until
        ORDER BY v.created_at, v.id LIMIT :batch
    )"""

_ANEW: Final = """state = 'waiting', schedule_start = d.attempt_count, delivered_at = NULL,
            next_attempt_at = clock_timestamp()"""

_TOLD: Final = """
    SELECT (SELECT count(*) FROM span) AS examined, (SELECT count(*) FROM sent) AS requeued,
        l.created_at AS last_at, l.id AS last_id
    FROM (SELECT) AS always
    LEFT JOIN (SELECT created_at, id FROM span ORDER BY created_at DESC, id DESC LIMIT 1) AS l
        ON true
"""

# A try that is under way when its span is replayed began before that: the mark lets whoever
# records its failure leave the delivery due. Rows that somebody else writes are passed by, for
# he may wait for those that are held here; ``missed`` is how many those are.
MARK: Final = text(
    f"""
    WITH {_SPAN},
    under_way AS MATERIALIZED (
        SELECT d.ctid AS place FROM span s
        JOIN deliveries d
            ON d.user_id = s.user_id AND d.event_id = s.id AND d.endpoint_id = :endpoint_id
        WHERE d.lease IS NOT NULL AND d.schedule_start < d.attempt_count AND s.type <> '{PING}'
    ),
    held AS MATERIALIZED (
        SELECT d.ctid AS place FROM deliveries d
        WHERE d.ctid = ANY (ARRAY(SELECT place FROM under_way)) AND d.lease IS NOT NULL
        FOR UPDATE SKIP LOCKED
    ),
    marked AS (
        UPDATE deliveries d SET schedule_start = d.attempt_count
        WHERE d.ctid = ANY (ARRAY(SELECT place FROM held))
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM under_way) - (SELECT count(*) FROM marked) AS missed
    """
)

# One that waits, or is under way, is left alone: looked for beforehand, since a conflict would
# lock it, and whoever records attempts locks many too. A test is nothing that happened.
SEND_ALL: Final = text(
    f"""
    WITH {_SPAN},
    sent AS (
        INSERT INTO deliveries AS d (user_id, id, event_id, endpoint_id)
        SELECT s.user_id, gen_random_uuid(), s.id, w.id
        FROM span s JOIN webhook_endpoints w ON w.user_id = s.user_id AND w.id = :endpoint_id
        LEFT JOIN deliveries o
            ON o.user_id = s.user_id AND o.event_id = s.id AND o.endpoint_id = w.id
        WHERE s.type <> '{PING}' AND (o.id IS NOT NULL OR {subscribed("s.type")})
          AND o.state IS DISTINCT FROM 'waiting'
        ORDER BY s.created_at, s.id
        ON CONFLICT (user_id, event_id, endpoint_id) DO UPDATE SET {_ANEW}
            WHERE d.state <> 'waiting'
        RETURNING 1
    )
    {_TOLD}
    """
)

SEND_DEAD: Final = text(
    f"""
    WITH {_SPAN},
    sent AS (
        UPDATE deliveries d SET {_ANEW}
        FROM span s
        WHERE d.user_id = s.user_id AND d.event_id = s.id AND d.endpoint_id = :endpoint_id
          AND d.state = 'dead' AND s.type <> '{PING}'
        RETURNING 1
    )
    {_TOLD}
    """
)

ADVANCE: Final = text(
    """
    UPDATE webhook_replays SET examined = examined + :examined, requeued = requeued + :requeued,
        reached_at = :last_at, reached_id = :last_id
    WHERE user_id = :user_id AND id = :id
    """
)

FINISH: Final = text(
    """
    UPDATE webhook_replays SET finished_at = clock_timestamp()
    WHERE user_id = :user_id AND id = :id
    """
)


def list_page(behind: str) -> str:
    """SQL: a page of an endpoint's replays, newest first; ``behind`` is a condition or empty."""
    return f"""
    SELECT {_JSON} AS body, r.created_at, r.id FROM webhook_replays r
    WHERE r.user_id = :user_id AND r.endpoint_id = :endpoint_id {behind}
    ORDER BY r.created_at DESC, r.id DESC LIMIT :limit
    """
