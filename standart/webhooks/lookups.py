"""From a host name to the addresses that may be connected: look-up, short memory, check.

Every answer for a name is checked, and exactly the checked addresses are connected, as numbers. So
there is no moment between check and connect in which a name could come to mean something else (DNS
rebinding).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial

from standart.webhooks.addresses import LOCALHOST, Target, UrlRules, is_listed, may_connect

Resolve = Callable[[str], Sequence[str]]
"""A blocking look-up from a host name to its IP addresses as text; OSError when there is none."""

REMEMBERED = 3.0
"""Seconds that an answer, or that there was none, is remembered for the next connection."""

THREADS = 256
"""Names that are looked up at the same time; further ones wait within their deadlines."""


class Blocked(Exception):
    """The rules forbid this connection; the text says why."""


class Unresolved(Exception):
    """The host name leads to no address; the text is the resolver's own."""


def system_addresses(host: str) -> list[str]:
    """Ask the system's resolver (hosts file, DNS) for all addresses of ``host``.

    Raises OSError (socket.gaierror) when there is none.
    """
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))


class Lookups:
    """Resolves each host once for all that ask at about the same time, never holding the loop.

    Each look-up has a daemon thread of its own: a resolver cannot be interrupted, and neither a
    pool that is full of stuck ones nor the end of the loop may wait for it. ``remembered`` is in
    seconds.
    """

    def __init__(self, resolve: Resolve, *, remembered: float = REMEMBERED) -> None:
        self._resolve = resolve
        self._remembered = remembered
        self._asked: dict[str, asyncio.Task[list[str]]] = {}
        self._slots = asyncio.Semaphore(THREADS)

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of ``host`` as text; raises Unresolved."""
        task = self._asked.get(host)
        if task is None:
            task = self._asked[host] = asyncio.create_task(self._look_up(host))
            task.add_done_callback(partial(self._answered, host))
        try:
            # Shielded, since one attempt's deadline must not end the look-up for the others.
            return await asyncio.shield(task)
        except (OSError, UnicodeError) as exc:
            raise Unresolved(getattr(exc, "strerror", None) or str(exc)) from exc

    def close(self) -> None:
        """Wait for no answer any more."""
        for task in self._asked.values():
            task.cancel()

    def _answered(self, host: str, task: asyncio.Task[list[str]]) -> None:
        if task.cancelled():
            return
        # An error that comes after everyone's deadline is nobody's, and no reason for a log line.
        task.exception()
        task.get_loop().call_later(self._remembered, self._asked.pop, host, None)

    async def _look_up(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        async with self._slots:
            future: asyncio.Future[list[str]] = loop.create_future()

            def settle(answer: list[str], error: Exception | None) -> None:
                if future.done():
                    return
                if error is None:
                    future.set_result(answer)
                else:
                    future.set_exception(error)

            def ask() -> None:
                answer: list[str] = []
                error: Exception | None = None
                try:
                    answer = list(self._resolve(host))
                except Exception as exc:
                    # Whatever it is belongs to those who wait; a thread has nobody to raise it to.
                    error = exc
                # The loop is closed when everything has ended without waiting for this answer.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(settle, answer, error)

            threading.Thread(target=ask, name="webhook-lookup", daemon=True).start()
            return await future


async def approved_addresses(target: Target, rules: UrlRules, lookups: Lookups) -> list[str]:
    """Return the addresses that ``target`` may be connected at.

    One forbidden answer among several forbids all: a host that mixes them is not to be trusted.
    Raises Blocked or Unresolved.
    """
    if target.address is not None:
        addresses = [str(target.address)]
    elif target.host == "localhost":
        # RFC 6761 section 6.3: never a question for the resolver.
        addresses = [str(loopback) for loopback in LOCALHOST if is_listed(loopback, rules)]
    else:
        addresses = await lookups.addresses(target.host)
    if not addresses:
        raise Unresolved("the host has no address")
    for address in addresses:
        if not may_connect(address, target, rules):
            raise Blocked(f"the address {address} is not allowed")
    for address in addresses:
        if not is_listed(address, rules) and is_own(address):
            raise Blocked(f"the address {address} is this machine's own")
    return addresses


def is_own(address: str) -> bool:
    """Say whether the address belongs to this machine: the kernel would then talk to itself.

    Connecting a datagram socket only asks the routing table; nothing is sent. Addresses that a
    gateway translates to this machine cannot be seen from here.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return bool(probe.getsockname()[0] == address)
    except OSError:
        return False
