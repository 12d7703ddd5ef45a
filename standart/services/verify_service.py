"""The proof that the books are right: every rule checked again from the rows themselves.

The database's constraints refuse most of what is wrong; this finds what was broken behind
them, by a damaged disk or by somebody who could switch them off. It trusts neither them nor
the functions they use: each rule is written here a second time.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from standart import money
from standart.services.findings import Finding

# What each kind of journal but a settlement must hold, by what it is about.
_SOURCES = """
    SELECT user_id, id, 'refund' AS kind, currency, amount, commission_returned AS part
    FROM refunds
    UNION ALL
    SELECT p.user_id, p.id, k.kind, p.currency, p.amount, 0
    FROM payouts p CROSS JOIN LATERAL (VALUES
        ('payout_reserved', true),
        ('payout_paid', p.status = 'paid'),
        ('payout_returned', p.status IN ('failed', 'rejected', 'canceled'))
    ) AS k (kind, due)
    WHERE k.due
    UNION ALL
    SELECT user_id, id, kind, currency, amount, 0 FROM adjustments WHERE status = 'posted'"""

# What has happened, on each account that it moves; apart from all journals and entries.
_MOVEMENTS = """
    SELECT user_id, currency, l.kind, l.amount
    FROM transactions t CROSS JOIN LATERAL (VALUES
        ('available', t.amount - t.commission), ('commission', t.commission),
        ('clearing', -t.amount)
    ) AS l (kind, amount)
    WHERE status = 'confirmed'
    UNION ALL
    SELECT user_id, currency, l.kind, l.amount
    FROM refunds r CROSS JOIN LATERAL (VALUES
        ('available', r.commission_returned - r.amount), ('commission', -r.commission_returned),
        ('clearing', r.amount)
    ) AS l (kind, amount)
    UNION ALL
    SELECT user_id, currency, l.kind, l.amount
    FROM payouts p CROSS JOIN LATERAL (VALUES
        ('available', CASE WHEN p.status IN ('pending', 'approved', 'paid')
            THEN -p.amount ELSE 0 END),
        ('pending_payout', CASE WHEN p.status IN ('pending', 'approved')
            THEN p.amount ELSE 0 END),
        ('clearing', CASE WHEN p.status = 'paid' THEN p.amount ELSE 0 END)
    ) AS l (kind, amount)
    UNION ALL
    SELECT user_id, currency, l.kind, l.amount
    FROM adjustments a CROSS JOIN LATERAL (VALUES
        ('available', a.amount),
        (CASE a.kind WHEN 'opening_balance' THEN 'clearing' ELSE 'adjustment' END, -a.amount)
    ) AS l (kind, amount)
    WHERE status = 'posted'"""

# The events that each object must have by now, and since when: no more, no less.
_TOLD = """
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


def _share(refunded: str) -> str:
    """SQL: the commission's rounded share of minor units ``refunded`` of transaction ``t``."""
    return f"div(2 * t.commission::numeric * ({refunded}) + t.amount, 2 * t.amount)"


# What the sums must hold up to their mark: (user_id, currency, series, at, amount, commission).
_MOMENTS = """
    SELECT t.user_id, t.currency, k.series, k.at, t.amount, t.commission
    FROM sums_mark m CROSS JOIN transactions t CROSS JOIN LATERAL (VALUES
        ('created', t.created_at),
        (CASE t.status WHEN 'pending' THEN 'expired' ELSE t.status END,
            coalesce(t.finished_at, t.expires_at))
    ) AS k (series, at)
    WHERE k.at <= m.upto"""


def _sums(table: str, key: str, subject: str, among: str = "true") -> str:
    """SQL: what differs between kept sums and the rows that they are of."""
    return f"""
        SELECT {subject}, 'kept ' || coalesce(k.count, 0) || ' of ' || coalesce(k.amount, 0)
            || ', counted ' || coalesce(c.count, 0) || ' of ' || coalesce(c.amount, 0)
        FROM (SELECT * FROM {table} WHERE {among}) AS k
        FULL JOIN (
            SELECT {key}, count(*) AS count, sum(amount) AS amount, sum(commission) AS commission
            FROM (SELECT *, date_trunc('hour', at, 'UTC') AS hour FROM ({_MOMENTS}) AS m) AS each
            WHERE {among} GROUP BY {key}
        ) AS c USING ({key})
        WHERE (k.count, k.amount, k.commission) IS DISTINCT FROM (c.count, c.amount, c.commission)
    """


