"""Real threads on real connections: start together, wait for a condition, never for luck."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text

from standart.errors import DomainError

Result = TypeVar("Result")

# Seconds: what comes, comes; how soon is the machine's affair.
PATIENCE = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as ``condition`` holds; fail loudly when it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


def waiters(superuser: Engine) -> int:
    """How many sessions of the database are waiting for somebody else's lock."""
    with superuser.connect() as connection:
        return int(
            connection.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            )
            or 0
        )


@contextmanager
def uncommitted(engine: Engine) -> Iterator[Connection]:
    """Hold an open transaction: what runs in it is seen by others only after ``commit``."""
    with engine.connect() as connection:
        connection.begin()
        yield connection


def outcome(act: Callable[[], Any]) -> Any:
    """What ``act`` returned, or the domain error that it raised; all else is a failure."""
    try:
        return act()
    except DomainError as error:
        return error


def together(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run all acts in threads that leave one barrier at the same time; return the outcomes."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE)
        return outcome(act)

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


@contextmanager
def blocked(superuser: Engine, act: Callable[[], Result]) -> Iterator[Future[Any]]:
    """Start ``act`` in a thread and enter the block once it waits for a lock."""
    before = waiters(superuser)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(outcome, act)
        wait_until(lambda: waiters(superuser) > before or future.done())
        assert not future.done(), f"it did not wait: {future.result()!r}"
        yield future
