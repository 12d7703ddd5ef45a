"""What both engines need: an account, private files, a launched process and its end."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

import psutil

from standart.embedded.private_files import Account

LAUNCHER = Path(__file__).with_name("launcher.py")

# `sockaddr_un.sun_path` has 108 bytes on Linux and 104 on macOS, the last one a NUL.
LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103

# How long a dead predecessor's processes may take to end before a start gives up, seconds.
PREDECESSOR_PATIENCE = 20.0

COMPLAINTS = ("FATAL", "PANIC", "ERROR", "error:", "could not", "Failed", "Can't")


class EngineError(Exception):
    """An engine cannot work; one line that says why and what to do."""


def engine_account() -> Account | None:
    """Return whom the engines run as, ``None`` when we are no root and they run as we do.

    PostgreSQL refuses to be root. ``nobody`` exists everywhere, and initdb insists on an
    account with a name.

    Raises:
        EngineError: root on a machine without the account ``nobody``.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EngineError(
            "PostgreSQL cannot run as root and there is no account 'nobody' to run it as; "
            "start as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def last_complaint(log: Path, start: int) -> str:
    """Return the last complaint that stands in ``log`` after byte ``start``."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    complaints = [line for line in lines if any(mark in line for mark in COMPLAINTS)]
    last = (complaints or lines or ["no reason given"])[-1].strip()
    return f"{last} (log: {log})"


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without running any of its code.

    Raises:
        EngineError: it is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EngineError(
            f"the package {name} is not installed; install it, or set DATABASE_URL and "
            "REDIS_URL to servers of your own"
        )
    return Path(spec.origin).parent


def fits_socket(path: Path) -> bool:
    """Tell whether a unix socket can have this path."""
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH


def loopback_port(preferred: int = 0) -> int:
    """Return a free port of the loopback: ``preferred`` where nobody holds it."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EngineError("no free port on the loopback")


def launch(
    command: Sequence[str | Path],
    *,
    account: Account | None = None,
    death_signal: int = 0,
    log: BinaryIO | int | None = None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` as the leader of its own session, so that no Ctrl-C reaches it.

    ``death_signal`` is sent to it when this thread's process dies, where the kernel can.
    ``log`` takes both of its output streams.
    """
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    options = [str(value) for value in (os.getpid(), int(death_signal), uid, gid)]
    return subprocess.Popen(  # noqa: S603 - programs of our own packages, no shell
        [*launcher, *options, *map(str, command)],
        stdin=stdin,
        stdout=log,
        stderr=log,
        env=None if environment is None else dict(environment),
        start_new_session=True,
    )


Steps = Sequence[tuple[signal.Signals, float]]
"""The signals of an orderly stop, each with the seconds that it gets before the next."""


def stop_together(running: Sequence[tuple[subprocess.Popen[bytes], Steps]]) -> None:
    """End processes at the same time, each by its own steps and at last by force."""
    for process, steps in running:
        if process.poll() is None:
            process.send_signal(steps[0][0])
    for process, steps in running:
        _wait(process, steps[0][1])
        for number, patience in (*steps[1:], (signal.SIGKILL, 5.0)):
            if process.poll() is None:
                process.send_signal(number)
                _wait(process, patience)


def stop_process(process: subprocess.Popen[bytes], steps: Steps) -> None:
    """Send each signal of ``steps`` and give it its seconds, until the process has ended."""
    stop_together([(process, steps)])


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def processes_in(folder: Path, name: str) -> list[psutil.Process]:
    """Return the processes called ``name`` whose working directory is ``folder``.

    Both engines live in their data folder, so this tells ours from any other, which a pid
    in a file left by a crash cannot.
    """
    found = []
    for process in psutil.process_iter(["name"]):
        if name not in (process.info["name"] or ""):
            continue
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def end_predecessors(
    find: Callable[[], list[psutil.Process]], steps: Sequence[tuple[float, signal.Signals]]
) -> None:
    """End what a killed predecessor left running; ``steps`` are (after seconds, signal).

    Raises:
        EngineError: they have not ended within 20 s.
    """
    started = time.monotonic()
    waiting = list(steps)
    while left := find():
        elapsed = time.monotonic() - started
        if elapsed > PREDECESSOR_PATIENCE:
            pids = ", ".join(str(process.pid) for process in left)
            raise EngineError(f"processes of an earlier run do not end; stop them: {pids}")
        if waiting and elapsed >= waiting[0][0]:
            _signal_roots(left, waiting.pop(0)[1])
        time.sleep(0.05)


def _signal_roots(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Signal those whose parent is not among them: the others follow their parent."""
    processes = list(processes)
    pids = {process.pid for process in processes}
    for process in processes:
        try:
            if process.ppid() not in pids or number == signal.SIGKILL:
                process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for ``ready`` as long as ``process`` lives; tell whether it came true."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(0.01)
    return False
