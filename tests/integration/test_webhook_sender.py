"""What the sender sends, and what it makes of ordinary answers; real servers on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme

from standart.webhooks.sender import CONCURRENCY, Attempt, Delivery, Sender, Timing, send_all
from tests.integration.webhook_receivers import (
    LOOPBACK,
    NAMES,
    OK,
    PUBLIC,
    Receiver,
    answers,
    delivery,
    hangs,
    own_connections,
    plain_port,
    raising,
    repeats,
    send,
    sending,
    server_tls,
    untouched,
)


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


def test_nothing_to_send_is_nothing_to_do() -> None:
    assert send_all([], PUBLIC) == []


def test_a_batch_keeps_its_order_and_one_that_hangs_delays_nobody() -> None:
    with Receiver(answers(OK)) as good, Receiver(hangs) as bad:
        urls = [bad.url, good.url, "https://127.1/", good.url, bad.url] * 4
        attempts = send_all([delivery(url) for url in urls], LOOPBACK, deadline=4.0)
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
                deadline=3.0,
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


# What an attempt tells


def test_a_new_connection_to_an_address_has_no_look_up_and_no_tls() -> None:
    with Receiver(answers(OK), keeps=True) as receiver:

        async def work(sender: Sender) -> list[Attempt]:
            return [await sender.send(delivery(receiver.url)) for _ in range(2)]

        fresh, kept = sending(work)
    assert (fresh.timing.dns_ms, fresh.timing.tls_ms) == (None, None)
    assert isinstance(fresh.timing.connect_ms, int)
    assert isinstance(fresh.timing.first_byte_ms, int)
    assert kept.timing == Timing(first_byte_ms=kept.timing.first_byte_ms)
    assert isinstance(kept.timing.first_byte_ms, int)


def test_each_phase_has_its_own_time(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    def slow(host: str) -> list[str]:
        threading.Event().wait(0.06)
        return ["127.0.0.1"]

    def late(connection: socket.socket, stop: threading.Event) -> None:
        stop.wait(0.03)
        connection.sendall(OK)

    context = server_tls(authority.issue_cert("hooks.example.com"))
    with Receiver(late, context) as receiver:
        url = f"https://hooks.example.com:{receiver.port}/"
        attempt = send(url, NAMES, resolve=slow, tls=trusting)
    timing = attempt.timing
    assert attempt.outcome == "delivered"
    assert timing.dns_ms is not None
    assert timing.dns_ms >= 60
    assert timing.connect_ms is not None
    assert timing.tls_ms is not None
    assert timing.first_byte_ms is not None
    assert timing.first_byte_ms >= 30
    parts = timing.dns_ms + timing.connect_ms + timing.tls_ms + timing.first_byte_ms
    assert parts <= attempt.duration_ms + 2  # each is rounded


def test_phases_that_did_not_end_have_no_time() -> None:
    with Receiver(hangs) as receiver:
        silent = send(receiver.url, deadline=2.0).timing
    assert silent.connect_ms is not None
    assert silent.first_byte_ms is None
    blocked = send("http://10.0.0.1/", LOOPBACK).timing
    assert blocked == Timing()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refused = send(f"http://127.0.0.1:{bound.getsockname()[1]}/").timing
    assert refused == Timing()
    with plain_port(hangs) as port:
        half = send(f"https://127.0.0.1:{port}/", deadline=2.0).timing
    assert half.connect_ms is not None
    assert (half.tls_ms, half.first_byte_ms) == (None, None)


def test_the_headers_of_the_answer_are_kept() -> None:
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        b"HTTP/1.1 500 X\r\nContent-Type: text/plain\r\nX-Two: a\r\nx-two:  b \r\n"
        b"X-Odd: \xd1\x8f\xff\r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    with Receiver(answers(raw)) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.excerpt, attempt.error) == ("http_500", "ok", "")
    assert attempt.response_headers == {
        "content-type": "text/plain",
        "x-two": "a, b",
        "x-odd": "я\ufffd",
        "x-empty": "",
        "transfer-encoding": "chunked",
    }


def test_an_attempt_without_a_whole_head_has_no_headers() -> None:
    with Receiver(answers(b"HTTP/1.1 200 OK\r\nX: 1\r\nY: ")) as receiver:
        attempt = send(receiver.url)
    assert (attempt.outcome, attempt.response_headers) == ("protocol", {})


def test_four_kib_of_the_headers_are_kept_and_retry_after_counts_anywhere() -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 1000) for number in range(10))
    raw = b"HTTP/1.1 503 X\r\n%sRetry-After: 7\r\nContent-Length: 0\r\n\r\n" % fields
    with Receiver(answers(raw)) as receiver:
        attempt = send(receiver.url)
    assert attempt.retry_after == 7
    assert attempt.response_headers.items() >= {"x-0": "v" * 1000, "retry-after": "7"}.items()
    assert sum(len(name) + len(value) for name, value in attempt.response_headers.items()) <= 4096


def test_a_header_that_cannot_be_sent_fails_its_own_delivery_alone() -> None:
    with Receiver(answers(OK)) as receiver:
        attempts = send_all(
            [
                delivery(receiver.url, **{"X-A": "b\r\nX-Admin: 1"}),
                delivery(receiver.url, Host="other.example"),
                delivery(receiver.url),
            ],
            LOOPBACK,
        )
    assert [attempt.outcome for attempt in attempts] == ["protocol", "protocol", "delivered"]
    assert "'X-A'" in attempts[0].error
    assert "'Host'" in attempts[1].error
    assert receiver.connections == 1
