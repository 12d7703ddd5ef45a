"""What people leave behind beside money: their acts in the audit log, their reconciliations."""

from __future__ import annotations

from typing import Final

# Fifty operators, some acts of each on each day; few of them ever did what is rare.
_ACTS = """
    INSERT INTO audit_log (created_at, actor_name, channel, action, object_type, object_id, ip)
    SELECT CAST(:until AS timestamptz) - make_interval(days => day, mins => 7 * who, secs => n),
        'operator-' || lpad(who::text, 2, '0'), 'panel', k.action, k.object_type,
        md5(k.action || day || ' ' || who || ' ' || n)::uuid::text, '192.0.2.' || who
    FROM generate_series(1, CAST(:days AS int)) AS day, generate_series(1, 50) AS who,
        (VALUES ('session.ended', 'user', 2), ('payout.destination_read', 'payout', 5),
            ('note.created', 'transaction', 3), ('endpoint.disabled', 'webhook_endpoint', 0))
            AS k (action, object_type, times),
        LATERAL generate_series(1, greatest(k.times, (day % 100 = 1 AND who = 7)::int)) AS n
    ORDER BY 1
"""

# A small file for each day; in the last one the payments of a week.
_RUNS = """
    INSERT INTO reconciliations (id, created_at, actor_name, file_name, file_digest, file_size,
        format, options, zone, starts_on, ends_before, date_tolerance, warnings, lines, skipped,
        matched, missing_here, missing_there, differing, totals)
    SELECT md5('run' || day)::uuid, d.at, 'operator-01', 'bank-' || d.at::date || '.csv',
        sha256(day::text::bytea), 2000, 'csv', '{}', 'UTC', d.at::date - 1, d.at::date, 0, '{}',
        10, 10, 0, 0, 0, 0, '[]'
    FROM generate_series(CAST(:days AS int), 1, -1) AS day
    CROSS JOIN LATERAL (SELECT CAST(:until AS timestamptz) - make_interval(days => day) AS at) AS d
"""

_LARGE_RUN = """
    WITH ours AS (
        SELECT t.*, CASE hashtext(t.id::text) & 127 WHEN 0 THEN 'differing'
            WHEN 1 THEN 'missing_there' ELSE 'matched' END AS outcome
        FROM transactions t
        WHERE t.status = 'confirmed' AND t.finished_at >= CAST(:until AS timestamptz)
            - interval '7 days'
    ),
    numbered AS MATERIALIZED (
        SELECT o.*, row_number() OVER (ORDER BY o.outcome = 'matched', o.outcome, o.finished_at,
            o.id) AS number
        FROM ours o
    ),
    sums AS (
        SELECT outcome, 'in' AS direction, currency,
            count(*) FILTER (WHERE outcome <> 'missing_there') AS count,
            coalesce(sum(amount + (outcome = 'differing')::int)
                FILTER (WHERE outcome <> 'missing_there'), 0) AS amount,
            0 AS fee, count(*) AS our_count, sum(amount) AS our_amount
        FROM numbered GROUP BY outcome, currency
    ),
    run AS (
        INSERT INTO reconciliations (id, created_at, actor_name, file_name, file_digest,
            file_size, format, options, zone, starts_on, ends_before, date_tolerance, warnings,
            lines, skipped, matched, missing_here, missing_there, differing, totals)
        SELECT md5('large run')::uuid, :until, 'operator-01', 'provider.csv', sha256('provider'),
            100 * count(*) + 1, 'csv', '{}', 'UTC', CAST(:until AS date) - 7,
            CAST(:until AS date), 0, '{}', count(*) FILTER (WHERE outcome <> 'missing_there'), 0,
            count(*) FILTER (WHERE outcome = 'matched'), 0,
            count(*) FILTER (WHERE outcome = 'missing_there'),
            count(*) FILTER (WHERE outcome = 'differing'),
            (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM sums s)
        FROM numbered RETURNING id
    )
    INSERT INTO reconciliation_rows (reconciliation_id, number, outcome, fields, matched_by,
        direction, line, date, amount, currency, paid, reference, user_id, transaction_id,
        our_date, our_amount, our_currency, our_status, our_reference)
    SELECT r.id, n.number, n.outcome, CASE n.outcome WHEN 'differing' THEN ARRAY['amount']
            ELSE '{}' END, CASE WHEN there THEN 'id' END, 'in',
        CASE WHEN there THEN n.number END, CASE WHEN there THEN n.finished_at::date END,
        CASE WHEN there THEN n.amount + (n.outcome = 'differing')::int END,
        CASE WHEN there THEN n.currency END, CASE WHEN there THEN true END,
        CASE WHEN there THEN n.reference END, n.user_id, n.id, n.finished_at::date, n.amount,
        n.currency, n.status, n.reference
    FROM numbered n CROSS JOIN run r
    CROSS JOIN LATERAL (SELECT n.outcome <> 'missing_there') AS t (there)
    ORDER BY n.number
"""

_NOTED = """
    INSERT INTO audit_log (created_at, actor_name, channel, action, object_type, object_id, after)
    SELECT created_at, actor_name, 'panel', 'reconciliation.run', 'reconciliation', id::text,
        jsonb_build_object('file', file_name, 'sha256', encode(file_digest, 'hex'),
            'matched', matched, 'differing', differing, 'missing_here', missing_here,
            'missing_there', missing_there)
    FROM reconciliations ORDER BY number
"""

STEPS: Final = {
    "acts": _ACTS,
    "reconciliations": _RUNS,
    "a large one": _LARGE_RUN,
    "what is noted of them": _NOTED,
}
