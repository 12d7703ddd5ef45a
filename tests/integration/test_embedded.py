"""The embedded engines: who may enter, what survives a kill, where they listen."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psutil
import psycopg
import pytest
from kombu import Connection
from kombu.exceptions import OperationalError
from psycopg import sql

from standart.embedded import EngineError, Postgres, Valkey, start_postgres, start_valkey
from standart.embedded import postgres as postgres_engine
from standart.embedded import valkey as valkey_engine
from standart.embedded.process import loopback_port, processes_in
from tests.ports import free_port

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data dir with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="st-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@contextmanager
def postgres(folder: Path, *, durable: bool = False) -> Iterator[Postgres]:
    server = start_postgres(folder, durable=durable)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def valkey(folder: Path) -> Iterator[Valkey]:
    server = start_valkey(folder)
    try:
        yield server
    finally:
        server.stop()


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)


def ask(url: str, query: str) -> object:
    with connect(url) as connection:
        row = connection.execute(sql.SQL(query)).fetchone()
        return row and row[0]


def client_of(connection: Connection) -> Any:
    """The Redis client below: kombu's transports have no common type for it."""
    return cast("Any", connection.default_channel).client


def test_roles_have_the_rights_their_names_say(folder: Path) -> None:
    with postgres(folder) as server:
        assert ask(server.app_url, "SELECT current_user") == "standart_app"
        assert ask(server.app_url, "SELECT current_setting('is_superuser')") == "off"
        with connect(server.owner_url) as owner:
            owner.execute("CREATE TABLE thing (a int)")
        for statement in ("CREATE TABLE other (a int)", "SELECT * FROM thing"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ask(server.app_url, statement)
        assert (
            ask(
                server.superuser_url,
                "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256%'",
            )
            == 3
        )


@pytest.mark.parametrize("role", ["postgres", "standart_owner", "standart_app"])
def test_a_wrong_password_opens_nothing(folder: Path, role: str) -> None:
    with postgres(folder) as server:
        socket_folder = folder / "run"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host=str(socket_folder), user=role, password="x", dbname="standart")
        assert ask(server.owner_url, "SHOW listen_addresses") == ""


def test_nothing_in_the_data_dir_is_open_to_others(folder: Path) -> None:
    with postgres(folder), valkey(folder):
        modes = {
            path: stat.S_IMODE(path.lstat().st_mode)
            for path in folder.rglob("*")
            if not path.is_symlink()
        }
        assert len(modes) > 100
        assert [path for path, mode in modes.items() if mode & 0o077] == []


def test_rows_survive_a_kill_of_everything(folder: Path) -> None:
    with postgres(folder, durable=True) as server:
        with connect(server.owner_url) as owner:
            owner.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            assert ask(server.owner_url, "SHOW fsync") == "on"
        first_url = server.app_url
        for process in processes_in(folder / "postgres" / "data", "postgres"):
            with suppress(psutil.NoSuchProcess):  # the others end when the first one does
                process.kill()
        server.process.wait()
    assert (folder / "postgres" / "data" / "postmaster.pid").exists()
    with postgres(folder, durable=True) as server:
        assert server.app_url == first_url
        assert ask(server.owner_url, "SELECT answer FROM kept") == 42


def test_a_predecessor_that_still_runs_is_ended_first(folder: Path) -> None:
    with (
        postgres(folder) as old,
        valkey(folder) as old_broker,
        postgres(folder) as new,
        valkey(folder) as new_broker,
    ):
        assert old.process.wait(5) == 0
        assert old_broker.process.wait(5) == 0
        assert ask(new.app_url, "SELECT 1") == 1
        assert new_broker.process.poll() is None


