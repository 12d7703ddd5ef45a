"""`standart up` as its user sees it: real processes, killed in every way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from sqlalchemy import Engine

from standart import migrations
from standart.config import Settings
from standart.embedded import preparation
from tests.ports import free_port

STANDART = (sys.executable, "-m", "standart")
AS_ROOT = os.geteuid() == 0
ORDINARY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
READY = re.compile(r"^ready (http://\S+)$", re.MULTILINE)

pytestmark = pytest.mark.timeout(180)


def clean_environment(**changes: str) -> dict[str, str]:
    """What a user has who never heard of our settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | changes


def user_namespaces_work() -> bool:
    return subprocess.run([*ORDINARY, "true"], capture_output=True, check=False).returncode == 0


class Up:
    """A running `standart up` and everything it says."""

    def __init__(
        self, data_dir: Path, *prefix: str, options: tuple[str, ...] = (), **environment: str
    ) -> None:
        self.data_dir = data_dir
        self.text = ""
        self.process = subprocess.Popen(
            [*prefix, *STANDART, "up", "--port", "0", "--data-dir", str(data_dir), *options],
            env=clean_environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Read all the time: a full pipe would stop the tree.
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.text += line

    def ready(self) -> Up:
        return self.says(READY.pattern)

    def says(self, pattern: str) -> Up:
        """Wait until what was said matches ``pattern``."""
        deadline = time.monotonic() + 90
        while not re.search(pattern, self.text, re.MULTILINE):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)
        return self

    @property
    def url(self) -> str:
        found = READY.search(self.text)
        assert found
        return found[1]

    @property
    def key(self) -> str:
        found = re.search(r"API key +(sk_live_\w+)", self.text)
        assert found
        return found[1]

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, word: str) -> psutil.Process:
        """The direct child whose command line has ``word``."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # ended since it was listed
                if word in " ".join(child.cmdline()):
                    return child
        raise AssertionError(word)

    def call(self, path: str, body: object = None, key: str = "") -> Any:
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command beside the tree, with nothing set but the data dir."""
        return subprocess.run(
            [*STANDART, *arguments],
            env=clean_environment(STANDART_DATA_DIR=str(self.data_dir)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def stop(self, *, times: int = 1) -> int:
        for _ in range(times):
            self.process.terminate()
        code = self.process.wait(60)
        self.reader.join(60)
        return code


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="st-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


Start = Callable[..., Up]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    made: list[Up] = []

    def start(*prefix: str, **more: Any) -> Up:
        made.append(Up(folder / "data", *prefix, **more))
        return made[-1]

    yield start
    for up in made:
        if up.process.poll() is None:
            up.stop()
        up.reader.join()
        assert up.process.stdout
        up.process.stdout.close()


def refusal(*arguments: str, prefix: tuple[str, ...] = (), **environment: str) -> tuple[int, str]:
    """Run an `up` that cannot start; return exit code and standard error."""
    done = subprocess.run(
        [*prefix, *STANDART, "up", *arguments],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


def gone(processes: list[psutil.Process]) -> bool:
    return psutil.wait_procs(processes, timeout=30)[1] == []


def test_the_first_start_shows_what_works_and_a_second_one_knows_it(
    folder: Path, start: Start
) -> None:
    folder.chmod(0o700)
    up = start().ready()
    made = up.call("/create_transaction", {"amount": "100.00"}, up.key)
    assert (made["status"], made["commission"]) == ("pending", "3.00")
    assert re.search(r"login +admin +password \S{16,}", up.text)
    assert f"curl -X POST {up.url}/create_transaction" in up.text

    code, message = refusal("--data-dir", str(up.data_dir), "--port", "0")
    assert code == 2
    assert f"pid {up.process.pid}" in message

    users = up.command("list-users").stdout
    assert re.search(r"^admin +admin ", users, re.MULTILINE)
    assert re.search(r"^demo +regular ", users, re.MULTILINE)
    deadline = time.monotonic() + 30  # the first sweep comes after its period
    while (examined := up.command("doctor")).returncode:
        assert time.monotonic() < deadline, examined.stdout
    assert "FAIL" not in examined.stdout

    for path in (folder, up.data_dir):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for name in ("environment", "secrets", "lock"):
        assert stat.S_IMODE((up.data_dir / name).stat().st_mode) == 0o600

    family = up.family()
    assert len(family) >= 7
    assert up.stop(times=3) == 0
    assert up.text.rstrip().endswith("stopped")
    assert gone(family)

    again = start().ready()
    assert "sk_live_" not in again.text
    assert "password" not in again.text
    assert again.call(f"/check_transaction?id={made['id']}", key=up.key) == made
    assert again.command("verify").returncode == 0


def test_ctrl_c_ends_the_tree(start: Start) -> None:
    up = start().ready()
    family = up.family()
    for _ in range(2):
        up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    assert gone(family)


def test_a_killed_parent_takes_everybody_along(start: Start) -> None:
    up = start().ready()
    made = up.call("/create_transaction", {"amount": "1.00"}, up.key)
    family = up.family()
    up.process.kill()
    again = start().ready()  # at once, while the others may still be ending
    assert gone(family)
    assert again.call(f"/check_transaction?id={made['id']}", key=up.key) == made


def test_a_start_after_everything_was_killed_needs_no_help(start: Start) -> None:
    up = start().ready()
    made = [up.call("/create_transaction", {"amount": "1.00"}, up.key) for _ in range(20)]
    family = up.family()
    for process in [psutil.Process(up.process.pid), *family]:
        with contextlib.suppress(psutil.NoSuchProcess):  # some end when their parent does
            process.kill()
    assert gone(family)
    again = start().ready()
    for each in made:
        assert again.call(f"/check_transaction?id={each['id']}", key=up.key) == each
    assert again.command("verify").returncode == 0


def test_a_crashed_part_is_started_again_and_said_so(start: Start) -> None:
    up = start().ready()
    for name, word in (("API", "serving"), ("worker", "worker"), ("PostgreSQL", "postgres")):
        up.child(word).kill()
        up.says(rf"{name} ended \(killed by SIGKILL\); starting it again in")
    deadline = time.monotonic() + 60
    while True:
        try:
            made = up.call("/create_transaction", {"amount": "1.00"}, up.key)
            break
        except OSError:
            assert time.monotonic() < deadline, up.text
            time.sleep(0.1)
    assert made["status"] == "pending"


def test_a_stop_while_it_prepares_leaves_nobody(start: Start) -> None:
    up = start().says("schema and first users")
    family = up.family()
    assert len(family) >= 3
    assert up.stop() == 0
    assert gone(family)
    assert READY.search(up.text) is None
    start().ready()


def test_a_port_in_use_is_named(folder: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        code, message = refusal("--data-dir", str(folder / "data"), "--port", port)
    assert code == 1
    assert f"127.0.0.1:{port}" in message
    assert "--port" in message


def test_a_host_of_another_machine_is_named(folder: Path) -> None:
    code, message = refusal("--data-dir", str(folder / "data"), "--host", "192.0.2.1")
    assert code == 1
    assert "--host" in message


def test_a_wrong_database_is_named_without_its_password(folder: Path) -> None:
    code, message = refusal(
        *("--data-dir", str(folder / "data"), "--port", "0"),
        DATABASE_URL="postgresql://someone:geheim@127.0.0.1:1/standart",
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert code != 0
    assert "DATABASE_URL" in message
    assert "geheim" not in message


def test_a_nonsensical_setting_is_named(folder: Path) -> None:
    code, message = refusal(
        *("--data-dir", str(folder / "data"), "--port", "0"),
        STANDART_TRANSACTION_TTL_SECONDS="soon",
    )
    assert code == 2
    assert "STANDART_TRANSACTION_TTL_SECONDS" in message


def test_an_old_server_is_refused(
    settings: Settings,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(migrations, "MINIMUM_SERVER", 99)
    given = {
        "DATABASE_URL": settings.database_url,
        "STANDART_MIGRATION_DATABASE_URL": settings.migration_database_url,
        "SECRET_KEY": settings.secret_key,
        "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert preparation.main() == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "99 or newer" in said.err


def test_a_read_only_data_dir_is_named(folder: Path) -> None:
    prefix: tuple[str, ...] = ()
    if AS_ROOT:
        if not user_namespaces_work():
            pytest.skip("root may write everywhere")
        prefix = ORDINARY
    folder.chmod(0o500)
    code, message = refusal("--data-dir", str(folder / "data"), "--port", "0", prefix=prefix)
    folder.chmod(0o700)
    assert code == 2
    assert "Permission denied" in message
    assert "--data-dir" in message


@pytest.mark.skipif(not AS_ROOT or sys.platform != "linux", reason="mounting needs root")
def test_a_full_disk_is_named(folder: Path) -> None:
    script = f'mount -t tmpfs -o size=8m none {folder} && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    code, message = refusal("--data-dir", str(folder / "data"), "--port", "0", prefix=prefix)
    assert code == 2
    assert "MB are free" in message
    assert "--data-dir" in message


@pytest.mark.skipif(not AS_ROOT or sys.platform != "linux", reason="root plays an ordinary user")
def test_an_ordinary_user_gets_the_same(start: Start) -> None:
    if not user_namespaces_work():
        pytest.skip("no user namespaces here")
    up = start(*ORDINARY).ready()
    assert up.call("/create_transaction", {"amount": "1.00"}, up.key)["status"] == "pending"
    family = up.family()
    assert up.stop() == 0
    assert gone(family)


def test_servers_of_ones_own_are_used(start: Start, settings: Settings, engine: Engine) -> None:
    up = start(
        DATABASE_URL=settings.database_url,
        STANDART_MIGRATION_DATABASE_URL=settings.migration_database_url,
        REDIS_URL=settings.redis_url,
    ).ready()
    assert "PostgreSQL ..." not in up.text
    assert not (up.data_dir / "postgres").exists()
    assert up.call("/create_transaction", {"amount": "1.00"}, up.key)["status"] == "pending"
    assert "demo" in up.command("list-users").stdout
    assert up.stop() == 0
    with engine.connect() as connection:
        count = cast("int", connection.exec_driver_sql("SELECT count(*) FROM users").scalar())
    assert count == 2


def test_the_demo_has_all_states_and_its_webhooks_arrive_signed(start: Start) -> None:
    up = start(options=("--demo",)).ready()
    deadline = time.monotonic() + 90
    states: dict[str, int] = {}
    while not states.get("expired") or received(up) < 300 - states["pending"]:
        assert time.monotonic() < deadline, (states, received(up))
        time.sleep(0.5)
        states = dict.fromkeys(("pending", "confirmed", "canceled", "expired"), 0)
        path = "/transactions?limit=100"
        while path:
            page = up.call(path, key=up.key)
            for each in page["data"]:
                states[each["status"]] += 1
            path = page["next_cursor"] and f"/transactions?limit=100&cursor={page['next_cursor']}"
    assert sum(states.values()) == 300
    assert all(states.values())
    assert "wrong signature" not in up.text
    assert up.stop() == 0

    again = start(options=("--demo",)).ready()
    assert again.call("/balance", key=up.key)["balances"][0]["balance"] != "0.00"
    listed = again.command("list-users").stdout
    assert listed.count("\n") == 3


def test_metrics_have_a_port_of_their_own_that_shows_the_whole_tree(start: Start) -> None:
    port = free_port()
    up = start(options=("--demo",), STANDART_METRICS_PORT=str(port)).ready()
    up.call("/create_transaction", {"amount": "1.00"}, up.key)
    deadline = time.monotonic() + 30
    wanted = (
        r'^standart_http_requests_total{.*route="/create_transaction".*} 1.0$',
        r"^standart_sweep_age_seconds \d",
        r"^standart_webhook_lag_seconds \d",
        r'^standart_webhook_due{lane="slow"} 0.0$',
        # What the worker counts, in a process of its own.
        r'^standart_webhook_attempts_total{lane="normal",outcome="delivered"} \d',
        r'^standart_webhook_latency_seconds_count{lane="normal",tries="one"} \d',
    )
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        if all(re.search(pattern, text, re.MULTILINE) for pattern in wanted):
            break
        assert time.monotonic() < deadline, text
        time.sleep(0.2)
    with pytest.raises(urllib.error.HTTPError):
        up.call("/metrics")


def received(up: Up) -> int:
    """How many different transactions the receiver has heard of."""
    return len(set(re.findall(r"received transaction\.\w+ of (\S+), signature right", up.text)))
