"""How quick the panel is on a large database: ``python -m benchmarks.panel --data-dir D``.

``D`` was filled by ``python -m benchmarks.fill``. The app runs in this process and answers its
own test client, so what is measured is the server's time, templates included: no network and no
browser. Each page is asked for a few times first, for what is measured is a warm one.
"""

from __future__ import annotations

import argparse
import re
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from benchmarks.fill.people import name_of
from benchmarks.metering import cpu_seconds
from benchmarks.panel_pages import ADMIN, API, LIST, MERCHANT, OPERATOR, VIEWER, Asked, pages
from benchmarks.report import machine, write_json
from standart import migrations
from standart.app import create_app
from standart.config import Settings
from standart.db import autocommit, make_engine, transaction
from standart.embedded import EngineError, start_postgres
from standart.embedded.data_dir import tree_secrets
from standart.encryption import Keyring
from standart.models import Role, Scope
from standart.services import key_service, sums_service, user_service
from standart.services.access import SYSTEM

STAFF: Final = {
    ADMIN: ("benchmark-admin", Role.ADMIN),
    OPERATOR: ("benchmark-operator", Role.OPERATOR),
    VIEWER: ("benchmark-viewer", Role.VIEWER),
}
PASSWORD: Final = "of a benchmark, on a server of its own"
WARM: Final = 3
MOST_QUERIES: Final = 12


@dataclass(frozen=True, slots=True)
class Page:
    """What one page cost: milliseconds of the server, statements, bytes of the answer.

    ``cpu_ms`` is the processor time of app and database together, the mean of all rounds: on a
    machine that does other things as well it is what a quiet one would take.
    """

    name: str
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    queries: int
    bytes: int


