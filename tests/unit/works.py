"""Work for a window of attempts, with claims, attempts and records that are made up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

from standart.webhooks import window as module
from standart.webhooks.window import Claimed, Window

PATIENCE = 60.0
LONG = 3600.0


class Works:
    """A queue that is claimed from; attempts that wait where a test says; a book of results."""

    def __init__(self, *queue: str, again: float | None = None) -> None:
        self.queue = list(queue)
        self.again = again
        self.asked: list[int] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.under_way: list[str] = []
        self.most_open = 0
        self.records: list[list[str]] = []
        self.may_record = threading.Event()
        self.may_record.set()
        self.recording = False
        self.stopped = False
        self.claimed_all = 0
        self.claim_errors: list[Exception] = []
        self.record_errors: list[Exception] = []
        self.claimed = 0

    @property
    def recorded(self) -> list[str]:
        return [each for batch in self.records for each in batch]

    def claim(self, most: int) -> Claimed[str]:
        self.asked.append(most)
        if self.claim_errors:
            raise self.claim_errors.pop(0)
        taken, self.queue = self.queue[:most], self.queue[most:]
        self.claimed += len(taken)
        self.most_open = max(self.most_open, self.claimed - len(self.recorded))
        return Claimed(taken, 0 if self.queue else self.again)

    async def attempt(self, work: str) -> str:
        self.under_way.append(work)
        try:
            await asyncio.sleep(0)
            if work in self.gates:
                await self.gates[work].wait()
            if work.startswith("fault"):
                raise LookupError(work)
            return work.upper()
        finally:
            self.under_way.remove(work)

    def record(self, results: list[tuple[str, str]]) -> None:
        self.recording = True
        assert self.may_record.wait(PATIENCE)
        self.recording = False
        if self.record_errors:
            raise self.record_errors.pop(0)
        assert all(result == work.upper() for work, result in results)
        self.records.append([work for work, _ in results])

    def end(self) -> None:
        self.claimed_all += 1


Play = Callable[[Works, "Window[str, str]", "asyncio.Task[int]"], Coroutine[Any, Any, None]]


def play(
    works: Works,
    script: Play | None = None,
    *,
    size: int = 500,
    linger: float = 0.0,
    seconds: float = LONG,
    poll: float = LONG,
) -> int:
    """Run a window over ``works`` while ``script`` interferes; return what it returns.

    Unless ``poll`` says so nothing can lean on the poll: what should wake the window has to.
    """

    async def run() -> int:
        window: Window[str, str] = Window(
            claim=works.claim,
            attempt=works.attempt,
            record=works.record,
            executor=threads,
            seconds=seconds,
            claimed_all=works.end,
            stopping=lambda: works.stopped,
            size=size,
            linger=linger,
        )
        running = asyncio.create_task(window.run())
        if script is not None:
            await script(works, window, running)
        async with asyncio.timeout(PATIENCE):
            return await running

    pauses = {"POLL_SECONDS": poll, "RETRY_SECONDS": 0.001}
    with ThreadPoolExecutor(2) as threads, mock.patch.multiple(module, **pauses):
        return asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.001)


def many(count: int, name: str = "w") -> list[str]:
    return [f"{name}{n}" for n in range(count)]
