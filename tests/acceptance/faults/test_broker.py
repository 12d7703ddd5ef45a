"""F10 to F13: whatever happens to the broker, it was only ever a hint."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine

from tests.acceptance.checker import check
from tests.acceptance.client import Client
from tests.acceptance.faults.conftest import Api, Broker, Parts
from tests.acceptance.faults.test_workers import all_delivered, count
from tests.acceptance.load import ClientLog, Load
from tests.acceptance.processes import until
from tests.acceptance.receiver import Receiver
from tests.builders import TestUser


@pytest.fixture
def short_lived(parts: Parts) -> Parts:
    """Transactions live for two seconds, so that some expire under the fault."""
    return parts.having(STANDART_TRANSACTION_TTL_SECONDS="2")


@pytest.fixture
def api(short_lived: Parts) -> Api:
    return short_lived.serve()


def settled(client: Client, operator: Client) -> str:
    """Create and confirm one; return its id."""
    made = client.create()
    reply = operator.post("/confirm_transaction", {"id": made["id"]})
    assert reply.status == 200
    return str(made["id"])


def test_emptying_the_broker_under_load_loses_no_work(
    api: Api,
    short_lived: Parts,
    broker: Broker,
    engine: Engine,
    sink: Receiver,
    shop: TestUser,
    operator: TestUser,
) -> None:
    short_lived.worker("--beat")
    log = ClientLog()
    load = Load(api.client(shop), api.client(operator), log, seed=10, threads=2)
    with emptied_for_ever(broker) as times, load.running():
        load.has_acknowledged(60)
        load.comes(lambda: len(times) >= 20, "the broker was emptied often")
    quiet(engine)
    assert not log.unknown
    assert not log.refused
    finish(engine, short_lived, log, sink, shop)


def test_the_broker_dies_and_comes_back_empty_while_the_api_works_on(
    api: Api,
    short_lived: Parts,
    broker: Broker,
    engine: Engine,
    sink: Receiver,
    shop: TestUser,
    operator: TestUser,
) -> None:
    short_lived.worker("--beat")
    log = ClientLog()
    load = Load(api.client(shop), api.client(operator), log, seed=11, threads=2)
    with load.running():
        load.has_acknowledged(20)
        broker.kill()
        load.has_acknowledged(40)
        assert broker.server.process.poll() is not None
        broker.start_empty()
        load.has_acknowledged(20)
    assert not log.unknown
    assert not log.refused
    last = settled(api.client(shop), api.client(operator))
    until(lambda: last in sink.ids, "the worker takes tasks from the new broker")
    quiet(engine)
    finish(engine, short_lived, log, sink, shop)


def test_a_broker_that_hangs_holds_up_no_request(
    api: Api,
    short_lived: Parts,
    broker: Broker,
    engine: Engine,
    sink: Receiver,
    shop: TestUser,
    operator: TestUser,
) -> None:
    client, confirmer = api.client(shop), api.client(operator)
    settled(client, confirmer)  # its nudge has opened a connection that now falls silent
    os.kill(broker.server.process.pid, signal.SIGSTOP)
    try:
        ids = [settled(client, confirmer) for _ in range(30)]
        assert client.get("/readyz").status == 200
    finally:
        os.kill(broker.server.process.pid, signal.SIGCONT)
    short_lived.worker("--beat")
    until(lambda: set(sink.ids) >= set(ids), "all are told once it goes on")
    quiet(engine)
    check(engine, receiver=sink, user_id=str(shop.id), logs=short_lived.starter.logs)


@contextmanager
def emptied_for_ever(broker: Broker) -> Iterator[list[int]]:
    """Empty the broker again and again while the block runs; yields the times so far."""
    stop = threading.Event()
    times: list[int] = []

    def run() -> None:
        with broker.client() as client:
            while not stop.wait(0.05):
                client.flushall()
                times.append(len(times))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def quiet(engine: Engine) -> None:
    """Wait until nothing is pending or to be told any more."""
    until(lambda: not count(engine, "transactions WHERE status = 'pending'"), "all has ended")
    until(lambda: all_delivered(engine), "all is delivered")


def finish(engine: Engine, parts: Parts, log: ClientLog, sink: Receiver, shop: TestUser) -> None:
    log.replay()
    check(
        engine,
        clients=log,
        receiver=sink,
        user_id=str(shop.id),
        swept=True,
        logs=parts.starter.logs,
        secrets=[*parts.secrets, shop.key],
    )
