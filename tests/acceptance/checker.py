"""Looks at the books from outside: reads the tables, trusts no code of the product.

Everything is read in one REPEATABLE READ snapshot. The numbers of the findings are those of
the list of invariants: I1 sums to zero, I2 and I3 balances, I4 statuses, I5 journals, I6
events, I7 their course, I8 deliveries, I9 the receiver's log, I11 and I12 what clients know,
I14 keys, I15 commission, I16 amounts, I17 expiry, I20 answers and logs. Replays (I13) and
repeated sweeps (I21) need the running service; they are beside this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from tests.acceptance.load import CREATE, ClientLog
from tests.acceptance.receiver import Receiver

DIGITS = {"RUB": 2, "JPY": 0, "KWD": 3}
LEASE_SECONDS = 30
ENDINGS = ("confirmed", "canceled", "expired")

QUERIES = {
    "I1 a journal does not sum to zero": """
        SELECT journal_id, currency, sum(amount) FROM entries
        GROUP BY user_id, journal_id, currency HAVING sum(amount) <> 0""",
    "I1 a currency does not sum to zero": """
        SELECT currency, sum(amount) FROM entries GROUP BY currency HAVING sum(amount) <> 0""",
    "I2 a balance is not the sum of its entries": """
        SELECT user_id, currency, kind, sum(kept) AS kept, sum(posted) AS posted FROM (
            SELECT user_id, currency, kind, balance AS kept, 0 AS posted FROM accounts
            UNION ALL SELECT user_id, currency, kind, amount, 0 FROM balance_deltas
            UNION ALL SELECT user_id, currency, kind, 0, amount FROM entries
        ) AS each GROUP BY user_id, currency, kind HAVING sum(kept) <> sum(posted)""",
    "I3 a balance is not nets - refunds - payouts + adjustments and opening balances": """
        SELECT user_id, currency, sum(kept), sum(earned) FROM (
            SELECT user_id, currency, balance AS kept, 0 AS earned FROM account_balances
            WHERE kind = 'available'
            UNION ALL SELECT user_id, currency, 0, amount - commission FROM transactions
            WHERE status = 'confirmed'
            UNION ALL SELECT user_id, currency, 0, commission_returned - amount FROM refunds
            UNION ALL SELECT user_id, currency, 0, -amount FROM payouts
            WHERE status IN ('pending', 'approved', 'paid')
            UNION ALL SELECT user_id, currency, 0, amount FROM adjustments
            WHERE status = 'posted'
        ) AS each GROUP BY user_id, currency HAVING sum(kept) <> sum(earned)""",
    "I3 what is reserved is not the sum of the open payouts": """
        SELECT user_id, currency, sum(kept), sum(open) FROM (
            SELECT user_id, currency, balance AS kept, 0 AS open FROM account_balances
            WHERE kind = 'pending_payout'
            UNION ALL SELECT user_id, currency, 0, amount FROM payouts
            WHERE status IN ('pending', 'approved')
        ) AS each GROUP BY user_id, currency HAVING sum(kept) <> sum(open)""",
    "I3 a merchant is overdrawn": """
        SELECT user_id, currency, kind, balance FROM account_balances
        WHERE kind IN ('available', 'pending_payout') AND balance < 0""",
    "I3 more was given back than was paid": """
        SELECT t.id, t.status, t.amount, t.commission, sum(r.amount), sum(r.commission_returned)
        FROM refunds r JOIN transactions t ON t.id = r.transaction_id
        GROUP BY t.user_id, t.id
        HAVING t.status <> 'confirmed' OR sum(r.amount) > t.amount
            OR sum(r.commission_returned) > t.commission""",
    "I4 a status is none": """
        SELECT id, status FROM transactions
        WHERE status NOT IN ('pending', 'confirmed', 'canceled', 'expired')""",
    "I4 the history tells of another ending, or of several": """
        SELECT t.id, t.status, array_agg(a.action) FROM transactions t
        LEFT JOIN audit_log a ON a.object_type = 'transaction' AND a.object_id = t.id::text
            AND a.action <> 'transaction.approved'
        GROUP BY t.user_id, t.id, t.status
        HAVING array_agg(a.action) <> CASE t.status WHEN 'pending' THEN ARRAY[NULL]
            ELSE ARRAY['transaction.' || t.status] END""",
    "I5 confirmed and settled differ": """
        SELECT t.id, t.status, count(j.id) FROM transactions t
        LEFT JOIN journals j ON j.transaction_id = t.id AND j.kind = 'settlement'
        GROUP BY t.user_id, t.id, t.status
        HAVING count(j.id) <> CASE WHEN t.status = 'confirmed' THEN 1 ELSE 0 END""",
    "I5 a refund, payout or adjustment lacks a journal, or has one too many": """
        SELECT m.id, m.due, array_agg(j.kind ORDER BY j.kind) FROM (
            SELECT user_id, id, ARRAY['refund'] AS due FROM refunds
            UNION ALL SELECT user_id, id, CASE status WHEN 'pending' THEN ARRAY['payout_reserved']
                WHEN 'approved' THEN ARRAY['payout_reserved']
                WHEN 'paid' THEN ARRAY['payout_paid', 'payout_reserved']
                ELSE ARRAY['payout_reserved', 'payout_returned'] END FROM payouts
            UNION ALL SELECT user_id, id, CASE status WHEN 'posted' THEN ARRAY[kind::text]
                ELSE ARRAY[CAST(NULL AS text)] END FROM adjustments
        ) AS m
        LEFT JOIN journals j ON j.user_id = m.user_id
            AND m.id IN (j.refund_id, j.payout_id, j.adjustment_id)
        GROUP BY m.user_id, m.id, m.due
        HAVING array_agg(j.kind::text ORDER BY j.kind) <> m.due""",
    "I5 a late payment is not of one that ended unpaid": """
        SELECT n.id, n.late_for, t.status FROM transactions n
        LEFT JOIN transactions t ON t.user_id = n.user_id AND t.id = n.late_for
        WHERE n.late_for IS NOT NULL AND (n.status = 'confirmed'
            AND t.status IN ('canceled', 'expired') AND n.amount = t.amount
            AND n.currency = t.currency AND n.commission = t.commission) IS NOT TRUE""",
    "I6 a refund, payout or adjustment was not told as it happened": """
        SELECT m.id, m.due, array_agg(v.type ORDER BY v.type) FROM (
            SELECT user_id, id, ARRAY['refund.created'] AS due FROM refunds
            UNION ALL SELECT user_id, id, ARRAY(
                SELECT 'payout.' || told FROM unnest(ARRAY['created',
                    CASE WHEN approved_at IS NOT NULL THEN 'approved' END,
                    CASE WHEN finished_at IS NOT NULL THEN status END]) AS told
                WHERE told IS NOT NULL ORDER BY 1) FROM payouts
            UNION ALL SELECT user_id, id, CASE status WHEN 'posted' THEN ARRAY['balance.adjusted']
                ELSE ARRAY[CAST(NULL AS text)] END FROM adjustments
        ) AS m
        LEFT JOIN events v ON v.user_id = m.user_id
            AND m.id IN (v.refund_id, v.payout_id, v.adjustment_id)
        GROUP BY m.user_id, m.id, m.due
        HAVING array_agg(v.type ORDER BY v.type) <> m.due""",
    "I6 endings and events differ": """
        SELECT t.id, t.status, array_agg(v.type) FROM transactions t
        LEFT JOIN events v ON v.transaction_id = t.id AND v.type <> 'transaction.created'
        GROUP BY t.user_id, t.id, t.status
        HAVING array_agg(v.type) <> CASE t.status WHEN 'pending' THEN ARRAY[NULL]
            ELSE ARRAY['transaction.' || t.status] END""",
    # Of a creation is told only where somebody asked for it; it is the first change all the same.
    "I7 the changes of an object are not told one by one": """
        SELECT id, types, sequences FROM (
            SELECT coalesce(v.transaction_id, v.refund_id, v.payout_id, v.adjustment_id) AS id,
                array_agg(v.type::text ORDER BY v.sequence) AS types,
                array_agg(v.sequence::int ORDER BY v.sequence) AS sequences,
                array_agg(v.sequence::int ORDER BY v.created_at, v.sequence) AS in_time,
                bool_and(v.transaction_id IS NOT NULL) AND NOT bool_or(t.late_for IS NOT NULL
                    OR v.type = 'transaction.created') AS untold
            FROM events v
            LEFT JOIN transactions t ON t.user_id = v.user_id AND t.id = v.transaction_id
            WHERE v.endpoint_id IS NULL GROUP BY 1
        ) AS each
        WHERE sequences <> in_time OR sequences <> ARRAY(SELECT generate_series(
            CASE WHEN untold THEN 2 ELSE 1 END,
            cardinality(types) + CASE WHEN untold THEN 1 ELSE 0 END))""",
    "I7 an event tells of another change than it is": """
        SELECT id, type, sequence, payload FROM events
        WHERE (payload::json ->> 'sequence')::int <> sequence""",
    # What was never tried is dead only where its endpoint was stopped meanwhile.
    "I8 a delivery waits for nothing, or is held for ever": f"""
        SELECT id, state, attempt_count, next_attempt_at, lease FROM deliveries d
        WHERE (state = 'waiting') <> (next_attempt_at IS NOT NULL)
            OR lease IS NOT NULL
                AND next_attempt_at > clock_timestamp() + interval '{LEASE_SECONDS} seconds'
            OR state = 'dead' AND attempt_count = 0 AND NOT EXISTS (
                SELECT FROM webhook_endpoints w WHERE w.user_id = d.user_id
                    AND w.id = d.endpoint_id AND (w.disabled_at IS NOT NULL OR w.url IS NULL))""",
    "I16 an amount or commission is out of range": """
        SELECT id, amount, commission FROM transactions
        WHERE amount <= 0 OR commission < 0 OR commission > amount""",
    "I17 it was ended before or after its time": """
        SELECT id, status, expires_at, finished_at FROM transactions
        WHERE status = 'expired'
            AND (expires_at > clock_timestamp() OR finished_at <> expires_at)
            OR status IN ('confirmed', 'canceled') AND finished_at >= expires_at""",
    "I17 the event of an expiry is older than the expiry": """
        SELECT t.id, t.expires_at, v.created_at FROM transactions t
        JOIN events v ON v.transaction_id = t.id
        WHERE v.type = 'transaction.expired' AND v.created_at < t.expires_at""",
}

OVERDUE = """
    SELECT count(*) FROM transactions WHERE status = 'pending' AND expires_at <= clock_timestamp()
