"""A merchant's webhook endpoint for `up --demo`: checks each signature and says so.

A program of its own (``python -m standart.embedded.receiver PORT``); the secret comes in the
variable ``RECEIVER_SECRET``. Also an example of how a receiver is written.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standart import clock
from standart.observability import configure_logging
from standart.webhooks.signing import sign

SECRET_VARIABLE = "RECEIVER_SECRET"  # noqa: S105 - the name of a variable
LARGEST_BODY = 256 * 1024

# Seconds by which a message may be late; an older one may be a replay.
TOLERANCE = 300

log = logging.getLogger("standart.receiver")


def is_genuine(secret: str, event_id: str, timestamp: str, signatures: str, body: bytes) -> bool:
    """Tell whether a message of Standard Webhooks was signed with ``secret`` just now."""
    if not timestamp.isascii() or not timestamp.isdigit():
        return False
    if abs(clock.timestamp() - int(timestamp)) > TOLERANCE:
        return False
    expected = sign([secret], event_id, int(timestamp), body).encode()
    return any(hmac.compare_digest(expected, given.encode()) for given in signatures.split())


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to a genuine message and 401 to any other."""

    timeout = 15

    def do_POST(self) -> None:
        """Take one message."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > LARGEST_BODY:
            return self._answer(HTTPStatus.BAD_REQUEST)
        body = self.rfile.read(int(length))
        event_id = self.headers.get("webhook-id", "")
        genuine = is_genuine(
            os.environ[SECRET_VARIABLE],
            event_id,
            self.headers.get("webhook-timestamp", ""),
            self.headers.get("webhook-signature", ""),
            body,
        )
        if not genuine:
            log.warning("refused a webhook with a wrong signature")
            return self._answer(HTTPStatus.UNAUTHORIZED)
        message = json.loads(body)
        log.info("received %s of %s, signature right", message["type"], message["id"])
        return self._answer(HTTPStatus.NO_CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: each message has its own line."""

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main(port: int) -> None:
    """Receive for ever on the loopback."""
    configure_logging(os.environ.get("STANDART_LOG_FORMAT") or "auto", "INFO")
    ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
