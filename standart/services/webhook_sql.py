"""The statements of the delivery engine.

A claim goes from endpoint to endpoint along the index of what is due, so the pile of one
delays no other; it holds the endpoint's lane, so bounds hold for all workers together. Moments
are read once for each statement as ``(SELECT clock_timestamp())``: a plain call would be
volatile, and no index could be entered at it.
"""

from __future__ import annotations

from sqlalchemy import text

from standart.services.outbox import CALLABLE

_NOW = "(SELECT clock_timestamp())"

_NEXT_LANE = """
    SELECT d.user_id, d.endpoint_id, d.next_attempt_at FROM deliveries d
    WHERE d.state = 'waiting' AND (d.user_id, d.endpoint_id) > ({user_id}, {endpoint_id})
    ORDER BY d.user_id, d.endpoint_id, d.next_attempt_at LIMIT 1
"""

# Each step is one descent of the index to the next endpoint's earliest delivery. ``last`` is
# how far it went, ``soonest`` in how many seconds something will be due that is not yet.
HOLD_LANES = text(
    f"""
    WITH RECURSIVE walk AS (
        SELECT f.*, 1 AS step FROM (
            {
        _NEXT_LANE.format(
            user_id="CAST(:after_user AS uuid)", endpoint_id="CAST(:after_endpoint AS uuid)"
        )
    }
        ) AS f
        UNION ALL
        SELECT n.*, w.step + 1 FROM walk w CROSS JOIN LATERAL (
            {_NEXT_LANE.format(user_id="w.user_id", endpoint_id="w.endpoint_id")}
        ) AS n
        WHERE w.step < :steps
    ),
    reached AS MATERIALIZED (
        SELECT k.user_id, k.endpoint_id, k.step, l.failures, l.room, l.free_at,
            greatest(k.next_attempt_at, l.open_until, l.free_at) AS claimable_at
        FROM walk k JOIN webhook_lanes l USING (user_id, endpoint_id)
    ),
    held AS MATERIALIZED (
        SELECT l.user_id, l.endpoint_id, l.failures, l.room, l.free_at
        FROM reached r JOIN webhook_lanes l USING (user_id, endpoint_id)
        WHERE r.claimable_at <= {_NOW}
          AND (l.open_until IS NULL OR l.open_until <= {_NOW})
          AND (l.free_at IS NULL OR l.free_at <= {_NOW})
        ORDER BY r.step LIMIT :lanes
        FOR NO KEY UPDATE OF l SKIP LOCKED
    )
    SELECT last.user_id AS last_user, last.endpoint_id AS last_endpoint, last.step AS steps,
        (SELECT extract(epoch FROM min(r.claimable_at) - {_NOW})
            FROM reached r WHERE r.claimable_at > {_NOW}) AS soonest,
        extract(epoch FROM {_NOW} - h.free_at) AS free_for, h.user_id, h.endpoint_id, h.failures,
        h.room, {CALLABLE} AS callable, w.url, w.ordered, w.rate_limit, w.headers, w.secret,
        CASE WHEN w.previous_secret_until > {_NOW} THEN w.previous_secret END AS previous_secret
    FROM (SELECT * FROM walk ORDER BY step DESC LIMIT 1) AS last
    LEFT JOIN (held h JOIN webhook_endpoints w ON w.user_id = h.user_id AND w.id = h.endpoint_id)
        ON true
    ORDER BY h.user_id, h.endpoint_id
    """
)

# The events before that of the delivery ``d`` that its endpoint gets too and has not got yet.
_BEFORE = """
    FROM events v
    JOIN events e ON e.user_id = v.user_id AND e.sequence < v.sequence
        AND (e.transaction_id = v.transaction_id OR e.payout_id = v.payout_id)
    JOIN deliveries p ON p.user_id = e.user_id AND p.event_id = e.id
        AND p.endpoint_id = d.endpoint_id AND p.state = 'waiting'
    WHERE v.user_id = d.user_id AND v.id = d.event_id
"""

_UNDER_WAY = f"""
    SELECT count(*) FROM deliveries b
    WHERE b.user_id = l.user_id AND b.endpoint_id = l.endpoint_id
      AND b.lease IS NOT NULL AND b.next_attempt_at > {_NOW}
"""

