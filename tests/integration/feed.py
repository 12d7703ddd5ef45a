"""A stand-in for ``GET /events?after=…&wait=…``: it fails, breaks off and lies as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from standart.clock import new_id

PAGE = 3


class Feed:
    """Events in the order of their positions; ``faults`` are what the next answers are instead.

    A fault is a status, ``"cut"`` (half an answer), ``"drop"`` (none) or bytes to answer 200 with.
    """

    def __init__(self, port: int = 0) -> None:
        self.events: list[str] = []
        self.faults: list[int | str | bytes] = []
        self.poll_after = 0
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self._changed = threading.Condition()
        self._over = False
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.feed = self

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, type: str = "transaction.confirmed", **fields: Any) -> str:
        """Let something happen; returns the event's id."""
        event_id = str(new_id())
        payload = json.dumps(
            {"type": type, "id": str(new_id()), "status": "confirmed", **fields},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        line = (
            f'{{"id":"{event_id}","type":"{type}","created_at":"2026-11-24T05:07:10.629319Z",'
            # As PostgreSQL does, between the elements of an array.
            f'"payload":{payload},"deliveries":[{{"state":"waiting"}}, \n {{"state":"dead"}}]}}'
        )
        with self._changed:
            self.events.append(line)
            self._changed.notify_all()
        return event_id

    def answer(self, query: dict[str, str]) -> bytes:
        """Hold the poll until there is something behind the cursor."""
        after = query["after"]
        with self._changed:
            start = len(self.events) if after == "now" else int(after.removeprefix("c"))
            self._changed.wait_for(
                lambda: self._over or len(self.events) > start, float(query["wait"])
            )
            page = self.events[start : start + PAGE]
        following = f'"next": "c{start + len(page)}", "poll_after": {self.poll_after}'
        return f'{{"data": [{", ".join(page)}], {following}}}'.encode()

    @contextmanager
    def serving(self) -> Iterator[Feed]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    feed: Feed
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A listener that was ended breaks its poll off."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        feed = self.server.feed
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        feed.asked.append({"path": parts.path, **query})
        feed.headers.append(dict(self.headers.items()))
        fault = feed.faults.pop(0) if feed.faults else None
        if fault == "drop":
            return
        status, body = 200, b""
        if isinstance(fault, int):
            status, body = fault, b'{"code":"x","detail":"Said so.","errors":[]}'
        elif isinstance(fault, bytes):
            body = fault
        else:
            body = feed.answer(query)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status in (429, 503):
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def log_message(self, format: str, *args: Any) -> None:
        """``Feed.asked`` is the log."""
