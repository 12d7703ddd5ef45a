"""Connections at rest, kept for the next request to the same place: not too many, nor too long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from standart.webhooks.connections import Connection

Place = tuple[str, str, int]
"""Scheme, host and port: what a connection was checked and verified for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How many connections rest, and how long.

    ``lifetime`` bounds how old a connection gets, however busy: a name that leads elsewhere by
    now, or has become forbidden, is noticed when the next one is opened. Times are in seconds.
    """

    per_place: int = 256
    total: int = 1024
    idle: float = 30.0
    lifetime: float = 60.0


class Pool:
    """Keeps connections between requests; belongs to one event loop."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._stacks: dict[Place, list[Connection]] = {}
        # In the order in which they came to rest.
        self._resting: dict[Connection, tuple[Place, float]] = {}
        self._sweep_due: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._resting)

    def take(self, place: Place) -> Connection | None:
        """Return the connection that rested the shortest, which is the least likely to be stale."""
        while stack := self._stacks.get(place):
            connection = stack[-1]
            self.forget(connection)
            if connection.is_quiet:
                return connection
            connection.abort()
        return None

    def give(self, place: Place, connection: Connection) -> None:
        """Let the connection rest, or close it where there are enough or it cannot be used."""
        now = self._loop.time()
        stack = self._stacks.get(place, [])
        if (
            len(stack) >= self._limits.per_place
            or now - connection.opened_at >= self._limits.lifetime
            or not connection.may_rest
        ):
            connection.abort()
            return
        self._stacks[place] = stack
        stack.append(connection)
        self._resting[connection] = (place, now)
        if len(self._resting) > self._limits.total:
            self._close_oldest()
        if self._sweep_due is None:
            self._sweep_due = self._loop.call_later(self._limits.idle, self._sweep)

    def forget(self, connection: Connection) -> None:
        """Strike the connection off; it need not be there."""
        entry = self._resting.pop(connection, None)
        if entry is None:
            return
        stack = self._stacks[entry[0]]
        if stack[-1] is connection:
            stack.pop()
        else:
            stack.remove(connection)

    def close(self) -> None:
        """Close all that rest."""
        if self._sweep_due is not None:
            self._sweep_due.cancel()
        while self._resting:
            self._close_oldest()

    def _close_oldest(self) -> None:
        oldest = next(iter(self._resting))
        self.forget(oldest)
        oldest.abort()

    def _sweep(self) -> None:
        """Close what has rested too long, and come back for the next."""
        self._sweep_due = None
        now = self._loop.time()
        for _, since in list(self._resting.values()):
            if now - since < self._limits.idle:
                self._sweep_due = self._loop.call_at(since + self._limits.idle, self._sweep)
                break
            self._close_oldest()
        # Places that nobody goes to any more would pile up.
        for place in [place for place, stack in self._stacks.items() if not stack]:
            del self._stacks[place]
