"""Tests of endpoints, attempts in their details, and what is sent once more, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart import tasks
from standart.api import schemas
from standart.encryption import Keyring
from standart.services import webhook_service
from standart.services.webhook_work import AttemptResult, ClaimedDelivery
from tests.builders import TestEndpoint, TestUser, make_endpoint, make_transaction, make_user

URL = "https://shop.example/hook"
SPAN = {"since": "2026-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}
DONE = AttemptResult(
    "delivered",
    200,
    "ok",
    "",
    143,
    request_headers={"webhook-id": "x", "X-Shop": "***"},
    response_headers={"content-length": "2"},
    dns_ms=3,
    connect_ms=21,
    tls_ms=48,
    first_byte_ms=69,
)
REFUSED = AttemptResult("refused", None, "", "the connection failed", 5, dns_ms=2)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, webhook_url=URL)


@pytest.fixture
def other(engine: Engine, keyring: Keyring, shop: TestUser) -> TestEndpoint:
    """A second endpoint of the shop, which asks for refunds only."""
    return make_endpoint(engine, keyring, shop, "refund.*", url=f"{URL}/2")


def ended(client: FlaskClient, engine: Engine, owner: TestUser) -> str:
    """Cancel a transaction of a merchant; return the id of the event that tells of it."""
    made = make_transaction(engine, owner)
    client.post("/cancel_transaction", json={"id": made["id"]}, headers=owner.headers)
    listed = client.get(f"/events?object_id={made['id']}", headers=owner.headers).json
    event_id: str = listed["data"][0]["id"]
    return event_id


def post(client: FlaskClient, who: TestUser, path: str, key: str = "", **members: Any) -> Any:
    headers = who.headers | ({"Idempotency-Key": key} if key else {})
    return client.post(path, json=members or None, headers=headers)


def attempt(
    connection: Connection, keyring: Keyring, result: AttemptResult, schedule: tuple[int, ...] = ()
) -> list[ClaimedDelivery]:
    claimed = webhook_service.claim_due(connection, keyring).deliveries
    webhook_service.record_attempts(
        connection, [(each, result) for each in claimed], schedule=schedule
    )
    return claimed


def woken(app: Flask) -> list[str]:
    """What the worker is asked for from now on."""
    seen: list[str] = []
    app.extensions["standart.nudge"] = lambda: seen.append("deliver")
    app.extensions["standart.replay_nudge"] = lambda: seen.append("replay")
    return seen


def test_a_ping_goes_to_its_endpoint_alone_whatever_that_asks_for(
    app: Flask,
    client: FlaskClient,
    shop: TestUser,
    other: TestEndpoint,
    connection: Connection,
    keyring: Keyring,
) -> None:
    asked = woken(app)
    reply = post(client, shop, f"/webhook_endpoints/{other.id}/test")
    assert (reply.status_code, asked) == (202, ["deliver"])
    event = msgspec.json.decode(reply.data, type=schemas.Event)
    assert (event.type, event.object_type, event.object_id) == (
        *("ping", "webhook_endpoint"),
        str(other.id),
    )
    endpoint = client.get(f"/webhook_endpoints/{other.id}", headers=shop.headers).json
    assert event.payload.data == endpoint
    (claimed,) = attempt(connection, keyring, DONE)
    assert (claimed.endpoint_id, str(claimed.event_id)) == (other.id, event.id)
    assert json.loads(claimed.body)["type"] == "ping"
    told = client.get(f"/events/{event.id}", headers=shop.headers).json
    assert [each["state"] for each in told["deliveries"]] == ["delivered"]


def test_a_repeated_ping_with_a_key_is_one(
    client: FlaskClient, shop: TestUser, other: TestEndpoint, connection: Connection
) -> None:
    path = f"/webhook_endpoints/{other.id}/test"
    first, again = (post(client, shop, path, key="k") for _ in range(2))
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert connection.scalar(text("SELECT count(*) FROM events")) == 1
    assert post(client, shop, path).status_code == 202
    assert connection.scalar(text("SELECT count(*) FROM events")) == 2


def test_attempts_are_told_in_all_details(
    client: FlaskClient, shop: TestUser, engine: Engine, connection: Connection, keyring: Keyring
) -> None:
    event_id = ended(client, engine, shop)
    attempt(connection, keyring, REFUSED, schedule=(0,))
    (claimed,) = attempt(connection, keyring, DONE)
    reply = client.get(f"/events/{event_id}/attempts", headers=shop.headers)
    page = msgspec.json.decode(reply.data, type=schemas.AttemptPage)
    last, first = page.data
    assert (last.number, first.number) == (2, 1)
    assert (last.outcome, last.error) == ("delivered", None)
    assert last.request.body.encode() == claimed.body
    assert last.request.headers == dict(DONE.request_headers)
    assert last.response == schemas.ReceivedResponse(
        status_code=200, headers=dict(DONE.response_headers), body="ok"
    )
    assert msgspec.to_builtins(last.timing) == {
        "dns_ms": 3,
        "connect_ms": 21,
        "tls_ms": 48,
        "first_byte_ms": 69,
        "total_ms": 143,
    }
    assert (first.outcome, first.error) == ("refused", "the connection failed")
    assert (first.response, first.timing.dns_ms, first.timing.tls_ms) == (None, 2, None)


def test_attempts_are_paged_and_asked_for_by_endpoint(
    client: FlaskClient,
    shop: TestUser,
    other: TestEndpoint,
    engine: Engine,
    connection: Connection,
    keyring: Keyring,
) -> None:
    event_id = ended(client, engine, shop)
    post(client, shop, f"/events/{event_id}/replay", endpoint_id=str(other.id))
    for _ in range(3):
        attempt(connection, keyring, REFUSED, schedule=(0,) * 9)
    path, seen, cursor = f"/events/{event_id}/attempts", list[Any](), ""
    while cursor is not None:
        query = {"limit": "4"} | ({"cursor": cursor} if cursor else {})
        page = client.get(path, query_string=query, headers=shop.headers).json
        seen += page["data"]
        cursor = page["next_cursor"]
    assert len({(each["delivery_id"], each["number"]) for each in seen}) == len(seen) == 6
    moments = [each["created_at"] for each in seen]
    assert moments == sorted(moments, reverse=True)
    chosen = client.get(f"{path}?endpoint_id={other.id}", headers=shop.headers).json["data"]
    assert [each["number"] for each in chosen] == [3, 2, 1]


def test_an_event_is_sent_once_more_to_all_or_to_one(
    app: Flask,
    client: FlaskClient,
    shop: TestUser,
    other: TestEndpoint,
    engine: Engine,
    connection: Connection,
    keyring: Keyring,
) -> None:
    event_id = ended(client, engine, shop)
    (first,) = attempt(connection, keyring, DONE)
    asked = woken(app)
    reply = post(client, shop, f"/events/{event_id}/replay")
    assert (reply.status_code, asked) == (202, ["deliver"])
    assert [each["state"] for each in reply.json["deliveries"]] == ["waiting"]
    (again,) = attempt(connection, keyring, DONE)
    assert (again.event_id, again.body, again.attempt) == (first.event_id, first.body, 1)
    one = post(client, shop, f"/events/{event_id}/replay", endpoint_id=str(other.id).upper())
    assert {each["endpoint_id"]: each["state"] for each in one.json["deliveries"]} == {
        str(shop.id): "delivered",
        str(other.id): "waiting",
    }


def test_an_event_is_replayed_once_for_a_key(
    client: FlaskClient, shop: TestUser, engine: Engine, connection: Connection, keyring: Keyring
) -> None:
    path = f"/events/{ended(client, engine, shop)}/replay"
    attempt(connection, keyring, DONE)
    first = post(client, shop, path, key="k")
    attempt(connection, keyring, DONE)
    again = post(client, shop, path, key="k")
    assert (first.data, again.headers["Idempotent-Replayed"]) == (again.data, "true")
    assert attempt(connection, keyring, DONE) == []


def test_what_cannot_be_called_is_a_conflict(
    client: FlaskClient, shop: TestUser, other: TestEndpoint, engine: Engine
) -> None:
    event_id = ended(client, engine, shop)
    for endpoint_id in (other.id, shop.id):
        client.patch(
            f"/webhook_endpoints/{endpoint_id}", json={"enabled": False}, headers=shop.headers
        )
    for reply in (
        post(client, shop, f"/webhook_endpoints/{other.id}/test"),
        post(client, shop, f"/webhook_endpoints/{other.id}/replay", **SPAN, status="all"),
        post(client, shop, f"/events/{event_id}/replay", endpoint_id=str(other.id)),
        post(client, shop, f"/events/{event_id}/replay"),
    ):
        assert (reply.status_code, reply.json["code"]) == (409, "endpoint_not_callable")


def test_a_span_is_replayed_with_progress(
    app: Flask,
    client: FlaskClient,
    shop: TestUser,
    other: TestEndpoint,
    engine: Engine,
    connection: Connection,
    keyring: Keyring,
) -> None:
    dead, taken = (ended(client, engine, shop) for _ in range(2))
    attempt(connection, keyring, DONE)
    connection.execute(
        text("UPDATE deliveries SET state = 'dead' WHERE event_id = :id"), {"id": dead}
    )
    asked = woken(app)
    path = f"/webhook_endpoints/{shop.id}/replay"
    began = post(client, shop, path, **SPAN, status="dead")
    assert (began.status_code, asked) == (202, ["replay"])
    replay = msgspec.json.decode(began.data, type=schemas.Replay)
    assert (replay.state, replay.status, replay.total, replay.examined) == ("running", "dead", 2, 0)
    same = post(client, shop, path, **{**SPAN, "since": "2026-01-01T03:00:00+03:00"}, status="dead")
    assert (same.status_code, same.data) == (202, began.data)
    earlier = {**SPAN, "since": "2025-01-01T00:00:00Z"}
    for another in ({**SPAN, "status": "all"}, {**earlier, "status": "dead"}):
        refused = post(client, shop, path, **another)
        assert (refused.status_code, refused.json["code"]) == (409, "replay_running")
        assert refused.json["replay_id"] == replay.id
    with app.app_context():
        assert tasks.replay.run() == 2
    assert "deliver" in asked
    one = client.get(f"/webhook_endpoints/{shop.id}/replays/{replay.id}", headers=shop.headers)
    finished = msgspec.json.decode(one.data, type=schemas.Replay)
    assert (finished.state, finished.examined, finished.requeued) == ("finished", 2, 1)
    states = {
        event_id: client.get(f"/events/{event_id}", headers=shop.headers).json["deliveries"]
        for event_id in (dead, taken)
    }
    assert [each["state"] for each in states[dead]] == ["waiting"]
    assert [each["state"] for each in states[taken]] == ["delivered"]
    listed = client.get(f"/webhook_endpoints/{shop.id}/replays", headers=shop.headers).json
    assert listed == {"data": [one.json], "next_cursor": None}
    elsewhere = client.get(
        f"/webhook_endpoints/{other.id}/replays/{replay.id}", headers=shop.headers
    )
    assert elsewhere.status_code == 404


def test_others_neither_see_nor_replay_anything(
    client: FlaskClient, shop: TestUser, merchant: TestUser, engine: Engine, other: TestEndpoint
) -> None:
    event_id = ended(client, engine, shop)
    own = make_transaction(engine, merchant)
    client.post("/cancel_transaction", json={"id": own["id"]}, headers=merchant.headers)
    mine = client.get("/events", headers=merchant.headers).json["data"][0]["id"]
    began = post(client, shop, f"/webhook_endpoints/{shop.id}/replay", **SPAN, status="all").json
    unknown = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
    bodies = []
    for event, endpoint, replay in (
        (event_id, str(other.id), began["id"]),
        (unknown, unknown, unknown),
    ):
        for reply in (
            client.get(f"/events/{event}/attempts", headers=merchant.headers),
            post(client, merchant, f"/events/{event}/replay"),
            post(client, merchant, f"/events/{mine}/replay", endpoint_id=endpoint),
            post(client, merchant, f"/webhook_endpoints/{endpoint}/test"),
            post(client, merchant, f"/webhook_endpoints/{endpoint}/replay", **SPAN, status="all"),
            client.get(f"/webhook_endpoints/{endpoint}/replays", headers=merchant.headers),
            client.get(f"/webhook_endpoints/{endpoint}/replays/{replay}", headers=merchant.headers),
        ):
            assert reply.status_code == 404
            bodies.append({**reply.json, "request_id": ""})
    assert all(body == bodies[0] for body in bodies)
