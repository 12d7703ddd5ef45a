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

RECORD_SECONDS: Final = 20.0
"""For how long results that cannot be recorded are tried again; their leases end soon after."""

RETRY_SECONDS: Final = 1.0
"""The pause after a claim or a recording that failed."""

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
        stopping: Callable[[], bool] = lambda: False,
        size: int = SIZE,
        linger: float = LINGER_SECONDS,
    ) -> None:
        """``claim`` takes the most to return; ``claim`` and ``record`` run in ``executor``.

        After ``seconds``, or once ``stopping`` says so, nothing more is claimed; ``claimed_all``
        is called at the end of claiming, while the last attempts are still under way. With
        nothing under way it waits ``linger`` seconds for work that will be due so soon, or for
        being woken. ``size`` bounds what is claimed and not recorded.
        """
        self._claim, self._attempt, self._record = claim, attempt, record
        self._executor, self._seconds, self._size = executor, seconds, size
        self._claimed_all, self._stopping, self._linger = claimed_all, stopping, linger
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._arrived = asyncio.Event()
        self._results: list[tuple[Work, Result]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._open = 0
        self._claiming = True
        self._recorded = 0

    def wake(self) -> None:
        """Look for work now, or for a reason to stop; from any thread."""
        # Before the loop runs nothing needs waking, and after it nobody is there.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> int:
        """Work until nothing is left; return how many attempts were made and recorded.

        Raises what ``claim`` raised while nothing was under way; otherwise it is asked again.
        """
        self._loop = asyncio.get_running_loop()
        recorder = asyncio.create_task(self._keep_recording())
        try:
            await self._keep_claiming()
        finally:
            self._claiming = False
            self._arrived.set()
            try:
                self._claimed_all()
            finally:
                await recorder
        return self._recorded

    async def _keep_claiming(self) -> None:
        ends_at = self._now() + self._seconds
        most = min(BATCH, self._size)
        looked_at = self._now()
        while not self._stopping() and self._now() < ends_at:
            self._woken.clear()
            free = min(most, self._size - self._open)
            # Claims of many are cheaper, but slow receivers must not make others wait for that.
            many = free >= most // 2 or self._now() >= looked_at + POLL_SECONDS
            if free < 1 or not many:
                await self._wait(POLL_SECONDS)
                continue
            looked_at = self._now()
            claimed = await self._claim_some(free)
            for work in claimed.work:
                self._begin(work)
            if claimed.work and claimed.again == 0:
                continue
            if not await self._more_may_come(claimed.again):
                return

    async def _claim_some(self, most: int) -> Claimed[Work]:
        try:
            claimed: Claimed[Work] = await self._in_thread(self._claim, most)
        except Exception as error:
            # What is under way needs this loop anyway; with nothing under way the caller may
            # hear of it at once.
            if not self._open:
                raise
            log.warning("nothing could be claimed, trying again: %r", error)
            await asyncio.sleep(RETRY_SECONDS)
            return Claimed((), 0)
        return claimed

    def _begin(self, work: Work) -> None:
        self._open += 1
        task = asyncio.create_task(self._carry_out(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _more_may_come(self, again: float | None) -> bool:
        """Wait for a reason to claim; False when there is nothing to wait for."""
        if self._open:
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
        except Exception:
            # An attempt has an outcome for all that a receiver does; this is a fault of ours,
            # and must not take the others along. The lease ends, and it is tried again.
            self._open -= 1
            log.exception("an attempt could not be made")
        else:
            # Looked up only now: the list is another one after each recording.
            self._results.append((work, result))
        finally:
            self._arrived.set()

    async def _keep_recording(self) -> None:
        while self._claiming or self._under_way or self._results:
            await self._arrived.wait()
            self._arrived.clear()
            results, self._results = self._results, []
            if results:
                if await self._write_down(results):
                    self._recorded += len(results)
                self._open -= len(results)
                # What was recorded made room at its endpoints.
                self._woken.set()
            if not self._claiming and not self._results and self._under_way:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def _write_down(self, results: list[tuple[Work, Result]]) -> bool:
        """Record, again and again for a while: what is not recorded is sent once more."""
        ends_at = self._now() + RECORD_SECONDS
        while True:
            try:
                await self._in_thread(self._record, results)
            except Exception as error:  # whatever it is, other attempts are still under way
                if self._now() >= ends_at:
                    log.error("%d attempts are not recorded: %r", len(results), error)
                    return False
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return True

    async def _in_thread(self, call: Callable[[Any], Any], argument: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, call, argument)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
