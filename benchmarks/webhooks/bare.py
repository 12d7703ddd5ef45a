"""The bare client: ``python -m benchmarks.webhooks.bare PORT PATH COUNT IN_FLIGHT SECRET``.

It posts messages that were signed before, over kept connections, and knows no database: how
fast the machine's loopback and Python's event loop are at best. Says ``ready`` with the ids on
its standard output, begins when a line comes in, and tells the moment of the last answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator

from benchmarks.webhooks.messages import Message, messages
from standart.webhooks import signing

LONGEST_SECONDS = 120.0


def request(port: int, path: str, message: Message, secret: str) -> bytes:
    """Return one signed request as it goes over the wire."""
    moment = int(time.time())
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "content-type: application/json",
        "user-agent: bare",
        f"webhook-id: {message.id}",
        f"webhook-timestamp: {moment}",
        f"webhook-signature: {signing.sign([secret], message.id, moment, message.body)}",
        f"Content-Length: {len(message.body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + message.body


class Connection(asyncio.Protocol):
    """Posts one request after the other until none is left."""

    def __init__(self, requests: Iterator[bytes], over: asyncio.Future[None]) -> None:
        self._requests, self._over = requests, over
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        """Post the next one when the answer is complete: its body is ``ok``."""
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\nok"):
            return
        if not self._buffer.startswith(b"HTTP/1.1 200 "):
            self._over.set_exception(RuntimeError(self._buffer.decode("latin-1")))
            return
        self._buffer = b""
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self._over.done():
            self._over.set_result(None)
            self._transport.close()


async def post(port: int, requests: list[bytes], in_flight: int) -> None:
    """Post all ``requests``, ``in_flight`` at once."""
    loop = asyncio.get_running_loop()
    waiting = iter(requests)
    ends: list[asyncio.Future[None]] = []

    async def connect() -> None:
        over = loop.create_future()
        ends.append(over)
        await loop.create_connection(lambda: Connection(waiting, over), "127.0.0.1", port)

    async with asyncio.timeout(LONGEST_SECONDS):
        await asyncio.gather(*(connect() for _ in range(min(in_flight, len(requests)))))
        await asyncio.gather(*ends)


def main() -> None:
    """Prepare, wait for the sign, post, tell."""
    port, path, count, in_flight, secret = sys.argv[1:]
    made = list(messages(int(count)))
    requests = [request(int(port), path, each, secret) for each in made]
    print(json.dumps([each.id for each in made]), flush=True)
    sys.stdin.readline()
    asyncio.run(post(int(port), requests, int(in_flight)))
    print(time.time(), flush=True)
    # Whoever measures reads how much processor time this took while the process is there.
    sys.stdin.read()


if __name__ == "__main__":
    main()
