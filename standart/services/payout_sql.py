"""The statements about payouts, and the payout on the wire as one SQL expression.

Every answer, kept answer and event payload is the text that ``payout_json`` makes. The
destination in plain is in none of them: here it exists sealed and masked only.
"""

from __future__ import annotations

from sqlalchemy import text

from standart.services.wire import approvals, rfc3339, unit


def payout_json(row: str) -> str:
    """SQL: the wire form of ``row``, an alias of ``payouts``, as text."""
    return f"""(SELECT row_to_json(w)::text FROM (SELECT
        {row}.id, {row}.user_id,
        ({row}.amount * {unit(f"{row}.currency")})::text AS amount,
        {row}.currency, {row}.status, {row}.destination_shown AS destination,
        {row}.reference, {row}.reason,
        {approvals(f"{row}.user_id", "'payout'", f"{row}.id", f"{row}.status = 'pending'")}
            AS approvals,
        {rfc3339(f"{row}.created_at")} AS created_at,
        {rfc3339(f"{row}.approved_at")} AS approved_at,
        {rfc3339(f"{row}.finished_at")} AS finished_at
    ) AS w)"""


# No row: the first run of the same request did it and only its answer was lost. No key is named:
# of two runs in one moment the second may meet the first at any of the table's unique keys.
CREATE = text(
    f"""
    INSERT INTO payouts AS p (user_id, id, amount, currency, destination, destination_shown,
        reference)
    VALUES (:user_id, :id, :amount, :currency, :destination,
        CAST(:destination_shown AS jsonb), :reference)
    ON CONFLICT DO NOTHING
    RETURNING {payout_json("p")} AS body
    """
)

# Whoever may not see the row does not lock it either.
HOLD = text(
    """
    SELECT user_id, amount, currency, status FROM payouts
    WHERE id = :id AND user_id = coalesce(CAST(:owner_id AS uuid), user_id) FOR UPDATE
    """
)

MOVE = text(
    f"""
    UPDATE payouts AS p
    SET status = CAST(:status AS text), reason = :reason,
        approved_at = CASE WHEN CAST(:status AS text) = 'approved'
            THEN clock_timestamp() ELSE p.approved_at END,
        finished_at = CASE WHEN CAST(:status AS text) <> 'approved' THEN clock_timestamp() END
    WHERE p.user_id = :user_id AND p.id = :id
    RETURNING {payout_json("p")} AS body
    """
)

READ = text(f"SELECT p.user_id, {payout_json('p')} AS body FROM payouts p WHERE p.id = :id")

DESTINATION = text("SELECT user_id, destination FROM payouts WHERE id = :id")


def list_page(conditions: list[str]) -> str:
    """SQL: a page of payouts ``p`` for which all ``conditions`` hold, newest first."""
    return (
        f"SELECT {payout_json('p')} AS body, p.created_at, p.id FROM payouts p"
        f" WHERE {' AND '.join(conditions) or 'true'}"
        " ORDER BY p.created_at DESC, p.id DESC LIMIT :limit"
    )
