"""All receivers of a run, a process of its own that outlives every fault: its log is the truth.

``python -m tests.acceptance.chaos.sink PORT``. Each path below ``/e/`` is a receiver with a
secret and a mood; the mood decides what is answered. Signatures are checked by the
`standardwebhooks` package, which shares nothing with the product.

``PUT /-/secrets`` and ``PUT /-/moods`` take JSON objects by receiver; ``GET /-/report`` tells
what came.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

OK, HANG, DRIP, GARBAGE = "ok", "hang", "drip", "garbage"
CUT, MIXED, DOWN = "cut", "mixed", "down"
STATUSES = {"500": "", "429": "Retry-After: 1\r\n", "302": "Location: /followed\r\n", "410": ""}

# What a receiver that is neither well nor ill answers; those that wait cost a sender its time.
MIXTURE = [OK] * 12 + ["500", "429", "302", GARBAGE, CUT, HANG]

DRIP_SECONDS = 0.5
_END = b"\r\n\r\n"


@dataclass
class Kept:
    """What one receiver has got of one webhook id; orders are those of all arrivals."""

    tries: int = 0
    accepted: int = 0
    first: int = 0
    first_accepted: int = 0
    last_at: float = 0.0


@dataclass
class Log:
    """What has come in, by receiver and webhook id."""

    kept: dict[str, dict[str, Kept]] = field(default_factory=lambda: defaultdict(dict))
    bodies: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    complaints: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    moods: dict[str, str] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    order: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def take(self, name: str, headers: dict[str, str], body: bytes) -> str:
        """Note a webhook before it is answered; return how it shall be."""
        webhook_id = headers.get("webhook-id", "")
        try:
            Webhook(self.secrets[name]).verify(body, headers)
        except (WebhookVerificationError, ValueError, KeyError) as error:
            self.complaints.append(f"{name} {webhook_id}: {error!r}")
        self.bodies[webhook_id].add(hashlib.sha256(body).hexdigest())
        kept = self.kept[name].setdefault(webhook_id, Kept())
        order = next(self.order)
        kept.tries += 1
        kept.last_at = time.time()
        kept.first = kept.first or order
        mood = self.moods.get(name, OK)
        if mood == MIXED:
            mood = random.choice(MIXTURE)
        self.answers[mood] += 1
        if mood == OK:
            kept.accepted += 1
            kept.first_accepted = kept.first_accepted or order
        return mood

    def report(self) -> dict[str, Any]:
        return {
            "kept": {
                name: {each: vars(kept) for each, kept in ids.items()}
                for name, ids in self.kept.items()
            },
            "bodies": {each: sorted(hashes) for each, hashes in self.bodies.items()},
            "complaints": self.complaints,
            "answers": self.answers,
        }


class Connection(asyncio.Protocol):
    """One kept connection; requests come one after the other, with their length."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(_END)
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (li.partition(":") for li in lines)
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = b""
        method, path, _ = first.split(" ", 2)
        self._route(f"{method} {path}", headers, rest[:length])

    def _route(self, what: str, headers: dict[str, str], body: bytes) -> None:
        if what.startswith("POST /e/"):
            self._answer(self._log.take(what.removeprefix("POST /e/"), headers, body))
        elif what == "PUT /-/secrets":
            self._log.secrets.update(json.loads(body))
            self._say("200")
        elif what == "PUT /-/moods":
            self._log.moods.update(json.loads(body))
            self._say("200")
        elif what == "GET /-/report":
            self._say("200", body=json.dumps(self._log.report()).encode())
        else:
            self._log.complaints.append(f"nobody was to ask for {what}")
            self._say("404")

    def _answer(self, mood: str) -> None:
        if mood == OK:
            self._say("200")
        elif mood in STATUSES:
            self._say(mood, STATUSES[mood])
        elif mood == GARBAGE:
            self._transport.write(b"\x00\xff this is no answer \r\n\r\n")
            self._transport.close()
        elif mood in (CUT, DOWN):
            self._transport.abort()
        elif mood == DRIP:
            self._transport.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            self._drip()

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"x")
            self._loop.call_later(DRIP_SECONDS, self._drip)

    def _say(self, status: str, extra: str = "", body: bytes = b"") -> None:
        head = f"HTTP/1.1 {status} Said\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(port: int) -> None:
    log = Log()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(log), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
