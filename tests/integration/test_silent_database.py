"""A server that says nothing: its kernel still answers for it, so only patience can end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest
from flask import Flask
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from standart import db
from standart.embedded import Postgres
from standart.extensions import engine as engine_of_statements
from standart.extensions import in_transaction
from tests.builders import TestUser

PATIENCE = 2.0

UNKNOWN = "/check_transaction?id=00000000-0000-7000-8000-000000000000"


@contextmanager
def frozen(pids: set[int]) -> Iterator[None]:
    """Hold server processes still while the block runs."""
    with ExitStack() as stack:
        for pid in pids:
            process = psutil.Process(pid)
            process.suspend()
            stack.callback(process.resume)
        yield


def backends(superuser: Engine) -> set[int]:
    """The server's processes for the sessions of the application, idle ones included."""
    with superuser.connect() as connection:
        query = text("SELECT pid FROM pg_stat_activity WHERE usename = 'standart_app'")
        return set(connection.scalars(query))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "SILENCE_SECONDS", PATIENCE)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("path", "status"), [("/balance", 200), (UNKNOWN, 404)])
def test_a_request_gets_past_sessions_that_stand_still(
    app: Flask, merchant: TestUser, superuser: Engine, path: str, status: int
) -> None:
    client = app.test_client()
    with app.app_context():
        pooled = [engine_of_statements().connect() for _ in range(3)]
    for connection in pooled:
        connection.close()

    with frozen(backends(superuser)):
        assert client.get(path, headers=merchant.headers).status_code == status
        # One was tried; its silence is reason enough to trust none of the others.
        with app.app_context():
            engine = engine_of_statements()
        with ExitStack() as stack:
            for _ in range(3):
                connection = stack.enter_context(engine.connect())
                assert connection.scalar(text("SELECT 1")) == 1


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stands_still_is_answered_as_unavailable(
    app: Flask, merchant: TestUser, superuser: Engine, postgres: Postgres
) -> None:
    client = app.test_client()
    assert client.get(UNKNOWN, headers=merchant.headers).status_code == 404

    with frozen({*backends(superuser), postgres.process.pid}):
        answer = client.get(UNKNOWN, headers=merchant.headers)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert client.get(UNKNOWN, headers=merchant.headers).status_code == 404


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("way", ["a single statement", "a unit of work"])
def test_a_statement_that_is_given_up_takes_its_connection_along(app: Flask, way: str) -> None:
    slow = text("SELECT pg_sleep(60)")

    def single() -> None:
        with engine_of_statements().connect() as connection:
            connection.execute(slow)

    def unit() -> None:
        in_transaction(lambda session: session.execute(slow))

    with app.app_context():
        with pytest.raises(DBAPIError) as caught:
            {"a single statement": single, "a unit of work": unit}[way]()
        assert in_transaction(lambda session: session.scalar(text("SELECT 1"))) == 1

    assert db.sqlstate(caught.value) == "", "the server ended it, not the caller"
    assert caught.value.connection_invalidated
    assert db.is_transient(caught.value)
