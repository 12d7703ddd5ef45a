"""Deliveries: leased once, retried by the schedule, recorded by the holder of the lease."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from standart.db import transaction
from standart.encryption import Keyring
from standart.errors import InsufficientScope, NotFound
from standart.models import Role, Scope
from standart.services import (
    endpoint_service,
    event_list,
    event_search,
    transaction_service,
    user_service,
    webhook_service,
)
from standart.services.access import SYSTEM, Actor
from standart.services.event_search import Wanted
from standart.services.webhook_work import AttemptResult, ClaimedDelivery
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, row_counts
from tests.integration.concurrency import uncommitted

URL = "https://shop.example/hook"
SCHEDULE = (5, 300, 1800)


def result(outcome: str = "http_500", status: int | None = 500, **fields: Any) -> AttemptResult:
    values = {"excerpt": "", "error": "", "duration_ms": 12} | fields
    return AttemptResult(outcome=outcome, status_code=status, **values)


DELIVERED = result("delivered", 204)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, webhook_url=URL)


@pytest.fixture
def end_one(connection: Connection, engine: Engine) -> Callable[[TestUser], dict[str, Any]]:
    """End a transaction of a merchant; return its wire form."""

    def end(owner: TestUser) -> dict[str, Any]:
        made = make_transaction(engine, owner)
        answer = transaction_service.cancel(connection, owner.digest, ORIGIN, UUID(made["id"]))
        body: dict[str, Any] = json.loads(answer.body)
        return body

    return end


@pytest.fixture
def update_user(engine: Engine) -> Callable[..., None]:
    def update(user: TestUser, **changes: Any) -> None:
        with Session(engine) as session, transaction(session):
            user_service.update_user(
                session, SYSTEM, user_service.get_user(session, user.id), **changes
            )

    return update


@pytest.fixture
def claim(connection: Connection, keyring: Keyring) -> Callable[..., list[ClaimedDelivery]]:
    def claimed(**options: int) -> list[ClaimedDelivery]:
        return webhook_service.claim_due(connection, keyring, **options).deliveries

    return claimed


def make_due(superuser: Engine) -> None:
    """Let the next try, or the end of the lease, come without waiting for it."""
    with superuser.begin() as connection:
        connection.execute(
            text(
                "UPDATE deliveries SET next_attempt_at = clock_timestamp()"
                " WHERE next_attempt_at IS NOT NULL"
            )
        )


def record(
    connection: Connection,
    delivery: ClaimedDelivery,
    outcome: AttemptResult,
    schedule: Sequence[int] = SCHEDULE,
) -> None:
    webhook_service.record_attempts(connection, [(delivery, outcome)], schedule=schedule)


def state(connection: Connection) -> Row[Any]:
    return connection.execute(
        text(
            "SELECT state, attempt_count, lease, delivered_at IS NOT NULL AS delivered,"
            " extract(epoch FROM next_attempt_at - clock_timestamp())::float AS due_in"
            " FROM deliveries"
        )
    ).one()


def test_a_due_delivery_is_leased_once_with_the_signed_body(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    connection: Connection,
) -> None:
    ended = end_one(shop)

    [delivery] = claim()
    assert claim() == []

    headers = delivery.headers()
    told = Webhook(shop.webhook_secret).verify(delivery.body.decode(), headers)
    assert told["data"] == ended
    assert (delivery.user_id, delivery.receiver.url, delivery.attempt) == (shop.id, URL, 1)
    assert headers["webhook-id"] == str(delivery.event_id)
    assert headers["content-type"] == "application/json"
    assert state(connection).lease == delivery.lease
    assert 0 < state(connection).due_in <= webhook_service.LEASE_SECONDS


def test_a_claim_that_is_not_committed_is_gone_past(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    engine: Engine,
    keyring: Keyring,
) -> None:
    end_one(shop)
    with uncommitted(engine) as other:
        assert len(webhook_service.claim_due(other, keyring).deliveries) == 1
        assert claim() == []
        other.rollback()

    assert [delivery.attempt for delivery in claim()] == [1]


def test_a_batch_is_as_large_as_asked_and_the_oldest_goes_first(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
) -> None:
    ended = [end_one(shop)["id"] for _ in range(3)]

    first, second, third = claim(batch=2), claim(batch=2), claim(batch=2)

    told = [json.loads(each.body)["id"] for each in (*first, *second)]
    assert (len(first), len(second), len(third)) == (2, 1, 0)
    assert sorted(told[:2]) == sorted(ended[:2])
    assert told[2] == ended[2]
    assert first[0].lease == first[1].lease != second[0].lease


def test_success_is_written_down_and_never_tried_again(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    connection: Connection,
    superuser: Engine,
) -> None:
    end_one(shop)
    [delivery] = claim()
    record(connection, delivery, result("delivered", 200, excerpt="ok", duration_ms=7))

    make_due(superuser)
    assert claim() == []
    now = state(connection)
    assert (now.state, now.lease, now.delivered, now.due_in) == ("delivered", None, True, None)
    attempt = connection.execute(
        text("SELECT number, url, outcome, status_code, excerpt, error, duration_ms FROM attempts")
    ).one()
    assert attempt == (1, URL, "delivered", 200, "ok", "", 7)


def test_a_lease_that_ends_makes_the_delivery_due_again(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    connection: Connection,
    superuser: Engine,
) -> None:
    end_one(shop)
    [lost] = claim()
    make_due(superuser)
    [again] = claim()

    assert (again.id, again.event_id, again.body) == (lost.id, lost.event_id, lost.body)
    assert (lost.attempt, again.attempt) == (1, 2)
    record(connection, lost, DELIVERED)  # too late: another worker holds the lease
    assert row_counts(connection)["attempts"] == 0
    assert state(connection).state == "waiting"
    record(connection, again, DELIVERED)
    record(connection, again, DELIVERED)  # told twice
    assert row_counts(connection)["attempts"] == 1
    assert state(connection).state == "delivered"


def test_retries_follow_the_schedule_until_the_delivery_is_dead(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    connection: Connection,
    superuser: Engine,
) -> None:
    end_one(shop)

    for seconds in SCHEDULE:
        make_due(superuser)
        [delivery] = claim()
        record(connection, delivery, result())
        now = state(connection)
        assert (now.state, now.lease) == ("waiting", None)
        assert 0.8 * seconds - 1 < now.due_in <= 1.2 * seconds
        assert claim() == []
    make_due(superuser)
    [last] = claim()
    record(connection, last, result("timeout", None, error="no answer within 15 s"))

    now = state(connection)
    assert (now.state, now.attempt_count, now.due_in) == ("dead", len(SCHEDULE) + 1, None)
    assert row_counts(connection)["attempts"] == len(SCHEDULE) + 1
    assert claim() == []


@pytest.mark.parametrize(
    ("scheduled", "retry_after", "low", "high"),
    [
        (100, None, 80, 120),
        (100, 50, 80, 120),
        (100, 600, 600, 600),
        (100, 10**9, 86_400, 86_400),
    ],
)
def test_a_receiver_may_ask_for_more_time(
    scheduled: int, retry_after: int | None, low: float, high: float
) -> None:
    delays = [webhook_service.next_delay(scheduled, retry_after) for _ in range(200)]

    assert low <= min(delays)
    assert max(delays) <= high


def test_the_receivers_wish_reaches_the_due_time(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    connection: Connection,
) -> None:
    end_one(shop)
    [delivery] = claim()
    record(connection, delivery, result("http_503", 503, retry_after=3600))

    assert 3590 < state(connection).due_in <= 3600


def test_gone_stops_the_receiver_until_its_url_is_saved_anew(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    update_user: Callable[..., None],
    connection: Connection,
    superuser: Engine,
) -> None:
    end_one(shop)
    end_one(shop)
    first, second = claim()
    record(connection, first, result("http_410", 410))
    record(connection, second, result())

    make_due(superuser)
    end_one(shop)
    states = text("SELECT state FROM deliveries ORDER BY id")
    assert claim() == []
    assert set(connection.scalars(states)) == {"dead"}
    assert row_counts(connection)["deliveries"] == 2  # the third event has none
    assert row_counts(connection)["events"] == 4  # the fourth says that the receiver was stopped

    update_user(shop, webhook_url=URL)
    end_one(shop)
    assert len(claim()) == 1


def test_gone_from_a_url_that_was_replaced_meanwhile_stops_nothing(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    update_user: Callable[..., None],
    connection: Connection,
) -> None:
    end_one(shop)
    [delivery] = claim()
    update_user(shop, webhook_url="https://new.example/hook")
    record(connection, delivery, result("http_410", 410))

    end_one(shop)
    [next_one] = claim()
    assert next_one.receiver.url == "https://new.example/hook"


def test_a_removed_url_is_not_called_and_leaves_no_lease(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    update_user: Callable[..., None],
    connection: Connection,
) -> None:
    end_one(shop)
    update_user(shop, webhook_url=None)

    assert claim() == []
    now = state(connection)
    assert (now.state, now.lease, now.attempt_count) == ("dead", None, 0)


def test_both_secrets_sign_for_a_day_after_a_rotation(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    engine: Engine,
    keyring: Keyring,
    superuser: Engine,
) -> None:
    with Session(engine) as session, transaction(session):
        endpoint = user_service.get_user(session, shop.id).endpoint
        fresh = endpoint_service.rotate_secret(session, SYSTEM, keyring, endpoint)
        assert endpoint_service.secret_of(keyring, endpoint) == fresh
    end_one(shop)
    [delivery] = claim()

    assert delivery.receiver.secrets == (fresh, shop.webhook_secret)
    assert "whsec_" not in repr(delivery)
    assert "extra_headers" not in repr(delivery)
    for secret in delivery.receiver.secrets:
        Webhook(secret).verify(delivery.body.decode(), delivery.headers())

    with superuser.begin() as connection:
        connection.execute(
            text(
                "UPDATE webhook_endpoints SET previous_secret_until = previous_secret_until"
                " - interval '24 hours' WHERE previous_secret_until IS NOT NULL"
            )
        )
    make_due(superuser)
    [later] = claim()
    assert later.receiver.secrets == (fresh,)


def test_what_a_receiver_says_is_kept_in_part_and_as_text(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    connection: Connection,
) -> None:
    end_one(shop)
    [delivery] = claim()
    record(connection, delivery, result(excerpt="\0" + "ы" * 5000, error="\0" + "e" * 5000))

    excerpt, error = connection.execute(text("SELECT excerpt, error FROM attempts")).one()
    assert excerpt == "\ufffd" + "ы" * 4095
    assert error == "\ufffd" + "e" * 4095


def test_events_are_listed_with_their_deliveries_newest_first(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
) -> None:
    other = make_user(engine, keyring)
    ended = [end_one(shop) for _ in range(3)]
    foreign = end_one(other)
    record(connection, claim(batch=1)[0], DELIVERED)

    def listed(actor: Actor, **filters: Any) -> list[str]:
        after, limit = filters.pop("after", None), filters.pop("limit", 20)
        page = event_search.page(connection, actor, Wanted(**filters), after=after, limit=limit)
        return [json.loads(body)["transaction_id"] for body, _, _ in page.rows]

    mine = [each["id"] for each in reversed(ended)]
    assert listed(shop.actor) == mine
    assert listed(admin.actor) == [foreign["id"], *mine]
    assert listed(admin.actor, user_id=other.id) == [foreign["id"]]
    assert listed(shop.actor, user_id=other.id) == []
    assert listed(shop.actor, type="transaction.canceled", limit=1) == mine[:1]
    assert listed(shop.actor, type="transaction.expired") == []
    assert listed(shop.actor, transaction_id=UUID(mine[1])) == [mine[1]]

    rows = event_search.page(connection, shop.actor, Wanted(), limit=1).rows
    assert listed(shop.actor, after=rows[0][1:]) == mine[1:]
    oldest = json.loads(event_search.page(connection, shop.actor, Wanted()).rows[-1][0])
    assert oldest["payload"]["data"] == ended[0]
    [delivery] = oldest["deliveries"]
    assert (delivery["state"], delivery["attempt_count"]) == ("delivered", 1)
    assert (oldest["sequence"], delivery["endpoint_id"]) == (2, str(shop.id))
    assert [each["status_code"] for each in delivery["attempts"]] == [204]
    assert json.loads(rows[0][0])["deliveries"][0]["attempts"] == []


def test_one_event_is_for_its_owner_and_admins(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
) -> None:
    ended = end_one(shop)
    [(body, _, event_id)] = event_search.page(connection, shop.actor, Wanted()).rows

    assert event_list.get_event(connection, shop.actor, event_id) == body
    assert event_list.get_event(connection, admin.actor, event_id) == body
    assert json.loads(body)["transaction_id"] == ended["id"]
    with pytest.raises(NotFound) as hidden:
        event_list.get_event(connection, merchant.actor, event_id)
    with pytest.raises(NotFound) as unknown:
        event_list.get_event(connection, merchant.actor, uuid4())
    assert hidden.value.detail == unknown.value.detail


def test_events_need_the_right_to_read(connection: Connection, merchant: TestUser) -> None:
    blind = Actor(merchant.id, merchant.name, Role.REGULAR, frozenset({Scope.WRITE}))
    with pytest.raises(InsufficientScope):
        event_search.page(connection, blind, Wanted())
    with pytest.raises(InsufficientScope):
        event_list.get_event(connection, blind, uuid4())


def test_the_lag_is_the_age_of_the_oldest_due_delivery(
    shop: TestUser,
    end_one: Callable[[TestUser], dict[str, Any]],
    claim: Callable[..., list[ClaimedDelivery]],
    connection: Connection,
    superuser: Engine,
) -> None:
    assert webhook_service.oldest_due_seconds(connection) == 0
    end_one(shop)
    with superuser.begin() as other:
        other.execute(
            text("UPDATE deliveries SET next_attempt_at = next_attempt_at - interval '1 hour'")
        )
    assert 3600 <= webhook_service.oldest_due_seconds(connection) < 3700
    claim()
    assert webhook_service.oldest_due_seconds(connection) == 0
