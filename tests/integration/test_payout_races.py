"""Payouts in a crowd: no balance is reserved twice, no payout ends twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import (
    IdempotencyKeyInFlight,
    InsufficientBalance,
    NotFound,
    PayoutState,
    SecondPersonRequired,
)
from standart.models import Role
from standart.services import ledger_service, payout_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.payout_service import NewPayout
from standart.states import PayoutAction
from tests.builders import ORIGIN, TestUser, make_user
from tests.integration.books import findings
from tests.integration.concurrency import (
    PATIENCE,
    blocked,
    outcome,
    together,
    uncommitted,
)
from tests.integration.payouts import act, balances, create, created, credit, payer_of, wire

CROWD = 24
ROUNDS = 10


def creating(
    engine: Engine, keyring: Keyring, payer: KeyDigest, amount: str, **options: Any
) -> Callable[[], Answer]:
    def run() -> Answer:
        with autocommit(engine) as own:
            return create(own, keyring, payer, amount, **options)

    return run


def test_a_stranger_waits_for_nobody(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    """Who may not see a payout does not lock it, and does not learn that it is held."""
    payer = payer_of(engine, merchant)
    credit(engine, admin, merchant)
    payout_id = created(connection, keyring, payer)
    stranger = payer_of(engine, make_user(engine, keyring))
    with uncommitted(engine) as holder:
        act(holder, payer, payout_id, PayoutAction.CANCEL)
        found = outcome(acting(engine, stranger, payout_id, PayoutAction.CANCEL))
    assert isinstance(found, NotFound)


def acting(
    engine: Engine, caller: KeyDigest, payout_id: Any, action: PayoutAction, **options: Any
) -> Callable[[], Answer]:
    def run() -> Answer:
        with autocommit(engine) as own:
            return act(own, caller, payout_id, action, **options)

    return run


@contextmanager
def sweeping(engine: Engine) -> Iterator[None]:
    """Fold deltas without a pause, by two sweeps, as long as the block runs."""
    done = threading.Event()

    def sweep() -> int:
        folded = 0
        with autocommit(engine) as own:
            while not done.is_set():
                folded += ledger_service.fold_deltas(own, batch=3)
        return folded

    with ThreadPoolExecutor(2) as pool:
        sweeps = [pool.submit(sweep) for _ in range(2)]
        try:
            yield
        finally:
            done.set()
        for each in sweeps:
            each.result(PATIENCE)


def kinds(outcomes: list[Any]) -> Counter[str]:
    return Counter(
        str(each.status) if isinstance(each, Answer) else type(each).__name__ for each in outcomes
    )


@pytest.mark.parametrize("state", ["unfolded", "folded", "mixed", "swept meanwhile"])
def test_of_a_crowd_that_wants_the_whole_balance_one_gets_it(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    merchant: TestUser,
    state: str,
) -> None:
    for _ in range(ROUNDS):
        owner = make_user(engine, keyring, rate="0")
        payer = payer_of(engine, owner)
        for number in range(6):
            credit(engine, admin, owner, "10.00")
            if state == "folded" or (state == "mixed" and number == 2):
                while ledger_service.fold_deltas(connection):
                    pass
        crowd = [creating(engine, keyring, payer, "60.00") for _ in range(CROWD)]
        if state == "swept meanwhile":
            with sweeping(engine):
                outcomes = together(crowd)
        else:
            outcomes = together(crowd)

        assert kinds(outcomes) == {"201": 1, "InsufficientBalance": CROWD - 1}
        refused = [each for each in outcomes if isinstance(each, InsufficientBalance)]
        assert {each.members["available"] for each in refused} == {"0.00"}
        assert balances(connection, owner.id) == {"pending_payout": 6000, "clearing": -6000}
    assert connection.scalar(text("SELECT count(*) FROM payouts")) == ROUNDS
    assert findings(engine) == []


def test_parts_of_a_balance_go_until_it_is_used_up(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    owner = make_user(engine, keyring, rate="0")
    payer = payer_of(engine, owner)
    for _ in range(10):
        credit(engine, admin, owner, "10.00")
    with sweeping(engine):
        outcomes = together([creating(engine, keyring, payer, "7.00") for _ in range(CROWD)])

    assert kinds(outcomes) == {"201": 14, "InsufficientBalance": CROWD - 14}
    assert balances(connection, owner.id) == {
        "available": 200,
        "pending_payout": 9800,
        "clearing": -10000,
    }
    assert findings(engine) == []


def test_credits_and_payouts_at_once_lose_nothing(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    owner = make_user(engine, keyring, rate="0")
    payer = payer_of(engine, owner)
    credit(engine, admin, owner, "10.00")
    crowd: list[Callable[[], Any]] = [creating(engine, keyring, payer, "10.00") for _ in range(12)]
    crowd += [lambda: credit(engine, admin, owner, "10.00") for _ in range(11)]
    with sweeping(engine):
        outcomes = together(crowd)

    paid = kinds(outcomes)["201"]
    assert 1 <= paid <= 12
    assert kinds(outcomes)["InsufficientBalance"] == 12 - paid
    expected = {"available": 12000 - 1000 * paid, "pending_payout": 1000 * paid}
    found = balances(connection, owner.id)
    assert found == {k: v for k, v in (expected | {"clearing": -12000}).items() if v}
    assert findings(engine) == []


def test_of_all_acts_at_once_one_decides(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    payer = payer_of(engine, merchant)
    credit(engine, admin, merchant, "100.00")
    ended: Counter[str] = Counter()
    for _ in range(ROUNDS):
        payout_id = created(connection, keyring, payer)
        firsts = [PayoutAction.APPROVE, PayoutAction.REJECT, PayoutAction.CANCEL]
        outcomes = together(
            [acting(engine, admin.digest, payout_id, action) for action in firsts * 4]
        )
        winner = wire(payout_service.check(connection, payer, ORIGIN, payout_id))["status"]
        ended[winner] += 1
        assert kinds(outcomes) == {"200": 4, "PayoutState": 8}
        bodies = {each.body for each in outcomes if isinstance(each, Answer)}
        assert len(bodies) == 1
        refused = [each for each in outcomes if isinstance(each, PayoutState)]
        assert {each.members["payout_status"] for each in refused} == {winner}
        if winner == "approved":
            acts = [PayoutAction.PAY, PayoutAction.FAIL]
            outcomes = together(
                [acting(engine, admin.digest, payout_id, action) for action in acts * 4]
            )
            assert kinds(outcomes) == {"200": 4, "PayoutState": 4}
            act(connection, admin.digest, payout_id, _said(connection, payer, payout_id))

    paid = connection.scalar(
        text("SELECT coalesce(sum(amount), 0) FROM payouts WHERE status = 'paid'")
    )
    assert "pending_payout" not in balances(connection, merchant.id)
    assert balances(connection, merchant.id)["available"] == 9700 - int(paid or 0)
    assert sum(ended.values()) == ROUNDS
    assert findings(engine) == []


def _said(connection: Connection, payer: KeyDigest, payout_id: Any) -> PayoutAction:
    status = wire(payout_service.check(connection, payer, ORIGIN, payout_id))["status"]
    return {"paid": PayoutAction.PAY, "failed": PayoutAction.FAIL}[status]


def test_of_many_admins_the_second_one_approves(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    payer = payer_of(engine, merchant)
    credit(engine, admin, merchant)
    admins = [make_user(engine, keyring, role=Role.ADMIN) for _ in range(8)]
    for _ in range(5):
        payout_id = created(connection, keyring, payer)
        outcomes = together(
            [
                acting(engine, each.digest, payout_id, PayoutAction.APPROVE, alone={"RUB": 0})
                for each in admins
            ]
        )
        assert kinds(outcomes) == {"202": 1, "200": 7}
        approvals = text("SELECT count(*) FROM approvals WHERE object_id = :id")
        assert connection.scalar(approvals, {"id": payout_id}) == 2


def test_one_admin_in_a_crowd_is_still_one_person(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    payer = payer_of(engine, merchant)
    credit(engine, admin, merchant)
    payout_id = created(connection, keyring, payer)
    outcomes = together(
        [acting(engine, admin.digest, payout_id, PayoutAction.APPROVE, alone={"RUB": 0})] * 8
    )
    assert kinds(outcomes) == {"202": 1, SecondPersonRequired.__name__: 7}


def test_one_key_in_a_crowd_makes_one_payout(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    payer = payer_of(engine, merchant)
    credit(engine, admin, merchant)
    claim = IdempotencyClaim.of("/create_payout", "k", b"{}")
    outcomes = together(
        [creating(engine, keyring, payer, "1.00", claim=claim) for _ in range(CROWD)]
    )

    answers = [each for each in outcomes if isinstance(each, Answer)]
    assert len({each.body for each in answers}) == 1
    assert len([each for each in answers if not each.replayed]) == 1
    others = [each for each in outcomes if not isinstance(each, Answer)]
    assert all(isinstance(each, IdempotencyKeyInFlight) for each in others)
    assert connection.scalar(text("SELECT count(*) FROM payouts")) == 1


def test_a_request_that_runs_twice_at_once_makes_one_payout(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    """All unique keys take part: who arrives in the same moment may meet any of them first."""
    payer = payer_of(engine, merchant)
    credit(engine, admin, merchant)

    def running(new: NewPayout) -> Callable[[], Answer]:
        def run() -> Answer:
            with autocommit(engine) as own:
                return payout_service.create(own, payer, ORIGIN, keyring, new)

        return run

    for made in range(1, 16):
        outcomes = together([running(NewPayout(amount="1.00"))] * 8)
        assert {(each.status, each.body) for each in outcomes} == {(201, outcomes[0].body)}
        assert connection.scalar(text("SELECT count(*) FROM payouts")) == made


def test_a_debit_waits_for_one_that_may_still_fail(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
) -> None:
    payer = payer_of(engine, merchant)
    credit(engine, admin, merchant)
    with uncommitted(engine) as first:
        create(first, keyring, payer, "97.00")
        with blocked(superuser, creating(engine, keyring, payer, "97.00")) as waiting:
            first.rollback()
        assert waiting.result().status == 201
    assert connection.scalar(text("SELECT count(*) FROM payouts")) == 1
