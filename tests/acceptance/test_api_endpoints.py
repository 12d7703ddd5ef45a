"""Webhook endpoints over HTTP: what their owners get, and what nobody ever gets."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from standart.api import schemas
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models.webhooks import ENDINGS
from standart.services import endpoint_service, user_service
from standart.services.access import SYSTEM
from tests.builders import TestUser, make_user, row_counts
from tests.integration.concurrency import together

PATH = "/webhook_endpoints"
URL = "https://warehouse.example/hook"
HEADERS = {"Authorization": "Bearer opens-the-door", "X-Shop": "7"}


def create(client: FlaskClient, who: TestUser, key: str = "", **members: Any) -> Any:
    headers = who.headers | ({"Idempotency-Key": key} if key else {})
    return client.post(PATH, json={"url": URL, **members}, headers=headers)


def change(client: FlaskClient, who: TestUser, endpoint_id: str, **members: Any) -> Any:
    return client.patch(f"{PATH}/{endpoint_id}", json=members, headers=who.headers)


def read(client: FlaskClient, who: TestUser, endpoint_id: str) -> Any:
    return client.get(f"{PATH}/{endpoint_id}", headers=who.headers)


def stop(superuser: Engine, endpoint_id: str, reason: str) -> None:
    """Let an endpoint have failed for a week and be disabled for ``reason``."""
    with superuser.begin() as connection:
        connection.execute(
            text(
                "UPDATE webhook_endpoints SET disabled_at = clock_timestamp(),"
                " disabled_reason = :reason WHERE id = :id"
            ),
            {"id": endpoint_id, "reason": reason},
        )
        connection.execute(
            text(
                "UPDATE webhook_lanes SET failures = 90, open_until = clock_timestamp(),"
                " failing_since = clock_timestamp() - interval '7 days' WHERE endpoint_id = :id"
            ),
            {"id": endpoint_id},
        )


def sealed(engine: Engine, endpoint_id: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT * FROM webhook_endpoints WHERE id = :id"), {"id": endpoint_id}
        ).one()


def test_a_created_endpoint_has_the_documented_form_and_its_secret_once(
    client: FlaskClient, merchant: TestUser, engine: Engine, keyring: Keyring
) -> None:
    sent = {
        "event_types": ["payout.*", "transaction.created"],
        "description": "Склад",
        "rate_limit": 10_000,
        "ordered": True,
    }
    reply = create(client, merchant, headers=HEADERS, **sent)
    assert reply.status_code == 201
    made = msgspec.json.decode(reply.data, type=schemas.EndpointWithSecret)
    assert {name: getattr(made, name) for name in sent} == sent
    assert (made.url, made.user_id, made.default) == (URL, str(merchant.id), False)
    assert (made.enabled, made.status, made.lane) == (True, "enabled", "normal")
    assert made.headers == dict.fromkeys(HEADERS, "***")
    shown = read(client, merchant, made.id)
    assert msgspec.json.decode(shown.data, type=schemas.Endpoint).id == made.id
    assert reply.json == {**shown.json, "secret": made.secret}
    row = sealed(engine, made.id)
    assert endpoint_service.open_secrets(keyring, row.id, row.secret) == [made.secret]
    assert endpoint_service.open_headers(keyring, row.id, row.headers) == HEADERS
    with engine.connect() as connection:
        assert row_counts(connection)["webhook_lanes"] == 2


def test_a_bare_url_gets_the_three_endings_in_its_canonical_form(
    client: FlaskClient, merchant: TestUser
) -> None:
    made = create(client, merchant, url="HTTPS://Пример.example:443/Привет?a=1 b".replace(" ", ""))
    assert made.json["event_types"] == list(ENDINGS)
    assert made.json["url"].startswith("https://xn--e1afmkfd.example/%D0%9F")
    assert made.json["headers"] == {}
    nothing = dict.fromkeys(("event_types", "description", "headers", "rate_limit", "user_id"))
    again = create(client, merchant, **nothing)
    assert (again.status_code, again.json["event_types"]) == (201, list(ENDINGS))


def test_an_admin_names_the_merchant(
    client: FlaskClient, admin: TestUser, merchant: TestUser
) -> None:
    made = create(client, admin, user_id=str(merchant.id).upper())
    assert (made.status_code, made.json["user_id"]) == (201, str(merchant.id))
    assert change(client, admin, made.json["id"], description="x").status_code == 200
    assert read(client, merchant, made.json["id"]).json["description"] == "x"


def test_a_kept_answer_shows_the_secret_again_but_is_kept_sealed(
    client: FlaskClient, merchant: TestUser, engine: Engine
) -> None:
    first = create(client, merchant, key="k", headers=HEADERS)
    again = create(client, merchant, key="k", headers=HEADERS)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    other = create(client, merchant, key="k", headers=HEADERS | {"X-Shop": "8"})
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    path = f"{PATH}/{first.json['id']}/rotate_secret"
    headers = merchant.headers | {"Idempotency-Key": "k"}
    rotated = [client.post(path, json={}, headers=headers) for _ in range(2)]
    assert rotated[0].data == rotated[1].data
    assert rotated[0].json["secret"] != first.json["secret"]
    with engine.connect() as connection:
        kept = list(connection.scalars(text("SELECT body FROM idempotency_keys")))
    assert len(kept) == 2
    for body in kept:
        box = base64.b64decode(body.removeprefix("sealed:"), validate=True)
        for secret in (first.json["secret"], rotated[0].json["secret"]):
            assert secret.encode() not in box


def test_secrets_are_in_no_list_no_audit_row_and_no_other_answer(
    client: FlaskClient, merchant: TestUser, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    made = create(client, merchant, headers=HEADERS).json
    endpoint_id, secrets = made["id"], [made["secret"], *HEADERS.values()]
    rotated = client.post(f"{PATH}/{endpoint_id}/rotate_secret", headers=merchant.headers).json
    secrets.append(rotated["secret"])
    replies = [
        change(client, merchant, endpoint_id, headers={**HEADERS, "X-New": "newest-of-all"}),
        read(client, merchant, endpoint_id),
        client.get(PATH, headers=merchant.headers),
        change(client, merchant, endpoint_id, url="https://10.0.0.1/"),
        client.delete(f"{PATH}/{endpoint_id}", headers=merchant.headers),
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 422, 200]
    with engine.connect() as connection:
        audit = connection.scalars(
            text("SELECT row_to_json(a)::text FROM audit_log a ORDER BY a.id")
        ).all()
    said = "".join([*(reply.text for reply in replies), *audit, caplog.text])
    for secret in [*secrets[:2], *secrets[3:], "newest-of-all"]:
        assert secret not in said
    actions = [json.loads(row)["action"] for row in audit]
    assert actions[-4:] == [
        *("endpoint.created", "endpoint.secret_rotated"),
        *("endpoint.updated", "endpoint.deleted"),
    ]


def test_the_former_secret_signs_for_a_day_more(
    client: FlaskClient, merchant: TestUser, engine: Engine, keyring: Keyring
) -> None:
    for endpoint_id, first in (
        (str(merchant.id), merchant.webhook_secret),
        ((made := create(client, merchant).json)["id"], made["secret"]),
    ):
        reply = client.post(f"{PATH}/{endpoint_id}/rotate_secret", headers=merchant.headers)
        assert reply.status_code == 200
        rotated = msgspec.json.decode(reply.data, type=schemas.EndpointWithSecret)
        assert rotated.previous_secret_until is not None
        row = sealed(engine, endpoint_id)
        signing = endpoint_service.open_secrets(keyring, row.id, row.secret, row.previous_secret)
        assert signing == [rotated.secret, first]


def test_a_change_leaves_the_rest_and_null_takes_away(
    client: FlaskClient, merchant: TestUser, engine: Engine
) -> None:
    made = create(
        client, merchant, description="x", headers=HEADERS, rate_limit=5, event_types=["*"]
    ).json
    del made["secret"]
    with engine.connect() as connection:
        before = row_counts(connection)["audit_log"]
    for nothing in ({}, {"description": "x"}, {"headers": dict.fromkeys(HEADERS, "***")}):
        assert change(client, merchant, made["id"], **nothing).json == made
    with engine.connect() as connection:
        assert row_counts(connection)["audit_log"] == before
    changed = change(client, merchant, made["id"], ordered=True, rate_limit=None)
    assert changed.json == {**made, "ordered": True, "rate_limit": None}
    cleared = change(client, merchant, made["id"], description=None, headers=None).json
    assert (cleared["description"], cleared["headers"]) == (None, {})
    assert sealed(engine, made["id"]).headers is None


def test_a_header_sent_as_it_is_shown_keeps_its_value(
    client: FlaskClient, merchant: TestUser, engine: Engine, keyring: Keyring
) -> None:
    made = create(client, merchant, headers=HEADERS).json
    kept = change(client, merchant, made["id"], headers={"authorization": "***", "X-New": "1"})
    assert kept.json["headers"] == {"X-New": "***", "authorization": "***"}
    row = sealed(engine, made["id"])
    assert endpoint_service.open_headers(keyring, row.id, row.headers) == {
        "authorization": HEADERS["Authorization"],
        "X-New": "1",
    }
    for reply in (
        change(client, merchant, made["id"], headers={"X-Unknown": "***"}),
        create(client, merchant, headers={"X-Unknown": "***"}),
    ):
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (422, "headers")


def test_the_owner_stops_an_endpoint_and_lets_it_go_on(
    client: FlaskClient, merchant: TestUser
) -> None:
    made = create(client, merchant, enabled=False).json
    assert (made["status"], made["disabled_reason"]) == ("disabled", "owner")
    moved = change(client, merchant, made["id"], url=f"{URL}/2").json
    assert (moved["url"], moved["enabled"]) == (f"{URL}/2", False)
    assert change(client, merchant, made["id"], enabled=False).json == moved
    going = change(client, merchant, made["id"], enabled=True).json
    assert (going["enabled"], going["disabled_at"], going["disabled_reason"]) == (True, None, None)


@pytest.mark.parametrize("members", [{"enabled": True}, {"url": f"{URL}/new"}], ids=str)
@pytest.mark.parametrize("reason", ["gone", "failing"])
def test_an_endpoint_that_we_stopped_begins_anew(
    client: FlaskClient,
    merchant: TestUser,
    superuser: Engine,
    reason: str,
    members: dict[str, Any],
) -> None:
    made = create(client, merchant).json
    stop(superuser, made["id"], reason)
    stopped = read(client, merchant, made["id"]).json
    assert (stopped["lane"], stopped["disabled_reason"]) == ("slow", reason)
    assert stopped["failing_since"] is not None
    untouched = change(client, merchant, made["id"], description="still ill").json
    assert untouched == {**stopped, "description": "still ill"}
    begun = change(client, merchant, made["id"], **members).json
    assert (begun["lane"], begun["failing_since"], begun["enabled"]) == ("normal", None, True)


def test_another_pace_forgets_no_failure(
    client: FlaskClient, merchant: TestUser, superuser: Engine
) -> None:
    made = create(client, merchant).json
    stop(superuser, made["id"], "failing")
    stopped = read(client, merchant, made["id"]).json

    changed = change(client, merchant, made["id"], rate_limit=7).json

    assert changed == {**stopped, "rate_limit": 7}
    with superuser.connect() as connection:
        lane = text("SELECT failures, free_at FROM webhook_lanes WHERE endpoint_id = :id")
        failures, free_at = connection.execute(lane, {"id": made["id"]}).one()
    assert failures >= endpoint_service.PATIENCE
    assert free_at is None


def test_saving_the_plain_url_forgets_the_failures_too(
    client: FlaskClient, merchant: TestUser, engine: Engine, superuser: Engine
) -> None:
    stop(superuser, str(merchant.id), "failing")
    with Session(engine) as session, transaction(session):
        user = user_service.get_user(session, merchant.id)
        user_service.update_user(session, SYSTEM, user, webhook_url=URL)
    shown = read(client, merchant, str(merchant.id)).json
    assert (shown["url"], shown["lane"], shown["failing_since"]) == (URL, "normal", None)
    assert shown["enabled"] is True


def test_the_default_endpoint_is_the_plain_field(
    client: FlaskClient, merchant: TestUser, engine: Engine
) -> None:
    (default,) = client.get(PATH, headers=merchant.headers).json["data"]
    assert (default["id"], default["default"]) == (str(merchant.id), True)
    assert (default["url"], default["event_types"]) == (None, list(ENDINGS))
    assert change(client, merchant, default["id"], url=URL).json["url"] == URL
    with Session(engine) as session:
        assert user_service.get_user(session, merchant.id).webhook_url == URL
    reply = client.delete(f"{PATH}/{default['id']}", headers=merchant.headers)
    assert (reply.status_code, reply.json["code"]) == (409, "conflict")
    assert "url to null" in reply.json["detail"]
    assert change(client, merchant, default["id"], url=None).json["url"] is None
    added = create(client, merchant).json["id"]
    refused = change(client, merchant, added, url=None)
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "url")


def test_a_deleted_endpoint_is_gone_for_everybody_and_forgets_what_opens_doors(
    client: FlaskClient, merchant: TestUser, admin: TestUser, engine: Engine
) -> None:
    made = create(client, merchant, headers=HEADERS).json
    path = f"{PATH}/{made['id']}"
    gone = client.delete(path, headers=merchant.headers)
    assert (gone.status_code, gone.json) == (200, {"id": made["id"], "deleted": True})
    for reply in (
        client.delete(path, headers=merchant.headers),
        client.delete(path, headers=admin.headers),
        client.post(f"{path}/rotate_secret", headers=merchant.headers),
        change(client, merchant, made["id"], enabled=True),
        read(client, merchant, made["id"]),
    ):
        assert (reply.status_code, reply.json["code"]) == (404, "not_found")
    listed = client.get(PATH, headers=merchant.headers).json["data"]
    assert [each["id"] for each in listed] == [str(merchant.id)]
    row = sealed(engine, made["id"])
    assert (row.headers, row.header_names, row.disabled_reason) == (None, [], "owner")


def test_a_user_has_twenty_also_under_races(
    client: FlaskClient, app: Any, merchant: TestUser, engine: Engine
) -> None:
    made = [create(client, merchant) for _ in range(15)]
    assert {reply.status_code for reply in made} == {201}

    def one_more() -> int:
        return int(create(app.test_client(), merchant).status_code)

    assert sorted(together([one_more] * 8)) == [201] * 4 + [409] * 4
    refused = create(client, merchant)
    assert (refused.status_code, refused.json["code"]) == (409, "endpoint_limit")
    with autocommit(engine) as connection:
        assert row_counts(connection)["webhook_endpoints"] == 20
    client.delete(f"{PATH}/{made[0].json['id']}", headers=merchant.headers)
    assert create(client, merchant).status_code == 201


def test_a_list_is_paged_newest_first_and_holds_own_rows_only(
    client: FlaskClient, merchant: TestUser, admin: TestUser, engine: Engine, keyring: Keyring
) -> None:
    stranger = make_user(engine, keyring)
    theirs = create(client, stranger).json["id"]
    mine = [create(client, merchant).json["id"] for _ in range(4)]
    seen, cursor = [], ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = client.get(PATH, query_string=query, headers=merchant.headers).json
        seen += [each["id"] for each in page["data"]]
        cursor = page["next_cursor"]
    assert seen == [*reversed(mine), str(merchant.id)]
    named = client.get(f"{PATH}?user_id={stranger.id}", headers=admin.headers).json["data"]
    assert [each["id"] for each in named] == [theirs, str(stranger.id)]
    assert client.get(f"{PATH}?user_id={stranger.id}", headers=merchant.headers).json == {
        "data": [],
        "next_cursor": None,
    }


def test_unknown_and_foreign_endpoints_get_the_same_404(
    client: FlaskClient, merchant: TestUser, engine: Engine, keyring: Keyring
) -> None:
    theirs = create(client, make_user(engine, keyring)).json["id"]
    bodies = []
    for endpoint_id in (theirs, "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"):
        path = f"{PATH}/{endpoint_id}"
        for reply in (
            client.get(path, headers=merchant.headers),
            client.patch(path, json={"enabled": False}, headers=merchant.headers),
            client.delete(path, headers=merchant.headers),
            client.post(f"{path}/rotate_secret", headers=merchant.headers),
        ):
            assert reply.status_code == 404
            bodies.append({**reply.json, "request_id": ""})
    assert all(body == bodies[0] for body in bodies)


def test_a_user_without_history_is_deleted_with_its_endpoints(
    client: FlaskClient, merchant: TestUser, engine: Engine
) -> None:
    create(client, merchant)
    with Session(engine) as session, transaction(session):
        user_service.delete_user(session, SYSTEM, user_service.get_user(session, merchant.id))
    with engine.connect() as connection:
        assert row_counts(connection)["webhook_endpoints"] == 0
