"""Events of the last days, their deliveries and the attempts at them."""

from __future__ import annotations

from typing import Final

from benchmarks.fill.payments import ordered_id
from benchmarks.fill.people import FAILS
from standart.services.wire import CLOCK, VISIBLE, event_json, rfc3339, transaction_json

_SINCE = "(CAST(:until AS timestamptz) - make_interval(days => :events_from))"

# The very text that the product writes.
_OF_PAYMENTS = f"""
    INSERT INTO events (user_id, id, transaction_id, type, sequence, payload, created_at)
    SELECT b.user_id, {ordered_id("b.finished_at", "md5('event' || b.id)")}, b.id,
        'transaction.' || b.status, 2, {event_json("b", "2")}, b.finished_at
    FROM (
        SELECT v.*, {transaction_json("v")} AS body FROM (
            SELECT {VISIBLE} FROM transactions t CROSS JOIN {CLOCK} AS clock
            WHERE t.status <> 'pending' AND t.finished_at >= {_SINCE}
        ) AS v
    ) AS b
    ORDER BY b.finished_at
"""

_BODY = """(SELECT row_to_json(w) FROM (SELECT o.id, o.user_id, o.amount, o.currency,
    o.created_at) AS w)"""

_OF_MOVEMENTS = f"""
    INSERT INTO events (user_id, id, refund_id, payout_id, adjustment_id, type, sequence, payload,
        created_at)
    SELECT o.user_id, {ordered_id("o.at", "md5('event' || o.id || o.type)")}, o.refund_id,
        o.payout_id, o.adjustment_id, o.type, o.sequence,
        (SELECT row_to_json(e)::text FROM (SELECT o.type, {rfc3339("o.at")} AS "timestamp", o.id,
            o.sequence, {_BODY} AS data) AS e),
        o.at
    FROM (
        SELECT user_id, id, id AS refund_id, CAST(NULL AS uuid) AS payout_id,
            CAST(NULL AS uuid) AS adjustment_id, 'refund.created' AS type, 1 AS sequence,
            created_at AS at, amount, currency, created_at FROM refunds
        UNION ALL
        SELECT p.user_id, p.id, NULL, p.id, NULL, 'payout.' || k.type, k.sequence, k.at, p.amount,
            p.currency, p.created_at
        FROM payouts p CROSS JOIN LATERAL (VALUES
            ('created', 1, p.created_at), ('approved', 2, p.approved_at),
            (p.status, CASE WHEN p.approved_at IS NULL THEN 2 ELSE 3 END, p.finished_at)
        ) AS k (type, sequence, at)
        WHERE k.at IS NOT NULL
        UNION ALL
        SELECT user_id, id, NULL, NULL, id, 'balance.adjusted', 1, finished_at, amount, currency,
            created_at FROM adjustments
    ) AS o
    WHERE o.at >= {_SINCE}
"""

# Some are given up, of those that fail now the newest wait; a few came at the second try.
_DELIVERIES = f"""
    INSERT INTO deliveries (user_id, id, event_id, endpoint_id, state, attempt_count,
        next_attempt_at, delivered_at, created_at)
    SELECT s.user_id, {ordered_id("s.created_at", "md5('delivery' || s.id)")}, s.id, s.user_id,
        s.state, s.attempts,
        CASE s.state WHEN 'waiting' THEN CAST(:until AS timestamptz) + interval '1 hour' END,
        CASE s.state WHEN 'delivered' THEN s.created_at + interval '300 milliseconds' END,
        s.created_at
    FROM (
        SELECT f.*, CASE f.state WHEN 'dead' THEN 10 WHEN 'waiting' THEN 2
            ELSE 1 + (f.drawn & 63 = 1)::int END AS attempts
        FROM (
            SELECT v.user_id, v.id, v.created_at, hashtext(v.id::text) AS drawn, CASE
                WHEN m.{FAILS} AND v.created_at > CAST(:until AS timestamptz)
                    - interval '6 hours' THEN 'waiting'
                WHEN hashtext(v.id::text) & 511 = 0 THEN 'dead' ELSE 'delivered' END AS state
            FROM events v JOIN fill_merchants m ON m.id = v.user_id
            WHERE m.called AND v.type IN
                ('transaction.confirmed', 'transaction.canceled', 'transaction.expired')
        ) AS f
    ) AS s
    ORDER BY s.created_at
"""

# What fails is mostly down, seldom gone, silent or moved away.
_ATTEMPTS = """
    INSERT INTO attempts (user_id, delivery_id, number, url, outcome, status_code, excerpt, error,
        duration_ms, created_at)
    SELECT t.user_id, t.id, t.number, t.url, CASE WHEN t.code IS NULL THEN 'timeout'
            WHEN t.code < 300 THEN 'delivered' ELSE 'http_' || t.code END, t.code,
        CASE t.code WHEN 200 THEN 'ok' WHEN 503 THEN 'Service Unavailable' ELSE '' END,
        CASE WHEN t.code IS NULL THEN 'no answer in time' ELSE '' END,
        40 + (t.drawn & 255), t.created_at + t.number * interval '5 seconds'
    FROM (
        SELECT d.user_id, d.id, d.created_at, n AS number, w.url, h.drawn, CASE
            WHEN d.state = 'delivered' AND n = d.attempt_count
                THEN CASE WHEN h.drawn & 15 = 0 THEN 204 ELSE 200 END
            WHEN h.drawn & 255 = 2 THEN 302 WHEN h.drawn & 7 = 3 THEN 404
            WHEN h.drawn & 7 = 4 THEN NULL ELSE 503 END AS code
        FROM deliveries d
        JOIN webhook_endpoints w ON w.user_id = d.user_id AND w.id = d.endpoint_id
        CROSS JOIN LATERAL (SELECT hashtext(d.id::text) AS drawn) AS h
        CROSS JOIN LATERAL generate_series(1, d.attempt_count) AS n
    ) AS t
"""

# What happened before may have lost its event to the purge.
_PURGED = f"UPDATE event_clock SET purged_before = {_SINCE}"

STEPS: Final = {
    "events of payments": _OF_PAYMENTS,
    "events of movements": _OF_MOVEMENTS,
    "deliveries": _DELIVERIES,
    "attempts": _ATTEMPTS,
    "watermark": _PURGED,
}
