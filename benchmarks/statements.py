"""What a long statement costs: ``python -m benchmarks.statements``.

One merchant gets a million movements (``benchmarks.fill``), then its statement is read over
HTTP in each format from a server of one process: when the first byte of the body is there,
how long all of it takes, and how much memory the process has before, at its most and after.
The file is added up afterwards and compared with the ledger, which is asked by other means.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psutil
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.orm import Session

from benchmarks.fill import Options, fill
from benchmarks.fill.people import name_of
from benchmarks.report import machine, write_json
from benchmarks.stage import NotStarted, Prepared, Stage, free_port, server_settings, staged
from standart.db import transaction
from standart.embedded import EngineError
from standart.encryption import Keyring
from standart.models import Role, Scope, User
from standart.services import key_service
from standart.services.access import SYSTEM

DATABASE = "statements"
FORMATS = ("csv", "json", "xlsx")
PIECE = 256 * 1024
SAMPLE_SECONDS = 0.05

MOVED = text(
    """
    SELECT count(DISTINCT e.journal_id) AS movements,
        sum(e.amount) FILTER (WHERE e.kind = 'available') AS net,
        sum(e.amount) FILTER (WHERE e.kind = 'pending_payout') AS reserved
    FROM entries e WHERE e.user_id = :user_id AND e.currency = 'RUB'
    """
)


@dataclass(frozen=True, slots=True)
class Sums:
    """What the movements of a statement come to, in minor units."""

    movements: int
    net: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds, bytes, and megabytes of the serving process's resident memory."""

    first_byte: float
    total: float
    size: int
    before: float
    peak: float
    after: float
    equal: bool | None


class Memory:
    """The resident memory of a server's only worker, watched while the block runs."""

    def __init__(self, server: int) -> None:
        (self._worker,) = psutil.Process(server).children()
        self.peak = 0.0

    def now(self) -> float:
        """Return what it has, in MB."""
        return float(self._worker.memory_info().rss) / 1e6

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep ``peak`` while the block runs."""
        self.peak, done = self.now(), threading.Event()

        def watch() -> None:
            while not done.wait(SAMPLE_SECONDS):
                self.peak = max(self.peak, self.now())

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield
        finally:
            done.set()
            watching.join()


def download(port: int, key: str, path: str, file: Path) -> tuple[float, float, int]:
    """Write an answer to ``file``; return seconds to its first byte and its last, and its size.

    Raises:
        NotStarted: the server refused it.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600.0)
    began = time.monotonic()
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    first = answer.read(1)
    first_byte = time.monotonic() - began
    if answer.status != http.client.OK:
        raise NotStarted(f"{answer.status}: {answer.read()!r}")
    size = len(first)
    with file.open("wb") as written:
        written.write(first)
        while piece := answer.read(PIECE):
            size += written.write(piece)
    connection.close()
    return first_byte, time.monotonic() - began, size


def minor(written: str) -> int:
    """Return roubles as kopecks."""
    return int(Decimal(written).scaleb(2))


def sums_of_csv(file: Path) -> Sums:
    """Add up the movements of a table."""
    movements = net = reserved = 0
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["number"]:
                movements += 1
                net += minor(row["net"])
                reserved += minor(row["reserved"])
    return Sums(movements, net, reserved)


def sums_of_json(file: Path) -> Sums:
    """Add up the movements of a document."""
    with file.open(encoding="utf-8") as text_:
        found = json.load(text_)["movements"]
    return Sums(
        len(found),
        sum(minor(each["net"]) for each in found),
        sum(minor(each["reserved"]) for each in found),
    )


SUMS: dict[str, Callable[[Path], Sums]] = {"csv": sums_of_csv, "json": sums_of_json}


def prepare(stage: Stage, movements: int) -> tuple[Prepared, str, UUID, Sums]:
    """Return a database with so many movements, an admin's key, the merchant, its ledger."""
    prepared = stage.prepare(DATABASE)
    superuser = create_engine(stage.superuser(DATABASE))
    keyring = Keyring.parse(stage.encryption_keys)
    # A part of what is made is in other currencies, and is not in the statement.
    options = Options(
        transactions=movements * 5 // 4,
        merchants=1,
        big=1.0,
        confirmed=1.0,
        canceled=0.0,
        pending=0.0,
    )
    fill(superuser, keyring, options, lambda step: print(f"  {step}", flush=True))
    with Session(superuser) as session, transaction(session):
        admin = session.scalars(select(User).where(User.role == Role.ADMIN)).first()
        merchant = session.scalars(select(User).where(User.name == name_of(1))).one()
        assert admin is not None
        _, key = key_service.create_key(session, SYSTEM, admin, scopes=[Scope.READ])
        merchant_id = merchant.id
    ledger = read_ledger(superuser, merchant_id)
    superuser.dispose()
    return prepared, key, merchant_id, ledger


def read_ledger(superuser: Engine, user_id: UUID) -> Sums:
    """Return what all entries of a merchant come to."""
    with superuser.connect() as connection:
        row = connection.execute(MOVED, {"user_id": user_id}).one()
    return Sums(row.movements, int(row.net or 0), int(row.reserved or 0))


def measure(stage: Stage, movements: int, rounds: int, formats: Sequence[str]) -> dict[str, object]:
    """Return the figures of each format."""
    prepared, key, merchant, ledger = prepare(stage, movements)
    port = free_port()
    command = [sys.executable, "-P", "-m", "standart", "serve", "--host", "127.0.0.1"]
    environment = stage.environment(prepared.url, prepared.owner_url)
    server = stage.serve(
        "statements", [*command, "--port", str(port), "--workers", "1"], port, environment
    )
    memory = Memory(server.pid)
    span = "from=2025-01-01T00:00:00Z&to=2026-12-31T00:00:00Z"
    found: dict[str, list[Figures]] = {form: [] for form in formats}
    print(f"\n{ledger.movements} movements; seconds and MB")
    print(
        f"{'':6}{'first byte':>12}{'all':>9}{'file':>9}{'before':>9}{'peak':>9}{'after':>9}  sums"
    )
    for _ in range(rounds):
        for form in formats:
            file = stage.folder / f"statement.{form}"
            path = f"/statement?user_id={merchant}&format={form}&{span}"
            before = memory.now()
            with memory.watched():
                first, total, size = download(port, key, path, file)
            equal = SUMS[form](file) == ledger if form in SUMS else None
            figures = Figures(first, total, size, before, memory.peak, memory.now(), equal)
            found[form].append(figures)
            print(
                f"{form:6}{first:12.3f}{total:9.1f}{size / 1e6:9.1f}{before:9.1f}"
                f"{figures.peak:9.1f}{figures.after:9.1f}"
                f"  {'-' if equal is None else 'equal' if equal else 'DIFFERENT'}",
                flush=True,
            )
    return {
        "machine": machine(),
        "server": server_settings(stage),
        "ledger": asdict(ledger),
        "formats": {form: [asdict(each) for each in own] for form, own in found.items()},
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and keep the figures; exit code 1 where sums differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statements", description=__doc__)
    parser.add_argument("--movements", type=int, default=1_000_000)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("build/bench-statements.json"))
    given = parser.parse_args(arguments)
    try:
        with staged() as stage:
            figures = measure(stage, given.movements, given.rounds, given.formats)
    except (NotStarted, EngineError) as error:
        print(f"statements: {error}", file=sys.stderr)
        return 1
    write_json(given.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
