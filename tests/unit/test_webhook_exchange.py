"""The bytes of a request, and answers as they come in; no sockets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from standart.webhooks.addresses import UrlRules, parse_url
from standart.webhooks.exchange import (
    Answer,
    BadHeader,
    Malformed,
    Meter,
    request_bytes,
    request_line,
)
from standart.webhooks.outcomes import retry_after_seconds

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


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


# The request

TARGET = parse_url("https://hooks.example.com:8443/a?b=c", UrlRules())


def test_a_request_is_built_from_checked_parts() -> None:
    raw = request_bytes(request_line(TARGET), {"X-A": "\xe9 \t"}, b"\x00body")
    assert raw == (
        b"POST /a?b=c HTTP/1.1\r\nHost: hooks.example.com:8443\r\nX-A: \xe9 \t\r\n"
        b"Content-Type: application/json\r\nAccept-Encoding: identity\r\n"
        b"Content-Length: 5\r\n\r\n\x00body"
    )


@pytest.mark.parametrize(
    "value", ["a\rb", "a\nb", "a\r\nX: y", "a\x00b", "Я", "a\u2028b", "\ud800"]
)
def test_a_value_that_would_break_the_head_is_refused(value: str) -> None:
    with pytest.raises(BadHeader, match="X-A"):
        request_bytes(request_line(TARGET), {"X-A": value}, b"")


@pytest.mark.parametrize(
    "name",
    ["", " ", "X:A", "X A", "X\r\nA", "Ж", "X\x00", "Host", "content-length", "Transfer-Encoding"],
    ids=ascii,
)
def test_a_name_that_is_no_token_or_the_senders_own_is_refused(name: str) -> None:
    with pytest.raises(BadHeader):
        request_bytes(request_line(TARGET), {name: "1"}, b"")


# The answer


def heard(raw: bytes, size: int) -> Answer:
    answer = Answer()
    for start in range(0, len(raw), size):
        answer.feed(raw[start : start + size])
    return answer


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("raw", "status", "body", "reusable"),
    [
        (OK, 200, b"ok", True),
        (OK + b"H", 200, b"ok", False),
        (OK + b"\x00", 200, b"ok", False),
        (OK + OK, 200, b"ok", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok", True),
        (b"HTTP/1.1 102 X\r\nX: 1\r\n\r\nHTTP/1.1 103 X\r\n\r\n" + OK, 200, b"ok", True),
        (b"HTTP/1.1 204 X\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\nok", 204, b"", False),
        (b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok", True),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
        (CHUNKED + b"1 \r\no\r\n1;x=y\r\nk\r\n0\r\nX: y\r\n\r\n", 200, b"ok", True),
        (
            b"HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
            200,
            b"ok",
            True,
        ),
        (b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw", 101, b"", False),
        (b"HTTP/1.1 101 X\r\n\r\nraw", 101, b"", False),
    ],
    ids=range(16),
)
def test_an_answer_means_the_same_however_the_network_cuts_it(
    size: int, raw: bytes, status: int, body: bytes, reusable: bool
) -> None:
    answer = heard(raw, size)
    assert answer.complete
    assert (answer.status, bytes(answer.body), answer.reusable) == (status, body, reusable)
    assert b"X" not in dict(answer.fields)  # neither of an interim answer nor of a trailer
    assert answer.end()


@pytest.mark.parametrize(
    ("head", "ends"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", False),
        (CHUNKED, False),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", False),
        (b"HTTP/1.1 103 X\r\n\r\n", False),
        (b"", False),
    ],
)
def test_the_end_of_the_connection_ends_a_body_without_framing(head: bytes, ends: bool) -> None:
    answer = heard(head, 1000)
    assert not answer.complete
    assert answer.end() is ends
    assert not answer.reusable


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 000 X\r\n\r\n",
        b"HTTP/3.7 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_malformed(raw: bytes) -> None:
    answer = Answer()
    with pytest.raises(Malformed):
        answer.feed(raw)
    assert answer.status is None


def test_only_the_start_of_a_body_is_kept() -> None:
    answer = heard(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000, 999)
    assert bytes(answer.body) == b"x" * 4096
