"""Journals and what they are of: entries, settlements, sources, balances.

All entries, journals and transactions are read once, in one join, for most of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from standart.services.findings import Finding
from standart.services.proof import queries

# What each kind of journal but a settlement must hold, by what it is about.
_SOURCES: Final = """
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

_KINDS: Final = ("available", "pending_payout", "clearing", "commission", "adjustment")

_SUMS: Final = ", ".join(
    f"coalesce(sum(amount) FILTER (WHERE kind = '{kind}'), 0) AS {kind}" for kind in _KINDS
)

# Entries by journal (p) with their journal (j, with its source, s_…, unless it is a settlement)
# and the transaction that it settles (t); what has no counterpart stands alone.
_POSTED: Final = f"""
    (
        SELECT user_id, journal_id, count(*) AS lines, min(currency) AS currency,
            max(currency) AS other, sum(amount) AS total, {_SUMS}
        FROM entries GROUP BY user_id, journal_id
    ) AS p
    FULL JOIN (
        SELECT o.*, CASE WHEN o.kind = 'settlement' THEN o.transaction_id END AS settled,
            s.id AS s_id, s.currency AS s_currency, s.amount AS s_amount, s.part AS s_part
        FROM journals o
        LEFT JOIN ({_SOURCES}) AS s
            ON (s.user_id, s.id) = (o.user_id, coalesce(o.refund_id, o.payout_id, o.adjustment_id))
            AND s.kind = o.kind
    ) AS j ON (j.user_id, j.id) = (p.user_id, p.journal_id)
    FULL JOIN transactions t ON (t.user_id, t.id) = (j.user_id, j.settled)"""

_SUMS_IN_ITS_CURRENCIES: Final = """(SELECT string_agg(currency || ' ' || total, ', ') FROM (
        SELECT e.currency, sum(e.amount) AS total FROM entries e
        WHERE (e.user_id, e.journal_id) = (p.user_id, p.journal_id)
        GROUP BY 1 HAVING sum(e.amount) <> 0) AS sums)"""

_EXPECTED: Final = """(CASE j.kind WHEN 'refund' THEN j.s_part - j.s_amount
            WHEN 'payout_reserved' THEN -j.s_amount WHEN 'payout_paid' THEN 0 ELSE j.s_amount END,
        CASE WHEN j.kind = 'payout_reserved' THEN j.s_amount
            WHEN j.kind IN ('payout_paid', 'payout_returned') THEN -j.s_amount ELSE 0 END,
        CASE WHEN j.kind IN ('refund', 'payout_paid') THEN j.s_amount
            WHEN j.kind = 'opening_balance' THEN -j.s_amount ELSE 0 END,
        -j.s_part,
        CASE j.kind WHEN 'adjustment' THEN -j.s_amount ELSE 0 END)"""

_POSTED_SUMS: Final = "(p.available, p.pending_payout, p.clearing, p.commission, p.adjustment)"

# Condition, subject and detail of each, over the join above.
_OF_POSTED: Final = {
    "journal_sums_to_zero": (
        f"""(p.total <> 0 OR p.currency IS DISTINCT FROM p.other
            AND {_SUMS_IN_ITS_CURRENCIES} IS NOT NULL)""",
        "p.user_id || '/' || p.journal_id",
        _SUMS_IN_ITS_CURRENCIES,
    ),
    "journal_is_whole": (
        "(j.id IS NULL AND p.lines > 0 OR coalesce(p.lines, 0) <> j.entry_count)",
        "coalesce(j.user_id, p.user_id) || '/' || coalesce(j.id, p.journal_id)",
        "coalesce(p.lines, 0) || ' of ' || coalesce(j.entry_count, 0) || ' entries'",
    ),
    "confirmed_has_one_settlement": (
        "((t.status = 'confirmed') <> (j.id IS NOT NULL))",
        "t.user_id || '/' || t.id",
        "t.status || ' with ' || (j.id IS NOT NULL)::int || ' settlements'",
    ),
    "settlement_matches_transaction": (
        f"""(t.id IS NOT NULL AND p.lines > 0 AND ((p.currency, p.other) <> (t.currency, t.currency)
            OR {_POSTED_SUMS} <> (t.amount - t.commission, 0, -t.amount, t.commission, 0)))""",
        "t.user_id || '/' || t.id",
        "'posted amounts differ'",
    ),
    "journal_matches_its_source": (
        f"""(j.s_id IS NOT NULL AND (p.lines > 0
                AND (p.currency, p.other) <> (j.s_currency, j.s_currency)
            OR (coalesce(p.available, 0), coalesce(p.pending_payout, 0), coalesce(p.clearing, 0),
                coalesce(p.commission, 0), coalesce(p.adjustment, 0)) <> {_EXPECTED}))""",
        "j.user_id || '/' || j.id",
        "j.kind || ' of ' || j.s_id || ': posted amounts differ'",
    ),
}

