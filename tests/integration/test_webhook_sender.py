"""The sender against real servers on loopback, with real sockets, TLS and threads."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from standart.webhooks.addresses import UrlRules
from standart.webhooks.connections import dial, verified_tls
from standart.webhooks.exchange import Meter
from standart.webhooks.lookups import Lookups, is_own, system_addresses
from standart.webhooks.outcomes import retry_after_seconds
from standart.webhooks.sender import CONCURRENCY, READ_LIMIT, Attempt, Delivery, send_all

LOOPBACK = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"),))
# With a network beyond loopback, names may be used with any port, as in an intranet.
NAMES = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")))
# Names and ports are free, but nothing on this machine may be reached.
ELSEWHERE = UrlRules(allowed_networks=(ip_network("10.0.0.0/8"),))
PUBLIC = UrlRules()

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[socket.socket, threading.Event], None]


class Receiver:
    """A TCP server: one thread for each connection, which runs ``handler`` and then closes."""

    def __init__(
        self, handler: Handler, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._handler, self._tls = handler, tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"
        self.requests: list[bytes] = []
        self.connections = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)

    def __enter__(self) -> Receiver:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # Wakes the accepting thread, which then sees that it is over.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # A client that has gone is what many of these tests are about.
        with suppress(OSError), ExitStack() as stack:
            stack.enter_context(connection)
            if self._tls is not None:
                connection = stack.enter_context(
                    self._tls.wrap_socket(connection, server_side=True)
                )
            request = read_request(connection)
            if request:
                self.requests.append(request)
            self._handler(connection, self._stop)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while lengths and len(body) < lengths[0]:
        chunk = connection.recv(65536)
        if not chunk:
            break
        body += chunk
    return head + b"\r\n\r\n" + body


def answers(raw: bytes) -> Handler:
    def handler(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(raw)

    return handler


def repeats(start: bytes, again: bytes, pause: float = 0.0) -> Handler:
    """Send ``start``, then ``again`` until the client goes away."""

    def handler(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(start)
        while not stop.wait(pause):
            connection.sendall(again)

    return handler


def hangs(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait()


def closes(connection: socket.socket, stop: threading.Event) -> None:
    pass


def resets(connection: socket.socket, stop: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def untouched() -> Iterator[int]:
    """Listen on 127.0.0.1 and yield the port; fail if anybody connected in the end.

    A connection is complete in the kernel before its client sees it, so none can be missed.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener.getsockname()[1]
        with pytest.raises(BlockingIOError):
            listener.accept()


def delivery(url: str, **headers: str) -> Delivery:
    return Delivery(url=url, headers=headers, body=b'{"id":1}')


