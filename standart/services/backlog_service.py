"""How much waits to be sent, and at whom: figures for metrics and for people.

Cheap however much waits: the walk goes from endpoint to endpoint along the index of what is
due, and every count ends at a bound. A figure at its bound means "at least so many".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, text

from standart.services.webhook_service import PATIENCE

NORMAL: Final = "normal"
SLOW: Final = "slow"
LANES: Final = (NORMAL, SLOW)
"""An endpoint is in the slow lane while it is only probed."""

MOST_OF_AN_ENDPOINT: Final = 10_000
MOST: Final = 100_000
"""Up to how many deliveries are counted, of one endpoint and of all in its lane."""

MOST_ENDPOINTS: Final = 10_000

_NOW = "(SELECT clock_timestamp())"

_NEXT = """
    SELECT d.user_id, d.endpoint_id, d.next_attempt_at FROM deliveries d
    WHERE d.state = 'waiting' AND (d.user_id, d.endpoint_id) > ({after})
    ORDER BY d.user_id, d.endpoint_id, d.next_attempt_at LIMIT 1
"""
_FIRST = _NEXT.format(after=", ".join(2 * ["CAST('00000000-0000-0000-0000-000000000000' AS uuid)"]))

_LANE = f"CASE WHEN l.failures >= :patience THEN '{SLOW}' ELSE '{NORMAL}' END"

_DUE = text(
    f"""
    WITH RECURSIVE walk AS (
        SELECT f.*, 1 AS step FROM ({_FIRST}) AS f
        UNION ALL
        SELECT n.*, w.step + 1 FROM walk w
        CROSS JOIN LATERAL ({_NEXT.format(after="w.user_id, w.endpoint_id")}) AS n
        WHERE w.step < :most_endpoints
    ),
    reached AS MATERIALIZED (
        SELECT k.user_id, k.endpoint_id, k.next_attempt_at, {_LANE} AS lane
        FROM walk k JOIN webhook_lanes l USING (user_id, endpoint_id)
        WHERE k.next_attempt_at <= {_NOW}
    ),
    due AS (
        SELECT n.lane, x.due FROM unnest(CAST(:lanes AS text[])) AS n (lane)
        CROSS JOIN LATERAL (
            SELECT count(*) AS due FROM (
                SELECT FROM reached r CROSS JOIN LATERAL (
                    SELECT FROM deliveries d
                    WHERE d.user_id = r.user_id AND d.endpoint_id = r.endpoint_id
                      AND d.state = 'waiting' AND d.next_attempt_at <= {_NOW}
                    LIMIT :most_of_an_endpoint
                ) AS one
                WHERE r.lane = n.lane
                LIMIT :most
            ) AS counted
        ) AS x
    )
    SELECT lane, d.due, extract(epoch FROM {_NOW} - min(r.next_attempt_at)) AS oldest
    FROM reached r JOIN due d USING (lane) GROUP BY lane, d.due
    """
)

_IN_FLIGHT = text(
    f"""
    SELECT x.lane, count(*) AS attempts FROM (
        SELECT {_LANE} AS lane
        FROM deliveries d JOIN webhook_lanes l USING (user_id, endpoint_id)
        WHERE d.lease IS NOT NULL AND d.next_attempt_at > {_NOW}
        LIMIT :most
    ) AS x
    GROUP BY x.lane
    """
)

_DEAD = text("SELECT count(*) FROM (SELECT FROM deliveries WHERE state = 'dead' LIMIT :most) AS x")

_FAILING = text(
    """
    SELECT count(*) FROM webhook_lanes l
    JOIN webhook_endpoints w ON w.user_id = l.user_id AND w.id = l.endpoint_id
    WHERE l.failures >= :patience AND w.disabled_at IS NULL
    """
)

_DISABLED = text(
    """
    SELECT disabled_reason AS reason, count(*) AS endpoints FROM webhook_endpoints
    WHERE disabled_at IS NOT NULL AND deleted_at IS NULL GROUP BY disabled_reason
    """
)

_REPLAYS = text("SELECT count(*) FROM webhook_replays WHERE finished_at IS NULL")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits, by lane, and how the endpoints do; ``oldest`` in seconds."""

    due: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    oldest: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LANES, 0.0))
    in_flight: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    dead: int = 0
    failing: int = 0
    disabled: dict[str, int] = field(default_factory=dict)


def read(connection: Connection) -> Backlog:
    """Count what is due, under way and dead, and the endpoints that fail or are disabled.

    What waits for a lease to end is under way, whether or not its worker still lives.
    """
    bounds = {"patience": PATIENCE, "most": MOST}
    walk = {
        "lanes": list(LANES),
        "most_of_an_endpoint": MOST_OF_AN_ENDPOINT,
        "most_endpoints": MOST_ENDPOINTS,
    }
    backlog = Backlog(
        dead=int(connection.execute(_DEAD, {"most": MOST}).scalar_one()),
        failing=int(connection.execute(_FAILING, {"patience": PATIENCE}).scalar_one()),
        disabled=disabled_endpoints(connection),
    )
    for row in connection.execute(_DUE, bounds | walk):
        backlog.due[row.lane] = int(row.due)
        backlog.oldest[row.lane] = float(row.oldest)
    for row in connection.execute(_IN_FLIGHT, bounds):
        backlog.in_flight[row.lane] = int(row.attempts)
    return backlog


def disabled_endpoints(connection: Connection) -> dict[str, int]:
    """Return how many endpoints are not called, by the reason."""
    return {row.reason: int(row.endpoints) for row in connection.execute(_DISABLED)}


def running_replays(connection: Connection) -> int:
    """Return how many spans of events are being sent anew."""
    return int(connection.execute(_REPLAYS).scalar_one())
