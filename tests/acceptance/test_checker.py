"""The outside checker sees each kind of damage; one that sees nothing would prove nothing."""

from __future__ import annotations

import json
import re
import time
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.services import ledger_service, transaction_service
from tests import builders, movements
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


# The same by the ways that money goes beside payments.
MORE_DAMAGE = [
    ("I1", "UPDATE entries SET amount = amount + 1 WHERE kind = 'adjustment'"),
    ("I2", "UPDATE accounts SET balance = balance + 1 WHERE kind = 'pending_payout'"),
    ("I3 a balance", "UPDATE refunds SET amount = amount + 1 WHERE id = :refund"),
    ("I3 a balance", "UPDATE payouts SET amount = amount + 1 WHERE id = :payout_paid"),
    ("I3 a balance", "UPDATE adjustments SET amount = amount + 1 WHERE id = :opening"),
    ("I3 what is reserved", "UPDATE payouts SET amount = amount + 1 WHERE id = :reserved"),
    ("I3 a merchant", "UPDATE accounts SET balance = -1000000 WHERE kind = 'pending_payout'"),
    ("I3 more", "UPDATE refunds SET amount = 10000 WHERE id = :refund"),
    ("I3 more", "UPDATE refunds SET commission_returned = 301 WHERE id = :refund"),
    ("I3 more", "UPDATE refunds SET transaction_id = :old WHERE id = :refund"),
    ("I5 a refund", "DELETE FROM journals WHERE refund_id = :refund"),
    ("I5 a refund", "DELETE FROM journals WHERE kind = 'payout_paid'"),
    ("I5 a refund", "UPDATE adjustments SET status = 'canceled' WHERE id = :credit"),
    ("I5 a late", "UPDATE transactions SET amount = amount + 1 WHERE late_for IS NOT NULL"),
    ("I5 a late", "UPDATE transactions SET status = 'confirmed' WHERE id = :old"),
    ("I6 a refund", "DELETE FROM events WHERE type = 'payout.approved'"),
    ("I6 a refund", "DELETE FROM events WHERE type = 'balance.adjusted'"),
    ("I6 a refund", "UPDATE events SET type = 'refund.undone' WHERE refund_id = :refund"),
    ("I7 the changes", "UPDATE events SET sequence = 2 WHERE refund_id = :refund"),
    ("I7 the changes", "UPDATE events SET sequence = 2 WHERE type = 'payout.paid'"),
    ("I7 the changes", "UPDATE events SET sequence = 2 WHERE transaction_id = :late"),
    ("I7 the changes", "UPDATE events SET sequence = 1 WHERE transaction_id = :confirmed"),
    ("I7 the changes", "UPDATE events SET created_at = '2020-01-01' WHERE type = 'payout.paid'"),
    ("I7 the changes", "DELETE FROM events WHERE type = 'payout.created'"),
    ("I7 an event", "UPDATE events SET sequence = 3 WHERE type = 'payout.approved'"),
    ("I15", "UPDATE transactions SET fee_fixed = 1 WHERE id = :confirmed"),
    ("I15", "UPDATE transactions SET fee_maximum = 299 WHERE id = :confirmed"),
    ("I15", "UPDATE transactions SET fee_minimum = 301 WHERE id = :confirmed"),
]


def damaged(superuser: Engine, statement: str, ids: dict[str, UUID] | None = None) -> Any:
    """What the checker says while triggers and checks are off and ``statement`` has been run.

    All of it is rolled back: the next test finds the schema as it was.
    """
    with superuser.connect() as connection, connection.begin() as unit:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for name in (
            "transactions_commission_rule",
            "transactions_finished_in_time",
            "transactions_fee_of_its_schedule",
            "accounts_guarded_not_negative",
            "refunds_commission_when_wanted",
        ):
            table, _, _ = name.partition("_")
            connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT ck_{name}"))
        used = {name: id_ for name, id_ in (ids or {}).items() if f":{name}" in statement}
        assert connection.execute(text(statement), used).rowcount > 0
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


@pytest.fixture
def moved(engine: Engine, keyring: Keyring, admin: TestUser) -> dict[str, UUID]:
    """Ids of a merchant's whose money was moved in every way."""
    shop = builders.make_user(engine, keyring)
    paid, old = (UUID(builders.make_transaction(engine, shop)["id"]) for _ in range(2))
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, paid)
        transaction_service.cancel(connection, shop.digest, ORIGIN, old)
        ids = movements.every_kind(connection, shop.id, paid)
        ledger_service.fold_deltas(connection)
        late = movements.Mover(connection, shop.id).pay_late(old)
    return ids | {"confirmed": paid, "old": old, "late": late}


@pytest.mark.parametrize(("invariant", "statement"), MORE_DAMAGE)
def test_damage_beside_payments_is_named(
    invariant: str, statement: str, engine: Engine, superuser: Engine, moved: dict[str, UUID]
) -> None:
    check(engine, swept=True)
    findings = damaged(superuser, statement, moved)
    assert any(re.match(rf"{invariant}\b", each) for each in findings), findings


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