class Meter:
    """A client of the panel or of the API, and the statements that its requests send."""

    def __init__(self, app: Flask, database: int) -> None:
        """``database`` is the process of the database server."""
        self.database = database
        self.client: FlaskClient = app.test_client()
        self.headers: dict[str, str] = {}
        self.token = ""
        self.sent: list[str] = []
        from standart.extensions import db

        with app.app_context():
            engines = [db.engine, app.extensions["standart.engine"]]
        for engine in engines:
            event.listen(engine, "before_cursor_execute", self._hear)

    def log_in(self, name: str) -> None:
        """Enter the panel.

        Raises:
            RuntimeError: it does not let this user in.
        """
        page = self.client.get("/login").text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        form = {"csrf_token": token, "name": name, "password": PASSWORD}
        answer = self.client.post("/login", data=form)
        if answer.status_code != 303:
            raise RuntimeError(f"{name} could not log in: {answer.status}")
        page = self.client.get(f"{LIST}export").text
        self.token = page.partition('name="csrf_token" value="')[2].partition('"')[0]

    def _hear(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        self.sent.append(statement)

    def measure(self, asked: Asked, rounds: int) -> Page:
        """Ask for a page again and again.

        Raises:
            RuntimeError: it does not come.
        """
        took: list[float] = []
        size = queries = 0
        before = 0.0
        for number in range(WARM + rounds):
            self.sent.clear()
            began = time.perf_counter()
            answer = self._ask(asked)
            spent = (time.perf_counter() - began) * 1000
            if answer.status_code not in (200, 303):
                raise RuntimeError(f"{asked.path}: {answer.status}")
            queries, size = len(self.sent), len(answer.data)
            if number >= WARM:
                took.append(spent)
            elif number == WARM - 1:
                before = self._cpu_seconds()
        cpu = (self._cpu_seconds() - before) / rounds * 1000
        took.sort()
        p95 = took[max(0, round(0.95 * len(took)) - 1)]
        p50 = statistics.median(took)
        return Page(asked.name, round(p50, 1), round(p95, 1), round(cpu, 1), queries, size)

    def _ask(self, asked: Asked) -> TestResponse:
        if asked.form is None:
            return self.client.get(asked.path, headers=self.headers)
        return self.client.post(asked.path, data={"csrf_token": self.token, **asked.form})

    def _cpu_seconds(self) -> float:
        return time.process_time() + cpu_seconds(self.database)

    def export(self, path: str, *, method: str = "POST") -> dict[str, float]:
        """Download all of a file, and throw it away as it comes.

        Raises:
            RuntimeError: it does not come.
        """
        data = {"csrf_token": self.token} if method == "POST" else None
        before, began = psutil.Process().memory_info().rss, time.perf_counter()
        spent = self._cpu_seconds()
        answer = self.client.open(path, method=method, data=data, buffered=False)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        chunks = iter(answer.response)
        size = len(next(chunks))
        first, most = time.perf_counter() - began, before
        for number, chunk in enumerate(chunks):
            size += len(chunk)
            if number % 20 == 0:
                most = max(most, psutil.Process().memory_info().rss)
        return {
            "first_byte_ms": round(first * 1000, 1),
            "seconds": round(time.perf_counter() - began, 1),
            "cpu_seconds": round(self._cpu_seconds() - spent, 1),
            "megabytes": round(size / 1e6, 1),
            "memory_before_mb": round(before / 1e6, 1),
            "memory_at_most_mb": round(most / 1e6, 1),
        }


def prepare(engine: Engine, keyring: Keyring) -> str:
    """Let people of each role and the big merchant log in; return an admin's API key."""
    with Session(engine) as session, transaction(session):
        for name, role in STAFF.values():
            if user_service.find_user(session, name) is None:
                user_service.create_user(
                    session,
                    SYSTEM,
                    keyring,
                    name=name,
                    currency="RUB",
                    role=role,
                    password=PASSWORD,
                )
        merchant = user_service.find_user(session, name_of(1))
        if merchant is None:
            raise RuntimeError("this data dir was not filled by benchmarks.fill")
        user_service.update_user(session, SYSTEM, merchant, password=PASSWORD)
        admin = user_service.find_user(session, STAFF[ADMIN][0])
        assert admin is not None
        return key_service.create_key(session, SYSTEM, admin, scopes=[Scope.READ])[1]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Flask, Settings, int]]:
    """Hold the app on the database of a data dir, and the process of its server."""
    postgres = start_postgres(folder)
    try:
        secrets = tree_secrets(folder, {})
        settings = Settings.from_env(
            {
                "DATABASE_URL": postgres.app_url,
                "STANDART_MIGRATION_DATABASE_URL": postgres.owner_url,
                "REDIS_URL": "redis://127.0.0.1:1/0",
                **secrets,
            }
        )
        owner = make_engine(postgres.owner_url, pool_size=1)
        migrations.upgrade(owner, postgres.app_url)
        owner.dispose()
        yield create_app(settings), settings, postgres.process.pid
    finally:
        postgres.stop()


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure everything; return the figures."""
    with serving(options.data_dir) as (app, settings, server):
        engine = make_engine(settings.database_url, pool_size=2)
        key = prepare(engine, Keyring.parse(settings.encryption_keys))
        with autocommit(engine) as connection:
            began = time.perf_counter()
            counted = sums_service.keep(connection)
            summed = time.perf_counter() - began
            print(f"summed {counted:,} moments in {summed:.1f} s", flush=True)
            rows = int(connection.scalar(text("SELECT count(*) FROM transactions")) or 0)
            asked = [each for each in pages(connection) if re.search(options.only, each.name)]
        meters = _meters(app, server, key)
        measured: dict[str, list[Page]] = {who: [] for who in meters}
        for each in asked:
            for who in each.who:
                page = meters[who].measure(each, options.rounds)
                measured[who].append(page)
                print(
                    f"{who:13} {page.name:48} {page.p50_ms:8.1f} {page.p95_ms:8.1f} ms"
                    f" {page.cpu_ms:7.1f} cpu {page.queries:4}"
                    f"{'!' if page.queries > MOST_QUERIES else ' '} {page.bytes:9,}",
                    flush=True,
                )
        exports = {}
        if not options.no_export:
            with autocommit(engine) as connection:
                run_id = connection.scalar(_LARGEST_RUN)
            for name, (path, method) in {
                **EXPORTS,
                "reconciliation, csv": (f"/admin/reconciliation/runs/{run_id}/report", "GET"),
            }.items():
                exports[name] = meters[ADMIN].export(path, method=method)
                print(name, exports[name], flush=True)
        engine.dispose()
    return {
        "machine": machine(),
        "transactions": rows,
        "summed": {"moments": counted, "seconds": round(summed, 1)},
        "pages": {who: [asdict(page) for page in each] for who, each in measured.items()},
        "exports": exports,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
    }


EXPORTS: Final = {
    "transactions, csv": (f"{LIST}export/csv", "POST"),
    "transactions, xlsx": (f"{LIST}export/xlsx", "POST"),
    "audit log, csv": ("/admin/audit/export", "POST"),
}
_LARGEST_RUN = text("SELECT id FROM reconciliations ORDER BY lines DESC LIMIT 1")


def _meters(app: Flask, server: int, key: str) -> dict[str, Meter]:
    names = {**{who: name for who, (name, _) in STAFF.items()}, MERCHANT: name_of(1)}
    meters = {who: Meter(app, server) for who in (*names, API)}
    for who, name in names.items():
        meters[who].log_in(name)
    meters[API].headers = {"Authorization": f"Bearer {key}"}
    return meters


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the JSON file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="filled by benchmarks.fill")
    parser.add_argument("--rounds", type=int, default=40, help="measured requests of each page")
    parser.add_argument("--only", default="", help="a pattern of the names of pages")
    parser.add_argument("--no-export", action="store_true", help="leave the exports out")
    parser.add_argument(
        "--json", type=Path, default=Path("build/benchmarks/panel.json"), help="file to write"
    )
    options = parser.parse_args(arguments)
    options.data_dir = options.data_dir.absolute()
    try:
        figures = run(options)
    except (EngineError, RuntimeError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
