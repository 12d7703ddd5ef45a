"""The statements about endpoints that their owners' acts are made of."""

from __future__ import annotations

from sqlalchemy import text

OWNER = text("SELECT user_id FROM webhook_endpoints WHERE id = :id AND deleted_at IS NULL")

# Weaker than FOR UPDATE: who writes a row that names the user need not wait.
HOLD_OWNER = text("SELECT FROM users WHERE id = :user_id FOR NO KEY UPDATE")

COUNT = text(
    "SELECT count(*) FROM webhook_endpoints WHERE user_id = :user_id AND deleted_at IS NULL"
)

HOLD_LANE = text(
    "SELECT FROM webhook_lanes WHERE user_id = :user_id AND endpoint_id = :id FOR NO KEY UPDATE"
)

HOLD = text(
    """
    SELECT user_id, id, url, event_types, description, ordered, rate_limit, headers, header_names,
        secret, disabled_at, disabled_reason
    FROM webhook_endpoints WHERE id = :id AND deleted_at IS NULL FOR NO KEY UPDATE
    """
)

INSERT = text(
    """
    WITH made AS (
        INSERT INTO webhook_endpoints (user_id, id, url, event_types, description, ordered,
            rate_limit, headers, header_names, secret, disabled_at, disabled_reason)
        VALUES (:user_id, :id, :url, :event_types, :description, :ordered, :rate_limit, :headers,
            :header_names, :secret,
            CASE WHEN CAST(:reason AS text) IS NOT NULL THEN clock_timestamp() END,
            CAST(:reason AS text))
        RETURNING user_id, id
    )
    INSERT INTO webhook_lanes (user_id, endpoint_id) SELECT user_id, id FROM made
    """
)

# What opens the receiver's door is forgotten; events and attempts name the row for ever.
DELETE = text(
    """
    UPDATE webhook_endpoints
    SET deleted_at = clock_timestamp(), disabled_at = coalesce(disabled_at, clock_timestamp()),
        disabled_reason = coalesce(disabled_reason, 'owner'),
        headers = NULL, header_names = '{}', previous_secret = NULL, previous_secret_until = NULL
    WHERE user_id = :user_id AND id = :id
    """
)

ROTATE = text(
    """
    UPDATE webhook_endpoints
    SET previous_secret = secret, previous_secret_until = :until, secret = :secret
    WHERE user_id = :user_id AND id = :id
    """
)

# The bucket of the former limit says nothing about the new one; failures stay what they were.
FORGET_PACE = text(
    "UPDATE webhook_lanes SET free_at = NULL WHERE user_id = :user_id AND endpoint_id = :id"
)

# What was never tried and is due later was moved behind an event that comes before it. The rest
# of a longer pile is due when that event is. Rows that results are written to are passed by:
# their writer waits for the lane, which is held here.
LET_GO = text(
    """
    UPDATE deliveries SET next_attempt_at = clock_timestamp()
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM deliveries
        WHERE user_id = :user_id AND endpoint_id = :id AND state = 'waiting' AND lease IS NULL
          AND attempt_count = schedule_start AND next_attempt_at > clock_timestamp()
        ORDER BY next_attempt_at LIMIT :most FOR UPDATE SKIP LOCKED))
    """
)