def send(
    url: str,
    rules: UrlRules = LOOPBACK,
    *,
    deadline: float = 20.0,
    resolve: Callable[[str], list[str]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Attempt:
    [attempt] = send_all(
        [delivery(url)],
        rules,
        deadline=deadline,
        resolve=resolve or unreachable_resolver,
        tls=tls,
    )
    return attempt


def unreachable_resolver(host: str) -> list[str]:
    raise AssertionError(f"nobody should ask for {host}")


# What is sent


def test_the_request_is_exactly_what_was_asked_for() -> None:
    with Receiver(answers(OK)) as receiver:
        target = f"http://127.0.0.1:{receiver.port}/a/../%2e%2F//b@c?x=1&y=%20?/&z=é"
        headers = {
            "User-Agent": "Standart/0.1.0",
            "webhook-id": "0198f0c2",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,abc= v1,def=",
        }
        body = b'{"a": "\xd1\x8f"}' * 1000
        [attempt] = send_all([Delivery(url=target, headers=headers, body=body)], LOOPBACK)
    assert (attempt.outcome, attempt.status_code, attempt.error) == ("delivered", 200, "")
    assert (attempt.excerpt, attempt.retry_after) == ("ok", None)
    assert attempt.duration_ms >= 0
    [request] = receiver.requests
    head, _, sent = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /a/../%2e%2F//b@c?x=1&y=%20?/&z=%C3%A9 HTTP/1.1"
    fields = dict(line.split(": ", 1) for line in lines)
    assert fields.items() >= headers.items()
    assert fields["Host"] == f"127.0.0.1:{receiver.port}"
    assert fields["Content-Type"] == "application/json"
    assert fields["Accept-Encoding"] == "identity"
    assert sent == body


def test_headers_of_the_delivery_win_over_the_defaults_and_no_agent_is_invented() -> None:
    with Receiver(answers(OK)) as receiver:
        send_all([delivery(receiver.url, **{"content-type": "application/x-own"})], LOOPBACK)
    [request] = receiver.requests
    assert request.lower().count(b"content-type") == 1
    assert b"application/x-own" in request
    assert b"user-agent" not in request.lower()


def test_proxies_and_netrc_of_the_environment_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password secret\n")
    netrc.chmod(0o600)
    with Receiver(answers(OK)) as receiver, untouched() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        assert send(receiver.url).outcome == "delivered"
    assert b"authorization" not in receiver.requests[0].lower()


# What counts as success


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_delivered(status: int) -> None:
    with Receiver(answers(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.status_code) == ("delivered", status)


@pytest.mark.parametrize("status", [101, 300, 304, 400, 401, 404, 410, 429, 500, 502, 503, 599])
def test_no_other_status_is(status: int) -> None:
    raw = b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\noops" % status
    with Receiver(answers(raw)) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.status_code) == (f"http_{status}", status)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 204 X\r\n\r\nok",
        b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok and more",
        b"HTTP/1.1 200 X\r\nContent-Length: 20\r\n\r\nok",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok",
    ],
    ids=["body of a 204", "1.0 body of a 204", "more", "less", "no chunk", "no last chunk"],
)
def test_a_careless_body_does_not_undo_a_2xx(raw: bytes) -> None:
    with Receiver(answers(raw)) as receiver:
        attempt = send(receiver.url)
    assert attempt.outcome == "delivered"
    assert "within" not in attempt.error  # it did not take the deadline to see it


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}/", "/hook", "file:///etc/passwd"])
def test_redirects_are_failures_and_never_followed(status: int, where: str) -> None:
    with untouched() as port:
        location = where.format(port=port).encode()
        raw = b"HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)
        with Receiver(answers(raw)) as receiver:
            assert send(receiver.url).outcome == f"http_{status}"
    assert receiver.connections == 1


def test_interim_answers_before_the_final_one_are_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with Receiver(answers(b"HTTP/1.1 100 Continue\r\n\r\n" + interim * 3 + OK)) as receiver:
        assert send(receiver.url).outcome == "delivered"