_LANES = """
    SELECT * FROM unnest(CAST(:user_ids AS uuid[]), CAST(:endpoint_ids AS uuid[]),
        CAST(:rooms AS int[]), CAST(:shares AS int[])) AS l (user_id, endpoint_id, room, share)
"""

# The lease is the due time itself, moved behind its end: whatever happens to the worker, the
# delivery is due again then. Rows are found again by their place, which cannot change while
# they are locked: how many a limit lets through is unknown to the planner, which would take it
# for a tenth of the pile, and read the whole table.
_LEASE = """
    leased AS (
        UPDATE deliveries d
        SET lease = :lease, attempt_count = d.attempt_count + 1,
            next_attempt_at = clock_timestamp() + make_interval(secs => :lease_seconds)
        WHERE d.ctid = ANY (ARRAY(SELECT place FROM due))
        RETURNING d.user_id, d.id, d.endpoint_id, d.event_id,
            d.attempt_count - d.schedule_start AS step
    )"""
_LEASED = "l.user_id, l.id, l.endpoint_id, l.event_id, l.step, v.payload"

# Runs after the lanes are held, so it sees every lease that another worker took before.
CLAIM = text(
    f"""
    WITH lane AS MATERIALIZED ({_LANES}),
    due AS MATERIALIZED (
        SELECT x.place FROM lane l CROSS JOIN LATERAL (
            SELECT d.ctid AS place FROM deliveries d
            WHERE d.user_id = l.user_id AND d.endpoint_id = l.endpoint_id
              AND d.state = 'waiting' AND d.next_attempt_at <= {_NOW}
            ORDER BY d.next_attempt_at
            LIMIT least(l.share, greatest(0, l.room - ({_UNDER_WAY})))
            FOR UPDATE SKIP LOCKED
        ) AS x
    ),
    {_LEASE}
    SELECT {_LEASED} FROM leased l JOIN events v ON v.user_id = l.user_id AND v.id = l.event_id
    """
)

# For endpoints where an object's event waits while an earlier one of it does. It looks at the
# ``look`` first of what is due, no more: one that has to wait is moved behind the last of those
# before it, so that it is looked at again only once that one is due, or was let go by RECORD.
# The first of all therefore may go or is moved, and every claim gets further. Rows that somebody
# else writes at this moment are passed by: whoever records results holds them while he waits for
# the lane, and what he lets go must not be moved away again.
CLAIM_ORDERED = text(
    f"""
    WITH lane AS MATERIALIZED (
        SELECT l.user_id, l.endpoint_id,
            least(l.share, greatest(0, l.room - ({_UNDER_WAY}))) AS places
        FROM ({_LANES}) AS l
    ),
    seen AS MATERIALIZED (
        SELECT d.*, b.behind FROM lane l
        CROSS JOIN LATERAL (
            SELECT o.ctid AS place, o.user_id, o.endpoint_id, o.id, o.event_id, o.next_attempt_at
            FROM deliveries o
            WHERE o.user_id = l.user_id AND o.endpoint_id = l.endpoint_id
              AND o.state = 'waiting' AND o.next_attempt_at <= {_NOW}
            ORDER BY o.next_attempt_at LIMIT CASE WHEN l.places > 0 THEN :look ELSE 0 END
        ) AS d
        CROSS JOIN LATERAL (SELECT max(p.next_attempt_at) AS behind {_BEFORE}) AS b
    ),
    chosen AS MATERIALIZED (
        SELECT x.place FROM lane l CROSS JOIN LATERAL (
            SELECT s.place FROM seen s
            WHERE s.user_id = l.user_id AND s.endpoint_id = l.endpoint_id AND s.behind IS NULL
            ORDER BY s.next_attempt_at LIMIT l.places
        ) AS x
    ),
    due AS MATERIALIZED (
        SELECT d.ctid AS place FROM deliveries d
        WHERE d.ctid = ANY (ARRAY(SELECT place FROM chosen))
          AND d.state = 'waiting' AND d.next_attempt_at <= {_NOW}
        FOR UPDATE SKIP LOCKED
    ),
    early AS MATERIALIZED (
        SELECT d.ctid AS place FROM deliveries d
        WHERE d.ctid = ANY (ARRAY(SELECT place FROM seen WHERE next_attempt_at <= behind))
          AND d.state = 'waiting' AND d.next_attempt_at <= {_NOW}
        FOR UPDATE SKIP LOCKED
    ),
    moved AS (
        UPDATE deliveries d SET next_attempt_at = s.behind + interval '1 microsecond'
        FROM seen s
        WHERE d.ctid = ANY (ARRAY(SELECT place FROM early))
          AND s.user_id = d.user_id AND s.id = d.id
        RETURNING 1
    ),
    {_LEASE}
    SELECT (SELECT count(*) FROM moved) AS moved, {_LEASED}
    FROM (SELECT) AS always
    LEFT JOIN (leased l JOIN events v ON v.user_id = l.user_id AND v.id = l.event_id) ON true
    """
)

