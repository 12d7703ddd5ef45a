"""The books judged from outside: plain reads of the tables, sums in Python, no code of the product.

The numbers of the breaches are those of the list of invariants: I1 sums to zero, I2 and I3
balances, I4 statuses, I5 journals, I6 events, I7 the course of events, I15 commission, I16
amounts, I18 audit rows. ``I0`` is what belongs together beside these.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Engine, text

from tests.integration.books_model import DIGITS, LARGEST, ONE, Fee, share, shown

_READS = {
    "transactions": "SELECT *, (commission_rate * 1000000)::bigint AS ppm FROM transactions",
    "refunds": "SELECT * FROM refunds",
    "refund_totals": "SELECT * FROM refund_totals",
    "payouts": "SELECT * FROM payouts",
    "adjustments": "SELECT * FROM adjustments",
    "schedules": "SELECT *, (rate * 1000000)::bigint AS ppm FROM fee_schedules",
    "approvals": "SELECT * FROM approvals",
    "accounts": "SELECT * FROM accounts",
    "deltas": "SELECT * FROM balance_deltas",
    "journals": "SELECT * FROM journals",
    "entries": "SELECT * FROM entries",
    "events": "SELECT * FROM events ORDER BY created_at, id",
    "deliveries": "SELECT * FROM deliveries",
    "endpoints": "SELECT * FROM webhook_endpoints WHERE event_types = '{*}'",
    "audit": "SELECT * FROM audit_log ORDER BY id",
    "kept": "SELECT * FROM idempotency_keys",
}

_STATUSES = ("pending", "confirmed", "canceled", "expired")
_COURSES = {
    "pending": ("created",),
    "approved": ("created", "approved"),
    "paid": ("created", "approved", "paid"),
    "failed": ("created", "approved", "failed"),
    "rejected": ("created", "rejected"),
    "canceled": ("created", "canceled"),
}
_UNPAID = ("failed", "rejected", "canceled")
_GUARDED = ("available", "pending_payout")

Account = tuple[Any, str, str]


@dataclass(frozen=True)
class Rows:
    """Every row of one moment, by table."""

    tables: Mapping[str, list[Any]]

    @classmethod
    def read(cls, engine: Engine) -> Rows:
        snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
        with snapshot.connect() as connection:
            return cls({name: list(connection.execute(text(sql))) for name, sql in _READS.items()})

    def __getattr__(self, table: str) -> list[Any]:
        try:
            return self.tables[table]
        except KeyError:
            raise AttributeError(table) from None

    @cached_property
    def posted(self) -> dict[Any, dict[str, int]]:
        """The lines of each journal by account kind, without zeros."""
        lines: dict[Any, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for entry in self.entries:
            lines[entry.journal_id][entry.kind] += entry.amount
        return lines

    @cached_property
    def told(self) -> dict[Any, list[Any]]:
        """The events of each object, oldest first."""
        events: dict[Any, list[Any]] = defaultdict(list)
        for event in self.events:
            about = (event.transaction_id, event.refund_id, event.payout_id, event.adjustment_id)
            events[next((each for each in about if each), event.endpoint_id)].append(event)
        return events

    @cached_property
    def wanted(self) -> Counter[Any]:
        """How many endpoints of each merchant ask for everything; none asks for less."""
        return Counter(each.user_id for each in self.endpoints)

    @cached_property
    def sent(self) -> Counter[Any]:
        """To how many endpoints each event goes."""
        return Counter(each.event_id for each in self.deliveries)

    @cached_property
    def actions(self) -> dict[tuple[str, str], list[Any]]:
        """The audit rows of each object, oldest first."""
        rows: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for row in self.audit:
            rows[row.object_type, row.object_id].append(row)
        return rows


def breaches(engine: Engine) -> list[str]:
    """Everything that is wrong with the books, read in one snapshot; empty when all is right."""
    rows = Rows.read(engine)
    parts = (_sums, _balances, _transactions, _refunds, _payouts, _adjustments, _amounts)
    return [f"{breach}" for part in parts for breach in part(rows)]


def _sums(rows: Rows) -> Iterator[str]:
    of_journal: Counter[tuple[Any, str]] = Counter()
    of_currency: Counter[str] = Counter()
    lines: Counter[Any] = Counter()
    for entry in rows.entries:
        of_journal[entry.journal_id, entry.currency] += entry.amount
        of_currency[entry.currency] += entry.amount
        lines[entry.journal_id] += 1
    yield from (f"I1 journal {key}: {total}" for key, total in of_journal.items() if total)
    yield from (f"I1 currency {key}: {total}" for key, total in of_currency.items() if total)
    for journal in rows.journals:
        if lines.pop(journal.id, 0) != journal.entry_count:
            yield f"I1 journal {journal.id} is not whole"
    yield from (f"I1 entries without a journal {key}" for key in lines)


def _balances(rows: Rows) -> Iterator[str]:
    kept: Counter[Account] = Counter()
    posted: Counter[Account] = Counter()
    for each in rows.accounts:
        kept[each.user_id, each.currency, each.kind] += each.balance
    for each in rows.deltas:
        kept[each.user_id, each.currency, each.kind] += each.amount
    for each in rows.entries:
        posted[each.user_id, each.currency, each.kind] += each.amount
    yield from _differences("I2", kept, posted)
    yield from _differences("I3", kept, _earned(rows))
    for account, balance in kept.items():
        if account[2] in _GUARDED and balance < 0:
            yield f"I2 {account} has {balance}"


def _differences(number: str, one: Counter[Account], other: Counter[Account]) -> Iterator[str]:
    for account in one.keys() | other.keys():
        if one[account] != other[account]:
            yield f"{number} {account}: {one[account]} instead of {other[account]}"


def _earned(rows: Rows) -> Counter[Account]:
    """What every account must hold by what has happened, apart from the ledger."""
    held: Counter[Account] = Counter()

    def move(row: Any, **lines: int) -> None:
        for kind, amount in lines.items():
            held[row.user_id, row.currency, kind] += amount

    for row in rows.transactions:
        if row.status == "confirmed":
            fee = fee_of(row)
            move(row, clearing=-row.amount, available=row.amount - fee, commission=fee)
    for row in rows.refunds:
        part = row.commission_returned
        move(row, clearing=row.amount, available=part - row.amount, commission=-part)
    for row in rows.payouts:
        if row.status == "paid":
            move(row, available=-row.amount, clearing=row.amount)
        elif row.status not in _UNPAID:
            move(row, available=-row.amount, pending_payout=row.amount)
    for row in rows.adjustments:
        if row.status == "posted":
            other = "clearing" if row.kind == "opening_balance" else "adjustment"
            move(row, **{"available": row.amount, other: -row.amount})
    return held


def fee_of(row: Any) -> int:
    """The commission by the terms that a transaction carries."""
    fee = Fee(row.ppm, row.fee_fixed or 0, row.fee_minimum or 0, row.fee_maximum)
    return fee.of(row.amount)


def _transactions(rows: Rows) -> Iterator[str]:
    settled = defaultdict(list)
    for journal in rows.journals:
        if journal.kind == "settlement":
            settled[journal.transaction_id].append(journal)
    schedules = {each.id: each for each in rows.schedules}
    by_id = {each.id: each for each in rows.transactions}
    late = Counter(each.late_for for each in rows.transactions if each.late_for)
    yield from (f"I0 {key} was paid late {n} times" for key, n in late.items() if n > 1)
    for row in rows.transactions:
        name = f"transaction {row.id} ({row.status})"
        if row.status not in _STATUSES or (row.finished_at is None) != (row.status == "pending"):
            yield f"I4 {name} finished at {row.finished_at}"
        endings = [] if row.status == "pending" else [f"transaction.{row.status}"]
        audits = [
            each
            for each in rows.actions["transaction", str(row.id)]
            if each.action.removeprefix("transaction.") in _STATUSES
        ]
        if [each.action for each in audits] != endings:
            yield f"I4, I18 {name} has the history {[each.action for each in audits]}"
        for each in audits:
            by_nobody = each.action == "transaction.expired"
            if not each.actor_name or not each.channel or by_nobody == bool(each.actor_id):
                yield f"I18 {name}: who did it?"
        expected = {
            "clearing": -row.amount,
            "available": row.amount - fee_of(row),
            "commission": fee_of(row),
        }
        due = [expected] if row.status == "confirmed" else []
        yield from _journals(rows, "I5", name, settled[row.id], due)
        # A late payment is born confirmed; of a creation is told only where somebody asked for it.
        created = row.user_id in rows.wanted and row.late_for is None
        course = ["transaction.created", *endings] if created else endings
        yield from _events(rows, name, row, course, 1 if created or row.late_for else 2)
        if row.commission != fee_of(row):
            yield f"I15 {name}: {row.commission} instead of {fee_of(row)}"
        if row.fee_schedule_id is not None:
            terms = schedules[row.fee_schedule_id]
            if (terms.ppm, terms.fixed, terms.minimum, terms.maximum, terms.currency) != (
                row.ppm,
                row.fee_fixed,
                row.fee_minimum,
                row.fee_maximum,
                row.currency,
            ):
                yield f"I15 {name} has not the terms of its schedule"
        if row.late_for is not None:
            old = by_id[row.late_for]
            same = ("user_id", "amount", "currency", "ppm", "commission", "reference")
            if old.status not in ("canceled", "expired") or any(
                getattr(old, field) != getattr(row, field) for field in same
            ):
                yield f"I0 {name} was paid late for another one"


def _journals(
    rows: Rows, number: str, name: str, journals: list[Any], expected: list[dict[str, int]]
) -> Iterator[str]:
    found = [
        {kind: sum_ for kind, sum_ in rows.posted[each.id].items() if sum_} for each in journals
    ]
    due = [{kind: amount for kind, amount in lines.items() if amount} for lines in expected]
    if sorted(map(sorted, map(dict.items, found))) != sorted(map(sorted, map(dict.items, due))):
        yield f"{number} {name} has the journals {found} instead of {due}"


def _events(rows: Rows, name: str, row: Any, types: list[str], first: int = 1) -> Iterator[str]:
    events = rows.told[row.id]
    if [each.type for each in events] != types:
        yield f"I6, I7 {name} has the events {[each.type for each in events]} instead of {types}"
    if len({rows.sent[each.id] for each in events} | {rows.wanted[row.user_id]}) > 1:
        yield f"I8 {name} was told to others than those who asked"
    for sequence, event in enumerate(events, first):
        payload = json.loads(event.payload)
        if not sequence == event.sequence == payload["sequence"]:
            yield f"I7 {name}: {event.type} is change {event.sequence} instead of {sequence}"
        data = payload["data"]
        told = (event.type, str(row.id), str(row.user_id), shown(abs(row.amount), row.currency))
        if (payload["type"], data["id"], data["user_id"], data["amount"]) != told:
            yield f"I7 {name}: the event {event.id} tells something else"
        state = event.type.partition(".")[2]
        if event.type.startswith(("transaction.", "payout.")) and data["status"] != (
            "pending" if state == "created" else state
        ):
            yield f"I7 {name}: {event.type} shows the status {data['status']}"


def _refunds(rows: Rows) -> Iterator[str]:
    by_id = {each.id: each for each in rows.transactions}
    journals = defaultdict(list)
    for journal in rows.journals:
        if journal.refund_id is not None:
            journals[journal.refund_id].append(journal)
    of_payment = defaultdict(list)
    for row in rows.refunds:
        of_payment[row.transaction_id].append(row)
        name = f"refund {row.id}"
        part = row.commission_returned
        lines = {"available": part - row.amount, "commission": -part, "clearing": row.amount}
        yield from _journals(rows, "I5", name, journals[row.id], [lines])
        yield from _events(rows, name, row, ["refund.created"])
        yield from _audited(rows, "refund", row.id, 1)
    totals = {each.transaction_id: each for each in rows.refund_totals}
    for id_ in totals.keys() | of_payment.keys():
        payment, refunds = by_id[id_], of_payment[id_]
        name = f"transaction {id_}"
        refunded = sum(each.amount for each in refunds)
        parts = sum(each.commission_returned for each in refunds)
        if payment.status != "confirmed" or refunded > payment.amount or parts > fee_of(payment):
            yield f"I3 {name} ({payment.status}) of {payment.amount}: refunded {refunded}, {parts}"
        if id_ not in totals or totals[id_].refunded != refunded:
            yield f"I0 {name}: the kept total of refunds is wrong"
        if any(each.currency != payment.currency for each in refunds):
            yield f"I0 {name}: refunded in another currency"
        # They were written one after the other, each under the lock of the transaction.
        before = 0
        for each in sorted(refunds, key=lambda each: each.created_at):
            after = before + each.amount
            due = share(fee_of(payment), payment.amount, after)
            due -= share(fee_of(payment), payment.amount, before)
            if each.commission_returned != (due if each.refund_commission else 0):
                yield f"I15 refund {each.id}: {each.commission_returned} instead of {due}"
            before = after


def _payouts(rows: Rows) -> Iterator[str]:
    journals = defaultdict(list)
    for journal in rows.journals:
        if journal.payout_id is not None:
            journals[journal.payout_id].append(journal)
    for row in rows.payouts:
        name = f"payout {row.id} ({row.status})"
        lines = [{"available": -row.amount, "pending_payout": row.amount}]
        if row.status == "paid":
            lines.append({"pending_payout": -row.amount, "clearing": row.amount})
        elif row.status in _UNPAID:
            lines.append({"pending_payout": -row.amount, "available": row.amount})
        yield from _journals(rows, "I5", name, journals[row.id], lines)
        course = [f"payout.{step}" for step in _COURSES[row.status]]
        yield from _events(rows, name, row, course)
        yield from _audited(rows, "payout", row.id, len(course))


def _adjustments(rows: Rows) -> Iterator[str]:
    opened = [
        (each.user_id, each.currency) for each in rows.adjustments if each.kind != "adjustment"
    ]
    if len(opened) != len(set(opened)):
        yield "I0 a merchant has two opening balances in a currency"
    journals = defaultdict(list)
    for journal in rows.journals:
        if journal.adjustment_id is not None:
            journals[journal.adjustment_id].append(journal)
    for row in rows.adjustments:
        name = f"adjustment {row.id} ({row.status})"
        posted = row.status == "posted"
        other = "clearing" if row.kind == "opening_balance" else "adjustment"
        lines = [{"available": row.amount, other: -row.amount}] if posted else []
        yield from _journals(rows, "I5", name, journals[row.id], lines)
        yield from _events(rows, name, row, ["balance.adjusted"] if posted else [])
        by_hand = row.kind != "opening_balance"
        yield from _audited(rows, "adjustment", row.id, 1, by_hand=by_hand)


def _audited(rows: Rows, kind: str, id_: Any, least: int, *, by_hand: bool = True) -> Iterator[str]:
    found = rows.actions[kind, str(id_)]
    if len(found) < least or not all(
        each.actor_name and each.channel and bool(each.actor_id) == by_hand for each in found
    ):
        yield f"I18 {kind} {id_} has the audit rows {[each.action for each in found]}"


def _amounts(rows: Rows) -> Iterator[str]:
    for table in ("transactions", "refunds", "payouts", "adjustments"):
        for row in rows.tables[table]:
            size = abs(row.amount) if table == "adjustments" else row.amount
            if not 0 < size <= LARGEST or row.currency not in DIGITS:
                yield f"I16 {table} {row.id}: {row.amount} {row.currency}"
    for row in rows.transactions:
        if not 0 <= row.commission <= row.amount or not 0 <= row.ppm <= ONE:
            yield f"I16 transaction {row.id}: commission {row.commission}"
    agreed = Counter((each.object_type, each.object_id) for each in rows.approvals)
    people = {(each.object_type, each.object_id, each.approver_id) for each in rows.approvals}
    if len(people) != sum(agreed.values()):
        yield "I0 somebody has agreed twice"
