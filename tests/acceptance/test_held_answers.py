"""A server that holds answers ends as soon as it is told to, and loses none of them."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Engine, text

from standart.config import Settings
from standart.serving import WORKER_STOP_SECONDS, Options
from tests.acceptance.conftest import environment
from tests.acceptance.http import Http
from tests.builders import TestUser
from tests.integration.concurrency import wait_until
from tests.ports import free_port


def has_looked(superuser: Engine) -> bool:
    """Whether the server's last question was for events behind some place."""
    with superuser.connect() as connection:
        return bool(
            connection.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'standart'"
                    " AND query LIKE '%row_to_json(w)%'"
                )
            )
        )


def test_a_held_answer_is_given_when_the_server_is_told_to_end(
    settings: Settings, tmp_path: Path, merchant: TestUser, superuser: Engine
) -> None:
    options = Options("127.0.0.1", free_port(), 1, "json", "INFO")
    log = tmp_path / "log"
    http = Http(options.port, log)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "standart.serving", json.dumps(asdict(options))],
            env=environment(settings, tmp_path),
            stdout=file,
            stderr=file,
        )
    try:
        wait_until(http.is_alive)
        after = http.call("GET", "/events?after=now", key=merchant.key).json()["next"]
        with ThreadPoolExecutor(1) as pool:
            path = f"/events?after={after}&wait=25"
            held = pool.submit(http.call, "GET", path, key=merchant.key)
            wait_until(lambda: has_looked(superuser))
            # Whoever comes now is answered: what is held holds up nobody.
            assert http.is_alive()
            process.terminate()
            reply = held.result(WORKER_STOP_SECONDS)
    finally:
        process.terminate()
        process.wait(20)
    assert (reply.status, reply.json()["data"]) == (200, [])
    assert "Killing" not in log.read_text()
