"""Confirms above the four-eyes sum: two people, in any race, on both edges."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.errors import (
    IdempotencyKeyReused,
    InsufficientScope,
    NotFound,
    NotPending,
    SecondPersonRequired,
    Unauthenticated,
)
from standart.models import Role, User
from standart.services import ledger_service, transaction_service
from standart.services.access import Actor, Origin, operator
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from tests.builders import (
    PASSWORD,
    TestUser,
    make_transaction,
    make_user,
    overdue,
    row_counts,
)
from tests.integration.books import findings
from tests.integration.concurrency import blocked, together
from tests.integration.panel import Panel
from tests.world import contents

ALONE = {"RUB": 10_000, "USD": 0}
PATH = "/confirm_transaction"


@pytest.fixture
def other(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, role=Role.ADMIN, password=PASSWORD)


def claim(key: str = "k", body: bytes = b"{}") -> IdempotencyClaim:
    return IdempotencyClaim.of(PATH, key, body)


def confirm(
    connection: Connection,
    caller: TestUser | KeyDigest | Actor,
    made: UUID,
    *,
    request_id: str | None = None,
    act_id: UUID | None = None,
    claimed: IdempotencyClaim | None = None,
    alone: dict[str, int] = ALONE,
) -> Answer:
    return transaction_service.confirm(
        connection,
        caller.digest if isinstance(caller, TestUser) else caller,
        Origin("test", request_id),
        made,
        claim=claimed,
        alone=alone,
        act_id=act_id,
    )


def large(engine: Engine, owner: TestUser, amount: str = "100.01", **fields: Any) -> UUID:
    return UUID(make_transaction(engine, owner, amount=amount, **fields)["id"])


def shown(answer: Answer) -> tuple[int, str, int]:
    body = json.loads(answer.body)
    return answer.status, body["status"], body["approvals"]


def actions(connection: Connection, made: UUID) -> list[tuple[str, str]]:
    rows = connection.execute(
        text("SELECT action, actor_name FROM audit_log WHERE object_id = :id ORDER BY id"),
        {"id": str(made)},
    )
    return [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("100.00", "RUB", (200, "confirmed", 0)),
        ("100.01", "RUB", (202, "pending", 1)),
        ("0.01", "USD", (202, "pending", 1)),
        ("1000000.00", "EUR", (200, "confirmed", 0)),
    ],
)
def test_only_sums_above_the_threshold_of_their_currency_need_two(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    amount: str,
    currency: str,
    expected: tuple[int, str, int],
) -> None:
    made = large(engine, merchant, amount, currency=currency)
    assert shown(confirm(connection, admin, made)) == expected


def test_the_first_consent_moves_nothing_and_the_second_confirms(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    made = large(engine, merchant)
    before = row_counts(connection)

    first = confirm(connection, admin, made)

    after = row_counts(connection)
    assert shown(first) == (202, "pending", 1)
    assert {table for table in after if after[table] != before[table]} == {"approvals", "audit_log"}
    assert transaction_service.check(connection, merchant.digest, Origin("test"), made).body == (
        first.body
    )
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 0)]

    second = confirm(connection, other, made)
    again = confirm(connection, admin, made)

    assert shown(second) == (200, "confirmed", 2)
    assert (again.status, again.body) == (200, second.body)
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9701)]
    assert actions(connection, made) == [
        ("transaction.approved", admin.name),
        ("transaction.confirmed", other.name),
    ]
    payload = connection.scalar(text("SELECT payload FROM events"))
    assert payload is not None
    assert json.loads(payload)["data"]["approvals"] == 2
    assert findings(engine) == []


def test_the_same_person_is_refused_by_every_key_and_in_the_panel(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = large(engine, merchant)
    confirm(connection, admin, made, request_id="first", claimed=claim("a"))
    before = contents(connection)
    login = operator(admin.id, admin.name, Role.ADMIN, Origin("panel"))
    calls: list[Callable[[], Answer]] = [
        partial(confirm, connection, admin, made, request_id="second"),
        partial(confirm, connection, admin, made, request_id="first", act_id=uuid4()),
        partial(confirm, connection, admin, made),
        partial(confirm, connection, admin, made, claimed=claim("b")),
        partial(confirm, connection, login, made),
    ]

    for call in calls:
        with pytest.raises(SecondPersonRequired):
            call()

    assert contents(connection) == before


def test_a_lost_connection_does_not_make_ones_own_consent_a_refusal(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = large(engine, merchant)
    act_id = uuid4()
    first = confirm(connection, admin, made, act_id=act_id)
    before = contents(connection)

    again = confirm(connection, admin, made, act_id=act_id)

    assert (again.status, again.body) == (202, first.body)
    assert contents(connection) == before


def test_a_kept_key_answers_the_first_consent_again_and_again(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    made = large(engine, merchant)
    first = confirm(connection, admin, made, claimed=claim())
    second = confirm(connection, other, made, claimed=claim())
    for caller, answer in ((admin, first), (other, second)):
        again = confirm(connection, caller, made, claimed=claim())
        assert (again.status, again.body, again.replayed) == (answer.status, answer.body, True)
        with pytest.raises(IdempotencyKeyReused):
            confirm(connection, caller, made, claimed=claim(body=b"other"))
    assert (first.status, second.status) == (202, 200)


def test_who_may_not_confirm_may_not_consent(
    connection: Connection, engine: Engine, merchant: TestUser, keyring: Keyring, admin: TestUser
) -> None:
    made = large(engine, merchant)
    before = contents(connection)
    with pytest.raises(InsufficientScope):
        confirm(connection, merchant, made)
    with pytest.raises(NotFound):
        confirm(connection, admin, UUID(int=7))
    assert contents(connection) == before
    with Session(engine) as session, transaction(session):
        session.get_one(User, admin.id).active = False
    login = operator(admin.id, admin.name, Role.ADMIN, Origin("panel"))
    for caller in (admin, login):
        with pytest.raises(Unauthenticated):
            confirm(connection, caller, made)
    assert row_counts(connection)["approvals"] == 0


def test_the_expiry_runs_on_while_one_consent_stands(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    other: TestUser,
) -> None:
    made = large(engine, merchant)
    confirm(connection, admin, made)
    overdue(superuser, str(made))
    before = contents(connection)

    for swept in (False, True):
        if swept:
            assert transaction_service.expire_overdue(connection) == 1
            before = contents(connection)
        for caller in (other, admin):
            with pytest.raises(NotPending) as error:
                confirm(connection, caller, made)
            assert error.value.members == {"transaction_status": "expired"}
        assert contents(connection) == before
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 0)]


def test_a_consent_that_waited_past_the_expiry_comes_too_late(
    engine: Engine,
    superuser: Engine,
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
    other: TestUser,
) -> None:
    made = large(engine, merchant)
    confirm(connection, admin, made)

    def late() -> Answer:
        with autocommit(engine) as mine:
            return confirm(mine, other, made)

    with superuser.connect() as holder:
        holder.execute(text("SET LOCAL session_replication_role = replica"))
        holder.execute(
            text(
                "UPDATE transactions SET expires_at = clock_timestamp(),"
                " created_at = created_at - interval '1 day' WHERE id = :id"
            ),
            {"id": made},
        )
        with blocked(superuser, late) as waiting:
            holder.commit()
    assert isinstance(waiting.result(), NotPending)
    assert row_counts(connection)["approvals"] == 1


def test_it_may_be_canceled_meanwhile(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, other: TestUser
) -> None:
    made = large(engine, merchant)
    confirm(connection, admin, made)
    transaction_service.cancel(connection, merchant.digest, Origin("test"), made)
    with pytest.raises(NotPending):
        confirm(connection, other, made)
    assert findings(engine) == []


def test_a_lower_threshold_counts_from_the_next_request_on(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = large(engine, merchant)
    assert confirm(connection, admin, made).status == 202
    assert shown(confirm(connection, admin, made, alone={})) == (200, "confirmed", 1)


@pytest.mark.parametrize("keyed", [False, True])
def test_of_eight_admins_one_consents_one_confirms(
    engine: Engine, keyring: Keyring, connection: Connection, merchant: TestUser, keyed: bool
) -> None:
    admins = [make_user(engine, keyring, role=Role.ADMIN) for _ in range(8)]
    made = large(engine, merchant)

    def act(who: TestUser) -> Answer:
        with autocommit(engine) as mine:
            return confirm(mine, who, made, claimed=claim() if keyed else None)

    found = sorted(shown(answer) for answer in together([partial(act, who) for who in admins]))

    assert found == [*[(200, "confirmed", 2)] * 7, (202, "pending", 1)]
    counts = row_counts(connection)
    assert (counts["approvals"], counts["journals"], counts["events"]) == (2, 1, 1)
    assert findings(engine) == []


def test_one_admin_with_eight_requests_is_one_person(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    made = large(engine, merchant)

    def act() -> Answer:
        with autocommit(engine) as mine:
            return confirm(mine, admin, made)

    found = together([act] * 8)

    assert sum(isinstance(each, SecondPersonRequired) for each in found) == 7
    assert [shown(each) for each in found if isinstance(each, Answer)] == [(202, "pending", 1)]
    assert row_counts(connection)["approvals"] == 1


def test_the_second_consent_against_cancel_and_sweep(
    engine: Engine,
    superuser: Engine,
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
    other: TestUser,
) -> None:
    ends: set[str] = set()
    for number in range(12):
        made = large(engine, merchant)
        confirm(connection, admin, made)
        late = number % 3 == 0
        if late:
            overdue(superuser, str(made))

        def second(of: UUID = made) -> Answer:
            with autocommit(engine) as mine:
                return confirm(mine, other, of)

        def cancel(of: UUID = made) -> Answer:
            with autocommit(engine) as mine:
                return transaction_service.cancel(mine, merchant.digest, Origin("test"), of)

        def sweep() -> int:
            with autocommit(engine) as mine:
                return transaction_service.expire_overdue(mine)

        confirmed, canceled, _ = together([second, cancel, sweep])
        found = transaction_service.check(connection, admin.digest, Origin("test"), made)
        status = json.loads(found.body)["status"]
        ends.add(status)
        assert (status == "expired") is late
        assert isinstance(confirmed, Answer) is (status == "confirmed")
        assert isinstance(canceled, Answer) is (status == "canceled")
    assert "expired" in ends
    assert findings(engine) == []


def test_over_http(
    make_app: Callable[..., Flask], engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    app = make_app(four_eyes_above=ALONE)
    nudges: list[int] = []
    app.extensions["standart.nudge"] = lambda: nudges.append(1)
    client, made = app.test_client(), str(large(engine, merchant))

    same = {**admin.headers, "X-Request-Id": "constant"}
    first = client.post(PATH, json={"id": made}, headers=same)
    # Whatever a client calls its requests: each is one of its own.
    second = client.post(PATH, json={"id": made}, headers=same)

    assert first.status_code == 202
    assert first.json is not None
    assert (first.json["status"], first.json["approvals"]) == ("pending", 1)
    assert second.status_code == 403
    assert second.json is not None
    assert second.json["code"] == "second_person_required"
    assert nudges == [], "nothing is due"


def test_the_panel_says_that_a_second_admin_must_agree(
    make_app: Callable[..., Flask],
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    other: TestUser,
) -> None:
    app = make_app(four_eyes_above=ALONE)
    made = large(engine, merchant)
    address = f"/admin/transactions/{made}"
    first, second = Panel(app.test_client()), Panel(app.test_client())
    first.log_in(admin)
    second.log_in(other)

    said = first.follow(first.post(f"{address}/confirm"))
    again = first.follow(first.post(f"{address}/confirm"))
    done = second.follow(second.post(f"{address}/confirm"))

    assert "A second admin must confirm as well." in said
    assert "The transaction is confirmed." not in said
    assert f'href="{address}/ask/confirm"' in said, "it is still pending"
    assert "You have approved this already" in again
    assert "The transaction is confirmed." in done
