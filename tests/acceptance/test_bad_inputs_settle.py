"""Bad requests to cancel, confirm, check and list: the exact answer, and nothing changed."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.acceptance.http import Http, raw_status, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
ACTS = ("/cancel_transaction", "/confirm_transaction")

MALFORMED_IDS = {
    "empty": "",
    "word": "x",
    "no dashes": "0198f0c27d3e7c4b9a513f0d7f1c2b6a",
    "braces": "{0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a}",
    "URN": "urn:uuid:0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
    "space": " 0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
    "line break": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a\n",
    "NUL": "\0",
    "NUL behind": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a\0",
    "not hexadecimal": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6g",
    "fullwidth": "０198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
    "dashes elsewhere": "0198f0c27-d3e-7c4b-9a51-3f0d7f1c2b6a",
    "SQL": "' OR 1=1 --",
    "10 KB": "0" * 10_240,
}


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_in_a_body_is_422(server: Http, world: World, path: str, given: str) -> None:
    reply = server.post(path, {"id": given}, key=world.admin.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["id"]


@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_in_a_query_is_422(server: Http, world: World, given: str) -> None:
    reply = server.call("GET", f"/check_transaction?id={quote(given)}", key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["id"]


@pytest.mark.parametrize(
    "given", [each for each in MALFORMED_IDS.values() if each], ids=[*MALFORMED_IDS][1:]
)
def test_a_malformed_id_in_a_path_is_422(server: Http, world: World, given: str) -> None:
    reply = server.call("GET", f"/events/{quote(given, safe='')}", key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["id"]


@pytest.mark.parametrize("path", ["/events/", "/events/a/b", "/events/%2e%2e", "/transactions/1"])
def test_an_address_that_is_none_is_404_or_422(server: Http, world: World, path: str) -> None:
    reply = server.call("GET", path, key=world.shop.key)
    if reply.status == 422:
        refused(reply, 422, "invalid_input")
    else:
        refused(reply, 404, "not_found")


BODIES = {
    "empty object": {},
    "id null": {"id": None},
    "id a number": {"id": 1},
    "id an array": {"id": [UNKNOWN]},
    "unknown field": {"id": UNKNOWN, "status": "confirmed"},
    "amount": {"id": UNKNOWN, "amount": "1"},
}


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_wrong_body_is_422(server: Http, world: World, path: str, body: dict[str, Any]) -> None:
    refused(server.post(path, body, key=world.admin.key), 422, "invalid_input")


@pytest.mark.parametrize(
    "reason", ["x" * 501, "a\0b", "a\nb", "\ud800", 5, "card 4111111111111111"], ids=repr
)
def test_a_wrong_reason_is_422(server: Http, world: World, reason: object) -> None:
    body = {"id": world.ids["pending"], "reason": reason}
    document = refused(
        server.post("/cancel_transaction", body, key=world.shop.key), 422, "invalid_input"
    )
    assert [error["field"] for error in document["errors"]] == ["reason"]


def test_a_confirm_takes_no_reason(server: Http, world: World) -> None:
    body = {"id": world.ids["pending"], "reason": "x"}
    refused(server.post("/confirm_transaction", body, key=world.admin.key), 422, "invalid_input")


def test_unknown_and_foreign_ids_get_the_same_404(server: Http, world: World) -> None:
    answers = []
    for given in (UNKNOWN, world.ids["foreign"]):
        replies = [
            server.post("/cancel_transaction", {"id": given}, key=world.shop.key),
            server.call("GET", f"/check_transaction?id={given}", key=world.shop.key),
        ]
        answers.append([refused(reply, 404, "not_found") for reply in replies])
    for answer in (*answers[0], *answers[1]):
        del answer["request_id"]
    assert answers[0] == answers[1]


def test_a_foreign_event_is_404_like_an_unknown_one(server: Http, world: World) -> None:
    for given in (UNKNOWN, world.ids["event"]):
        reply = server.call("GET", f"/events/{given}", key=world.stranger.key)
        refused(reply, 404, "not_found")


@pytest.mark.parametrize("state", ["canceled", "confirmed"])
def test_repeating_what_happened_changes_nothing(server: Http, world: World, state: str) -> None:
    path = {"canceled": "/cancel_transaction", "confirmed": "/confirm_transaction"}[state]
    replies = [server.post(path, {"id": world.ids[state]}, key=world.admin.key) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].body == replies[1].body
    assert replies[0].json()["status"] == state


@pytest.mark.parametrize(
    ("path", "name", "state"),
    [
        ("/cancel_transaction", "confirmed", "confirmed"),
        ("/confirm_transaction", "canceled", "canceled"),
        ("/cancel_transaction", "overdue", "expired"),
        ("/confirm_transaction", "overdue", "expired"),
    ],
)
def test_what_has_ended_otherwise_is_409(
    server: Http, world: World, path: str, name: str, state: str
) -> None:
    reply = server.post(path, {"id": world.ids[name]}, key=world.admin.key)
    assert refused(reply, 409, "not_pending")["transaction_status"] == state


def test_an_overdue_transaction_reads_as_expired_everywhere(server: Http, world: World) -> None:
    given = world.ids["overdue"]
    one = server.call("GET", f"/check_transaction?id={given}", key=world.shop.key).json()
    assert (one["status"], one["finished_at"]) == ("expired", one["expires_at"])
    listed = server.call("GET", "/transactions?status=expired", key=world.shop.key).json()
    assert listed["data"] == [one]
    pending = server.call("GET", "/transactions?status=pending", key=world.shop.key).json()
    assert [each["id"] for each in pending["data"]] == [world.ids["pending"]]


LIMITS = ("-5", "0", "00", "01", "101", "1e3", "1.0", "１", "٣", "1_000", "+1", " 1", "1 ", "")
LIMITS += ("x", "1\n", "9" * 5000, "null", "true")
BAD_QUERIES: dict[str, dict[str, str]] = {
    **{f"limit {given[:12]!r}": {"limit": given} for given in LIMITS},
    "unknown": {"sort": "amount"},
    "unknown with odd name": {"\0<": "1"},
    "offset": {"offset": "5"},
    "method override": {"_method": "DELETE"},
    "key": {"api_key": "sk_live_x"},
    "status unknown": {"status": "done"},
    "status in upper case": {"status": "PENDING"},
    "status empty": {"status": ""},
    "currency": {"currency": "rub"},
    "reference empty": {"reference": ""},
    "reference long": {"reference": "x" * 129},
    "reference with NUL": {"reference": "\0"},
    "user_id": {"user_id": "1"},
    "date": {"created_from": "2026-11-23"},
    "no zone": {"created_from": "2026-11-23T00:00:00"},
    "plus as space": {"created_to": "2026-11-23T00:00:00 03:00"},
    "no such day": {"created_to": "2026-02-30T00:00:00Z"},
    "no such hour": {"created_to": "2026-02-28T25:00:00Z"},
    "year zero": {"created_from": "0000-01-01T00:00:00Z"},
    "five-digit year": {"created_from": "10000-01-01T00:00:00Z"},
    "Arabic digits": {"created_from": "٢٠٢٦-11-23T00:00:00Z"},
    "timestamp": {"created_from": "1764000000"},
    "cursor empty": {"cursor": ""},
    "cursor word": {"cursor": "next"},
    "cursor forged": {"cursor": "A" * 54},
    "cursor with NUL": {"cursor": "\0" * 54},
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_wrong_query_of_a_list_is_422(server: Http, world: World, query: dict[str, str]) -> None:
    reply = server.call("GET", f"/transactions?{urlencode(query)}", key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    (name,) = query
    assert [error["field"] for error in document["errors"]] == [name]


RAW_QUERIES = {
    "limit twice": "limit=1&limit=2",
    "limit twice the same": "limit=1&limit=1",
    "id twice": f"id={UNKNOWN}&id={UNKNOWN}",
    "invalid UTF-8": "reference=%ff",
    "too many": "&".join(f"a{n}=1" for n in range(200)),
    "name only": "limit",
}


@pytest.mark.parametrize("query", RAW_QUERIES.values(), ids=RAW_QUERIES)
@pytest.mark.parametrize("path", ["/transactions", "/events", "/balance", "/check_transaction"])
def test_a_query_that_can_be_read_in_two_ways_is_422(
    server: Http, world: World, path: str, query: str
) -> None:
    refused(server.call("GET", f"{path}?{query}", key=world.shop.key), 422, "invalid_input")


MOMENTS = {
    "empty": "",
    "date": "2026-11-23",
    "no zone": "2026-11-23T00:00:00",
    "now": "now",
    "timestamp": "1764000000",
    "year zero": "0000-01-01T00:00:00Z",
    "before year one": "0001-01-01T00:00:00+23:59",
    "future": "9999-12-31T23:59:59Z",
    "after year 9999": "9999-12-31T23:59:59-23:59",
    "no such day": "2026-02-30T00:00:00Z",
    "infinity": "infinity",
    "NUL": "2026-01-01T00:00:00Z\0",
    "10 KB": "2026-01-01T00:00:00" + "0" * 10_240 + "Z",
}


@pytest.mark.parametrize("at", MOMENTS.values(), ids=MOMENTS)
def test_a_balance_of_a_wrong_or_coming_moment_is_422(server: Http, world: World, at: str) -> None:
    reply = server.call("GET", f"/balance?{urlencode({'at': at})}", key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["at"]


EVENT_QUERIES = ({"type": "transaction.pending"}, {"type": ""}, {"transaction_id": "x"})
EVENT_QUERIES += ({"object_id": "x"}, {"object_id": ""}, {"type": "payout.pending"})
EVENT_QUERIES += ({"limit": "101"}, {"cursor": "x"}, {"status": "pending"}, {"user_id": "x"})


@pytest.mark.parametrize("query", EVENT_QUERIES, ids=urlencode)
def test_a_wrong_query_of_events_is_422(server: Http, world: World, query: dict[str, str]) -> None:
    reply = server.call("GET", f"/events?{urlencode(query)}", key=world.shop.key)
    refused(reply, 422, "invalid_input")


def cursor_of(server: Http, key: str, query: str = "limit=1", path: str = "/transactions") -> str:
    cursor: str = server.call("GET", f"{path}?{query}", key=key).json()["next_cursor"]
    assert cursor is not None
    return cursor


def flipped(cursor: str, position: int) -> str:
    other = "A" if cursor[position] != "A" else "B"
    return cursor[:position] + other + cursor[position + 1 :]


@pytest.mark.parametrize("position", [0, 10, 30, 50])
def test_a_changed_cursor_is_422(server: Http, world: World, position: int) -> None:
    cursor = flipped(cursor_of(server, world.shop.key), position)
    reply = server.call("GET", f"/transactions?cursor={cursor}", key=world.shop.key)
    refused(reply, 422, "invalid_input")


@pytest.mark.parametrize(
    ("key", "path", "query"),
    [
        ("stranger", "/transactions", ""),
        ("admin", "/transactions", ""),
        ("shop", "/events", ""),
        ("shop", "/transactions", "&status=pending"),
        ("shop", "/transactions", "&currency=RUB"),
    ],
    ids=["other merchant", "admin", "other list", "other filter", "one more filter"],
)
def test_a_cursor_of_another_list_is_422(
    server: Http, world: World, key: str, path: str, query: str
) -> None:
    cursor = cursor_of(server, world.shop.key)
    reply = server.call("GET", f"{path}?cursor={cursor}{query}", key=world.keys[key])
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["cursor"]


@pytest.mark.parametrize("query", ["", "user_id=0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"])
def test_an_admins_key_names_whose_balance(server: Http, world: World, query: str) -> None:
    reply = server.call("GET", f"/balance?{query}", key=world.admin.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["user_id"]


def test_a_merchants_key_names_nobodys_balance(server: Http, world: World) -> None:
    reply = server.call("GET", f"/balance?user_id={world.stranger.id}", key=world.shop.key)
    refused(reply, 422, "invalid_input")


METHODS = [
    (method, path)
    for path, known in {
        "/create_transaction": {"POST"},
        "/cancel_transaction": {"POST"},
        "/confirm_transaction": {"POST"},
        "/check_transaction": {"GET", "HEAD"},
        "/transactions": {"GET", "HEAD"},
        "/balance": {"GET", "HEAD"},
        "/events": {"GET", "HEAD"},
        f"/events/{UNKNOWN}": {"GET", "HEAD"},
        "/healthz": {"GET", "HEAD"},
        "/readyz": {"GET", "HEAD"},
        "/apispec.json": {"GET", "HEAD"},
        "/apidocs/": {"GET", "HEAD"},
    }.items()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
    if method not in known
]


@pytest.mark.parametrize(("method", "path"), METHODS)
def test_another_method_is_405(server: Http, world: World, method: str, path: str) -> None:
    reply = server.call(method, path, key=world.admin.key)
    refused(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] in ("POST", "GET, HEAD", "HEAD, GET")


def test_a_method_cannot_be_overridden(server: Http, world: World) -> None:
    reply = server.call(
        "GET",
        f"/check_transaction?id={world.ids['pending']}",
        key=world.shop.key,
        headers={"X-HTTP-Method-Override": "POST", "X-Method-Override": "DELETE"},
    )
    assert (reply.status, reply.json()["status"]) == (200, "pending")


def test_a_body_sent_with_get_is_ignored(server: Http, world: World) -> None:
    reply = server.call(
        "GET",
        f"/check_transaction?id={world.ids['pending']}",
        key=world.shop.key,
        body=json.dumps({"id": world.ids["confirmed"]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert (reply.status, reply.json()["id"]) == (200, world.ids["pending"])


def test_head_answers_as_get_without_the_body(server: Http, world: World) -> None:
    path = f"/check_transaction?id={world.ids['pending']}"
    full = server.call("GET", path, key=world.shop.key)
    head = server.call("HEAD", path, key=world.shop.key)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(full.body))
    assert server.call("HEAD", path).status == 401


def test_a_path_of_bytes_that_are_no_text_is_refused(server: Http, world: World) -> None:
    received = server.raw(b"GET /\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert raw_status(received) in (400, 404)
