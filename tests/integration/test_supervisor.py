"""The process tree: restarts, order of the end, and no survivors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

# What a child runs: it says its name, and the service has a child of its own. Everything is
# said in one piece, since all processes of a tree share the pipe.
CHILD = r"""
import os, signal, subprocess, sys, time
name, ends, deaf = sys.argv[1:]

def say(text):
    os.write(1, f"{name} {text}\n".encode())

def end(number, frame):
    say("ended in order")
    sys.exit(0)

signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else end)
if name == "service":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
say(f"runs {os.getpid()}")
if ends:
    sys.exit(3)
time.sleep(600)
"""

# A tree of an engine and a service; with the watchdog and the service's own child there are
# four processes below the supervisor.
TREE = r"""
import os, signal, sys
from standart.embedded.process import launch
from standart.embedded.supervisor import (
    ENGINE_STAGE, SERVICE_STAGE, Program, StopRequested, Supervisor
)

def say(text):
    os.write(1, f"{text}\n".encode())

def program(name, stage, ends="", deaf="", patience=5.0):
    command = [sys.executable, "-c", sys.argv[1], name, ends, deaf]
    start = lambda: launch(command, death_signal=signal.SIGTERM)
    return Program(name, start, stage, ((signal.SIGTERM, patience),))

try:
    with Supervisor(lambda line: say(f"report: {line}")) as tree:
        say(f"watchdog {tree._watchdog.pid}")
        tree.start(program("engine", ENGINE_STAGE))
        PROGRAMS
        tree.run()
except StopRequested:
    say("stopped")
"""
NAMES = ("engine", "service")
SERVICE = 'tree.start(program("service", SERVICE_STAGE))'
DEAF = 'tree.start(program("service", SERVICE_STAGE, deaf="yes", patience=0.2))'
FAILING = 'tree.start(program("service", SERVICE_STAGE, ends="yes"))'


class Tree:
    """A running tree and the lines it has said."""

    def __init__(self, programs: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TREE.replace("PROGRAMS", programs), CHILD],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        self.output: IO[str] = self.process.stdout
        self.lines: list[str] = []

    def until(self, wanted: Callable[[str], bool]) -> str:
        """Read on until a line is ``wanted``; silence ends by the suite's time-out."""
        for line in self.output:
            self.lines.append(line.strip())
            if wanted(line):
                return line.strip()
        pytest.fail(f"not said: {self.lines}")

    def pid_of(self, name: str) -> int:
        """The pid of a child once it runs; of a later process of it once that one runs."""
        return int(self.until(lambda line: line.startswith(f"{name} runs")).split()[-1])

    def both_run(self) -> None:
        """Read until engine and service, which start at the same time, have said so."""
        while not all(any(f"{name} runs" in line for line in self.lines) for name in NAMES):
            self.until(lambda line: " runs " in line)

    def family(self) -> list[psutil.Process]:
        """Everything below the tree, grandchildren and watchdog included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def rest(self) -> list[str]:
        self.lines += [line.strip() for line in self.output]
        return self.lines


@pytest.fixture
def tree() -> Iterator[Callable[[str], Tree]]:
    made: list[Tree] = []

    def make(programs: str = SERVICE) -> Tree:
        made.append(Tree(programs))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.process.terminate()
        each.rest()
        each.process.wait(30)
        each.output.close()


def settled(tree: Tree, size: int) -> list[psutil.Process]:
    """Wait until the tree has ``size`` members below it; return them."""
    deadline = time.monotonic() + 20
    while len(family := tree.family()) != size:
        assert time.monotonic() < deadline, family
        time.sleep(0.02)
    return family


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_of_it_services_first(
    tree: Callable[[str], Tree], number: signal.Signals
) -> None:
    running = tree(SERVICE)
    running.both_run()
    family = settled(running, 4)
    running.process.send_signal(number)
    running.process.wait(20)
    said = running.rest()
    assert said[-3:] == ["service ended in order", "engine ended in order", "stopped"]
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert running.process.returncode == 0


def test_repeated_signals_change_nothing(tree: Callable[[str], Tree]) -> None:
    running = tree(DEAF)
    running.both_run()
    family = settled(running, 4)
    for _ in range(5):
        running.process.terminate()
        time.sleep(0.02)
    running.process.wait(20)
    assert running.rest()[-2:] == ["engine ended in order", "stopped"]
    assert psutil.wait_procs(family, timeout=10)[1] == []


def test_a_killed_child_is_started_again_and_its_children_are_gone(
    tree: Callable[[str], Tree],
) -> None:
    running = tree(SERVICE)
    first = running.pid_of("service")
    settled(running, 4)
    orphans = psutil.Process(first).children()
    assert len(orphans) == 1
    os.kill(first, signal.SIGKILL)
    said = running.until(lambda line: line.startswith("report:"))
    assert said == "report: service ended (killed by SIGKILL); starting it again in 0.5 s"
    assert running.pid_of("service") != first
    assert psutil.wait_procs(orphans, timeout=10)[1] == []
    settled(running, 4)


def test_pauses_double_while_a_child_keeps_failing(tree: Callable[[str], Tree]) -> None:
    running = tree(FAILING)
    pauses = [running.until(lambda line: line.startswith("report:")).split()[-2] for _ in range(3)]
    assert pauses == ["0.5", "1", "2"]


def test_killing_the_parent_alone_leaves_nobody(tree: Callable[[str], Tree]) -> None:
    running = tree(DEAF)
    running.both_run()
    family = settled(running, 4)
    running.process.kill()
    assert psutil.wait_procs(family, timeout=20)[1] == []


def test_without_the_watchdog_the_kernel_tells_the_children(tree: Callable[[str], Tree]) -> None:
    if sys.platform != "linux":
        pytest.skip("the parent-death signal is Linux's")
    running = tree(SERVICE)
    running.both_run()
    settled(running, 4)
    children = psutil.Process(running.process.pid).children()
    watchdog = [child for child in children if "watchdog.py" in " ".join(child.cmdline())]
    others = [child for child in children if child not in watchdog]
    grandchildren = [one for one in running.family() if one not in children]
    os.kill(running.process.pid, signal.SIGSTOP)  # it would start another one
    watchdog[0].kill()
    running.process.kill()
    assert psutil.wait_procs(others, timeout=20)[1] == []
    for orphan in grandchildren:  # nobody was left to tell it
        orphan.kill()


def test_a_killed_watchdog_is_replaced_and_knows_everybody(tree: Callable[[str], Tree]) -> None:
    running = tree(SERVICE)
    first = int(running.until(lambda line: line.startswith("watchdog")).split()[1])
    running.both_run()
    settled(running, 4)
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        family = running.family()
        watchdogs = [one for one in family if "watchdog.py" in " ".join(_command(one))]
        if watchdogs and watchdogs[0].pid != first:
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = settled(running, 4)
    running.process.kill()
    assert psutil.wait_procs(family, timeout=20)[1] == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_the_launcher_refuses_to_outlive_a_parent_that_is_gone(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("the parent-death signal is Linux's")
    from standart.embedded.process import LAUNCHER

    stranger = str(os.getppid())
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCHER), stranger, "15", "-1", "-1", "/bin/true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "parent" in done.stderr
