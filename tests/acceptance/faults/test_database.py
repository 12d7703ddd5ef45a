"""F16, F17: the database is restarted, crashes, or loses a session, under load."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from standart import migrations
from standart.db import make_engine
from standart.embedded import Postgres, start_postgres
from standart.encryption import Keyring
from standart.models import Role
from tests import builders
from tests.acceptance.checker import check
from tests.acceptance.faults.conftest import Parts
from tests.acceptance.load import ClientLog, Load
from tests.acceptance.processes import commands, until

FAULTS_IN_A_RUN = 2


@dataclass
class Database:
    """A server that keeps what it has acknowledged, as in production; it can be restarted."""

    folder: Path
    server: Postgres

    def end(self, number: signal.Signals) -> None:
        """End the server by one of PostgreSQL's own signals, and start it again."""
        self.server.process.send_signal(number)
        self.server.process.wait()
        url = self.server.app_url
        self.server = start_postgres(self.folder)
        assert self.server.app_url == url

    def kill_a_session(self) -> None:
        """Kill a process that serves the API; the server crashes and recovers by itself."""
        own = make_engine(self.server.superuser_url, pool_size=1)
        query = text("SELECT pid FROM pg_stat_activity WHERE usename = 'standart_app' LIMIT 1")
        with own.connect() as connection:
            os.kill(connection.execute(query).scalar_one(), signal.SIGKILL)
            until(lambda: not answers(connection), "the crash ends all sessions")
            connection.invalidate()
        until(lambda: answers(own), "the server has recovered")
        own.dispose()


def answers(server: Connection | Engine) -> bool:
    """Whether a session, or a new one of an engine, can be used."""
    try:
        if isinstance(server, Engine):
            server.connect().close()
        else:
            server.execute(text("SELECT 1"))
    except DBAPIError:
        return False
    return True


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("pg")
    database = Database(folder, start_postgres(folder))
    owner = make_engine(database.server.owner_url, pool_size=1)
    migrations.upgrade(owner, database.server.app_url)
    owner.dispose()
    yield database
    database.server.stop()


@pytest.fixture
def books(database: Database) -> Iterator[Engine]:
    engine = make_engine(database.server.app_url, pool_size=2)
    yield engine
    engine.dispose()


@pytest.fixture
def parts(settings_of_parts: dict[str, str], database: Database, tmp_path: Path) -> Iterator[Parts]:
    """The parts on this module's PostgreSQL instead of the session's."""
    with commands(tmp_path) as starter:
        own = settings_of_parts | {"DATABASE_URL": database.server.app_url}
        yield Parts(starter, own)


def restart_fast(database: Database) -> None:
    database.end(signal.SIGINT)


def restart_immediate(database: Database) -> None:
    database.end(signal.SIGQUIT)


def kill_a_session(database: Database) -> None:
    database.kill_a_session()


@pytest.mark.parametrize("fault", [restart_fast, restart_immediate, kill_a_session])
def test_clients_hear_a_success_or_to_wait_and_nothing_acknowledged_is_lost(
    fault: Callable[[Database], None],
    database: Database,
    books: Engine,
    parts: Parts,
    keyring: Keyring,
) -> None:
    shop = builders.make_user(books, keyring)
    operator = builders.make_user(books, keyring, role=Role.ADMIN)
    api = parts.serve(workers=2)
    parts.worker("--beat")
    log = ClientLog()
    load = Load(api.client(shop), api.client(operator), log, seed=f"{fault.__name__}-16")
    with load.running():
        for _ in range(FAULTS_IN_A_RUN):
            load.has_acknowledged(20)
            fault(database)
        load.has_acknowledged(20)
    assert not log.unknown, "the API answers, whatever happens behind it"
    after = ClientLog()
    with Load(
        api.client(shop), api.client(operator), after, f"{fault.__name__}-17"
    ).running() as load:
        load.has_acknowledged(20)
    assert not after.refused, "all is well afterwards"
    books.dispose()
    check(books, clients=log)
    log.settle()
    log.replay()
    until(lambda: folded(books), "the worker works on")
    check(
        books,
        clients=log,
        logs=[*parts.starter.logs, database.folder / "postgres" / "log"],
        secrets=[*parts.secrets, shop.key, operator.key],
    )


def folded(books: Engine) -> bool:
    """Whether the worker has folded what was credited before, during and after the fault."""
    with books.connect() as connection:
        return bool(connection.scalar(text("SELECT count(*) = 0 FROM balance_deltas")))