# A receiver that is stopped or gone is not called; what waits for it is dead, and can be
# replayed. A deactivated merchant's still is, since what was pending can still be settled.
ORPHAN = text(
    f"""
    UPDATE deliveries d SET state = 'dead', next_attempt_at = NULL, lease = NULL
    WHERE d.ctid = ANY (ARRAY(
        SELECT x.place
        FROM unnest(CAST(:user_ids AS uuid[]), CAST(:endpoint_ids AS uuid[]))
            AS l (user_id, endpoint_id)
        CROSS JOIN LATERAL (
            SELECT o.ctid AS place FROM deliveries o
            WHERE o.user_id = l.user_id AND o.endpoint_id = l.endpoint_id
              AND o.state = 'waiting' AND o.next_attempt_at <= {_NOW}
            ORDER BY o.next_attempt_at LIMIT :batch FOR UPDATE SKIP LOCKED
        ) AS x))
    """
)

PACE = text(
    """
    UPDATE webhook_lanes l SET free_at = greatest(l.free_at,
        clock_timestamp() - make_interval(secs => p.burst)) + make_interval(secs => p.taken)
    FROM unnest(CAST(:user_ids AS uuid[]), CAST(:endpoint_ids AS uuid[]),
        CAST(:bursts AS float8[]), CAST(:taken AS float8[])
    ) AS p (user_id, endpoint_id, burst, taken)
    WHERE l.user_id = p.user_id AND l.endpoint_id = p.endpoint_id
    """
)

_ANEW = """(r.state <> 'delivered' AND r.status_code IS DISTINCT FROM 410
    AND d.schedule_start = d.attempt_count)"""

_UNSIGNED = """(SELECT count(*) FROM attempts a
    WHERE a.user_id = d.user_id AND a.delivery_id = d.id AND a.outcome = 'unsigned')"""

