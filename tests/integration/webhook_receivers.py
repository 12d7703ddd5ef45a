"""Receivers of webhooks on loopback, with real sockets, TLS and threads; how to send to them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme

from standart.webhooks import loops
from standart.webhooks.addresses import UrlRules
from standart.webhooks.pool import PoolLimits
from standart.webhooks.sender import Attempt, Delivery, Sender, send_all

LOOPBACK = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"),))
# With a network beyond loopback, names may be used with any port, as in an intranet.
NAMES = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")))
# Names and ports are free, but nothing on this machine may be reached.
ELSEWHERE = UrlRules(allowed_networks=(ip_network("10.0.0.0/8"),))
PUBLIC = UrlRules()

T = TypeVar("T")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[socket.socket, threading.Event], None]


class Receiver:
    """A TCP server: one thread for each connection, which runs ``handler`` and then closes.

    One that ``keeps`` its connections runs the handler for each request, until the client leaves
    or the handler raises OSError.
    """

    def __init__(
        self,
        handler: Handler,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        *,
        keeps: bool = False,
    ) -> None:
        self._handler, self._tls, self._keeps = handler, tls, keeps
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"
        self.requests: list[bytes] = []
        self.connections = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)

    def __enter__(self) -> Receiver:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # Wakes the accepting thread, which then sees that it is over.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # A client that has gone is what many of these tests are about.
        with suppress(OSError), ExitStack() as stack:
            stack.enter_context(connection)
            if self._tls is not None:
                connection = stack.enter_context(
                    self._tls.wrap_socket(connection, server_side=True)
                )
            request = read_request(connection)
            while request or not self._keeps:
                if request:
                    self.requests.append(request)
                self._handler(connection, self._stop)
                if not self._keeps:
                    return
                request = read_request(connection)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while lengths and len(body) < lengths[0]:
        chunk = connection.recv(65536)
        if not chunk:
            break
        body += chunk
    return head + b"\r\n\r\n" + body


def answers(raw: bytes) -> Handler:
    def handler(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(raw)

    return handler


def repeats(start: bytes, again: bytes, pause: float = 0.0) -> Handler:
    """Send ``start``, then ``again`` until the client goes away."""

    def handler(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(start)
        while not stop.wait(pause):
            connection.sendall(again)

    return handler


def hangs(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait()


def closes(connection: socket.socket, stop: threading.Event) -> None:
    pass


def resets(connection: socket.socket, stop: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def untouched() -> Iterator[int]:
    """Listen on 127.0.0.1 and yield the port; fail if anybody connected in the end.

    A connection is complete in the kernel before its client sees it, so none can be missed.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener.getsockname()[1]
        with pytest.raises(BlockingIOError):
            listener.accept()


def delivery(url: str, **headers: str) -> Delivery:
    return Delivery(url=url, headers=headers, body=b'{"id":1}')


def send(
    url: str,
    rules: UrlRules = LOOPBACK,
    *,
    deadline: float = 20.0,
    resolve: Callable[[str], list[str]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Attempt:
    [attempt] = send_all(
        [delivery(url)],
        rules,
        deadline=deadline,
        resolve=resolve or unreachable_resolver,
        tls=tls,
    )
    return attempt


def sending(
    work: Callable[[Sender], Coroutine[Any, Any, T]],
    rules: UrlRules = LOOPBACK,
    *,
    deadline: float = 20.0,
    resolve: Callable[[str], list[str]] | None = None,
    tls: ssl.SSLContext | None = None,
    limits: PoolLimits | None = None,
    run: Callable[[Coroutine[Any, Any, T]], T] = loops.run,
) -> T:
    """Do ``work`` with a sender of its own on an event loop of its own."""

    async def main() -> T:
        async with Sender(
            rules,
            deadline=deadline,
            resolve=resolve or unreachable_resolver,
            tls=tls,
            limits=limits,
        ) as sender:
            return await work(sender)

    return run(main())


async def until(condition: Callable[[], object]) -> None:
    """Wait for the event loop to bring something about; the test's time-out bounds it."""
    while not condition():
        await asyncio.sleep(0.001)


def unreachable_resolver(host: str) -> list[str]:
    raise AssertionError(f"nobody should ask for {host}")


@contextmanager
def plain_port(handler: Handler) -> Iterator[int]:
    """Serve one connection, reading the client's first bytes only."""
    stop = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with suppress(OSError), connection:
            connection.recv(65536)
            handler(connection, stop)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        stop.set()
        thread.join()


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def raising(error: Exception) -> Callable[[str], list[str]]:
    def resolve(host: str) -> list[str]:
        raise error

    return resolve


def own_connections(ports: set[int]) -> list[tuple[str, int]]:
    """Return the peers of this process's sockets that are connected to one of ``ports``."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if not str(link.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(link.name))) as copy:
                peer = copy.getpeername()
                if isinstance(peer, tuple) and peer[1] in ports:
                    found.append(peer)
    return found
