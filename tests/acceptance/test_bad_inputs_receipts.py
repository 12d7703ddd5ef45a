"""Bad requests for receipts and keys: the exact answer, and nothing changed."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.acceptance.http import Http, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"

MALFORMED_IDS = {
    "empty": "",
    "word": "x",
    "no dashes": "0198f0c27d3e7c4b9a513f0d7f1c2b6a",
    "URN": "urn:uuid:0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
    "space": " 0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
    "line break": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a\n",
    "NUL behind": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a\0",
    "not hexadecimal": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6g",
    "fullwidth": "０198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
    "SQL": "' OR 1=1 --",
    "10 KB": "0" * 10_240,
}


@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_is_422(server: Http, world: World, given: str) -> None:
    reply = server.call("GET", f"/receipt?id={quote(given)}", key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["id"]


QUERIES = {
    "no id": ("", "id"),
    "id twice": (f"id={UNKNOWN}&id={UNKNOWN}", "id"),
    "unknown": (f"id={UNKNOWN}&key_id=x", "key_id"),
    "a format": (f"id={UNKNOWN}&format=pdf", "format"),
    "a merchant": (f"id={UNKNOWN}&user_id={UNKNOWN}", "user_id"),
    "no text": ("id=%ff", "query"),
}


@pytest.mark.parametrize("case", QUERIES)
def test_a_wrong_query_is_422(server: Http, world: World, case: str) -> None:
    query, field = QUERIES[case]
    for key in (world.shop.key, world.admin.key):
        document = refused(server.call("GET", f"/receipt?{query}", key=key), 422, "invalid_input")
        assert [error["field"] for error in document["errors"]] == [field]


def test_unknown_and_foreign_ids_get_the_same_404(server: Http, world: World) -> None:
    answers = []
    for who, given in (
        (world.shop, UNKNOWN),
        (world.shop, world.ids["foreign"]),
        (world.stranger, world.ids["confirmed"]),
        (world.stranger, world.ids["overdue"]),
        (world.stranger, world.ids["pending"]),
        (world.admin, UNKNOWN),
    ):
        document = refused(
            server.call("GET", f"/receipt?id={given}", key=who.key), 404, "not_found"
        )
        del document["request_id"]
        answers.append(document)
    assert all(answer == answers[0] for answer in answers)


def test_what_is_pending_is_409(server: Http, world: World) -> None:
    for key in (world.shop.key, world.admin.key):
        reply = server.call("GET", f"/receipt?id={world.ids['pending']}", key=key)
        document = refused(reply, 409, "not_finished")
        assert document["transaction_status"] == "pending"


@pytest.mark.parametrize("name", ["revoked", "expired", "deactivated", "unknown"])
def test_a_key_that_opens_nothing_is_401(server: Http, world: World, name: str) -> None:
    path = f"/receipt?id={world.ids['confirmed']}"
    refused(server.call("GET", path, key=world.keys[name]), 401, "unauthenticated")
    refused(server.call("GET", path), 401, "unauthenticated")


def test_a_key_without_the_scope_is_403(server: Http, world: World) -> None:
    for given in (world.ids["confirmed"], world.ids["pending"], UNKNOWN):
        reply = server.call("GET", f"/receipt?id={given}", key=world.keys["writer"])
        assert refused(reply, 403, "insufficient_scope")["required_scope"] == "read"


@pytest.mark.parametrize("path", ["/receipt", "/receipt_keys"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_another_method_is_405(server: Http, world: World, path: str, method: str) -> None:
    reply = server.call(method, path, key=world.admin.key)
    refused(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] in ("GET, HEAD", "HEAD, GET")


def test_keys_take_no_query(server: Http, world: World) -> None:
    document = refused(server.call("GET", "/receipt_keys?id=x"), 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["id"]


def test_a_key_that_opens_nothing_does_not_matter_where_none_is_needed(
    server: Http, world: World
) -> None:
    for key in (None, world.keys["revoked"], "x"):
        reply = server.call("GET", "/receipt_keys", key=key)
        assert (reply.status, reply.json()) == (200, {"keys": []})
