"""The statements of a reconciliation: sets against sets, in tables that end with it.

``file_lines`` and ``file_tokens`` are the file, ``our_books`` what of ours may be meant by it or
lies in its span, ``our_names`` by what words that goes. ``pairs`` says which line is which of
ours; a line or one of ours is in at most one pair, unless the line is a ``repeat``. All orders
are total, so the same file over the same books gives the same rows.
"""

from __future__ import annotations

from typing import Final

CREATE_FILE: Final = (
    """
    CREATE TEMPORARY TABLE file_lines (
        line integer PRIMARY KEY, direction text NOT NULL, day date NOT NULL, time time,
        amount bigint NOT NULL, currency text NOT NULL, paid boolean NOT NULL, fee bigint,
        reference text, purpose text, counterparty text, document text
    ) ON COMMIT DROP
    """,
    """
    CREATE TEMPORARY TABLE file_tokens (
        line integer NOT NULL, token text COLLATE "C" NOT NULL, weak boolean NOT NULL
    ) ON COMMIT DROP
    """,
    """
    CREATE TEMPORARY TABLE pairs (
        line integer PRIMARY KEY, book integer NOT NULL, matched_by text NOT NULL,
        repeat boolean NOT NULL DEFAULT false
    ) ON COMMIT DROP
    """,
    "CREATE UNIQUE INDEX ON pairs (book) WHERE NOT repeat",
)

# The planner knows nothing of new tables by itself, and would compare all with all.
ANALYZE_FILE: Final = ("ANALYZE file_lines", "ANALYZE file_tokens")

# Everything of ours that moved money by way of a bank or provider, and when it did. A late
# payment goes by the reference that it took over from the one that it is for.
_EVERYTHING: Final = """
    SELECT 'payment' AS kind, 'in' AS direction, t.user_id, t.id, t.amount, t.currency,
        coalesce(t.finished_at, t.created_at) AS at, t.finished_at, t.reference,
        NULL::uuid AS about,
        CASE WHEN t.status = 'pending' AND t.expires_at <= statement_timestamp()
            THEN 'expired' ELSE t.status END AS status,
        t.status = 'confirmed' AS settled
    FROM transactions t
    UNION ALL
    SELECT 'refund', 'out', r.user_id, r.id, r.amount, r.currency, r.created_at, r.created_at,
        t.reference, t.id, 'refunded', true
    FROM refunds r JOIN transactions t ON t.user_id = r.user_id AND t.id = r.transaction_id
    UNION ALL
    SELECT 'payout', 'out', p.user_id, p.id, p.amount, p.currency,
        coalesce(p.finished_at, p.created_at), p.finished_at, p.reference, NULL,
        p.status, p.status = 'paid'
    FROM payouts p"""

_ID: Final = "'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"

# One branch for each way to be meant: a disjunction would compare everything with everything.
CREATE_BOOKS: Final = f"""
    CREATE TEMPORARY TABLE our_books ON COMMIT DROP AS
    WITH words AS MATERIALIZED (
        SELECT DISTINCT token FROM file_tokens
    ), ids AS MATERIALIZED (
        SELECT CASE WHEN token ~ {_ID} THEN token::uuid END AS id FROM words WHERE token ~ {_ID}
    ), everything AS NOT MATERIALIZED (
        SELECT * FROM ({_EVERYTHING}) AS e
        WHERE e.kind = ANY (:kinds) AND (CAST(:user_id AS uuid) IS NULL OR e.user_id = :user_id)
    ), meant AS (
        SELECT e.* FROM everything e JOIN words w ON w.token = e.reference
        UNION
        SELECT e.* FROM everything e JOIN ids w ON w.id = e.id
        UNION
        SELECT e.* FROM everything e JOIN ids w ON w.id = e.about
        UNION
        SELECT e.* FROM everything e WHERE e.settled
            AND e.finished_at >= :since AND e.finished_at < :until
    )
    SELECT row_number() OVER (ORDER BY at, kind, id)::integer AS book, kind, direction, user_id,
        id, amount, currency, (at AT TIME ZONE :zone)::date AS day, reference, about, status,
        settled
    FROM meant
"""

CREATE_NAMES: Final = """
    CREATE TEMPORARY TABLE our_names ON COMMIT DROP AS
    SELECT n.book, n.name, n.direction, n.is_id FROM (
        SELECT book, reference COLLATE "C" AS name, direction, false AS is_id
        FROM our_books WHERE reference IS NOT NULL
        UNION ALL
        SELECT book, id::text COLLATE "C", direction, true FROM our_books
        UNION ALL
        SELECT book, about::text COLLATE "C", direction, true
        FROM our_books WHERE about IS NOT NULL
    ) AS n
    WHERE n.name IN (SELECT token FROM file_tokens)
"""

