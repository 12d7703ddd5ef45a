"""Many movements at once, for statements that are long."""

from __future__ import annotations

from sqlalchemy import Engine, text

from tests.builders import TestUser

# Adjustments of one kopeck with their journals, written behind the guards.
FILL = """
    WITH made AS MATERIALIZED (
        SELECT gen_random_uuid() AS id, gen_random_uuid() AS journal_id,
            clock_timestamp() - n * interval '1 second' AS at
        FROM generate_series(1, :count) AS n
    ),
    source AS (
        INSERT INTO adjustments
            (user_id, id, kind, amount, currency, reason, status, created_at, finished_at)
        SELECT :owner, id, 'adjustment', 1, 'RUB', 'why', 'posted', at, at FROM made
    ),
    journal AS (
        INSERT INTO journals (user_id, id, kind, adjustment_id, entry_count, created_at)
        SELECT :owner, journal_id, 'adjustment', id, 2, at FROM made
    ),
    entry AS (
        INSERT INTO entries (user_id, journal_id, line, currency, kind, amount)
        SELECT :owner, journal_id, line, 'RUB', kind, amount FROM made,
            (VALUES (1, 'available', 1), (2, 'adjustment', -1)) AS l (line, kind, amount)
    )
    INSERT INTO balance_deltas (user_id, currency, kind, amount)
    VALUES (:owner, 'RUB', 'available', :count), (:owner, 'RUB', 'adjustment', -:count)
"""


def fill(superuser: Engine, owner: TestUser, count: int) -> None:
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(FILL), {"owner": owner.id, "count": count})
        connection.execute(text("ANALYZE journals, entries, adjustments"))
