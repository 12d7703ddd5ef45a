"""The commands about endpoints and events: what they do, what they print, how they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import Connection, Engine, text

from standart.api import schemas
from standart.encryption import Keyring
from standart.services import (
    endpoint_service,
    span_replay_service,
    transaction_service,
    webhook_service,
)
from standart.services.webhook_work import AttemptResult
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, row_counts
from tests.integration.commands import Run, refused

URL = "https://shop.example/hook"
UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
DONE = AttemptResult("http_500", 500, "oops", "", 3, tls_ms=2)

Call = Callable[..., Any]


@pytest.fixture
def call(run: Run) -> Call:
    """Run a command with ``--json``; return what it printed."""

    def call(*arguments: str, typed: str | None = None) -> Any:
        done = run(*arguments, "--json", typed=typed)
        assert done.exit_code == 0, done.output
        (line,) = done.stdout.splitlines()
        return json.loads(line)

    return call


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, webhook_url=URL)


def ended(connection: Connection, engine: Engine, owner: TestUser) -> str:
    made = make_transaction(engine, owner)
    transaction_service.cancel(connection, owner.digest, ORIGIN, made["id"])
    return str(
        connection.scalar(
            text("SELECT id FROM events WHERE transaction_id = :id"), {"id": made["id"]}
        )
    )


def attempt(connection: Connection, keyring: Keyring) -> None:
    claimed = webhook_service.claim_due(connection, keyring).deliveries
    webhook_service.record_attempts(connection, [(each, DONE) for each in claimed], schedule=())


def test_an_endpoint_from_its_beginning_to_its_end(
    run: Run, call: Call, merchant: TestUser, connection: Connection, keyring: Keyring
) -> None:
    made = call(
        *("create-endpoint", merchant.name, f"{URL}/2", "--event-type", "payout.*"),
        *("--event-type", "*", "--description", "Склад", "--rate-limit", "5", "--ordered"),
        "--headers-stdin",
        typed="Authorization: Bearer a:b\nX-Shop: 7\n",
    )
    endpoint = msgspec.convert(made, schemas.EndpointWithSecret)
    assert (endpoint.event_types, endpoint.description) == (["payout.*", "*"], "Склад")
    assert (endpoint.rate_limit, endpoint.ordered, endpoint.enabled) == (5, True, True)
    sealed = connection.scalar(
        text("SELECT headers FROM webhook_endpoints WHERE id = :id"), {"id": endpoint.id}
    )
    opened = endpoint_service.open_headers(keyring, UUID(endpoint.id), sealed)
    assert opened == {"Authorization": "Bearer a:b", "X-Shop": "7"}
    listed = call("list-endpoints", merchant.name)["data"]
    assert [each["id"] for each in listed] == [endpoint.id, str(merchant.id)]
    changed = call(
        *("update-endpoint", endpoint.id, "--url", f"{URL}/3", "--no-headers", "--unordered"),
        *("--no-rate-limit", "--description", "", "--disabled"),
    )
    assert (changed["url"], changed["headers"], changed["ordered"]) == (f"{URL}/3", {}, False)
    assert (changed["rate_limit"], changed["description"]) == (None, None)
    assert changed["disabled_reason"] == "owner"
    assert call("update-endpoint", endpoint.id, "--enabled")["enabled"] is True
    rotated = call("rotate-secret", endpoint.id)
    assert rotated["secret"] != endpoint.secret
    assert call("delete-endpoint", endpoint.id) == {"id": endpoint.id, "deleted": True}
    refused(run("delete-endpoint", endpoint.id), 1, "There is no such object.")
    channels = connection.scalars(
        text("SELECT DISTINCT channel FROM audit_log WHERE action LIKE 'endpoint.%'")
    )
    assert list(channels) == ["cli"]


def test_for_people_the_secret_is_shown_once_and_a_list_is_a_table(
    run: Run, merchant: TestUser
) -> None:
    done = run("create-endpoint", merchant.name, URL, "--header", "X-Shop: 7")
    created, secret = done.stdout.splitlines()
    assert created.startswith("created endpoint ")
    assert secret.startswith("secret (shown this once): whsec_")
    header, first, second = run("list-endpoints", merchant.name).stdout.splitlines()
    assert header.split() == ["ID", "STATUS", "LANE", "EVENTS", "URL"]
    assert first.split()[:3] == [created.split()[-1], "enabled", "normal"]
    assert second.endswith("-")


def test_an_event_is_listed_shown_and_replayed(
    run: Run, call: Call, shop: TestUser, engine: Engine, connection: Connection, keyring: Keyring
) -> None:
    event_id = ended(connection, engine, shop)
    attempt(connection, keyring)
    assert [each["id"] for each in call("list-events", shop.name, "--state", "dead")["data"]] == [
        event_id
    ]
    assert call("list-events", "--type", "ping")["data"] == []
    assert call("list-events", "--endpoint", UNKNOWN)["data"] == []
    _, row = run("list-events", shop.name).stdout.splitlines()
    assert row.split()[:2] == [event_id, "transaction.canceled"]
    assert "1 dead" in row
    shown = call("show-event", event_id)
    (tried,) = shown.pop("attempts")
    msgspec.convert(shown, schemas.Event)
    assert msgspec.convert(tried, schemas.DetailedAttempt).outcome == "http_500"
    lines = run("show-event", event_id).stdout.splitlines()
    assert lines[2] == f"to {shop.id}: dead"
    assert lines[3].endswith("http_500 HTTP 500")
    assert lines[4] == f"     {URL} (tls 2, total 3 ms)"
    assert lines[5] == '     "oops"'
    assert run("replay", event_id).stdout == "due now\n"
    again = call("replay", event_id, "--endpoint", str(shop.id))
    assert [each["state"] for each in again["deliveries"]] == ["waiting"]
    refused(run("replay", event_id, "--endpoint", UNKNOWN), 1, "There is no such object.")


def test_a_span_is_replayed(
    run: Run, call: Call, shop: TestUser, engine: Engine, connection: Connection, keyring: Keyring
) -> None:
    ended(connection, engine, shop)
    attempt(connection, keyring)
    span = ("replay-endpoint", str(shop.id), "--since", "2026-01-01T00:00:00Z")
    begun = call(*span, "--until", "2999-01-01T00:00:00Z")
    assert msgspec.convert(begun, schemas.Replay).state == "running"
    same = run(*span, "--until", "2999-01-01T00:00:00Z")
    assert same.stdout == f"replay {begun['id']} of 1 events\n"
    refused(run(*span, "--status", "all"), 1, "Another replay of this endpoint")
    while span_replay_service.step(connection) is not None:
        pass
    (listed,) = call("list-replays", str(shop.id))["data"]
    assert (listed["state"], listed["requeued"]) == ("finished", 1)
    _, row = run("list-replays", str(shop.id)).stdout.splitlines()
    assert row.split()[1:5] == ["finished", "dead", "1/1", "1"]


def test_a_ping_is_due_at_once(
    run: Run, call: Call, shop: TestUser, connection: Connection, keyring: Keyring
) -> None:
    event = call("ping", str(shop.id))
    assert (event["type"], event["object_id"]) == ("ping", str(shop.id))
    assert run("ping", str(shop.id)).stdout.startswith("due now: event ")
    assert len(webhook_service.claim_due(connection, keyring).deliveries) == 2


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown user": (("create-endpoint", "nobody", URL), 1, "no user called nobody"),
    "http": (("create-endpoint", "{name}", "http://shop.example/"), 2, "https://"),
    "inside": (("create-endpoint", "{name}", "https://10.0.0.1/"), 2, "public address"),
    "unknown type": (("create-endpoint", "{name}", URL, "--event-type", "x"), 2, "event_types"),
    "no header": (("create-endpoint", "{name}", URL, "--header", "X"), 2, "Name: value"),
    "a header twice": (
        ("create-endpoint", "{name}", URL, "--header", "X: 1", "--header", "X: 2"),
        2,
        "each name once",
    ),
    "a signing header": (
        ("create-endpoint", "{name}", URL, "--header", "Webhook-Id: 1"),
        2,
        "must not set webhook-id",
    ),
    "rate": (("create-endpoint", "{name}", URL, "--rate-limit", "0"), 2, "rate_limit"),
    "blank": (("create-endpoint", "{name}", URL, "--description", " "), 2, "description"),
    "nothing": (("update-endpoint", UNKNOWN), 2, "needs something to change"),
    "unknown endpoint": (("update-endpoint", UNKNOWN, "--ordered"), 1, "no such object"),
    "the default": (("delete-endpoint", "{id}"), 1, "default endpoint stays"),
    "nowhere": (("ping", "{id}"), 1, "has no URL"),
    "no moment": (("replay-endpoint", "{id}", "--since", "today"), 2, "--since must be RFC"),
    "backwards": (
        ("replay-endpoint", "{id}", "--since", "2999-01-01T00:00:00Z"),
        2,
        "until must be later",
    ),
    "unknown event": (("show-event", UNKNOWN), 1, "no such object"),
}


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_one_line(
    run: Run,
    connection: Connection,
    merchant: TestUser,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    before = row_counts(connection)
    given = [each.format(name=merchant.name, id=merchant.id) for each in arguments]
    refused(run(*given), code, words)
    assert row_counts(connection) == before
