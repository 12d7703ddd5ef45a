"""Eight threads move money at will; afterwards the books are right and nobody was told a lie.

Each thread draws from a generator of its own, so a seed repeats what is asked, though not in
which order the database hears it. ``BOOKS_SEED=…`` asks the same again.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from standart.encryption import Keyring
from standart.errors import DomainError
from standart.services.idempotency_service import Answer, IdempotencyClaim
from tests.integration.books import findings
from tests.integration.books_acts import Act, Claim, Desk
from tests.integration.books_model import ALONE, DIGITS, PAYOUT_STEPS, Fee
from tests.integration.books_proof import breaches
from tests.integration.concurrency import wait_until

THREADS = 8
RATES = [30_000, 333_333]
ADMINS = 3
RECENT = 10
"""From so many of the newest objects a thread takes one: others do the same."""

BUSY: Final = frozenset({"idempotency_key_in_flight"})

# What may be refused in the midst of others, by act; everything else is a failure.
REFUSALS: Final = {
    "create": {"limit_exceeded", "reference_taken"},
    "confirm": {"not_pending", "second_person_required"},
    "cancel": {"not_pending"},
    "record_late": {"not_late", "second_person_required"},
    "refund": {"not_confirmed", "refund_too_large", "insufficient_balance"},
    "pay_out": {"insufficient_balance"},
    "step": {"payout_state", "second_person_required"},
    "adjust": {"insufficient_balance"},
    "approve_adjustment": {"adjustment_state", "second_person_required", "insufficient_balance"},
    "cancel_adjustment": {"adjustment_state"},
}

# A run that saw less than this has shown little.
SEEN: Final = {
    *(f"{name} done" for name in REFUSALS),
    "confirm not_pending",
    "refund refund_too_large",
    "refund insufficient_balance",
    "pay_out insufficient_balance",
    "step payout_state",
    "create limit_exceeded",
    "again replayed",
}


@dataclass
class Shelf:
    """What all threads know of: appending is atomic, and nothing is ever taken away."""

    payments: list[dict[str, Any]] = field(default_factory=list)
    payouts: list[dict[str, Any]] = field(default_factory=list)
    adjustments: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, Act, Claim, str]] = field(default_factory=list)


@dataclass
class Log:
    """What one thread has heard."""

    seen: Counter[str] = field(default_factory=Counter)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    statuses: set[tuple[str, Any]] = field(default_factory=set)
    kept: dict[str, set[tuple[int, str]]] = field(default_factory=lambda: defaultdict(set))
    moments: list[tuple[int, datetime, Any]] = field(default_factory=list)


class Hand:
    """One thread: asks for something, and remembers what it was told."""

    def __init__(self, desk: Desk, shelf: Shelf, seed: str) -> None:
        self.desk, self.shelf, self.log = desk, shelf, Log()
        self.random = random.Random(seed)
        self.numbers = {str(each.id): number for number, each in enumerate(desk.merchants)}
        usual = [self.create, self.confirm, self.confirm, self.cancel, self.refund, self.refund]
        money_out = [self.pay_out, self.step, self.step, self.adjust, self.end_adjustment]
        rare = [self.record_late, self.again, self.sweep, self.change_terms, self.look_back]
        self.acts: list[Callable[[], None]] = [*usual, *usual, *money_out, *money_out, *rare]

    def work(self, steps: int) -> Log:
        for _ in range(steps):
            self.random.choice(self.acts)()
        return self.log

    # -- acts

    def create(self) -> None:
        owner = self.random.randrange(len(RATES))
        currency = self.random.choice([*DIGITS])
        amount = self.random.choice([1, 400, 900, 9_000, 15_000])
        amount = self.random.randint(max(1, amount // 2), amount)
        act = self.desk.create(
            owner,
            amount,
            currency,
            reference=self.random.choice([None, None, self.random.choice("abcdefgh")]),
            admin=self.random.choice([None, 0]),
            ttl=self.random.choice([1, 900, 900]),
        )
        self.ask("create", act)

    def confirm(self) -> None:
        if payment := self.one_of(self.shelf.payments):
            id_ = payment["id"]
            self.ask("confirm", self.desk.confirm(UUID(id_), self.admin()), id_)

    def cancel(self) -> None:
        if payment := self.one_of(self.shelf.payments):
            owner = self.numbers[payment["user_id"]]
            self.ask("cancel", self.desk.cancel(UUID(payment["id"]), owner), payment["id"])

    def record_late(self) -> None:
        if payment := self.one_of(self.shelf.payments, 4 * RECENT):
            id_ = payment["id"]
            self.ask("record_late", self.desk.record_late(UUID(id_), self.admin()), id_)

    def refund(self) -> None:
        if payment := self.one_of(self.shelf.payments):
            whole = minor(payment["amount"])
            amount = self.random.choice([None, whole, max(1, whole // 2), max(1, whole // 3), 1])
            give_back = self.random.random() < 0.5
            owner, currency = self.numbers[payment["user_id"]], payment["currency"]
            id_ = payment["id"]
            act = self.desk.refund(UUID(id_), amount, currency, owner, give_back=give_back)
            self.ask("refund", act, id_)

    def pay_out(self) -> None:
        owner, currency = self.random.randrange(len(RATES)), self.random.choice([*DIGITS])
        amount = self.random.choice([1, 300, 3_000, 12_000, 60_000])
        self.ask("pay_out", self.desk.pay_out(owner, amount, currency))

    def step(self) -> None:
        if payout := self.one_of(self.shelf.payouts):
            owner = self.numbers[payout["user_id"]]
            action = self.random.choice([*PAYOUT_STEPS, "approve"])
            id_ = payout["id"]
            self.ask("step", self.desk.step(UUID(id_), action, owner, self.admin()), id_)

    def adjust(self) -> None:
        owner, currency = self.random.randrange(len(RATES)), self.random.choice([*DIGITS])
        alone = ALONE.get(currency, 2_000)
        amount = self.random.choice([1, -1]) * self.random.randint(1, alone * 3 // 2)
        self.ask("adjust", self.desk.adjust(owner, amount, currency, self.admin()))

    def end_adjustment(self) -> None:
        if adjustment := self.one_of(self.shelf.adjustments, 4):
            id_ = adjustment["id"]
            name = "approve_adjustment" if self.random.random() < 0.7 else "cancel_adjustment"
            self.ask(name, getattr(self.desk, name)(UUID(id_), self.admin()), id_)

    def again(self) -> None:
        """Repeat a request of any thread, maybe while it is running."""
        if self.shelf.requests:
            name, act, claim, about = self.random.choice(self.shelf.requests[-2 * RECENT :])
            self.hear(name, self.desk.run(act, claim), claim, about)

    # -- what no client does

    def sweep(self) -> None:
        if self.random.random() < 0.5:
            self.desk.fold(self.random.choice([1, 7, 500]))
        else:
            self.desk.expire(self.random.choice([1, 7, 500]))

    def change_terms(self) -> None:
        owner, currency = self.random.randrange(len(RATES)), self.random.choice([*DIGITS])
        if self.random.random() < 0.7:
            rate, fixed = self.random.choice([0, 29_000, 500_000]), self.random.randint(0, 30)
            fees = [None, Fee(rate, fixed), Fee(rate, 0, fixed, fixed + 10)]
            self.desk.set_fee(owner, currency, self.random.choice(fees))
        else:
            self.desk.set_limit(1, "pending_count", "*", self.random.choice([3, 60, 90]))

    def look_back(self) -> None:
        owner = self.random.randrange(len(RATES))
        at, held = self.desk.look_back(owner)
        if isinstance(held, DomainError):
            assert held.code == "unavailable"
        else:
            self.log.moments.append((owner, at, held))

    # -- helpers

    def admin(self) -> int:
        return self.random.randrange(ADMINS)

    def one_of(self, known: list[dict[str, Any]], newest: int = RECENT) -> dict[str, Any] | None:
        return self.random.choice(known[-newest:]) if known else None

    def ask(self, name: str, act: Act, about: str = "") -> None:
        claim = None
        if self.random.random() < 0.5:
            claim = IdempotencyClaim.of(f"/{name}", str(uuid4()), b"body")
        if claim is not None or name in ("create", "refund", "pay_out", "adjust"):
            self.shelf.requests.append((name, act, claim, about))
        self.hear(name, self.desk.run(act, claim), claim, about)

    def hear(self, name: str, answer: Any, claim: Claim, about: str) -> None:
        if isinstance(answer, DomainError):
            allowed = REFUSALS[name] | (BUSY if claim else set())
            assert answer.code in allowed, f"{name}: {answer!r} {answer.members}"
            self.log.seen[f"{name} {answer.code}"] += 1
            for member in ("transaction_status", "payout_status", "adjustment_status"):
                if member in answer.members:
                    self.log.statuses.add((about, answer.members[member]))
            return
        self.log.seen[f"{name} done"] += 1
        self.log.seen["again replayed"] += answer.replayed
        self.log.answers.append((name, answer))
        if claim is not None:
            self.log.kept[claim.key].add((answer.status, answer.body))
        body = json.loads(answer.body)
        if name in ("create", "record_late"):
            self.shelf.payments.append(body)
        elif name == "pay_out":
            self.shelf.payouts.append(body)
        elif name == "adjust":
            self.shelf.adjustments.append(body)


def minor(shown: str) -> int:
    return int(shown.replace(".", ""))


def stage(status: str) -> int:
    return UNDERWAY.index(status) if status in UNDERWAY else len(UNDERWAY)


class Truth:
    """What all answers together say of every object, and of every balance."""

    def __init__(self, logs: list[Log]) -> None:
        self.payments: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.payouts: dict[str, dict[str, Any]] = {}
        self.adjustments: dict[str, dict[str, Any]] = {}
        self.lies: list[str] = []
        for log in logs:
            for name, answer in log.answers:
                self.learn(name, json.loads(answer.body))
        known = {**self.payments, **self.payouts, **self.adjustments}
        self.statuses = {(id_, body["status"]) for id_, body in known.items()}
        self.statuses |= {each for log in logs for each in log.statuses}

    def learn(self, name: str, body: dict[str, Any]) -> None:
        known: dict[str, dict[str, Any]] = {
            "refund": self.refunds,
            "pay_out": self.payouts,
            "step": self.payouts,
            "adjust": self.adjustments,
            "approve_adjustment": self.adjustments,
            "cancel_adjustment": self.adjustments,
        }.get(name, self.payments)
        before = known.setdefault(body["id"], body)
        older, newer = sorted((before, body), key=lambda each: stage(each["status"]))
        if older["status"] not in UNDERWAY and older["status"] != newer["status"]:
            self.lies.append(f"{body['id']} was {older['status']} and {newer['status']}")
        known[body["id"]] = newer

    def balances(self) -> dict[tuple[str, str, str], int]:
        held: Counter[tuple[str, str, str]] = Counter()

        def add(body: dict[str, Any], kind: str, amount: int) -> None:
            held[body["user_id"], body["currency"], kind] += amount

        for body in self.payments.values():
            if body["status"] == "confirmed":
                add(body, "available", minor(body["net"]))
        for body in self.refunds.values():
            add(body, "available", -minor(body["debited"]))
        for body in self.payouts.values():
            if body["status"] in ("pending", "approved", "paid"):
                add(body, "available", -minor(body["amount"]))
            if body["status"] in ("pending", "approved"):
                add(body, "pending_payout", minor(body["amount"]))
        for body in self.adjustments.values():
            if body["status"] == "posted":
                sign = 1 if body["direction"] == "credit" else -1
                add(body, "available", sign * minor(body["amount"]))
        return {account: balance for account, balance in held.items() if balance}


BALANCES = text(
    """
    SELECT user_id::text, currency, kind, balance FROM account_balances
    WHERE kind IN ('available', 'pending_payout') AND balance <> 0
    """
)

STATUSES = text(
    """
    SELECT id::text, status FROM transactions UNION ALL SELECT id::text, status FROM payouts
    UNION ALL SELECT id::text, status FROM adjustments
    """
)
UNDERWAY = ("pending", "approved")


def run(engine: Engine, superuser: Engine, keyring: Keyring, steps: int) -> Counter[str]:
    """Let all threads go, then prove what is left; return what was seen."""
    seed = os.environ.get("BOOKS_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"BOOKS_SEED={seed}")  # noqa: T201  # shown with a failure, to repeat it
    desk = Desk(engine, superuser, keyring, RATES, ADMINS)
    desk.set_limit(1, "pending_count", "*", 60)
    shelf = Shelf()
    hands = [Hand(desk, shelf, f"{seed}/{number}") for number in range(THREADS)]
    barrier = threading.Barrier(THREADS)

    def go(hand: Hand) -> Log:
        barrier.wait()
        return hand.work(steps)

    with ThreadPoolExecutor(THREADS) as pool:
        logs = list(pool.map(go, hands))

    for each in logs:
        for key, answers in each.kept.items():
            same = set().union(*(log.kept.get(key, set()) for log in logs))
            assert len(same) == 1, f"the key {key} has several answers: {answers}"
    assert findings(engine) == []
    assert breaches(engine) == []
    wait_until(lambda: desk.fold(500) == 0 and desk.expire(500) == 0)
    assert findings(engine) == []
    assert breaches(engine) == []

    truth = Truth(logs)
    assert truth.lies == []
    with engine.connect() as connection:
        found = {(u, c, k): balance for u, c, k, balance in connection.execute(BALANCES)}
        kept = {row.id: row.status for row in connection.execute(STATUSES)}
    assert found == truth.balances()
    for id_, status in truth.statuses:
        assert status in (kept[id_], *UNDERWAY), f"{id_} was {status} and is {kept[id_]}"
    for log in logs:
        for owner, at, held in log.moments:
            assert desk.held_at(owner, at) == held, f"what was at {at} has changed"
    return sum((log.seen for log in logs), Counter())


@pytest.mark.timeout(300)
def test_eight_threads_leave_the_books_right(
    engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    seen = run(engine, superuser, keyring, steps=150)
    assert set(seen) >= SEEN, f"never seen: {SEEN - set(seen)}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_eight_threads_leave_the_books_right_for_long(
    engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    seen = run(engine, superuser, keyring, steps=2_500)
    assert set(seen) >= SEEN, f"never seen: {SEEN - set(seen)}"
