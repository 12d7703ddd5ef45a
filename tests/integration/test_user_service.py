"""Users: made, changed, deactivated, deleted where there was no money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from standart.clock import new_id
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.errors import InvalidInput, NameTaken, NotFound, Unauthenticated, UserHasHistory
from standart.models import ENDINGS, AccountKind, Particulars, Role, Scope, User
from standart.services import (
    audit_service,
    endpoint_service,
    key_service,
    outbox,
    session_service,
    transaction_service,
    user_service,
)
from standart.services.access import SYSTEM
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.transaction_request import NewTransaction
from tests.builders import (
    ORIGIN,
    PASSWORD,
    TestUser,
    make_endpoint,
    make_transaction,
    make_user,
    row_counts,
)
from tests.integration.concurrency import blocked, uncommitted


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def of(session: Session, user: TestUser) -> User:
    return user_service.get_user(session, user.id)


def update(engine: Engine, user: TestUser, **changes: Any) -> None:
    with Session(engine) as session, transaction(session):
        user_service.update_user(session, SYSTEM, of(session, user), **changes)


def delete(engine: Engine, user: TestUser) -> None:
    with Session(engine) as session, transaction(session):
        user_service.delete_user(session, SYSTEM, of(session, user))


def wrong_fields(error: InvalidInput) -> list[str]:
    return [each.field for each in error.errors]


@pytest.mark.usefixtures("real_passwords")
def test_a_user_is_kept_without_its_secrets_in_plain_text(
    session: Session, keyring: Keyring
) -> None:
    user, secret = user_service.create_user(
        session,
        SYSTEM,
        keyring,
        name="  Чайная  ",
        currency="KWD",
        commission_rate=Decimal("0.025"),
        webhook_url="https://shop.example/hook",
        password=PASSWORD,
    )
    session.commit()

    row = session.connection().execute(text("SELECT * FROM users")).one()
    [record] = audit_service.history(session, "user", user.id)
    assert (row.name, row.role, row.active, row.currency) == ("Чайная", "regular", True, "KWD")
    assert row.commission_rate == Decimal("0.025")
    endpoint = session.connection().execute(text("SELECT * FROM webhook_endpoints")).one()
    assert (endpoint.user_id, endpoint.id) == (user.id, user.id)
    assert endpoint.url == "https://shop.example/hook"
    assert endpoint.event_types == list(ENDINGS)
    assert secret.encode() not in endpoint.secret
    assert endpoint_service.secret_of(keyring, user.endpoint) == secret
    assert row.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (record.action, record.before) == ("user.created", None)
    assert record.after == {
        "name": "Чайная",
        "role": "regular",
        "active": True,
        "commission_rate": "0.025",
        "currency": "KWD",
        "webhook_url": "https://shop.example/hook",
        "timezone": "UTC",
        "unique_reference": False,
    }


@pytest.mark.parametrize("name", ["", "  ", "x" * 129, "a\nb", "a\0b", "\u202eabc"])
def test_a_name_must_be_printable_text(session: Session, keyring: Keyring, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        user_service.create_user(session, SYSTEM, keyring, name=name, currency="RUB")
    assert wrong_fields(refused.value) == ["name"]


@pytest.mark.parametrize("password", ["short", "x" * 1025, "surrogate \ud800 in it"])
def test_a_password_must_be_text_of_fair_length(
    session: Session, keyring: Keyring, password: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        user_service.create_user(
            session, SYSTEM, keyring, name="n", currency="RUB", password=password
        )
    assert wrong_fields(refused.value) == ["password"]


@pytest.mark.parametrize(
    "password",
    ["qwerty123456", "QWERTY123456", "ghbdtnghbdtn", "123456789012", "Tea & Cakes Ltd"],
)
def test_a_password_must_not_be_what_everybody_tries_first(
    session: Session, keyring: Keyring, merchant: TestUser, password: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        user_service.create_user(
            session, SYSTEM, keyring, name="tea & cakes ltd", currency="RUB", password=password
        )
    assert wrong_fields(refused.value) == ["password"]
    if password != "Tea & Cakes Ltd":
        with pytest.raises(InvalidInput):
            user_service.update_user(session, SYSTEM, of(session, merchant), password=password)


@pytest.mark.parametrize(
    "timezone", ["", "Moscow", "../etc/passwd", "/etc/localtime", "Europe", "UTC\n", "U\0C", "é"]
)
def test_a_time_zone_must_be_one(
    session: Session, keyring: Keyring, merchant: TestUser, timezone: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        user_service.create_user(
            session, SYSTEM, keyring, name="n", currency="RUB", timezone=timezone
        )
    assert wrong_fields(refused.value) == ["timezone"]
    user = user_service.get_user(session, merchant.id)
    with pytest.raises(InvalidInput):
        user_service.update_user(session, SYSTEM, user, timezone=timezone)


def test_names_and_time_zones_of_former_days_are_kept(session: Session, merchant: TestUser) -> None:
    user = user_service.get_user(session, merchant.id)
    user_service.update_user(session, SYSTEM, user, timezone="Europe/Moscow")
    user_service.update_user(session, SYSTEM, user, commission_rate=Decimal("0.5"))
    user_service.update_user(session, SYSTEM, user, name="Renamed")
    kept = session.execute(
        select(Particulars.name, Particulars.timezone)
        .filter_by(user_id=merchant.id)
        .order_by(Particulars.number)
    )
    assert [tuple(row) for row in kept] == [
        (merchant.name, "UTC"),
        (merchant.name, "Europe/Moscow"),
        ("Renamed", "Europe/Moscow"),
    ]


def test_a_currency_must_be_one(session: Session, keyring: Keyring, merchant: TestUser) -> None:
    with pytest.raises(InvalidInput) as refused:
        user_service.create_user(session, SYSTEM, keyring, name="n", currency="XXX")
    assert wrong_fields(refused.value) == ["currency"]
    with pytest.raises(InvalidInput):
        user_service.update_user(session, SYSTEM, of(session, merchant), currency="rub")


def test_a_name_is_taken_in_whatever_case(
    engine: Engine, keyring: Keyring, session: Session
) -> None:
    make_user(engine, keyring, name="Alice")
    bob = make_user(engine, keyring, name="bob")

    with pytest.raises(NameTaken):
        make_user(engine, keyring, name="aLICE")
    with pytest.raises(NameTaken):
        update(engine, bob, name="ALICE")
    update(engine, bob, name="Bob")  # one's own name in another case

    found = user_service.find_user(session, "ALICE")
    assert found is not None
    assert found.name == "Alice"
    assert user_service.find_user(session, "carol") is None
    assert [user.name for user in user_service.list_users(session)] == ["Alice", "Bob"]


def test_another_broken_rule_is_not_called_a_taken_name(engine: Engine, merchant: TestUser) -> None:
    with pytest.raises(IntegrityError, match="commission_rate_range"):
        update(engine, merchant, commission_rate=Decimal(2))


def test_an_unknown_user_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        user_service.get_user(session, uuid4())


def test_an_update_changes_what_it_names_and_is_audited(
    engine: Engine, session: Session, merchant: TestUser
) -> None:
    update(engine, merchant, commission_rate=Decimal("0.5"), password="another password 1")
    update(engine, merchant, currency="USD", webhook_url="https://shop.example/")
    update(engine, merchant)

    user = of(session, merchant)
    rate, url, nothing = [
        record
        for record in audit_service.history(session, "user", merchant.id)
        if record.action == "user.updated"
    ]
    assert (user.name, user.role, user.active) == (merchant.name, Role.REGULAR, True)
    assert (user.currency, user.webhook_url) == ("USD", "https://shop.example/")
    assert rate.before is not None
    assert rate.after is not None
    assert rate.before["commission_rate"] == "0.03"
    assert (rate.after["commission_rate"], rate.after["password_changed"]) == ("0.5", True)
    assert "another" not in str(rate.after)
    assert url.after == {**(url.before or {}), "currency": "USD", "webhook_url": user.webhook_url}
    assert nothing.before == nothing.after


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"role": Role.ADMIN}, True),
        ({"active": False}, True),
        ({"password": "another password 1"}, True),
        ({"role": Role.REGULAR, "active": True}, False),
        ({"name": "renamed", "commission_rate": Decimal(0)}, False),
    ],
    ids=["role", "active", "password", "unchanged", "other"],
)
def test_what_matters_for_rights_ends_the_logins(
    engine: Engine,
    connection: Connection,
    session: Session,
    merchant: TestUser,
    changes: dict[str, Any],
    ends: bool,
) -> None:
    session_service.open_session(session, of(session, merchant), ip=None, user_agent=None)
    session.commit()

    update(engine, merchant, **changes)

    assert row_counts(connection)["panel_sessions"] == (0 if ends else 1)


def test_who_is_no_admin_any_more_cannot_confirm(
    engine: Engine, session: Session, keyring: Keyring, admin: TestUser
) -> None:
    former = make_user(engine, keyring, role=Role.ADMIN)
    only_confirm = key_service.create_key(
        session, SYSTEM, of(session, former), scopes=[Scope.CONFIRM]
    )[0]
    revoked = key_service.create_key(session, SYSTEM, of(session, former), scopes=[Scope.CONFIRM])[
        0
    ]
    key_service.revoke_key(session, SYSTEM, revoked.prefix)
    session.commit()
    revoked_at = revoked.revoked_at

    update(engine, former, role=Role.REGULAR)

    session.expire_all()
    keys = {key.prefix: key for key in key_service.list_keys(session, former.id)}
    assert keys[former.key[:16]].scopes == ["payout", "read", "refund", "write"]
    assert keys[former.key[:16]].revoked_at is None
    assert keys[only_confirm.prefix].revoked_at is not None
    assert keys[revoked.prefix].revoked_at == revoked_at


def test_who_becomes_admin_keeps_the_keys(
    engine: Engine, session: Session, merchant: TestUser
) -> None:
    update(engine, merchant, role=Role.ADMIN)
    [key] = key_service.list_keys(session, merchant.id)
    assert key.scopes == ["read", "write"]


@pytest.mark.parametrize("changes", [{"role": Role.REGULAR}, {"active": False}])
def test_the_last_active_admin_stays_one(
    engine: Engine, keyring: Keyring, admin: TestUser, changes: dict[str, Any]
) -> None:
    idle = make_user(engine, keyring, role=Role.ADMIN)
    update(engine, idle, active=False)

    with pytest.raises(InvalidInput) as refused:
        update(engine, admin, **changes)
    assert wrong_fields(refused.value) == ["role"]
    with pytest.raises(InvalidInput):
        delete(engine, admin)
    update(engine, idle, active=False, role=Role.REGULAR)  # has no rights to lose

    update(engine, make_user(engine, keyring), role=Role.ADMIN)
    update(engine, admin, **changes)


@pytest.mark.parametrize("lost", [{"active": False}, {"role": Role.OPERATOR}])
def test_whose_rights_are_gone_changes_nothing_any_more(
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    merchant: TestUser,
    connection: Connection,
    lost: dict[str, Any],
) -> None:
    gone = make_user(engine, keyring, role=Role.ADMIN)
    update(engine, gone, **lost)
    before = row_counts(connection)
    # As a request has it that began before.
    acts: list[Callable[[Session], object]] = [
        lambda session: user_service.update_user(
            session, gone.actor, of(session, merchant), role=Role.ADMIN
        ),
        lambda session: user_service.update_user(
            session, gone.actor, of(session, gone), password=PASSWORD
        ),
        lambda session: user_service.create_user(
            session, gone.actor, keyring, name="mine", currency="RUB", role=Role.ADMIN
        ),
        lambda session: user_service.delete_user(session, gone.actor, of(session, merchant)),
        lambda session: key_service.create_key(session, gone.actor, of(session, admin)),
        lambda session: key_service.create_key(session, gone.actor, of(session, gone)),
    ]
    for act in acts:
        with (
            pytest.raises(Unauthenticated),
            Session(engine) as session,
            transaction(session),
        ):
            act(session)

    assert row_counts(connection) == before


def test_a_change_waits_for_the_end_of_the_rights_it_is_made_by(
    engine: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser, superuser: Engine
) -> None:
    leaving = make_user(engine, keyring, role=Role.ADMIN)
    acts: list[Callable[[Session], object]] = [
        lambda session: key_service.create_key(session, leaving.actor, of(session, merchant)),
        lambda session: user_service.update_user(
            session, leaving.actor, of(session, merchant), role=Role.ADMIN
        ),
    ]
    for act in acts:

        def in_time(act: Callable[[Session], object] = act) -> object:
            with Session(engine) as own, transaction(own):
                return act(own)

        with Session(engine) as session:
            user_service.update_user(session, SYSTEM, of(session, leaving), active=False)
            with blocked(superuser, in_time) as waits:
                session.commit()
            assert isinstance(waits.result(), Unauthenticated)
        update(engine, leaving, active=True)


def test_whoever_became_the_last_admin_meanwhile_stays_one(
    engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    other = make_user(engine, keyring)
    with Session(engine) as session:
        seen = of(session, other)
        assert seen.role is Role.REGULAR
        update(engine, other, role=Role.ADMIN)
        update(engine, admin, active=False)

        with pytest.raises(InvalidInput):
            user_service.update_user(session, SYSTEM, seen, active=False)


def test_two_admins_cannot_remove_each_other(
    engine: Engine, superuser: Engine, keyring: Keyring, session: Session, admin: TestUser
) -> None:
    other = make_user(engine, keyring, role=Role.ADMIN)
    user_service.update_user(session, SYSTEM, of(session, admin), active=False)

    with blocked(superuser, lambda: update(engine, other, active=False)) as waiting:
        session.commit()

    refused = waiting.result()
    assert isinstance(refused, InvalidInput)
    assert wrong_fields(refused) == ["role"]


def test_a_user_without_history_goes_with_keys_logins_and_kept_answers(
    engine: Engine, connection: Connection, session: Session, admin: TestUser, merchant: TestUser
) -> None:
    session_service.open_session(session, of(session, merchant), ip=None, user_agent=None)
    session.commit()
    foreign = make_transaction(engine, admin, user_id=make_other(engine, session).id)
    before = row_counts(connection)

    delete(engine, merchant)

    after = row_counts(connection)
    assert before["users"] - after["users"] == 1
    assert before["api_keys"] - after["api_keys"] == 1
    for table in ("webhook_endpoints", "webhook_lanes"):
        assert before[table] - after[table] == 1
    assert after["panel_sessions"] == 0
    assert after["transactions"] == 1
    assert foreign["status"] == "pending"
    last = audit_service.history(session, "user", merchant.id)[-1]
    assert last.action == "user.deleted"
    assert last.before is not None
    assert last.before["name"] == merchant.name


def make_other(engine: Engine, session: Session) -> User:
    user = User(id=new_id(), name="other", role=Role.REGULAR, currency="RUB")
    session.add(user)
    session.commit()
    return user


def test_an_admin_with_kept_answers_can_be_deleted(
    engine: Engine, connection: Connection, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    second = make_user(engine, keyring, role=Role.ADMIN)
    transaction_service.create(
        connection,
        second.digest,
        ORIGIN,
        NewTransaction(amount="1", user_id=merchant.id),
        ttl_seconds=900,
        claim=IdempotencyClaim.of("/create_transaction", "k", b""),
    )
    assert row_counts(connection)["idempotency_keys"] == 1

    delete(engine, second)

    assert row_counts(connection)["idempotency_keys"] == 0


def test_a_user_with_transactions_is_not_deleted(
    engine: Engine, connection: Connection, merchant: TestUser
) -> None:
    make_transaction(engine, merchant)
    before = row_counts(connection)

    with pytest.raises(UserHasHistory):
        delete(engine, merchant)

    assert row_counts(connection) == before


def test_an_admin_who_only_approved_is_not_deleted(
    engine: Engine, connection: Connection, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    second = make_user(engine, keyring, role=Role.ADMIN)
    made = UUID(make_transaction(engine, merchant)["id"])
    transaction_service.confirm(connection, second.digest, ORIGIN, made, alone={"RUB": 0})
    before = row_counts(connection)
    assert before["approvals"] == 1

    with pytest.raises(UserHasHistory):
        delete(engine, second)

    assert row_counts(connection) == before


@pytest.mark.parametrize("sent", [False, True])
def test_a_user_whose_endpoint_was_written_to_is_not_deleted(
    engine: Engine, connection: Connection, keyring: Keyring, merchant: TestUser, sent: bool
) -> None:
    if sent:
        make_endpoint(engine, keyring, merchant, "ping", url="https://shop.example/")
    outbox.tell(connection, merchant.id, outbox.ENDPOINT, merchant.id, "ping", '{"id": "1"}')
    before = row_counts(connection)
    assert before["deliveries"] == int(sent)

    with pytest.raises(UserHasHistory):
        delete(engine, merchant)

    assert row_counts(connection) == before


def test_a_user_goes_with_all_its_endpoints(
    engine: Engine, connection: Connection, keyring: Keyring, merchant: TestUser
) -> None:
    make_endpoint(engine, keyring, merchant, url="https://shop.example/")
    delete(engine, merchant)
    counts = row_counts(connection)
    assert (counts["users"], counts["webhook_endpoints"], counts["webhook_lanes"]) == (0, 0, 0)


def test_a_transaction_that_comes_between_keeps_its_owner(
    engine: Engine, superuser: Engine, connection: Connection, merchant: TestUser
) -> None:
    with uncommitted(engine) as creating:
        transaction_service.create(
            creating, merchant.digest, ORIGIN, NewTransaction(amount="1"), ttl_seconds=900
        )
        with blocked(superuser, lambda: delete(engine, merchant)) as waiting:
            creating.commit()

    assert isinstance(waiting.result(), UserHasHistory)
    assert row_counts(connection)["api_keys"] == 1


@pytest.mark.parametrize("claim", [None, IdempotencyClaim.of("/create_transaction", "k", b"")])
@pytest.mark.parametrize("by_admin", [False, True])
def test_nothing_is_created_for_a_user_who_is_just_being_deleted(
    engine: Engine,
    superuser: Engine,
    session: Session,
    merchant: TestUser,
    admin: TestUser,
    claim: IdempotencyClaim | None,
    by_admin: bool,
) -> None:
    caller = admin if by_admin else merchant
    new = NewTransaction(amount="1", user_id=merchant.id if by_admin else None)

    def create() -> Answer:
        with autocommit(engine) as own:
            return transaction_service.create(
                own, caller.digest, ORIGIN, new, ttl_seconds=900, claim=claim
            )

    user_service.delete_user(session, SYSTEM, of(session, merchant))
    with blocked(superuser, create) as waiting:
        session.commit()

    assert type(waiting.result()) is (InvalidInput if by_admin else Unauthenticated)


def test_an_empty_account_stops_no_deletion(
    engine: Engine, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    with superuser.begin() as other:
        other.execute(
            text("INSERT INTO accounts VALUES (:user, 'RUB', :kind, 0)"),
            {"user": merchant.id, "kind": AccountKind.AVAILABLE.value},
        )

    delete(engine, merchant)

    assert row_counts(connection)["accounts"] == 0
