"""Refunds, payouts and adjustments with their journals and audit rows, then the balances."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from benchmarks.fill.options import Options
from benchmarks.fill.payments import ordered_id

# One refund for a payment, half or whole, of some that are a day old. A whole one gives the
# commission back too, so that no payment leaves its merchant with less than nothing.
_REFUNDS = f"""
    WITH chosen AS (
        SELECT t.user_id, t.id, t.amount AS paid, t.commission, t.currency,
            t.finished_at + interval '20 hours' AS at, md5('refund' || t.id) AS digest,
            hashtext(t.id::text) & 1 = 0 AS whole, hashtext(t.id::text) & 3 <> 1 AS returns
        FROM transactions t
        WHERE t.status = 'confirmed' AND t.finished_at < CAST(:until AS timestamptz) - interval
            '1 day' AND (hashtextextended(t.id::text, :seed) & 65535) < 65536 * :refunds
    ),
    sized AS (
        SELECT c.*, {ordered_id("c.at", "c.digest")} AS refund_id,
            CASE WHEN whole THEN paid ELSE (paid + 1) / 2 END AS amount
        FROM chosen c
    ),
    made AS MATERIALIZED (
        SELECT s.*, {ordered_id("s.at", "md5(s.digest)")} AS journal_id, CASE WHEN returns
            THEN div(2 * commission::numeric * amount + paid, 2 * paid)::bigint ELSE 0 END AS part
        FROM sized s
    ),
    refund AS (
        INSERT INTO refunds (user_id, id, transaction_id, amount, currency, refund_commission,
            commission_returned, reason, created_at)
        SELECT user_id, refund_id, id, amount, currency, returns, part,
            CASE WHEN whole THEN 'The goods came back.' END, at FROM made
    ),
    total AS (
        INSERT INTO refund_totals (user_id, transaction_id, amount, refunded)
        SELECT user_id, id, paid, amount FROM made
    ),
    line AS MATERIALIZED (
        SELECT m.user_id, m.journal_id, l.line, m.currency, l.kind, l.amount
        FROM made m CROSS JOIN LATERAL (VALUES
            (1, 'available', m.part - m.amount), (2, 'commission', -m.part),
            (3, 'clearing', m.amount)
        ) AS l (line, kind, amount)
        WHERE l.amount <> 0
    ),
    journal AS (
        INSERT INTO journals (user_id, id, kind, refund_id, entry_count, created_at)
        SELECT m.user_id, m.journal_id, 'refund', m.refund_id,
            (SELECT count(*) FROM (VALUES (m.part - m.amount), (-m.part), (m.amount)) AS v (a)
                WHERE a <> 0), m.at
        FROM made m
    ),
    entry AS (
        INSERT INTO entries (user_id, journal_id, line, currency, kind, amount)
        SELECT user_id, journal_id, line, currency, kind, amount FROM line
    )
    INSERT INTO audit_log (created_at, actor_name, channel, action, object_type, object_id)
    SELECT at, 'operator', 'api', 'refund.created', 'refund', refund_id::text FROM made
