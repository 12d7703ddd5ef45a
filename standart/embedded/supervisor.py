"""A tree of processes that lives and dies as one.

Children are leaders of their own sessions, so a Ctrl-C reaches the supervisor alone. They
end with it: in order when it is told to stop, by the watchdog when it is killed, and on
Linux by the kernel's parent-death signal besides. A child that ends by itself is started
again after a pause that doubles while it keeps failing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from standart.embedded.process import EngineError, stop_together

WATCHDOG = Path(__file__).with_name("watchdog.py")
PR_SET_CHILD_SUBREAPER = 36

ENGINE_STAGE = 0
SERVICE_STAGE = 1

# Seconds before a restart: doubling from the first to the last, from the start again once
# a child has lived long enough to count as working.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
WORKING_AFTER = 20.0

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


Handler = Callable[[int, FrameType | None], None]


class StopRequested(BaseException):
    """Somebody wants the tree to end; raised out of whatever the supervisor is doing."""


@dataclass(frozen=True, slots=True)
class Program:
    """How one child is started and stopped.

    ``steps`` are the signals of an orderly stop with the seconds that each gets. Children
    of a higher ``stage`` are stopped before those of a lower one.
    """

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    stage: int
    steps: tuple[tuple[signal.Signals, float], ...]


@dataclass(slots=True)
class Child:
    """A program and its present process, ``None`` while it waits to be started again."""

    program: Program
    process: subprocess.Popen[bytes] | None
    started_at: float
    pause: float = FIRST_PAUSE
    due_at: float = 0.0


class Supervisor:
    """Starts, watches and ends children; a context manager, entered in the main thread.

    The first SIGINT, SIGTERM or SIGHUP raises ``StopRequested`` in the block; when the block
    is left, for whatever reason, all children end before it is. Repeating the signal
    changes nothing.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """``report`` takes lines for people."""
        self.children: list[Child] = []
        self._report = report
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._ending = False
        self._wakeup: tuple[int, int] = (-1, -1)
        self._former_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Supervisor:
        self._wakeup = os.pipe()
        for end in self._wakeup:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        self._handle(signal.SIGCHLD, lambda number, frame: None)
        for number in STOP_SIGNALS:
            self._handle(number, self._request_stop)
        if sys.platform == "linux":
            # Grandchildren whose parent dies become ours instead of init's.
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._start_watchdog()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending = True
        self._stop_children()
        if self._watchdog is not None and self._watchdog.stdin is not None:
            # Nobody is left for it to end.
            self._watchdog.kill()
            self._watchdog.wait()
            self._watchdog.stdin.close()
        signal.set_wakeup_fd(-1)
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        for end in self._wakeup:
            os.close(end)

    def start(self, program: Program) -> None:
        """Start ``program`` and watch it from now on.

        Raises:
            EngineError, OSError: as its ``start`` does.
        """
        self._adopt(Child(program, program.start(), time.monotonic()))

    def run(self) -> None:
        """Restart children that end, for ever; leaves by ``StopRequested`` only."""
        self.wait_for(lambda: False, None)

    def wait_for(self, ready: Callable[[], bool], period: float | None = 0.1) -> None:
        """Watch the children until ``ready``, asking every ``period`` seconds.

        ``None`` asks whenever a child or a signal wakes us.
        """
        while not ready():
            self._reap()
            self._restart_due()
            pauses = [pause for pause in (period, self._seconds_to_next()) if pause is not None]
            select.select([self._wakeup[0]], [], [], min(pauses, default=None))
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup[0], 4096)

    def _adopt(self, child: Child) -> None:
        self.children = [other for other in self.children if other.program != child.program]
        self.children.append(child)
        self._note(child)

    def _note(self, child: Child) -> None:
        if child.process is not None:
            number = int(child.program.steps[0][0])
            self._tell(f"+ {child.process.pid} {child.program.stage} {number}")

    def _tell(self, line: str) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watchdog.stdin.write(f"{line}\n".encode())
                self._watchdog.stdin.flush()

    def _reap(self) -> None:
        """Note which children have ended, and bury orphans that we were given."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if self._watchdog is not None and pid == self._watchdog.pid:
                self._watchdog.returncode = code
                self._start_watchdog()
            for child in self.children:
                if child.process is not None and child.process.pid == pid:
                    child.process.returncode = code
                    child.process = None
                    self._ended(child, pid, code)

    def _ended(self, child: Child, pid: int, code: int) -> None:
        # What the child has started itself must not outlive it: it may hold the port.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._tell(f"- {pid}")
        now = time.monotonic()
        if now - child.started_at > WORKING_AFTER:
            child.pause = FIRST_PAUSE
        child.due_at = now + child.pause
        self._report(
            f"{child.program.name} ended ({_how(code)}); starting it again in {child.pause:g} s"
        )
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _restart_due(self) -> None:
        for child in self.children:
            if child.process is not None or time.monotonic() < child.due_at:
                continue
            try:
                child.process = child.program.start()
            except (EngineError, OSError) as error:
                child.due_at = time.monotonic() + child.pause
                self._report(f"{error}; trying again in {child.pause:g} s")
                child.pause = min(child.pause * 2, LONGEST_PAUSE)
                continue
            child.started_at = time.monotonic()
            self._note(child)

    def _seconds_to_next(self) -> float | None:
        due = [child.due_at for child in self.children if child.process is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start_watchdog(self) -> None:
        self._watchdog = subprocess.Popen(  # noqa: S603 - our own file, no shell
            [sys.executable, "-I", "-S", str(WATCHDOG)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        for child in self.children:
            self._note(child)

    def _stop_children(self) -> None:
        """End the stages one after the other, all children of a stage at the same time."""
        for stage in sorted({child.program.stage for child in self.children}, reverse=True):
            running = [
                (child.process, child.program.steps)
                for child in self.children
                if child.program.stage == stage and child.process is not None
            ]
            stop_together(running)
        self._end_leftovers()

    def _end_leftovers(self) -> None:
        """Kill what is still below us, whoever has started it, except the watchdog."""
        watchdog = self._watchdog.pid if self._watchdog else None
        for process in psutil.Process().children(recursive=True):
            if process.pid != watchdog:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def _handle(self, number: signal.Signals, handler: Handler) -> None:
        self._former_handlers[number] = signal.signal(number, handler)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        if not self._ending:
            self._ending = True
            raise StopRequested


def _how(code: int) -> str:
    """Return how a process ended, for people."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
