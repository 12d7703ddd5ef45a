"""How quick the panel is on a large database: ``python -m benchmarks.panel --data-dir D``.

``D`` was filled by ``python -m benchmarks.fill``. The app runs in this process and answers its
own test client, so what is measured is the server's time, templates included: no network and no
browser. Each page is asked for a few times first, for what is measured is a warm one.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psutil
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from benchmarks.fill.people import name_of
from benchmarks.metering import cpu_seconds
from benchmarks.report import machine, write_json
from standart import migrations
from standart.app import create_app
from standart.config import Settings
from standart.db import autocommit, make_engine, transaction
from standart.embedded import EngineError, start_postgres
from standart.embedded.data_dir import tree_secrets
from standart.encryption import Keyring
from standart.models import Role
from standart.services import sums_service, user_service
from standart.services.access import SYSTEM

STAFF: Final = "benchmark-admin"
PASSWORD: Final = "of a benchmark, on a server of its own"
LIST: Final = "/admin/transactions/"
WARM: Final = 3


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
    """A logged-in client, and the statements that its requests send."""

    def __init__(self, app: Flask, name: str, database: int) -> None:
        """``database`` is the process of the database server."""
        self.database = database
        self.client: FlaskClient = app.test_client()
        self.sent: list[str] = []
        from standart.extensions import db

        with app.app_context():
            engines = [db.engine, app.extensions["standart.engine"]]
        for engine in engines:
            event.listen(engine, "before_cursor_execute", self._hear)
        page = self.client.get("/login").text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        self.token = token
        form = {"csrf_token": token, "name": name, "password": PASSWORD}
        answer = self.client.post("/login", data=form)
        if answer.status_code != 303:
            raise RuntimeError(f"{name} could not log in: {answer.status}")

    def _hear(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        self.sent.append(statement)

    def measure(self, name: str, path: str, rounds: int) -> Page:
        """Ask for a page again and again."""
        took: list[float] = []
        size = queries = 0
        before = 0.0
        for number in range(WARM + rounds):
            self.sent.clear()
            began = time.perf_counter()
            answer = self.client.get(path)
            spent = (time.perf_counter() - began) * 1000
            if answer.status_code not in (200, 303):
                raise RuntimeError(f"{path}: {answer.status}")
            queries, size = len(self.sent), len(answer.data)
            if number >= WARM:
                took.append(spent)
            elif number == WARM - 1:
                before = self._cpu_seconds()
        cpu = (self._cpu_seconds() - before) / rounds * 1000
        took.sort()
        p95 = took[max(0, round(0.95 * len(took)) - 1)]
        p50 = statistics.median(took)
        return Page(name, round(p50, 1), round(p95, 1), round(cpu, 1), queries, size)

    def _cpu_seconds(self) -> float:
        return time.process_time() + cpu_seconds(self.database)

    def export(self, form: str) -> dict[str, float]:
        """Download everything, and throw it away as it comes."""
        page = self.client.get(f"{LIST}export").text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        before, began = psutil.Process().memory_info().rss, time.perf_counter()
        answer = self.client.post(
            f"{LIST}export/{form}", data={"csrf_token": token}, buffered=False
        )
        if answer.status_code != 200:
            raise RuntimeError(f"export: {answer.status}")
        chunks = iter(answer.response)
        size = len(next(chunks))
        first, most = time.perf_counter() - began, before
        for number, chunk in enumerate(chunks):
            size += len(chunk)
            if number % 50 == 0:
                most = max(most, psutil.Process().memory_info().rss)
        return {
            "first_byte_ms": round(first * 1000, 1),
            "seconds": round(time.perf_counter() - began, 1),
            "megabytes": round(size / 1e6, 1),
            "memory_grew_mb": round((most - before) / 1e6, 1),
        }


_SAMPLE = text(
    """
    SELECT t.id, t.reference, t.created_at, u.name FROM transactions t
    JOIN users u ON u.id = t.user_id
    WHERE t.user_id = (SELECT id FROM users WHERE name = :name) AND t.reference IS NOT NULL
        AND t.status = 'confirmed'
    ORDER BY t.created_at DESC LIMIT 1 OFFSET 2000
    """
)
_OLDEST = text("SELECT created_at, id FROM transactions ORDER BY created_at, id OFFSET 26 LIMIT 1")
_ANY = "SELECT id FROM {} ORDER BY created_at DESC LIMIT 1"


def pages(connection: Connection) -> dict[str, str]:
    """Return the pages to ask for, by name."""
    sample = connection.execute(_SAMPLE, {"name": name_of(1)}).one()
    oldest = connection.execute(_OLDEST).one()
    last = f"{oldest.created_at.isoformat()}_{oldest.id}".replace("+", "%2B")
    day = sample.created_at.date().isoformat()
    big, small = name_of(1), name_of(150)
    found = {
        "dashboard": "/admin/",
        "dashboard, changing part": "/admin/live",
        "chart, 24 hours": "/admin/chart?period=24h",
        "chart, 7 days": "/admin/chart?period=7d",
        "chart, 30 days": "/admin/chart?period=30d&currency=RUB",
        "list, first page": LIST,
        "list, last page": f"{LIST}?after={last}",
        "list, back from the last page": f"{LIST}?before={last}",
        "list, pending": f"{LIST}?status=pending",
        "list, expired": f"{LIST}?status=expired",
        "list, expired of the big merchant": f"{LIST}?status=expired&user={big}",
        "list, canceled of a small merchant": f"{LIST}?status=canceled&user={small}",
        "list, one currency": f"{LIST}?currency=KZT",
        "list, one day": f"{LIST}?created_from={day}&created_to={day}",
        "list, amounts of a day": f"{LIST}?amount_from=15000&created_from={day}&created_to={day}",
        "list, common amounts": f"{LIST}?amount_from=100&amount_to=200",
        "list, reference of a merchant": f"{LIST}?reference={sample.reference}&user={big}",
        "list, reference of all": f"{LIST}?reference={sample.reference}",
        "one transaction": f"{LIST}{sample.id}",
        "search, id of a transaction": f"/admin/search/?q={sample.id}",
        "search, id of nothing": f"/admin/search/?q={UUID(int=1)}",
        "search, reference": f"/admin/search/?q={sample.reference}",
        "search, name": "/admin/search/?q=merchant-001",
        "export, asked for": f"{LIST}export?user={small}",
    }
    for table, kind in (("refunds", "refund"), ("payouts", "payout"), ("events", "event")):
        found[f"search, id of a {kind}"] = (
            f"/admin/search/?q={connection.scalar(text(_ANY.format(table)))}"
        )
    return found


def prepare(engine: Engine, keyring: Keyring) -> None:
    """Let an admin and the big merchant log in."""
    with Session(engine) as session, transaction(session):
        if user_service.find_user(session, STAFF) is None:
            user_service.create_user(
                session,
                SYSTEM,
                keyring,
                name=STAFF,
                currency="RUB",
                role=Role.ADMIN,
                password=PASSWORD,
            )
        merchant = user_service.find_user(session, name_of(1))
        if merchant is None:
            raise RuntimeError("this data dir was not filled by benchmarks.fill")
        user_service.update_user(session, SYSTEM, merchant, password=PASSWORD)


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
        prepare(engine, Keyring.parse(settings.encryption_keys))
        with autocommit(engine) as connection:
            began = time.perf_counter()
            counted = sums_service.keep(connection)
            summed = time.perf_counter() - began
            print(f"summed {counted:,} moments in {summed:.1f} s", flush=True)
            rows = int(connection.scalar(text("SELECT count(*) FROM transactions")) or 0)
            asked = pages(connection)
        meters = {
            "admin": Meter(app, STAFF, server),
            "big merchant": Meter(app, name_of(1), server),
        }
        measured: dict[str, list[Page]] = {}
        for who, meter in meters.items():
            measured[who] = []
            for name, path in asked.items():
                if who != "admin" and "merchant" in name:
                    continue
                page = meter.measure(name, path, options.rounds)
                measured[who].append(page)
                print(
                    f"{who:13} {page.name:36} {page.p50_ms:8.1f} {page.p95_ms:8.1f} ms"
                    f" {page.cpu_ms:7.1f} cpu"
                    f" {page.queries:4} {page.bytes:9,}",
                    flush=True,
                )
        exports = {}
        if not options.no_export:
            for form in ("csv", "xlsx"):
                exports[form] = meters["admin"].export(form)
                print(form, exports[form], flush=True)
        engine.dispose()
    return {
        "machine": machine(),
        "transactions": rows,
        "summed": {"moments": counted, "seconds": round(summed, 1)},
        "pages": {who: [asdict(page) for page in each] for who, each in measured.items()},
        "exports": exports,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the JSON file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="filled by benchmarks.fill")
    parser.add_argument("--rounds", type=int, default=40, help="measured requests of each page")
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