_BROKEN: Final = " OR ".join(condition for condition, _, _ in _OF_POSTED.values())
_NAMES: Final = ", ".join(
    f"('{name}', {condition}, {subject}, {detail})"
    for name, (condition, subject, detail) in _OF_POSTED.items()
)
_POSTINGS: Final = f"""
    SELECT b.invariant, b.subject, b.detail
    FROM {_POSTED}
    CROSS JOIN LATERAL (VALUES {_NAMES}) AS b (invariant, broken, subject, detail)
    WHERE ({_BROKEN}) AND b.broken
    UNION ALL
    SELECT 'confirmed_has_one_settlement', user_id || '/' || transaction_id,
        count(*) || ' settlements'
    FROM journals WHERE kind = 'settlement' GROUP BY user_id, transaction_id HAVING count(*) > 1"""

# What has happened, on each account that it moves; apart from all journals and entries.
_MOVEMENTS: Final = """
    SELECT user_id, currency, l.kind, l.amount
    FROM (
        SELECT user_id, currency, sum(amount) AS amount, sum(commission) AS commission
        FROM transactions WHERE status = 'confirmed' GROUP BY 1, 2
    ) AS t CROSS JOIN LATERAL (VALUES
        ('available', t.amount - t.commission), ('commission', t.commission),
        ('clearing', -t.amount)
    ) AS l (kind, amount)
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

# What overdrafts are judged by, and what everybody is shown: a view could show what should be.
_KEPT: Final = """
    SELECT user_id, currency, kind, sum(amount) AS balance
    FROM (
        SELECT user_id, currency, kind::text, balance AS amount FROM accounts
        UNION ALL
        SELECT user_id, currency, kind::text, amount FROM balance_deltas
    ) AS parts
    GROUP BY 1, 2, 3"""

_ALONE: Final = {
    "balance_is_sum_of_entries": f"""
        SELECT user_id || '/' || currency || '/' || kind,
            'kept ' || coalesce(b.balance, 0) || ', shown ' || coalesce(v.balance, 0)
            || ', entries ' || coalesce(e.balance, 0)
        FROM ({_KEPT}) AS b
        FULL JOIN account_balances v USING (user_id, currency, kind)
        FULL JOIN (
            SELECT user_id, currency, kind, sum(amount) AS balance
            FROM (SELECT user_id, currency, kind::text, amount FROM entries) AS plain
            GROUP BY 1, 2, 3
        ) e USING (user_id, currency, kind)
        WHERE coalesce(b.balance, 0) <> coalesce(e.balance, 0)
            OR coalesce(v.balance, 0) <> coalesce(e.balance, 0)""",
    "balance_is_sum_of_movements": f"""
        SELECT user_id || '/' || currency || '/' || kind,
            'kept ' || coalesce(b.balance, 0) || ', moved ' || coalesce(m.moved, 0)
        FROM ({_KEPT}) AS b
        FULL JOIN (
            SELECT user_id, currency, kind, sum(amount) AS moved FROM ({_MOVEMENTS}) AS each
            GROUP BY 1, 2, 3
        ) m USING (user_id, currency, kind)
        WHERE coalesce(b.balance, 0) <> coalesce(m.moved, 0)""",
    "balance_is_not_negative": f"""
        SELECT user_id || '/' || currency || '/' || kind, 'kept ' || balance
        FROM ({_KEPT}) AS b
        WHERE kind IN ('available', 'pending_payout') AND balance < 0""",
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
}

INVARIANTS: Final = (*_OF_POSTED, *_ALONE)


def check(connection: Connection) -> Iterator[Finding]:
    """Yield every breach of ``INVARIANTS``; ``connection`` holds one snapshot."""
    yield from queries.breaches(connection, _POSTINGS)
    yield from queries.each(connection, _ALONE)
