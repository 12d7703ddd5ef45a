"""Long statements: sent in pieces, few at a time, whole or not at all."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

from sqlalchemy import Engine

from standart import streams
from tests.acceptance.http import PATIENCE, Http, refused
from tests.builders import TestUser
from tests.integration.concurrency import wait_until
from tests.many import fill

COUNT = 20_000


def test_slow_readers_hold_up_each_other_and_nobody_else(
    serve: Callable[..., Http], superuser: Engine, merchant: TestUser
) -> None:
    """More than fits in the buffers between: who does not read is waited for."""
    server = serve()
    fill(superuser, merchant, COUNT)
    path = "/statement?period=7d"
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {merchant.key}\r\n\r\n"
    )

    def ask_and_not_read() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        connection.sendall(request.encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
        return connection

    slow = [ask_and_not_read() for _ in range(streams.MOST_SENT)]
    reply = server.call("GET", path, key=merchant.key)
    assert refused(reply, 503, "unavailable")["detail"]
    assert reply.headers["retry-after"] == str(streams.RETRY_SECONDS)
    # Nothing else waits for them, and neither does a short statement.
    assert server.call("GET", "/balance", key=merchant.key).status == 200
    assert server.call("GET", f"{path}&currency=USD", key=merchant.key).status == 200
    for connection in slow:
        connection.close()
    wait_until(lambda: server.call("HEAD", path, key=merchant.key).status == 200)

    reply = server.call("GET", path, key=merchant.key)
    assert reply.headers["transfer-encoding"] == "chunked"
    body = json.loads(reply.body)
    assert len(body["movements"]) == body["totals"]["count"] == COUNT
    assert body["closing"]["available"] == f"{COUNT // 100}.00"
    balance = server.call("GET", "/balance", key=merchant.key).json()["balances"][0]["balance"]
    assert balance == body["closing"]["available"]
