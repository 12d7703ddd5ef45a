"""The real HTTP server in a process of its own, and a small world for requests to fail in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart import observability
from standart.config import Settings
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models import Role, Scope, User
from standart.services import key_service, transaction_service
from standart.services.access import SYSTEM
from standart.serving import Options
from tests import builders
from tests.acceptance.http import Http, World
from tests.builders import ORIGIN, make_transaction, make_user
from tests.integration.concurrency import wait_until

NETWORKS = "127.0.0.0/8"


@pytest.fixture(scope="session")
def serve(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Http]]:
    """Start servers: ``serve(STANDART_RATE_LIMIT="3/hour")`` answers once it is alive."""
    running: list[subprocess.Popen[bytes]] = []
    folder = tmp_path_factory.mktemp("server")

    def start(**variables: str) -> Http:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = folder / f"{port}.log"
        options = Options("127.0.0.1", port, 1, "json", "INFO")
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "standart.serving", json.dumps(asdict(options))],
                env=environment(settings, folder) | variables,
                stdout=file,
                stderr=file,
            )
        running.append(process)
        http = Http(port, log)
        wait_until(lambda: process.poll() is not None or http.is_alive())
        assert process.poll() is None, log.read_text()
        return http

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait(20)


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    """The variables of a server with ``settings``, apart from those of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key,
        "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
        "STANDART_WEBHOOK_ALLOWED_NETWORKS": NETWORKS,
        "STANDART_DATA_DIR": str(folder),
        "PYTHONPATH": str(Path(observability.__file__).parent.parent),
    }


@pytest.fixture(scope="session")
def server(serve: Callable[..., Http]) -> Http:
    return serve()


@pytest.fixture(scope="module")
def world(_app_engine: Engine, superuser: Engine, keyring: Keyring) -> Iterator[World]:
    """One world for all tests of a module: they change nothing, which each of them proves."""
    yield make_world(_app_engine, superuser, keyring)
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(f"TRUNCATE {', '.join(builders.TABLES)}, heartbeats"))


def make_world(engine: Engine, superuser: Engine, keyring: Keyring) -> World:
    shop, stranger = make_user(engine, keyring), make_user(engine, keyring)
    admin = make_user(engine, keyring, role=Role.ADMIN)
    left = make_user(engine, keyring)
    ids = {
        name: make_transaction(engine, shop, reference=name)["id"]
        for name in ("pending", "confirmed", "canceled", "overdue")
    }
    ids["foreign"] = make_transaction(engine, stranger)["id"]
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, ids["confirmed"])
        transaction_service.cancel(connection, admin.digest, ORIGIN, ids["canceled"])
        ids["event"] = str(connection.scalar(text("SELECT id FROM events LIMIT 1")))
    builders.overdue(superuser, ids["overdue"])
    with Session(engine) as session, transaction(session):
        owner = session.get_one(User, shop.id)
        _, reader = key_service.create_key(session, SYSTEM, owner, scopes=[Scope.READ])
        _, writer = key_service.create_key(session, SYSTEM, owner, scopes=[Scope.WRITE])
        row, revoked = key_service.create_key(session, SYSTEM, owner)
        key_service.revoke_key(session, SYSTEM, row.prefix)
        late, expired = key_service.create_key(session, SYSTEM, owner, lifetime=timedelta(days=1))
        late_id = late.id
        session.get_one(User, left.id).active = False
    with superuser.begin() as connection:
        connection.execute(
            text("UPDATE api_keys SET expires_at = clock_timestamp() WHERE id = :id"),
            {"id": late_id},
        )
    return World(
        shop=shop,
        stranger=stranger,
        admin=admin,
        ids=ids,
        keys={
            "shop": shop.key,
            "stranger": stranger.key,
            "admin": admin.key,
            "reader": reader,
            "writer": writer,
            "revoked": revoked,
            "expired": expired,
            "deactivated": left.key,
            "unknown": key_service.generate(),
        },
    )


@pytest.fixture
def nothing_changes(_app_engine: Engine) -> Iterator[None]:
    """Compare every row of every table before and after the test."""
    with autocommit(_app_engine) as connection:
        before = contents(connection)
        yield
        assert contents(connection) == before


def contents(connection: Connection) -> dict[str, Any]:
    """Count and digest the rows of every table that a request could write to."""
    query = " UNION ALL ".join(
        f"SELECT '{table}', count(*), md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), ''))"
        f" FROM {table} t"
        for table in builders.TABLES
    )
    return {table: (count, digest) for table, count, digest in connection.execute(text(query))}