"""
TRANSACTIONS = """
    SELECT id::text, user_id::text, amount, commission, commission_rate, currency, status,
        fee_fixed, fee_minimum, fee_maximum, reference, description, metadata, created_at,
        expires_at
    FROM transactions
"""


@dataclass
class Checker:
    """One look at everything; ``findings`` stays empty when all is right."""

    connection: Connection
    findings: list[str] = field(default_factory=list)

    def books(self) -> None:
        for name, query in QUERIES.items():
            self._expect_none(name, self.connection.execute(text(query)).all())
        for row in self.connection.execute(text(TRANSACTIONS)):
            if row.commission != fee(row):
                self._note(f"I15 commission {row.commission} of {row.amount}: {row.id}")

    def nothing_overdue(self) -> None:
        late = self.connection.scalar(text(OVERDUE))
        self._expect_none("I17 overdue and not swept", [late] if late else [])

    def clients(self, log: ClientLog) -> None:
        """Compare with what clients have sent and heard."""
        self._expect_none("I20 an answer that nobody should hear", log.surprises)
        rows = self.connection.execute(text(TRANSACTIONS)).all()
        kept = {row.id: row for row in rows}
        for shown in log.created():
            row = kept.get(shown["id"])
            if row is None:
                self._note(f"I11 acknowledged and lost: {shown}")
            elif (now := _wire(row)) != {name: shown[name] for name in now}:
                self._note(f"I11 acknowledged as {shown}, kept as {now}")
        by_reference: dict[str, int] = {}
        for row in rows:
            by_reference[row.reference] = by_reference.get(row.reference, 0) + 1
        for act in log.acts:
            if act.path == CREATE and by_reference.get(act.key, 0) > 1:
                self._note(f"I12, I14 {act.key} made {by_reference[act.key]} transactions")
        self._endings(log, {row.id: row.status for row in rows})

    def _endings(self, log: ClientLog, statuses: dict[str, str]) -> None:
        for act in log.acknowledged:
            if act.path == CREATE or act.reply is None:
                continue
            promised = act.reply.json["status"]
            if statuses[act.body["id"]] != promised:
                self._note(f"I11 {act.body['id']} was told to be {promised} and is not")

    def receiver(self, receiver: Receiver, user_id: str) -> None:
        """Compare with the log of the receiver of one merchant, which has only this one."""
        for each in receiver.seen():
            if each.complaint:
                self._note(f"I9 {each.id}: {each.complaint}")
        bodies = receiver.bodies()
        for webhook_id, different in bodies.items():
            if len(different) > 1:
                self._note(f"I9 {webhook_id} came with {len(different)} bodies")
        rows = self.connection.execute(
            text(
                "SELECT v.id::text, v.payload, v.type, v.transaction_id::text, v.sequence, d.state"
                " FROM events v LEFT JOIN deliveries d ON d.event_id = v.id"
                " AND d.endpoint_id = v.user_id"
                " WHERE v.user_id = :user_id AND v.transaction_id IS NOT NULL"
                " AND v.type <> 'transaction.created'"
            ),
            {"user_id": user_id},
        ).all()
        # Only the endings of transactions are sent to the plain URL of a user.
        accepted = receiver.accepted()
        self._expect_none("I9 unknown webhooks", bodies.keys() - {row.id for row in rows})
        for row in rows:
            if row.state is None:
                self._note(f"I8 the event {row.id} has no delivery")
            if row.state == "delivered" and row.id not in accepted:
                self._note(f"I8 {row.id} is delivered, says the sender alone")
            if row.id in bodies and bodies[row.id] != {row.payload.encode()}:
                self._note(f"I9 {row.id} came with another body than the kept one")
            told = json.loads(row.payload)
            found = (told["type"], told["id"], told["sequence"])
            if found != (row.type, row.transaction_id, row.sequence):
                self._note(f"I9 {row.id} tells of something else: {told}")

    def _expect_none(self, name: str, rows: Iterable[Any]) -> None:
        self.findings += [f"{name}: {row}" for row in rows]

    def _note(self, finding: str) -> None:
        self.findings.append(finding)


def commission(amount: int, rate: Fraction) -> int:
    """Amount times rate, half up to the minor unit, never above the amount; integers only."""
    exact = amount * rate
    return min(amount, (2 * exact.numerator + exact.denominator) // (2 * exact.denominator))


def fee(row: Any) -> int:
    """The commission with a schedule's parts: at most its maximum, at least its minimum."""
    taken = commission(row.amount, Fraction(row.commission_rate)) + (row.fee_fixed or 0)
    taken = min(taken, row.fee_maximum) if row.fee_maximum is not None else taken
    return min(row.amount, max(taken, row.fee_minimum or 0))


