"""What the service must do with money, written a second time: plain Python, integers only.

Nothing here reads the product's rules. Each act is first judged (``Told``: the answer that
must come) and then, if it is carried out, booked. Amounts are minor units, rates millionths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

DIGITS = {"RUB": 2, "JPY": 0, "KWD": 3, "BTC": 8}
LARGEST = 10**15
ONE = 10**6
"""The rate of a commission that takes everything."""

# In these currencies no single admin moves more.
ALONE = {"RUB": 10_000, "JPY": 500}
NEEDED = 2

LISTENER = 0
"""The merchant with an endpoint that asks for everything."""

PAYOUT_STEPS = {
    "approve": ("pending", "approved"),
    "reject": ("pending", "rejected"),
    "cancel": ("pending", "canceled"),
    "paid": ("approved", "paid"),
    "failed": ("approved", "failed"),
}


def shown(amount: int, currency: str) -> str:
    """Minor units as the wire shows them."""
    digits = DIGITS[currency]
    text = str(abs(amount)).rjust(digits + 1, "0")
    whole, fraction = text[: len(text) - digits], text[len(text) - digits :]
    return ("-" if amount < 0 else "") + (f"{whole}.{fraction}" if digits else whole)


@dataclass(frozen=True)
class Fee:
    """A rate with its fixed part and bounds."""

    rate: int
    fixed: int = 0
    minimum: int = 0
    maximum: int | None = None

    def of(self, amount: int) -> int:
        """The commission: rounded half-up once, then bounded, never above the amount."""
        fee = (2 * amount * self.rate + ONE) // (2 * ONE) + self.fixed
        if self.maximum is not None and fee > self.maximum:
            fee = self.maximum
        if fee < self.minimum:
            fee = self.minimum
        return amount if fee > amount else fee


def share(commission: int, amount: int, refunded: int) -> int:
    """The part of a commission that belongs to ``refunded`` of ``amount``, half-up."""
    return (2 * commission * refunded + amount) // (2 * amount)


@dataclass(frozen=True)
class Told:
    """The answer that must come: a status with what its body shows, or an error."""

    status: int
    code: str | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    changes: bool = True


REPEATED = Told(200, changes=False)
"""It has happened before: the same answer, and nothing is written."""


def refused(status: int, code: str, **members: Any) -> Told:
    return Told(status, code, members, changes=False)


@dataclass
class Payment:
    """A transaction."""

    owner: int
    amount: int
    currency: str
    fee: Fee
    reference: str | None = None
    status: str = "pending"
    overdue: bool = False
    reason: str | None = None
    consents: set[int] = field(default_factory=set)
    late_consents: set[int] = field(default_factory=set)
    late_for: UUID | None = None
    paid_late_by: UUID | None = None
    refunded: int = 0

    @property
    def commission(self) -> int:
        return self.fee.of(self.amount)

    @property
    def seen(self) -> str:
        """The status that everybody is shown, swept or not."""
        return "expired" if self.overdue else self.status

    @property
    def unpaid(self) -> bool:
        return self.seen in ("canceled", "expired")

    @property
    def rest(self) -> int:
        return self.amount - self.refunded


@dataclass
class Payout:
    """Money on its way out."""

    owner: int
    amount: int
    currency: str
    status: str = "pending"
    consents: set[int] = field(default_factory=set)


@dataclass
class Adjustment:
    """A correction; ``amount`` has a sign."""

    owner: int
    amount: int
    currency: str
    status: str
    opening: bool = False
    consents: set[int] = field(default_factory=set)


def needs_two(amount: int, currency: str) -> bool:
    return currency in ALONE and abs(amount) > ALONE[currency]


class Model:
    """All users' books. The rates are those in force, by owner and currency."""

    def __init__(self, rates: Iterable[int]) -> None:
        self.accounts: dict[tuple[int, str, str], int] = defaultdict(int)
        self.plain = [Fee(rate) for rate in rates]
        self.schedules: dict[tuple[int, str], Fee | None] = {}
        self.limits: dict[tuple[int, str, str], int] = {}
        self.unique: set[int] = set()
        self.payments: dict[UUID, Payment] = {}
        self.refunds: dict[UUID, tuple[UUID, int, int]] = {}
        self.payouts: dict[UUID, Payout] = {}
        self.adjustments: dict[UUID, Adjustment] = {}
        self.journals = self.entries = self.events = self.consents = 0

    def fee(self, owner: int, currency: str) -> Fee:
        return self.schedules.get((owner, currency)) or self.plain[owner]

    def available(self, owner: int, currency: str) -> int:
        return self.accounts[owner, currency, "available"]

    def post(self, owner: int, currency: str, **lines: int) -> None:
        """Write one journal; what is zero is not written."""
        written = {kind: amount for kind, amount in lines.items() if amount}
        assert sum(written.values()) == 0
        for kind, amount in written.items():
            self.accounts[owner, currency, kind] += amount
        assert self.available(owner, currency) >= 0
        assert self.accounts[owner, currency, "pending_payout"] >= 0
        self.journals += 1
        self.entries += len(written)

    def wire(self, id_: UUID) -> dict[str, Any]:
        """What a transaction shows of itself."""
        payment = self.payments[id_]
        consents = payment.late_consents if payment.unpaid else payment.consents
        if payment.late_for is not None:
            consents = self.payments[payment.late_for].late_consents
        sums = {
            "amount": payment.amount,
            "commission": payment.commission,
            "net": payment.amount - payment.commission,
            "refunded_amount": payment.refunded,
        }
        return {
            **{name: shown(amount, payment.currency) for name, amount in sums.items()},
            "id": str(id_),
            "currency": payment.currency,
            "status": payment.seen,
            "reference": payment.reference,
            "reason": payment.reason,
            "late_for": payment.late_for and str(payment.late_for),
            "approvals": len(consents),
        }

    # -- transactions

    def create(self, owner: int, amount: int, currency: str, reference: str | None) -> Told:
        taken = (each.reference for each in self.payments.values() if each.owner == owner)
        if reference is not None and owner in self.unique and reference in taken:
            return refused(409, "reference_taken")
        mine = [each for each in self.payments.values() if each.owner == owner]
        today = [each for each in mine if each.seen in ("pending", "confirmed")]
        reached = {
            "transaction_amount": amount,
            "daily_amount": amount + sum(e.amount for e in today if e.currency == currency),
            "daily_count": 1 + len(today),
            "pending_count": 1 + sum(each.seen == "pending" for each in mine),
        }
        for kind, value in reached.items():
            of_sums = kind.endswith("amount")
            limit = self.limits.get((owner, kind, currency if of_sums else "*"))
            if limit is None or value <= limit:
                continue
            if of_sums:
                kept = {"value": shown(limit, currency), "currency": currency}
                return refused(422, "limit_exceeded", limit=kind, **kept)
            return refused(422, "limit_exceeded", limit=kind, value=str(limit))
        return Told(201)

    def created(
        self, id_: UUID, owner: int, amount: int, currency: str, reference: str | None
    ) -> None:
        fee = self.fee(owner, currency)
        self.payments[id_] = Payment(owner, amount, currency, fee, reference)
        self.events += owner == LISTENER

    def confirm(self, id_: UUID, admin: int) -> Told:
        payment = self.payments[id_]
        if payment.seen == "confirmed":
            return REPEATED
        if payment.seen != "pending":
            return refused(409, "not_pending", transaction_status=payment.seen)
        if needs_two(payment.amount, payment.currency):
            if admin in payment.consents:
                return refused(403, "second_person_required")
            payment.consents.add(admin)
            self.consents += 1
            if len(payment.consents) < NEEDED:
                return Told(202)
        payment.status = "confirmed"
        self.settled(payment)
        return Told(200)

    def settled(self, payment: Payment) -> None:
        self.post(
            payment.owner,
            payment.currency,
            clearing=-payment.amount,
            available=payment.amount - payment.commission,
            commission=payment.commission,
        )
        self.events += 1

    def cancel(self, id_: UUID, reason: str | None) -> Told:
        payment = self.payments[id_]
        if payment.seen == "canceled":
            return REPEATED
        if payment.seen != "pending":
            return refused(409, "not_pending", transaction_status=payment.seen)
        payment.status, payment.reason = "canceled", reason
        self.events += 1
        return Told(200)

    def expired(self, payment: Payment) -> None:
        payment.overdue, payment.status = False, "expired"
        self.events += 1

    def record_late(self, id_: UUID, admin: int) -> Told:
        """201 asks for ``recorded_late`` with the id of the new one."""
        payment = self.payments[id_]
        if payment.seen in ("pending", "confirmed"):
            return refused(409, "not_late", transaction_status=payment.seen)
        if payment.paid_late_by is not None:
            return REPEATED
        if needs_two(payment.amount, payment.currency):
            if admin in payment.late_consents:
                return refused(403, "second_person_required")
            payment.late_consents.add(admin)
            self.consents += 1
        if payment.overdue:
            self.expired(payment)
        alone = not needs_two(payment.amount, payment.currency)
        return Told(201 if alone or len(payment.late_consents) >= NEEDED else 202)

    def recorded_late(self, id_: UUID, late_id: UUID) -> None:
        old = self.payments[id_]
        late = Payment(old.owner, old.amount, old.currency, old.fee, old.reference, "confirmed")
        late.late_for, old.paid_late_by = id_, late_id
        self.payments[late_id] = late
        self.settled(late)

    # -- refunds

    def refund(self, id_: UUID, amount: int | None, give_back: bool) -> Told:
        payment = self.payments[id_]
        if payment.seen != "confirmed":
            return refused(409, "not_confirmed", transaction_status=payment.seen)
        refund = payment.rest if amount is None else amount
        if refund > payment.rest or refund == 0:
            left = shown(payment.rest, payment.currency)
            return refused(409, "refund_too_large", refundable=left, currency=payment.currency)
        debit = refund - (self.returned(payment, refund) if give_back else 0)
        return self.debited(payment.owner, payment.currency, debit)

    def debited(self, owner: int, currency: str, amount: int) -> Told:
        available = self.available(owner, currency)
        if amount > available:
            kept = shown(available, currency)
            return refused(409, "insufficient_balance", currency=currency, available=kept)
        return Told(201)

    def returned(self, payment: Payment, refund: int) -> int:
        after = share(payment.commission, payment.amount, payment.refunded + refund)
        return after - share(payment.commission, payment.amount, payment.refunded)

    def refund_made(self, refund_id: UUID, id_: UUID, amount: int | None, give_back: bool) -> None:
        payment = self.payments[id_]
        refund = payment.rest if amount is None else amount
        part = self.returned(payment, refund) if give_back else 0
        self.post(
            payment.owner,
            payment.currency,
            available=part - refund,
            commission=-part,
            clearing=refund,
        )
        payment.refunded += refund
        self.refunds[refund_id] = (id_, refund, part)
        self.events += 1

    # -- payouts

    def payout_made(self, payout_id: UUID, owner: int, amount: int, currency: str) -> None:
        self.payouts[payout_id] = Payout(owner, amount, currency)
        self.post(owner, currency, available=-amount, pending_payout=amount)
        self.events += 1

    def step(self, payout_id: UUID, action: str, person: int) -> Told:
        payout = self.payouts[payout_id]
        source, target = PAYOUT_STEPS[action]
        if payout.status == target:
            return REPEATED
        if payout.status != source:
            return refused(409, "payout_state", payout_status=payout.status)
        if action == "approve" and needs_two(payout.amount, payout.currency):
            if person in payout.consents:
                return refused(403, "second_person_required")
            payout.consents.add(person)
            self.consents += 1
            if len(payout.consents) < NEEDED:
                return Told(202)
        payout.status = target
        self.events += 1
        if target == "paid":
            self.post(
                payout.owner, payout.currency, pending_payout=-payout.amount, clearing=payout.amount
            )
        elif target != "approved":
            self.post(
                payout.owner,
                payout.currency,
                pending_payout=-payout.amount,
                available=payout.amount,
            )
        return Told(200)

    # -- adjustments

    def adjust(self, owner: int, amount: int, currency: str) -> Told:
        if needs_two(amount, currency):
            return Told(202)
        return self.debited(owner, currency, -amount)

    def adjusted(
        self, adjustment_id: UUID, owner: int, amount: int, currency: str, admin: int
    ) -> None:
        adjustment = Adjustment(owner, amount, currency, "pending")
        self.adjustments[adjustment_id] = adjustment
        if needs_two(amount, currency):
            adjustment.consents.add(admin)
            self.consents += 1
        else:
            self.corrected(adjustment)

    def opened(self, adjustment_id: UUID, owner: int, amount: int, currency: str) -> None:
        opening = Adjustment(owner, amount, currency, "posted", opening=True)
        self.adjustments[adjustment_id] = opening
        self.post(owner, currency, available=amount, clearing=-amount)
        self.events += 1

    def corrected(self, adjustment: Adjustment) -> None:
        adjustment.status = "posted"
        amount = adjustment.amount
        self.post(adjustment.owner, adjustment.currency, available=amount, adjustment=-amount)
        self.events += 1

    def approve_adjustment(self, adjustment_id: UUID, admin: int) -> Told:
        adjustment = self.adjustments[adjustment_id]
        if adjustment.status == "posted":
            return REPEATED
        if adjustment.status != "pending":
            return refused(409, "adjustment_state", adjustment_status=adjustment.status)
        if admin in adjustment.consents:
            return refused(403, "second_person_required")
        told = self.debited(adjustment.owner, adjustment.currency, -adjustment.amount)
        if told.code is not None:
            return told
        adjustment.consents.add(admin)
        self.consents += 1
        self.corrected(adjustment)
        return Told(200)

    def cancel_adjustment(self, adjustment_id: UUID) -> Told:
        adjustment = self.adjustments[adjustment_id]
        if adjustment.status == "posted":
            return refused(409, "adjustment_state", adjustment_status="posted")
        if adjustment.status == "canceled":
            return REPEATED
        adjustment.status = "canceled"
        return Told(200)