def test_a_stale_pid_file_that_names_a_stranger_is_no_obstacle(folder: Path) -> None:
    with postgres(folder):
        pass
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        stale = f"{stranger.pid}\n{folder}/postgres/data\n1\n5432\n\n\n0 0\nready\n"
        (folder / "postgres" / "data" / "postmaster.pid").write_text(stale)
        with postgres(folder) as server:
            assert ask(server.app_url, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_initdb_that_was_cut_off_is_done_again(folder: Path) -> None:
    half = folder / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with postgres(folder) as server:
        assert ask(server.app_url, "SELECT 1") == 1
    assert not half.exists()


def test_a_path_too_long_for_a_socket_means_loopback(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(preferred: int = 0) -> int:
        return loopback_port(preferred or free_port())

    for engine in (postgres_engine, valkey_engine):
        monkeypatch.setattr(engine, "loopback_port", chosen)
    deep = folder / ("d" * 50) / ("e" * 50)
    with postgres(deep) as server, valkey(deep) as broker:
        assert "@127.0.0.1:" in server.app_url
        assert "@127.0.0.1:" in broker.url
        assert ask(server.app_url, "SELECT 1") == 1
        assert ask(server.superuser_url, "SHOW unix_socket_directories") == ""
        first_url = server.app_url
        listening = {
            connection.laddr.ip
            for process in (server.process, broker.process)
            for connection in psutil.Process(process.pid).net_connections("inet")
        }
        assert listening == {"127.0.0.1"}
    with postgres(deep) as server:
        assert server.app_url == first_url


def test_the_broker_wants_its_password_and_never_evicts(folder: Path) -> None:
    with valkey(folder) as broker:
        with Connection(broker.url) as connection:
            client = client_of(connection)
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            client.set("kept", "1")
            client.save()
        stranger = broker.url.replace(broker.url.split(":")[2].split("@")[0], "wrong")
        refused = pytest.raises(OperationalError, match="invalid username-password")
        with Connection(stranger) as connection, refused:
            client_of(connection).ping()
        broker.process.kill()
        broker.process.wait()
    with valkey(folder) as broker, Connection(broker.url) as connection:
        assert client_of(connection).get("kept") == b"1"


def test_passwords_are_in_no_command_line(folder: Path) -> None:
    with postgres(folder) as server, valkey(folder) as broker:
        secret_words = [
            line.partition("=")[2]
            for name in ("postgres", "valkey")
            for line in (folder / name / "credentials").read_text().splitlines()
        ]
        assert len(secret_words) == 4
        for process in (server.process, broker.process):
            seen = psutil.Process(process.pid)
            shown = " ".join([*seen.cmdline(), *seen.environ().values()])
            assert not any(word in shown for word in secret_words)


@pytest.mark.skipif(not AS_ROOT, reason="needs root")
def test_root_below_a_closed_parent_runs_unprivileged_and_widens_nothing(folder: Path) -> None:
    folder.chmod(0o700)
    middle = folder / "closed"
    middle.mkdir(mode=0o700)
    with postgres(middle / "data") as server, valkey(middle / "data") as broker:
        assert ask(server.app_url, "SELECT 1") == 1
        for process in (server.process, broker.process):
            seen = psutil.Process(process.pid)
            assert seen.uids().effective != 0
            assert seen.gids().effective != 0
    for path in (folder, middle, middle / "data"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.skipif(not AS_ROOT or sys.platform != "linux", reason="root plays an ordinary user")
def test_an_ordinary_user_needs_no_rights(folder: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from standart.embedded import start_postgres, start_valkey\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "server, broker = start_postgres(folder, durable=False), start_valkey(folder)\n"
        "server.stop(), broker.stop()\n"
        "print(server.process.returncode, broker.process.returncode)\n"
    )
    command = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    done = subprocess.run(
        [*command, sys.executable, "-c", program, str(folder / "d")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare failed" in done.stderr:
        pytest.skip("no user namespaces here")
    assert (done.stdout, done.stderr) == ("0 0\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_engines_end_when_the_starting_process_is_killed(folder: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from standart.embedded import start_postgres, start_valkey\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "server, broker = start_postgres(folder, durable=False), start_valkey(folder)\n"
        "print(server.process.pid, broker.process.pid, flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout
        engines = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(engines, timeout=20)
    assert len(engines) == 2
    assert alive == []


def test_a_reason_is_one_line(folder: Path) -> None:
    with postgres(folder):
        pass
    (folder / "postgres" / "custom.conf").write_text("shared_buffers = nonsense\n")
    with pytest.raises(EngineError, match="did not start") as caught:
        start_postgres(folder)
    assert "custom.conf" in str(caught.value)
    assert "\n" not in str(caught.value)
