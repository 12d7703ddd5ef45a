"""Kept reconciliations: their counts and sums, counted again from the lines that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from standart.services.findings import Finding
from standart.services.proof import queries

# A further line for one of ours has no sum of ours. Such a one is a duplicate, or an attempt
# that failed beside one that was paid. Where nothing was paid at all, lines and ours agree
# either way, and the lines don't say which of them is the further one: then ``maybe``.
_LINES: Final = """
    SELECT w.reconciliation_id, w.number, w.outcome, w.direction, w.currency, w.our_currency,
        CASE WHEN w.paid THEN w.amount ELSE 0 END AS amount, coalesce(w.fee, 0) AS fee,
        CASE WHEN w.our_status IN ('confirmed', 'refunded', 'paid') THEN w.our_amount ELSE 0 END
            AS our_amount,
        'duplicate' = ANY (w.fields) OR failed AND (w.currency <> w.our_currency
            OR w.our_status IN ('confirmed', 'refunded', 'paid')) AS further,
        failed AS maybe
    FROM (SELECT *, outcome = 'matched' AND NOT paid AS failed FROM reconciliation_rows) AS w"""

# What each of a run's totals must hold, and between which bounds the count of ours lies.
_TOTALS: Final = f"""
    SELECT l.reconciliation_id, jsonb_build_object('outcome', l.outcome,
            'direction', l.direction, 'currency', s.currency, 'count', sum(s.count),
            'amount', sum(s.amount), 'fee', sum(s.fee), 'our_amount', sum(s.our_amount)) AS total,
        to_jsonb(sum(s.least)) AS least, to_jsonb(sum(s.most)) AS most
    FROM ({_LINES}) AS l CROSS JOIN LATERAL (VALUES
        (l.currency, 1, l.amount, l.fee, 0, 0, 0),
        (CASE WHEN l.further IS NOT TRUE THEN l.our_currency END, 0, 0, 0, l.our_amount,
            CASE WHEN l.maybe THEN 0 ELSE 1 END, 1)
    ) AS s (currency, count, amount, fee, our_amount, least, most)
    WHERE s.currency IS NOT NULL
    GROUP BY l.reconciliation_id, l.outcome, l.direction, s.currency"""

_INVARIANTS: Final = {
    "reconciliation_is_of_its_lines": f"""
        SELECT r.number::text, 'kept ' || concat_ws(', ', r.matched, r.differing, r.missing_here,
            r.missing_there) || ' matched, differing, missing here and there, its lines are '
            || concat_ws(', ', coalesce(c.matched, 0), coalesce(c.differing, 0),
                coalesce(c.missing_here, 0), coalesce(c.missing_there, 0))
        FROM reconciliations r LEFT JOIN (
            SELECT reconciliation_id,
                count(*) FILTER (WHERE outcome = 'matched') AS matched,
                count(*) FILTER (WHERE outcome = 'differing') AS differing,
                count(*) FILTER (WHERE outcome = 'missing_here') AS missing_here,
                count(*) FILTER (WHERE outcome = 'missing_there') AS missing_there
            FROM reconciliation_rows GROUP BY 1
        ) AS c ON c.reconciliation_id = r.id
        WHERE (r.matched, r.differing, r.missing_here, r.missing_there) IS DISTINCT FROM
            (coalesce(c.matched, 0), coalesce(c.differing, 0), coalesce(c.missing_here, 0),
                coalesce(c.missing_there, 0))
        UNION ALL
        SELECT r.number::text, 'its totals are not those of its lines'
        FROM reconciliations r LEFT JOIN (
            SELECT t.reconciliation_id, count(*) AS due, count(k.total) AS kept
            FROM ({_TOTALS}) AS t
            LEFT JOIN LATERAL (
                SELECT e.value AS total FROM reconciliations o CROSS JOIN LATERAL
                    jsonb_path_query(o.totals, 'strict $[*]', silent => true) AS e (value)
                WHERE o.id = t.reconciliation_id AND e.value @> t.total
                    AND e.value -> 'our_count' BETWEEN t.least AND t.most
                LIMIT 1
            ) AS k ON true
            GROUP BY 1
        ) AS c ON c.reconciliation_id = r.id
        WHERE jsonb_typeof(r.totals) <> 'array' OR coalesce(c.due, 0) <> coalesce(c.kept, 0)
            OR coalesce(c.due, 0) <> (SELECT count(*)
                FROM jsonb_path_query(r.totals, 'strict $[*]', silent => true))""",
    "reconciliation_is_as_noted": """
        SELECT coalesce(r.number::text, a.object_id),
            CASE WHEN r.id IS NULL THEN 'is gone, by the audit log it was run'
                WHEN a.object_id IS NULL THEN 'was not noted in the audit log'
                ELSE 'is not as it was noted in the audit log' END
        FROM (SELECT object_id, after FROM audit_log
            WHERE object_type = 'reconciliation' AND action = 'reconciliation.run') AS a
        FULL JOIN reconciliations r ON r.id::text = a.object_id
        WHERE (a.after @> jsonb_build_object('sha256', encode(r.file_digest, 'hex'),
            'matched', r.matched, 'differing', r.differing, 'missing_here', r.missing_here,
            'missing_there', r.missing_there)) IS NOT TRUE""",
}

INVARIANTS: Final = tuple(_INVARIANTS)


def check(connection: Connection) -> Iterator[Finding]:
    """Yield every breach of ``INVARIANTS``; ``connection`` holds one snapshot."""
    yield from queries.each(connection, _INVARIANTS)
