"""F1, F3, F4, F32: processes and connections that end at the worst moment of a request."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import psutil
import pytest
from sqlalchemy import Engine, text

from tests.acceptance.checker import check
from tests.acceptance.client import LOST, Client, Reply
from tests.acceptance.faults.conftest import Api, Parts
from tests.acceptance.load import ClientLog, Load
from tests.acceptance.processes import until
from tests.acceptance.proxy import Proxy, Trap, proxy_to
from tests.builders import TestUser
from tests.integration.concurrency import waiters

MARK = "the-one-that-is-lost"
BODY = {"amount": "100.00", "reference": MARK}

# How PostgreSQL says that the statement is done and, in autocommit mode, durable.
DONE = b"SELECT 1\x00"


def send(client: Client) -> Reply | None:
    """Create with a key; ``None`` when the connection broke instead of an answer."""
    try:
        return client.post("/create_transaction", BODY, MARK)
    except LOST:
        return None


def made(engine: Engine) -> int:
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM transactions WHERE reference = :mark")
        return int(connection.scalar(query, {"mark": MARK}) or 0)


def answered(client: Client) -> Reply | None:
    """What a patient client hears in the end: the key may be in flight, the API starting."""
    reply = send(client)
    if reply and reply.status == 409:
        assert reply.json["code"] == "idempotency_key_in_flight"
        assert reply.headers["retry-after"] == "1"
        return None
    return reply


def warm(client: Client) -> None:
    """Open the pooled connection and prepare the statement, as in a server that has run."""
    for _ in range(8):
        assert client.post("/create_transaction", {"amount": "1.00"}, f"warm-{_}").status == 201


@pytest.fixture
def api(parts: Parts, database_proxy: tuple[Proxy, str]) -> Api:
    return parts.having(DATABASE_URL=database_proxy[1]).serve()


def lose_request(proxy: Proxy) -> Trap:
    return proxy.lose_request(MARK.encode())


def lose_answer(proxy: Proxy) -> Trap:
    return proxy.lose_answer(DONE)


@pytest.mark.parametrize(("trap", "there"), [(lose_request, 0), (lose_answer, 1)])
def test_killed_beside_the_commit_a_retry_gives_one_transaction(
    trap: Callable[[Proxy], Trap],
    there: int,
    api: Api,
    database_proxy: tuple[Proxy, str],
    engine: Engine,
    merchant: TestUser,
    parts: Parts,
) -> None:
    client = api.client(merchant)
    warm(client)
    with ThreadPoolExecutor(1) as pool:
        trapped = trap(database_proxy[0])
        first: Future[Reply | None] = pool.submit(send, client)
        assert trapped.caught.wait(30)
        api.kill_worker()
        trapped.cut.set()
        assert first.result() is None
    assert made(engine) == there
    reply = until(partial(answered, client), "an answer to the retry")
    assert reply.status == 201
    assert reply.replayed is bool(there)
    assert made(engine) == 1
    again = send(client)
    assert again is not None
    assert (again.body, again.replayed) == (reply.body, True)
    check(engine, logs=parts.starter.logs, secrets=[*parts.secrets, merchant.key])


def killed_inside_the_commit(
    api: Api, client: Client, superuser: Engine, merchant: TestUser
) -> Reply | None:
    """What a retry hears while the statement of a killed process is still at work.

    ``None``: the next process took longer to start than a statement waits for a lock, 5 s.
    """
    with ThreadPoolExecutor(1) as pool, superuser.begin() as holder:
        # The statement has done its work and waits for the foreign key's check.
        lock = text("SELECT FROM users WHERE id = :id FOR UPDATE")
        holder.execute(lock, {"id": merchant.id})
        first = pool.submit(send, client)
        until(lambda: waiters(superuser) > 0, "the statement waits")
        api.kill_worker()
        assert first.result() is None
        busy = until(partial(send, client), "the API is back")
    return None if busy.status == 503 else busy


def test_killed_inside_the_commit_the_key_is_in_flight_and_then_answered(
    api: Api, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    client = api.client(merchant)
    warm(client)
    retried = partial(killed_inside_the_commit, api, client, superuser, merchant)
    busy = until(retried, "the API is back in time")
    assert (busy.status, busy.json["code"]) == (409, "idempotency_key_in_flight")
    assert busy.headers["retry-after"] == "1"
    reply = until(partial(answered, client), "an answer to the retry")
    assert reply.status == 201
    assert made(engine) == 1
    check(engine)


def test_an_answer_lost_on_its_way_is_replayed(
    parts: Parts, engine: Engine, merchant: TestUser
) -> None:
    api = parts.serve()
    with proxy_to(socket.AF_INET, ("127.0.0.1", api.port)) as proxy:
        trapped = proxy.lose_answer(b"HTTP/1.1 201")
        trapped.cut.set()
        assert send(Client(proxy.port, merchant.key)) is None
        assert trapped.caught.is_set()
    assert made(engine) == 1
    reply = send(api.client(merchant))
    assert reply is not None
    assert (reply.status, reply.replayed) == (201, True)
    assert reply.json["reference"] == MARK
    assert made(engine) == 1


@pytest.mark.parametrize("key", [MARK, None])
def test_an_answer_that_the_database_lost_is_looked_up_and_not_taken_for_a_failure(
    key: str | None,
    api: Api,
    database_proxy: tuple[Proxy, str],
    engine: Engine,
    merchant: TestUser,
) -> None:
    client = api.client(merchant)
    warm(client)
    trapped = database_proxy[0].lose_answer(DONE)
    trapped.cut.set()
    reply = client.post("/create_transaction", BODY, key)
    assert trapped.caught.is_set()
    assert reply.status == 201
    assert reply.json["reference"] == MARK
    assert made(engine) == 1


def kill(api: Api, load: Load) -> bool:
    """Kill a worker and go on; whether an answer was lost: it may have had none to give."""
    before = len(load.log.unknown)
    api.kill_worker()
    load.has_acknowledged(5)
    return len(load.log.unknown) > before


def test_killing_api_processes_under_load_loses_nothing(
    parts: Parts, engine: Engine, merchant: TestUser, operator: TestUser
) -> None:
    api = parts.serve(workers=2)
    log = ClientLog()
    load = Load(api.client(merchant), api.client(operator), log, seed=1)
    with load.running():
        for _ in range(2):
            load.has_acknowledged(15)
            load.comes(partial(kill, api, load), "a lost answer")
        load.has_acknowledged(15)
    check(engine, clients=log)
    assert log.settle() > 0
    assert log.replay() >= 45
    check(
        engine,
        clients=log,
        logs=parts.starter.logs,
        secrets=[*parts.secrets, merchant.key, operator.key],
    )


def test_a_process_that_dies_again_at_once_ends_the_server_for_its_keeper(parts: Parts) -> None:
    """Whoever restarts what fails must see that it failed, and read why."""
    api = parts.serve()

    def killed_to_the_end() -> bool:
        # Each as soon as it is seen; on a busy machine one may have lived too long to count.
        for each in api.workers():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        return api.running.process.poll() is not None

    until(killed_to_the_end, "the server ends")
    assert api.running.process.returncode == 1
    assert "Worker crash loop detected" in api.running.logged
