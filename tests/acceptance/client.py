"""An HTTP client that knows nothing of the product but its contract."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

# Longer than every time-out of the service: a request that outlives it hangs.
SECONDS = 45.0

LOST = (OSError, http.client.HTTPException)
"""What a client sees when there is no answer: the outcome is unknown to it."""


@dataclass(frozen=True)
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def tells_to_wait(self) -> bool:
        """Whether it is the one refusal that a fault may cause."""
        return (
            self.status == 503
            and self.headers.get("content-type") == "application/problem+json"
            and int(self.headers.get("retry-after", "0")) > 0
            and self.json["code"] == "unavailable"
        )


@dataclass(frozen=True)
class Client:
    """One caller with one key; each request has a connection of its own."""

    port: int
    key: str

    def get(self, path: str, **query: str) -> Reply:
        return self._send("GET", f"{path}?{urlencode(query)}" if query else path, None, {})

    def post(self, path: str, body: dict[str, Any], idempotency_key: str | None = None) -> Reply:
        headers = {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return self._send("POST", path, json.dumps(body).encode(), headers)

    def create(self, amount: str = "100.00", **fields: Any) -> dict[str, Any]:
        """Create a transaction and be sure of it."""
        reply = self.post("/create_transaction", {"amount": amount, **fields})
        assert reply.status == 201, reply
        created: dict[str, Any] = reply.json
        return created

    def _send(self, method: str, path: str, body: bytes | None, extra: dict[str, str]) -> Reply:
        headers = {"Authorization": f"Bearer {self.key}", "Connection": "close", **extra}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as link:
            link.request(method, path, body, headers)
            with closing(link.getresponse()) as answer:
                fields = {name.lower(): value for name, value in answer.getheaders()}
                return Reply(answer.status, fields, answer.read())
