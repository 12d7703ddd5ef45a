"""The example receiver believes exactly what an independent implementation signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from standart.embedded.receiver import is_genuine
from standart.webhooks.signing import new_secret

BODY = b'{"type": "transaction.confirmed"}'


def signed(secret: str, at: datetime) -> tuple[str, str]:
    signature = Webhook(secret).sign("evt_1", at, BODY.decode())
    return str(int(at.timestamp())), signature


def test_a_fresh_signature_is_genuine_also_beside_an_older_one() -> None:
    secret = new_secret()
    timestamp, signature = signed(secret, datetime.now(UTC))
    _, other = signed(new_secret(), datetime.now(UTC))
    assert is_genuine(secret, "evt_1", timestamp, signature, BODY)
    assert is_genuine(secret, "evt_1", timestamp, f"{other} {signature}", BODY)


def test_whatever_was_changed_is_refused() -> None:
    secret = new_secret()
    timestamp, signature = signed(secret, datetime.now(UTC))
    assert not is_genuine(new_secret(), "evt_1", timestamp, signature, BODY)
    assert not is_genuine(secret, "evt_2", timestamp, signature, BODY)
    assert not is_genuine(secret, "evt_1", str(int(timestamp) + 1), signature, BODY)
    assert not is_genuine(secret, "evt_1", timestamp, signature, BODY + b" ")
    assert not is_genuine(secret, "evt_1", timestamp, "", BODY)
    assert not is_genuine(secret, "evt_1", timestamp, "v1,\u00e9", BODY)


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_an_old_message_may_be_a_replay(age: timedelta) -> None:
    secret = new_secret()
    timestamp, signature = signed(secret, datetime.now(UTC) - age)
    assert not is_genuine(secret, "evt_1", timestamp, signature, BODY)


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1.5", "１"])
def test_a_nonsensical_time_is_refused(timestamp: str) -> None:
    assert not is_genuine(new_secret(), "evt_1", timestamp, "v1,x", BODY)
