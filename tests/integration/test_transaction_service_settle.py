"""Confirm and cancel: what they write, whom they obey, and what they refuse."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import HotStatement, autocommit, transaction
from standart.encryption import Keyring
from standart.errors import (
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InsufficientScope,
    NotFound,
    NotPending,
    Unauthenticated,
    Unavailable,
)
from standart.models import Role, Scope
from standart.services import key_service, ledger_service, transaction_service, user_service
from standart.services.access import SYSTEM, Origin, operator
from standart.services.idempotency_service import Answer, IdempotencyClaim
from tests.builders import ORIGIN, SHORT, TestUser, make_transaction, make_user, overdue, row_counts
from tests.integration.books import findings
from tests.integration.concurrency import blocked, uncommitted, wait_until

ACTS = {
    "confirm": transaction_service.confirm,
    "cancel": transaction_service.cancel,
}
WRITTEN = ("journals", "entries", "balance_deltas", "events", "deliveries", "audit_log")


def claim(act: str, key: str = "k", body: bytes = b"{}") -> IdempotencyClaim:
    return IdempotencyClaim.of(f"/{act}_transaction", key, body)


def written(connection: Connection, before: dict[str, int]) -> dict[str, int]:
    after = row_counts(connection)
    return {table: after[table] - before[table] for table in WRITTEN}


def new(engine: Engine, owner: TestUser, **fields: Any) -> UUID:
    return UUID(make_transaction(engine, owner, **fields)["id"])


def test_confirm_credits_the_net(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = new(engine, merchant, amount="100.00")
    before = row_counts(connection)

    answer = transaction_service.confirm(connection, admin.digest, ORIGIN, made)

    body = json.loads(answer.body)
    entries = connection.execute(text("SELECT kind, amount, currency FROM entries ORDER BY line"))
    assert answer.status == 200
    assert body["status"] == "confirmed"
    assert body["created_at"] < body["finished_at"] < body["expires_at"]
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9700)]
    assert entries.all() == [
        ("clearing", -10000, "RUB"),
        ("available", 9700, "RUB"),
        ("commission", 300, "RUB"),
    ]
    assert written(connection, before) == {
        "journals": 1,
        "entries": 3,
        "balance_deltas": 3,
        "events": 1,
        "deliveries": 0,  # this merchant has no webhook URL
        "audit_log": 1,
    }


@pytest.mark.parametrize(("rate", "balance", "entries"), [("0", 1000, 2), ("1", 0, 2)])
def test_an_empty_line_is_not_posted(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    rate: str,
    balance: int,
    entries: int,
) -> None:
    merchant = make_user(engine, keyring, rate=rate)
    before = row_counts(connection)

    transaction_service.confirm(
        connection, admin.digest, ORIGIN, new(engine, merchant, amount="10.00")
    )

    assert ledger_service.balances(connection, merchant.actor) == [("RUB", balance)]
    assert written(connection, before)["entries"] == entries
    assert findings(engine) == []


def test_cancel_keeps_the_reason_and_moves_no_money(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    made = new(engine, merchant)
    before = row_counts(connection)

    first = transaction_service.cancel(connection, merchant.digest, ORIGIN, made, reason="no stock")
    again = transaction_service.cancel(connection, merchant.digest, ORIGIN, made, reason="other")

    assert json.loads(first.body)["reason"] == "no stock"
    assert (again.status, again.body) == (200, first.body)
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 0)]
    assert written(connection, before) == {
        "journals": 0,
        "entries": 0,
        "balance_deltas": 0,
        "events": 1,
        "deliveries": 0,
        "audit_log": 1,
    }


def test_confirming_again_changes_nothing(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = new(engine, merchant)
    first = transaction_service.confirm(connection, admin.digest, ORIGIN, made)
    counts = row_counts(connection)

    again = transaction_service.confirm(connection, admin.digest, ORIGIN, made)

    assert (again.status, again.body) == (200, first.body)
    assert row_counts(connection) == counts


@pytest.mark.parametrize(("first", "second"), [("confirm", "cancel"), ("cancel", "confirm")])
def test_an_ended_transaction_ends_no_other_way(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    first: str,
    second: str,
) -> None:
    made = new(engine, merchant)
    ended = json.loads(ACTS[first](connection, admin.digest, ORIGIN, made).body)
    counts = row_counts(connection)

    with pytest.raises(NotPending) as refused:
        ACTS[second](connection, admin.digest, ORIGIN, made, claim=claim(second))

    assert refused.value.members == {"transaction_status": ended["status"]}
    assert row_counts(connection) == counts


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("swept", [False, True], ids=["unswept", "swept"])
def test_an_overdue_transaction_is_expired_for_everybody(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    act: str,
    swept: bool,
) -> None:
    made = new(engine, merchant)
    overdue(superuser, str(made))
    if swept:
        transaction_service.expire_overdue(connection)
    counts = row_counts(connection)

    with pytest.raises(NotPending) as refused:
        ACTS[act](connection, admin.digest, ORIGIN, made)

    assert refused.value.members == {"transaction_status": "expired"}
    assert row_counts(connection) == counts


@pytest.mark.parametrize("act", ACTS)
def test_who_waited_past_the_expiry_comes_too_late(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    act: str,
) -> None:
    made = new(engine, merchant, ttl=SHORT)

    def settle() -> Answer:
        with autocommit(engine) as own:
            return ACTS[act](own, admin.digest, ORIGIN, made)

    is_overdue = text("SELECT expires_at <= clock_timestamp() FROM transactions")
    with uncommitted(engine) as holder:
        holder.execute(text("SELECT FROM transactions WHERE id = :id FOR UPDATE"), {"id": made})
        with blocked(superuser, settle) as waiting:
            wait_until(lambda: bool(connection.scalar(is_overdue)))
            holder.rollback()

    refused = waiting.result()
    assert isinstance(refused, NotPending)
    assert refused.members == {"transaction_status": "expired"}
    assert row_counts(connection)["events"] == 0


def test_a_foreign_id_is_as_unknown_as_an_unknown_one(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    foreign = new(engine, make_user(engine, keyring))

    with pytest.raises(NotFound) as unknown:
        transaction_service.cancel(connection, merchant.digest, ORIGIN, uuid4())
    with pytest.raises(NotFound) as hidden:
        transaction_service.cancel(
            connection, merchant.digest, ORIGIN, foreign, claim=claim("cancel")
        )

    assert (hidden.value.detail, hidden.value.members) == (unknown.value.detail, {})
    assert row_counts(connection)["idempotency_keys"] == 0
    status = text("SELECT status FROM transactions WHERE id = :id")
    assert connection.scalar(status, {"id": foreign}) == "pending"


@pytest.mark.parametrize("act", ACTS)
def test_an_admin_is_told_when_there_is_no_such_transaction(
    connection: Connection, admin: TestUser, act: str
) -> None:
    with pytest.raises(NotFound):
        ACTS[act](connection, admin.digest, ORIGIN, uuid4())


def test_a_merchant_confirms_nothing(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    made = new(engine, merchant)

    with pytest.raises(InsufficientScope) as refused:
        transaction_service.confirm(connection, merchant.digest, ORIGIN, made)

    assert refused.value.members == {"required_scope": "confirm"}
    assert row_counts(connection)["events"] == 0


def test_what_is_pending_of_a_deactivated_merchant_can_be_settled(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = new(engine, merchant)
    with Session(engine) as session, transaction(session):
        row = user_service.get_user(session, merchant.id)
        user_service.update_user(session, SYSTEM, row, active=False)

    with pytest.raises(Unauthenticated):
        transaction_service.cancel(connection, merchant.digest, ORIGIN, made)
    answer = transaction_service.confirm(connection, admin.digest, ORIGIN, made)

    assert json.loads(answer.body)["status"] == "confirmed"


@pytest.mark.parametrize("act", ACTS)
def test_the_same_key_replays_the_ending(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, act: str
) -> None:
    made = new(engine, merchant)
    first = ACTS[act](connection, admin.digest, ORIGIN, made, claim=claim(act))
    counts = row_counts(connection)

    again = ACTS[act](connection, admin.digest, ORIGIN, made, claim=claim(act))
    with pytest.raises(IdempotencyKeyReused):
        ACTS[act](connection, admin.digest, ORIGIN, made, claim=claim(act, body=b"other"))

    assert again == Answer(200, first.body, replayed=True)
    assert row_counts(connection) == counts


@pytest.mark.parametrize("act", ACTS)
def test_a_key_in_flight_settles_nothing(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, act: str
) -> None:
    made = new(engine, merchant)
    counts = row_counts(connection)
    with engine.begin() as running:
        running.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"{admin.id} /{act}_transaction k"},
        )
        with pytest.raises(IdempotencyKeyInFlight):
            ACTS[act](connection, admin.digest, ORIGIN, made, claim=claim(act))

        assert row_counts(connection) == counts


def test_an_ending_that_was_done_already_is_kept_for_a_new_key(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = new(engine, merchant)
    done = transaction_service.confirm(connection, admin.digest, ORIGIN, made)

    for replayed in (False, True):
        assert transaction_service.confirm(
            connection, admin.digest, ORIGIN, made, claim=claim("confirm")
        ) == Answer(200, done.body, replayed)


def test_a_refused_ending_leaves_its_key_free(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    with pytest.raises(NotFound):
        transaction_service.cancel(connection, admin.digest, ORIGIN, uuid4(), claim=claim("cancel"))

    made = new(engine, merchant)
    answer = transaction_service.cancel(
        connection, admin.digest, ORIGIN, made, claim=claim("cancel", body=b"corrected")
    )

    assert json.loads(answer.body)["status"] == "canceled"


def test_an_admin_settles_in_the_panel(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    actor = operator(admin.id, admin.name, Role.ADMIN, Origin("panel", "req-1", "10.0.0.1"))
    made = new(engine, merchant)
    first = transaction_service.confirm(connection, actor, actor.origin, made)

    again = transaction_service.confirm(connection, actor, actor.origin, made)

    told = connection.execute(
        text(
            "SELECT actor_id, actor_name, channel, action, object_id, before, after, request_id,"
            " ip FROM audit_log WHERE object_type = 'transaction'"
        )
    ).one()
    assert again.body == first.body
    assert told == (
        admin.id,
        admin.name,
        "panel",
        "transaction.confirmed",
        str(made),
        {"status": "pending"},
        {"status": "confirmed"},
        "req-1",
        "10.0.0.1",
    )


def test_a_merchants_login_changes_no_money(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    actor = operator(merchant.id, merchant.name, Role.REGULAR, ORIGIN)
    made = new(engine, merchant)

    for act in ACTS.values():
        with pytest.raises(InsufficientScope):
            act(connection, actor, ORIGIN, made)


def test_an_admin_who_lost_the_rights_settles_nothing_more(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    actor = operator(admin.id, admin.name, Role.ADMIN, ORIGIN)
    made = new(engine, merchant)
    make_user(engine, keyring, role=Role.ADMIN)
    with Session(engine) as session, transaction(session):
        row = user_service.get_user(session, admin.id)
        user_service.update_user(session, SYSTEM, row, role=Role.REGULAR)

    for act in ACTS.values():
        with pytest.raises(Unauthenticated):
            act(connection, actor, ORIGIN, made)

    assert row_counts(connection)["events"] == 0


def test_a_transaction_that_never_rests_is_reported_busy(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A statement that finds nothing to do while the row stays pending: each look at it comes
    # a moment too early or too late.
    made = new(engine, merchant)
    statement = HotStatement("SELECT CAST(NULL AS text) WHERE CAST(:id AS text) IS NULL")
    monkeypatch.setitem(transaction_service.sql.SETTLE_BY_KEY, (True, False), statement)

    with pytest.raises(Unavailable) as refused:
        transaction_service.confirm(connection, admin.digest, ORIGIN, made)

    assert refused.value.retry_after == 1


def test_the_event_carries_what_was_answered(
    connection: Connection, engine: Engine, keyring: Keyring
) -> None:
    merchant = make_user(engine, keyring, webhook_url="https://shop.example/hook")
    made = new(engine, merchant, description='"Чай" <script>', metadata={"k": "ü"})

    answer = transaction_service.cancel(connection, merchant.digest, ORIGIN, made, reason="so")

    payload = connection.scalar(text("SELECT payload FROM events"))
    body = json.loads(answer.body)
    assert row_counts(connection)["deliveries"] == 1
    assert json.loads(payload) == {
        "type": "transaction.canceled",
        "timestamp": body["finished_at"],
        "id": str(made),
        "status": "canceled",
        "sequence": 2,
        "data": body,
    }


def test_a_key_without_the_scope_is_refused_before_it_learns_anything(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    made = new(engine, merchant)
    with Session(engine) as session, transaction(session):
        row = user_service.get_user(session, merchant.id)
        _, plain = key_service.create_key(session, SYSTEM, row, scopes=[Scope.READ])

    for id_ in (made, uuid4()):
        with pytest.raises(InsufficientScope):
            transaction_service.cancel(connection, key_service.digest_of(plain), ORIGIN, id_)
