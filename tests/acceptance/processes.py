"""Commands of the product as real processes that end with their test, however it ends."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from standart.embedded.process import processes_in

Found = TypeVar("Found")

# Bounds a wait for a condition on a busy machine; nothing is measured with it.
PATIENCE = 60.0
STOP_PATIENCE = 40.0

COMMAND = [sys.executable, "-P", "-m", "standart"]
OURS = re.compile(r"(STANDART_|_STANDART_|DATABASE_URL|REDIS_URL|SECRET_KEY)")


def until(find: Callable[[], Found], what: str, patience: float = PATIENCE) -> Found:
    """Return what ``find`` finds once it is true; fail with ``what`` when it never is."""
    deadline = time.monotonic() + patience
    while not (found := find()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)
    return found


def environment(**settings: str) -> dict[str, str]:
    """The environment of a test without any setting of the product, plus ``settings``."""
    plain = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    return plain | settings


@dataclass
class Running:
    """A started command; its two output streams go to files of their own."""

    process: subprocess.Popen[bytes]
    output: Path
    errors: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def logged(self) -> str:
        return self.errors.read_text()

    def below(self) -> list[psutil.Process]:
        """Everything that it has started, directly or not."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def kill(self) -> None:
        """Kill it and everything below it at once; it cannot start anything meanwhile."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
            everybody = [*self.below(), psutil.Process(self.pid)]
            for each in everybody:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(everybody, timeout=STOP_PATIENCE)
        self.process.wait()

    def stop(self) -> int:
        """End it in order, by force when that takes too long; return the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(STOP_PATIENCE)
        self.kill()
        return int(self.process.returncode)


@dataclass
class Commands:
    """Starts commands and remembers them, so that all of them can be ended."""

    folder: Path
    started: list[Running] = field(default_factory=list)

    def start(self, arguments: Sequence[str], settings: Mapping[str, str]) -> Running:
        """Start ``standart`` with ``arguments``."""
        return self.launch([*COMMAND, *arguments], settings)

    def launch(self, command: Sequence[str], settings: Mapping[str, str]) -> Running:
        name = f"{len(self.started)}"
        output, errors = self.folder / f"{name}.out", self.folder / f"{name}.log"
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.started.append(Running(process, output, errors))
        return self.started[-1]

    def run(self, arguments: Sequence[str], settings: Mapping[str, str]) -> str:
        """Run ``standart`` with ``arguments`` to its good end; return what it has said."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout} {done.stderr}"
        return done.stdout

    @property
    def logs(self) -> list[Path]:
        return [each.errors for each in self.started]


@contextlib.contextmanager
def commands(folder: Path) -> Iterator[Commands]:
    """Yield a starter; on the way out everything that it has started ends."""
    starter = Commands(folder)
    try:
        yield starter
    finally:
        for each in reversed(starter.started):
            each.stop()


def kill_tree(tree: Running, data_dir: Path, chance: random.Random) -> int:
    """Kill every process of an `up` in a random order; return how many there were.

    The supervisor is stopped first, so that nobody is started again in between. What the
    database forks at this very moment ends by itself when its postmaster is gone.
    """
    tree.process.send_signal(signal.SIGSTOP)
    everybody = {each.pid: each for each in [*tree.below(), psutil.Process(tree.pid)]}
    for each in engines(data_dir):
        everybody.setdefault(each.pid, each)
    order = list(everybody.values())
    chance.shuffle(order)
    for each in order:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    tree.process.wait()
    return len(order)


def engines(data_dir: Path) -> list[psutil.Process]:
    """The engines that run in a data dir."""
    return [
        *processes_in(data_dir / "postgres" / "data", "postgres"),
        *processes_in(data_dir / "valkey" / "data", "valkey"),
    ]


@contextlib.contextmanager
def nothing_left(data_dir: Path) -> Iterator[None]:
    """On the way out no engine of the data dir runs any more, or it is killed and told."""
    yield
    until(lambda: not engines(data_dir), f"the engines of {data_dir} end", STOP_PATIENCE)
