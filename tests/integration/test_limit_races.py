"""Many creators at once within one merchant's limits: never one too many, none too few."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import IdempotencyKeyInFlight, LimitExceeded, ReferenceTaken
from standart.models import LimitKind
from standart.money import Money
from standart.services import limit_service, transaction_request, transaction_service
from standart.services.idempotency_service import Answer
from tests.builders import ORIGIN, SHORT, TestUser, make_user
from tests.integration.books import findings
from tests.integration.calls import claim, create
from tests.integration.concurrency import (
    PATIENCE,
    blocked,
    outcome,
    together,
    uncommitted,
    wait_until,
)
from tests.integration.limits import limit, rubles, want_unique_references

CROWD = 24


def creating(engine: Engine, caller: TestUser, **fields: Any) -> Callable[[], Answer]:
    def run() -> Answer:
        with autocommit(engine) as own:
            return create(own, caller, **fields)

    return run


def told(outcomes: list[Any]) -> Counter[Any]:
    """How often which status or error came."""
    return Counter(each.status if isinstance(each, Answer) else type(each) for each in outcomes)


def rows(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM transactions")).scalar_one())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (LimitKind.DAILY_COUNT, 7),
        (LimitKind.DAILY_AMOUNT, rubles("700.99")),
        (LimitKind.PENDING_COUNT, 7),
    ],
)
@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "keyed"])
def test_a_crowd_gets_exactly_what_the_limit_leaves(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    kind: LimitKind,
    value: Money | int,
    keyed: bool,
) -> None:
    limit(engine, merchant, kind, value)
    acts = [
        creating(engine, merchant, amount="100.00", claimed=claim(str(n)) if keyed else None)
        for n in range(CROWD)
    ]

    outcomes = together(acts)

    assert told(outcomes) == {201: 7, LimitExceeded: CROWD - 7}
    assert rows(connection) == 7
    kept = connection.scalar(text("SELECT count(*) FROM idempotency_keys"))
    assert kept == (7 if keyed else 0)
    assert findings(engine) == []


def test_amounts_of_all_sizes_never_pass_the_sum_of_the_day(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, LimitKind.DAILY_AMOUNT, rubles("100.00"))
    acts = [creating(engine, merchant, amount=f"{n}.{n:02d}") for n in range(1, CROWD + 1)]

    outcomes = together(acts)

    total = connection.execute(text("SELECT sum(amount) FROM transactions")).scalar_one()
    refused = [n for n, each in enumerate(outcomes, 1) if isinstance(each, LimitExceeded)]
    assert total <= 100_00
    # Whoever was refused did not fit beside those that were let in, least of all at the end.
    assert refused
    assert all(total + 101 * n > 100_00 for n in refused)


@pytest.mark.parametrize("room", [1, 5])
def test_a_crowd_with_one_client_id_is_one_transaction_and_nobody_is_refused(
    connection: Connection, engine: Engine, merchant: TestUser, room: int
) -> None:
    limit(engine, merchant, LimitKind.DAILY_COUNT, room)
    id_ = uuid4()

    outcomes = together([creating(engine, merchant, id=id_)] * CROWD)

    assert told(outcomes) == {201: 1, 200: CROWD - 1}
    assert len({each.body for each in outcomes}) == 1
    assert rows(connection) == 1


@pytest.mark.parametrize("room", [1, 5])
def test_a_crowd_with_one_key_is_one_transaction_and_nobody_is_refused(
    connection: Connection, engine: Engine, merchant: TestUser, room: int
) -> None:
    limit(engine, merchant, LimitKind.PENDING_COUNT, room)

    outcomes = together([creating(engine, merchant, claimed=claim())] * CROWD)

    answers = [each for each in outcomes if isinstance(each, Answer)]
    others = [each for each in outcomes if not isinstance(each, Answer)]
    assert {type(each) for each in others} <= {IdempotencyKeyInFlight}
    assert {(each.status, each.body) for each in answers} == {(201, answers[0].body)}
    assert [each.replayed for each in answers].count(False) == 1
    assert rows(connection) == 1


@pytest.mark.parametrize("repeats", ["id", "key"])
def test_who_waited_behind_its_own_first_request_gets_its_answer(
    engine: Engine, superuser: Engine, merchant: TestUser, repeats: str
) -> None:
    limit(engine, merchant, LimitKind.DAILY_COUNT, 1)
    fields: dict[str, Any] = {"id": uuid4()} if repeats == "id" else {"claimed": claim()}
    with uncommitted(engine) as holder:
        limit_service.hold(holder, merchant.id)
        with (
            blocked(superuser, creating(engine, merchant, **fields)) as first,
            blocked(superuser, creating(engine, merchant, **fields)) as second,
        ):
            holder.commit()
    answers = sorted([first.result(), second.result()], key=lambda each: each.status)

    assert [each.status for each in answers] == ([200, 201] if repeats == "id" else [201, 201])
    assert answers[0].body == answers[1].body
    assert [each.replayed for each in answers].count(True) == (repeats == "key")


def test_only_the_limited_merchant_waits_for_its_limits(
    engine: Engine, superuser: Engine, merchant: TestUser, keyring: Keyring
) -> None:
    limited, free = make_user(engine, keyring), merchant
    other = make_user(engine, keyring)
    for user in (limited, other):
        limit(engine, user, LimitKind.DAILY_COUNT, 5)
    with uncommitted(engine) as holder:
        limit_service.hold(holder, limited.id)
        with blocked(superuser, creating(engine, limited)) as waiting:
            assert creating(engine, free)().status == 201
            assert creating(engine, other)().status == 201
            assert not waiting.done()
            holder.commit()
    assert waiting.result().status == 201


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize(
    ("kind", "value"), [(LimitKind.DAILY_COUNT, 1), (LimitKind.DAILY_AMOUNT, rubles("150.00"))]
)
def test_a_confirm_that_commits_past_the_expiry_still_takes_its_room(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    kind: LimitKind,
    value: Money | int,
    commits: bool,
) -> None:
    limit(engine, merchant, kind, value)
    made = UUID(json.loads(create(connection, merchant, ttl=SHORT).body)["id"])
    over = text("SELECT expires_at <= clock_timestamp() FROM transactions WHERE id = :id")
    with uncommitted(engine) as holder:
        transaction_service.confirm(holder, admin.digest, ORIGIN, made)
        wait_until(lambda: bool(connection.scalar(over, {"id": made})))
        with blocked(superuser, creating(engine, merchant)) as waiting:
            if commits:
                holder.commit()
            else:
                holder.rollback()

    assert told([waiting.result()]) == {LimitExceeded if commits else 201: 1}
    assert findings(engine) == []


def test_a_changed_limit_waits_for_who_was_judged_by_the_old_one(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, LimitKind.DAILY_COUNT, 5)
    with uncommitted(engine) as holder:
        limit_service.hold(holder, merchant.id)
        with blocked(superuser, lambda: limit(engine, merchant, LimitKind.DAILY_COUNT, 0)):
            holder.commit()
    assert isinstance(outcome(creating(engine, merchant)), LimitExceeded)
    assert rows(connection) == 0


ENDS = text(
    """
    SELECT count(*) FROM transactions a JOIN transactions b
        ON a.id < b.id AND a.created_at < coalesce(b.finished_at, 'infinity')
        AND b.created_at < coalesce(a.finished_at, 'infinity')
    """
)


def test_room_that_a_cancel_makes_is_given_to_one_at_a_time(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    """With one pending allowed, no two were ever pending at the same moment."""
    limit(engine, merchant, LimitKind.PENDING_COUNT, 1)
    wanted, threads = 10, 6
    barrier = threading.Barrier(threads)
    refusals = Counter[type]()

    def shop(number: int) -> None:
        barrier.wait(PATIENCE)
        made = 0
        with autocommit(engine) as own:
            while made < wanted:
                answer = outcome(lambda: create(own, merchant))
                if isinstance(answer, Answer):
                    made += 1
                    id_ = UUID(json.loads(answer.body)["id"])
                    transaction_service.cancel(own, merchant.digest, ORIGIN, id_)
                else:
                    refusals[type(answer)] += 1

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(shop, range(threads)))

    assert rows(connection) == wanted * threads
    assert connection.scalar(ENDS) == 0
    assert set(refusals) == {LimitExceeded}


@pytest.mark.parametrize("limited", [False, True], ids=["free", "limited"])
def test_of_a_crowd_with_one_unique_reference_one_is_created(
    connection: Connection, engine: Engine, merchant: TestUser, limited: bool
) -> None:
    want_unique_references(engine, merchant)
    if limited:
        limit(engine, merchant, LimitKind.DAILY_COUNT, 5)

    outcomes = together([creating(engine, merchant, reference="order-1")] * CROWD)

    assert told(outcomes) == {201: 1, ReferenceTaken: CROWD - 1}
    assert rows(connection) == 1


@pytest.mark.parametrize("limited", [False, True], ids=["free", "limited"])
def test_a_repeated_id_with_its_unique_reference_is_no_second_one(
    connection: Connection, engine: Engine, merchant: TestUser, limited: bool
) -> None:
    want_unique_references(engine, merchant)
    if limited:
        limit(engine, merchant, LimitKind.DAILY_COUNT, 1)
    same = creating(engine, merchant, id=uuid4(), reference="order-1")

    assert told(together([same] * CROWD)) == {201: 1, 200: CROWD - 1}
    assert rows(connection) == 1


def test_its_own_id_committed_between_two_looks_is_no_taken_reference(
    engine: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    want_unique_references(engine, merchant)
    limit(engine, merchant, LimitKind.DAILY_COUNT, 5)
    same = creating(engine, merchant, id=uuid4(), reference="order-1")
    look, others = transaction_request.is_repeated, [same]

    def look_and_be_overtaken(*asked: Any) -> bool:
        found = look(*asked)
        if others:
            assert others.pop()().status == 201
        return found

    monkeypatch.setattr(transaction_request, "is_repeated", look_and_be_overtaken)

    assert same().status == 200


def test_crowds_with_different_unique_references_all_pass(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    want_unique_references(engine, merchant)
    acts = [creating(engine, merchant, reference=f"order-{n // 2}") for n in range(CROWD)]

    assert told(together(acts)) == {201: CROWD // 2, ReferenceTaken: CROWD // 2}
