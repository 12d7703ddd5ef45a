"""A dead webhook is replayable: the same event, by a schedule that begins anew."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import transaction
from standart.encryption import Keyring
from standart.errors import Conflict, NotFound
from standart.services import (
    replay_service,
    transaction_service,
    user_service,
    webhook_service,
)
from standart.services.access import SYSTEM, Actor
from standart.services.webhook_work import AttemptResult, ClaimedDelivery
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, row_counts

URL = "https://shop.example/hook"
SCHEDULE = (60, 600)
REFUSED = AttemptResult("http_500", 500, "", "", 3)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, webhook_url=URL)


def ended(connection: Connection, engine: Engine, owner: TestUser) -> UUID:
    """Cancel a transaction of a merchant; return the id of the event that tells of it."""
    made = make_transaction(engine, owner)
    transaction_service.cancel(connection, owner.digest, ORIGIN, UUID(made["id"]))
    event_id = connection.scalar(
        text("SELECT id FROM events WHERE transaction_id = :id"), {"id": made["id"]}
    )
    assert isinstance(event_id, UUID)
    return event_id


def replay(engine: Engine, actor: Actor, event_id: UUID) -> None:
    with Session(engine) as session, transaction(session):
        replay_service.replay(session, actor, event_id)


def fail_once(connection: Connection, keyring: Keyring, superuser: Engine) -> ClaimedDelivery:
    with superuser.begin() as owner:
        owner.execute(text("UPDATE deliveries SET next_attempt_at = clock_timestamp()"))
    (claimed,) = webhook_service.claim_due(connection, keyring).deliveries
    webhook_service.record_attempts(connection, [(claimed, REFUSED)], schedule=SCHEDULE)
    return claimed


def test_a_dead_one_is_sent_again_by_a_schedule_from_its_start(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring, shop: TestUser
) -> None:
    event_id = ended(connection, engine, shop)
    tries = [fail_once(connection, keyring, superuser) for _ in range(len(SCHEDULE) + 1)]
    assert connection.scalar(text("SELECT state FROM deliveries")) == "dead"

    replay(engine, shop.actor, event_id)
    again = fail_once(connection, keyring, superuser)

    assert (again.event_id, again.body) == (tries[0].event_id, tries[0].body)
    assert again.attempt == 1
    row = connection.execute(
        text(
            "SELECT state, attempt_count,"
            " extract(epoch FROM next_attempt_at - clock_timestamp())::float AS due_in"
            " FROM deliveries"
        )
    ).one()
    assert (row.state, row.attempt_count) == ("waiting", len(SCHEDULE) + 2)
    assert 0 < row.due_in <= SCHEDULE[0] * (1 + webhook_service.JITTER)
    assert connection.scalar(
        text("SELECT actor_name FROM audit_log WHERE action = 'event.replayed'")
    ) == (shop.name)


def test_one_that_was_never_sent_gets_its_delivery(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    event_id = ended(connection, engine, merchant)
    with pytest.raises(Conflict):
        replay(engine, merchant.actor, event_id)
    with Session(engine) as session, transaction(session):
        user = user_service.get_user(session, merchant.id)
        user_service.update_user(session, SYSTEM, user, webhook_url=URL)

    replay(engine, SYSTEM, event_id)
    replay(engine, SYSTEM, event_id)

    assert row_counts(connection)["deliveries"] == 1
    (claimed,) = webhook_service.claim_due(connection, keyring).deliveries
    assert claimed.event_id == event_id


def test_a_try_that_is_under_way_keeps_its_lease(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    event_id = ended(connection, engine, shop)
    (claimed,) = webhook_service.claim_due(connection, keyring).deliveries

    replay(engine, shop.actor, event_id)

    assert connection.scalar(text("SELECT lease FROM deliveries")) == claimed.lease
    assert webhook_service.claim_due(connection, keyring).deliveries == []


def test_a_replay_that_comes_during_the_last_try_is_not_lost_with_it(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring, shop: TestUser
) -> None:
    event_id = ended(connection, engine, shop)
    for _ in SCHEDULE:
        fail_once(connection, keyring, superuser)
    with superuser.begin() as owner:
        owner.execute(text("UPDATE deliveries SET next_attempt_at = clock_timestamp()"))
    (last,) = webhook_service.claim_due(connection, keyring).deliveries

    replay(engine, shop.actor, event_id)
    webhook_service.record_attempts(connection, [(last, REFUSED)], schedule=SCHEDULE)

    assert connection.scalar(text("SELECT state FROM deliveries")) == "waiting"
    with superuser.begin() as owner:
        owner.execute(text("UPDATE webhook_lanes SET open_until = NULL"))
    (again,) = webhook_service.claim_due(connection, keyring).deliveries
    assert (again.event_id, again.attempt) == (event_id, 1)


def test_a_foreign_event_is_as_unknown_as_none(
    connection: Connection, engine: Engine, shop: TestUser, merchant: TestUser
) -> None:
    event_id = ended(connection, engine, shop)

    for unknown in (event_id, UUID(int=7)):
        with pytest.raises(NotFound) as refused:
            replay(engine, merchant.actor, unknown)
        assert refused.value.detail == NotFound().detail
