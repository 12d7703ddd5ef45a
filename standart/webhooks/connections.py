"""One connection to a receiver: how it is secured, used for a POST, and left.

TLS is done here and not by the event loop, so that every byte on the wire is counted before it is
looked at: handshakes, records and alerts without end are as bounded as headers without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import cast

from standart.webhooks.exchange import Answer, Malformed, Meter
from standart.webhooks.tls import Tls

_SPARE = 16 * 1024  # bytes of TLS (session tickets) that a connection at rest may receive


class NotSecured(Exception):
    """The TLS handshake failed; the cause is OpenSSL's error, or None when the peer left."""


class Closed(Exception):
    """The connection ended before the answer did."""


class TooLarge(Exception):
    """The peer sent more than one attempt may receive."""


class Connection(asyncio.Protocol):
    """A TCP connection, with or without TLS, that carries one exchange at a time.

    Between exchanges nothing may come in: a peer that speaks without being asked is left, since
    its bytes would be taken for the answer to the next request.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_made: Callable[[Connection], object],
        on_lost: Callable[[Connection], object],
    ) -> None:
        self._sock = sock
        self._on_made, self._on_lost = on_made, on_lost
        self._loop = asyncio.get_running_loop()
        self.opened_at = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._tls: Tls | None = None
        self._meter = Meter(0)
        self._answer: Answer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._spare = _SPARE

    async def open(self) -> None:
        """Hand the socket to the event loop, which closes it if this is cancelled."""
        try:
            await self._loop.create_connection(lambda: self, sock=self._sock)
        except BaseException:  # cancellation included
            # uvloop closes it without telling the protocol that the connection is lost.
            self._on_lost(self)
            raise

    @property
    def may_rest(self) -> bool:
        """Whether the connection stands and nothing is left to be written."""
        transport = self._transport
        return (
            transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )

    @property
    def is_quiet(self) -> bool:
        """Whether the connection stands and nothing has come in, seen by the event loop or not."""
        if self._transport is None or self._transport.is_closing():
            return False
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def secure(self, context: ssl.SSLContext, host: str, meter: Meter) -> None:
        """Do the TLS handshake, with SNI and verified for ``host``; raises NotSecured, TooLarge."""
        self._tls = Tls(context, host)
        self._meter = meter
        waiter = self._begin()
        self._shake(b"")
        await self._end(waiter)

    async def post(self, request: bytes, answer: Answer, meter: Meter) -> None:
        """Send the request and fill ``answer`` until it is complete.

        Raises Closed, Malformed, TooLarge or ssl.SSLError, after which the connection is closed.
        """
        if self._transport is None or self._transport.is_closing():
            raise Closed
        self._answer, self._meter = answer, meter
        waiter = self._begin()
        self._transport.write(self._tls.encrypt(request) if self._tls else request)
        await self._end(waiter)

    def abort(self) -> None:
        """Close now. Says goodbye under TLS, and does not wait for the peer's."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._tls is not None and self._tls.ready:
            transport.write(self._tls.goodbye())
        transport.abort()

    # One wait at a time, for the handshake or for the answer.

    def _begin(self) -> asyncio.Future[None]:
        self._failure = None
        self._waiter = self._loop.create_future()
        return self._waiter

    async def _end(self, waiter: asyncio.Future[None]) -> None:
        try:
            await waiter
        finally:
            self._waiter = self._answer = None
        # Kept aside until here, so that an error nobody waits for any more is not logged.
        if self._failure is not None:
            raise self._failure

    def _settle(self, failure: Exception | None = None) -> None:
        """End the wait; from now on the connection is at rest, or closed."""
        waiter, self._waiter, self._answer = self._waiter, None, None
        if failure is not None:
            self._failure = failure
            self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # A cast, since the transports of other event loops are no subclasses.
        self._transport = cast("asyncio.Transport", transport)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """Count, decrypt and parse."""
        if self._waiter is None:
            self._overhear(data)
            return
        data = self._meter.admit(data)
        if self._tls is not None and not self._tls.ready:
            self._shake(data)
        else:
            self._hear(data)
        if self._meter.exceeded and self._waiter is not None:
            self._settle(TooLarge())

    def eof_received(self) -> None:
        """See that the peer sends no more; the transport closes itself then."""
        self._over()

    def connection_lost(self, exc: Exception | None) -> None:
        """Read what came before the end, and tell those who wait.

        A receiver may answer and close before it has read all. Writing the rest to it fails then,
        while its answer lies in the socket, unread.
        """
        if exc is not None:
            with contextlib.suppress(OSError):
                while self._waiter is not None and (data := self._sock.recv(65536)):
                    self.data_received(data)
        self._over()
        self._on_lost(self)

    def _shake(self, data: bytes) -> None:
        assert self._tls is not None
        failure = None
        try:
            self._tls.handshake(data)
        except ssl.SSLError as exc:
            failure = NotSecured()
            failure.__cause__ = exc
        self._say(self._tls.outgoing())
        if failure is not None or self._tls.ready:
            self._settle(failure)

    def _hear(self, data: bytes) -> None:
        assert self._answer is not None
        over = False
        try:
            if self._tls is not None:
                data, over = self._tls.decrypt(data)
                self._say(self._tls.outgoing())
            if data:
                if self._answer.first_byte_at is None:
                    self._answer.first_byte_at = self._loop.time()
                self._answer.feed(data)
        except (Malformed, ssl.SSLError) as exc:
            self._settle(exc)
            return
        if self._answer.complete:
            self._settle()
        if over:
            self._over()

    def _overhear(self, data: bytes) -> None:
        """Leave a peer that speaks without being asked; TLS may, for a while (session tickets)."""
        self._spare -= len(data)
        if self._tls is not None and self._tls.ready and self._spare >= 0:
            with contextlib.suppress(ssl.SSLError):
                plain, over = self._tls.decrypt(data)
                if not plain and not over:
                    self._say(self._tls.outgoing())
                    return
        self.abort()

    def _say(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _over(self) -> None:
        """See the end of what the peer sends."""
        if self._waiter is None:
            self.abort()
        elif self._answer is None:
            self._settle(NotSecured())
        elif self._answer.end():
            self._settle()
            self.abort()
        else:
            self._settle(Closed())