def _wire(row: Any) -> dict[str, Any]:
    """What of a transaction never changes, as the contract writes it."""
    digits = DIGITS[row.currency]
    return {
        "id": row.id,
        "user_id": row.user_id,
        "amount": _decimal(row.amount, digits),
        "commission": _decimal(row.commission, digits),
        "net": _decimal(row.amount - row.commission, digits),
        "currency": row.currency,
        "reference": row.reference,
        "description": row.description,
        "metadata": row.metadata,
        "created_at": _moment(row.created_at),
        "expires_at": _moment(row.expires_at),
    }


def _decimal(minor: int, digits: int) -> str:
    whole, rest = divmod(minor, 10**digits)
    return f"{whole}.{rest:0{digits}}" if digits else str(whole)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def leaks(logs: Iterable[Path], secrets: Sequence[str]) -> list[str]:
    """I20: which log files hold a secret, and whether any holds a traceback's first line."""
    found = []
    for path in logs:
        content = path.read_text(errors="replace")
        found += [f"{path.name} holds {secret[:6]}…" for secret in secrets if secret in content]
    return found


def check(
    engine: Engine,
    *,
    clients: ClientLog | None = None,
    receiver: Receiver | None = None,
    user_id: str = "",
    swept: bool = False,
    logs: Iterable[Path] = (),
    secrets: Sequence[str] = (),
) -> None:
    """Fail with every broken invariant; ``swept`` when a sweep has had its time."""
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as connection:
        checker = Checker(connection)
        checker.books()
        if swept:
            checker.nothing_overdue()
        if clients:
            checker.clients(clients)
        if receiver:
            checker.receiver(receiver, user_id)
    signatures = [each.signature for each in receiver.seen()] if receiver else []
    findings = checker.findings + leaks(logs, [*secrets, *filter(None, signatures)])
    assert not findings, "\n".join(findings)
