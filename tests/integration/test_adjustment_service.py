"""Adjustments: what they post, who may make them, and two people above a sum."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.errors import (
    AdjustmentState,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InsufficientBalance,
    InsufficientScope,
    InvalidInput,
    NotFound,
    SecondPersonRequired,
    Unauthenticated,
)
from standart.models import Role, Scope, User
from standart.services import adjustment_list, adjustment_service, ledger_service, posting
from standart.services.access import Actor
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest, digest_of
from standart.states import AdjustmentStatus
from tests.builders import ORIGIN, TestUser, make_key, make_user, row_counts
from tests.integration.books import findings
from tests.integration.concurrency import together
from tests.world import contents

ALONE = {"RUB": 10_000}


@pytest.fixture
def other(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, role=Role.ADMIN)


def claim(path: str, key: str = "k", body: bytes = b"{}") -> IdempotencyClaim:
    return IdempotencyClaim.of(path, key, body)


def new(owner: TestUser, amount: str, direction: str = "credit", **fields: Any) -> NewAdjustment:
    return NewAdjustment(
        **{"user_id": owner.id, "reason": "Counted anew", **fields},
        amount=amount,
        direction=Direction(direction),
    )


def create(
    connection: Connection,
    caller: TestUser | KeyDigest | Actor,
    asked: NewAdjustment,
    claimed: IdempotencyClaim | None = None,
) -> Answer:
    who = caller.digest if isinstance(caller, TestUser) else caller
    return adjustment_service.create(connection, who, ORIGIN, asked, claim=claimed, alone=ALONE)


def approve(
    connection: Connection,
    caller: TestUser,
    adjustment_id: UUID,
    claimed: IdempotencyClaim | None = None,
    alone: dict[str, int] = ALONE,
) -> Answer:
    return adjustment_service.approve(
        connection, caller.digest, ORIGIN, adjustment_id, claim=claimed, alone=alone
    )


def cancel(connection: Connection, caller: TestUser, adjustment_id: UUID) -> Answer:
    return adjustment_service.cancel(connection, caller.digest, ORIGIN, adjustment_id)


def wire(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    return body


def pending(connection: Connection, caller: TestUser, asked: NewAdjustment) -> UUID:
    answer = create(connection, caller, asked)
    assert answer.status == 202
    return UUID(wire(answer)["id"])


def available(connection: Connection, owner: TestUser) -> dict[str, int]:
    return dict(ledger_service.balances(connection, owner.actor))


def log(connection: Connection) -> list[tuple[str, str]]:
    rows = connection.execute(
        text(
            "SELECT action, actor_name FROM audit_log WHERE object_type = 'adjustment' ORDER BY id"
        )
    )
    return [(row[0], row[1]) for row in rows]


def test_a_credit_is_posted_told_and_logged_at_once(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    before = row_counts(connection)
    asked = new(merchant, "12.50")

    answer = create(connection, admin, asked)

    body = wire(answer)
    assert answer.status == 201
    assert body == {
        "id": str(asked.fresh_id),
        "user_id": str(merchant.id),
        "kind": "adjustment",
        "direction": "credit",
        "amount": "12.50",
        "currency": "RUB",
        "reason": "Counted anew",
        "status": "posted",
        "approvals": 0,
        "created_at": body["created_at"],
        "finished_at": body["created_at"],
    }
    assert available(connection, merchant) == {"RUB": 1250}
    after = row_counts(connection)
    written = {table: after[table] - before[table] for table in after}
    assert {table: count for table, count in written.items() if count} == {
        **dict.fromkeys(("adjustments", "journals", "events", "audit_log"), 1),
        **dict.fromkeys(("entries", "balance_deltas"), 2),
    }
    entries = connection.execute(text("SELECT kind, amount FROM entries ORDER BY line")).all()
    assert entries == [("available", 1250), ("adjustment", -1250)]
    told = json.loads(str(connection.scalar(text("SELECT payload FROM events"))))
    assert (told["type"], told["id"], told["data"]) == ("balance.adjusted", body["id"], body)
    record = connection.execute(text("SELECT * FROM audit_log ORDER BY id DESC LIMIT 1")).one()
    assert (record.action, record.actor_name) == ("adjustment.posted", admin.name)
    assert record.after["reason"] == "Counted anew"
    assert findings(engine) == []


@pytest.mark.parametrize("folded", [False, True])
def test_a_debit_takes_what_is_there_and_not_more(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, folded: bool
) -> None:
    create(connection, admin, new(merchant, "20.00"))
    if folded:
        assert posting.fold(connection, batch=100) == 2
    assert create(connection, admin, new(merchant, "15.00", "debit")).status == 201
    before = contents(connection)

    with pytest.raises(InsufficientBalance) as error:
        create(connection, admin, new(merchant, "5.01", "debit"))

    assert error.value.members == {"currency": "RUB", "available": "5.00"}
    assert contents(connection) == before
    assert available(connection, merchant) == {"RUB": 500}
    assert findings(engine) == []


def test_other_currencies_and_deactivated_merchants(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    with Session(engine) as session, transaction(session):
        session.get_one(User, merchant.id).active = False
    assert wire(create(connection, admin, new(merchant, "700", currency="JPY")))["amount"] == "700"
    assert wire(create(connection, admin, new(merchant, "0.000001", currency="USDT")))[
        "amount"
    ] == ("0.000001")
    with pytest.raises(InvalidInput):
        create(connection, admin, new(merchant, "1.5", currency="JPY"))
    assert findings(engine) == []


def test_who_may_adjust(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    waiting = pending(connection, admin, new(merchant, "100.01"))
    poor = digest_of(make_key(engine, admin, Scope.READ, Scope.WRITE, Scope.PAYOUT, Scope.REFUND))
    before = contents(connection)
    for caller in (merchant.digest, poor):
        for act in (
            partial(create, connection, caller, new(merchant, "1.00")),
            partial(adjustment_service.approve, connection, caller, ORIGIN, waiting),
            partial(adjustment_service.cancel, connection, caller, ORIGIN, waiting),
        ):
            with pytest.raises(InsufficientScope):
                act()
    with pytest.raises(InvalidInput) as error:
        create(connection, admin, new(merchant, "1.00", user_id=UUID(int=7)))
    assert [each.field for each in error.value.errors] == ["user_id"]
    for step in (approve, cancel):
        with pytest.raises(NotFound):
            step(connection, admin, UUID(int=7))
    assert contents(connection) == before


def test_a_login_that_lost_its_rights_adjusts_nothing(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    with Session(engine) as session, transaction(session):
        session.get_one(User, admin.id).active = False
    for caller in (admin.digest, admin.actor):
        with pytest.raises(Unauthenticated):
            create(connection, caller, new(merchant, "1.00"))
    assert row_counts(connection)["adjustments"] == 0


@pytest.mark.parametrize(("amount", "status"), [("100.00", 201), ("100.01", 202)])
@pytest.mark.parametrize("direction", ["credit", "debit"])
def test_above_the_threshold_it_waits(
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
    amount: str,
    status: int,
    direction: str,
) -> None:
    adjustment_service.create(connection, admin.digest, ORIGIN, new(merchant, "500.00"))
    answer = create(connection, admin, new(merchant, amount, direction))
    waits = status == 202
    assert answer.status == status
    assert (wire(answer)["status"], wire(answer)["approvals"]) == (
        ("pending", 1) if waits else ("posted", 0)
    )
    assert (available(connection, merchant) == {"RUB": 50_000}) is waits


def test_the_second_admin_posts_it(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    waiting = pending(connection, admin, new(merchant, "100.01"))
    before = contents(connection)
    with pytest.raises(SecondPersonRequired):
        approve(connection, admin, waiting)
    assert contents(connection) == before
    assert row_counts(connection)["events"] == 0

    answer = approve(connection, other, waiting)

    body = wire(answer)
    assert (answer.status, body["status"], body["approvals"]) == (200, "posted", 2)
    assert body["created_at"] < body["finished_at"]
    assert available(connection, merchant) == {"RUB": 10_001}
    for again in (admin, other):
        assert approve(connection, again, waiting).body == answer.body
    told = json.loads(str(connection.scalar(text("SELECT payload FROM events"))))
    assert told["data"] == body
    with pytest.raises(AdjustmentState) as error:
        cancel(connection, admin, waiting)
    assert error.value.members == {"adjustment_status": "posted"}
    assert log(connection) == [
        ("adjustment.created", admin.name),
        ("adjustment.posted", other.name),
    ]
    assert findings(engine) == []


def test_a_waiting_one_can_be_canceled(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    waiting = pending(connection, admin, new(merchant, "100.01"))
    answer = cancel(connection, admin, waiting)
    assert (answer.status, wire(answer)["status"]) == (200, "canceled")
    assert cancel(connection, other, waiting).body == answer.body
    with pytest.raises(AdjustmentState):
        approve(connection, other, waiting)
    assert available(connection, merchant) == {"RUB": 0}
    assert row_counts(connection)["events"] == 0
    assert findings(engine) == []


def test_a_waiting_debit_reserves_nothing_and_may_find_nothing(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    create(connection, admin, new(merchant, "50.00"))
    waiting = pending(connection, admin, new(merchant, "100.01", "debit"))
    before = contents(connection)
    with pytest.raises(InsufficientBalance):
        approve(connection, other, waiting)
    assert contents(connection) == before, "the consent is not kept either"
    create(connection, admin, new(merchant, "60.00"))
    assert approve(connection, other, waiting).status == 200
    assert available(connection, merchant) == {"RUB": 999}
    assert findings(engine) == []


def test_a_lost_connection_does_not_adjust_twice(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    for amount, status in (("1.00", 201), ("100.01", 202)):
        asked = new(merchant, amount)
        first = create(connection, admin, asked)
        before = contents(connection)
        again = create(connection, admin, asked)
        assert (first.status, again.status, again.body) == (status, status, first.body)
        assert contents(connection) == before
    assert available(connection, merchant) == {"RUB": 100}


def test_idempotency(
    connection: Connection, merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    path = "/create_adjustment"
    for number, amount in enumerate(("1.00", "100.01")):
        first = create(connection, admin, new(merchant, amount), claim(path, f"{number}"))
        before = contents(connection)
        again = create(connection, admin, new(merchant, amount), claim(path, f"{number}"))
        assert (again.status, again.body) == (first.status, first.body)
        assert again.replayed
        with pytest.raises(IdempotencyKeyReused):
            create(connection, admin, new(merchant, "2.00"), claim(path, f"{number}", b"other"))
        assert contents(connection) == before
    waiting = UUID(wire(first)["id"])
    posted = approve(connection, other, waiting, claim("/approve_adjustment"))
    again = approve(connection, other, waiting, claim("/approve_adjustment"))
    assert (again.body, again.replayed) == (posted.body, True)


def test_an_error_keeps_no_key(connection: Connection, merchant: TestUser, admin: TestUser) -> None:
    path = "/create_adjustment"
    with pytest.raises(InsufficientBalance):
        create(connection, admin, new(merchant, "1.00", "debit"), claim(path))
    create(connection, admin, new(merchant, "1.00"))
    assert create(connection, admin, new(merchant, "1.00", "debit"), claim(path)).status == 201


def test_of_eight_admins_one_posts(
    engine: Engine, keyring: Keyring, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    admins = [make_user(engine, keyring, role=Role.ADMIN) for _ in range(8)]
    waiting = pending(connection, admin, new(merchant, "100.01"))

    def act(who: TestUser) -> Answer:
        with autocommit(engine) as mine:
            return approve(mine, who, waiting)

    found = together([partial(act, who) for who in admins])

    assert len({answer.body for answer in found}) == 1
    assert row_counts(connection)["journals"] == 1
    assert available(connection, merchant) == {"RUB": 10_001}
    assert findings(engine) == []


def test_approve_against_cancel(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    for _ in range(8):
        waiting = pending(connection, admin, new(merchant, "100.01"))

        def act(
            step: Callable[[Connection, TestUser, UUID], Answer], who: TestUser, of: UUID = waiting
        ) -> Answer:
            with autocommit(engine) as mine:
                return step(mine, who, of)

        found = together([partial(act, approve, other), partial(act, cancel, admin)])
        assert {type(each) for each in found} == {AdjustmentState, Answer}
    assert findings(engine) == []


def test_racing_debits_never_take_more_than_there_is(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    for _ in range(3):
        create(connection, admin, new(merchant, "10.00"))

    def act(_: int) -> Answer:
        with autocommit(engine) as mine:
            return create(mine, admin, new(merchant, "10.00", "debit"))

    found = together([partial(act, number) for number in range(12)])

    assert sum(isinstance(each, Answer) for each in found) == 3
    assert sum(isinstance(each, InsufficientBalance) for each in found) == 9
    assert available(connection, merchant) == {"RUB": 0}
    assert findings(engine) == []


def test_one_key_in_a_race_adjusts_once(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    def act() -> Answer:
        with autocommit(engine) as mine:
            return create(mine, admin, new(merchant, "1.00"), claim("/create_adjustment"))

    found = together([act] * 8)

    answers = [each for each in found if isinstance(each, Answer)]
    assert len({answer.body for answer in answers}) == 1
    assert all(isinstance(each, Answer | IdempotencyKeyInFlight) for each in found)
    assert available(connection, merchant) == {"RUB": 100}


def test_owners_see_their_own(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    stranger = make_user(engine, keyring)
    made = [create(connection, admin, new(merchant, amount)) for amount in ("1.00", "100.01")]
    foreign = create(connection, admin, new(stranger, "2", currency="JPY"))

    def rows(who: TestUser, **wanted: Any) -> list[str]:
        return [row[0] for row in adjustment_list.list_adjustments(connection, who.actor, **wanted)]

    newest = [answer.body for answer in reversed(made)]
    assert rows(merchant) == newest
    assert rows(merchant, user_id=stranger.id) == []
    assert rows(admin) == [foreign.body, *newest]
    assert rows(admin, user_id=merchant.id) == newest
    assert rows(admin, currency="JPY") == [foreign.body]
    assert rows(admin, status=AdjustmentStatus.PENDING) == [newest[0]]
    first = adjustment_list.list_adjustments(connection, merchant.actor, limit=1)
    assert rows(merchant, after=first[0][1:]) == newest[1:]
    assert rows(merchant, created_from=first[0][1]) == newest[:1]
    assert rows(merchant, created_to=first[0][1]) == newest[1:]

    check = adjustment_service.check
    known = UUID(wire(made[0])["id"])
    assert check(connection, merchant.digest, ORIGIN, known).body == made[0].body
    assert check(connection, admin.digest, ORIGIN, known).body == made[0].body
    for who, asked in ((stranger, known), (merchant, UUID(int=7))):
        with pytest.raises(NotFound):
            check(connection, who.digest, ORIGIN, asked)


def test_over_http(
    make_app: Callable[..., Flask], merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    client = make_app(four_eyes_above=ALONE).test_client()
    body = {
        "user_id": str(merchant.id),
        "amount": "100.01",
        "direction": "credit",
        "reason": "Counted anew",
    }
    keyed = {"Idempotency-Key": "k", **admin.headers}

    first = client.post("/create_adjustment", json=body, headers=keyed)
    again = client.post("/create_adjustment", json=body, headers=keyed)
    changed = client.post("/create_adjustment", json={**body, "amount": "1"}, headers=keyed)

    assert first.status_code == 202
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert changed.status_code == 422
    assert first.json is not None
    asked = {"id": first.json["id"]}
    mine = client.post("/approve_adjustment", json=asked, headers=admin.headers)
    assert mine.json is not None
    assert (mine.status_code, mine.json["code"]) == (403, "second_person_required")
    done = client.post("/approve_adjustment", json=asked, headers=other.headers)
    seen = client.get(f"/check_adjustment?id={asked['id']}", headers=merchant.headers)
    listed = client.get("/adjustments", headers=merchant.headers)
    late = client.post("/cancel_adjustment", json=asked, headers=other.headers)
    assert done.status_code == seen.status_code == 200
    assert seen.data == done.data
    assert listed.json == {"data": [done.json], "next_cursor": None}
    assert late.json is not None
    assert (late.status_code, late.json["adjustment_status"]) == (409, "posted")
    page = client.get("/adjustments?limit=1", headers=admin.headers)
    assert page.json is not None
    assert page.json["data"] == [done.json]
