"""Bad requests to write and list notes, and to filter lists: the exact answer, nothing changed."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.acceptance.http import Http, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"text": "x"}, "id"),
    "id null": ({"id": None, "text": "x"}, "id"),
    "id a word": ({"id": "x", "text": "x"}, "id"),
    "id without dashes": ({"id": UNKNOWN.replace("-", ""), "text": "x"}, "id"),
    "id with a line break": ({"id": UNKNOWN + "\n", "text": "x"}, "id"),
    "no text": ({"id": UNKNOWN}, "text"),
    "text empty": ({"id": UNKNOWN, "text": ""}, "text"),
    "text blank": ({"id": UNKNOWN, "text": " \u00a0\u3000 "}, "text"),
    "text null": ({"id": UNKNOWN, "text": None}, "text"),
    "text a number": ({"id": UNKNOWN, "text": 5}, "text"),
    "text too long": ({"id": UNKNOWN, "text": "x" * 2001}, "text"),
    "text with NUL": ({"id": UNKNOWN, "text": "a\0b"}, "text"),
    "text with a line break": ({"id": UNKNOWN, "text": "a\nb"}, "text"),
    "text with half a pair": ({"id": UNKNOWN, "text": "\ud800"}, "text"),
    "text with a card number": ({"id": UNKNOWN, "text": "card 4111 1111 1111 1111"}, "text"),
    "internal a word": ({"id": UNKNOWN, "text": "x", "internal": "yes"}, "internal"),
    "internal a number": ({"id": UNKNOWN, "text": "x", "internal": 1}, "internal"),
    "internal null": ({"id": UNKNOWN, "text": "x", "internal": None}, "internal"),
    "unknown field": ({"id": UNKNOWN, "text": "x", "author": "me"}, "author"),
    "user_id": ({"id": UNKNOWN, "text": "x", "user_id": UNKNOWN}, "user_id"),
}


@pytest.mark.parametrize(("body", "field"), WRONG.values(), ids=WRONG)
def test_a_wrong_note_is_422(server: Http, world: World, body: dict[str, Any], field: str) -> None:
    document = refused(server.post("/create_note", body, key=world.admin.key), 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == [field]


def test_an_internal_note_of_a_merchant_is_422_whatever_the_id(server: Http, world: World) -> None:
    for id_ in (world.ids["pending"], world.ids["foreign"], UNKNOWN):
        body = {"id": id_, "text": "x", "internal": True}
        reply = server.post("/create_note", body, key=world.shop.key)
        document = refused(reply, 422, "invalid_input")
        assert [error["field"] for error in document["errors"]] == ["internal"]


def test_unknown_and_foreign_ids_get_the_same_404(server: Http, world: World) -> None:
    answers = []
    for id_ in (UNKNOWN, world.ids["foreign"]):
        replies = [
            server.post("/create_note", {"id": id_, "text": "x"}, key=world.shop.key),
            server.call("GET", f"/notes?id={id_}", key=world.shop.key),
        ]
        answers += [refused(reply, 404, "not_found") for reply in replies]
    for answer in answers:
        del answer["request_id"]
    assert all(answer == answers[0] for answer in answers)


BODIES = {
    "no JSON": (b"text=x", 400, "malformed_request"),
    "an array": (b"[]", 422, "invalid_input"),
    "a key twice": (b'{"id": "x", "id": "y"}', 400, "malformed_request"),
    "not UTF-8": (b'{"text": "\xff"}', 400, "malformed_request"),
    "too large": (b'{"text": "' + b"x" * 66_000 + b'"}', 413, "payload_too_large"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_what_is_no_request_is_refused(
    server: Http, world: World, body: bytes, status: int, code: str
) -> None:
    refused(server.post("/create_note", body, key=world.shop.key), status, code)


def test_a_query_or_a_bad_key_beside_a_note_is_refused(server: Http, world: World) -> None:
    body = {"id": world.ids["pending"], "text": "x"}
    refused(server.post("/create_note?a=1", body, key=world.shop.key), 422, "invalid_input")
    headers = {"Idempotency-Key": "two, keys"}
    reply = server.post("/create_note", body, key=world.shop.key, headers=headers)
    refused(reply, 400, "malformed_request")


QUERIES = {
    "no id": ("", "id"),
    "id empty": ("id=", "id"),
    "id a word": ("id=x", "id"),
    "id with NUL": (f"id={UNKNOWN}%00", "id"),
    "id twice": (f"id={UNKNOWN}&id={UNKNOWN}", "id"),
    "limit zero": (f"id={UNKNOWN}&limit=0", "limit"),
    "limit too large": (f"id={UNKNOWN}&limit=101", "limit"),
    "limit in other digits": (f"id={UNKNOWN}&limit={quote('٣')}", "limit"),
    "unknown": (f"id={UNKNOWN}&internal=true", "internal"),
}


@pytest.mark.parametrize(("query", "field"), QUERIES.values(), ids=QUERIES)
def test_a_wrong_query_of_notes_is_422(server: Http, world: World, query: str, field: str) -> None:
    reply = server.call("GET", f"/notes?{query}", key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == [field]


def test_a_forged_cursor_is_422(server: Http, world: World) -> None:
    query = urlencode({"id": world.ids["pending"], "cursor": "A" * 54})
    document = refused(
        server.call("GET", f"/notes?{query}", key=world.shop.key), 422, "invalid_input"
    )
    assert [error["field"] for error in document["errors"]] == ["cursor"]


FILTERS: dict[str, tuple[dict[str, str], str]] = {
    "prefix empty": ({"reference_prefix": ""}, "reference_prefix"),
    "prefix long": ({"reference_prefix": "x" * 129}, "reference_prefix"),
    "prefix with NUL": ({"reference_prefix": "a\0"}, "reference_prefix"),
    "prefix with a line break": ({"reference_prefix": "a\n"}, "reference_prefix"),
    "key empty": ({"metadata_key": ""}, "metadata_key"),
    "key long": ({"metadata_key": "k" * 41}, "metadata_key"),
    "key with a space": ({"metadata_key": "a b"}, "metadata_key"),
    "key with a line break": ({"metadata_key": "a\n"}, "metadata_key"),
    "key in other letters": ({"metadata_key": "ключ"}, "metadata_key"),
    "key a path": ({"metadata_key": "{a,b}"}, "metadata_key"),
    "value alone": ({"metadata_value": "x"}, "metadata_value"),
    "empty value alone": ({"metadata_value": ""}, "metadata_value"),
    "value long": ({"metadata_key": "k", "metadata_value": "x" * 501}, "metadata_value"),
    "value with NUL": ({"metadata_key": "k", "metadata_value": "\0"}, "metadata_value"),
    "misspelt": ({"reference_starts": "x"}, "reference_starts"),
}


@pytest.mark.parametrize(("query", "field"), FILTERS.values(), ids=FILTERS)
def test_a_wrong_filter_is_422(
    server: Http, world: World, query: dict[str, str], field: str
) -> None:
    reply = server.call("GET", f"/transactions?{urlencode(query)}", key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == [field]


@pytest.mark.parametrize(
    "query",
    [
        "reference_prefix=x&reference_prefix=x",
        "metadata_key=a&metadata_key=b",
        "reference_prefix=%ff",
        "reference_prefix=%ed%a0%80",
        "metadata_key=k&metadata_value=%ff",
    ],
)
def test_a_filter_given_twice_or_not_in_utf8_is_422(server: Http, world: World, query: str) -> None:
    refused(server.call("GET", f"/transactions?{query}", key=world.shop.key), 422, "invalid_input")


@pytest.mark.parametrize("prefix", ["%", "_", "\\", "' OR 1=1 --", "x" * 128, "\U0010ffff"])
def test_odd_prefixes_are_plain_text(server: Http, world: World, prefix: str) -> None:
    query = urlencode({"reference_prefix": prefix})
    reply = server.call("GET", f"/transactions?{query}", key=world.shop.key)
    assert (reply.status, reply.json()) == (200, {"data": [], "next_cursor": None})


def test_filters_never_reach_rows_of_others(server: Http, world: World) -> None:
    query = urlencode({"reference_prefix": "p", "user_id": str(world.shop.id)})
    for key, count in ((world.shop.key, 1), (world.stranger.key, 0), (world.admin.key, 1)):
        reply = server.call("GET", f"/transactions?{query}", key=key)
        assert (reply.status, len(reply.json()["data"])) == (200, count)