def test_retry_after_reaches_the_caller() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True).encode()
    for raw, low, high in ((b"17", 17, 17), (later, 7100, 7200), (b"999999999", 86400, 86400)):
        answer = b"HTTP/1.1 503 X\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % raw
        with Receiver(answers(answer)) as receiver:
            attempt = send(receiver.url)
        assert attempt.outcome == "http_503"
        assert attempt.retry_after is not None
        assert low <= attempt.retry_after <= high


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "0", 0),
        (429, "120", 120),
        (503, " 120 ", 120),
        (429, "00000000007", 7),
        (503, "86400", 86400),
        (503, "86401", 86400),
        (503, "1234567", 86400),
        (503, "9" * 8000, 86400),
        (503, "Mon, 23 Nov 2026 09:00:30 GMT", 30),
        (503, "Monday, 23-Nov-26 09:00:30 GMT", 30),
        (503, "Mon Nov 23 09:00:30 2026", 30),
        (503, "Mon, 23 Nov 2026 08:00:00 GMT", 0),
        (503, "Fri, 31 Dec 9999 23:59:59 GMT", 86400),
        (503, "Mon, 23 Nov 2026 09:00:30 -0000", 30),
        (503, "Mon, 99 Nov 2026 09:00:30 GMT", None),
        (503, "", None),
        (503, "-5", None),
        (503, "1.5", None),
        (503, "1e3", None),
        (503, "١٢", None),
        (503, "soon", None),
        (503, None, None),
        (500, "120", None),
        (410, "120", None),
        (200, "120", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_retry_after_in_both_forms_and_its_bounds(
    status: int, value: str | None, seconds: int | None
) -> None:
    assert retry_after_seconds(status, value, NOW) == seconds


# What a receiver may do to us


@pytest.mark.parametrize(
    "handler",
    [
        hangs,
        repeats(b"HTTP/1.1 200 OK\r\nX: ", b"a", 0.02),
        repeats(b"HTTP/1.1 200 OK\r\n", b"X: a\r\n", 0.02),
        repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
        repeats(b"H", b"", 0.02),
    ],
    ids=["silence", "drip in a header", "drip of headers", "drip of 1xx", "one byte"],
)
def test_the_deadline_ends_an_answer_that_never_begins(handler: Handler) -> None:
    with Receiver(handler) as receiver:
        attempt = send(receiver.url, deadline=0.4)
    assert (attempt.outcome, attempt.status_code) == ("timeout", None)
    assert "0.4 s" in attempt.error


@pytest.mark.parametrize(("status", "outcome"), [(200, "delivered"), (500, "http_500")])
def test_a_body_that_drips_ends_at_the_deadline_and_the_status_stands(
    status: int, outcome: str
) -> None:
    head = b"HTTP/1.1 %d X\r\nContent-Length: 1000000\r\n\r\n" % status
    with Receiver(repeats(head, b"a", 0.02)) as receiver:
        attempt = send(receiver.url, deadline=0.4)
    assert (attempt.outcome, attempt.status_code) == (outcome, status)
    assert "not complete" in attempt.error
    assert set(attempt.excerpt) <= {"a"}


@pytest.mark.parametrize(
    "handler",
    [
        repeats(b"HTTP/1.1 200 OK\r\n", b"X-Header: value\r\n" * 100),
        repeats(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 1000),
        repeats(b"HTTP/1.1 200 ", b"a" * 1000),
        repeats(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100),
    ],
    ids=["headers", "one header", "status line", "1xx"],
)
def test_a_head_without_end_is_too_large(handler: Handler) -> None:
    with Receiver(handler) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.status_code) == ("too_large", None)


@pytest.mark.parametrize(
    "handler",
    [
        repeats(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n", b"a" * 10000),
        repeats(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 10000),
        repeats(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8\r\naaaaaaaa\r\n" * 500
        ),
    ],
    ids=["length", "until close", "chunked"],
)
def test_a_body_without_end_is_cut_and_the_status_stands(handler: Handler) -> None:
    with Receiver(handler) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.status_code) == ("delivered", 200)
    assert "64 KiB" in attempt.error
    assert set(attempt.excerpt) == {"a"}
    assert len(attempt.excerpt) <= 4096


def test_chunk_extensions_without_end_are_cut_too() -> None:
    head = b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    with Receiver(repeats(head, b"a" * 10000)) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.excerpt) == ("http_500", "")
    assert attempt.error


def test_four_kib_of_the_body_are_kept_as_clean_text() -> None:
    body = b"\x00\xff<b>\xd0\xaf" + b"x" * 10000
    raw = b"HTTP/1.1 400 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with Receiver(answers(raw)) as receiver:
        attempt = send(receiver.url)
    assert attempt.outcome == "http_400"
    assert attempt.excerpt.startswith("\ufffd\ufffd<b>Яxxx")
    assert len(attempt.excerpt.encode()) - 4 == 4096  # each replacement is three bytes for one
    assert attempt.error == ""


def test_a_gzip_bomb_stays_packed() -> None:
    bomb = gzip.compress(b"\x00" * 20_000_000)
    assert len(bomb) < READ_LIMIT
    raw = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    ) + bomb
    with Receiver(answers(raw)) as receiver:
        attempt = send(receiver.url)
    assert attempt.outcome == "delivered"
    assert attempt.excerpt.startswith("\x1f\ufffd")


