"""A steady window of attempts: as some end, others begin; none waits for the slowest.

Knows neither HTTP nor database: three callables claim work, carry out one attempt, and record
results. Claiming and recording block, so they run in threads of their own; attempts share one
event loop. Results are recorded all together that came in while the former ones were written,
so the statements grow with the load.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

log = logging.getLogger(__name__)

Work = TypeVar("Work")
Result = TypeVar("Result")

SIZE: Final = 500
"""How many attempts are under way at most."""

BATCH: Final = 200
"""How many are claimed at most at once."""

POLL_SECONDS: Final = 0.25
"""While attempts are under way, new work is looked for this often even if nobody says so."""

LINGER_SECONDS: Final = 1.0
"""With nothing under way it waits so long for more, since starting anew costs time."""

RECORD_SECONDS: Final = 10.0
"""For how long results that cannot be recorded are tried again; their leases end soon after."""

_BREATH: Final = 0.02


@dataclass(frozen=True, slots=True)
class Claimed(Generic[Work]):
    """What was claimed, and in how many seconds to ask again (None: when somebody says so)."""

    work: Sequence[Work]
    again: float | None


class Window(Generic[Work, Result]):
    """Carries out work until there is none, or until its time for claiming is over."""

    def __init__(
        self,
        *,
        claim: Callable[[int], Claimed[Work]],
        attempt: Callable[[Work], Awaitable[Result]],
        record: Callable[[list[tuple[Work, Result]]], None],
        executor: Executor,
        seconds: float,
        claimed_all: Callable[[], None] = lambda: None,
        size: int = SIZE,
        linger: float = LINGER_SECONDS,
    ) -> None:
        """``claim`` takes the most to return; ``claim`` and ``record`` run in ``executor``.

        After ``seconds`` nothing more is claimed; ``claimed_all`` is called at the end of
        claiming, while the last attempts are still under way. With nothing under way it waits
        ``linger`` seconds for work that will be due so soon, or for being woken.
        """
        self._claim, self._attempt, self._record = claim, attempt, record
        self._executor, self._seconds, self._size = executor, seconds, size
        self._claimed_all, self._linger = claimed_all, linger
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._arrived = asyncio.Event()
        self._results: list[tuple[Work, Result]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._writing = False
        self._claiming = True
        self._stopping = False
        self.tried = 0

    def wake(self) -> None:
        """Look for work now; from any thread."""
        self._call(self._woken.set)

    def stop(self) -> None:
        """Claim nothing more; from any thread. What is under way comes to its end."""

        def stop() -> None:
            self._stopping = True
            self._woken.set()

        self._call(stop)

    def _call(self, what: Callable[[], None]) -> None:
        # Before the loop runs nothing needs waking, and after it nobody is there.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(what)

    async def run(self) -> int:
        """Work until nothing is left; return how many attempts were made and recorded."""
        self._loop = asyncio.get_running_loop()
        recorder = asyncio.create_task(self._keep_recording())
        try:
            await self._keep_claiming()
        finally:
            self._claiming = False
            self._claimed_all()
            self._arrived.set()
            await recorder
        return self.tried

    async def _keep_claiming(self) -> None:
        ends_at = self._now() + self._seconds
        while not self._stopping and self._now() < ends_at:
            self._woken.clear()
            free = self._size - len(self._under_way)
            if free < min(BATCH, self._size) // 2:
                await self._wait(POLL_SECONDS)
                continue
            claimed = await self._in_thread(self._claim, min(free, BATCH))
            for work in claimed.work:
                task = asyncio.create_task(self._carry_out(work))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            if claimed.work and claimed.again == 0:
                continue
            if not await self._more_may_come(claimed.again):
                return

    async def _more_may_come(self, again: float | None) -> bool:
        """Wait for a reason to claim; False when there is nothing to wait for."""
        if self._under_way or self._results or self._writing:
            await self._wait(POLL_SECONDS if again is None else min(POLL_SECONDS, again))
            return True
        soon = again is not None and again <= self._linger
        await self._wait(again if soon and again is not None else self._linger)
        return soon or self._woken.is_set()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), max(seconds, _BREATH))

    async def _carry_out(self, work: Work) -> None:
        try:
            result = await self._attempt(work)
            # Only now: the list of before may be the recorder's already.
            self._results.append((work, result))
        except Exception:
            # An attempt has an outcome for all that a receiver does; this is a fault of ours,
            # and must not take the others along. The lease ends, and it is tried again.
            log.exception("an attempt could not be made")
        finally:
            self._arrived.set()

    async def _keep_recording(self) -> None:
        while self._claiming or self._under_way or self._results:
            await self._arrived.wait()
            self._arrived.clear()
            results, self._results = self._results, []
            if results:
                self._writing = True
                await self._write_down(results)
                self._writing = False
                self.tried += len(results)
                # What was recorded made room at its endpoints.
                self._woken.set()
            if not self._claiming and not self._results and self._under_way:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def _write_down(self, results: list[tuple[Work, Result]]) -> None:
        """Record, again and again for a while: what is not recorded is sent once more."""
        ends_at = self._now() + RECORD_SECONDS
        while True:
            try:
                await self._in_thread(self._record, results)
            except Exception as error:  # whatever it is, other attempts are still under way
                if self._now() >= ends_at:
                    log.error("%d attempts are not recorded: %r", len(results), error)
                    return
                await asyncio.sleep(1)
            else:
                return

    async def _in_thread(self, call: Callable[[Any], Any], argument: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, call, argument)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
