"""Following events: each of them once, in whatever order they commit, never too early."""

from __future__ import annotations

import json
import threading
from typing import Any
from uuid import UUID

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.api import event_feed as held_answers
from standart.api import schemas
from standart.db import autocommit, unit
from standart.encryption import Keyring
from standart.models import Scope
from standart.services import key_service, outbox
from tests.builders import TestUser, make_key, make_transaction, make_user
from tests.integration.concurrency import together, uncommitted, wait_until


def tell(connection: Connection, owner: TestUser, kind: str = "webhook_endpoint.disabled") -> str:
    body = json.dumps({"id": str(owner.id), "status": "disabled"})
    return str(outbox.tell(connection, owner.id, outbox.ENDPOINT, owner.id, kind, body))


def follow(client: FlaskClient, who: TestUser, after: str, **query: Any) -> Any:
    reply = client.get("/events", query_string={"after": after, **query}, headers=who.headers)
    assert reply.status_code == 200, reply.json
    return reply.json


def ids(page: Any) -> list[str]:
    return [event["id"] for event in page["data"]]


def test_what_happens_from_now_on_is_told_oldest_first(
    client: FlaskClient, merchant: TestUser, engine: Engine, connection: Connection
) -> None:
    tell(connection, merchant)
    began = follow(client, merchant, "now", wait=25)
    assert (began["data"], began["poll_after"]) == ([], held_answers.POLL_SECONDS)
    told = [tell(connection, merchant) for _ in range(5)]
    first = follow(client, merchant, began["next"], limit=3)
    second = follow(client, merchant, first["next"], limit=3)
    assert ids(first) + ids(second) == told
    assert (first["poll_after"], second["poll_after"]) == (0, 0)
    assert ids(follow(client, merchant, second["next"])) == []
    listed = client.get("/events", headers=merchant.headers).json["data"]
    assert first["data"] + second["data"] == listed[:5][::-1]
    msgspec.convert(first, schemas.EventFeed)


def test_from_the_start_everything_is_told_once(
    client: FlaskClient, merchant: TestUser, engine: Engine, admin: TestUser
) -> None:
    for _ in range(7):
        made = make_transaction(engine, merchant)
        client.post("/cancel_transaction", json={"id": made["id"]}, headers=merchant.headers)
    seen: list[str] = []
    after = "start"
    while page := follow(client, merchant, after, limit=2):
        seen += ids(page)
        after = page["next"]
        if not page["data"]:
            break
    newest_first = ids(client.get("/events?limit=100", headers=merchant.headers).json)
    assert seen == newest_first[::-1]
    by_admin = follow(client, admin, "start", user_id=merchant.id, limit=100)
    assert ids(by_admin) == seen


def test_one_that_commits_late_is_not_missed(
    client: FlaskClient, merchant: TestUser, engine: Engine, connection: Connection
) -> None:
    after = follow(client, merchant, "now")["next"]
    with uncommitted(engine) as late:
        late_id = tell(late, merchant)
        early_id = tell(connection, merchant)
        page = follow(client, merchant, after)
        # The early one waits below nobody's horizon: told now, it would hide the late one.
        assert ids(page) == []
        late.commit()
    page = follow(client, merchant, page["next"])
    assert ids(page) == [late_id, early_id]


def test_one_that_is_rolled_back_holds_nobody_up(
    client: FlaskClient, merchant: TestUser, engine: Engine, connection: Connection
) -> None:
    after = follow(client, merchant, "now")["next"]
    with uncommitted(engine) as never:
        tell(never, merchant)
        told = tell(connection, merchant)
        never.rollback()
    assert ids(follow(client, merchant, after)) == [told]


def test_writers_at_the_same_time_lose_nothing_and_double_nothing(
    app: Flask, client: FlaskClient, merchant: TestUser, engine: Engine
) -> None:
    after = follow(client, merchant, "now")["next"]
    written = threading.Event()

    def write() -> list[str]:
        told = []
        for number in range(30):
            with autocommit(engine) as connection, unit(connection):
                told.append(tell(connection, merchant))
                # The number is drawn by now; others overtake this one before it commits.
                connection.execute(text("SELECT pg_sleep(:s)"), {"s": number % 3 / 1000})
        return told

    def read() -> list[str]:
        reader, cursor, seen = app.test_client(), after, list[str]()
        while True:
            last = written.is_set()
            page = follow(reader, merchant, cursor, limit=7)
            seen += ids(page)
            cursor = page["next"]
            if last and not page["data"]:
                return seen

    def write_all() -> list[str]:
        try:
            return [each for told in together([write] * 4) for each in told]
        finally:
            written.set()

    told, *readers = together([write_all, read, read])
    for seen in readers:
        assert len(seen) == len(set(seen))
        assert set(seen) == set(told)


def test_an_answer_is_held_until_something_happens(
    app: Flask, client: FlaskClient, merchant: TestUser, engine: Engine
) -> None:
    after = follow(client, merchant, "now")["next"]
    answers: list[Any] = []
    waiting = threading.Thread(
        target=lambda: answers.append(follow(app.test_client(), merchant, after, wait=25))
    )
    waiting.start()
    wait_until(lambda: held_answers._held._value < held_answers.MOST_HELD)
    assert answers == []
    # While it is held it holds no connection.
    assert app.extensions["standart.engine"].pool.checkedout() <= 1
    with autocommit(engine) as connection:
        told = tell(connection, merchant)
    waiting.join(20)
    assert ids(answers[0]) == [told]
    assert held_answers._held._value == held_answers.MOST_HELD


