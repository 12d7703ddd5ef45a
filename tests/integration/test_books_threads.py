"""Eight threads move money at will; afterwards the books are right and nobody was told a lie.

Each thread draws from a generator of its own, so a seed repeats what is asked, though not in
which order the database hears it. ``BOOKS_SEED=…`` asks the same again. Between their free
steps the threads meet and fall upon one object together.
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
from tests.integration.books_acts import Act, Claim, Desk, Person
from tests.integration.books_model import ALONE, DIGITS, PAYOUT_STEPS, Fee
from tests.integration.books_proof import breaches
from tests.integration.concurrency import PATIENCE, wait_until

THREADS = 8
RATES = [30_000, 333_333]
ADMINS = 3
RECENT = 10
"""From so many of the newest objects a thread takes one: others do the same."""
FREE = 4
"""So many steps a thread goes alone before all of them meet."""

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

Build = Callable[[], Act]
"""Makes the same request anew: with another fresh id, as the second of two would have."""


@dataclass
class Shelf:
    """What all threads know of: appending is atomic, and nothing is ever taken away."""

    payments: list[dict[str, Any]] = field(default_factory=list)
    payouts: list[dict[str, Any]] = field(default_factory=list)
    adjustments: list[dict[str, Any]] = field(default_factory=list)
    confirmed: list[dict[str, Any]] = field(default_factory=list)
    unpaid: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, Build, Claim, str]] = field(default_factory=list)


@dataclass
class Log:
    """What one thread has heard."""

    seen: Counter[str] = field(default_factory=Counter)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    statuses: set[tuple[str, Any]] = field(default_factory=set)
    kept: dict[str, set[tuple[int, str]]] = field(default_factory=lambda: defaultdict(set))
    opened: list[tuple[int, str, int]] = field(default_factory=list)
    moments: list[tuple[int, datetime, Any]] = field(default_factory=list)


class Meeting:
    """Where all threads wait for each other; the last one to come chooses the common aim."""

    def __init__(self, shelf: Shelf, seed: str) -> None:
        self.shelf = shelf
        self.random = random.Random(seed)
        self.barrier = threading.Barrier(THREADS, action=self.choose)
        self.act, self.key = "create", ""
        self.aim: dict[str, Any] | None = None

    def choose(self) -> None:
        shelf = self.shelf
        self.key = str(uuid4())
        aims: dict[str, list[Any]] = {
            "refund": shelf.confirmed,
            "record_late": shelf.unpaid,
            "settle": shelf.payments,
            "step": shelf.payouts,
            "end_adjustment": shelf.adjustments,
            "pay_out": shelf.confirmed,
            "one_refund": shelf.confirmed,
            "one_payout": shelf.confirmed,
        }
        known = {act: each[-3:] for act, each in aims.items() if each}
        self.act = self.random.choice([*known]) if known else "create"
        self.aim = self.random.choice(known[self.act]) if known else None


class Hand:
    """One thread: asks for something, and remembers what it was told."""

    def __init__(self, desk: Desk, shelf: Shelf, meeting: Meeting, seed: str) -> None:
        self.desk, self.shelf, self.meeting, self.log = desk, shelf, meeting, Log()
        self.random = random.Random(seed)
        # What somebody had left of a currency: asked for next, it leaves nothing.
        self.left: dict[str, int] = {}
        self.numbers = {str(each.id): number for number, each in enumerate(desk.merchants)}
        usual = [self.create, self.settle, self.settle, self.refund, self.refund]
        money_out = [self.pay_out, self.step, self.step, self.adjust, self.end_adjustment]
        rare = [self.record_late, self.again, self.sweep, self.change_terms, self.look_back]
        rare.append(self.open_balances)
        self.acts: list[Any] = [*usual, *usual, *money_out, *money_out, *rare]

    def work(self, steps: int) -> Log:
        try:
            for number in range(steps):
                if number % (FREE + 1) == FREE:
                    self.meet()
                else:
                    self.random.choice(self.acts)()
        except BaseException:
            self.meeting.barrier.abort()  # nobody shall wait for this thread
            raise
        return self.log

    def meet(self) -> None:
        self.meeting.barrier.wait(PATIENCE)
        act, aim = self.meeting.act, self.meeting.aim
        if act == "one_refund":
            self.refund(aim, 1, key=self.meeting.key)
        elif act == "one_payout":
            self.pay_out(aim, 1, key=self.meeting.key)
        elif aim is None:
            self.create()
        else:
            getattr(self, act)(aim)

    # -- acts; without an aim each chooses its own

    def create(self) -> None:
        owner = self.random.randrange(len(RATES))
        currency = self.random.choice([*DIGITS])
        most = self.random.choice([1, 400, 900, 9_000, 15_000])
        amount = self.random.randint(max(1, most // 2), most)
        reference = self.random.choice([None, None, self.random.choice("abcdefgh")])
        admin, ttl = self.random.choice([None, 0]), self.random.choice([1, 900, 900])
        self.ask(
            "create",
            lambda: self.desk.create(
                owner, amount, currency, reference=reference, admin=admin, ttl=ttl
            ),
        )

    def settle(self, payment: dict[str, Any] | None = None) -> None:
        if payment := payment or self.one_of(self.shelf.payments):
            id_, owner, admin = payment["id"], self.numbers[payment["user_id"]], self.admin()
            if self.random.random() < 0.7:
                self.ask("confirm", lambda: self.desk.confirm(UUID(id_), admin), id_)
            else:
                self.ask("cancel", lambda: self.desk.cancel(UUID(id_), owner), id_)

    def record_late(self, payment: dict[str, Any] | None = None) -> None:
        if payment := payment or self.one_of(self.shelf.payments, 4 * RECENT):
            id_, admin = payment["id"], self.admin()
            self.ask("record_late", lambda: self.desk.record_late(UUID(id_), admin), id_)

    def refund(
        self, payment: dict[str, Any] | None = None, part: int | None = None, key: str = ""
    ) -> None:
        if payment := payment or self.one_of(self.shelf.payments):
            whole = minor(payment["amount"])
            usual = [None, whole, max(1, whole // 2), max(1, whole // 3), max(1, whole // 9)]
            amount = part or self.random.choice(usual)
            give_back = bool(key) or self.random.random() < 0.7
            id_, currency = payment["id"], payment["currency"]
            owner = self.numbers[payment["user_id"]]
            self.ask(
                "refund",
                lambda: self.desk.refund(UUID(id_), amount, currency, owner, give_back=give_back),
                id_,
                key,
            )

    def pay_out(
        self, near: dict[str, Any] | None = None, part: int | None = None, key: str = ""
    ) -> None:
        owner, currency = self.random.randrange(len(RATES)), self.random.choice([*DIGITS])
        if near is not None:
            owner, currency = self.numbers[near["user_id"]], near["currency"]
        usual = [1, 300, 3_000, 12_000, 60_000]
        amount = part or self.left.pop(currency, 0) or self.random.choice(usual)
        self.ask("pay_out", lambda: self.desk.pay_out(owner, amount, currency), key=key)

    def step(self, payout: dict[str, Any] | None = None) -> None:
        if payout := payout or self.one_of(self.shelf.payouts):
            id_, owner, admin = payout["id"], self.numbers[payout["user_id"]], self.admin()
            action = self.random.choice([*PAYOUT_STEPS, "approve"])
            self.ask("step", lambda: self.desk.step(UUID(id_), action, owner, admin), id_)

    def adjust(self) -> None:
        owner, currency = self.random.randrange(len(RATES)), self.random.choice([*DIGITS])
        alone = ALONE.get(currency, 2_000)
        amount = self.random.choice([1, -1]) * self.random.randint(1, alone * 3 // 2)
        admin = self.admin()
        self.ask("adjust", lambda: self.desk.adjust(owner, amount, currency, admin))

    def end_adjustment(self, adjustment: dict[str, Any] | None = None) -> None:
        if adjustment := adjustment or self.one_of(self.shelf.adjustments, 4):
            id_, admin = adjustment["id"], self.admin()
            name = "approve_adjustment" if self.random.random() < 0.7 else "cancel_adjustment"
            act = getattr(self.desk, name)
            self.ask(name, lambda: act(UUID(id_), admin), id_)

    def again(self) -> None:
        """Repeat a request of any thread, maybe while it is running."""
        if self.shelf.requests:
            name, build, claim, about = self.random.choice(self.shelf.requests[-THREADS:])
            self.hear(name, self.desk.run(build(), claim), claim, about)

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

    def open_balances(self) -> None:
        """Of two that import the same at once one goes away with nothing."""
        currency = self.random.choice([*DIGITS])
        some = self.random.choice([[0], [1], [0, 1]])
        wanted = [(owner, currency, self.random.randint(1, 5_000)) for owner in some]
        answer = self.desk.open_balances(wanted)
        if isinstance(answer, DomainError):
            assert answer.code in ("invalid_input", "unavailable")
            self.log.seen[f"open_balances {answer.code}"] += 1
        else:
            self.log.opened += wanted

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

    def ask(self, name: str, build: Build, about: str = "", key: str = "") -> None:
        """Ask for something, every other time with a key; sometimes the answer gets lost."""
        claim = None
        if key or self.random.random() < 0.5:
            claim = IdempotencyClaim.of(f"/{name}", key or str(uuid4()), b"body")
            self.shelf.requests.append((name, build, claim, about))
        elif self.random.random() < 0.3:
            act = build()
            self.shelf.requests.append((name, lambda: act, None, about))
            self.hear(name, self.desk.run(act, None), None, about)
            return
        self.hear(name, self.desk.run(build(), claim), claim, about)

    def hear(self, name: str, answer: Any, claim: Claim, about: str) -> None:
        if isinstance(answer, DomainError):
            allowed = REFUSALS[name] | (BUSY if claim else set())
            assert answer.code in allowed, f"{name}: {answer!r} {answer.members}"
            self.log.seen[f"{name} {answer.code}"] += 1
            if answer.code == "insufficient_balance":
                members: dict[str, Any] = answer.members
                self.left[members["currency"]] = minor(members["available"])
            for member in ("transaction_status", "payout_status", "adjustment_status"):
                if member in answer.members:
                    self.log.statuses.add((about, answer.members[member]))
            return
        self.log.seen[f"{name} done"] += 1
        self.log.seen["again replayed"] += answer.replayed
        self.log.answers.append((name, answer))
        if claim is not None:
            self.log.kept[claim.key].add((answer.status, answer.body))
        self.remember(name, json.loads(answer.body))

    def remember(self, name: str, body: dict[str, Any]) -> None:
        if name in ("create", "record_late"):
            self.shelf.payments.append(body)
        elif name == "pay_out":
            self.shelf.payouts.append(body)
        elif name == "adjust":
            self.shelf.adjustments.append(body)
        elif body["status"] == "confirmed":
            self.shelf.confirmed.append(body)
        elif body["status"] == "canceled" and name == "cancel":
            self.shelf.unpaid.append(body)


def minor(shown: str) -> int:
    return int(shown.replace(".", ""))


def stage(status: str) -> int:
    return UNDERWAY.index(status) if status in UNDERWAY else len(UNDERWAY)


class Truth:
    """What all answers together say of every object, and of every balance."""

    def __init__(self, logs: list[Log], merchants: list[Person]) -> None:
        self.opened: Counter[tuple[str, str, str]] = Counter()
        for owner, currency, amount in (each for log in logs for each in log.opened):
            self.opened[str(merchants[owner].id), currency, "available"] += amount
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
        for account, amount in self.opened.items():
            held[account] += amount
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
    meeting = Meeting(shelf, seed)
    hands = [Hand(desk, shelf, meeting, f"{seed}/{number}") for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        going = [pool.submit(hand.work, steps) for hand in hands]
    failures = [error for error in (each.exception() for each in going) if error is not None]
    for failure in sorted(
        failures, key=lambda each: isinstance(each, threading.BrokenBarrierError)
    ):
        raise failure
    logs = [each.result() for each in going]

    for each in logs:
        for key, answers in each.kept.items():
            same = set().union(*(log.kept.get(key, set()) for log in logs))
            assert len(same) == 1, f"the key {key} has several answers: {answers}"
    assert findings(engine) == []
    assert breaches(engine) == []
    wait_until(lambda: desk.fold(500) == 0 and desk.expire(500) == 0)
    assert findings(engine) == []
    assert breaches(engine) == []

    truth = Truth(logs, desk.merchants)
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
    seen = run(engine, superuser, keyring, steps=400)
    assert set(seen) >= SEEN, f"never seen: {SEEN - set(seen)}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_eight_threads_leave_the_books_right_for_long(
    engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    seen = run(engine, superuser, keyring, steps=2_500)
    assert set(seen) >= SEEN, f"never seen: {SEEN - set(seen)}"
