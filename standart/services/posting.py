"""Posting a journal: its entries, and what they do to the balances.

Credits insert a delta and never wait. A debit of what must not fall below zero is one
guarded UPDATE of the account's row, so racing debits queue on exactly that account and
the row count decides; what is not folded yet is folded first where the row alone does not
suffice. The CHECK on the account holds the same rule.

Whoever takes deltas away, a debit or the sweep, holds the row of their account first. A
guarded UPDATE that lost its race keeps that row locked, so the other order would have the
two wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart import money
from standart.clock import new_id
from standart.db import unit
from standart.errors import InsufficientBalance
from standart.models import AccountKind, JournalKind

GUARDED: Final = (AccountKind.AVAILABLE, AccountKind.PENDING_PAYOUT)

Line = tuple[AccountKind, int]
"""An account and minor units: credit positive, debit negative."""

_DEBIT = text(
    """
    UPDATE accounts SET balance = balance - :amount
    WHERE user_id = :user_id AND currency = :currency AND kind = :kind AND balance >= :amount
    """
)

# Makes the row where there is none, and locks it in either case.
_HOLD = text(
    """
    INSERT INTO accounts AS a (user_id, currency, kind, balance)
    VALUES (:user_id, :currency, :kind, 0)
    ON CONFLICT (user_id, currency, kind) DO UPDATE SET balance = a.balance
    """
)

_FOLD_HELD = text(
    """
    WITH taken AS (
        DELETE FROM balance_deltas
        WHERE user_id = :user_id AND currency = :currency AND kind = :kind
        RETURNING amount
    )
    UPDATE accounts SET balance = balance + (SELECT coalesce(sum(amount), 0) FROM taken)
    WHERE user_id = :user_id AND currency = :currency AND kind = :kind
    """
)

# One sweep at a time: a second one would only wait for the rows that the first one makes.
_ONLY_SWEEP = text("SELECT pg_try_advisory_xact_lock(hashtextextended('fold', 0))")

_OLDEST = """
    SELECT DISTINCT user_id, currency, kind FROM (
        SELECT user_id, currency, kind FROM balance_deltas ORDER BY id LIMIT :batch
    ) AS oldest"""

_MAKE_MISSING = text(
    f"""
    INSERT INTO accounts (user_id, currency, kind, balance)
    SELECT d.user_id, d.currency, d.kind, 0 FROM ({_OLDEST}) AS d
    WHERE NOT EXISTS (
        SELECT FROM accounts a
        WHERE a.user_id = d.user_id AND a.currency = d.currency AND a.kind = d.kind
    )
    ORDER BY d.user_id, d.currency, d.kind
    ON CONFLICT DO NOTHING
    """
)

# An account that a debit is at work on is left to the next sweep.
_HOLD_OLDEST = text(
    f"""
    SELECT a.user_id, a.currency, a.kind
    FROM accounts a JOIN ({_OLDEST}) AS d USING (user_id, currency, kind)
    FOR UPDATE OF a SKIP LOCKED
    """
)

# DELETE … RETURNING takes exactly the deltas that it saw; a watermark over ids would lose
# those that commit late.
_FOLD = text(
    """
    WITH held AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:user_ids AS uuid[]), CAST(:currencies AS text[]),
            CAST(:kinds AS text[])) AS h (user_id, currency, kind)
    ),
    taken AS (
        DELETE FROM balance_deltas WHERE id = ANY (ARRAY(
            SELECT d.id FROM balance_deltas d JOIN held USING (user_id, currency, kind)
            ORDER BY d.id LIMIT :batch
        ))
        RETURNING user_id, currency, kind, amount
    ),
    folded AS (
        UPDATE accounts a SET balance = a.balance + t.amount
        FROM (
            SELECT user_id, currency, kind, sum(amount) AS amount
            FROM taken GROUP BY user_id, currency, kind
        ) AS t
        WHERE a.user_id = t.user_id AND a.currency = t.currency AND a.kind = t.kind
    )
    SELECT count(*) FROM taken
    """
)

_AVAILABLE = text(
    """
    SELECT coalesce(sum(balance), 0)::bigint FROM account_balances
    WHERE user_id = :user_id AND currency = :currency AND kind = :kind
    """
)

_POST = text(
    """
    WITH line AS (
        SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:amounts AS bigint[]))
            WITH ORDINALITY AS l (kind, amount, line)
    ),
    journal AS (
        INSERT INTO journals (user_id, id, kind, refund_id, payout_id, adjustment_id, entry_count)
        SELECT :user_id, :journal_id, :journal_kind, CAST(:refund_id AS uuid),
            CAST(:payout_id AS uuid), CAST(:adjustment_id AS uuid), count(*) FROM line
    ),
    entry AS (
        INSERT INTO entries (user_id, journal_id, line, currency, kind, amount)
        SELECT :user_id, :journal_id, line, :currency, kind, amount FROM line
    )
    INSERT INTO balance_deltas (user_id, currency, kind, amount)
    SELECT :user_id, :currency, kind, amount FROM line
    WHERE kind NOT IN ('available', 'pending_payout') OR amount > 0
    """
)


def post(
    connection: Connection,
    user_id: UUID,
    kind: JournalKind,
    currency: str,
    lines: Sequence[Line],
    *,
    refund_id: UUID | None = None,
    payout_id: UUID | None = None,
    adjustment_id: UUID | None = None,
) -> None:
    """Write a journal of ``lines`` (those of zero are left out) for exactly one source.

    ``connection`` holds a transaction. Settlements are posted by the hot statement itself.

    Raises:
        InsufficientBalance: a debit is not covered; what is available is in the error.
    """
    written = [(account, amount) for account, amount in lines if amount]
    for account, amount in written:
        if account in GUARDED and amount < 0:
            debit(connection, user_id, currency, account, -amount)
    connection.execute(
        _POST,
        {
            "user_id": user_id,
            "journal_id": new_id(),
            "journal_kind": kind.value,
            "currency": currency,
            "kinds": [account.value for account, _ in written],
            "amounts": [amount for _, amount in written],
            "refund_id": refund_id,
            "payout_id": payout_id,
            "adjustment_id": adjustment_id,
        },
    )


def debit(
    connection: Connection, user_id: UUID, currency: str, account: AccountKind, amount: int
) -> None:
    """Take ``amount`` minor units from an account of a guarded kind; ``post`` calls it.

    Raises:
        InsufficientBalance: there is less, folded or not.
    """
    of_account = {"user_id": user_id, "currency": currency, "kind": account.value}
    wanted = {**of_account, "amount": amount}
    if connection.execute(_DEBIT, wanted).rowcount == 1:
        return
    connection.execute(_HOLD, of_account)
    connection.execute(_FOLD_HELD, of_account)
    if connection.execute(_DEBIT, wanted).rowcount == 1:
        return
    available = int(connection.execute(_AVAILABLE, of_account).scalar_one())
    raise InsufficientBalance(currency=currency, available=money.format_minor(available, currency))


def fold(connection: Connection, *, batch: int) -> int:
    """Fold up to ``batch`` deltas into their accounts; return how many. Changes no balance.

    ``connection`` is in autocommit mode; one transaction holds the accounts and folds.
    """
    with unit(connection):
        if not connection.scalar(_ONLY_SWEEP):
            return 0
        connection.execute(_MAKE_MISSING, {"batch": batch})
        held = connection.execute(_HOLD_OLDEST, {"batch": batch}).all()
        if not held:
            return 0
        parameters = {
            "user_ids": [row.user_id for row in held],
            "currencies": [row.currency for row in held],
            "kinds": [row.kind for row in held],
            "batch": batch,
        }
        return int(connection.execute(_FOLD, parameters).scalar_one())
