"""What stands between a webhook and the network: name look-up, address check, metered sockets.

An attempt resolves its host once, checks every answer, and hands aiohttp exactly those addresses;
the socket factory refuses any other. So there is no moment between check and connect in which a
name could come to mean something else (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from standart.webhooks.addresses import LOCALHOST, Target, UrlRules, is_listed, may_connect

Resolve = Callable[[str], Sequence[str]]
"""A blocking look-up from a host name to its IP addresses as text; OSError when there is none."""


class Blocked(Exception):
    """The rules forbid this connection; the text says why."""


class Unresolved(Exception):
    """The host name leads to no address; the text is the resolver's own."""


class TooLarge(OSError):
    """The peer sent more than one attempt may read."""


def system_addresses(host: str) -> list[str]:
    """Ask the system's resolver (hosts file, DNS) for all addresses of ``host``.

    Raises OSError (socket.gaierror) when there is none.
    """
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))


class Lookups:
    """Resolves each host once for a batch, without ever holding the event loop.

    Each look-up has a daemon thread of its own: a resolver cannot be interrupted, and neither a
    pool that is full of stuck ones nor the end of the loop may wait for it.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of ``host`` as text; raises Unresolved."""
        if host not in self._asked:
            self._asked[host] = self._ask(host)
        try:
            # Shielded, since one attempt's deadline must not end the look-up for the others.
            return await asyncio.shield(self._asked[host])
        except (OSError, UnicodeError) as exc:
            raise Unresolved(getattr(exc, "strerror", None) or str(exc)) from exc

    def _ask(self, host: str) -> asyncio.Future[list[str]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()
        # An error that comes after everyone's deadline is nobody's, and no reason for a log line.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def settle(answer: list[str], error: Exception | None) -> None:
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

        def look_up() -> None:
            answer: list[str] = []
            error: Exception | None = None
            try:
                answer = list(self._resolve(host))
            except Exception as exc:
                # Whatever it is belongs to those who wait; a thread has nobody to raise it to.
                error = exc
            # The loop is closed when the batch has ended without waiting for this answer.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, answer, error)

        threading.Thread(target=look_up, name="webhook-lookup", daemon=True).start()
        return future


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


class Meter:
    """Counts the bytes that one attempt reads, on all of its sockets; ``limit`` is in bytes."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.exceeded = False

    def room(self, wanted: int) -> int:
        """Return how many bytes to ask for: at the limit one more, which tells it from the end."""
        return min(wanted, max(self.left, 1))

    def count(self, received: int) -> None:
        """Take note of received bytes; raises TooLarge above the limit.

        Bytes within the limit are never thrown away with those above it, so what a peer said
        before it said too much is still heard.
        """
        self.left -= received
        if self.left < 0:
            self.exceeded = True
            raise TooLarge("the answer is too large")


class MeteredSocket(socket.socket):
    """A TCP socket that reads no more than its meter allows.

    The parser above has limits for single lines only. Counting on the wire bounds all that a peer
    can invent: headers without end, interim answers, chunk extensions, TLS records.
    """

    def __init__(self, family: int, kind: int, proto: int, meter: Meter) -> None:
        super().__init__(family, kind, proto)
        self._meter = meter

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive within the limit; raises TooLarge beyond it."""
        data = super().recv(self._meter.room(bufsize), flags)
        self._meter.count(len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """Receive within the limit; raises TooLarge beyond it."""
        wanted = nbytes or len(buffer)
        received = super().recv_into(buffer, self._meter.room(wanted), flags)
        self._meter.count(received)
        return received


class _Pinned(AbstractResolver):
    """Answers with the checked addresses, whatever is asked."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


class _Protocol(ResponseHandler):
    """aiohttp's protocol, with three habits of its own."""

    def data_received(self, data: bytes) -> None:
        """Parse a head apart from what follows it in the same segment.

        The parser forgets a good head when nonsense follows it in the same call (a body after a
        204, for instance), and a status must not depend on how the network cuts the stream.
        """
        head, blank, rest = data.partition(b"\r\n\r\n")
        self._parse(head + blank)
        if rest:
            self._parse(rest)

    def _parse(self, data: bytes) -> None:
        """Parse, and end a body that turns out malformed: its reader would wait for ever."""
        super().data_received(data)
        body = self._payload
        if self.exception() is not None and body is not None and not body.is_eof():
            body.set_exception(aiohttp.ClientPayloadError("the body is malformed"))

    def close(self) -> None:
        """Say goodbye under TLS, and do not wait for the peer's: the loop may end right now."""
        transport = self.transport
        super().close()
        if transport is not None:
            transport.abort()


def _protocol(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _Protocol(loop=loop)


class CheckedConnector(aiohttp.TCPConnector):
    """Connects one attempt to ``addresses`` only, and reads what ``meter`` allows.

    The connection is closed afterwards: all deliveries of a batch are under way at once, so there
    is none to reuse it, and a kept one may be closed by the peer just when it is used again.
    """

    def __init__(self, addresses: Sequence[str], meter: Meter, tls: ssl.SSLContext) -> None:
        def open_socket(info: tuple[Any, ...]) -> socket.socket:
            family, kind, proto, _, sockaddr = info
            if sockaddr[0] not in addresses:
                raise Blocked(f"the address {sockaddr[0]} was not checked")
            return MeteredSocket(family, kind, proto, meter)

        super().__init__(
            resolver=_Pinned(addresses),
            use_dns_cache=False,
            socket_factory=open_socket,
            ssl=tls,
            force_close=True,
        )
        self._factory = partial(_protocol, loop=self._loop)


@lru_cache(maxsize=1)
def verified_tls() -> ssl.SSLContext:
    """Return the TLS settings: 1.2 or later, certificate and name verified, no renegotiation.

    Trusts the system's authorities (``SSL_CERT_FILE`` of OpenSSL names others), read once.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context
