"""F30, F31 over HTTP: many at once, one effect."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text

from tests.acceptance.checker import check
from tests.acceptance.client import Reply
from tests.acceptance.faults.conftest import Parts
from tests.builders import TestUser

ROUNDS = 25
CROWD = 50


def at_once(acts: Sequence[Callable[[], Reply]]) -> list[Reply]:
    """Run all acts in threads that leave one barrier together."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], Reply]) -> Reply:
        barrier.wait(30)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_of_confirms_and_cancels_at_once_exactly_one_wins(
    parts: Parts, engine: Engine, merchant: TestUser, operator: TestUser
) -> None:
    api = parts.serve(workers=2)
    shop, confirmer = api.client(merchant), api.client(operator)
    endings: Counter[str] = Counter()
    for _ in range(ROUNDS):
        body = {"id": shop.create()["id"]}
        replies = at_once(
            [lambda: confirmer.post("/confirm_transaction", body)] * 3  # noqa: B023 - called at once
            + [lambda: shop.post("/cancel_transaction", body)] * 3  # noqa: B023
        )
        ended = shop.get("/check_transaction", **body)
        won = ended.json["status"]
        endings[won] += 1
        winners, losers = replies[:3], replies[3:]
        if won == "canceled":
            winners, losers = losers, winners
        assert [(each.status, each.body) for each in winners] == [(200, ended.body)] * 3
        assert [each.status for each in losers] == [409] * 3
        assert {each.json["transaction_status"] for each in losers} == {won}
    assert set(endings) <= {"confirmed", "canceled"}
    [balance] = shop.get("/balance").json["balances"]
    assert balance["balance"] == f"{97 * endings['confirmed']}.00"
    check(engine, logs=parts.starter.logs)


def test_a_crowd_with_one_key_makes_one_transaction(
    parts: Parts, engine: Engine, merchant: TestUser
) -> None:
    shop = parts.serve(workers=2).client(merchant)
    body = {"amount": "100.00"}
    replies = at_once([lambda: shop.post("/create_transaction", body, "one-key")] * CROWD)
    made = {each.body for each in replies if each.status == 201}
    assert len(made) == 1
    others = [each for each in replies if each.status != 201]
    assert {(each.status, each.json["code"]) for each in others} <= {
        (409, "idempotency_key_in_flight")
    }
    first = [each for each in replies if each.status == 201 and not each.replayed]
    assert len(first) == 1
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM transactions")) == 1
    check(engine)
