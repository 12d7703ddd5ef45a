"""Refunds, payouts and adjustments for tests of the books, row by row.

Written with the service's posting and outbox but without its acts, so that what proves the
books does not stand or fall with what moves the money.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from standart.clock import new_id
from standart.db import unit
from standart.models import AccountKind, JournalKind
from standart.services import outbox, posting

AVAILABLE, PENDING, CLEARING, COMMISSION, ADJUSTMENT = (
    AccountKind.AVAILABLE,
    AccountKind.PENDING_PAYOUT,
    AccountKind.CLEARING,
    AccountKind.COMMISSION,
    AccountKind.ADJUSTMENT,
)


@dataclass(frozen=True)
class Mover:
    """Moves the money of one merchant; amounts in minor units."""

    connection: Connection
    user_id: UUID
    currency: str = "RUB"

    def _run(self, statement: str, **values: Any) -> None:
        bound = {"user_id": self.user_id, "currency": self.currency, **values}
        self.connection.execute(text(statement), bound)

    def _tell(self, object_type: str, object_id: UUID, kind: str, status: str) -> None:
        body = json.dumps({"id": str(object_id), "status": status})
        outbox.tell(self.connection, self.user_id, object_type, object_id, kind, body)
        self._record(object_type, object_id, kind.replace("balance.adjusted", "adjustment.posted"))

    def _record(self, object_type: str, object_id: UUID, action: str) -> None:
        self._run(
            "INSERT INTO audit_log (actor_name, channel, action, object_type, object_id)"
            " VALUES ('admin', 'test', :action, :object_type, :id)",
            action=action,
            object_type=object_type,
            id=str(object_id),
        )

    def refund(
        self,
        transaction_id: UUID,
        amount: int,
        *,
        returned: int = 0,
        with_commission: bool | None = None,
    ) -> UUID:
        """Give ``amount`` back to the payer, ``returned`` of it out of our commission."""
        refund_id = new_id()
        with unit(self.connection):
            self._run(
                "INSERT INTO refunds (user_id, id, transaction_id, amount, currency,"
                " refund_commission, commission_returned) VALUES (:user_id, :id, :transaction_id,"
                " :amount, :currency, :with_commission, :returned)",
                id=refund_id,
                transaction_id=transaction_id,
                amount=amount,
                returned=returned,
                with_commission=returned > 0 if with_commission is None else with_commission,
            )
            self._run(
                "INSERT INTO refund_totals AS s (user_id, transaction_id, amount, refunded)"
                " SELECT user_id, id, amount, :amount FROM transactions"
                " WHERE user_id = :user_id AND id = :transaction_id"
                " ON CONFLICT (user_id, transaction_id)"
                " DO UPDATE SET refunded = s.refunded + excluded.refunded",
                transaction_id=transaction_id,
                amount=amount,
            )
            posting.post(
                self.connection,
                self.user_id,
                JournalKind.REFUND,
                self.currency,
                [(AVAILABLE, returned - amount), (COMMISSION, -returned), (CLEARING, amount)],
                refund_id=refund_id,
            )
            self._tell(outbox.REFUND, refund_id, "refund.created", "posted")
        return refund_id

    def reserve(self, amount: int) -> UUID:
        """Make a pending payout."""
        payout_id = new_id()
        with unit(self.connection):
            self._run(
                "INSERT INTO payouts (user_id, id, amount, currency, destination,"
                " destination_shown) VALUES (:user_id, :id, :amount, :currency, '\\x00', '{}')",
                id=payout_id,
                amount=amount,
            )
            self._post_payout(
                payout_id, JournalKind.PAYOUT_RESERVED, [(AVAILABLE, -amount), (PENDING, amount)]
            )
            self._tell(outbox.PAYOUT, payout_id, "payout.created", "pending")
        return payout_id

    def finish(self, payout_id: UUID, status: str, amount: int) -> None:
        """Let a payout go on to ``status``, by way of its approval where that is due."""
        if status in ("paid", "failed"):
            self.approve(payout_id)
        with unit(self.connection):
            self._run(
                "UPDATE payouts SET status = :status, finished_at = clock_timestamp()"
                " WHERE id = :id",
                id=payout_id,
                status=status,
            )
            kind, account = JournalKind.PAYOUT_RETURNED, AVAILABLE
            if status == "paid":
                kind, account = JournalKind.PAYOUT_PAID, CLEARING
            self._post_payout(payout_id, kind, [(PENDING, -amount), (account, amount)])
            self._tell(outbox.PAYOUT, payout_id, f"payout.{status}", status)

    def approve(self, payout_id: UUID) -> None:
        with unit(self.connection):
            self._run(
                "UPDATE payouts SET status = 'approved', approved_at = clock_timestamp()"
                " WHERE id = :id",
                id=payout_id,
            )
            self._tell(outbox.PAYOUT, payout_id, "payout.approved", "approved")

    def _post_payout(self, payout_id: UUID, kind: JournalKind, lines: list[posting.Line]) -> None:
        posting.post(self.connection, self.user_id, kind, self.currency, lines, payout_id=payout_id)

    def adjust(self, amount: int, *, opening: bool = False) -> UUID:
        """Correct what is available, or bring along an opening balance."""
        adjustment_id = new_id()
        kind = JournalKind.OPENING_BALANCE if opening else JournalKind.ADJUSTMENT
        with unit(self.connection):
            self._run(
                "INSERT INTO adjustments (user_id, id, kind, amount, currency, reason, status,"
                " finished_at) VALUES (:user_id, :id, :kind, :amount, :currency, 'why', 'posted',"
                " clock_timestamp())",
                id=adjustment_id,
                kind=kind.value,
                amount=amount,
            )
            other = CLEARING if opening else ADJUSTMENT
            posting.post(
                self.connection,
                self.user_id,
                kind,
                self.currency,
                [(AVAILABLE, amount), (other, -amount)],
                adjustment_id=adjustment_id,
            )
            self._tell(outbox.ADJUSTMENT, adjustment_id, "balance.adjusted", "posted")
        return adjustment_id

    def wait_for_second_person(self, amount: int) -> UUID:
        """Make an adjustment that only one person has agreed to."""
        adjustment_id = new_id()
        self._run(
            "INSERT INTO adjustments (user_id, id, kind, amount, currency, reason)"
            " VALUES (:user_id, :id, 'adjustment', :amount, :currency, 'why')",
            id=adjustment_id,
            amount=amount,
        )
        return adjustment_id

    def pay_late(self, old_id: UUID) -> UUID:
        """Confirm a new transaction for one that ended unpaid."""
        late_id, journal_id = new_id(), new_id()
        with unit(self.connection):
            self._run(
                "INSERT INTO transactions (user_id, id, amount, commission, commission_rate,"
                " currency, reference, created_at, expires_at, status, finished_at, late_for)"
                " SELECT user_id, :id, amount, commission, commission_rate, currency, reference,"
                " clock_timestamp(), clock_timestamp() + interval '1 minute', 'confirmed',"
                " clock_timestamp(), id FROM transactions WHERE id = :old_id",
                id=late_id,
                old_id=old_id,
            )
            self._run(
                "INSERT INTO journals (user_id, id, kind, transaction_id, entry_count)"
                " VALUES (:user_id, :journal_id, 'settlement', :id, 3)",
                id=late_id,
                journal_id=journal_id,
            )
            for table, columns in (
                ("entries", "user_id, journal_id, line, currency, kind, amount"),
                ("balance_deltas", "user_id, currency, kind, amount"),
            ):
                chosen = columns.replace("journal_id", "CAST(:journal_id AS uuid)")
                self._run(
                    f"INSERT INTO {table} ({columns}) SELECT {chosen} FROM ("
                    " SELECT t.user_id, l.line, t.currency, l.kind, l.amount FROM transactions t,"
                    " LATERAL (VALUES (1, 'clearing', -t.amount), (2, 'available', t.net),"
                    " (3, 'commission', t.commission)) AS l (line, kind, amount)"
                    " WHERE t.id = :id) AS s",
                    id=late_id,
                    journal_id=journal_id,
                )
            self._run(
                "INSERT INTO events (user_id, id, transaction_id, type, sequence, payload)"
                " VALUES (:user_id, :event_id, :id, 'transaction.confirmed', 1, '{}')",
                id=late_id,
                event_id=new_id(),
            )
            self._record("transaction", late_id, "transaction.confirmed")
        return late_id

    def write_the_rest(
        self, transaction_id: UUID, adjustment_id: UUID, approver_id: UUID
    ) -> dict[str, UUID]:
        """Write a row of each table that moves no money but belongs to the books."""
        ids = {"note": new_id(), "schedule": new_id(), "approver": approver_id}
        self._run(
            "INSERT INTO notes (user_id, id, transaction_id, author_name, body)"
            " VALUES (:user_id, :id, :transaction_id, 'shop', 'call back')",
            id=ids["note"],
            transaction_id=transaction_id,
        )
        self._run(
            "INSERT INTO fee_schedules (user_id, id, currency, rate, fixed, minimum, maximum)"
            " VALUES (:user_id, :id, 'USD', 0.02, 30, 50, 5000)",
            id=ids["schedule"],
        )
        self._run("INSERT INTO limits VALUES (:user_id, 'daily_amount', :currency, 100000000)")
        self._run(
            "INSERT INTO approvals (user_id, object_type, object_id, approver_id, hands, act_id)"
            " VALUES (:user_id, 'adjustment', :id, :approver_id, ARRAY[:approver_id], :id)",
            id=adjustment_id,
            approver_id=approver_id,
        )
        return ids


def every_kind(connection: Connection, user_id: UUID, confirmed: UUID) -> dict[str, UUID]:
    """Move money in every way there is; ``confirmed`` is 100.00 RUB with 3.00 of commission.

    Returns the ids by what became of each object. 1,000.00 come along, so that nothing lacks.
    """
    mover = Mover(connection, user_id)
    ids = {
        "opening": mover.adjust(100_000, opening=True),
        "credit": mover.adjust(1_000),
        "debit": mover.adjust(-400),
        "waiting": mover.wait_for_second_person(77_700),
        "refund": mover.refund(confirmed, 3_333, returned=100),
        "second_refund": mover.refund(confirmed, 2_000),
        "reserved": mover.reserve(5_000),
        "approved": mover.reserve(4_000),
    }
    mover.approve(ids["approved"])
    for status in ("paid", "failed", "rejected", "canceled"):
        payout_id = ids[f"payout_{status}"] = mover.reserve(1_500)
        mover.finish(payout_id, status, 1_500)
    return ids


AFTER_EVERY_KIND = {
    "available": 9_700 + 100_000 + 1_000 - 400 - 3_233 - 2_000 - 5_000 - 4_000 - 1_500,
    "pending_payout": 9_000,
    "clearing": -10_000 - 100_000 + 3_333 + 2_000 + 1_500,
    "commission": 300 - 100,
    "adjustment": -600,
}
"""What the accounts hold after ``every_kind``, reckoned by hand; they sum to zero."""
