"""What was told and noted of each act: events, their order and lanes, the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from standart.services.findings import Finding
from standart.services.proof import queries

# The events that each object must have by now, and since when: no more, no less.
_TOLD: Final = """
    SELECT user_id, id, 'transaction.' || status AS type, finished_at AS at FROM transactions
    WHERE status <> 'pending'
    UNION ALL
    SELECT user_id, id, 'refund.created', created_at FROM refunds
    UNION ALL
    SELECT p.user_id, p.id, 'payout.' || k.type, k.at
    FROM payouts p CROSS JOIN LATERAL (VALUES
        ('created', true, p.created_at),
        ('approved', p.approved_at IS NOT NULL, p.approved_at),
        (p.status, p.finished_at IS NOT NULL, p.finished_at)
    ) AS k (type, due, at)
    WHERE k.due
    UNION ALL
    SELECT user_id, id, 'balance.adjusted', finished_at FROM adjustments
    WHERE status = 'posted'"""

# What was told of objects, but of their creation, which is told to those who ask for it.
_WRITTEN: Final = """
    SELECT user_id, coalesce(transaction_id, refund_id, payout_id, adjustment_id) AS id, type
    FROM events WHERE endpoint_id IS NULL AND type <> 'transaction.created'"""

# Each query returns the subject and what is wrong with it; an empty result is the proof.
_INVARIANTS: Final = {
    # What happened before the watermark may have lost its event to the purge.
    "object_has_its_events": f"""
        SELECT o.user_id || '/' || o.id, o.type || ': due 1, written 0'
        FROM ({_TOLD}) AS o
        WHERE NOT EXISTS (SELECT FROM ({_WRITTEN}) AS v
                WHERE (v.user_id, v.id, v.type) = (o.user_id, o.id, o.type))
            AND (SELECT coalesce(max(c.purged_before), '-infinity') FROM event_clock c) <= o.at
        UNION ALL
        SELECT v.user_id || '/' || v.id, v.type || ': due 0, written 1'
        FROM ({_WRITTEN}) AS v
        WHERE NOT EXISTS (SELECT FROM ({_TOLD}) AS o
                WHERE (o.user_id, o.id, o.type) = (v.user_id, v.id, v.type))
        UNION ALL
        SELECT user_id || '/' || id, type || ': due 1, written ' || count(*)
        FROM ({_WRITTEN}) AS v GROUP BY user_id, id, type HAVING count(*) > 1""",
    # Of endpoints much may be told that changes nothing. A payload of old has no number.
    "event_has_its_sequence": """
        SELECT v.user_id || '/' || v.id, v.type || ' of ' || v.sequence
            || coalesce(', told as ' || substring(v.payload FROM '"sequence":([0-9]+)'), '')
        FROM events v
        LEFT JOIN transactions t ON (t.user_id, t.id) = (v.user_id, v.transaction_id)
        WHERE v.endpoint_id IS NULL AND v.sequence <> CASE
                WHEN v.type = 'transaction.created' THEN 1
                WHEN v.type LIKE 'transaction.%' AND t.late_for IS NULL THEN 2
                WHEN v.type IN ('payout.approved', 'payout.rejected', 'payout.canceled') THEN 2
                WHEN v.type IN ('payout.paid', 'payout.failed') THEN 3 ELSE 1 END
            OR substring(v.payload FROM '"sequence":([0-9]+)') <> v.sequence::text""",
    "endpoint_has_its_lane": """
        SELECT w.user_id || '/' || w.id, 'no lane, so nothing is ever sent'
        FROM webhook_endpoints w
        WHERE NOT EXISTS (SELECT FROM webhook_lanes l
            WHERE (l.user_id, l.endpoint_id) = (w.user_id, w.id))
        UNION ALL
        SELECT u.id::text, 'no default endpoint' FROM users u
        WHERE NOT EXISTS (SELECT FROM webhook_endpoints w
            WHERE (w.user_id, w.id) = (u.id, u.id))""",
    "act_has_audit_row": f"""
        SELECT o.user_id || '/' || o.id, o.type || ' without an audit row'
        FROM (SELECT user_id, id, replace(type, 'balance.adjusted', 'adjustment.posted') AS type
            FROM ({_TOLD}) AS each) AS o
        WHERE NOT EXISTS (
            SELECT FROM audit_log a WHERE a.object_type = split_part(o.type, '.', 1)
              AND a.object_id = o.id::text AND a.action = o.type)""",
}

INVARIANTS: Final = tuple(_INVARIANTS)


def check(connection: Connection) -> Iterator[Finding]:
    """Yield every breach of ``INVARIANTS``; ``connection`` holds one snapshot."""
    yield from queries.each(connection, _INVARIANTS)
