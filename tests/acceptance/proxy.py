"""A TCP proxy that loses what passes at the one moment that matters.

It stands between a client and the API, or between the API and PostgreSQL. When a piece of
traffic holds the wanted bytes, it is not passed on: the proxy says so and waits, then
cuts the connection. Whether the work was done by then depends on the direction alone.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Connect = Callable[[], socket.socket]


@dataclass
class Trap:
    """Catches one piece of traffic; ``caught`` tells, ``cut`` ends the connection."""

    wanted: bytes
    from_client: bool
    caught: threading.Event = field(default_factory=threading.Event)
    cut: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Passes bytes on, except those that the trap waits for."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._trap: Trap | None = None
        self._traps: list[Trap] = []
        self._changed = threading.Lock()
        self._closing = False

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def lose_request(self, wanted: bytes) -> Trap:
        """Lose the next request that holds ``wanted``: nothing was done."""
        return self._set(Trap(wanted, from_client=True))

    def lose_answer(self, wanted: bytes) -> Trap:
        """Lose the next answer that holds ``wanted``: everything was done."""
        return self._set(Trap(wanted, from_client=False))

    def _set(self, trap: Trap) -> Trap:
        self._traps.append(trap)
        self._trap = trap
        return trap

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield self
        finally:
            self._closing = True
            for trap in self._traps:
                trap.cut.set()
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            self._listener.close()
            for each in self._sockets:
                _end(each)
            for thread in self._threads:
                thread.join()
            for each in self._sockets:
                each.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for source, target, from_client in ((client, server, True), (server, client, False)):
                thread = threading.Thread(target=self._pass, args=(source, target, from_client))
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                trap = self._caught(piece, from_client)
                if trap:
                    trap.caught.set()
                    trap.cut.wait()
                    break
                target.sendall(piece)
        _end(source)
        _end(target)

    def _caught(self, piece: bytes, from_client: bool) -> Trap | None:
        with self._changed:
            trap = self._trap
            if trap and trap.from_client is from_client and trap.wanted in piece:
                self._trap = None
                return trap
        return None


def _end(link: socket.socket) -> None:
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(family: socket.AddressFamily, address: str | tuple[str, int]) -> Iterator[Proxy]:
    """Run a proxy to one address."""

    def connect() -> socket.socket:
        link = socket.socket(family)
        try:
            link.connect(address)
        except OSError:
            link.close()
            raise
        return link

    with Proxy(connect).running() as running:
        yield running
