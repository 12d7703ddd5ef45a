"""A client that can also say what no polite client says."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 20.0

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}
EXTRA_MEMBERS = {
    *("errors", "transaction_status", "required_scope", "payout_status"),
    *("available", "currency", "refundable", "adjustment_status"),
    *("period", "ends_at"),
}

# What would give away the inside: none of it may ever be in an answer.
TELLTALES = ("Traceback", "psycopg", "sqlalchemy", "SELECT ", "INSERT ", "/standart/", "<html")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Http:
    """One server on the loopback interface; a new connection for each request."""

    port: int
    log: Path

    def is_alive(self) -> bool:
        try:
            return self.call("GET", "/healthz").status == 200
        except OSError:
            return False

    def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        given = dict(headers or {})
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())
        finally:
            connection.close()

    def post(
        self,
        path: str,
        body: bytes | dict[str, Any],
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        sent = {"Content-Type": "application/json"} | dict(headers or {})
        return self.call("POST", path, key=key, body=data, headers=sent)

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are; return all that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(request)
            received = b""
            try:
                while chunk := connection.recv(65536):
                    received += chunk
            except ConnectionResetError:
                pass
            return received


def refused(reply: Reply, status: int, code: str) -> dict[str, Any]:
    """Assert that ``reply`` is exactly this problem; return its document."""
    assert (reply.status, reply.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), reply
    document: dict[str, Any] = reply.json()
    assert (document["status"], document["code"]) == (status, code), document
    assert document["type"] == f"urn:standart:problem:{code}"
    assert set(document) >= PROBLEM_MEMBERS
    assert set(document) <= PROBLEM_MEMBERS | EXTRA_MEMBERS
    assert document["request_id"] == reply.headers["x-request-id"]
    assert ("errors" in document) == (status == 422)
    assert ("www-authenticate" in reply.headers) == (status == 401)
    assert ("retry-after" in reply.headers) == (code in ("unavailable", "too_many_requests"))
    text = reply.body.decode()
    assert not [telltale for telltale in TELLTALES if telltale in text]
    return document


def raw_status(received: bytes) -> int:
    """The status code of raw bytes that a server sent."""
    return int(received.split(b" ", 2)[1])
