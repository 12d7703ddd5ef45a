"""Ends the processes of a tree whose supervisor was killed.

Run by path as ``python -I -S watchdog.py``. Its input is a pipe from the supervisor: a line
``+ PID STAGE SIGNAL`` adds a process group, ``- PID`` takes one away, and the end of the
pipe, which the kernel guarantees however the supervisor ends, is the order to end the rest.
The kernel's own parent-death signal is not enough: macOS has none, a change of account
clears it, and it does not reach grandchildren.
"""

from __future__ import annotations

import os
import signal
import sys
import time

# Seconds for each stage to end by itself before it is killed; engines go last, so that the
# others can still write down what they have done.
PATIENCE = 5.0


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return True


def _send(groups: list[int], number: int) -> None:
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            continue


def _end(groups: dict[int, int]) -> None:
    """End ``groups`` (group → its own signal), after a while by force."""
    for group, number in groups.items():
        _send([group], number)
    deadline = time.monotonic() + PATIENCE
    while left := [group for group in groups if _alive(group)]:
        if time.monotonic() > deadline:
            _send(left, signal.SIGKILL)
            return
        time.sleep(0.02)


def main() -> None:
    """Follow the supervisor's notes until its end, then end what it has left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stages: dict[int, dict[int, int]] = {}
    for line in sys.stdin:
        mark, *numbers = line.split()
        if mark == "+":
            group, stage, own_signal = map(int, numbers)
            stages.setdefault(stage, {})[group] = own_signal
        else:
            for groups in stages.values():
                groups.pop(int(numbers[0]), None)
    for stage in sorted(stages, reverse=True):
        _end(stages[stage])


if __name__ == "__main__":
    main()
