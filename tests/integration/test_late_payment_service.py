"""Money that came after the end: one confirmed transaction for each old one, which stays."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.errors import (
    Forbidden,
    InsufficientScope,
    LimitExceeded,
    NotFound,
    NotLate,
    SecondPersonRequired,
)
from standart.models import LimitKind, Role, Scope
from standart.money import Money
from standart.services import late_payment_service, transaction_service
from standart.services.access import Origin
from standart.services.idempotency_service import IdempotencyClaim
from standart.services.late_payment_service import LatePayment
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, overdue
from tests.integration.books import findings
from tests.integration.concurrency import outcome
from tests.integration.limits import limit, rubles, want_unique_references
from tests.integration.movements import balance, body, late, paid, refund
from tests.world import contents

ABOVE_FIFTY = {"RUB": 50_00}

UNPAID = ["canceled", "expired", "overdue"]


def ended(
    connection: Connection,
    superuser: Engine,
    engine: Engine,
    owner: TestUser,
    state: str,
    **fields: Any,
) -> UUID:
    made = UUID(make_transaction(engine, owner, **fields)["id"])
    if state == "canceled":
        transaction_service.cancel(connection, owner.digest, ORIGIN, made, reason="gone")
    else:
        overdue(superuser, str(made))
    if state == "expired":
        assert transaction_service.expire_overdue(connection) == 1
    return made


def seen(connection: Connection, admin: TestUser, transaction_id: UUID) -> dict[str, Any]:
    answer = transaction_service.check(connection, admin.digest, ORIGIN, transaction_id)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def lifetime(told: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(told["expires_at"]) - datetime.fromisoformat(told["created_at"])


@pytest.mark.parametrize("state", UNPAID)
def test_a_late_payment_is_a_transaction_of_its_own(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    state: str,
) -> None:
    told = {"reference": "order-1", "description": "Two tickets", "metadata": {"cart": "17"}}
    old_id = ended(connection, superuser, engine, merchant, state, **told)
    old = seen(connection, admin, old_id)

    answer = late(engine, admin.digest, old_id)()

    made = body(answer)
    assert answer.status == 201
    assert made["id"] != old["id"]
    changed = {name for name in made if made[name] != old[name]}
    assert changed >= {"id", "status", "created_at", "finished_at", "expires_at", "late_for"}
    assert changed <= {
        "id",
        "status",
        "created_at",
        "finished_at",
        "expires_at",
        "late_for",
        "reason",
    }
    assert (made["status"], made["late_for"], made["reason"]) == ("confirmed", str(old_id), None)
    assert made["created_at"] == made["finished_at"] > old["finished_at"]
    assert lifetime(made) == lifetime(old)
    assert made == seen(connection, admin, UUID(made["id"]))
    assert seen(connection, admin, old_id) == old
    assert (balance(connection, merchant), balance(connection, merchant, "commission")) == (
        9700,
        300,
    )
    assert findings(engine) == []


def test_the_rate_is_that_of_the_old_one(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_id = ended(connection, superuser, engine, merchant, "canceled", amount="1", currency="JPY")
    with superuser.begin() as other:
        other.execute(text("UPDATE users SET commission_rate = 0.9"))
    made = body(late(engine, admin.digest, old_id)())
    shown = ("amount", "currency", "commission_rate", "commission", "net")
    assert [made[name] for name in shown] == ["1", "JPY", "0.03", "0", "1"]
    assert findings(engine) == []


@pytest.mark.parametrize("state", UNPAID)
def test_it_is_told_as_any_confirm_is(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    admin: TestUser,
    state: str,
) -> None:
    shop = make_user(engine, keyring, webhook_url="https://shop.example/")
    old_id = ended(connection, superuser, engine, shop, state)
    made = body(late(engine, admin.digest, old_id)())
    rows = connection.execute(
        text(
            "SELECT v.transaction_id, v.type, v.payload, d.state FROM events v"
            " JOIN deliveries d ON d.event_id = v.id ORDER BY v.created_at, v.id"
        )
    ).all()
    end = "canceled" if state == "canceled" else "expired"
    assert [(str(row.transaction_id), row.type, row.state) for row in rows] == [
        (str(old_id), f"transaction.{end}", "waiting"),
        (made["id"], "transaction.confirmed", "waiting"),
    ]
    payload = json.loads(rows[1].payload)
    assert (payload["id"], payload["status"], payload["data"]) == (made["id"], "confirmed", made)
    audit = connection.execute(
        text("SELECT action, actor_name, after FROM audit_log WHERE object_id = :id"),
        {"id": made["id"]},
    ).one()
    after = {"status": "confirmed", "late_for": str(old_id)}
    assert tuple(audit) == ("transaction.confirmed", admin.name, after)
    assert connection.scalar(
        text("SELECT actor_name FROM audit_log WHERE action = 'transaction.expired'")
    ) == (None if state == "canceled" else "system")


@pytest.mark.parametrize("state", UNPAID)
def test_repeating_it_changes_nothing(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    state: str,
) -> None:
    old_id = ended(connection, superuser, engine, merchant, state)
    request = late(engine, admin.digest, old_id)
    first = request()
    before = contents(connection)
    again = late(engine, admin.digest, old_id, alone=ABOVE_FIFTY)()
    assert (again.status, again.body) == (200, first.body)
    # The same request once more, as when the connection dies after the commit.
    assert request() == first
    assert contents(connection) == before


def test_what_was_given_back_of_it_is_shown_by_a_repeat(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_id = ended(connection, superuser, engine, merchant, "expired")
    made = body(late(engine, admin.digest, old_id)())
    refund(engine, admin.digest, UUID(made["id"]), "1.00")()
    assert body(late(engine, admin.digest, old_id)()) == {**made, "refunded_amount": "1.00"}
    assert findings(engine) == []


@pytest.mark.parametrize("state", ["pending", "confirmed", "late"])
def test_only_what_ended_unpaid_is_paid_late(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    state: str,
) -> None:
    if state == "confirmed":
        id_ = paid(engine, admin, merchant)
    elif state == "pending":
        id_ = UUID(make_transaction(engine, merchant)["id"])
    else:
        old_id = ended(connection, superuser, engine, merchant, "canceled")
        id_ = UUID(body(late(engine, admin.digest, old_id)())["id"])
    before = contents(connection)
    with pytest.raises(NotLate) as error:
        late(engine, admin.digest, id_)()
    shown = "pending" if state == "pending" else "confirmed"
    assert error.value.members == {"transaction_status": shown}
    with pytest.raises(NotFound):
        late(engine, admin.digest, uuid4())()
    assert contents(connection) == before


def test_only_admins_record_it(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_id = ended(connection, superuser, engine, merchant, "canceled")
    with pytest.raises(InsufficientScope) as error:
        late(engine, merchant.digest, old_id)()
    assert error.value.members == {"required_scope": "confirm"}
    # An admin's key outlives the role.
    with superuser.begin() as other:
        other.execute(text("UPDATE users SET role = 'regular' WHERE id = :id"), {"id": admin.id})
    before = contents(connection)
    refused = outcome(late(engine, admin.digest, old_id))
    assert type(refused) is InsufficientScope
    # No scope stands for the role.
    mighty = replace(merchant.actor, scopes=frozenset(Scope))
    payment = LatePayment(transaction_id=old_id)
    refused = outcome(
        lambda: late_payment_service.record_late_payment(connection, mighty, ORIGIN, payment)
    )
    assert type(refused) is Forbidden
    assert contents(connection) == before


def test_a_unique_reference_may_stand_on_a_late_payment_as_well(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    want_unique_references(engine, merchant)
    old_id = ended(connection, superuser, engine, merchant, "expired", reference="order-1")
    assert body(late(engine, admin.digest, old_id)())["reference"] == "order-1"
    assert findings(engine) == []


def test_a_fee_schedule_is_taken_over(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    with superuser.begin() as other:
        other.execute(
            text(
                "INSERT INTO fee_schedules (user_id, id, currency, rate, fixed, minimum, maximum,"
                " starts_at) VALUES (:user_id, :id, 'RUB', 0.01, 250, 100, 500,"
                " clock_timestamp() - interval '1 minute')"
            ),
            {"user_id": merchant.id, "id": uuid4()},
        )
    old_id = ended(connection, superuser, engine, merchant, "canceled")
    old = seen(connection, admin, old_id)
    assert old["fee_schedule"] is not None
    made = body(late(engine, admin.digest, old_id)())
    assert made["fee_schedule"] == old["fee_schedule"]
    assert made["commission"] == old["commission"] == "3.50"
    assert findings(engine) == []


def test_an_idempotency_key_replays_the_answer(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_id = ended(connection, superuser, engine, merchant, "overdue")
    claim = IdempotencyClaim.of("/record_late_payment", "k", b"{}")
    first = late(engine, admin.digest, old_id, claim=claim)()
    again = late(engine, admin.digest, old_id, claim=claim)()
    assert (first.status, first.replayed) == (201, False)
    assert (again.status, again.body, again.replayed) == (201, first.body, True)


@pytest.mark.parametrize("state", UNPAID)
def test_above_the_sum_two_people_agree(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    state: str,
) -> None:
    second = make_user(engine, keyring, role=Role.ADMIN)
    old_id = ended(connection, superuser, engine, merchant, state)

    first = late(engine, admin.digest, old_id, alone=ABOVE_FIFTY)()

    waiting = body(first)
    assert (first.status, waiting["id"], waiting["approvals"]) == (202, str(old_id), 1)
    assert waiting["status"] == ("canceled" if state == "canceled" else "expired")
    assert waiting == seen(connection, admin, old_id)
    assert balance(connection, merchant) == 0
    audit = connection.execute(
        text("SELECT object_id, actor_name FROM audit_log WHERE action = 'late_payment.approved'")
    ).one()
    assert tuple(audit) == (str(old_id), admin.name)
    before = contents(connection)
    with pytest.raises(SecondPersonRequired):
        late(engine, admin.digest, old_id, alone=ABOVE_FIFTY)()
    assert contents(connection) == before

    made = late(engine, second.digest, old_id, alone=ABOVE_FIFTY)()

    assert (made.status, body(made)["approvals"]) == (201, 2)
    assert body(made) == seen(connection, admin, UUID(body(made)["id"]))
    for who in (admin, second):
        again = late(engine, who.digest, old_id, alone=ABOVE_FIFTY)()
        assert (again.status, again.body) == (200, made.body)
    assert balance(connection, merchant) == 9700
    assert findings(engine) == []


def test_up_to_the_sum_one_person_suffices(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    of_other = {"USD": 1, "RUB": 100_00}
    old_id = ended(connection, superuser, engine, merchant, "canceled")
    assert late(engine, admin.digest, old_id, alone=of_other)().status == 201


def test_a_consent_whose_answer_was_lost_is_answered_again(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_id = ended(connection, superuser, engine, merchant, "canceled")
    origin, act = Origin("api", "call-17", None), LatePayment(transaction_id=old_id)
    answers = [
        late_payment_service.record_late_payment(
            connection, admin.digest, origin, act, alone=ABOVE_FIFTY
        )
        for _ in range(2)
    ]
    with pytest.raises(SecondPersonRequired):
        late_payment_service.record_late_payment(
            connection, admin.digest, origin, LatePayment(transaction_id=old_id), alone=ABOVE_FIFTY
        )
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].body == answers[1].body


def test_the_panel_may_record_it_too(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_id = ended(connection, superuser, engine, merchant, "expired")
    answer = late_payment_service.record_late_payment(
        connection, admin.actor, ORIGIN, LatePayment(transaction_id=old_id)
    )
    assert answer.status == 201
    named = connection.scalar(
        text("SELECT actor_id FROM audit_log WHERE action = 'transaction.confirmed'")
    )
    assert named == admin.id


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (LimitKind.TRANSACTION_AMOUNT, rubles("1.00")),
        (LimitKind.DAILY_AMOUNT, rubles("100.00")),
        (LimitKind.DAILY_COUNT, 1),
    ],
)
def test_late_money_passes_every_limit_and_takes_its_room(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    kind: LimitKind,
    value: Money | int,
) -> None:
    old = UUID(make_transaction(engine, merchant)["id"])
    transaction_service.cancel(connection, merchant.digest, ORIGIN, old)
    limit(engine, merchant, kind, value)

    assert late(engine, admin.digest, old)().status == 201

    with pytest.raises(LimitExceeded):
        make_transaction(engine, merchant, amount="1.01")