@pytest.mark.parametrize(
    "handler",
    [
        closes,
        resets,
        answers(b"HTTP/1.1 200 OK\r\nContent-Le"),
        answers(b"\r\n\r\n"),
        answers(b"no http at all\r\n\r\n"),
        answers(b"HTTP/1.1\r\n\r\n"),
        answers(b"HTTP/1.1 abc OK\r\n\r\n"),
        answers(b"HTTP/1.1 20 OK\r\n\r\n"),
        answers(b"HTTP/1.1 2000 OK\r\n\r\n"),
        answers(b"\x16\x03\x01\x00\x05hello"),
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
        answers(b"SSH-2.0-OpenSSH_9.2\r\n"),
    ],
    ids=[
        "close",
        "reset",
        "half a head",
        "blank",
        "words",
        "no status",
        "letters",
        "two digits",
        "four digits",
        "tls record",
        "negative length",
        "two lengths",
        "ssh",
    ],
)
def test_what_is_no_http_answer_is_a_protocol_failure(handler: Handler) -> None:
    with Receiver(handler) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.status_code) == ("protocol", None)
    assert attempt.error


def test_a_closed_port_is_refused() -> None:
    # Bound and not listening: nobody else can take the port in the meantime.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        attempt = send(f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert (attempt.outcome, attempt.status_code) == ("refused", None)
    assert attempt.error == "the connection failed: Connection refused"


def test_an_error_never_quotes_the_url() -> None:
    with Receiver(closes) as receiver:
        attempts = [
            send(receiver.url + "?token=hunter2"),
            send(receiver.url + "?token=hunter2", PUBLIC),
            send(receiver.url + "?token=hunter2", deadline=0.0),
        ]
    assert [attempt.outcome for attempt in attempts] == ["protocol", "blocked", "timeout"]
    assert not [attempt for attempt in attempts if "hunter2" in attempt.error]


def test_the_meter_counts_to_the_byte() -> None:
    meter = Meter(10)
    assert meter.admit(b"0123") == b"0123"
    assert meter.admit(b"456789") == b"456789"
    assert not meter.exceeded
    assert meter.admit(b"x" * 1000) == b""
    assert meter.exceeded
    assert meter.admit(b"x") == b""


def test_the_meter_lets_through_what_came_within_the_limit() -> None:
    meter = Meter(10)
    assert meter.admit(b"0123456789abc") == b"0123456789"
    assert meter.exceeded


