"""Bad headers and framing: the exact answer where the request gets through, and no effect."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.acceptance.http import Http, raw_status, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

GOOD = b'{"amount":"1.00"}'


def wrong_checksum(key: str) -> str:
    return key[:-1] + ("a" if key[-1] != "a" else "b")


AUTHORIZATIONS: dict[str, Callable[[str], str]] = {
    "empty": lambda key: "",
    "scheme only": lambda key: "Bearer",
    "scheme and space": lambda key: "Bearer ",
    "key only": lambda key: key,
    "basic": lambda key: "Basic c2s6",
    "two spaces": lambda key: f"Bearer  {key}",
    "tab": lambda key: f"Bearer\t{key}",
    "two keys": lambda key: f"Bearer {key} {key}",
    "joined": lambda key: f"Bearer {key}, Bearer {key}",
    "quoted": lambda key: f'Bearer "{key}"',
    "wrong checksum": lambda key: f"Bearer {wrong_checksum(key)}",
    "too short": lambda key: f"Bearer {key[:-1]}",
    "too long": lambda key: f"Bearer {key}0",
    "other environment": lambda key: f"Bearer {key.replace('sk_live_', 'sk_test_')}",
    "prefix in upper case": lambda key: f"Bearer {key.replace('sk_live_', 'SK_LIVE_')}",
    "prefix only": lambda key: "Bearer sk_live_",
    "not ASCII": lambda key: f"Bearer {key[:-1]}é",
    "not ASCII at all": lambda key: "Bearer \xff\xfe",
    "huge": lambda key: "Bearer " + "a" * 10_000,
}


@pytest.mark.parametrize("made", AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_a_wrong_authorization_is_401(
    server: Http, world: World, made: Callable[[str], str]
) -> None:
    header = {"Authorization": made(world.shop.key)}
    reply = server.post("/create_transaction", GOOD, headers=header)
    refused(reply, 401, "unauthenticated")
    assert reply.headers["www-authenticate"] == 'Bearer realm="standart"'


@pytest.mark.parametrize("name", ["revoked", "expired", "deactivated", "unknown"])
@pytest.mark.parametrize("path", ["/transactions", "/balance", "/events"])
def test_a_key_that_opens_nothing_is_401(server: Http, world: World, path: str, name: str) -> None:
    document = refused(server.call("GET", path, key=world.keys[name]), 401, "unauthenticated")
    assert document["detail"] == "The API key is not valid."


def test_no_key_is_401(server: Http) -> None:
    refused(server.post("/create_transaction", GOOD), 401, "unauthenticated")


def test_a_key_elsewhere_than_in_the_header_is_401(server: Http, world: World) -> None:
    key = world.shop.key
    for path in (f"/transactions?api_key={key}", f"/transactions?access_token={key}"):
        refused(server.call("GET", path), 401, "unauthenticated")
    for headers in ({"X-Api-Key": key}, {"Cookie": f"key={key}"}, {"Proxy-Authorization": key}):
        refused(server.call("GET", "/transactions", headers=headers), 401, "unauthenticated")


def request(*lines: bytes, body: bytes = b"", path: bytes = b"/create_transaction") -> bytes:
    head = (b"POST %s HTTP/1.1" % path, b"Connection: close", *lines)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def usual(world: World) -> tuple[bytes, ...]:
    return (
        b"Host: localhost",
        b"Authorization: Bearer " + world.shop.key.encode(),
        b"Content-Type: application/json",
    )


LENGTH = b"Content-Length: %d" % len(GOOD)


def test_two_authorization_headers_are_401(server: Http, world: World) -> None:
    again = b"Authorization: Bearer " + world.stranger.key.encode()
    for extra in (again, usual(world)[1]):
        received = server.raw(request(*usual(world), LENGTH, extra, body=GOOD))
        assert raw_status(received) == 401


def test_two_idempotency_keys_are_400(server: Http, world: World) -> None:
    for second in (b"a", b"b"):
        lines = (b"Idempotency-Key: a", b"Idempotency-Key: " + second)
        received = server.raw(request(*usual(world), LENGTH, *lines, body=GOOD))
        assert raw_status(received) == 400
        assert b'"malformed_request"' in received


IDEMPOTENCY_KEYS = {
    "empty": "",
    "256 characters": "k" * 256,
    "10 KB": "k" * 10_240,
    "comma": "a,b",
    "space inside": "a b",
    "tab inside": "a\tb",
    "not ASCII": "ключ".encode().decode("latin-1"),
    "latin-1": "caf\xe9",
}


@pytest.mark.parametrize("given", IDEMPOTENCY_KEYS.values(), ids=IDEMPOTENCY_KEYS)
@pytest.mark.parametrize(
    "path", ["/create_transaction", "/cancel_transaction", "/confirm_transaction"]
)
def test_a_wrong_idempotency_key_is_400(server: Http, world: World, path: str, given: str) -> None:
    body = {"amount": "1.00"} if path == "/create_transaction" else {"id": world.ids["pending"]}
    reply = server.post(path, body, key=world.admin.key, headers={"Idempotency-Key": given})
    refused(reply, 400, "malformed_request")


FRAMINGS = {
    "negative length": (b"Content-Length: -5",),
    "length no number": (b"Content-Length: 17x",),
    "length with plus": (b"Content-Length: +17",),
    "two lengths": (LENGTH, b"Content-Length: 3"),
    "unknown transfer encoding": (b"Transfer-Encoding: xchunked",),
    "folded header": (LENGTH, b"X-A: a\r\n b"),
    "space before colon": (LENGTH, b"X-A : a"),
    "NUL in a header": (LENGTH, b"X-A: a\0b"),
    "bare CR": (LENGTH, b"X-A: a\rb"),
}


@pytest.mark.parametrize("lines", FRAMINGS.values(), ids=FRAMINGS)
def test_ambiguous_framing_is_refused_by_the_server(
    server: Http, world: World, lines: tuple[bytes, ...]
) -> None:
    received = server.raw(request(*usual(world), *lines, body=GOOD))
    assert raw_status(received) == 400


def test_transfer_encoding_wins_over_a_length_and_nothing_is_smuggled(
    server: Http, world: World
) -> None:
    # Read one way only: what a length would have left over is no second request.
    chunked = b"2\r\n{}\r\n0\r\n\r\n"
    lines = (b"Content-Length: 4", b"Transfer-Encoding: chunked")
    received = server.raw(request(*usual(world), *lines, body=chunked))
    assert raw_status(received) == 422
    assert received.count(b"HTTP/1.1 ") == 1


def test_a_body_shorter_than_its_length_has_no_effect(server: Http, world: World) -> None:
    lines = (*usual(world), b"Content-Length: %d" % (len(GOOD) + 5))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request(*lines, body=GOOD))
        connection.shutdown(socket.SHUT_WR)
        received = connection.recv(65536)
    assert received == b"" or raw_status(received) == 400


def test_a_header_block_of_64_kb_is_read_or_refused(server: Http, world: World) -> None:
    received = server.raw(
        request(*usual(world), b"Content-Length: 2", b"X-A: " + b"a" * 65_536, body=b"{}")
    )
    assert raw_status(received) in (422, 431)


def test_200_headers_are_refused(server: Http, world: World) -> None:
    many = [b"X-%d: a" % number for number in range(200)]
    received = server.raw(request(*usual(world), LENGTH, *many, body=GOOD))
    assert raw_status(received) == 431


def test_half_a_megabyte_of_headers_is_refused(server: Http, world: World) -> None:
    received = server.raw(request(*usual(world), LENGTH, b"X-A: " + b"a" * 500_000, body=GOOD))
    assert received == b"" or raw_status(received) == 431


def test_garbage_is_refused(server: Http) -> None:
    assert raw_status(server.raw(b"\x00\x01\x02\r\n\r\n")) == 400
    assert server.is_alive()


HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost@evil",
    "a b",
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", [b"/create_transaction", b"/healthz", b"/nowhere"])
def test_a_foreign_host_is_400(server: Http, world: World, host: str, path: bytes) -> None:
    lines = (b"Host: " + host.encode(), *usual(world)[1:], LENGTH)
    received = server.raw(request(*lines, body=GOOD, path=path))
    assert raw_status(received) == 400


def test_two_hosts_are_400(server: Http, world: World) -> None:
    received = server.raw(request(*usual(world), b"Host: evil.example", LENGTH, body=GOOD))
    assert raw_status(received) == 400


def test_no_host_is_400(server: Http, world: World) -> None:
    received = server.raw(request(*usual(world)[1:], LENGTH, body=GOOD))
    assert raw_status(received) == 400


@pytest.mark.parametrize("accept", ["text/html", "image/png", "*/*;q=0", "application/xml", ""])
def test_answers_are_json_whatever_is_accepted(server: Http, world: World, accept: str) -> None:
    headers = {"Accept": accept}
    found = server.call("GET", "/transactions", key=world.shop.key, headers=headers)
    assert (found.status, found.headers["content-type"]) == (200, "application/json")
    refused(server.call("GET", "/nowhere", headers=headers), 404, "not_found")


def test_no_origin_gets_a_cors_header(server: Http, world: World) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for reply in (
        server.call("GET", "/transactions", key=world.shop.key, headers=headers),
        server.call("OPTIONS", "/create_transaction", headers=headers),
        server.call("GET", "/apispec.json", headers=headers),
    ):
        assert not [name for name in reply.headers if name.startswith("access-control-")]


INSANE_IDS = ["", "a b", "x" * 129, "<script>", "é", "a;b", "../../etc"]


@pytest.mark.parametrize("given", INSANE_IDS)
def test_an_insane_request_id_is_replaced(server: Http, given: str) -> None:
    reply = server.call("GET", "/healthz", headers={"X-Request-Id": given})
    assert reply.status == 200
    assert reply.headers["x-request-id"] not in ("", given)


def test_two_request_ids_are_replaced(server: Http) -> None:
    received = server.raw(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"X-Request-Id: a\r\nX-Request-Id: b\r\n\r\n"
    )
    assert raw_status(received) == 200
    assert b"x-request-id: a" not in received.lower()


SCOPES = [
    ("reader", "POST", "/create_transaction", {"amount": "1.00"}, "write"),
    ("reader", "POST", "/cancel_transaction", "pending", "write"),
    ("writer", "GET", "/check_transaction?id=", "pending", "read"),
    ("writer", "GET", "/transactions", None, "read"),
    ("writer", "GET", "/balance", None, "read"),
    ("writer", "GET", "/events", None, "read"),
    ("writer", "GET", "/events/", "event", "read"),
    ("shop", "POST", "/confirm_transaction", "pending", "confirm"),
]


@pytest.mark.parametrize(("name", "method", "path", "subject", "scope"), SCOPES)
def test_a_missing_scope_is_403(
    server: Http, world: World, name: str, method: str, path: str, subject: object, scope: str
) -> None:
    key = world.keys[name]
    known = world.ids.get(str(subject), "")
    if method == "POST":
        body = subject if isinstance(subject, dict) else {"id": known}
        reply = server.post(path, body, key=key)
    else:
        reply = server.call(method, path + known, key=key)
    assert refused(reply, 403, "insufficient_scope")["required_scope"] == scope


def test_the_servers_log_holds_no_key_and_no_failure(server: Http, world: World) -> None:
    key = world.shop.key
    for path in (f"/{key}", f"/events/{key}", f"/transactions?reference={key}&{key}={key}"):
        server.call("GET", path, key=key, headers={"X-Request-Id": key, "Referer": key})
    server.post("/create_transaction", b'{"%s":1}' % key.encode(), key=key)
    log = server.log.read_text()
    assert not [name for name, each in world.keys.items() if each in log]
    assert '"level": "error"' not in log
    assert "Traceback" not in log