def test_a_held_answer_ends_empty_in_time(client: FlaskClient, merchant: TestUser) -> None:
    after = follow(client, merchant, "now")["next"]
    page = follow(client, merchant, after, wait=1)
    assert (page["data"], page["poll_after"]) == ([], 0)


def test_whoever_comes_when_too_many_are_held_is_asked_to_come_again(
    client: FlaskClient, merchant: TestUser
) -> None:
    after = follow(client, merchant, "now")["next"]
    for _ in range(held_answers.MOST_HELD):
        held_answers._held.acquire()
    try:
        page = follow(client, merchant, after, wait=25)
    finally:
        for _ in range(held_answers.MOST_HELD):
            held_answers._held.release()
    assert (page["data"], page["poll_after"]) == ([], held_answers.POLL_SECONDS)


def test_a_key_that_is_revoked_meanwhile_hears_nothing_more(
    app: Flask, merchant: TestUser, engine: Engine
) -> None:
    key = make_key(engine, merchant, Scope.READ)
    headers = {"Authorization": f"Bearer {key}"}
    after = app.test_client().get("/events?after=now", headers=headers).json["next"]
    replies: list[Any] = []
    waiting = threading.Thread(
        target=lambda: replies.append(
            app.test_client().get(
                "/events", query_string={"after": after, "wait": "25"}, headers=headers
            )
        )
    )
    waiting.start()
    wait_until(lambda: held_answers._held._value < held_answers.MOST_HELD)
    with autocommit(engine) as connection:
        connection.execute(
            text("UPDATE api_keys SET revoked_at = clock_timestamp() WHERE digest = :digest"),
            {"digest": key_service.digest_of(key).value},
        )
        tell(connection, merchant)
    waiting.join(20)
    assert replies[0].status_code == 401


def test_types_are_chosen_and_others_are_passed_over_for_good(
    client: FlaskClient, merchant: TestUser, connection: Connection
) -> None:
    after = follow(client, merchant, "now", type="ping")["next"]
    tell(connection, merchant)
    ping = tell(connection, merchant, "ping")
    page = follow(client, merchant, after, type="ping")
    assert ids(page) == [ping]
    assert ids(follow(client, merchant, page["next"], type="ping")) == []


def test_others_events_are_never_told(
    client: FlaskClient,
    merchant: TestUser,
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
) -> None:
    stranger = make_user(engine, keyring)
    after = follow(client, merchant, "now")["next"]
    tell(connection, stranger)
    assert ids(follow(client, merchant, after)) == []
    assert ids(follow(client, stranger, "start")) != []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("wait=5", "wait"),
        ("after=now&wait=26", "wait"),
        ("after=now&wait=-1", "wait"),
        ("after=now&wait=1.5", "wait"),
        ("after=now&wait=", "wait"),
        ("after=now&limit=101", "limit"),
        ("after=", "after"),
        ("after=NOW", "after"),
        (f"after={'A' * 54}", "after"),
        ("after=now&after=now", "after"),
        ("after=now&state=dead", "state"),
        (f"after=now&object_id={UUID(int=1)}", "object_id"),
        (f"after=now&endpoint_id={UUID(int=1)}", "endpoint_id"),
        (f"after=now&cursor={'A' * 54}", "cursor"),
        (f"after=now&user_id={UUID(int=1)}", "user_id"),
        ("state=lost", "state"),
        ("endpoint_id=x", "endpoint_id"),
    ],
)
def test_a_wrong_query_is_422(
    client: FlaskClient, merchant: TestUser, query: str, field: str
) -> None:
    reply = client.get(f"/events?{query}", headers=merchant.headers)
    assert reply.status_code == 422
    assert [error["field"] for error in reply.json["errors"]] == [field]


def test_a_place_belongs_to_its_caller_and_filters(
    client: FlaskClient, merchant: TestUser, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    after = follow(client, merchant, "now")["next"]
    stranger = make_user(engine, keyring)
    for who, query in (
        (stranger, {}),
        (merchant, {"type": "ping"}),
        (admin, {"user_id": str(merchant.id)}),
    ):
        reply = client.get("/events", query_string={"after": after, **query}, headers=who.headers)
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (422, "after")
    unnamed = client.get("/events?after=now", headers=admin.headers)
    assert (unnamed.status_code, unnamed.json["errors"][0]["field"]) == (422, "user_id")


def test_a_list_asks_for_deliveries_by_endpoint_and_state(
    client: FlaskClient, engine: Engine, keyring: Keyring
) -> None:
    shop = make_user(engine, keyring, webhook_url="https://shop.example/hook")
    events = []
    for _ in range(2):
        made = make_transaction(engine, shop)
        client.post("/cancel_transaction", json={"id": made["id"]}, headers=shop.headers)
        events.append(client.get("/events", headers=shop.headers).json["data"][0]["id"])
    with autocommit(engine) as connection:
        tell(connection, shop)
        connection.execute(
            text(
                "UPDATE deliveries SET state = 'dead', next_attempt_at = NULL WHERE event_id = :id"
            ),
            {"id": events[0]},
        )

    def found(**query: str) -> list[str]:
        return ids(client.get("/events", query_string=query, headers=shop.headers).json)

    assert found(state="dead") == [events[0]]
    assert found(state="waiting", endpoint_id=str(shop.id)) == [events[1]]
    assert found(endpoint_id=str(shop.id).upper()) == events[::-1]
    assert found(endpoint_id=str(UUID(int=9))) == []
    assert found(state="delivered") == []
