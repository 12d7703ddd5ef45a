"""Check, list and expire: what readers see, and when."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.errors import InsufficientScope, NotFound, NotPending, Unauthenticated
from standart.models import Role, Scope
from standart.services import key_service, transaction_list, transaction_service, user_service
from standart.services.access import SYSTEM, Actor, operator
from standart.services.idempotency_service import Answer
from standart.services.transaction_request import NewTransaction
from standart.states import TransactionStatus
from tests.builders import ORIGIN, SHORT, TestUser, make_transaction, make_user, overdue, row_counts
from tests.integration.concurrency import blocked, uncommitted, wait_until

OVERDUE = text("SELECT expires_at <= clock_timestamp() FROM transactions WHERE id = :id")


def ids(rows: list[tuple[str, Any, UUID]]) -> list[UUID]:
    return [row[2] for row in rows]


def new(engine: Engine, owner: TestUser, **fields: Any) -> UUID:
    return UUID(make_transaction(engine, owner, **fields)["id"])


def checked(connection: Connection, caller: TestUser | Actor, id_: UUID) -> dict[str, Any]:
    by = caller if isinstance(caller, Actor) else caller.digest
    answer = transaction_service.check(connection, by, ORIGIN, id_)
    assert answer.status == 200
    body: dict[str, Any] = json.loads(answer.body)
    return body


@pytest.fixture
def four(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
) -> dict[str, UUID]:
    """One transaction in each status; the expired one is not swept yet."""
    made = {status.value: new(engine, merchant) for status in TransactionStatus}
    transaction_service.confirm(connection, admin.digest, ORIGIN, made["confirmed"])
    transaction_service.cancel(connection, merchant.digest, ORIGIN, made["canceled"])
    overdue(superuser, str(made["expired"]))
    return made


def test_owner_and_admin_see_the_same_transaction(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = make_transaction(engine, merchant, reference="r")
    panel = operator(merchant.id, merchant.name, Role.REGULAR, ORIGIN)

    for caller in (merchant, admin, panel):
        assert checked(connection, caller, UUID(made["id"])) == made


def test_a_foreign_transaction_is_as_unknown_as_an_unknown_one(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    foreign = new(engine, make_user(engine, keyring))
    panel = operator(merchant.id, merchant.name, Role.REGULAR, ORIGIN)

    for caller in (merchant, panel):
        with pytest.raises(NotFound) as hidden:
            checked(connection, caller, foreign)
        with pytest.raises(NotFound) as unknown:
            checked(connection, caller, uuid4())
        assert hidden.value.detail == unknown.value.detail
        assert hidden.value.members == unknown.value.members == {}


def test_a_key_that_may_not_read_sees_nothing(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    made = new(engine, merchant)
    with Session(engine) as session, transaction(session):
        row = user_service.get_user(session, merchant.id)
        _, plain = key_service.create_key(session, SYSTEM, row, scopes=[Scope.WRITE])

    with pytest.raises(InsufficientScope):
        transaction_service.check(connection, key_service.digest_of(plain), ORIGIN, made)
    with pytest.raises(Unauthenticated):
        transaction_service.check(
            connection, key_service.digest_of(key_service.generate()), ORIGIN, made
        )


def test_an_overdue_transaction_is_seen_expired_before_any_sweep(
    connection: Connection, superuser: Engine, engine: Engine, merchant: TestUser
) -> None:
    made = new(engine, merchant)
    overdue(superuser, str(made))
    panel = operator(merchant.id, merchant.name, Role.REGULAR, ORIGIN)

    early = checked(connection, merchant, made)
    assert transaction_service.expire_overdue(connection) == 1

    assert early["status"] == "expired"
    assert early["finished_at"] == early["expires_at"]
    assert checked(connection, merchant, made) == checked(connection, panel, made) == early


@pytest.mark.parametrize("committed", [True, False], ids=["commit", "rollback"])
@pytest.mark.parametrize("asks", ["check", "panel", "same id", "cancel"])
def test_nobody_hears_expired_and_later_confirmed(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    asks: str,
    committed: bool,
) -> None:
    """Whoever asks for an overdue one waits for a confirm that is just committing."""
    made = uuid4()
    content = NewTransaction(amount="100.00", id=made)
    panel = operator(merchant.id, merchant.name, Role.REGULAR, ORIGIN)
    questions: dict[str, Callable[[Connection], Answer]] = {
        "check": lambda own: transaction_service.check(own, merchant.digest, ORIGIN, made),
        "panel": lambda own: transaction_service.check(own, panel, ORIGIN, made),
        "cancel": lambda own: transaction_service.cancel(own, merchant.digest, ORIGIN, made),
        "same id": lambda own: transaction_service.create(
            own, merchant.digest, ORIGIN, content, ttl_seconds=900
        ),
    }

    def ask() -> Answer:
        with autocommit(engine) as own:
            return questions[asks](own)

    transaction_service.create(connection, merchant.digest, ORIGIN, content, ttl_seconds=SHORT)
    with uncommitted(engine) as confirming:
        transaction_service.confirm(confirming, admin.digest, ORIGIN, made)
        wait_until(lambda: bool(connection.scalar(OVERDUE, {"id": made})))
        with blocked(superuser, ask) as waiting:
            assert transaction_service.expire_overdue(connection) == 0  # a sweep goes past it
            (confirming.commit if committed else confirming.rollback)()

    heard = waiting.result()
    if isinstance(heard, NotPending):
        status = heard.members["transaction_status"]
    else:
        status = json.loads(heard.body)["status"]
    assert status == ("confirmed" if committed else "expired")


def test_lists_are_newest_first_and_scoped_to_the_owner(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    other = make_user(engine, keyring)
    mine = [new(engine, merchant) for _ in range(3)]
    theirs = new(engine, other)

    def listed(actor: Actor, **filters: Any) -> list[UUID]:
        return ids(transaction_list.list_transactions(connection, actor, **filters))

    assert listed(merchant.actor) == mine[::-1]
    assert listed(merchant.actor, user_id=merchant.id) == mine[::-1]
    assert listed(merchant.actor, user_id=other.id) == []
    assert listed(admin.actor) == [theirs, *mine[::-1]]
    assert listed(admin.actor, user_id=other.id) == [theirs]
    assert listed(merchant.actor, limit=2) == mine[:0:-1]


def test_a_row_of_a_list_is_what_check_answers(
    connection: Connection, merchant: TestUser, four: dict[str, UUID]
) -> None:
    rows = transaction_list.list_transactions(connection, merchant.actor)

    assert len(rows) == len(four)
    for body, created_at, id_ in rows:
        answer = transaction_service.check(connection, merchant.digest, ORIGIN, id_)
        assert answer.body == body
        assert datetime.fromisoformat(json.loads(body)["created_at"]) == created_at


@pytest.mark.parametrize("swept", [False, True], ids=["unswept", "swept"])
@pytest.mark.parametrize("status", TransactionStatus)
def test_the_status_filter_sees_overdue_ones_as_expired(
    connection: Connection,
    merchant: TestUser,
    four: dict[str, UUID],
    status: TransactionStatus,
    swept: bool,
) -> None:
    if swept:
        assert transaction_service.expire_overdue(connection) == 1

    rows = transaction_list.list_transactions(connection, merchant.actor, status=status)

    assert ids(rows) == [four[status.value]]
    assert json.loads(rows[0][0])["status"] == status.value


def test_filters_narrow_the_list(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    plain = make_transaction(engine, merchant)
    named = make_transaction(engine, merchant, reference="order-1", currency="USD")
    start, end = (datetime.fromisoformat(each["created_at"]) for each in (plain, named))

    def listed(**filters: Any) -> list[str]:
        rows = transaction_list.list_transactions(connection, merchant.actor, **filters)
        return [str(id_) for id_ in ids(rows)]

    assert listed(reference="order-1") == [named["id"]]
    assert listed(reference="order-2") == []
    assert listed(currency="USD") == [named["id"]]
    assert listed(currency="RUB", reference="order-1") == []
    assert listed(created_from=start, created_to=end) == [plain["id"]]
    assert listed(created_from=end) == [named["id"]]
    assert listed(created_from=end + timedelta(microseconds=1)) == []


def test_a_list_needs_the_right_to_read(connection: Connection, merchant: TestUser) -> None:
    blind = Actor(merchant.id, merchant.name, Role.REGULAR, frozenset({Scope.WRITE}))
    with pytest.raises(InsufficientScope):
        transaction_list.list_transactions(connection, blind)


def test_pages_over_equal_moments_show_each_row_once(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    made = {new(engine, merchant, id=uuid4()) for _ in range(7)}
    with superuser.begin() as other:
        other.execute(text("SET LOCAL session_replication_role = replica"))
        other.execute(
            text("UPDATE transactions SET created_at = :at"),
            {"at": datetime(2026, 1, 1, tzinfo=UTC)},
        )

    seen: list[UUID] = []
    after = None
    while page := transaction_list.list_transactions(
        connection, merchant.actor, after=after, limit=2
    ):
        seen += ids(page)
        after = page[-1][1:]

    assert seen == sorted(made, reverse=True)


def test_a_sweep_ends_overdue_ones_in_batches_and_repeats_harmlessly(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    merchant = make_user(engine, keyring, webhook_url="https://shop.example/hook")
    late = [new(engine, merchant) for _ in range(5)]
    alive = new(engine, merchant)
    for each in late:
        overdue(superuser, str(each))

    assert [transaction_service.expire_overdue(connection, batch=2) for _ in range(4)] == [
        *(2, 2, 1, 0),
    ]

    counts = row_counts(connection)
    assert (counts["events"], counts["deliveries"], counts["journals"]) == (5, 5, 0)
    assert checked(connection, merchant, alive)["status"] == "pending"
    audited = connection.execute(
        text(
            "SELECT DISTINCT actor_id, actor_name, channel, action FROM audit_log"
            " WHERE object_type = 'transaction'"
        )
    )
    assert audited.all() == [(None, "system", "sweep", "transaction.expired")]
    for payload in connection.scalars(text("SELECT payload FROM events")):
        told = json.loads(payload)
        assert told["type"] == "transaction.expired"
        assert told["timestamp"] == told["data"]["finished_at"] == told["data"]["expires_at"]


def test_a_sweep_does_not_wait_for_a_held_row(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    held, free = new(engine, merchant), new(engine, merchant)
    for each in (held, free):
        overdue(superuser, str(each))

    with engine.begin() as holder:
        holder.execute(text("SELECT FROM transactions WHERE id = :id FOR UPDATE"), {"id": held})
        assert transaction_service.expire_overdue(connection) == 1

    assert transaction_service.expire_overdue(connection) == 1
