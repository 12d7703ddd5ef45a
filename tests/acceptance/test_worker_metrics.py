"""A worker by itself shows what it counts, on a port of its own."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from standart.config import Settings
from tests.acceptance.processes import Commands, commands, until
from tests.ports import free_port


@pytest.fixture
def variables(settings: Settings, engine: Engine) -> dict[str, str]:
    return {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key,
        "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
    }


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Commands]:
    with commands(tmp_path) as starter:
        yield starter


def scraped(port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError):
        return ""


@pytest.mark.parametrize("by", ["option", "setting"])
def test_a_worker_has_a_port_of_its_own(
    started: Commands, variables: dict[str, str], by: str
) -> None:
    port = free_port()
    arguments, more = ["worker"], {"STANDART_WORKER_METRICS_PORT": str(port)}
    if by == "option":
        arguments, more = ["worker", "--metrics-port", str(port)], {}
    running = started.start(arguments, variables | more)
    until(lambda: "standart_delivery_age_seconds" in scraped(port), "a scrape after a sweep")
    text = scraped(port)
    assert 'standart_webhook_in_flight{lane="normal"} 0.0' in text
    assert "standart_webhook_attempts_total" in text
    assert running.stop() == 0
    assert scraped(port) == ""


def test_a_port_in_use_names_the_workers_own_setting(
    started: Commands, variables: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        running = started.start(["worker", "--metrics-port", str(port)], variables)
        assert running.process.wait(60) == 2
    assert "STANDART_WORKER_METRICS_PORT" in running.logged
    assert running.logged.count("\n") == 1
