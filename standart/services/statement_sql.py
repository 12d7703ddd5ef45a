"""The statements that a settlement statement is read with.

Each reads a bounded number of journals by the index (user_id, created_at, id), however long
the history is, and none needs a snapshot in common with another: what lies before a settled
moment never changes.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import text

from standart.services.canonical import LINE

NO_ID: Final = UUID(int=0)
"""Below every journal's id: with a moment, the place just before all journals of it."""

PRESENT: Final = text("SELECT clock_timestamp()")

OWNER: Final = text("SELECT name, currency, timezone FROM users WHERE id = :user_id")

# The first close that a moment lies within the reach of, with its anchor.
CLOSE: Final = text(
    """
    SELECT closed_at, seal_number, seal_hash FROM closes
    WHERE ends_at >= :end ORDER BY number LIMIT 1
    """
)

# The zones that the owner's days ever began in, each since when.
ZONES: Final = text(
    """
    SELECT timezone, min(since) AS since FROM particulars WHERE user_id = :user_id
    GROUP BY timezone ORDER BY 2
    """
)

# What the owner was called at a moment; before there was one, what it was called at first.
THEN: Final = text(
    """
    SELECT name, timezone FROM particulars WHERE user_id = :user_id
    ORDER BY since <= :at DESC, CASE WHEN since <= :at THEN -number ELSE number END LIMIT 1
    """
)

# Up to ``most`` journals on either side of a moment: index entries only.
AROUND: Final = text(
    """
    SELECT (SELECT count(*) FROM (SELECT FROM journals
            WHERE user_id = :user_id AND created_at < :at LIMIT :most) AS b) AS before,
        (SELECT count(*) FROM (SELECT FROM journals
            WHERE user_id = :user_id AND created_at >= :at LIMIT :most) AS a) AS after
    """
)

# Journals behind a place, in order. The row comparison is one condition of the index.
_PAGE: Final = """
    page AS MATERIALIZED (
        SELECT j.* FROM journals j
        WHERE j.user_id = :user_id AND (j.created_at, j.id) > (:at, :id) AND j.created_at < :end
        ORDER BY j.created_at, j.id LIMIT :batch
    )"""

# What a page of journals moved, and its last place; no row of a page that is empty.
SUMS: Final = text(
    f"""
    WITH {_PAGE}
    SELECT p.created_at AS at, p.id, s.available, s.reserved,
        (SELECT count(*) FROM page) AS journals
    FROM page p CROSS JOIN (
        SELECT coalesce(sum(e.amount) FILTER (WHERE e.kind = 'available'), 0)::bigint
                AS available,
            coalesce(sum(e.amount) FILTER (WHERE e.kind = 'pending_payout'), 0)::bigint
                AS reserved
        FROM page j JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
        WHERE e.currency = :currency
    ) AS s
    ORDER BY p.created_at DESC, p.id DESC LIMIT 1
    """
)

# How many journals a span has: index entries only.
COUNT: Final = text(
    """
    SELECT count(*) AS journals FROM (
        SELECT FROM journals
        WHERE user_id = :user_id AND created_at >= :start AND created_at < :end LIMIT :most
    ) AS found
    """
)

# A page of journals with what they are about. Those in other currencies have no sums: they
# are read all the same, so that a page is bounded by what it reads and not by what it finds.
MOVEMENTS: Final = text(
    f"""
    WITH {_PAGE}
    SELECT j.created_at AS at, j.id, j.kind,
        coalesce(j.refund_id, j.payout_id, j.adjustment_id, j.transaction_id) AS source_id,
        t.id AS transaction_id, coalesce(t.reference, o.reference) AS reference,
        s.available, s.reserved, s.clearing, s.commission,
        CASE WHEN s.entries > 0 THEN {LINE} END AS line
    FROM page j
    CROSS JOIN LATERAL (
        SELECT count(*) AS entries,
            coalesce(sum(e.amount) FILTER (WHERE e.kind = 'available'), 0)::bigint
                AS available,
            coalesce(sum(e.amount) FILTER (WHERE e.kind = 'pending_payout'), 0)::bigint
                AS reserved,
            coalesce(sum(e.amount) FILTER (WHERE e.kind = 'clearing'), 0)::bigint AS clearing,
            coalesce(sum(e.amount) FILTER (WHERE e.kind = 'commission'), 0)::bigint
                AS commission
        FROM entries e
        WHERE e.user_id = j.user_id AND e.journal_id = j.id AND e.currency = :currency
    ) AS s
    LEFT JOIN refunds r ON (r.user_id, r.id) = (j.user_id, j.refund_id)
    LEFT JOIN transactions t
        ON (t.user_id, t.id) = (j.user_id, coalesce(j.transaction_id, r.transaction_id))
    LEFT JOIN payouts o ON (o.user_id, o.id) = (j.user_id, j.payout_id)
    ORDER BY j.created_at, j.id
    """
)
