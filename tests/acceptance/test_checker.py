"""The outside checker sees each kind of damage; one that sees nothing would prove nothing."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.services import transaction_service
from tests import builders
from tests.acceptance.checker import Checker, check, commission, leaks
from tests.acceptance.client import Client, Reply
from tests.acceptance.load import CREATE, Act, ClientLog
from tests.acceptance.receiver import Receiver, receiver
from tests.builders import ORIGIN, TestUser

NOBODY = Client(0, "")

DAMAGE = {
    "I1": "UPDATE entries SET amount = amount + 1 WHERE kind = 'commission'",
    "I2": "UPDATE balance_deltas SET amount = amount + 1 WHERE kind = 'clearing'",
    "I3": "UPDATE balance_deltas SET amount = amount - 1 WHERE kind = 'available'",
    "I4": "DELETE FROM audit_log WHERE action = 'transaction.canceled'",
    "I5": "DELETE FROM journals",
    "I6": "DELETE FROM events WHERE type = 'transaction.confirmed'",
    "I8": "UPDATE deliveries"
    " SET lease = id, next_attempt_at = clock_timestamp() + interval '1 hour'",
    "I15": "UPDATE transactions SET commission = commission - 1 WHERE status = 'pending'",
    "I17": "UPDATE transactions SET finished_at = expires_at + interval '1 s'"
    " WHERE status = 'canceled'",
}


def damaged(superuser: Engine, statement: str) -> Any:
    """What the checker says while triggers and checks are off and ``statement`` has been run.

    All of it is rolled back: the next test finds the schema as it was.
    """
    with superuser.connect() as connection, connection.begin() as unit:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for name in ("commission_rule", "finished_in_time"):
            drop = f"ALTER TABLE transactions DROP CONSTRAINT ck_transactions_{name}"
            connection.execute(text(drop))
        assert connection.execute(text(statement)).rowcount > 0
        checker = Checker(connection)
        checker.books()
        unit.rollback()
    return checker.findings


@pytest.fixture
def ended(engine: Engine, keyring: Keyring, admin: TestUser) -> TestUser:
    """A merchant with a confirmed, a canceled and a pending transaction."""
    shop = builders.make_user(engine, keyring, webhook_url="http://127.0.0.1:9/")
    made = [builders.make_transaction(engine, shop)["id"] for _ in range(3)]
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, made[0])
        transaction_service.cancel(connection, shop.digest, ORIGIN, made[1])
    return shop


def test_right_books_have_no_findings(engine: Engine, ended: TestUser) -> None:
    check(engine, swept=True)


@pytest.mark.parametrize("invariant", DAMAGE)
def test_damage_is_named(invariant: str, superuser: Engine, ended: TestUser) -> None:
    findings = damaged(superuser, DAMAGE[invariant])
    assert any(each.startswith(f"{invariant} ") for each in findings), findings


def test_an_overdue_one_is_named_once_a_sweep_was_due(
    engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    builders.overdue(superuser, builders.make_transaction(engine, merchant)["id"])
    check(engine)
    with pytest.raises(AssertionError, match="I17 overdue"):
        check(engine, swept=True)


def acknowledged(shown: dict[str, Any]) -> ClientLog:
    """The log of a client that has created what was ``shown`` to it."""
    reply = Reply(201, {}, json.dumps(shown).encode())
    return ClientLog([Act(NOBODY, CREATE, shown["reference"], {}, reply)])


def test_what_clients_know_is_compared(engine: Engine, merchant: TestUser) -> None:
    shown = builders.make_transaction(engine, merchant, reference="n1")
    check(engine, clients=acknowledged(shown))
    with pytest.raises(AssertionError, match="I11 acknowledged as"):
        check(engine, clients=acknowledged(shown | {"amount": "100.01"}))
    with pytest.raises(AssertionError, match="I11 acknowledged and lost"):
        check(engine, clients=acknowledged(shown | {"id": str(merchant.id)}))
    builders.make_transaction(engine, merchant, reference="n1")
    with pytest.raises(AssertionError, match="I14 n1 made 2"):
        check(engine, clients=acknowledged(shown))


@pytest.mark.parametrize(
    ("reply", "surprises"),
    [
        (Reply(500, {}, b"{}"), 1),
        (Reply(503, {"content-type": "text/plain"}, b"{}"), 1),
        (Reply(409, {}, b'{"code": "id_conflict"}'), 1),
        (Reply(409, {}, b'{"code": "not_pending"}'), 0),
        (Reply(201, {}, b"{}"), 0),
        (None, 0),
    ],
)
def test_answers_that_nobody_should_hear_are_kept(reply: Reply | None, surprises: int) -> None:
    log = ClientLog()
    log.judge(reply)
    assert len(log.surprises) == surprises


def test_a_forged_webhook_is_named(engine: Engine, merchant: TestUser) -> None:
    with receiver() as sink:
        sink.secret = merchant.webhook_secret
        moment = str(int(time.time()))
        sink.take(
            {"webhook-id": "x", "webhook-timestamp": moment, "webhook-signature": "v1,eA=="}, b"{}"
        )
        findings = webhook_findings(engine, sink, merchant)
    assert "No matching signature" in findings
    assert "I9 unknown webhooks: x" in findings


def webhook_findings(engine: Engine, sink: Receiver, merchant: TestUser) -> str:
    with pytest.raises(AssertionError) as caught:
        check(engine, receiver=sink, user_id=str(merchant.id))
    return str(caught.value)


def test_a_delivery_that_only_the_sender_knows_of_is_named(
    engine: Engine, superuser: Engine, ended: TestUser
) -> None:
    with superuser.begin() as connection:
        connection.execute(
            text("UPDATE deliveries SET state = 'delivered', next_attempt_at = NULL")
        )
    with receiver() as sink:
        assert "is delivered, says the sender alone" in webhook_findings(engine, sink, ended)


def test_a_secret_in_a_log_is_named(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    log.write_text("ready\nAuthorization: Bearer sk_live_0123456789\n")
    assert leaks([log], ["sk_live_0123456789", "absent"]) == ["1.log holds sk_liv…"]


@pytest.mark.parametrize(
    ("amount", "rate", "expected"),
    [(1250, "0.001", 1), (1500, "0.001", 2), (50, "0.01", 1), (49, "0.01", 0), (1, "1", 1)],
)
def test_its_commission_is_half_up(amount: int, rate: str, expected: int) -> None:
    assert commission(amount, Fraction(rate)) == expected
