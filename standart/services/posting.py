"""Posting a journal: its entries, and what they do to the balances.

Credits insert a delta and never wait. A debit of what must not fall below zero is one
guarded UPDATE of the account's row, so racing debits queue on exactly that account and
the row count decides; what is not folded yet is folded first where the row alone does not
suffice. The CHECK on the account holds the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart import money
from standart.clock import new_id
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

# The deltas first and in order, then the account: as the sweep does, so nobody waits in a
# circle. A delta that the sweep holds is waited for, not passed over: its money counts.
_FOLD_ONE = text(
    """
    WITH taken AS (
        DELETE FROM balance_deltas WHERE id = ANY (ARRAY(
            SELECT id FROM balance_deltas
            WHERE user_id = :user_id AND currency = :currency AND kind = :kind
            ORDER BY id FOR UPDATE
        ))
        RETURNING amount
    )
    INSERT INTO accounts (user_id, currency, kind, balance)
    SELECT :user_id, :currency, :kind, sum(amount) FROM taken HAVING count(*) > 0
    ON CONFLICT (user_id, currency, kind) DO UPDATE
        SET balance = accounts.balance + excluded.balance
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
            _debit(connection, user_id, currency, account, -amount)
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


def _debit(
    connection: Connection, user_id: UUID, currency: str, account: AccountKind, amount: int
) -> None:
    of_account = {"user_id": user_id, "currency": currency, "kind": account.value}
    wanted = {**of_account, "amount": amount}
    if connection.execute(_DEBIT, wanted).rowcount == 1:
        return
    connection.execute(_FOLD_ONE, of_account)
    if connection.execute(_DEBIT, wanted).rowcount == 1:
        return
    available = int(connection.execute(_AVAILABLE, of_account).scalar_one())
    raise InsufficientBalance(currency=currency, available=money.format_minor(available, currency))
