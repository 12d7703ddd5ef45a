"""One timer for attempts that may all take equally long: they run out in the order they began.

``asyncio.timeout`` arms and disarms a timer for each use, which is a tenth of what an attempt
costs that is answered at once.
"""

from __future__ import annotations

import asyncio


class Deadline:
    """The time of one attempt; ``passed`` says that its task was cancelled by it."""

    __slots__ = ("_cancelling", "ends_at", "passed", "task")

    def __init__(self, task: asyncio.Task[object], ends_at: float) -> None:
        self.task = task
        self.ends_at = ends_at
        self.passed = False
        self._cancelling = task.cancelling()

    def was_the_only_reason(self) -> bool:
        """Tell a cancellation by this deadline from everybody else's, and take it back if so."""
        return self.passed and self.task.uncancel() <= self._cancelling


class Deadlines:
    """Cancels tasks that take longer than ``seconds``; belongs to one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        # In the order in which they began, which is the order in which they run out.
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> Deadline:
        """Give the current task its time; whoever starts must ``end``, however it went."""
        task = asyncio.current_task()
        assert task is not None
        deadline = Deadline(task, self._loop.time() + self._seconds)
        self._running[deadline] = None
        if self._timer is None:
            self._timer = self._loop.call_at(deadline.ends_at, self._look)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """Forget a deadline, passed or not."""
        self._running.pop(deadline, None)

    def close(self) -> None:
        """Stop looking at the clock."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Cancel what has run out, and come back for the next."""
        self._timer = None
        now = self._loop.time()
        for deadline in list(self._running):
            if deadline.ends_at > now:
                self._timer = self._loop.call_at(deadline.ends_at, self._look)
                return
            self.end(deadline)
            deadline.passed = True
            deadline.task.cancel()
