from __future__ import annotations

import base64
import binascii
import hmac
import time
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from standart.webhooks.signing import headers as signed_headers
from standart.webhooks.signing import new_secret, sign

# The vector that the reference libraries of Standard Webhooks publish in their tests.
PUBLISHED_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLISHED_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
PUBLISHED_TIMESTAMP = 1614265330
PUBLISHED_BODY = b'{"test": 2432232314}'
PUBLISHED_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(signature: str, event_id: str, timestamp: int) -> dict[str, str]:
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


def test_published_vector() -> None:
    signature = sign([PUBLISHED_SECRET], PUBLISHED_ID, PUBLISHED_TIMESTAMP, PUBLISHED_BODY)
    assert signature == PUBLISHED_SIGNATURE


def test_what_is_signed_is_what_the_specification_shows() -> None:
    """Its example of `{msg_id}.{timestamp}.{payload}`, hashed without our code."""
    body = (
        b'{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z",'
        b'"data":{"id":"1f81eb52-5198-4599-803e-771906343485"}}'
    )
    content = b"msg_2KWPBgLlAfxdpx2AI54pPJ85f4W.1674087231." + body
    key = base64.b64decode(PUBLISHED_SECRET.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, content, "sha256").digest()).decode()
    message_id, timestamp, _ = content.decode().split(".", 2)
    assert sign([PUBLISHED_SECRET], message_id, int(timestamp), body) == f"v1,{digest}"


def test_the_headers_of_a_message_are_all_that_the_specification_asks_for() -> None:
    sent = signed_headers([PUBLISHED_SECRET], PUBLISHED_ID, PUBLISHED_TIMESTAMP, PUBLISHED_BODY)
    named = headers(PUBLISHED_SIGNATURE, PUBLISHED_ID, PUBLISHED_TIMESTAMP)
    assert {name: sent[name] for name in named} == named
    assert sent["content-type"] == "application/json"
    assert set(sent) == {*named, "content-type", "user-agent"}


@given(body=st.text(max_size=200))
def test_the_reference_library_accepts_what_we_sign(body: str) -> None:
    secret, now = new_secret(), int(time.time())
    raw = body.encode("utf-8", "ignore")
    signature = sign([secret], "0198f0c2-aaaa", now, raw)
    Webhook(secret).verify(raw, headers(signature, "0198f0c2-aaaa", now), json_parse=False)


@pytest.mark.parametrize(
    ("event_id", "shift", "body"),
    [("other", 0, b"{}"), ("event", 1, b"{}"), ("event", 0, b"{} ")],
    ids=["id", "timestamp", "body"],
)
def test_any_change_breaks_the_signature(event_id: str, shift: int, body: bytes) -> None:
    secret, now = new_secret(), int(time.time())
    signature = sign([secret], "event", now, b"{}")
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers(signature, event_id, now + shift))


def test_during_a_rotation_both_secrets_verify_and_a_third_does_not() -> None:
    current, previous, now = new_secret(), new_secret(), int(time.time())
    signature = sign([current, previous], "event", now, b"{}")
    assert [part[:3] for part in signature.split(" ")] == ["v1,", "v1,"]
    for secret in (current, previous):
        Webhook(secret).verify(b"{}", headers(signature, "event", now))
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(b"{}", headers(signature, "event", now))


def test_new_secrets_hold_32_bytes_and_differ() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not*base64", "whsec_abc", "whsec_é"],
)
def test_a_malformed_secret_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match="must be whsec_ followed by base64") as caught:
        sign([secret], "event", 1, b"{}")
    told = "".join(traceback.format_exception_only(caught.value))
    assert "not*base64" not in told
    assert caught.value.__suppress_context__
    assert not isinstance(caught.value, binascii.Error)


def test_no_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one secret"):
        sign([], "event", 1, b"{}")
