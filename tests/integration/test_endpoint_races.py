"""Owners change endpoints while the engine records what came of its attempts at them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import cycle
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.clock import new_id
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.errors import (
    EndpointNotCallable,
    InvalidInput,
    NotFound,
    Unauthenticated,
    UserHasHistory,
)
from standart.services import (
    endpoint_acts,
    endpoint_service,
    ping_service,
    user_service,
    webhook_service,
)
from standart.services.access import SYSTEM
from standart.services.endpoint_acts import Changes, NewEndpoint
from standart.services.webhook_work import AttemptResult
from standart.webhooks import signing
from tests.builders import ORIGIN, TestUser, make_user, row_counts
from tests.integration.concurrency import blocked, together

URL = "https://shop.example/hook"
ROUNDS = 25


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, webhook_url=URL)


def test_changes_and_recorded_attempts_never_wait_in_a_circle(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    results = cycle(
        [
            AttemptResult("http_410", 410, "", "", 1),
            AttemptResult("http_500", 500, "", "", 1),
            AttemptResult("delivered", 200, "", "", 1),
        ]
    )
    changes = cycle(
        [
            Changes(enabled=True, rate_limit=5),
            Changes(url=f"{URL}/2", rate_limit=None),
            Changes(enabled=False),
            Changes(url=URL, enabled=True),
        ]
    )

    def deliver() -> None:
        with autocommit(engine) as own:
            for _ in range(ROUNDS):
                claimed = webhook_service.claim_due(own, keyring).deliveries
                pairs = [(each, next(results)) for each in claimed]
                webhook_service.record_attempts(own, pairs, schedule=(0,) * 9)

    def change() -> None:
        with autocommit(engine) as own:
            for _ in range(ROUNDS):
                endpoint_acts.update(own, shop.digest, ORIGIN, keyring, shop.id, next(changes))

    def save_the_plain_url() -> None:
        for number in range(ROUNDS):
            with Session(engine) as session, transaction(session):
                user = user_service.get_user(session, shop.id)
                user_service.update_user(session, SYSTEM, user, webhook_url=f"{URL}/{number}")

    def test() -> None:
        with autocommit(engine) as own:
            for _ in range(ROUNDS):
                endpoint_acts.update(
                    own, shop.digest, ORIGIN, keyring, shop.id, Changes(enabled=True)
                )
                try:
                    ping_service.ping(own, shop.digest, ORIGIN, shop.id, event_id=new_id())
                except EndpointNotCallable:
                    continue

    assert together([deliver, deliver, change, save_the_plain_url, test]) == [None] * 5


def test_a_rotation_that_runs_twice_rotates_once(
    connection: Connection, keyring: Keyring, shop: TestUser
) -> None:
    fresh = signing.new_secret()
    answers = [
        endpoint_acts.rotate_secret(
            connection, shop.digest, ORIGIN, keyring, shop.id, fresh_secret=fresh
        )
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    row = connection.execute(
        text("SELECT id, secret, previous_secret FROM webhook_endpoints WHERE id = :id"),
        {"id": shop.id},
    ).one()
    signing_now = endpoint_service.open_secrets(keyring, row.id, row.secret, row.previous_secret)
    assert signing_now == [fresh, shop.webhook_secret]


def test_a_creation_that_runs_twice_makes_one(
    connection: Connection, keyring: Keyring, shop: TestUser
) -> None:
    new = NewEndpoint(url=f"{URL}/2")
    answers = [
        endpoint_acts.create(connection, shop.digest, ORIGIN, keyring, new) for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert json.loads(answers[0].body)["secret"] == new.fresh_secret
    assert row_counts(connection)["webhook_endpoints"] == 2


def test_a_ping_that_runs_twice_is_sent_once(connection: Connection, shop: TestUser) -> None:
    event_id = new_id()
    answers = [
        ping_service.ping(connection, shop.digest, ORIGIN, shop.id, event_id=event_id)
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert row_counts(connection)["events"] == 1


def delete(engine: Engine, user_id: UUID) -> Callable[[], None]:
    def act() -> None:
        with Session(engine) as session, transaction(session):
            user_service.delete_user(session, SYSTEM, user_service.get_user(session, user_id))

    return act


def test_an_owner_is_deleted_while_an_endpoint_is_made(
    engine: Engine, superuser: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    def create() -> None:
        with autocommit(engine) as own:
            new = NewEndpoint(url=URL, user_id=merchant.id)
            endpoint_acts.create(own, admin.digest, ORIGIN, keyring, new)

    with Session(engine) as session, transaction(session):
        user_service.delete_user(session, SYSTEM, user_service.get_user(session, merchant.id))
        with blocked(superuser, create) as creating:
            session.commit()
    refused = creating.result()
    assert isinstance(refused, InvalidInput)
    assert refused.errors[0].field == "user_id"


def test_an_owner_is_deleted_while_it_is_tested(
    engine: Engine, keyring: Keyring, connection: Connection
) -> None:
    for _ in range(10):
        owner = make_user(engine, keyring, webhook_url=URL)

        def ping(owner: TestUser = owner) -> None:
            with autocommit(engine) as own:
                ping_service.ping(own, owner.digest, ORIGIN, owner.id, event_id=new_id())

        deleted, pinged = together([delete(engine, owner.id), ping])
        there = connection.scalar(
            text("SELECT count(*) FROM users WHERE id = :id"), {"id": owner.id}
        )
        if deleted is None:
            assert there == 0
            assert isinstance(pinged, (Unauthenticated, EndpointNotCallable, NotFound))
        else:
            assert isinstance(deleted, UserHasHistory)
            assert (there, pinged) == (1, None)
