"""What a receiver may do to the sender."""

from __future__ import annotations

import gzip
import socket

import pytest

from standart.webhooks.sender import READ_LIMIT
from tests.integration.webhook_receivers import (
    PUBLIC,
    Handler,
    Receiver,
    answers,
    closes,
    hangs,
    repeats,
    resets,
    send,
)


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
        attempt = send(receiver.url, deadline=3.0)
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


def test_an_answer_of_just_the_limit_is_complete() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    room = READ_LIMIT - len(head % 10000)
    for body, error in ((room, False), (room + 1, True)):
        with Receiver(answers(head % body + b"a" * body)) as receiver:
            attempt = send(receiver.url)
        assert attempt.outcome == "delivered"
        assert bool(attempt.error) is error
