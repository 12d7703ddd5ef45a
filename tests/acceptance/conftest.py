"""The real HTTP server in a process of its own, and a small world for requests to fail in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from standart import observability
from standart.config import Settings
from standart.db import autocommit
from standart.encryption import Keyring
from standart.serving import Options
from tests import builders
from tests.acceptance.http import Http
from tests.integration.concurrency import wait_until
from tests.ports import free_port
from tests.world import World, contents, make_world

NETWORKS = "127.0.0.0/8"


@pytest.fixture(scope="session")
def serve(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Http]]:
    """Start servers: ``serve(STANDART_RATE_LIMIT="3/hour")`` answers once it is alive."""
    running: list[subprocess.Popen[bytes]] = []
    folder = tmp_path_factory.mktemp("server")

    def start(**variables: str) -> Http:
        port = free_port()
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


@pytest.fixture
def nothing_changes(_app_engine: Engine) -> Iterator[None]:
    """Compare every row of every table before and after the test."""
    with autocommit(_app_engine) as connection:
        before = contents(connection)
        yield
        assert contents(connection) == before
