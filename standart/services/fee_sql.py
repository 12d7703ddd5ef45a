"""The fee rule as SQL: one expression for creating, previewing and checking.

The fee is amount times rate, rounded half away from zero (half-up for positive amounts)
once to the minor unit, plus the fixed part; at most the maximum, at least the minimum, and
never above the amount. The database's CHECK on transactions and ``money.fee`` are the same
rule written a second and a third time.
"""

from __future__ import annotations


def in_force(user_id: str, currency: str) -> str:
    """SQL: the merchant's fee schedule now as a LATERAL subquery of at most one row.

    No row means the plain commission rate: there is no schedule, or the newest one ended
    those before it.
    """
    return f"""(
        SELECT newest.* FROM (
            SELECT f.id, f.rate, f.fixed, f.minimum, f.maximum FROM fee_schedules f
            WHERE f.user_id = {user_id} AND f.currency = {currency}
              AND f.starts_at <= clock_timestamp()
            ORDER BY f.starts_at DESC, f.created_at DESC LIMIT 1
        ) AS newest WHERE newest.rate IS NOT NULL
    )"""


def terms(user: str, schedule: str) -> str:
    """SQL: the fee columns by the ``schedule`` in force, or without one by the plain rate."""
    return f"""coalesce({schedule}.rate, {user}.commission_rate) AS commission_rate,
        {schedule}.id AS fee_schedule_id, {schedule}.fixed AS fee_fixed,
        {schedule}.minimum AS fee_minimum, {schedule}.maximum AS fee_maximum"""


def commission(minor: str, row: str) -> str:
    """SQL: the commission in minor units on ``minor`` by the fee columns of ``row``."""
    return f"""least({minor}, greatest(coalesce({row}.fee_minimum, 0),
        least(coalesce({row}.fee_maximum, {minor}),
            round({minor} * {row}.commission_rate) + coalesce({row}.fee_fixed, 0))))::bigint"""
