"""Everything that moves money against a plain model, step by step, on real PostgreSQL.

A failure prints the steps that lead to it. The seed is printed as well: ``BOOKS_SEED=…``
runs the same again.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import DomainError, InvalidInput
from standart.services.idempotency_service import Answer, IdempotencyClaim
from tests.builders import empty, row_counts
from tests.integration.books import findings
from tests.integration.books_acts import Act, Desk
from tests.integration.books_model import (
    DIGITS,
    LARGEST,
    PAYOUT_STEPS,
    REPEATED,
    Fee,
    Model,
    Told,
    needs_two,
    refused,
    shown,
)
from tests.integration.books_proof import breaches

MERCHANTS = 2
ADMINS = 3

owners = st.integers(0, MERCHANTS - 1)
admins = st.integers(0, ADMINS - 1)
maybe_admin = st.none() | admins
currencies = st.sampled_from([*DIGITS])
amounts = st.one_of(
    st.integers(1, 200), st.integers(1, 20_000), st.sampled_from([1, 50, 150, 500, 501, LARGEST])
)
# Of what there is, in percent: a bit more than all of it too.
parts = st.sampled_from([0, 33, 50, 67, 99, 100, 101]) | st.integers(0, 110)
# Which of those that an act is meant for, the newest first.
picks = st.integers(0, 4)
rates = st.sampled_from([0, 5_000, 30_000, 333_333, 500_000, 1_000_000])
bounds = st.integers(0, 300)
fees = st.builds(
    lambda rate, fixed, minimum, more: Fee(
        rate, fixed, minimum, None if more is None else minimum + more
    ),
    rates,
    bounds,
    bounds,
    st.none() | bounds,
)

BALANCES = text("SELECT user_id, currency, kind, balance FROM account_balances WHERE balance <> 0")
# Folding changes no balance, and a repeated act is kept under its key like the first one.
UNTOLD = {"accounts", "balance_deltas", "idempotency_keys"}
OPENED = text("SELECT id FROM adjustments WHERE kind = 'opening_balance'")
UNFOLDED = text("SELECT count(*) FROM balance_deltas")


Chosen = TypeVar("Chosen")


def newest(known: Iterable[Chosen], pick: int) -> Chosen:
    """One of the newest, whatever number was drawn."""
    found = list(known)
    return found[-1 - pick % len(found)]


def part_of(whole: int, percent: int) -> int:
    return min(max(1, whole * percent // 100 + (percent > 100)), LARGEST)


class Books(RuleBasedStateMachine):
    """Two merchants, three admins, four currencies, and every act in every order."""

    engine: Engine
    superuser: Engine
    keyring: Keyring
    steps = 0

    payments = Bundle("payments")
    payouts = Bundle("payouts")
    adjustments = Bundle("adjustments")

    @initialize(chosen=st.lists(rates, min_size=MERCHANTS, max_size=MERCHANTS))
    def begin(self, chosen: list[int]) -> None:
        self.model = Model(chosen)
        self.desk = Desk(self.engine, self.superuser, self.keyring, chosen, ADMINS)
        self.day = self.desk.today()
        self.changed = True
        self.counts: dict[str, int] = {}
        for owner in range(MERCHANTS):
            self.be_paid(owner, 9_000, "RUB")

    def teardown(self) -> None:
        try:
            if hasattr(self, "counts"):
                assert findings(self.engine) == []
                assert breaches(self.engine) == []
                self.compare_all()
        finally:
            empty(self.superuser)

    # -- transactions

    @rule(
        target=payments,
        owner=owners,
        amount=amounts,
        currency=currencies,
        reference=st.none() | st.sampled_from("ab"),
        admin=maybe_admin,
        keyed=st.booleans(),
    )
    def create(
        self,
        owner: int,
        amount: int,
        currency: str,
        reference: str | None,
        admin: int | None,
        keyed: bool,
    ) -> Any:
        self.mind_the_day(owner)
        told = self.model.create(owner, amount, currency, reference)
        act = self.desk.create(owner, amount, currency, reference=reference, admin=admin)
        body = self.do(act, told, keyed=keyed, fresh=True)
        if body is None:
            return multiple()
        id_ = UUID(body["id"])
        self.model.created(id_, owner, amount, currency, reference)
        self.show(id_, body)
        return id_

    @rule(target=payments, owner=owners, amount=amounts, currency=currencies)
    def be_paid(self, owner: int, amount: int, currency: str) -> Any:
        id_ = self.create(owner, amount, currency, None, None, False)
        if isinstance(id_, UUID):
            for admin in range(2 if needs_two(amount, currency) else 1):
                self.confirm(id_, admin, False)
        return id_

    @rule(id_=payments, admin=admins, keyed=st.booleans())
    def confirm(self, id_: UUID, admin: int, keyed: bool) -> None:
        self.show(
            id_, self.do(self.desk.confirm(id_, admin), self.model.confirm(id_, admin), keyed)
        )

    @rule(
        id_=payments, admin=maybe_admin, reason=st.sampled_from([None, "so"]), keyed=st.booleans()
    )
    def cancel(self, id_: UUID, admin: int | None, reason: str | None, keyed: bool) -> None:
        act = self.desk.cancel(id_, self.owner(id_), admin=admin, reason=reason)
        self.show(id_, self.do(act, self.model.cancel(id_, reason), keyed))

    @rule(target=payments, id_=payments, admin=admins, keyed=st.booleans())
    def record_late(self, id_: UUID, admin: int, keyed: bool) -> Any:
        told = self.model.record_late(id_, admin)
        body = self.do(self.desk.record_late(id_, admin), told, keyed, fresh=told.status == 201)
        if body is None:
            return multiple()
        if told.status == 202:
            self.show(id_, body)
            return multiple()
        late_id = UUID(body["id"])
        if told.status == 200:
            assert late_id == self.model.payments[id_].paid_late_by
            self.show(late_id, body)
            return multiple()
        self.model.recorded_late(id_, late_id)
        self.show(late_id, body)
        return late_id

    @precondition(lambda self: self.in_status("expired", "canceled"))
    @rule(target=payments, pick=picks, admin=admins, keyed=st.booleans())
    def record_an_unpaid_one(self, pick: int, admin: int, keyed: bool) -> Any:
        return self.record_late(newest(self.in_status("expired", "canceled"), pick), admin, keyed)

    @rule(some=st.lists(payments, min_size=1, max_size=4))
    def let_their_time_run_out(self, some: list[UUID]) -> None:
        for id_ in some:
            payment = self.model.payments[id_]
            if payment.status == "pending":
                self.desk.run_out(id_)
                payment.overdue = True

    @rule(batch=st.integers(1, 3))
    def sweep(self, batch: int) -> None:
        due = {id_: each for id_, each in self.model.payments.items() if each.overdue}
        assert self.desk.expire(batch) == min(batch, len(due))
        with autocommit(self.engine) as connection:
            swept = connection.scalars(text("SELECT id FROM transactions WHERE status = 'expired'"))
            for id_ in set(swept) & set(due):
                self.model.expired(due[id_])
        self.changed = True

    # -- refunds

    @rule(
        id_=payments,
        percent=st.none() | parts,
        give_back=st.booleans(),
        admin=maybe_admin,
        keyed=st.booleans(),
    )
    def refund(
        self, id_: UUID, percent: int | None, give_back: bool, admin: int | None, keyed: bool
    ) -> None:
        payment = self.model.payments[id_]
        amount = None if percent is None else part_of(payment.rest, percent)
        told = self.model.refund(id_, amount, give_back)
        act = self.desk.refund(
            id_, amount, payment.currency, payment.owner, give_back=give_back, admin=admin
        )
        body = self.do(act, told, keyed, fresh=True)
        if body is None:
            return
        refund_id = UUID(body["id"])
        self.model.refund_made(refund_id, id_, amount, give_back)
        _, refunded, part = self.model.refunds[refund_id]
        sums = {"amount": refunded, "commission_returned": part, "debited": refunded - part}
        for name, expected in sums.items():
            assert body[name] == shown(expected, payment.currency)
        assert body["transaction_id"] == str(id_)

    @precondition(lambda self: self.in_status("confirmed"))
    @rule(
        pick=picks,
        percent=st.none() | parts,
        give_back=st.booleans(),
        admin=maybe_admin,
        keyed=st.booleans(),
    )
    def refund_a_confirmed_one(
        self, pick: int, percent: int | None, give_back: bool, admin: int | None, keyed: bool
    ) -> None:
        self.refund(newest(self.in_status("confirmed"), pick), percent, give_back, admin, keyed)

    # -- payouts

    @rule(
        target=payouts,
        owner=owners,
        currency=currencies,
        percent=parts,
        admin=maybe_admin,
        keyed=st.booleans(),
    )
    def pay_out(
        self, owner: int, currency: str, percent: int, admin: int | None, keyed: bool
    ) -> Any:
        amount = part_of(self.model.available(owner, currency), percent)
        told = self.model.debited(owner, currency, amount)
        act = self.desk.pay_out(owner, amount, currency, admin=admin)
        body = self.do(act, told, keyed, fresh=True)
        if body is None:
            return multiple()
        id_ = UUID(body["id"])
        self.model.payout_made(id_, owner, amount, currency)
        self.show_payout(id_, body)
        return id_

    @precondition(lambda self: self.with_funds())
    @rule(target=payouts, pick=picks, percent=parts, keyed=st.booleans())
    def pay_out_what_is_there(self, pick: int, percent: int, keyed: bool) -> Any:
        owner, currency = newest(self.with_funds(), pick)
        return self.pay_out(owner, currency, percent, None, keyed)

    @rule(id_=payouts, action=st.sampled_from([*PAYOUT_STEPS]), admin=admins, keyed=st.booleans())
    def step(self, id_: UUID, action: str, admin: int, keyed: bool) -> None:
        act = self.desk.step(id_, action, self.model.payouts[id_].owner, admin)
        self.show_payout(id_, self.do(act, self.model.step(id_, action, admin), keyed))

    @precondition(lambda self: self.open_payouts())
    @rule(pick=picks, second=st.booleans(), admin=admins, keyed=st.booleans())
    def advance_a_payout(self, pick: int, second: bool, admin: int, keyed: bool) -> None:
        id_ = newest(self.open_payouts(), pick)
        pending = self.model.payouts[id_].status == "pending"
        ways = ("approve", "reject") if pending else ("paid", "failed")
        self.step(id_, ways[second], admin, keyed)

    # -- adjustments

    @rule(
        target=adjustments,
        owner=owners,
        currency=currencies,
        percent=parts,
        sign=st.sampled_from([1, -1]),
        amount=st.none() | amounts,
        admin=admins,
        keyed=st.booleans(),
    )
    def adjust(
        self,
        owner: int,
        currency: str,
        percent: int,
        sign: int,
        amount: int | None,
        admin: int,
        keyed: bool,
    ) -> Any:
        size = amount or part_of(self.model.available(owner, currency), percent)
        told = self.model.adjust(owner, sign * size, currency)
        body = self.do(
            self.desk.adjust(owner, sign * size, currency, admin), told, keyed, fresh=True
        )
        if body is None:
            return multiple()
        id_ = UUID(body["id"])
        self.model.adjusted(id_, owner, sign * size, currency, admin)
        self.show_adjustment(id_, body)
        return id_

    @rule(id_=adjustments, admin=admins, keyed=st.booleans())
    def approve_adjustment(self, id_: UUID, admin: int, keyed: bool) -> None:
        told = self.model.approve_adjustment(id_, admin)
        self.show_adjustment(id_, self.do(self.desk.approve_adjustment(id_, admin), told, keyed))

    @precondition(lambda self: self.open_adjustments())
    @rule(pick=picks, admin=admins, keyed=st.booleans())
    def approve_a_pending_adjustment(self, pick: int, admin: int, keyed: bool) -> None:
        self.approve_adjustment(newest(self.open_adjustments(), pick), admin, keyed)

    @rule(id_=adjustments, admin=admins, keyed=st.booleans())
    def cancel_adjustment(self, id_: UUID, admin: int, keyed: bool) -> None:
        told = self.model.cancel_adjustment(id_)
        self.show_adjustment(id_, self.do(self.desk.cancel_adjustment(id_, admin), told, keyed))

    @rule(owner=owners, currency=currencies, amount=amounts)
    def open_a_balance(self, owner: int, currency: str, amount: int) -> None:
        opened = {
            (each.owner, each.currency) for each in self.model.adjustments.values() if each.opening
        }
        answer = self.desk.open_balances([(owner, currency, amount)])
        if (owner, currency) in opened:
            assert isinstance(answer, InvalidInput)
            return
        assert answer == 1
        self.changed = True
        with autocommit(self.engine) as connection:
            (id_,) = set(connection.scalars(OPENED)) - set(self.model.adjustments)
        self.model.opened(id_, owner, amount, currency)

    # -- what is none of them

    @rule(id_=payments)
    def meddle(self, id_: UUID) -> None:
        payment = self.model.payments[id_]
        stranger = 1 - payment.owner
        acts = [
            self.desk.check(id_, stranger),
            self.desk.cancel(id_, stranger),
            self.desk.refund(id_, 1, payment.currency, stranger),
        ]
        for payout_id in self.open_payouts()[-1:]:
            stranger = 1 - self.model.payouts[payout_id].owner
            acts.append(self.desk.step(payout_id, "cancel", stranger, 0))
        for act in acts:
            self.do(act, refused(404, "not_found"))
        old, owner = self.desk.with_old_keys(), payment.owner
        for scope, act in {
            "refund": old.refund(id_, 1, payment.currency, owner),
            "payout": old.pay_out(owner, 1, payment.currency),
        }.items():
            self.do(act, refused(403, "insufficient_scope", required_scope=scope))

    @rule(batch=st.integers(1, 9))
    def fold(self, batch: int) -> None:
        with autocommit(self.engine) as connection:
            unfolded = connection.execute(UNFOLDED).scalar_one()
            assert self.desk.fold(batch) == min(batch, unfolded)
            assert connection.execute(UNFOLDED).scalar_one() == max(0, unfolded - batch)

    @rule(owner=owners, currency=currencies, fee=st.none() | fees)
    def change_the_fee(self, owner: int, currency: str, fee: Fee | None) -> None:
        self.desk.set_fee(owner, currency, fee)
        self.model.schedules[owner, currency] = fee
        self.changed = True

    @rule(
        owner=owners,
        kind=st.sampled_from(
            ["transaction_amount", "daily_amount", "daily_count", "pending_count"]
        ),
        currency=currencies,
        value=st.integers(0, 20_000),
    )
    def limit(self, owner: int, kind: str, currency: str, value: int) -> None:
        of_sums = kind.endswith("amount")
        key = (owner, kind, currency if of_sums else "*")
        limit = None if key in self.model.limits else value if of_sums else value % 8
        self.desk.set_limit(*key, limit)
        self.model.limits.pop(key, None)
        if limit is not None:
            self.model.limits[key] = limit
        self.changed = True

    @rule(owner=owners)
    def want_unique_references(self, owner: int) -> None:
        self.desk.want_unique_references(owner)
        self.model.unique.add(owner)

    # -- what must hold after every step

    @invariant()
    def the_books_are_the_model(self) -> None:
        if not hasattr(self, "counts"):
            return
        type(self).steps += 1
        numbers = {each.id: number for number, each in enumerate(self.desk.merchants)}
        with autocommit(self.engine) as connection:
            found = {
                (numbers[row.user_id], row.currency, row.kind): row.balance
                for row in connection.execute(BALANCES)
            }
            counts = row_counts(connection)
        model = self.model
        assert found == {key: sum_ for key, sum_ in model.accounts.items() if sum_}
        assert {
            "transactions": len(model.payments),
            "refunds": len(model.refunds),
            "payouts": len(model.payouts),
            "adjustments": len(model.adjustments),
            "approvals": model.consents,
            "journals": model.journals,
            "entries": model.entries,
            "events": model.events,
        }.items() <= counts.items()
        self.counts, before = counts, self.counts
        for table in () if self.changed else set(counts) - UNTOLD:
            assert counts[table] == before[table], f"{table} was written"
        self.changed = False

    # -- helpers

    def do(
        self, act: Act, told: Told, keyed: bool = False, *, fresh: bool = False
    ) -> dict[str, Any] | None:
        """Run an act that must be answered by ``told``; return the body, ``None`` for an error.

        One with a key, or that knows itself by a fresh id, is run once more: the same answer.
        """
        claim = IdempotencyClaim.of("/any", str(uuid4()), b"body") if keyed else None
        self.changed |= told.changes
        answer = self.desk.run(act, claim)
        if told.code is not None:
            assert isinstance(answer, DomainError), f"answered, not refused: {answer}"
            assert (answer.status, answer.code) == (told.status, told.code)
            assert answer.members == told.members
            return None
        assert isinstance(answer, Answer), f"refused: {answer!r}"
        assert (answer.status, answer.replayed) == (told.status, False)
        if keyed:
            assert self.desk.run(act, claim) == Answer(answer.status, answer.body, replayed=True)
        elif fresh:
            # The worker is woken once: the first time.
            assert self.desk.run(act) == replace(answer, told=False)
        body: dict[str, Any] = json.loads(answer.body)
        return body

    def in_status(self, *statuses: str) -> list[UUID]:
        return [id_ for id_, each in self.model.payments.items() if each.seen in statuses]

    def with_funds(self) -> list[tuple[int, str]]:
        accounts = self.model.accounts.items()
        return [
            (owner, code) for (owner, code, kind), sum_ in accounts if kind == "available" and sum_
        ]

    def open_payouts(self) -> list[UUID]:
        known = self.model.payouts.items()
        return [id_ for id_, each in known if each.status in ("pending", "approved")]

    def open_adjustments(self) -> list[UUID]:
        return [id_ for id_, each in self.model.adjustments.items() if each.status == "pending"]

    def owner(self, id_: UUID) -> int:
        return self.model.payments[id_].owner

    def mind_the_day(self, owner: int) -> None:
        """A new day by UTC makes room that the model knows nothing of: forget the limits then."""
        if not any(key[0] == owner for key in self.model.limits):
            return
        if (today := self.desk.today()) != self.day:
            for key in self.model.limits:
                self.desk.set_limit(*key, None)
            self.model.limits.clear()
            self.day = today

    def show(self, id_: UUID, body: dict[str, Any] | None) -> None:
        if body is not None:
            expected = self.model.wire(id_)
            assert {name: body[name] for name in expected} == expected
            assert (body["finished_at"] is None) == (expected["status"] == "pending")

    def show_payout(self, id_: UUID, body: dict[str, Any] | None) -> None:
        if body is not None:
            payout = self.model.payouts[id_]
            found = (body["id"], body["status"], body["amount"], body["approvals"])
            amount = shown(payout.amount, payout.currency)
            assert found == (str(id_), payout.status, amount, len(payout.consents))
            assert "40817810099910004312" not in json.dumps(body)

    def show_adjustment(self, id_: UUID, body: dict[str, Any] | None) -> None:
        if body is not None:
            adjustment = self.model.adjustments[id_]
            found = (body["id"], body["status"], body["direction"], body["amount"])
            direction = "credit" if adjustment.amount > 0 else "debit"
            amount = shown(abs(adjustment.amount), adjustment.currency)
            assert found == (str(id_), adjustment.status, direction, amount)
            assert body["approvals"] == len(adjustment.consents)

    def compare_all(self) -> None:
        """Every row stands where the model has it."""
        model = self.model
        with autocommit(self.engine) as connection:
            for table, expected in (
                ("transactions", {id_: each.status for id_, each in model.payments.items()}),
                ("payouts", {id_: each.status for id_, each in model.payouts.items()}),
                ("adjustments", {id_: each.status for id_, each in model.adjustments.items()}),
            ):
                rows = connection.execute(text(f"SELECT id, status FROM {table}"))
                assert {row.id: row.status for row in rows} == expected
        for id_ in model.payments:
            self.show(id_, self.do(self.desk.check(id_, self.owner(id_)), REPEATED))


@pytest.fixture
def books(engine: Engine, superuser: Engine, keyring: Keyring) -> type[Books]:
    class Machine(Books):
        pass

    Machine.engine, Machine.superuser, Machine.keyring = engine, superuser, keyring
    return Machine


# After its first ten cases Hypothesis mostly varies what it has seen; many short runs go
# further than a long one.
SHORT = settings(
    max_examples=9,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    print_blob=True,
)


def walk(books: type[Books], steps: int, each: settings = SHORT) -> None:
    """Run the machine with one seed after the other until it has made so many steps."""
    number = int(os.environ.get("BOOKS_SEED") or random.SystemRandom().getrandbits(32))
    while books.steps < steps:
        print(f"BOOKS_SEED={number}")  # noqa: T201  # shown with a failure, to repeat it
        run_state_machine_as_test(seed(number)(books), settings=each)
        number += 1


@pytest.mark.timeout(600)
def test_money_moves_as_the_model_says(books: type[Books]) -> None:
    walk(books, 1_200)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_money_moves_as_the_model_says_for_long(books: type[Books]) -> None:
    walk(books, 20_000)
