"""Refunds from many threads: never more than was paid, than there is, or twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import (
    IdempotencyKeyInFlight,
    InsufficientBalance,
    NotConfirmed,
    NotFound,
    RefundTooLarge,
)
from standart.services import payout_service, posting, refund_service, transaction_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.payout_service import NewPayout
from standart.services.refund_service import NewRefund
from tests.builders import (
    ORIGIN,
    TestUser,
    make_transaction,
    make_user,
    row_counts,
)
from tests.integration.books import findings
from tests.integration.concurrency import PATIENCE, blocked, outcome, together, uncommitted
from tests.integration.movements import balance, body, paid, refund, refund_key
from tests.integration.payouts import payer_of

CROWD = 24


@pytest.fixture
def key(engine: Engine, merchant: TestUser) -> KeyDigest:
    return refund_key(engine, merchant)


def told(outcomes: list[Any]) -> Counter[Any]:
    """How often which status or error came."""
    return Counter(each.status if isinstance(each, Answer) else type(each) for each in outcomes)


def given_back(connection: Connection) -> list[tuple[int, int]]:
    """(sum of the refunds, what the total says) of each transaction that has any."""
    rows = connection.execute(
        text(
            "SELECT sum(r.amount)::bigint AS sum, max(s.refunded) AS total FROM refunds r"
            " JOIN refund_totals s USING (user_id, transaction_id) GROUP BY transaction_id"
        )
    )
    return [(row.sum, row.total) for row in rows]


@pytest.mark.parametrize("folded", [False, True], ids=["deltas", "folded"])
@pytest.mark.parametrize("returning", [False, True], ids=["kept", "returned"])
def test_a_crowd_of_parts_never_passes_the_amount(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    folded: bool,
    returning: bool,
) -> None:
    """24 times 7.00 of 100.00: fourteen fit, whoever comes first."""
    paid(engine, admin, merchant)
    made = paid(engine, admin, merchant)
    if folded:
        posting.fold(connection, batch=100)
    acts = [refund(engine, key, made, "7.00", refund_commission=returning) for _ in range(CROWD)]

    outcomes = together(acts)

    assert told(outcomes) == {201: 14, RefundTooLarge: 10}
    left = {each.members["refundable"] for each in outcomes if isinstance(each, RefundTooLarge)}
    assert left == {"2.00"}
    assert given_back(connection) == [(9800, 9800)]
    rest = body(refund(engine, key, made, refund_commission=returning)())
    assert rest["amount"] == "2.00"
    returned = 300 if returning else 0
    assert balance(connection, merchant, "commission") == 600 - returned
    assert balance(connection, merchant) == 2 * 9700 - 10000 + returned
    assert findings(engine) == []


def test_of_a_crowd_that_wants_all_one_gets_it(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    paid(engine, admin, merchant)
    made = paid(engine, admin, merchant)
    outcomes = together([refund(engine, key, made) for _ in range(CROWD)])
    assert told(outcomes) == {201: 1, RefundTooLarge: CROWD - 1}
    assert given_back(connection) == [(10000, 10000)]
    assert findings(engine) == []


def test_parts_of_all_sizes_share_the_commission_exactly(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    """1 + 2 + … + 24 = 300 minor units, with and without the commission's share in turn."""
    shop = make_user(engine, keyring, rate="0.37")
    paid(engine, admin, shop, amount="10.00")
    made = paid(engine, admin, shop, amount="3.00")
    acts = [
        refund(engine, admin.digest, made, f"0.{n:02d}", refund_commission=bool(n % 2))
        for n in range(1, CROWD + 1)
    ]

    outcomes = together(acts)

    assert told(outcomes) == {201: CROWD}
    assert given_back(connection) == [(300, 300)]
    # In the order of their commits the shares are those of the running sum, rounded once.
    rows = connection.execute(text("SELECT * FROM refunds ORDER BY created_at, id"))
    before = 0
    for row in rows:
        upto = [(2 * 111 * x + 300) // 600 for x in (before, before + row.amount)]
        assert row.commission_returned == (upto[1] - upto[0] if row.refund_commission else 0)
        before += row.amount
    assert findings(engine) == []


def test_the_merchants_balance_is_never_given_back_twice(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    """24 payments of 10.00 leave 232.80: all cannot be given back whole, and the sweep folds."""
    made = [paid(engine, admin, merchant, amount="10.00") for _ in range(CROWD)]
    stop = threading.Event()

    def sweep() -> int:
        folded = 0
        with autocommit(engine) as own:
            while not stop.is_set():
                folded += posting.fold(own, batch=5)
        return folded

    with ThreadPoolExecutor(1) as pool:
        sweeping = pool.submit(sweep)
        try:
            outcomes = together([refund(engine, key, id_) for id_ in made])
        finally:
            stop.set()
        assert sweeping.result(PATIENCE) >= 0

    assert told(outcomes) == {201: 23, InsufficientBalance: 1}
    refused = next(each for each in outcomes if isinstance(each, InsufficientBalance))
    # What it saw was less than what it wanted, and at least what was left in the end.
    assert refused.members["currency"] == "RUB"
    assert 280 <= int(str(refused.members["available"]).replace(".", "")) < 1000
    assert balance(connection, merchant) == 24 * 970 - 23 * 1000
    assert len(given_back(connection)) == 23
    assert findings(engine) == []


@pytest.fixture
def pay_out(
    engine: Engine, merchant: TestUser, keyring: Keyring
) -> Callable[[str], Callable[[], Answer]]:
    payer = payer_of(engine, merchant)

    def prepare(amount: str) -> Callable[[], Answer]:
        def run() -> Answer:
            with autocommit(engine) as own:
                return payout_service.create(own, payer, ORIGIN, keyring, NewPayout(amount=amount))

        return run

    return prepare


@pytest.mark.parametrize("folded", [False, True], ids=["deltas", "folded"])
def test_refunds_and_payouts_share_what_is_available(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    pay_out: Callable[[str], Callable[[], Answer]],
    folded: bool,
) -> None:
    """24 times 50.00 of 970.00: nineteen fit."""
    made = [paid(engine, admin, merchant) for _ in range(10)]
    if folded:
        posting.fold(connection, batch=100)
    refunds = [refund(engine, key, made[n % 10], "50.00") for n in range(12)]

    outcomes = together([*refunds, *(pay_out("50.00") for _ in range(12))])

    assert told(outcomes) == {201: 19, InsufficientBalance: 5}
    counts = row_counts(connection)
    assert counts["refunds"] + counts["payouts"] == 19
    assert balance(connection, merchant) == 97000 - 19 * 5000
    assert balance(connection, merchant, "pending_payout") == 5000 * counts["payouts"]
    assert findings(engine) == []


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
def test_who_waits_for_a_payout_sees_what_it_left(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    commits: bool,
) -> None:
    made = paid(engine, admin, merchant)
    payer = payer_of(engine, merchant)
    with uncommitted(engine) as rival:
        payout_service.create(rival, payer, ORIGIN, keyring, NewPayout(amount="50.00"))
        with blocked(superuser, refund(engine, key, made, "90.00")) as waiting:
            rival.commit() if commits else rival.rollback()
    result = waiting.result()
    if commits:
        assert isinstance(result, InsufficientBalance)
        assert result.members == {"currency": "RUB", "available": "47.00"}
        assert row_counts(connection)["refunds"] == row_counts(connection)["refund_totals"] == 0
    else:
        assert result.status == 201
        assert balance(connection, merchant) == 700
    assert findings(engine) == []


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
def test_who_waits_for_a_refund_sees_what_it_left(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    commits: bool,
) -> None:
    paid(engine, admin, merchant)
    made = paid(engine, admin, merchant)
    with uncommitted(engine) as rival:
        refund_service.create_refund(
            rival, key, ORIGIN, NewRefund(transaction_id=made, amount="60.00")
        )
        with blocked(superuser, refund(engine, key, made)) as waiting:
            rival.commit() if commits else rival.rollback()
    assert body(waiting.result())["amount"] == ("40.00" if commits else "100.00")
    assert given_back(connection) == [(10000, 10000)]
    assert findings(engine) == []


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
def test_who_waits_for_a_confirm_sees_what_came_of_it(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    commits: bool,
) -> None:
    paid(engine, admin, merchant)
    made = UUID(make_transaction(engine, merchant)["id"])
    with uncommitted(engine) as rival:
        transaction_service.confirm(rival, admin.digest, ORIGIN, made)
        with blocked(superuser, refund(engine, key, made)) as waiting:
            rival.commit() if commits else rival.rollback()
    result = waiting.result()
    if commits:
        assert result.status == 201
    else:
        assert isinstance(result, NotConfirmed)
        assert result.members == {"transaction_status": "pending"}
    assert findings(engine) == []


def test_a_stranger_waits_for_nobody(
    engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    """Who may not see a transaction does not lock it, and does not learn that it is held."""
    made = paid(engine, admin, merchant)
    stranger = refund_key(engine, make_user(engine, keyring))
    with uncommitted(engine) as holder:
        refund_service.create_refund(
            holder, key, ORIGIN, NewRefund(transaction_id=made, amount="1.00")
        )
        assert isinstance(outcome(refund(engine, stranger, made)), NotFound)


def test_a_crowd_with_one_key_is_one_refund(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    made = paid(engine, admin, merchant)
    claim = IdempotencyClaim.of("/create_refund", "k", b"{}")

    outcomes = together([refund(engine, key, made, "1.00", claimed=claim) for _ in range(CROWD)])

    answers = [each for each in outcomes if isinstance(each, Answer)]
    others = {type(each) for each in outcomes if not isinstance(each, Answer)}
    assert others <= {IdempotencyKeyInFlight}
    assert {(each.status, each.body) for each in answers} == {(201, answers[0].body)}
    assert [each.replayed for each in answers].count(False) == 1
    assert given_back(connection) == [(100, 100)]
    assert findings(engine) == []


def test_a_request_that_runs_many_times_is_one_refund(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    """As when a connection dies while its commit is still on the way."""
    request = refund(engine, key, paid(engine, admin, merchant), "1.00")
    outcomes = together([request] * CROWD)
    assert set(outcomes) == {Answer(201, outcomes[0].body)}
    assert given_back(connection) == [(100, 100)]
    assert findings(engine) == []
