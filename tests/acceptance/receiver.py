"""A merchant's webhook receiver: keeps its own log, believes no signature unchecked.

The check is the `standardwebhooks` package's, an implementation that shares nothing with
the product's.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


@dataclass
class Received:
    """One try as the receiver saw it; ``answered`` once the answer has left."""

    id: str
    body: bytes
    signature: str
    complaint: str = ""
    answered: int | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A local HTTP server; ``hold`` keeps senders waiting, ``status`` is what they hear."""

    def __init__(self) -> None:
        self.secret = ""
        self.status = 200
        self.tries: list[Received] = []
        self._changed = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks"

    @property
    def ids(self) -> list[str]:
        """The transaction of each try, in the order of arrival."""
        return [each.json["id"] for each in self.seen()]

    def seen(self) -> list[Received]:
        with self._changed:
            return list(self.tries)

    def accepted(self) -> set[str]:
        """Ids of the webhooks that were told that they have arrived."""
        return {each.id for each in self.seen() if each.answered and each.answered < 300}

    def bodies(self) -> dict[str, set[bytes]]:
        """All bodies that came with one webhook id."""
        found: dict[str, set[bytes]] = defaultdict(set)
        for each in self.seen():
            found[each.id].add(each.body)
        return found

    def hold(self) -> None:
        """Answer nobody until ``release``."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def take(self, headers: dict[str, str], body: bytes) -> Received:
        """Note one try and check it."""
        received = Received(
            headers.get("webhook-id", ""), body, headers.get("webhook-signature", "")
        )
        try:
            Webhook(self.secret).verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            received.complaint = repr(error)
        with self._changed:
            self.tries.append(received)
        return received

    def wait_for_release(self) -> None:
        self._open.wait()

    @contextmanager
    def serving(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.release()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    receiver: Receiver
    daemon_threads = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed breaks its connections; that is what tests do."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver = self.server.receiver
        received = receiver.take(
            {name.lower(): value for name, value in self.headers.items()}, body
        )
        receiver.wait_for_release()
        status = receiver.status
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()
        received.answered = status

    def log_message(self, format: str, *args: Any) -> None:
        """The log of the test is ``Receiver.tries``."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver on a free port of the loopback."""
    with Receiver().serving() as running:
        yield running