# Only the holder of a lease records: a result that comes after its end, when another worker
# took over, is dropped. A lane is written only while its endpoint fails or its room grows;
# lanes are locked in one order, so that two workers never wait for each other. Failures count
# up to the opening of the breaker, and each probe after that: what was under way together and
# fails together says no more than one of it. An equal sign between leases would let the planner
# look for each result among all that is leased. Of an ordered endpoint the object's next events
# are due now, whether or not they have been moved: a claim may be moving them at this moment.
# What a receiver turns down by a 4xx says that it is there and fast: it takes none of its room,
# and counts for the breaker only once nothing else came for a while. What we could not sign is no
# failure of the receiver's, and no step of the schedule. A replay that was asked for while a try
# was under way has marked the row; the failed try then leaves it due.
RECORD = text(
    f"""
    WITH result AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:results AS json)) AS r (
            user_id uuid, id uuid, lease uuid, state text, delay float8, url text, ordered boolean,
            outcome text, status_code smallint, excerpt text, error text, duration_ms int,
            request_headers text, response_headers text, dns_ms int, connect_ms int, tls_ms int,
            first_byte_ms int)
    ),
    mine AS (
        UPDATE deliveries d
        SET state = CASE WHEN {_ANEW} THEN 'waiting' ELSE r.state END, lease = NULL,
            delivered_at = CASE WHEN r.state = 'delivered' THEN clock_timestamp() END,
            schedule_start = CASE WHEN r.outcome = 'unsigned'
                THEN least(d.attempt_count, d.schedule_start + 1) ELSE d.schedule_start END,
            next_attempt_at = CASE
                WHEN r.outcome = 'unsigned' THEN clock_timestamp() + make_interval(
                    secs => least(:longest_own_pause, :own_pause * power(2, {_UNSIGNED})))
                WHEN {_ANEW} THEN clock_timestamp()
                WHEN r.state = 'waiting' THEN clock_timestamp() + make_interval(secs => r.delay)
            END
        FROM result r
        WHERE d.user_id = r.user_id AND d.id = r.id AND d.lease IS NOT DISTINCT FROM r.lease
        RETURNING d.user_id, d.id, d.endpoint_id, d.attempt_count, d.state, r.url,
            CASE WHEN r.state = 'delivered' AND d.schedule_start
                    = CASE WHEN d.schedule_start > 0 THEN {_UNSIGNED} ELSE 0 END
                THEN extract(epoch FROM clock_timestamp() - d.created_at) END AS latency,
            r.status_code, r.ordered, d.event_id,
            CASE WHEN r.state = 'delivered' THEN 'good' WHEN r.outcome = 'unsigned' THEN 'ours'
                WHEN r.status_code BETWEEN 400 AND 499 AND r.status_code NOT IN (408, 425, 429)
                THEN 'refused' ELSE 'bad' END AS sign
    ),
    next AS MATERIALIZED (
        SELECT n.* FROM mine m CROSS JOIN LATERAL (
            SELECT d.user_id, d.id FROM events v
            JOIN events e ON e.user_id = v.user_id AND e.sequence > v.sequence
                AND (e.transaction_id = v.transaction_id OR e.payout_id = v.payout_id)
            JOIN deliveries d ON d.user_id = e.user_id AND d.event_id = e.id
                AND d.endpoint_id = m.endpoint_id AND d.state = 'waiting' AND d.lease IS NULL
            WHERE v.user_id = m.user_id AND v.id = m.event_id
            OFFSET 0
        ) AS n
        WHERE m.ordered AND m.state <> 'waiting'
    ),
    let_go AS (
        UPDATE deliveries d SET next_attempt_at = clock_timestamp()
        FROM next n
        WHERE d.user_id = n.user_id AND d.id = n.id AND d.state = 'waiting' AND d.lease IS NULL
    ),
    tried AS (
        INSERT INTO attempts (user_id, delivery_id, number, url, outcome, status_code, excerpt,
            error, duration_ms, request_headers, response_headers, dns_ms, connect_ms, tls_ms,
            first_byte_ms)
        SELECT m.user_id, m.id, m.attempt_count, r.url, r.outcome, r.status_code, r.excerpt,
            r.error, r.duration_ms, r.request_headers, r.response_headers, r.dns_ms,
            r.connect_ms, r.tls_ms, r.first_byte_ms
        FROM mine m JOIN result r ON r.user_id = m.user_id AND r.id = m.id
    ),
    told AS MATERIALIZED (
        SELECT user_id, endpoint_id, count(*) FILTER (WHERE sign = 'good') AS good,
            count(*) FILTER (WHERE sign = 'bad') AS bad,
            count(*) FILTER (WHERE sign = 'refused') AS refused,
            max(url) FILTER (WHERE status_code = 410) AS gone,
            array_agg(latency) FILTER (WHERE latency IS NOT NULL) AS latencies,
            array_agg(attempt_count = 1) FILTER (WHERE latency IS NOT NULL) AS at_once
        FROM mine GROUP BY user_id, endpoint_id
    ),
    held AS MATERIALIZED (
        SELECT l.user_id, l.endpoint_id, l.failures, t.good, t.bad, t.refused,
            l.open_until > clock_timestamp() AS open,
            CASE WHEN l.failed_at < clock_timestamp() - make_interval(secs => :quiet_seconds)
                THEN clock_timestamp()
                ELSE coalesce(l.failing_since, clock_timestamp()) END AS since
        FROM webhook_lanes l JOIN told t USING (user_id, endpoint_id)
        WHERE t.bad > 0 OR (t.refused > 0 AND t.good = 0)
            OR (t.good > 0 AND (l.failing_since IS NOT NULL OR l.failures > 0 OR l.room < :most))
        ORDER BY l.user_id, l.endpoint_id
        FOR NO KEY UPDATE OF l
    ),
    moved AS (
        SELECT h.*, CASE WHEN h.good > 0 THEN 0 WHEN h.open THEN h.failures
            ELSE least(h.failures + h.bad + CASE WHEN h.since
                    < clock_timestamp() - make_interval(secs => :refusing_seconds)
                    THEN h.refused ELSE 0 END,
                greatest(h.failures + 1, :patience)) END AS counted
        FROM held h
    ),
    lane AS (
        UPDATE webhook_lanes l
        SET failures = m.counted,
            failing_since = CASE WHEN m.good = 0 THEN m.since END,
            failed_at = CASE WHEN m.good = 0 THEN clock_timestamp() END,
            open_until = CASE WHEN m.open AND m.good = 0 THEN l.open_until
                WHEN m.counted >= :patience THEN clock_timestamp()
                + make_interval(secs => least(:longest_pause, :shortest_pause
                    * power(2, least(m.counted - :patience, 20))) * (0.8 + 0.4 * random())) END,
            room = greatest(1, least(:most, l.room + m.good - :backoff * m.bad))
        FROM moved m WHERE l.user_id = m.user_id AND l.endpoint_id = m.endpoint_id
        RETURNING l.user_id, l.endpoint_id, l.failing_since
    )
    SELECT t.user_id, t.endpoint_id, t.gone, t.latencies, t.at_once,
        l.failing_since < clock_timestamp() - make_interval(secs => :failing_seconds) AS failing
    FROM told t LEFT JOIN lane l USING (user_id, endpoint_id)
    ORDER BY t.user_id, t.endpoint_id
    """
)

