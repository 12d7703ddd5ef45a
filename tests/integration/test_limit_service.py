"""What the limits of a merchant let through, what they refuse, and what makes room again."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import transaction
from standart.encryption import Keyring
from standart.errors import (
    IdConflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    ReferenceTaken,
    Unauthenticated,
)
from standart.models import AuditRecord, LimitKind, Role, User
from standart.money import MAX_MINOR, Money
from standart.services import key_service, limit_service, transaction_service, user_service
from standart.services.access import SYSTEM
from tests.builders import ORIGIN, TestUser, make_user, overdue, row_counts
from tests.integration.books import findings
from tests.integration.calls import claim, create, wrong_fields
from tests.integration.limits import limit, rubles, want_unique_references

AMOUNT, DAY, COUNT, PENDING = (
    LimitKind.TRANSACTION_AMOUNT,
    LimitKind.DAILY_AMOUNT,
    LimitKind.DAILY_COUNT,
    LimitKind.PENDING_COUNT,
)


def made(connection: Connection, caller: TestUser, **fields: Any) -> UUID:
    return UUID(json.loads(create(connection, caller, **fields).body)["id"])


def changed(superuser: Engine, id_: UUID, assignments: str) -> None:
    """Rewrite a transaction behind its guards."""
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text(f"UPDATE transactions SET {assignments} WHERE id = :id"), {"id": id_}
        )


@pytest.mark.parametrize(
    ("kind", "value", "members", "field"),
    [
        (AMOUNT, rubles("99.99"), {"value": "99.99", "currency": "RUB"}, "amount"),
        (DAY, rubles("199.99"), {"value": "199.99", "currency": "RUB"}, "amount"),
        (COUNT, 1, {"value": "1"}, "body"),
        (PENDING, 1, {"value": "1"}, "body"),
    ],
)
def test_what_would_pass_a_limit_is_refused_by_its_name_and_writes_nothing(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    kind: LimitKind,
    value: Money | int,
    members: dict[str, str],
    field: str,
) -> None:
    if kind is not AMOUNT:
        create(connection, merchant, amount="100.00")
    limit(engine, merchant, kind, value)
    counts = row_counts(connection)

    with pytest.raises(LimitExceeded) as refused:
        create(connection, merchant, amount="100.00", claimed=claim())

    assert refused.value.members == {"limit": kind.value, **members}
    assert wrong_fields(refused) == [field]
    assert row_counts(connection) == counts


@pytest.mark.parametrize(
    ("kind", "value"),
    [(AMOUNT, rubles("100.00")), (DAY, rubles("200.00")), (COUNT, 2), (PENDING, 2)],
)
def test_exactly_the_limit_is_allowed(
    connection: Connection, engine: Engine, merchant: TestUser, kind: LimitKind, value: Money | int
) -> None:
    limit(engine, merchant, kind, value)

    answers = [create(connection, merchant, amount="100.00", claimed=claim(k)) for k in "ab"]

    assert [answer.status for answer in answers] == [201, 201]
    if kind is not AMOUNT:
        with pytest.raises(LimitExceeded):
            create(connection, merchant, amount="0.01")
    assert findings(engine) == []


def test_the_answer_within_limits_is_the_usual_one(
    connection: Connection, engine: Engine, keyring: Keyring
) -> None:
    free, limited = make_user(engine, keyring), make_user(engine, keyring)
    limit(engine, limited, COUNT, 5)
    fields: dict[str, Any] = {"reference": "r", "description": "d", "metadata": {"k": "v"}}

    bodies = [json.loads(create(connection, each, **fields).body) for each in (free, limited)]

    for body in bodies:
        for own in ("id", "user_id", "created_at", "expires_at"):
            del body[own]
    assert bodies[0] == bodies[1]


def end(connection: Connection, superuser: Engine, admin: TestUser, id_: UUID, how: str) -> None:
    if how == "canceled":
        transaction_service.cancel(connection, admin.digest, ORIGIN, id_)
    elif how == "confirmed":
        transaction_service.confirm(connection, admin.digest, ORIGIN, id_)
    else:
        changed(superuser, id_, "expires_at = created_at + interval '1 microsecond'")
        if how == "swept":
            assert transaction_service.expire_overdue(connection) == 1


@pytest.mark.parametrize("how", ["canceled", "overdue", "swept"])
@pytest.mark.parametrize(("kind", "value"), [(DAY, rubles("100.00")), (COUNT, 1), (PENDING, 1)])
def test_what_ended_unpaid_makes_room_again(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    kind: LimitKind,
    value: Money | int,
    how: str,
) -> None:
    limit(engine, merchant, kind, value)
    first = made(connection, merchant)
    with pytest.raises(LimitExceeded):
        create(connection, merchant)

    end(connection, superuser, admin, first, how)

    assert create(connection, merchant).status == 201
    with pytest.raises(LimitExceeded):
        create(connection, merchant)


@pytest.mark.parametrize(
    ("kind", "value", "counts"),
    [(DAY, rubles("100.00"), True), (COUNT, 1, True), (PENDING, 1, False)],
)
def test_what_was_paid_counts_for_its_day_but_is_not_pending(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    kind: LimitKind,
    value: Money | int,
    counts: bool,
) -> None:
    limit(engine, merchant, kind, value)
    transaction_service.confirm(connection, admin.digest, ORIGIN, made(connection, merchant))

    if counts:
        with pytest.raises(LimitExceeded):
            create(connection, merchant)
    else:
        assert create(connection, merchant).status == 201


MIDNIGHT = "date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize(("kind", "value"), [(DAY, rubles("100.00")), (COUNT, 1)])
def test_a_day_begins_at_midnight_utc_whatever_the_zone_of_the_session(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    kind: LimitKind,
    value: Money | int,
    zone: str,
) -> None:
    limit(engine, merchant, kind, value)
    first = made(connection, merchant)
    connection.execute(text(f"SET TIME ZONE '{zone}'"))
    try:
        changed(superuser, first, f"created_at = {MIDNIGHT}")
        with pytest.raises(LimitExceeded):
            create(connection, merchant)
        changed(superuser, first, f"created_at = {MIDNIGHT} - interval '1 microsecond'")
        assert create(connection, merchant).status == 201
    finally:
        connection.execute(text("SET TIME ZONE 'UTC'"))


def test_pending_ones_of_all_days_count(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, PENDING, 1)
    changed(superuser, made(connection, merchant), "created_at = created_at - interval '9 days'")

    with pytest.raises(LimitExceeded):
        create(connection, merchant)


def test_sums_are_kept_for_each_currency_and_counts_over_all(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, DAY, rubles("100.00"))
    limit(engine, merchant, AMOUNT, Money(5_000, "JPY"))
    limit(engine, merchant, COUNT, 3)
    create(connection, merchant, amount="100.00")
    create(connection, merchant, amount="1000000.00", currency="USD")
    with pytest.raises(LimitExceeded) as refused:
        create(connection, merchant, amount="5001", currency="JPY")
    assert refused.value.members == {
        "limit": "transaction_amount",
        "value": "5000",
        "currency": "JPY",
    }
    create(connection, merchant, amount="5000", currency="JPY")
    with pytest.raises(LimitExceeded) as refused:
        create(connection, merchant, amount="1", currency="KWD")
    assert refused.value.members["limit"] == "daily_count"


def test_the_limit_that_waiting_does_not_lift_is_named_first(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    for kind in (AMOUNT, DAY):
        limit(engine, merchant, kind, rubles("1.00"))
    for kind in (COUNT, PENDING):
        limit(engine, merchant, kind, 0)

    with pytest.raises(LimitExceeded) as refused:
        create(connection, merchant, amount="1.01")

    assert refused.value.members["limit"] == "transaction_amount"


def test_limits_are_the_merchants_whoever_creates(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, keyring: Keyring
) -> None:
    limit(engine, merchant, COUNT, 1)
    limit(engine, admin, COUNT, 0)
    create(connection, admin, user_id=merchant.id)

    with pytest.raises(LimitExceeded):
        create(connection, merchant)
    assert create(connection, make_user(engine, keyring)).status == 201


def test_a_repeated_client_id_is_answered_though_the_limit_is_used_up(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, COUNT, 1)
    id_ = uuid4()
    first = create(connection, merchant, id=id_)
    counts = row_counts(connection)

    again = create(connection, merchant, id=id_)
    with pytest.raises(IdConflict):
        create(connection, merchant, id=id_, amount="5.00")

    assert (first.status, again.status, again.body) == (201, 200, first.body)
    assert row_counts(connection) == counts


def test_a_kept_answer_is_replayed_though_the_limit_is_used_up(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, COUNT, 1)
    first = create(connection, merchant, claimed=claim())

    again = create(connection, merchant, claimed=claim())

    assert (again.status, again.body, again.replayed) == (201, first.body, True)


def test_a_request_that_ran_before_its_connection_died_finds_its_own_transaction(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, COUNT, 1)
    fresh = uuid4()

    answers = [create(connection, merchant, fresh_id=fresh) for _ in range(2)]

    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].body == answers[1].body


def test_a_refusal_is_not_kept(connection: Connection, engine: Engine, merchant: TestUser) -> None:
    limit(engine, merchant, COUNT, 0)
    with pytest.raises(LimitExceeded):
        create(connection, merchant, claimed=claim())
    limit(engine, merchant, COUNT, 1)

    assert create(connection, merchant, claimed=claim()).replayed is False


def test_who_may_not_create_hears_nothing_of_limits(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, COUNT, 0)
    with Session(engine) as session, transaction(session):
        user_service.update_user(session, SYSTEM, session.get_one(User, merchant.id), active=False)

    with pytest.raises(Unauthenticated):
        create(connection, merchant)


@pytest.mark.parametrize("change", [{"amount": "1.001"}, {"amount": "0"}, {"currency": "XXX"}])
def test_what_is_wrong_is_said_before_a_limit(
    connection: Connection, engine: Engine, merchant: TestUser, change: dict[str, Any]
) -> None:
    limit(engine, merchant, COUNT, 0)

    with pytest.raises(InvalidInput) as refused:
        create(connection, merchant, **change)

    assert wrong_fields(refused) == list(change)
    assert not isinstance(refused.value, LimitExceeded)


def test_a_taken_reference_is_said_before_a_limit(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    want_unique_references(engine, merchant)
    limit(engine, merchant, COUNT, 1)
    create(connection, merchant, reference="r")

    with pytest.raises(ReferenceTaken):
        create(connection, merchant, reference="r")


def test_a_limit_is_set_replaced_listed_and_removed_with_a_record_of_each(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, DAY, rubles("5.00"))
    limit(engine, merchant, DAY, rubles("7.50"))
    limit(engine, merchant, DAY, Money(10, "JPY"))
    limit(engine, merchant, COUNT, 3)
    with Session(engine) as session, transaction(session):
        user = session.get_one(User, merchant.id)
        listed = [
            limit_service.describe(row) for row in limit_service.list_limits(session, user.id)
        ]
        for kind, currency in ((DAY, None), (DAY, "JPY"), (COUNT, None)):
            limit_service.remove_limit(session, SYSTEM, user, kind, currency)
        assert limit_service.list_limits(session, user.id) == []
        records = session.query(AuditRecord).filter(AuditRecord.action.like("limit.%"))
        told = [(r.action, r.before, r.after) for r in records.order_by(AuditRecord.id)]
        assert {(r.object_type, r.object_id) for r in records} == {("user", str(merchant.id))}
    five, seven, yen, three = (
        {"limit": "daily_amount", "value": "5.00", "currency": "RUB"},
        {"limit": "daily_amount", "value": "7.50", "currency": "RUB"},
        {"limit": "daily_amount", "value": "10", "currency": "JPY"},
        {"limit": "daily_count", "value": "3"},
    )
    assert listed == [yen, seven, three]
    assert told == [
        ("limit.set", None, five),
        ("limit.set", five, seven),
        ("limit.set", None, yen),
        ("limit.set", None, three),
        ("limit.removed", seven, None),
        ("limit.removed", yen, None),
        ("limit.removed", three, None),
    ]
    assert create(connection, merchant, amount="100.00").status == 201


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DAY, 5),
        (AMOUNT, 0),
        (COUNT, rubles("5.00")),
        (PENDING, rubles("5.00")),
        (COUNT, -1),
        (COUNT, MAX_MINOR + 1),
        (DAY, Money(-1, "RUB")),
        (AMOUNT, Money(MAX_MINOR + 1, "RUB")),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    connection: Connection, engine: Engine, merchant: TestUser, kind: LimitKind, value: Money | int
) -> None:
    counts = row_counts(connection)

    with pytest.raises(InvalidInput) as refused:
        limit(engine, merchant, kind, value)

    assert wrong_fields(refused) == [kind.value]
    assert row_counts(connection) == counts


@pytest.mark.parametrize(("kind", "currency"), [(COUNT, None), (DAY, None), (AMOUNT, "USD")])
def test_a_limit_that_is_not_there_cannot_be_removed(
    engine: Engine, merchant: TestUser, kind: LimitKind, currency: str | None
) -> None:
    with Session(engine) as session:
        user = session.get_one(User, merchant.id)
        with pytest.raises(NotFound, match=kind.value):
            limit_service.remove_limit(session, SYSTEM, user, kind, currency)


def test_limits_go_with_a_user_that_never_had_a_transaction(
    connection: Connection, engine: Engine, keyring: Keyring
) -> None:
    user = make_user(engine, keyring, role=Role.REGULAR)
    limit(engine, user, COUNT, 5)
    with Session(engine) as session, transaction(session):
        user_service.delete_user(session, SYSTEM, session.get_one(User, user.id))

    assert row_counts(connection)["limits"] == 0
    with pytest.raises(Unauthenticated):
        key_service.authenticate(connection, user.digest, ORIGIN)


def test_an_overdue_one_of_yesterday_is_no_pending_one(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, PENDING, 1)
    overdue(superuser, str(made(connection, merchant)))

    assert create(connection, merchant).status == 201