# Each query returns the subject and what is wrong with it; an empty result is the proof.
_INVARIANTS = {
    "journal_sums_to_zero": """
        SELECT user_id || '/' || journal_id, currency || ' ' || sum(amount)
        FROM entries GROUP BY user_id, journal_id, currency HAVING sum(amount) <> 0""",
    "journal_is_whole": """
        SELECT j.user_id || '/' || j.id, count(e.line) || ' of ' || j.entry_count || ' entries'
        FROM journals j
        LEFT JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
        GROUP BY j.user_id, j.id HAVING count(e.line) <> j.entry_count""",
    "balance_is_sum_of_entries": """
        SELECT user_id || '/' || currency || '/' || kind,
            'kept ' || coalesce(b.balance, 0) || ', entries ' || coalesce(e.balance, 0)
        FROM account_balances b
        FULL JOIN (
            SELECT user_id, currency, kind::text, sum(amount) AS balance
            FROM entries GROUP BY 1, 2, 3
        ) e USING (user_id, currency, kind)
        WHERE coalesce(b.balance, 0) <> coalesce(e.balance, 0)""",
    "balance_is_sum_of_movements": f"""
        SELECT user_id || '/' || currency || '/' || kind,
            'kept ' || coalesce(b.balance, 0) || ', moved ' || coalesce(m.moved, 0)
        FROM account_balances b
        FULL JOIN (
            SELECT user_id, currency, kind, sum(amount) AS moved FROM ({_MOVEMENTS}) AS each
            GROUP BY 1, 2, 3
        ) m USING (user_id, currency, kind)
        WHERE coalesce(b.balance, 0) <> coalesce(m.moved, 0)""",
    "balance_is_not_negative": """
        SELECT user_id || '/' || currency || '/' || kind, 'kept ' || balance
        FROM account_balances
        WHERE kind IN ('available', 'pending_payout') AND balance < 0""",
    "confirmed_has_one_settlement": """
        SELECT t.user_id || '/' || t.id, t.status || ' with ' || count(j.id) || ' settlements'
        FROM transactions t
        LEFT JOIN journals j ON (j.user_id, j.transaction_id) = (t.user_id, t.id)
            AND j.kind = 'settlement'
        GROUP BY t.user_id, t.id
        HAVING count(j.id) <> CASE t.status WHEN 'confirmed' THEN 1 ELSE 0 END""",
    "settlement_matches_transaction": """
        SELECT t.user_id || '/' || t.id, 'posted amounts differ'
        FROM transactions t
        JOIN journals j ON (j.user_id, j.transaction_id) = (t.user_id, t.id)
            AND j.kind = 'settlement'
        JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
        GROUP BY t.user_id, t.id
        HAVING bool_or(e.currency <> t.currency)
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'clearing'), 0) <> -t.amount
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'available'), 0)
                <> t.amount - t.commission
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'commission'), 0)
                <> t.commission""",
    "movement_has_its_journals": f"""
        SELECT user_id || '/' || id,
            kind || ': due ' || coalesce(s.due, 0) || ', posted ' || coalesce(j.posted, 0)
        FROM (SELECT user_id, id, kind, count(*) AS due FROM ({_SOURCES}) AS each
            GROUP BY 1, 2, 3) AS s
        FULL JOIN (
            SELECT user_id, coalesce(refund_id, payout_id, adjustment_id) AS id, kind,
                count(*) AS posted
            FROM journals WHERE kind <> 'settlement' GROUP BY 1, 2, 3
        ) AS j USING (user_id, id, kind)
        WHERE coalesce(s.due, 0) <> coalesce(j.posted, 0)""",
    "journal_matches_its_source": f"""
        SELECT j.user_id || '/' || j.id, j.kind || ' of ' || s.id || ': posted amounts differ'
        FROM journals j
        JOIN ({_SOURCES}) AS s ON s.user_id = j.user_id AND s.kind = j.kind
            AND s.id = coalesce(j.refund_id, j.payout_id, j.adjustment_id)
        LEFT JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
        GROUP BY j.user_id, j.id, j.kind, s.id, s.currency, s.amount, s.part
        HAVING coalesce(bool_or(e.currency <> s.currency), false)
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'available'), 0) <> CASE j.kind
                WHEN 'refund' THEN s.part - s.amount WHEN 'payout_reserved' THEN -s.amount
                WHEN 'payout_paid' THEN 0 ELSE s.amount END
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'pending_payout'), 0) <> CASE
                WHEN j.kind = 'payout_reserved' THEN s.amount
                WHEN j.kind IN ('payout_paid', 'payout_returned') THEN -s.amount ELSE 0 END
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'clearing'), 0) <> CASE
                WHEN j.kind IN ('refund', 'payout_paid') THEN s.amount
                WHEN j.kind = 'opening_balance' THEN -s.amount ELSE 0 END
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'commission'), 0) <> -s.part
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'adjustment'), 0)
                <> CASE j.kind WHEN 'adjustment' THEN -s.amount ELSE 0 END""",
    "refunds_add_up": """
        SELECT coalesce(r.user_id, s.user_id) || '/'
            || coalesce(r.transaction_id, s.transaction_id),
            'refunds of ' || coalesce(r.refunded, 0) || ', kept ' || coalesce(s.refunded, 0) || ', '
            || coalesce(t.status, 'unknown') || ' of ' || coalesce(t.amount, 0)
        FROM (
            SELECT user_id, transaction_id, sum(amount) AS refunded,
                sum(commission_returned) AS returned, min(currency) AS one, max(currency) AS other
            FROM refunds GROUP BY 1, 2
        ) AS r
        FULL JOIN refund_totals s ON (s.user_id, s.transaction_id) = (r.user_id, r.transaction_id)
        LEFT JOIN transactions t ON t.user_id = coalesce(r.user_id, s.user_id)
            AND t.id = coalesce(r.transaction_id, s.transaction_id)
        WHERE (t.status = 'confirmed' AND r.refunded <= t.amount AND r.refunded = s.refunded
            AND s.amount = t.amount AND r.returned <= t.commission
            AND r.one = t.currency AND r.other = t.currency) IS NOT TRUE""",
    # A refund is written under the lock of its transaction, so they have an order: what is
    # given back by each is what the rounded share of all up to it grows by.
    "refund_returns_its_share": f"""
        SELECT user_id || '/' || id, 'returned ' || returned || ', share ' || due
        FROM (
            SELECT r.user_id, r.id, r.commission_returned AS returned,
                CASE WHEN r.refund_commission
                    THEN {_share("r.upto")} - {_share("r.upto - r.amount")} ELSE 0 END AS due
            FROM (SELECT *, sum(amount) OVER (PARTITION BY user_id, transaction_id
                ORDER BY created_at, id) AS upto FROM refunds) AS r
            JOIN transactions t ON (t.user_id, t.id) = (r.user_id, r.transaction_id)
        ) AS each
        WHERE returned <> due""",
    "late_payment_matches": """
        SELECT n.user_id || '/' || n.id, 'late for ' || n.late_for
        FROM transactions n
        LEFT JOIN transactions t ON (t.user_id, t.id) = (n.user_id, n.late_for)
        WHERE n.late_for IS NOT NULL AND (n.status = 'confirmed'
            AND t.status IN ('canceled', 'expired') AND t.finished_at <= n.created_at
            AND (n.amount, n.currency, n.commission, n.commission_rate)
                = (t.amount, t.currency, t.commission, t.commission_rate)
            AND (n.reference, n.fee_schedule_id, n.fee_fixed, n.fee_minimum, n.fee_maximum)
                IS NOT DISTINCT FROM
                (t.reference, t.fee_schedule_id, t.fee_fixed, t.fee_minimum, t.fee_maximum)
            AND NOT EXISTS (SELECT FROM transactions o WHERE o.user_id = n.user_id
                AND o.late_for = n.late_for AND o.id <> n.id)) IS NOT TRUE""",
    "fee_is_of_its_schedule": """
        SELECT t.user_id || '/' || t.id, 'schedule ' || t.fee_schedule_id
        FROM transactions t
        LEFT JOIN fee_schedules f ON (f.user_id, f.id) = (t.user_id, t.fee_schedule_id)
        WHERE t.fee_schedule_id IS NOT NULL AND (
            (f.currency, f.rate, f.fixed, f.minimum)
                = (t.currency, t.commission_rate, t.fee_fixed, t.fee_minimum)
            AND f.maximum IS NOT DISTINCT FROM t.fee_maximum
            AND f.starts_at <= t.created_at) IS NOT TRUE""",
    # What happened before the watermark may have lost its event to the purge.
    "object_has_its_events": f"""
        SELECT user_id || '/' || id,
            type || ': due ' || coalesce(o.due, 0) || ', written ' || coalesce(v.written, 0)
        FROM (SELECT user_id, id, type, count(*) AS due, min(at) AS at FROM ({_TOLD}) AS each
            GROUP BY 1, 2, 3) AS o
        FULL JOIN (
            SELECT user_id, coalesce(transaction_id, refund_id, payout_id, adjustment_id) AS id,
                type, count(*) AS written
            FROM events WHERE endpoint_id IS NULL AND type <> 'transaction.created' GROUP BY 1, 2, 3
        ) AS v USING (user_id, id, type)
        WHERE coalesce(v.written, 0) > coalesce(o.due, 0)
            OR coalesce(v.written, 0) < o.due AND NOT EXISTS (
                SELECT FROM event_clock c WHERE o.at < c.purged_before)""",
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
    "hourly_sum_is_of_rows": _sums(
        "hourly_sums", "currency, series, hour", "currency || '/' || series || '/' || hour"
    ),
    "merchant_sum_is_of_rows": _sums(
        "merchant_sums", "user_id, currency, series", "user_id || '/' || currency || '/' || series"
    ),
    # Older hours of single merchants are forgotten.
    "merchant_hourly_sum_is_of_rows": _sums(
        "merchant_hourly_sums",
        "user_id, currency, series, hour",
        "user_id || '/' || currency || '/' || series || '/' || hour",
        "hour > clock_timestamp() - interval '34 days'",
    ),
    "ending_was_in_time": """
        SELECT user_id || '/' || id, status || ' at ' || finished_at
        FROM transactions
        WHERE CASE status WHEN 'pending' THEN finished_at IS NOT NULL
            WHEN 'expired' THEN finished_at IS DISTINCT FROM expires_at
            ELSE finished_at IS NULL OR finished_at >= expires_at END""",
    "act_has_audit_row": f"""
        SELECT o.user_id || '/' || o.id, o.type || ' without an audit row'
        FROM (SELECT user_id, id, replace(type, 'balance.adjusted', 'adjustment.posted') AS type
            FROM ({_TOLD}) AS each) AS o
        WHERE NOT EXISTS (
            SELECT FROM audit_log a WHERE a.object_type = split_part(o.type, '.', 1)
              AND a.object_id = o.id::text AND a.action = o.type)""",
}

_COMMISSIONS = text(
    """
    SELECT user_id, id, amount, commission, commission_rate,
        coalesce(fee_fixed, 0) AS fixed, coalesce(fee_minimum, 0) AS minimum,
        fee_maximum AS maximum
    FROM transactions
    """
)


def verify(connection: Connection) -> Iterator[Finding]:
    """Check every invariant of the books; yield each breach, nothing when they are right.

    The connection must hold one REPEATABLE READ snapshot, so that all checks see the same
    moment. The commission of every transaction is computed again in Python with integers,
    apart from the database's rule.
    """
    for invariant, query in _INVARIANTS.items():
        for subject, detail in connection.execute(text(query)):
            yield Finding(invariant, subject, detail)
    rows = connection.execute(_COMMISSIONS, execution_options={"yield_per": 5000})
    for row in rows:
        expected = money.fee(row.amount, row.commission_rate, row.fixed, row.minimum, row.maximum)
        if row.commission != expected:
            yield Finding(
                "commission_follows_the_rule",
                f"{row.user_id}/{row.id}",
                f"kept {row.commission}, rule {expected}",
            )