# For people and alarms: what is due though its endpoint would take it now, and since when. An
# endpoint that fails, or has as much under way as it bears, is waited for, not we; so is one
# that gets an object's events in order and still owes an answer to the former one, of which we
# look at the first ones due. The pace that an owner asked for explains the wait up to the moment
# at which the next attempt was free: while we work that never lies far back.
LAG = text(
    f"""
    WITH RECURSIVE walk AS (
        SELECT f.*, 1 AS step FROM (
            {
        _NEXT_LANE.format(
            user_id="'00000000-0000-0000-0000-000000000000'",
            endpoint_id="'00000000-0000-0000-0000-000000000000'",
        )
    }
        ) AS f
        UNION ALL
        SELECT n.*, w.step + 1 FROM walk w CROSS JOIN LATERAL (
            {_NEXT_LANE.format(user_id="w.user_id", endpoint_id="w.endpoint_id")}
        ) AS n
        WHERE w.step < 10000
    )
    SELECT coalesce(extract(epoch FROM {_NOW} - min(
        u.due + greatest(l.free_at - u.due, interval '0'))), 0)
    FROM walk k JOIN webhook_lanes l USING (user_id, endpoint_id)
    JOIN webhook_endpoints w ON w.user_id = k.user_id AND w.id = k.endpoint_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN NOT w.ordered THEN k.next_attempt_at ELSE (
            SELECT d.next_attempt_at FROM (
                SELECT o.* FROM deliveries o
                WHERE o.user_id = k.user_id AND o.endpoint_id = k.endpoint_id
                  AND o.state = 'waiting' AND o.next_attempt_at <= {_NOW}
                ORDER BY o.next_attempt_at LIMIT :look
            ) AS d
            WHERE NOT EXISTS (SELECT {_BEFORE})
            ORDER BY d.next_attempt_at LIMIT 1) END AS due
    ) AS u
    WHERE k.next_attempt_at <= {_NOW} AND l.failures < :patience
      AND (l.free_at IS NULL OR l.free_at <= {_NOW}) AND l.room > ({_UNDER_WAY})
    """
)
