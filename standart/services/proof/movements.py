"""What movements say of each other: refunds, late payments, fees, commissions, endings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from standart.models import MAX_AMOUNT
from standart.services.findings import Finding
from standart.services.proof import queries


def _share(refunded: str) -> str:
    """SQL: the commission's rounded share of minor units ``refunded`` of transaction ``t``."""
    return f"div(2 * t.commission::numeric * ({refunded}) + t.amount, 2 * t.amount)"


# The rate as millionths, and the amount as whole and broken millions, so that integers of 64
# bits hold it: what the database's own rule has from exact decimals and round().
_MILLION: Final = 1_000_000
_BY_RATE: Final = f"""(t.amount / {_MILLION} * t.ppm
    + (2 * (t.amount % {_MILLION}) * t.ppm + {_MILLION}) / {2 * _MILLION})"""
_RULE: Final = f"""(CASE WHEN t.amount BETWEEN 1 AND {MAX_AMOUNT} AND t.ppm BETWEEN 0 AND {_MILLION}
    THEN least(t.amount, greatest(coalesce(t.fee_minimum, 0), least(
        coalesce(t.fee_maximum, t.amount), {_BY_RATE} + coalesce(t.fee_fixed, 0)))) END)"""

# Each query returns the subject and what is wrong with it; an empty result is the proof.
_INVARIANTS: Final = {
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
    "ending_was_in_time": """
        SELECT user_id || '/' || id, status || ' at ' || finished_at
        FROM transactions
        WHERE CASE status WHEN 'pending' THEN finished_at IS NOT NULL
            WHEN 'expired' THEN finished_at IS DISTINCT FROM expires_at
            ELSE finished_at IS NULL OR finished_at >= expires_at END""",
    "commission_follows_the_rule": f"""
        SELECT t.user_id || '/' || t.id, 'kept ' || t.commission || ', rule '
            || coalesce({_RULE}::text, 'none')
        FROM (SELECT *, (commission_rate * {_MILLION})::bigint AS ppm FROM transactions) AS t
        WHERE t.commission IS DISTINCT FROM {_RULE}""",
}

INVARIANTS: Final = tuple(_INVARIANTS)


def check(connection: Connection) -> Iterator[Finding]:
    """Yield every breach of ``INVARIANTS``; ``connection`` holds one snapshot."""
    yield from queries.each(connection, _INVARIANTS)
