"""F5 to F9: workers and beats that die, are missing, or are too many."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from flask import Flask
from sqlalchemy import Engine, text

from standart.db import autocommit
from standart.services import ledger_service, transaction_service
from tests import builders
from tests.acceptance.checker import check
from tests.acceptance.faults.conftest import Broker, Parts
from tests.acceptance.processes import STOP_PATIENCE, Running, until
from tests.acceptance.receiver import Receiver
from tests.builders import ORIGIN, TestUser

IN_HAND = 6


def confirmed(engine: Engine, shop: TestUser, operator: TestUser, number: int) -> list[str]:
    """Create and confirm so many transactions; return their ids."""
    ids = [builders.make_transaction(engine, shop)["id"] for _ in range(number)]
    with autocommit(engine) as connection:
        for each in ids:
            transaction_service.confirm(connection, operator.digest, ORIGIN, each)
    return ids


def count(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {query}")) or 0)


def leases(engine: Engine) -> int:
    return count(engine, "deliveries WHERE lease IS NOT NULL")


def all_delivered(engine: Engine) -> bool:
    return count(engine, "deliveries WHERE state <> 'delivered'") == 0


def end_leases(superuser: Engine) -> None:
    """Let the time of all leases run out without waiting for it."""
    with superuser.begin() as connection:
        connection.execute(
            text(
                "UPDATE deliveries SET next_attempt_at = clock_timestamp() WHERE lease IS NOT NULL"
            )
        )


@pytest.fixture(params=["threads", "prefork"])
def busy_worker(
    request: pytest.FixtureRequest,
    parts: Parts,
    engine: Engine,
    sink: Receiver,
    shop: TestUser,
    operator: TestUser,
) -> Iterator[tuple[Running, list[str], str]]:
    """A worker that holds webhooks which their receiver does not answer."""
    ids = confirmed(engine, shop, operator, IN_HAND)
    sink.hold()
    if request.param == "threads":
        worker = parts.worker("--beat")
    else:
        celery = [sys.executable, "-P", "-m", "celery", "-A", "standart.tasks", "worker"]
        worker = parts.starter.launch(
            [*celery, "--pool=prefork", "--concurrency=1", "--loglevel=INFO"], parts.settings
        )
        until(lambda: "ready." in worker.logged, "the worker is ready")
        parts.beat()
    until(lambda: sorted(sink.ids) == sorted(ids), "all webhooks are in its hands")
    yield worker, ids, request.param
    sink.release()


def test_webhooks_in_the_hands_of_a_killed_worker_are_sent_again(
    busy_worker: tuple[Running, list[str], str],
    parts: Parts,
    engine: Engine,
    superuser: Engine,
    sink: Receiver,
    shop: TestUser,
) -> None:
    worker, ids, pool = busy_worker
    assert leases(engine) == IN_HAND
    if pool == "prefork":
        for child in psutil.Process(worker.pid).children():
            child.kill()
    else:
        worker.kill()
        parts.worker("--beat")
    sink.release()
    assert leases(engine) == IN_HAND
    end_leases(superuser)
    until(lambda: all_delivered(engine), "all are delivered")
    assert Counter(sink.ids) == dict.fromkeys(ids, 2), "once before, once after the kill"
    assert {len(bodies) for bodies in sink.bodies().values()} == {1}
    assert leases(engine) == 0
    check(engine, receiver=sink, user_id=str(shop.id), logs=parts.starter.logs)


def test_a_worker_that_is_told_to_end_finishes_what_it_has_and_claims_nothing_more(
    busy_worker: tuple[Running, list[str], str],
    broker: Broker,
    engine: Engine,
    sink: Receiver,
    shop: TestUser,
    operator: TestUser,
) -> None:
    worker, ids, _ = busy_worker
    worker.process.terminate()
    with broker.client() as client:
        until(lambda: client.llen("standart") > 1, "the worker takes no more messages")
    confirmed(engine, shop, operator, 3)
    assert leases(engine) == IN_HAND
    sink.release()

    assert worker.process.wait(STOP_PATIENCE) == 0
    assert sorted(sink.ids) == sorted(ids)
    assert leases(engine) == 0
    assert count(engine, "deliveries WHERE state = 'delivered'") == IN_HAND
    assert count(engine, "deliveries WHERE state = 'waiting' AND attempt_count = 0") == 3


@pytest.mark.slow
def test_a_lease_ends_by_itself(
    parts: Parts, engine: Engine, sink: Receiver, shop: TestUser, operator: TestUser
) -> None:
    ids = confirmed(engine, shop, operator, IN_HAND)
    sink.hold()
    worker = parts.worker("--beat")
    until(lambda: sorted(sink.ids) == sorted(ids), "all webhooks are in its hands")
    worker.kill()
    sink.release()
    parts.worker("--beat")
    until(lambda: all_delivered(engine), "all are delivered")
    check(engine, receiver=sink, user_id=str(shop.id), logs=parts.starter.logs)


def test_without_beat_overdue_ones_read_as_expired_and_are_swept_once_it_is_back(
    parts: Parts,
    engine: Engine,
    superuser: Engine,
    sink: Receiver,
    shop: TestUser,
    operator: TestUser,
    make_app: Callable[..., Flask],
) -> None:
    client = make_app().test_client()
    parts.worker()
    swept_at_start = "heartbeats WHERE name = 'sweep'"
    until(lambda: count(engine, swept_at_start), "the sweep of a worker's start")
    ids = [builders.make_transaction(engine, shop)["id"] for _ in range(5)]
    for each in ids:
        builders.overdue(superuser, each)
        shown = client.get(f"/check_transaction?id={each}", headers=shop.headers)
        assert shown.json["status"] == "expired"
        assert shown.json["finished_at"] == shown.json["expires_at"]
        for path, user in (("/confirm_transaction", operator), ("/cancel_transaction", shop)):
            refused = client.post(path, json={"id": each}, headers=user.headers)
            assert (refused.status_code, refused.json["code"]) == (409, "not_pending")
            assert refused.json["transaction_status"] == "expired"
    assert count(engine, "transactions WHERE status = 'pending'") == 5
    assert sink.ids == []
    parts.beat()
    until(lambda: sorted(sink.ids) == sorted(ids), "the expired ones are told")
    until(lambda: all_delivered(engine), "all are delivered")
    check(engine, receiver=sink, user_id=str(shop.id), swept=True, logs=parts.starter.logs)


def test_two_workers_and_two_beats_do_everything_once(
    parts: Parts,
    engine: Engine,
    superuser: Engine,
    sink: Receiver,
    shop: TestUser,
    operator: TestUser,
) -> None:
    settled = confirmed(engine, shop, operator, 30)
    overdue = [builders.make_transaction(engine, shop)["id"] for _ in range(30)]
    for each in overdue:
        builders.overdue(superuser, each)
    for _ in range(2):
        parts.worker()
    for _ in range(2):
        parts.beat()
    until(lambda: set(sink.ids) >= {*settled, *overdue}, "all are told")
    until(lambda: all_delivered(engine), "all are delivered")
    until(lambda: count(engine, "balance_deltas") == 0, "all is folded")
    assert sorted(sink.ids) == sorted([*settled, *overdue])
    assert count(engine, "attempts") == 60
    for each in parts.starter.started:
        each.stop()  # else the sweep of the sums goes on between the two looks
    before = contents(engine)
    for _ in range(2):
        with autocommit(engine) as connection:
            assert transaction_service.expire_overdue(connection) == 0
            assert ledger_service.fold_deltas(connection) == 0
        assert contents(engine) == before
    check(
        engine,
        receiver=sink,
        user_id=str(shop.id),
        swept=True,
        logs=parts.starter.logs,
        secrets=[*parts.secrets, shop.webhook_secret.removeprefix("whsec_")],
    )


def contents(engine: Engine) -> dict[str, Any]:
    with engine.connect() as connection:
        return builders.row_counts(connection)
