"""The sender and TLS."""

from __future__ import annotations

import ssl
import warnings
from datetime import UTC, datetime

import pytest
import trustme

from standart.webhooks.tls import verified_tls
from tests.integration.webhook_receivers import (
    NAMES,
    OK,
    Receiver,
    answers,
    hangs,
    plain_port,
    repeats,
    send,
    server_tls,
)


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
