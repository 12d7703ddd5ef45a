"""The parts of the service as processes of their own, on engines that tests may break."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil
import pytest
import redis
from sqlalchemy import Engine, make_url

from standart.config import Settings
from standart.embedded import Valkey, start_valkey
from standart.encryption import Keyring
from standart.models import Role
from tests import builders
from tests.acceptance.client import Client
from tests.acceptance.processes import Commands, Running, commands, until
from tests.acceptance.proxy import Proxy, proxy_to
from tests.acceptance.receiver import Receiver, receiver
from tests.builders import TestUser
from tests.ports import free_port


@dataclass(frozen=True)
class Parts:
    """Starts `serve`, `worker` and `beat` with the settings of the session's engines."""

    starter: Commands
    settings: dict[str, str]

    def having(self, **settings: str) -> Parts:
        """The same with other settings."""
        return replace(self, settings=self.settings | settings)

    def serve(self, workers: int = 1) -> Api:
        """Start the API and wait until it is ready."""
        port = free_port()
        arguments = ["serve", "--port", str(port), "--workers", str(workers)]
        api = Api(port, self.starter.start(arguments, self.settings))
        until(api.is_ready, "the API is ready")
        return api

    def worker(self, *arguments: str) -> Running:
        """Start a worker and wait until it takes tasks."""
        running = self.starter.start(["worker", *arguments], self.settings)
        until(lambda: "ready." in running.logged, "the worker is ready")
        return running

    def beat(self) -> Running:
        return self.starter.start(["beat"], self.settings)

    @property
    def secrets(self) -> list[str]:
        """What must not stand in a log."""
        database = make_url(self.settings["DATABASE_URL"])
        keys = self.settings["STANDART_ENCRYPTION_KEYS"].partition(":")[2]
        return [str(database.password), self.settings["SECRET_KEY"], keys]


@dataclass(frozen=True)
class Api:
    """A running API server."""

    port: int
    running: Running

    def is_ready(self) -> bool:
        try:
            return Client(self.port, "").get("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def client(self, user: TestUser) -> Client:
        return Client(self.port, user.key)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer requests, the oldest first.

        Not by number: numbers come round, and a new process may have a low one.
        """
        serving = []
        for each in self.running.below():
            with contextlib.suppress(psutil.NoSuchProcess):  # ended since it was listed
                if "resource_tracker" not in str(each.cmdline()):
                    serving.append(each)
        return sorted(serving, key=lambda each: each.create_time())

    def kill_worker(self) -> None:
        """Kill the oldest process that answers requests; its parent starts another one.

        The parent gives up, for its own keeper to act, when one dies again within 5.5 s.
        """
        victim = self.workers()[0]
        victim.kill()
        until(lambda: victim not in self.running.below(), "its end is noticed")


class Broker:
    """A Valkey of one test: to be killed, stopped, emptied and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: Valkey = start_valkey(folder)

    @property
    def url(self) -> str:
        return self.server.url

    def start_empty(self) -> None:
        """Start it again as if it had never held anything."""
        for file in (self.folder / "valkey" / "data").glob("*"):
            file.unlink()
        url = self.server.url
        self.server = start_valkey(self.folder)
        assert self.server.url == url

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait()

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        url = make_url(self.url)
        if url.drivername == "redis+socket":
            where: dict[str, Any] = {"unix_socket_path": unquote(f"/{url.database}")}
        else:
            where = {"host": url.host, "port": url.port}
        with redis.Redis(password=url.password, **where) as client:
            yield client


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("vk"))
    yield broker
    broker.server.stop()


@pytest.fixture
def settings_of_parts(settings: Settings, broker: Broker) -> dict[str, str]:
    """Each test has a broker of its own: no message of an earlier one wakes a worker."""
    return {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": broker.url,
        "SECRET_KEY": settings.secret_key,
        "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
        "STANDART_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "STANDART_EXPIRY_SWEEP_SECONDS": "1",
        "STANDART_LOG_FORMAT": "json",
    }


@pytest.fixture
def parts(engine: Engine, settings_of_parts: dict[str, str], tmp_path: Path) -> Iterator[Parts]:
    """The parts on the session's PostgreSQL; all of them end before its tables are emptied."""
    with commands(tmp_path) as starter:
        yield Parts(starter, settings_of_parts)


@pytest.fixture
def sink() -> Iterator[Receiver]:
    with receiver() as sink:
        yield sink


@pytest.fixture
def shop(engine: Engine, keyring: Keyring, sink: Receiver) -> TestUser:
    """A merchant whose webhooks go to ``sink``."""
    user = builders.make_user(engine, keyring, webhook_url=sink.url)
    sink.secret = user.webhook_secret
    return user


@pytest.fixture
def operator(engine: Engine, keyring: Keyring) -> TestUser:
    return builders.make_user(engine, keyring, role=Role.ADMIN)


@pytest.fixture
def database_proxy(settings: Settings) -> Iterator[tuple[Proxy, str]]:
    """A proxy before PostgreSQL, and the URL of the application's role through it."""
    url = make_url(settings.database_url)
    if folder := url.query.get("host"):
        proxy = proxy_to(socket.AF_UNIX, f"{folder}/.s.PGSQL.5432")
    else:
        proxy = proxy_to(socket.AF_INET, (str(url.host), int(url.port or 5432)))
    with proxy as running:
        through = url.set(query={}, host="127.0.0.1", port=running.port)
        yield running, through.render_as_string(hide_password=False)
