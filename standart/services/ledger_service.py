"""The ledger: balances, folding, and the proof that the books are right.

Double entry: every journal's entries sum to zero in each currency, and a balance is the
sum of its entries. Confirming posts clearing −amount, available +net, commission
+commission, all on accounts of the same merchant, so that no row of the system is hot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from standart import money
from standart.errors import InvalidInput
from standart.models import Scope
from standart.services import posting
from standart.services.access import Actor

_BALANCES = text(
    """
    SELECT coalesce(b.currency, u.currency) AS currency, coalesce(b.balance, 0) AS balance
    FROM users u
    LEFT JOIN account_balances b ON b.user_id = u.id AND b.kind = 'available'
    WHERE u.id = :user_id
    ORDER BY 1
    """
)

def balances(
    connection: Connection, actor: Actor, *, user_id: UUID | None = None
) -> list[tuple[str, int]]:
    """Return (currency, available minor units), at least the user's own currency with zero.

    An admin names the user; a regular actor has its own only.

    Raises:
        InvalidInput: ``user_id`` is missing, unknown, or not the actor's to name.
    """
    actor.require(Scope.READ)
    if actor.is_admin and user_id is None:
        raise InvalidInput.of("user_id", "An admin's key must name the merchant.")
    if not actor.is_admin and user_id is not None:
        raise InvalidInput.of("user_id", "Only an admin's key may name a merchant.")
    rows = connection.execute(_BALANCES, {"user_id": user_id or actor.user_id}).all()
    if not rows:
        raise InvalidInput.of("user_id", "There is no such user.")
    return [(row.currency, row.balance) for row in rows]


def fold_deltas(connection: Connection, *, batch: int = 5000) -> int:
    """Fold up to ``batch`` deltas into their accounts; return how many. Changes no balance."""
    return posting.fold(connection, batch=batch)


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken invariant: its name and the rows that break it."""

    invariant: str
    subject: str
    detail: str


# Each query returns the subject and what is wrong with it; an empty result is the proof.
_INVARIANTS = {
    "journal_sums_to_zero": """
        SELECT user_id || '/' || journal_id, currency || ' ' || sum(amount)
        FROM entries GROUP BY user_id, journal_id, currency HAVING sum(amount) <> 0""",
    "journal_is_whole": """
        SELECT j.user_id || '/' || j.id, count(e.line) || ' of ' || j.entry_count || ' entries'
        FROM journals j
        LEFT JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
        GROUP BY j.user_id, j.id HAVING count(e.line) <> j.entry_count""",
    "balance_is_sum_of_entries": """
        SELECT user_id || '/' || currency || '/' || kind,
            'kept ' || coalesce(b.balance, 0) || ', entries ' || coalesce(e.balance, 0)
        FROM account_balances b
        FULL JOIN (
            SELECT user_id, currency, kind::text, sum(amount) AS balance
            FROM entries GROUP BY 1, 2, 3
        ) e USING (user_id, currency, kind)
        WHERE coalesce(b.balance, 0) <> coalesce(e.balance, 0)""",
    "balance_is_sum_of_nets": """
        SELECT user_id || '/' || currency,
            'kept ' || coalesce(b.balance, 0) || ', nets ' || coalesce(t.net, 0)
        FROM (SELECT * FROM account_balances WHERE kind = 'available') b
        FULL JOIN (
            SELECT user_id, currency, sum(amount - commission) AS net
            FROM transactions WHERE status = 'confirmed' GROUP BY 1, 2
        ) t USING (user_id, currency)
        WHERE coalesce(b.balance, 0) <> coalesce(t.net, 0)""",
    "confirmed_has_one_settlement": """
        SELECT t.user_id || '/' || t.id, t.status || ' with ' || count(j.id) || ' settlements'
        FROM transactions t
        LEFT JOIN journals j ON (j.user_id, j.transaction_id) = (t.user_id, t.id)
            AND j.kind = 'settlement'
        GROUP BY t.user_id, t.id
        HAVING count(j.id) <> CASE t.status WHEN 'confirmed' THEN 1 ELSE 0 END""",
    "settlement_matches_transaction": """
        SELECT t.user_id || '/' || t.id, 'posted amounts differ'
        FROM transactions t
        JOIN journals j ON (j.user_id, j.transaction_id) = (t.user_id, t.id)
            AND j.kind = 'settlement'
        JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
        GROUP BY t.user_id, t.id
        HAVING bool_or(e.currency <> t.currency)
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'clearing'), 0) <> -t.amount
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'available'), 0)
                <> t.amount - t.commission
            OR coalesce(sum(e.amount) FILTER (WHERE e.kind = 'commission'), 0)
                <> t.commission""",
    "ending_has_one_event": """
        SELECT t.user_id || '/' || t.id, t.status || ' with ' || count(v.id) || ' events'
        FROM transactions t
        LEFT JOIN events v ON (v.user_id, v.transaction_id) = (t.user_id, t.id)
        GROUP BY t.user_id, t.id
        HAVING count(v.id) <> CASE t.status WHEN 'pending' THEN 0 ELSE 1 END
            OR coalesce(bool_or(v.type <> 'transaction.' || t.status), false)""",
    "ending_was_in_time": """
        SELECT user_id || '/' || id, status || ' at ' || finished_at
        FROM transactions
        WHERE CASE status WHEN 'pending' THEN finished_at IS NOT NULL
            WHEN 'expired' THEN finished_at IS DISTINCT FROM expires_at
            ELSE finished_at IS NULL OR finished_at >= expires_at END""",
    "ending_has_audit_row": """
        SELECT t.user_id || '/' || t.id, t.status || ' without an audit row'
        FROM transactions t
        WHERE t.status <> 'pending' AND NOT EXISTS (
            SELECT FROM audit_log a WHERE a.object_type = 'transaction'
              AND a.object_id = t.id::text AND a.action = 'transaction.' || t.status)""",
}

_COMMISSIONS = text(
    """
    SELECT user_id, id, amount, commission, commission_rate FROM transactions
    """
)


def verify(connection: Connection) -> Iterator[Finding]:
    """Check every invariant of the books; yield each breach, nothing when they are right.

    The connection must hold one REPEATABLE READ snapshot, so that all checks see the same
    moment. The commission of every transaction is computed again in Python with integers,
    apart from the database's rule.
    """
    for invariant, query in _INVARIANTS.items():
        for subject, detail in connection.execute(text(query)):
            yield Finding(invariant, subject, detail)
    rows = connection.execute(_COMMISSIONS, execution_options={"yield_per": 5000})
    for row in rows:
        expected = money.commission(row.amount, row.commission_rate)
        if row.commission != expected:
            yield Finding(
                "commission_follows_the_rule",
                f"{row.user_id}/{row.id}",
                f"kept {row.commission}, rule {expected}",
            )
