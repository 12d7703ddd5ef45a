"""Transactions with their settlements and audit rows, a batch in one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, text

from benchmarks.fill.options import Options
from benchmarks.fill.people import Merchant

NEWEST: Final = 0.01
"""The part of all transactions, at the end of the span, among which some are still pending."""
_OVERDUE: Final = 0.02
"""The part of the pending ones whose time is over, though no sweep has seen them."""


def drawn(number: int, of: str = "n") -> str:
    """SQL: the ``number``-th even random float in [0, 1) of a row's number."""
    return f"((hashint8extended({of}, :seed * 1000 + {number}) & 1048575)::float8 / 1048576)"


def ordered_id(moment: str, digest: str) -> str:
    """SQL: a UUID version 7 of a moment and an md5."""
    return (
        f"(lpad(to_hex((extract(epoch FROM {moment}) * 1000)::bigint), 12, '0') || '7'"
        f" || substr({digest}, 1, 3) || 'a' || substr({digest}, 4, 15))::uuid"
    )


_MERCHANTS = """
    CREATE TEMPORARY TABLE fill_merchants
        (number int PRIMARY KEY, id uuid, currency text, rate numeric(7, 6), called boolean)
"""
_MERCHANT = "INSERT INTO fill_merchants VALUES (:number, :id, :currency, :rate, :called)"

# The days have their rush hours: time runs unevenly within each, but never backwards.
_PLACED = f"""
    drawn AS MATERIALIZED (
        SELECT n, md5(:seed || ':' || n) AS digest, {drawn(1)} AS fate, {drawn(2)} AS waits,
            {drawn(3)} AS pace, {drawn(4)} AS which, {drawn(5)} AS words,
            exp(1.2 * 2 * ({drawn(6)} + {drawn(7)} + {drawn(8)} - 1.5)) AS size,
            CASE WHEN :merchants = 1 OR {drawn(9)} < :big THEN 1
                ELSE 2 + floor((:merchants - 1) * power({drawn(10)}, 2))::int END AS number,
            :days * (n - 0.5)::float8 / :transactions AS day
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
    ),
    placed AS (
        SELECT d.*, m.id AS user_id, m.rate,
            CASE WHEN d.which < 0.9 THEN m.currency
                ELSE (ARRAY['RUB', 'USD', 'EUR', 'KZT'])[1 + (d.which * 1000)::int % 4]
            END AS currency,
            greatest(100, (50000 * d.size)::bigint) AS amount,
            CAST(:until AS timestamptz) - make_interval(secs => 86400 * (:days
                - (floor(day) + (day - floor(day)) - 0.1 * sin(2 * pi() * (day - floor(day))))
            )) AS created_at
        FROM drawn d JOIN fill_merchants m USING (number)
    ),
    timed AS (
        SELECT p.*,
            n > :transactions * (1 - {NEWEST}) AND waits < :pending / {NEWEST} AS patient,
            created_at + interval '15 minutes' AS soon
        FROM placed p
    ),
    judged AS (
        SELECT t.*,
            CASE WHEN patient AND NOT (waits < :pending / {NEWEST} * {_OVERDUE} AND soon < :until)
                THEN CAST(:until AS timestamptz) + (1 + 6 * pace) * interval '1 day'
                ELSE soon END AS expires_at,
            CASE WHEN patient OR soon >= :until THEN 'pending'
                WHEN fate < :confirmed THEN 'confirmed'
                WHEN fate < :confirmed + :canceled THEN 'canceled' ELSE 'expired' END AS status
        FROM timed t
    ),
    fated AS MATERIALIZED (
        SELECT j.user_id, {ordered_id("j.created_at", "j.digest")} AS ordered, j.digest,
            CASE WHEN j.which < 0.1 THEN j.digest::uuid
                ELSE {ordered_id("j.created_at", "j.digest")} END AS id,
            j.amount, round(j.amount * j.rate)::bigint AS commission, j.rate, j.currency, j.status,
            CASE WHEN j.words < 0.7 THEN 'order-' || lpad(j.n::text, 9, '0')
                WHEN j.words < 0.85 THEN 'INV/' || to_char(j.created_at, 'YYYY/MM') || '/' || j.n
            END AS reference,
            CASE WHEN j.words < 0.2 THEN 'Order of ' || to_char(j.created_at, 'DD.MM.YYYY') END
                AS description,
            CASE WHEN j.words < 0.05 THEN jsonb_build_object('cart', j.n::text)
                ELSE '{{}}' END AS metadata,
            CASE WHEN j.status = 'canceled' AND j.words < 0.3 THEN 'The buyer changed their mind.'
            END AS reason,
            j.created_at, j.expires_at,
            CASE j.status WHEN 'pending' THEN NULL WHEN 'expired' THEN j.expires_at
                ELSE j.created_at + (5 + 880 * j.pace) * interval '1 second' END AS finished_at
        FROM judged j
    )"""

