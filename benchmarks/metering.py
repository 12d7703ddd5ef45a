"""What a server costs: processor time and memory of its whole process tree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process tree has used, ended children included."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(pid: int) -> float:
    """Return the memory of a process tree in MB.

    It is the PSS: a page that n processes share counts as one n-th for each of them.
    """
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6


def _tree(pid: int) -> Iterator[psutil.Process]:
    root = psutil.Process(pid)
    yield root
    yield from root.children(recursive=True)