ANALYZE_BOOKS: Final = ("ANALYZE our_books", "ANALYZE our_names")
ANALYZE_PAIRS: Final = "ANALYZE pairs"


def pair_by_name(*, same_amount: bool, agreeing: bool) -> str:
    """Pair lines with those of ours that they name, the first with the first of each name.

    ``agreeing``: both say that money moved, or both that it did not. A weak word is a name
    only where the amounts agree.
    """
    keys = ", amount, currency" if same_amount else ""
    equal = "AND l.amount = b.amount AND l.currency = b.currency" if same_amount else ""
    strong = "" if same_amount else "AND NOT t.weak"
    states = "l.paid = b.settled" if agreeing else "l.paid <> b.settled"
    state_of_line, state_of_ours = "paid", "settled"
    return f"""
    INSERT INTO pairs (line, book, matched_by)
    SELECT DISTINCT ON (book) line, book, matched_by FROM (
        SELECT DISTINCT ON (l.line) l.line, b.book,
            CASE WHEN b.is_id THEN 'id' ELSE 'reference' END AS matched_by
        FROM (
            SELECT line, token, direction, amount, currency, paid, row_number() OVER (
                PARTITION BY token, direction, {state_of_line}{keys} ORDER BY day, line) AS place
            FROM file_lines JOIN file_tokens t USING (line)
            WHERE NOT EXISTS (SELECT FROM pairs p WHERE p.line = t.line) {strong}
        ) AS l JOIN (
            SELECT n.book, n.name, n.is_id, direction, amount, currency, settled,
                row_number() OVER (
                    PARTITION BY n.name, direction, {state_of_ours}{keys} ORDER BY day, n.book
                ) AS place
            FROM our_books JOIN our_names n USING (book, direction)
            WHERE NOT EXISTS (SELECT FROM pairs p WHERE p.book = n.book)
        ) AS b ON l.token = b.name AND l.direction = b.direction AND l.place = b.place {equal}
        WHERE {states}
        ORDER BY l.line, b.book, b.is_id DESC
    ) AS found ORDER BY book, line
    """


# A line that names one of ours which has its line already.
PAIR_REPEATS: Final = """
    INSERT INTO pairs (line, book, matched_by, repeat)
    SELECT DISTINCT ON (l.line) l.line, n.book,
        CASE WHEN n.is_id THEN 'id' ELSE 'reference' END, true
    FROM file_lines l JOIN file_tokens t USING (line) JOIN (
        SELECT DISTINCT ON (name, direction) name, direction, book, is_id
        FROM our_names ORDER BY name, direction, book, is_id DESC
    ) AS n ON n.name = t.token AND n.direction = l.direction
    WHERE NOT t.weak AND NOT EXISTS (SELECT FROM pairs p WHERE p.line = l.line)
    ORDER BY l.line, n.book, n.is_id DESC
"""

# Days are compared as groups, so that a file of equal amounts does not meet our equal amounts
# one by one: a line and one of ours are a pair where each is the other's only candidate.
PAIR_BY_AMOUNT: Final = """
    INSERT INTO pairs (line, book, matched_by)
    WITH theirs AS MATERIALIZED (
        SELECT direction, amount, currency, day, count(*) AS rows, min(line) AS line
        FROM file_lines l
        WHERE paid AND NOT EXISTS (SELECT FROM pairs p WHERE p.line = l.line)
        GROUP BY direction, amount, currency, day
    ), ours AS MATERIALIZED (
        SELECT direction, amount, currency, day, count(*) AS rows, min(book) AS book
        FROM our_books b
        WHERE settled AND NOT EXISTS (SELECT FROM pairs p WHERE p.book = b.book)
        GROUP BY direction, amount, currency, day
    ), near AS MATERIALIZED (
        SELECT l.line, b.book, l.rows AS lines, b.rows AS books
        FROM theirs l CROSS JOIN generate_series(
            -CAST(:tolerance AS integer), CAST(:tolerance AS integer)
        ) AS away (days)
        JOIN ours b ON b.direction = l.direction AND b.amount = l.amount
            AND b.currency = l.currency AND b.day = l.day + away.days
    )
    SELECT line, book, 'amount' FROM near
    WHERE lines = 1 AND books = 1
      AND line IN (SELECT line FROM near GROUP BY line HAVING sum(books) = 1)
      AND book IN (SELECT book FROM near GROUP BY book HAVING sum(lines) = 1)
"""