def test_an_answer_of_just_the_limit_is_complete() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    room = READ_LIMIT - len(head % 10000)
    for body, error in ((room, False), (room + 1, True)):
        with Receiver(answers(head % body + b"a" * body)) as receiver:
            attempt = send(receiver.url)
        assert attempt.outcome == "delivered"
        assert bool(attempt.error) is error


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def test_a_good_certificate_is_accepted(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    with Receiver(answers(OK), server_tls(authority.issue_cert("127.0.0.1"))) as receiver:
        assert send(receiver.url, tls=trusting).outcome == "delivered"


def test_a_name_is_sent_checked_and_used_as_host(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    context = server_tls(authority.issue_cert("xn--exmple-4nf.com"))
    named: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: named.append(name)
    with Receiver(answers(OK), context) as receiver:
        attempt = send(
            f"https://exаmple.com:{receiver.port}/",
            NAMES,
            resolve=lambda host: ["127.0.0.1"],
            tls=trusting,
        )
    assert attempt.outcome == "delivered"
    assert named == ["xn--exmple-4nf.com"]
    assert f"Host: xn--exmple-4nf.com:{receiver.port}\r\n".encode() in receiver.requests[0]


def test_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with Receiver(answers(OK), server_tls(authority.issue_cert("127.0.0.1"))) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.status_code) == ("tls", None)
    assert "self" in attempt.error or "issuer" in attempt.error
    assert receiver.requests == []


def test_an_expired_certificate_is_refused(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    expired = authority.issue_cert(
        "127.0.0.1",
        not_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_after=datetime(2020, 2, 1, tzinfo=UTC),
    )
    with Receiver(answers(OK), server_tls(expired)) as receiver:
        attempt = send(receiver.url, tls=trusting)
    assert attempt.outcome == "tls"
    assert "expired" in attempt.error
    assert receiver.requests == []


def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    with Receiver(answers(OK), server_tls(authority.issue_cert("other.example"))) as receiver:
        attempt = send(receiver.url, tls=trusting)
    assert attempt.outcome == "tls"
    assert "127.0.0.1" in attempt.error
    assert receiver.requests == []


def test_old_tls_is_refused(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    context = server_tls(authority.issue_cert("127.0.0.1"))
    permissive = ssl.create_default_context()
    authority.configure_trust(permissive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        permissive.minimum_version = context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    for either in (context, permissive):
        either.set_ciphers("DEFAULT:@SECLEVEL=0")
    with Receiver(answers(OK), context) as receiver:
        assert send(receiver.url, tls=permissive).outcome == "delivered"
        attempt = send(receiver.url, tls=trusting)
    assert attempt.outcome == "tls"
    assert "PROTOCOL_VERSION" in attempt.error
    assert len(receiver.requests) == 1


def test_our_own_settings_verify_and_are_made_once() -> None:
    context = verified_tls()
    assert context is verified_tls()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(
    ("first", "outcome"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "tls"), (b"", "tls")],
    ids=["plain http", "close"],
)
def test_a_broken_handshake_is_a_tls_failure(first: bytes, outcome: str) -> None:
    with plain_port(lambda connection, stop: connection.sendall(first)) as port:
        assert send(f"https://127.0.0.1:{port}/").outcome == outcome


def test_a_handshake_that_hangs_ends_at_the_deadline() -> None:
    with plain_port(hangs) as port:
        assert send(f"https://127.0.0.1:{port}/", deadline=0.4).outcome == "timeout"


def test_a_body_without_end_is_cut_under_tls(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    handler = repeats(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 10000)
    with Receiver(handler, server_tls(authority.issue_cert("127.0.0.1"))) as receiver:
        attempt = send(receiver.url, tls=trusting)
    assert attempt.outcome == "delivered"
    assert "64 KiB" in attempt.error


@contextmanager
def plain_port(handler: Handler) -> Iterator[int]:
    """Serve one connection, reading the client's first bytes only."""
    stop = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with suppress(OSError), connection:
            connection.recv(65536)
            handler(connection, stop)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        stop.set()
        thread.join()


# Where nothing may be sent


@pytest.mark.parametrize("rules", [PUBLIC, UrlRules(allow_http=True), ELSEWHERE])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "127.0.0.1.",
        "localhost.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "a@127.0.0.1",
        r"127.0.0.1\@example.com",
        r"example.com\@127.0.0.1",
        "127.0.0.1\t",
        "127.0.0.1%00",
    ],
    ids=ascii,
)
def test_a_stored_url_that_is_refused_now_is_blocked_without_a_connection(
    rules: UrlRules, scheme: str, host: str
) -> None:
    with untouched() as port:
        attempt = send(f"{scheme}://{host}:{port}/", rules)
    assert (attempt.outcome, attempt.status_code) == ("blocked", None)
    assert attempt.error


@pytest.mark.parametrize("host", ["localhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"])
def test_localhost_is_never_asked_for_and_blocked(host: str) -> None:
    with untouched() as port:
        assert send(f"https://{host}:{port}/", PUBLIC).outcome == "blocked"
        assert send(f"https://{host}:{port}/", ELSEWHERE).outcome == "blocked"


def test_an_ipv6_literal_works_where_it_is_allowed() -> None:
    rules = UrlRules(allowed_networks=(ip_network("::1/128"),))
    try:
        receiver = Receiver(answers(OK), host="::1")
    except OSError as exc:
        pytest.skip(f"this machine has no IPv6 loopback: {exc}")
    with receiver:
        url = f"http://[0:0::1]:{receiver.port}/"
        assert send(url, rules).outcome == "delivered"
        assert send(url, LOOPBACK).outcome == "blocked"
    assert f"Host: [::1]:{receiver.port}\r\n".encode() in receiver.requests[0]
    assert receiver.connections == 1


def test_localhost_works_where_loopback_is_allowed() -> None:
    with Receiver(answers(OK)) as receiver:
        assert send(f"http://localhost:{receiver.port}/").outcome == "delivered"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["10.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "10.0.0.1"],
        ["8.8.8.8"],
        ["169.254.169.254"],
        ["nonsense"],
        ["fe80::1%lo"],
    ],
    ids=",".join,
)
def test_a_name_with_any_forbidden_address_is_blocked(addresses: list[str]) -> None:
    with untouched() as port:
        url = f"http://hooks.example.com:{port}/"
        attempt = send(url, ELSEWHERE, resolve=lambda host: addresses)
    assert attempt.outcome == "blocked"
    assert any(address in attempt.error for address in addresses)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"])
def test_one_private_address_beside_a_public_one_blocks_the_name(address: str) -> None:
    for addresses in (["93.184.216.34", address], [address, "93.184.216.34"]):
        attempt = send(
            "https://hooks.example.com/", PUBLIC, resolve=lambda host, found=addresses: found
        )
        assert attempt.outcome == "blocked"
        assert address in attempt.error


def test_the_name_is_asked_for_once_so_that_rebinding_comes_too_late() -> None:
    replies = [["127.0.0.1"], ["169.254.169.254"]]
    asked: list[str] = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return replies[len(asked) - 1]

    with Receiver(answers(OK)) as receiver:
        url = f"http://hooks.example.com:{receiver.port}/"
        assert send(url, NAMES, resolve=rebinding).outcome == "delivered"
        assert asked == ["hooks.example.com"]
        attempt = send(url, NAMES, resolve=rebinding)
    assert attempt.outcome == "blocked"
    assert "169.254.169.254" in attempt.error
    assert receiver.connections == 1


def test_the_last_fence_connects_addresses_and_never_resolves_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", unreachable_resolver)
    with untouched() as port:
        for host in ("localhost", "localhost.", "127.1", "0x7f000001", "", "127.0.0.1 "):
            with pytest.raises(ValueError, match="does not appear"):
                asyncio.run(dial([host], port))
            with pytest.raises(ValueError, match="does not appear"):
                asyncio.run(dial(["127.0.0.1", host], port))


@pytest.mark.allow_hosts(["127.0.0.1", "192.0.2.1", "3fff::1"])
def test_own_addresses_are_known() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("192.0.2.1")
    assert not is_own("3fff::1")  # even where there is no route for IPv6


def test_a_public_address_of_this_machine_is_blocked() -> None:
    """Own public addresses need a network of their own to be tested in."""
    program = """
from standart.webhooks.sender import Delivery, send_all
from standart.webhooks.addresses import UrlRules
deliveries = [
    Delivery(url="https://93.184.216.34/", headers={}, body=b""),
    Delivery(url="https://example.com/", headers={}, body=b""),
]
for attempt in send_all(deliveries, UrlRules(), resolve=lambda host: ["93.184.216.34"]):
    print(attempt.outcome, attempt.error)
"""
    script = 'ip link set lo up && ip address add 93.184.216.34/32 dev lo && exec "$0" -c "$1"'
    try:
        done = subprocess.run(
            ["unshare", "--map-root-user", "--net", "sh", "-c", script, sys.executable, program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"},
        )
    except FileNotFoundError:
        pytest.skip("this system has no unshare")
    if done.returncode != 0 and "Traceback" not in done.stderr:
        pytest.skip(f"this system gives us no network of our own: {done.stderr.strip()}")
    expected = "blocked the address 93.184.216.34 is this machine's own"
    assert done.stdout.splitlines() == [expected, expected], done.stderr


# Names


def raising(error: Exception) -> Callable[[str], list[str]]:
    def resolve(host: str) -> list[str]:
        raise error

    return resolve


def test_a_name_that_does_not_resolve_is_a_dns_failure() -> None:
    missing = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    attempt = send("https://nowhere.example/", PUBLIC, resolve=raising(missing))
    assert (attempt.outcome, attempt.status_code) == ("dns", None)
    assert "not known" in attempt.error
    for resolve in (raising(TimeoutError("slow")), raising(UnicodeError("x")), lambda host: []):
        assert send("https://nowhere.example/", PUBLIC, resolve=resolve).outcome == "dns"


def test_a_slow_look_up_ends_at_the_deadline_and_holds_nobody_up() -> None:
    release = threading.Event()

    def slow(host: str) -> list[str]:
        release.wait()
        return ["8.8.8.8"]

    with Receiver(answers(OK)) as receiver:
        attempts = send_all(
            [delivery("https://slow.example/"), delivery(receiver.url)] * 3,
            LOOPBACK,
            deadline=1.0,
            resolve=slow,
        )
    lookups = [thread for thread in threading.enumerate() if thread.name == "webhook-lookup"]
    assert len(lookups) == 1  # asked once for the batch, and nobody waits for it
    release.set()
    lookups[0].join()
    assert [attempt.outcome for attempt in attempts] == ["timeout", "delivered"] * 3


def test_one_waiters_deadline_does_not_end_the_look_up_of_the_others() -> None:
    release = threading.Event()

    def slow(host: str) -> list[str]:
        release.wait()
        return ["8.8.8.8"]

    async def wait_twice() -> list[str]:
        lookups = Lookups(slow)
        patient = asyncio.create_task(lookups.addresses("slow.example"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lookups.addresses("slow.example"), 0.01)
        release.set()
        return await patient

    assert asyncio.run(wait_twice()) == ["8.8.8.8"]


def test_a_resolver_that_breaks_is_that_attempts_failure_alone() -> None:
    with Receiver(answers(OK)) as receiver:
        attempts = send_all(
            [delivery("https://broken.example/"), delivery(receiver.url)],
            LOOPBACK,
            resolve=raising(ZeroDivisionError()),
        )
    assert [attempt.outcome for attempt in attempts] == ["protocol", "delivered"]
    assert "ZeroDivisionError" in attempts[0].error


def test_the_systems_resolver_gives_each_address_once() -> None:
    assert system_addresses("127.0.0.1") == ["127.0.0.1"]
    assert set(system_addresses("localhost")) & {"127.0.0.1", "::1"}


# Batches


def test_nothing_to_send_is_nothing_to_do() -> None:
    assert send_all([], PUBLIC) == []


def test_a_batch_keeps_its_order_and_one_that_hangs_delays_nobody() -> None:
    with Receiver(answers(OK)) as good, Receiver(hangs) as bad:
        urls = [bad.url, good.url, "https://127.1/", good.url, bad.url] * 4
        attempts = send_all([delivery(url) for url in urls], LOOPBACK, deadline=2.0)
    expected = {bad.url: "timeout", good.url: "delivered"}
    assert [attempt.outcome for attempt in attempts] == [
        expected.get(url, "blocked") for url in urls
    ]


def test_a_batch_larger_than_the_slots_takes_turns() -> None:
    with Receiver(answers(OK)) as receiver:
        attempts = send_all([delivery(receiver.url)] * (CONCURRENCY * 2 + 1), LOOPBACK)
    assert {attempt.outcome for attempt in attempts} == {"delivered"}
    assert receiver.connections == len(attempts) == len(receiver.requests)


def test_calls_repeat_in_any_thread_and_leave_nothing_open(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    certificate = server_tls(authority.issue_cert("127.0.0.1"))
    with (
        Receiver(answers(OK)) as good,
        Receiver(hangs) as hanging,
        Receiver(hangs, certificate) as hanging_tls,
        Receiver(repeats(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 10000), certificate) as endless,
        plain_port(hangs) as handshake,
    ):
        urls = [good.url, hanging.url, hanging_tls.url, endless.url]
        urls += [f"https://127.0.0.1:{handshake}/", "https://slow.example/"]
        results: list[list[str]] = []

        def call() -> None:
            attempts = send_all(
                [delivery(url) for url in urls],
                LOOPBACK,
                deadline=1.0,
                resolve=raising(OSError("no")),
                tls=trusting,
            )
            results.append([attempt.outcome for attempt in attempts])

        call()
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        call()
        ours = own_connections({good.port, hanging.port, hanging_tls.port, endless.port, handshake})
    expected = ["delivered", "timeout", "timeout", "delivered", "timeout", "dns"]
    assert results == [expected] * 3
    assert ours == []


def own_connections(ports: set[int]) -> list[tuple[str, int]]:
    """Return the peers of this process's sockets that are connected to one of ``ports``."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if not str(link.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(link.name))) as copy:
                peer = copy.getpeername()
                if isinstance(peer, tuple) and peer[1] in ports:
                    found.append(peer)
    return found
