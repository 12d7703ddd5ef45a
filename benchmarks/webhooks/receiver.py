"""The receiver of all webhooks, a process of its own: ``python -m benchmarks.webhooks.receiver``.

It must cost as little as can be, for it shares the machine with whom it measures. So it reads
requests by hand, as clients write them who keep connections: no pipelining, no chunks. What is
sent to ``/at-once…`` is answered at once, to ``/slow…`` after 50 ms, to ``/hang…`` never.

``GET /report`` tells when each message came first, ``GET /count`` how many there were,
``GET /reset`` forgets them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
from base64 import b64decode, b64encode

SLOW_SECONDS = 0.05

SAMPLE = 20
"""One of so many signatures is verified: a garbled one is found, and the rest stays cheap."""

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_END = b"\r\n\r\n"


class Book:
    """What has come in: the first arrival of each message by this machine's clock."""

    def __init__(self, secret: str) -> None:
        self._key = b64decode(secret.removeprefix("whsec_"))
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.arrivals: dict[str, float] = {}
        self.total = self.verified = self.forged = 0

    def take(self, head: bytes, body: bytes) -> None:
        """Note one webhook, and verify some of them."""
        self.total += 1
        lowered = head.lower()
        event_id = _field(head, lowered, b"webhook-id").decode()
        self.arrivals.setdefault(event_id, time.time())
        if not event_id or self.total % SAMPLE == 1:
            self._verify(event_id, head, lowered, body)

    def _verify(self, event_id: str, head: bytes, lowered: bytes, body: bytes) -> None:
        moment = _field(head, lowered, b"webhook-timestamp").decode()
        said = _field(head, lowered, b"webhook-signature").decode()
        signed = f"{event_id}.{moment}.".encode() + body
        good = b64encode(hmac.digest(self._key, signed, hashlib.sha256)).decode()
        self.verified += 1
        if not event_id or f"v1,{good}" not in said.split(" "):
            self.forged += 1

    def count(self) -> dict[str, int]:
        """Return how many messages and how many requests came."""
        return {"messages": len(self.arrivals), "requests": self.total}

    def report(self) -> dict[str, object]:
        """Return everything."""
        sums = {"verified": self.verified, "forged": self.forged}
        return {**self.count(), **sums, "arrivals": self.arrivals}


def _field(head: bytes, lowered: bytes, name: bytes) -> bytes:
    start = lowered.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


class Connection(asyncio.Protocol):
    """One kept connection."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request once all of it is here."""
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(_END)
        if end < 0:
            return
        head = buffer[:end]
        length = int(_field(head, head.lower(), b"content-length") or 0)
        if len(buffer) < end + len(_END) + length:
            return
        self._buffer = b""
        if head.startswith(b"GET "):
            self._tell(head.split(b" ", 2)[1])
            return
        self._book.take(head, buffer[end + len(_END) :])
        if head.startswith(b"POST /at-once"):
            self._answer()
        elif head.startswith(b"POST /slow"):
            self._loop.call_later(SLOW_SECONDS, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)

    def _tell(self, path: bytes) -> None:
        if path == b"/reset":
            self._book.reset()
        told = self._book.report() if path == b"/report" else self._book.count()
        body = json.dumps(told).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self._transport.write(head.encode() + body)
        self._transport.close()


async def serve(port: int, secret: str) -> None:
    """Receive on a loopback port until cancelled."""
    book = Book(secret)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(book), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
