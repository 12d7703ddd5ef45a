"""API keys: made once, shown once, worthless once revoked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import transaction
from standart.encryption import Keyring
from standart.errors import InsufficientScope, InvalidInput, NotFound, Unauthenticated
from standart.models import Role, Scope, User
from standart.services import audit_service, key_service, transaction_service, user_service
from standart.services.access import SYSTEM, Actor, Origin
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, row_counts
from tests.integration.concurrency import blocked


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def row_of(session: Session, user: TestUser) -> User:
    return user_service.get_user(session, user.id)


def test_a_key_opens_for_its_user_with_its_scopes(
    session: Session, connection: Connection, merchant: TestUser
) -> None:
    key, plain = key_service.create_key(session, SYSTEM, row_of(session, merchant))
    session.commit()
    origin = Origin("api", "req-1", "192.0.2.1")

    actor = key_service.authenticate(connection, key_service.digest_of(plain), origin)

    assert actor == Actor(
        merchant.id, merchant.name, Role.REGULAR, key_service.DEFAULT_SCOPES, origin
    )
    assert (key.prefix, key.last4) == (plain[:16], plain[-4:])
    assert key.scopes == ["read", "write"]


def test_no_key_is_kept_in_plain_text(
    session: Session, superuser: Engine, merchant: TestUser
) -> None:
    secret = merchant.key[16:-4]
    with superuser.connect() as connection:
        rows = connection.execute(text("SELECT k::text FROM api_keys k")).scalars().all()
        logged = connection.execute(text("SELECT a::text FROM audit_log a")).scalars().all()

    assert rows
    assert logged
    assert not [row for row in (*rows, *logged) if secret in row]


def test_keys_differ_and_have_one_form() -> None:
    keys = {key_service.generate() for _ in range(200)}

    assert len(keys) == 200
    assert {len(key) for key in keys} == {len("sk_live_") + 43 + 6}
    for key in keys:
        key_service.digest_of(key)


def test_a_typing_error_is_told_without_the_database(merchant: TestUser) -> None:
    key = merchant.key
    last = "a" if key[-1] != "a" else "b"
    swapped = key[:20] + ("a" if key[20] != "a" else "b") + key[21:]
    for wrong in ("", key[:-1], key + "x", key[:-1] + last, swapped, key.upper(), key + "\n"):
        with pytest.raises(Unauthenticated):
            key_service.digest_of(wrong)
    with pytest.raises(Unauthenticated):
        key_service.digest_of("sk_live_" + "٣" * 49)


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE api_keys SET revoked_at = clock_timestamp()",
        "UPDATE api_keys SET expires_at = clock_timestamp()",
        "UPDATE users SET active = false",
        "UPDATE api_keys SET digest = sha256(digest)",
    ],
    ids=["revoked", "expired", "deactivated", "unknown"],
)
def test_every_dead_key_is_refused_in_the_same_words(
    connection: Connection, superuser: Engine, merchant: TestUser, spoil: str
) -> None:
    assert key_service.authenticate(connection, merchant.digest, ORIGIN).user_id == merchant.id
    with superuser.begin() as other:
        other.execute(text(spoil))

    with pytest.raises(Unauthenticated) as refused:
        key_service.authenticate(connection, merchant.digest, ORIGIN)
    assert refused.value.detail == "The API key is not valid."


def test_a_key_for_some_days_expires_by_then(session: Session, merchant: TestUser) -> None:
    user = row_of(session, merchant)
    key, _ = key_service.create_key(session, SYSTEM, user, lifetime=timedelta(days=90))
    session.commit()
    session.refresh(key)

    assert key.expires_at is not None
    assert abs(key.expires_at - key.created_at - timedelta(days=90)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": [Scope.CONFIRM]}, "scopes"),
        ({"lifetime": timedelta(0)}, "expires_in"),
        ({"lifetime": timedelta(days=-1)}, "expires_in"),
    ],
)
def test_what_makes_no_sense_is_refused(
    session: Session, merchant: TestUser, options: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        key_service.create_key(session, SYSTEM, row_of(session, merchant), **options)
    assert [each.field for each in refused.value.errors] == [field]


def test_keys_are_listed_newest_first(session: Session, merchant: TestUser) -> None:
    for _ in range(2):
        with transaction(session):
            key_service.create_key(session, SYSTEM, row_of(session, merchant))

    made = [key.created_at for key in key_service.list_keys(session, merchant.id)]

    assert len(made) == 3
    assert made == sorted(made, reverse=True)


def test_revoking_counts_at_once_and_repeats_harmlessly(
    session: Session, connection: Connection, merchant: TestUser
) -> None:
    for _ in range(2):
        with transaction(session):
            revoked = key_service.revoke_key(session, merchant.actor, merchant.key[:16])
    first = revoked.revoked_at

    with pytest.raises(Unauthenticated):
        key_service.authenticate(connection, merchant.digest, ORIGIN)
    with transaction(session):
        assert key_service.revoke_key(session, SYSTEM, merchant.key[:16]).revoked_at == first
    actions = [
        (record.action, record.actor_id)
        for record in audit_service.history(session, "user", merchant.id)
    ]
    assert actions == [
        ("user.created", None),
        ("api_key.created", None),
        ("api_key.revoked", merchant.id),
    ]


def test_somebody_elses_key_is_as_unknown_as_an_unknown_one(
    session: Session, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    other = make_user(engine, keyring)
    for prefix in (merchant.key[:16], "sk_live_xxxxxxxx", ""):
        with pytest.raises(NotFound):
            key_service.revoke_key(session, other.actor, prefix)


def test_an_actor_may_do_what_its_scopes_say(merchant: TestUser, admin: TestUser) -> None:
    moved = merchant.actor.at(Origin("panel"))

    assert (moved.origin.channel, moved.user_id) == ("panel", merchant.id)
    merchant.actor.require(Scope.READ)
    with pytest.raises(InsufficientScope) as refused:
        merchant.actor.require(Scope.CONFIRM)
    assert refused.value.members == {"required_scope": "confirm"}
    assert merchant.actor.owns(merchant.id)
    assert not merchant.actor.owns(admin.id)
    assert admin.actor.owns(merchant.id)


def test_a_key_that_confirms_is_worth_no_more_than_its_users_role(
    engine: Engine, connection: Connection, merchant: TestUser
) -> None:
    made = UUID(make_transaction(engine, merchant)["id"])
    connection.execute(text("UPDATE api_keys SET scopes = ARRAY['read', 'confirm']"))

    with pytest.raises(InsufficientScope):
        transaction_service.confirm(connection, merchant.digest, ORIGIN, made)

    assert key_service.authenticate(connection, merchant.digest, ORIGIN).scopes == {Scope.READ}
    assert row_counts(connection)["journals"] == 0


def test_a_new_key_that_confirms_does_not_outlive_the_role_it_needs(
    engine: Engine, superuser: Engine, keyring: Keyring, admin: TestUser
) -> None:
    make_user(engine, keyring, role=Role.ADMIN)
    with Session(engine) as demoting, Session(engine) as creating:
        stale = row_of(creating, admin)
        user_service.update_user(demoting, SYSTEM, row_of(demoting, admin), role=Role.REGULAR)

        def create() -> object:
            return key_service.create_key(creating, SYSTEM, stale, scopes=[Scope.CONFIRM])

        with blocked(superuser, create) as created:
            demoting.commit()
            assert isinstance(created.result(), InvalidInput)


def test_a_user_that_was_deleted_meanwhile_gets_no_key(
    engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    with Session(engine) as session:
        user = user_service.get_user(session, merchant.id)
        with superuser.begin() as other:
            for table in ("api_keys", "webhook_endpoints", "users"):
                column = "id" if table == "users" else "user_id"
                other.execute(text(f"DELETE FROM {table} WHERE {column} = :id"), {"id": user.id})

        with pytest.raises(NotFound):
            key_service.create_key(session, SYSTEM, user)