"""

# Of each week that is over a part of what came in; the last ones still wait, some failed, few
# were taken back.
_PAYOUTS = f"""
    WITH earned AS (
        SELECT t.user_id, t.currency,
            date_trunc('week', t.finished_at) + interval '7 days' AS week,
            floor(sum(t.net - coalesce(r.amount - r.commission_returned, 0)) * :payouts)::bigint
                AS amount
        FROM transactions t
        LEFT JOIN refunds r ON r.user_id = t.user_id AND r.transaction_id = t.id
        WHERE t.status = 'confirmed' GROUP BY 1, 2, 3
    ),
    chosen AS (
        SELECT e.*, md5('payout' || user_id || currency || week) AS digest,
            week + make_interval(mins => hashtext(user_id::text || currency) & 255) AS at
        FROM earned e
        WHERE amount BETWEEN 1 AND 1000000000000000
            AND week < CAST(:until AS timestamptz) - interval '12 hours'
    ),
    made AS MATERIALIZED (
        SELECT c.*, {ordered_id("c.at", "c.digest")} AS id,
            CASE WHEN week > CAST(:until AS timestamptz) - interval '7 days'
                AND hashtext(digest) & 3 = 0 THEN 'pending'
                WHEN hashtext(digest) & 4095 = 2 THEN 'canceled'
                WHEN hashtext(digest) & 31 = 1 THEN 'failed' ELSE 'paid' END AS status
        FROM chosen c
    ),
    payout AS (
        INSERT INTO payouts (user_id, id, amount, currency, status, reference, reason, created_at,
            approved_at, finished_at)
        SELECT user_id, id, amount, currency, status, 'week ' || to_char(week, 'IYYY-IW'),
            CASE status WHEN 'failed' THEN 'The account is closed.' END, at,
            CASE WHEN status IN ('paid', 'failed') THEN at + interval '1 hour' END,
            CASE WHEN status <> 'pending' THEN at + interval '2 hours' END
        FROM made
    ),
    posted AS MATERIALIZED (
        SELECT m.user_id, m.id, m.currency, m.amount, k.kind, m.at + k.later AS at,
            {ordered_id("(m.at + k.later)", "md5(k.kind || m.digest)")} AS journal_id,
            k.away, k.back
        FROM made m CROSS JOIN LATERAL (VALUES
            ('payout_reserved', true, interval '0', 'available', 'pending_payout'),
            ('payout_paid', m.status = 'paid', interval '2 hours', 'pending_payout', 'clearing'),
            ('payout_returned', m.status IN ('failed', 'canceled'), interval '2 hours',
                'pending_payout', 'available')
        ) AS k (kind, due, later, away, back)
        WHERE k.due
    ),
    journal AS (
        INSERT INTO journals (user_id, id, kind, payout_id, entry_count, created_at)
        SELECT user_id, journal_id, kind, id, 2, at FROM posted
    ),
    entry AS (
        INSERT INTO entries (user_id, journal_id, line, currency, kind, amount)
        SELECT p.user_id, p.journal_id, l.line, p.currency, l.kind, l.amount
        FROM posted p CROSS JOIN LATERAL (VALUES (1, p.away, -p.amount), (2, p.back, p.amount))
            AS l (line, kind, amount)
    )
    INSERT INTO audit_log (created_at, actor_name, channel, action, object_type, object_id)
    SELECT m.at + k.later, 'operator', 'panel', 'payout.' || k.act, 'payout', m.id::text
    FROM made m CROSS JOIN LATERAL (VALUES
        ('created', true, interval '0'),
        ('approved', m.status IN ('paid', 'failed'), interval '1 hour'),
        (m.status, m.status <> 'pending', interval '2 hours')
    ) AS k (act, due, later)
    WHERE k.due
"""

_ADJUSTMENTS = f"""
    WITH made AS MATERIALIZED (
        SELECT m.id AS user_id, m.currency, 100 * m.number AS amount,
            {ordered_id("a.at", "md5('adjustment' || m.id || a.at)")} AS id,
            {ordered_id("a.at", "md5('adjusted' || m.id || a.at)")} AS journal_id, a.at
        FROM fill_merchants m CROSS JOIN LATERAL (
            SELECT CAST(:until AS timestamptz) - make_interval(days => day, secs => m.number) AS at
            FROM generate_series(3, CAST(:days AS int), 40) AS day
        ) AS a
    ),
    adjustment AS (
        INSERT INTO adjustments (user_id, id, kind, amount, currency, reason, status, created_at,
            finished_at)
        SELECT user_id, id, 'adjustment', amount, currency, 'Counted anew.', 'posted', at, at
        FROM made
    ),
    journal AS (
        INSERT INTO journals (user_id, id, kind, adjustment_id, entry_count, created_at)
        SELECT user_id, journal_id, 'adjustment', id, 2, at FROM made
    ),
    entry AS (
        INSERT INTO entries (user_id, journal_id, line, currency, kind, amount)
        SELECT m.user_id, m.journal_id, l.line, m.currency, l.kind, l.amount
        FROM made m CROSS JOIN LATERAL
            (VALUES (1, 'available', m.amount), (2, 'adjustment', -m.amount))
            AS l (line, kind, amount)
    )
    INSERT INTO audit_log (created_at, actor_name, channel, action, object_type, object_id)
    SELECT at, 'operator', 'panel', 'adjustment.posted', 'adjustment', id::text FROM made
"""

_BALANCES = """
    INSERT INTO accounts (user_id, currency, kind, balance)
    SELECT user_id, currency, kind, sum(amount) FROM entries
    WHERE user_id IN (SELECT id FROM fill_merchants) GROUP BY 1, 2, 3
"""

STEPS: Final = {
    "refunds": _REFUNDS,
    "payouts": _PAYOUTS,
    "adjustments": _ADJUSTMENTS,
    "balances": _BALANCES,
}


def run_step(connection: Connection, statement: str, options: Options) -> None:
    """Run one of the steps with what it needs of the options."""
    query = text(statement)
    bound = {
        "until": options.until,
        "seed": options.seed,
        "refunds": options.refunds,
        "payouts": options.payouts,
        "events_from": options.event_days,
        "days": options.days,
    }
    connection.execute(query, {key: bound[key] for key in query.compile().params})
