"""A connected socket to one of several checked addresses."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from ipaddress import ip_address
from itertools import zip_longest

STAGGER = 0.25
"""Seconds after which the next address is tried beside the one before (RFC 8305 section 5)."""

ADDRESSES = 8
"""Addresses of one host that are tried at most."""


class NotConnected(Exception):
    """No address accepted the connection; the cause is the system's error."""


async def dial(addresses: Sequence[str], port: int) -> socket.socket:
    """Return a socket that is connected to the first of ``addresses`` that answers.

    Takes addresses only: a name is a ValueError, and never a question to the system. They are
    tried as RFC 8305 says: both families in turn, the next one STAGGER seconds after the one
    before or as soon as that has failed, so that an address where nothing answers does not use up
    the deadline. Raises NotConnected when all have failed.
    """
    waiting = deque(_in_turn(addresses)[:ADDRESSES])
    if len(waiting) == 1:
        try:
            return await _connected(waiting[0], port)
        except OSError as exc:
            raise NotConnected from exc
    return await _race(waiting, port)


def _in_turn(addresses: Sequence[str]) -> list[str]:
    """Order by turns of both families, beginning with the first's, each in the given order."""
    versions = [ip_address(address).version for address in addresses]
    pairs = list(zip(versions, addresses, strict=True))
    first = [address for version, address in pairs if version == versions[0]]
    other = [address for version, address in pairs if version != versions[0]]
    return [each for pair in zip_longest(first, other) for each in pair if each is not None]


async def _race(waiting: deque[str], port: int) -> socket.socket:
    running: set[asyncio.Task[socket.socket]] = set()
    error: BaseException | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connected(waiting.popleft(), port)))
            done, running = await asyncio.wait(
                running,
                timeout=STAGGER if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            won = [task for task in done if task.exception() is None]
            running.update(won[1:])
            if won:
                return won[0].result()
            error = next((task.exception() for task in done), error)
    finally:
        for task in running:
            task.add_done_callback(_close_late)
            task.cancel()
    raise NotConnected from error


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """Close what was connected when another address had won already."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connected(address: str, port: int) -> socket.socket:
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:  # cancellation included: nobody else knows the socket
        sock.close()
        raise
    return sock