_OURS: Final = """
        b.user_id, CASE b.kind WHEN 'payment' THEN b.id END AS transaction_id,
        CASE b.kind WHEN 'refund' THEN b.id END AS refund_id,
        CASE b.kind WHEN 'payout' THEN b.id END AS payout_id,
        b.day AS our_date, b.amount AS our_amount, b.currency AS our_currency,
        b.status AS our_status, b.reference AS our_reference, b.settled"""

# A line outside the span stays only where ours lies in it. A second attempt that failed beside
# one that was paid is no difference.
CREATE_RESULT: Final = f"""
    CREATE TEMPORARY TABLE result ON COMMIT DROP AS
    WITH compared AS (
        SELECT l.*, p.book, p.matched_by,
            p.repeat, p.repeat AND NOT l.paid AS is_failed_attempt,
            CASE WHEN p.repeat THEN ARRAY['duplicate'] ELSE array_remove(ARRAY[
            CASE WHEN l.currency = b.currency AND l.amount <> b.amount THEN 'amount' END,
            CASE WHEN l.currency <> b.currency THEN 'currency' END,
            CASE WHEN abs(l.day - b.day) > :tolerance THEN 'date' END,
            CASE WHEN l.paid <> b.settled THEN 'status' END,
            CASE WHEN p.matched_by = 'amount' AND l.reference <> b.reference THEN 'reference' END
            ], NULL) END AS fields
        FROM file_lines l LEFT JOIN pairs p USING (line) LEFT JOIN our_books b USING (book)
        WHERE l.day >= :starts_on AND l.day < :ends_before
           OR b.day >= :starts_on AND b.day < :ends_before
    )
    SELECT row_number() OVER (ORDER BY CASE outcome WHEN 'differing' THEN 1
        WHEN 'missing_here' THEN 2 WHEN 'missing_there' THEN 3 ELSE 4 END, line, book)::integer
        AS number, r.*
    FROM (
        SELECT CASE WHEN c.book IS NULL THEN 'missing_here'
                WHEN c.is_failed_attempt OR cardinality(c.fields) = 0 THEN 'matched'
                ELSE 'differing' END AS outcome,
            CASE WHEN c.is_failed_attempt OR c.book IS NULL THEN '{{}}' ELSE c.fields END AS fields,
            c.matched_by,
            c.direction, c.line, c.day AS date, c.time, c.amount, c.currency, c.paid, c.fee,
            c.reference, c.purpose, c.counterparty, c.document, c.book,
            coalesce(c.repeat, false) AS repeat, {_OURS}
        FROM compared c LEFT JOIN our_books b USING (book)
        UNION ALL
        SELECT 'missing_there', '{{}}', NULL, b.direction, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL, NULL, b.book, false, {_OURS}
        FROM our_books b
        WHERE b.settled AND b.day >= :starts_on AND b.day < :ends_before
          AND NOT EXISTS (SELECT FROM pairs p WHERE p.book = b.book)
    ) AS r
"""

# Money that moved by the word of either side, in that side's currency; what one of ours is
# named by a second time is not counted a second time.
TOTALS: Final = """
    SELECT r.outcome, r.direction, s.currency, sum(s.count) AS count, sum(s.amount) AS amount,
        coalesce(sum(s.fee), 0) AS fee, sum(s.our_count) AS our_count,
        sum(s.our_amount) AS our_amount
    FROM result r CROSS JOIN LATERAL (VALUES
        (r.currency, 1, CASE WHEN r.paid THEN r.amount ELSE 0 END, r.fee, 0, 0),
        (CASE WHEN NOT r.repeat THEN r.our_currency END, 0, 0, NULL, 1,
            CASE WHEN r.settled THEN r.our_amount ELSE 0 END)
    ) AS s (currency, count, amount, fee, our_count, our_amount)
    WHERE s.currency IS NOT NULL
    GROUP BY r.outcome, r.direction, s.currency
    ORDER BY min(r.number), r.direction, s.currency
"""

COUNTS: Final = """
    SELECT count(*) FILTER (WHERE outcome = 'differing') AS differing,
        count(*) FILTER (WHERE outcome = 'missing_here') AS missing_here,
        count(*) FILTER (WHERE outcome = 'missing_there') AS missing_there,
        count(*) FILTER (WHERE outcome = 'matched') AS matched
    FROM result
"""

ROW_COLUMNS: Final = (
    "number, outcome, fields, matched_by, direction, line, date, time, amount, currency, paid,"
    " fee, reference, purpose, counterparty, document, user_id, transaction_id, refund_id,"
    " payout_id, our_date, our_amount, our_currency, our_status, our_reference"
)

KEEP_ROWS: Final = f"""
    INSERT INTO reconciliation_rows (reconciliation_id, {ROW_COLUMNS})
    SELECT :id, {ROW_COLUMNS} FROM result ORDER BY number
"""
