"""Whom to measure: Standart, the naive service on two kinds of workers, the bare database."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import URL

from benchmarks.clients import Pgbench, Wrk
from benchmarks.metering import cpu_seconds
from benchmarks.rounds import Round, check_rows
from benchmarks.stage import (
    HERE,
    NotStarted,
    Prepared,
    Stage,
    free_port,
    pgbench_environment,
    postgres_program,
    reference_python,
    shown,
)
from benchmarks.statement import pgbench_script
from standart.services import transaction_sql
from standart.services.key_service import digest_of

STANDART = "Standart"

NAIVE_FOLDER = HERE / "references" / "naive"
NAIVE_DATABASE = "naive"
NAIVE_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What every contender gets alike."""

    connections: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A client that loads it, the server's process, and the database its rows go to."""

    name: str
    client: Wrk | Pgbench
    server_pid: int | None
    database: str

    def round(self, stage: Stage, seconds: float) -> Round:
        """Run one round and prove by the rows that it did what it reports.

        Raises:
            Distorted: a request failed, or answers and rows do not agree.
        """
        rows = stage.settled_count(self.database)
        # Nobody pays for the dirty pages of the one before.
        stage.execute("CHECKPOINT")
        before = self._cpu(stage)
        measured = self.client.run(seconds)
        after = self._cpu(stage)
        new_rows = stage.settled_count(self.database) - rows
        check_rows(self.name, measured, new_rows, self.client.connections)
        return dataclasses.replace(
            measured, server_cpu=after[0] - before[0], database_cpu=after[1] - before[1]
        )

    def _cpu(self, stage: Stage) -> tuple[float, float]:
        server = 0.0 if self.server_pid is None else cpu_seconds(self.server_pid)
        return server, cpu_seconds(stage.postgres.process.pid)


def make_standart(stage: Stage, load: Load) -> Contender:
    """Start Standart as ``standart serve`` does in production, with its own settings."""
    prepared = stage.prepare("standart")
    port = free_port()
    command = [sys.executable, "-P", "-m", "standart", "serve", "--host", "127.0.0.1"]
    process = stage.serve(
        "standart",
        [*command, "--port", str(port), "--workers", str(load.workers)],
        port,
        stage.environment(prepared.url, prepared.owner_url),
    )
    return Contender(
        name=STANDART,
        client=Wrk(port=port, api_key=prepared.api_key, connections=load.connections),
        server_pid=process.pid,
        database=str(prepared.url.database),
    )


def make_naive(stage: Stage, load: Load) -> Contender:
    """Start the naive service with gunicorn's default workers, which end each connection."""
    return _make_naive("naive, gunicorn sync", stage, load, [])


def make_naive_threads(stage: Stage, load: Load) -> Contender:
    """Start the naive service with threads, which keep connections alive."""
    threads = ["--worker-class", "gthread", "--threads", str(NAIVE_THREADS)]
    return _make_naive("naive, gunicorn gthread", stage, load, threads)


def _make_naive(name: str, stage: Stage, load: Load, more: Sequence[str]) -> Contender:
    python = reference_python()
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": shown(naive_database(stage))}
    made = subprocess.run(
        [python, NAIVE_FOLDER / "app.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise NotStarted(f"{name}: {made.stderr.strip()}")
    port = free_port()
    command = [str(python), "-m", "gunicorn", "--chdir", str(NAIVE_FOLDER), "app:app"]
    place = ["--bind", f"127.0.0.1:{port}", "--workers", str(load.workers)]
    process = stage.serve(name, [*command, *place, *more], port, environment)
    return Contender(
        name=name,
        client=Wrk(port=port, api_key=made.stdout.strip(), connections=load.connections),
        server_pid=process.pid,
        database=NAIVE_DATABASE,
    )


def naive_database(stage: Stage) -> URL:
    """Return the URL of the naive services' database, made on the first call."""
    password = "naive"
    if not stage.execute("SELECT 1 FROM pg_roles WHERE rolname = 'naive'"):
        stage.execute(f"CREATE ROLE naive LOGIN PASSWORD '{password}'")
        stage.make_database(NAIVE_DATABASE, "naive")
    return stage.superuser(NAIVE_DATABASE).set(username="naive", password=password)


def make_pgbench(stage: Stage, load: Load) -> Contender:
    """Let pgbench run Standart's create statement, with nothing of Standart around it."""
    prepared = stage.prepare("bare")
    script = stage.folder / "create.sql"
    text, defines = create_script(prepared)
    script.write_text(text, encoding="utf-8")
    client = Pgbench(
        binary=postgres_program("pgbench"),
        environment=pgbench_environment(prepared.url),
        script=script,
        options=defines,
        connections=load.connections,
    )
    return Contender(
        name="pgbench", client=client, server_pid=None, database=str(prepared.url.database)
    )


def create_script(prepared: Prepared) -> tuple[str, list[str]]:
    """Return the pgbench script that creates as the HTTP client's requests do."""
    return pgbench_script(
        transaction_sql.CREATE[True],
        values={
            "digest": "\\x" + digest_of(prepared.api_key).value.hex(),
            "scope": "write",
            "currency": "RUB",
            "user_id": None,
            "reference": "order-1",
            "description": None,
            "metadata": "{}",
            "ttl": "900",
            "path": "/create_transaction",
            "fingerprint": "\\x" + "5a" * 32,
            "answer_status": "201",
        },
        drawn={
            "id": "SQL uuidv7()",
            "event_id": "SQL uuidv7()",
            "key": "random(1, 9000000000000000000)",
            "amount": "random(1, 5000)",
        },
    )


MAKERS: Mapping[str, Callable[[Stage, Load], Contender]] = {
    "standart": make_standart,
    "naive": make_naive,
    "naive-threads": make_naive_threads,
    "pgbench": make_pgbench,
}
