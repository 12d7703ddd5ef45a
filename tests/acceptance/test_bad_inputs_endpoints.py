"""Bad requests about webhook endpoints and replays: the exact answer, and nothing changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.http import Http, Reply, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
PATH = "/webhook_endpoints"
URL = "https://warehouse.example/hook"
LONG = "x" * 2030

SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "url a number": ({"url": 5}, "url"),
    "url a list": ({"url": [URL]}, "url"),
    "url empty": ({"url": ""}, "url"),
    "url too long": ({"url": f"https://shop.example/{LONG}"}, "url"),
    "url of another scheme": ({"url": "ftp://shop.example/"}, "url"),
    "url without TLS": ({"url": "http://shop.example/"}, "url"),
    "url inside": ({"url": "https://10.0.0.1/"}, "url"),
    "url of metadata": ({"url": "https://169.254.169.254/latest"}, "url"),
    "url in odd digits": ({"url": "https://0x0a000001/"}, "url"),
    "url of a mapped address": ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
    "url with a user": ({"url": "https://a:b@shop.example/"}, "url"),
    "url with a fragment": ({"url": f"{URL}#x"}, "url"),
    "url with a line break": ({"url": f"{URL}\n"}, "url"),
    "url with NUL": ({"url": f"{URL}\0"}, "url"),
    "url with half a pair": ({"url": f"{URL}\ud800"}, "url"),
    "url at another port": ({"url": "https://shop.example:22/"}, "url"),
    "types a word": ({"event_types": "*"}, "event_types"),
    "types empty": ({"event_types": []}, "event_types"),
    "types unknown": ({"event_types": ["transaction.lost"]}, "event_types"),
    "types a half prefix": ({"event_types": ["trans*"]}, "event_types"),
    "types an unknown prefix": ({"event_types": ["user.*"]}, "event_types"),
    "types the test": ({"event_types": ["ping"]}, "event_types"),
    "types twice": ({"event_types": ["*", "*"]}, "event_types"),
    "types too many": ({"event_types": ["*"] * 51}, "event_types"),
    "types with a number": ({"event_types": ["*", 1]}, "event_types"),
    "types with null": ({"event_types": [None]}, "event_types"),
    "types in capitals": ({"event_types": ["REFUND.CREATED"]}, "event_types"),
    "types with a line break": ({"event_types": ["*\n"]}, "event_types"),
    "description empty": ({"description": ""}, "description"),
    "description blank": ({"description": "  "}, "description"),
    "description too long": ({"description": "x" * 501}, "description"),
    "description with NUL": ({"description": "a\0b"}, "description"),
    "description with half a pair": ({"description": "\udfff"}, "description"),
    "description with a card": ({"description": "4111 1111 1111 1111"}, "description"),
    "description an object": ({"description": {}}, "description"),
    "headers a list": ({"headers": [["a", "b"]]}, "headers"),
    "headers a word": ({"headers": "X: 1"}, "headers"),
    "headers too many": ({"headers": {f"X-{number}": "1" for number in range(21)}}, "headers"),
    "headers with a number": ({"headers": {"X-Shop": 7}}, "headers"),
    "headers with null": ({"headers": {"X-Shop": None}}, "headers"),
    "headers without a name": ({"headers": {"": "1"}}, "headers"),
    "headers with a space in the name": ({"headers": {"X Shop": "1"}}, "headers"),
    "headers with a colon in the name": ({"headers": {"X:": "1"}}, "headers"),
    "headers with a line break in the name": ({"headers": {"X\r\nY": "1"}}, "headers"),
    "headers in other letters": ({"headers": {"Ключ": "1"}}, "headers"),
    "headers with a long name": ({"headers": {"x" * 101: "1"}}, "headers"),
    "headers empty": ({"headers": {"X-Shop": ""}}, "headers"),
    "headers split": ({"headers": {"X-Shop": "1\r\nHost: evil"}}, "headers"),
    "headers with NUL": ({"headers": {"X-Shop": "\0"}}, "headers"),
    "headers with a tab": ({"headers": {"X-Shop": "a\tb"}}, "headers"),
    "headers with a trailing space": ({"headers": {"X-Shop": "a "}}, "headers"),
    "headers beyond ASCII": ({"headers": {"X-Shop": "é"}}, "headers"),
    "headers too long": ({"headers": {"X-Shop": "x" * 1025}}, "headers"),
    "headers twice": ({"headers": {"X-Shop": "1", "x-shop": "2"}}, "headers"),
    "headers masked": ({"headers": {"X-Shop": "***"}}, "headers"),
    **{
        f"header {name}": ({"headers": {name: "1"}}, "headers")
        for name in (
            *("Webhook-Id", "webhook-signature", "WEBHOOK-X", "Content-Type", "content-length"),
            *("Host", "Connection", "Keep-Alive", "Proxy-Authorization", "TE", "Trailer"),
            *("Transfer-Encoding", "Upgrade", "Expect", "User-Agent", "X-Forwarded-For", "Via"),
        )
    },
    "rate zero": ({"rate_limit": 0}, "rate_limit"),
    "rate negative": ({"rate_limit": -1}, "rate_limit"),
    "rate too high": ({"rate_limit": 10_001}, "rate_limit"),
    "rate of many digits": ({"rate_limit": 10**30}, "rate_limit"),
    "rate a fraction": ({"rate_limit": 1.5}, "rate_limit"),
    "rate a text": ({"rate_limit": "5"}, "rate_limit"),
    "rate true": ({"rate_limit": True}, "rate_limit"),
    "ordered a word": ({"ordered": "yes"}, "ordered"),
    "ordered a number": ({"ordered": 1}, "ordered"),
    "ordered null": ({"ordered": None}, "ordered"),
    "enabled a word": ({"enabled": "no"}, "enabled"),
    "enabled null": ({"enabled": None}, "enabled"),
    "an own secret": ({"secret": "whsec_AAAA"}, "secret"),
    "an id": ({"id": UNKNOWN}, "id"),
    "a lane": ({"lane": "normal"}, "lane"),
    "a status": ({"status": "enabled"}, "status"),
    "default": ({"default": True}, "default"),
}


def fields(document: dict[str, Any]) -> list[str]:
    return [error["field"] for error in document["errors"]]


@pytest.mark.parametrize(("members", "field"), SETTINGS.values(), ids=SETTINGS)
def test_a_wrong_setting_is_422_when_made_and_when_changed(
    server: Http, world: World, members: dict[str, Any], field: str
) -> None:
    made = server.post(PATH, {"url": URL, **members}, key=world.shop.key)
    assert fields(refused(made, 422, "invalid_input")) == [field]
    changed = patch(server, world, f"{PATH}/{world.ids['endpoint']}", members)
    assert fields(refused(changed, 422, "invalid_input")) == [field]


def patch(server: Http, world: World, path: str, body: bytes | dict[str, Any]) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return server.call("PATCH", path, key=world.shop.key, body=data, headers=headers)


CREATED: dict[str, tuple[dict[str, Any], str]] = {
    "no url": ({}, "url"),
    "url null": ({"url": None}, "url"),
    "somebody else": ({"url": URL, "user_id": UNKNOWN}, "user_id"),
    "user_id a word": ({"url": URL, "user_id": "me"}, "user_id"),
}


@pytest.mark.parametrize(("body", "field"), CREATED.values(), ids=CREATED)
def test_a_wrong_new_endpoint_is_422(
    server: Http, world: World, body: dict[str, Any], field: str
) -> None:
    reply = server.post(PATH, body, key=world.shop.key)
    assert fields(refused(reply, 422, "invalid_input")) == [field]


@pytest.mark.parametrize("user_id", [None, UNKNOWN])
def test_an_admin_must_name_somebody(server: Http, world: World, user_id: str | None) -> None:
    reply = server.post(PATH, {"url": URL, "user_id": user_id}, key=world.admin.key)
    assert fields(refused(reply, 422, "invalid_input")) == ["user_id"]


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "url null": ({"url": None}, "url"),
    "types null": ({"event_types": None}, "event_types"),
    "user_id": ({"user_id": UNKNOWN}, "user_id"),
}


@pytest.mark.parametrize(("body", "field"), CHANGED.values(), ids=CHANGED)
def test_a_wrong_change_is_422(
    server: Http, world: World, body: dict[str, Any], field: str
) -> None:
    reply = patch(server, world, f"{PATH}/{world.ids['endpoint']}", body)
    assert fields(refused(reply, 422, "invalid_input")) == [field]


BODIES = {
    "empty": (b"", 400, "malformed_request"),
    "no JSON": (b"url=x", 400, "malformed_request"),
    "an array": (b"[]", 422, "invalid_input"),
    "null": (b"null", 422, "invalid_input"),
    "a key twice": (b'{"url": "x", "url": "y"}', 400, "malformed_request"),
    "a header twice": (b'{"headers": {"X": "1", "X": "2"}}', 400, "malformed_request"),
    "NaN": (b'{"rate_limit": NaN}', 400, "malformed_request"),
    "not UTF-8": (b'{"url": "\xff"}', 400, "malformed_request"),
    "too large": (b'{"url": "' + b"x" * 66_000 + b'"}', 413, "payload_too_large"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_what_is_no_request_is_refused(
    server: Http, world: World, body: bytes, status: int, code: str
) -> None:
    endpoint = f"{PATH}/{world.ids['endpoint']}"
    refused(server.post(PATH, body, key=world.shop.key), status, code)
    refused(patch(server, world, endpoint, body), status, code)
    refused(server.post(f"{endpoint}/replay", body, key=world.shop.key), status, code)


def test_another_media_type_is_415(server: Http, world: World) -> None:
    endpoint = f"{PATH}/{world.ids['endpoint']}"
    for method, path in (
        ("POST", PATH),
        ("PATCH", endpoint),
        *(("POST", f"{endpoint}/{act}") for act in ("rotate_secret", "test", "replay")),
        ("POST", f"/events/{world.ids['event']}/replay"),
    ):
        for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/xml"}):
            reply = server.call(method, path, key=world.shop.key, body=b"{}", headers=headers)
            refused(reply, 415, "unsupported_media_type")


SPANS: dict[str, tuple[dict[str, Any], str]] = {
    "no since": ({"since": None}, "since"),
    "since a date": ({"since": "2026-01-01"}, "since"),
    "since without a zone": ({"since": "2026-01-01T00:00:00"}, "since"),
    "since no moment": ({"since": "2026-02-30T00:00:00Z"}, "since"),
    "since a number": ({"since": 5}, "since"),
    "until before since": ({"until": "2025-01-01T00:00:00Z"}, "until"),
    "until at since": ({"until": "2026-01-01T03:00:00+03:00"}, "until"),
    "until null": ({"until": None}, "until"),
    "status unknown": ({"status": "lost"}, "status"),
    "status null": ({"status": None}, "status"),
    "unknown field": ({"limit": 5}, "limit"),
}


@pytest.mark.parametrize(("members", "field"), SPANS.values(), ids=SPANS)
def test_a_wrong_span_is_422(
    server: Http, world: World, members: dict[str, Any], field: str
) -> None:
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "status": "all"}
    path = f"{PATH}/{world.ids['endpoint']}/replay"
    reply = server.post(path, {**span, **members}, key=world.shop.key)
    assert fields(refused(reply, 422, "invalid_input")) == [field]
    if members.get(field, "") is None:
        del span[field]
        reply = server.post(path, span, key=world.shop.key)
        assert fields(refused(reply, 422, "invalid_input")) == [field]


def test_a_wrong_body_of_a_small_act_is_422(server: Http, world: World) -> None:
    endpoint = f"{PATH}/{world.ids['endpoint']}"
    for path, body, field in (
        (f"{endpoint}/rotate_secret", {"secret": "whsec_AAAA"}, "secret"),
        (f"{endpoint}/test", {"type": "ping"}, "type"),
        (f"/events/{world.ids['event']}/replay", {"endpoint_id": "x"}, "endpoint_id"),
        (f"/events/{world.ids['event']}/replay", {"endpoint_id": f"{UNKNOWN}\n"}, "endpoint_id"),
        (f"/events/{world.ids['event']}/replay", {"to": UNKNOWN}, "to"),
    ):
        reply = server.post(path, body, key=world.shop.key)
        assert fields(refused(reply, 422, "invalid_input")) == [field]


ONE_ID = (
    *(("GET", "{}"), ("PATCH", "{}"), ("DELETE", "{}"), ("POST", "{}/rotate_secret")),
    *(("POST", "{}/test"), ("POST", "{}/replay"), ("GET", "{}/replays")),
)


@pytest.mark.parametrize(("method", "place"), ONE_ID, ids=lambda part: part.strip("{}/") or "one")
def test_a_malformed_id_is_422(server: Http, world: World, method: str, place: str) -> None:
    body = b'{"since":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z","status":"all"}'
    sent = {"body": body if place.endswith("replay") else b"{}"} if method != "GET" else {}
    headers = {"Content-Type": "application/json"} if sent else {}
    for wrong in ("x", UNKNOWN.replace("-", ""), f"{{{UNKNOWN}}}", f"{UNKNOWN}%00", "1%20OR%201=1"):
        path = f"{PATH}/{place.format(wrong)}"
        reply = server.call(method, path, key=world.shop.key, headers=headers, **sent)
        assert fields(refused(reply, 422, "invalid_input")) == ["id"]


def test_other_malformed_ids_are_422_too(server: Http, world: World) -> None:
    replays = f"{PATH}/{world.ids['endpoint']}/replays"
    for path, field in (
        (f"{replays}/x", "replay_id"),
        ("/events/x/attempts", "id"),
        (f"/events/{world.ids['event']}/attempts?endpoint_id=x", "endpoint_id"),
    ):
        reply = server.call("GET", path, key=world.shop.key)
        assert fields(refused(reply, 422, "invalid_input")) == [field]
    reply = server.post("/events/x/replay", {}, key=world.shop.key)
    assert fields(refused(reply, 422, "invalid_input")) == ["id"]


def test_unknown_and_foreign_ids_get_the_same_404(server: Http, world: World) -> None:
    answers = []
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "status": "all"}
    stranger = world.stranger.key
    for endpoint, event, replay in (
        (UNKNOWN, UNKNOWN, UNKNOWN),
        (world.ids["endpoint"], world.ids["event"], world.ids["replay"]),
        (world.ids["user"], world.ids["event"], world.ids["replay"]),
    ):
        place = f"{PATH}/{endpoint}"
        headers = {"Content-Type": "application/json"}
        replies = [
            server.call("GET", place, key=stranger),
            server.call("PATCH", place, key=stranger, body=b"{}", headers=headers),
            server.call("DELETE", place, key=stranger),
            server.post(f"{place}/rotate_secret", {}, key=stranger),
            server.post(f"{place}/test", {}, key=stranger),
            server.post(f"{place}/replay", span, key=stranger),
            server.call("GET", f"{place}/replays", key=stranger),
            server.call("GET", f"{place}/replays/{replay}", key=stranger),
            server.call("GET", f"/events/{event}/attempts", key=stranger),
            server.post(f"/events/{event}/replay", {}, key=stranger),
        ]
        answers += [refused(reply, 404, "not_found") for reply in replies]
    for answer in answers:
        del answer["request_id"]
    assert all(answer == answers[0] for answer in answers)


def test_the_default_endpoint_is_not_deleted(server: Http, world: World) -> None:
    reply = server.call("DELETE", f"{PATH}/{world.ids['user']}", key=world.shop.key)
    document = refused(reply, 409, "conflict")
    assert "url to null" in document["detail"]


METHODS = (
    ("PUT", "", "GET, HEAD, POST"),
    ("DELETE", "", "GET, HEAD, POST"),
    ("PUT", "/{endpoint}", "GET, HEAD, PATCH, DELETE"),
    ("POST", "/{endpoint}", "GET, HEAD, PATCH, DELETE"),
    ("GET", "/{endpoint}/rotate_secret", "POST"),
    ("GET", "/{endpoint}/test", "POST"),
    ("GET", "/{endpoint}/replay", "POST"),
    ("POST", "/{endpoint}/replays", "GET, HEAD"),
    ("DELETE", "/{endpoint}/replays/{replay}", "GET, HEAD"),
)


@pytest.mark.parametrize(("method", "place", "allowed"), METHODS)
def test_a_wrong_method_is_405(
    server: Http, world: World, method: str, place: str, allowed: str
) -> None:
    path = PATH + place.format_map(world.ids)
    reply = server.call(method, path, key=world.shop.key)
    refused(reply, 405, "method_not_allowed")
    assert set(reply.headers["allow"].split(", ")) == set(allowed.split(", "))


QUERIES = {
    "limit zero": ("limit=0", "limit"),
    "limit too large": ("limit=101", "limit"),
    "limit twice": ("limit=5&limit=5", "limit"),
    "a forged cursor": (f"cursor={'A' * 54}", "cursor"),
    "a cursor with NUL": ("cursor=%00", "cursor"),
    "not UTF-8": ("cursor=%ff", "query"),
    "unknown": ("offset=1", "offset"),
}


@pytest.mark.parametrize(("query", "field"), QUERIES.values(), ids=QUERIES)
def test_a_wrong_query_of_a_list_is_422(server: Http, world: World, query: str, field: str) -> None:
    for path in (
        PATH,
        f"{PATH}/{world.ids['endpoint']}/replays",
        f"/events/{world.ids['event']}/attempts",
    ):
        reply = server.call("GET", f"{path}?{query}", key=world.shop.key)
        assert fields(refused(reply, 422, "invalid_input")) == [field]


def test_a_query_beside_an_act_is_422(server: Http, world: World) -> None:
    endpoint = f"{PATH}/{world.ids['endpoint']}"
    for method, path in (
        ("POST", PATH),
        ("GET", endpoint),
        ("PATCH", endpoint),
        ("DELETE", endpoint),
        *(("POST", f"{endpoint}/{act}") for act in ("rotate_secret", "test", "replay")),
        ("GET", f"{endpoint}/replays/{world.ids['replay']}"),
        ("POST", f"/events/{world.ids['event']}/replay"),
    ):
        reply = server.call(method, f"{path}?force=true", key=world.shop.key)
        assert fields(refused(reply, 422, "invalid_input")) == ["force"]


def test_a_bad_idempotency_key_is_400(server: Http, world: World) -> None:
    endpoint = f"{PATH}/{world.ids['endpoint']}"
    headers = {"Idempotency-Key": "two, keys"}
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "status": "all"}
    for path, body in (
        (PATH, {"url": URL}),
        (f"{endpoint}/rotate_secret", {}),
        (f"{endpoint}/test", {}),
        (f"{endpoint}/replay", span),
        (f"/events/{world.ids['event']}/replay", {}),
    ):
        reply = server.post(path, body, key=world.shop.key, headers=headers)
        refused(reply, 400, "malformed_request")