BATCH = text(
    f"""
    WITH {_PLACED},
    paid AS (
        SELECT f.*, {ordered_id("f.finished_at", "md5('journal' || f.digest)")} AS journal_id
        FROM fated f WHERE status = 'confirmed'
    ),
    payment AS (
        INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
            status, reference, description, metadata, reason, created_at, expires_at, finished_at)
        SELECT user_id, id, amount, commission, rate, currency, status, reference, description,
            metadata, reason, created_at, expires_at, finished_at
        FROM fated
    ),
    journal AS (
        INSERT INTO journals (user_id, id, kind, transaction_id, entry_count, created_at)
        SELECT user_id, journal_id, 'settlement', id,
            1 + (amount > commission)::int + (commission > 0)::int, finished_at
        FROM paid
    ),
    entry AS (
        INSERT INTO entries (user_id, journal_id, line, currency, kind, amount)
        SELECT p.user_id, p.journal_id, l.line, p.currency, l.kind, l.amount
        FROM paid p CROSS JOIN LATERAL (VALUES
            (1, 'clearing', -p.amount), (2, 'available', p.amount - p.commission),
            (3, 'commission', p.commission)
        ) AS l (line, kind, amount)
        WHERE l.amount <> 0
    )
    INSERT INTO audit_log (created_at, actor_id, actor_name, channel, action, object_type,
        object_id, before, after)
    SELECT finished_at, CASE WHEN status <> 'expired' THEN CAST(:operator AS uuid) END,
        CASE status WHEN 'expired' THEN 'system' ELSE 'operator' END,
        CASE status WHEN 'expired' THEN 'sweep' ELSE 'api' END, 'transaction.' || status,
        'transaction', id::text, jsonb_build_object('status', 'pending'),
        jsonb_strip_nulls(jsonb_build_object('status', status, 'reason', reason))
    FROM fated WHERE status <> 'pending'
    """
)


def name_merchants(connection: Connection, merchants: list[Merchant]) -> None:
    """Keep who is meant by a number for as long as the connection lives."""
    connection.execute(text(_MERCHANTS))
    rows = [
        {"number": m.number, "id": m.id, "currency": m.currency, "rate": m.rate, "called": m.called}
        for m in merchants
    ]
    connection.execute(text(_MERCHANT), rows)


def parameters(options: Options) -> dict[str, Any]:
    """What the statements of a filling are given."""
    return {
        "seed": options.seed,
        "merchants": options.merchants,
        "transactions": options.transactions,
        "days": options.days,
        "big": options.big,
        "confirmed": options.confirmed,
        "canceled": options.canceled,
        "pending": options.pending,
        "until": options.until,
    }


def batches(options: Options) -> Iterator[tuple[int, int]]:
    """Yield the first and the last number of each batch."""
    for first in range(1, options.transactions + 1, options.batch):
        yield first, min(first + options.batch - 1, options.transactions)


def add_payments(
    connection: Connection,
    options: Options,
    operator: str | None,
    tell: Callable[[str], None],
) -> None:
    """Write all transactions, each batch committed by itself."""
    for first, last in batches(options):
        bound = {**parameters(options), "first": first, "last": last, "operator": operator}
        connection.execute(BATCH, bound)
        tell(f"{last:,} transactions")
