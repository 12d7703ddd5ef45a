"""What one webhook costs on the wire: our sender beside a bare client that only writes and reads.

Each contender posts the same signed bytes to the same receiver, a process of its own on loopback,
over kept connections with WINDOW requests in flight, in turn and in a process of its own. No
database. ``aiohttp`` takes part where it is installed; Standart does not need it.

    python -m benchmarks.senders [--rounds 5] [--sends 20000]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from typing import cast

import uvloop

from standart.webhooks.addresses import UrlRules
from standart.webhooks.sender import Delivery, Sender
from standart.webhooks.signing import new_secret, sign
from standart.webhooks.tls import verified_tls

WINDOW = 200
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BODY = b'{"type":"transaction.confirmed","data":{"note":"' + b"x" * 600 + b'"}}'
HEADERS = {
    "User-Agent": "Standart",
    "webhook-id": "0198f0c2-0000-7000-8000-000000000000",
    "webhook-timestamp": "1614265330",
    "webhook-signature": sign([new_secret()], "0198f0c2", 1614265330, BODY),
}
CONTENDERS = {
    "bare": ("bare", asyncio.run),
    "bare uvloop": ("bare", uvloop.run),
    "sender asyncio": ("sender", asyncio.run),
    "sender": ("sender", uvloop.run),
    "aiohttp": ("aiohttp", asyncio.run),
    "aiohttp uvloop": ("aiohttp", uvloop.run),
}


class Receiver(asyncio.Protocol):
    """Answers each POST as soon as its body is there, by the shortest way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport, self._data = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            _, _, rest = self._data[:end].lower().partition(b"content-length: ")
            whole = end + 4 + int(rest.split(b"\r\n")[0])
            if len(self._data) < whole:
                return
            self._data = self._data[whole:]
            self._transport.write(ANSWER)


async def receive() -> None:
    """Serve for ever; the first line of the output is the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def bare(port: int, sends: int) -> None:
    """A protocol that writes the next request when it has an answer."""
    loop = asyncio.get_running_loop()
    lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    head = f"POST /hook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}Content-Length: {len(BODY)}"
    request = head.encode() + b"\r\n\r\n" + BODY
    left, running = sends, WINDOW
    over = loop.create_future()

    class Client(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast("asyncio.Transport", transport)
            self.post()

        def post(self) -> None:
            nonlocal left, running
            if left > 0:
                left -= 1
                self._transport.write(request)
                return
            self._transport.close()
            running -= 1
            if running == 0:
                over.set_result(None)

        def data_received(self, data: bytes) -> None:
            assert data == ANSWER
            self.post()

    for _ in range(WINDOW):
        await loop.create_connection(Client, "127.0.0.1", port)
    await over


async def sender(port: int, sends: int) -> None:
    """The sender as the worker uses it."""
    rules = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"),))
    delivery = Delivery(url=f"http://127.0.0.1:{port}/hook", headers=HEADERS, body=BODY)
    async with Sender(rules) as ours:

        async def post() -> None:
            attempt = await ours.send(delivery)
            assert attempt.outcome == "delivered", attempt

        await in_flight(post, sends)


async def aiohttp(port: int, sends: int) -> None:
    """One session for all, with as many connections as it wants."""
    import aiohttp as library

    connector = library.TCPConnector(limit=0)
    async with library.ClientSession(
        connector=connector, cookie_jar=library.DummyCookieJar()
    ) as session:

        async def post() -> None:
            url = f"http://127.0.0.1:{port}/hook"
            async with session.post(url, data=BODY, headers=HEADERS) as response:
                assert response.status == 200
                await response.read()

        await in_flight(post, sends)


async def in_flight(post: Callable[[], Coroutine[None, None, None]], sends: int) -> None:
    """Keep WINDOW sends under way until so many are done."""
    turns = iter(range(sends))

    async def work() -> None:
        for _ in turns:
            await post()

    await asyncio.gather(*(work() for _ in range(WINDOW)))


def measure(name: str, port: int, sends: int) -> None:
    """Print sends a second and processor time of each in microseconds."""
    kind, run = CONTENDERS[name]
    verified_tls()  # read once in the life of a worker
    started, before = time.perf_counter(), processor_time()
    run({"bare": bare, "sender": sender, "aiohttp": aiohttp}[kind](port, sends))
    took, used = time.perf_counter() - started, processor_time() - before
    print(sends / took, used / sends * 1e6)


def processor_time() -> float:
    """Return what this process has used so far, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compare(rounds: int, sends: int) -> None:
    """Run all in turn and print the medians; a share is of the bare client of the same round."""
    names = [
        name
        for name, (kind, _) in CONTENDERS.items()
        if kind != "aiohttp" or importlib.util.find_spec("aiohttp")
    ]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    program = [sys.executable, "-m", "benchmarks.senders"]
    with subprocess.Popen([*program, "--receive"], stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        port = receiver.stdout.readline().strip()
        try:
            for _ in range(rounds):
                for name in names:
                    command = [*program, "--measure", name, "--port", port, "--sends", str(sends)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    rate, cost = map(float, done.stdout.split())
                    found[name].append((rate, cost))
        finally:
            receiver.terminate()
    print(f"{'contender':16}{'sends/s':>9}{'of bare':>9}{'CPU us':>8}")
    for name in names:
        rate, cost = (statistics.median(column) for column in zip(*found[name], strict=True))
        pairs = zip(found[name], found["bare"], strict=True)
        share = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
        print(f"{name:16}{rate:9,.0f}{share:9.2f}{cost:8.0f}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sends", type=int, default=20_000)
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        uvloop.run(receive())
    elif options.measure:
        measure(options.measure, options.port, options.sends)
    else:
        compare(options.rounds, options.sends)


if __name__ == "__main__":
    main()
