"""Bad requests about refunds and late payments: the exact answer, and nothing changed."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.acceptance.http import Http, Reply, refused
from tests.acceptance.test_bad_inputs_create import NO_OBJECT, NOT_JSON, WRONG_AMOUNTS
from tests.acceptance.test_bad_inputs_settle import LIMITS, MALFORMED_IDS, UNKNOWN
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

REFUND, LATE = "/create_refund", "/record_late_payment"
ACTS = (REFUND, LATE)


def give_back(server: Http, world: World, key: str = "trusted shop", **members: Any) -> Reply:
    return server.post(REFUND, {"id": world.ids["confirmed"], **members}, key=world.keys[key])


def wrong(reply: Reply) -> list[str]:
    return [error["field"] for error in refused(reply, 422, "invalid_input")["errors"]]


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_400(server: Http, world: World, path: str, body: bytes) -> None:
    refused(server.post(path, body, key=world.admin.key), 400, "malformed_request")


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("body", NO_OBJECT.values(), ids=NO_OBJECT)
def test_json_that_is_no_object_is_422(server: Http, world: World, path: str, body: bytes) -> None:
    assert wrong(server.post(path, body, key=world.admin.key)) == ["body"]


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_in_a_body_is_422(server: Http, world: World, path: str, given: str) -> None:
    assert wrong(server.post(path, {"id": given}, key=world.admin.key)) == ["id"]


@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_in_a_query_is_422(server: Http, world: World, given: str) -> None:
    reply = server.call("GET", f"/check_refund?id={quote(given)}", key=world.shop.key)
    assert wrong(reply) == ["id"]


# Without an amount all that is left is meant, and null is no amount.
AMOUNTS = [value for value in WRONG_AMOUNTS if value != "null"]


@pytest.mark.parametrize("value", AMOUNTS, ids=lambda value: repr(value)[:40])
def test_a_wrong_amount_is_422(server: Http, world: World, value: str) -> None:
    body = b'{"id":"%s","amount":%s}' % (world.ids["confirmed"].encode(), value.encode())
    assert wrong(server.post(REFUND, body, key=world.keys["trusted shop"])) == ["amount"]


WRONG_FIELDS: dict[str, tuple[str, object]] = {
    "refund_commission a text": ("refund_commission", "true"),
    "refund_commission a number": ("refund_commission", 1),
    "refund_commission null": ("refund_commission", None),
    "reason long": ("reason", "x" * 501),
    "reason with NUL": ("reason", "a\0b"),
    "reason with line break": ("reason", "a\nb"),
    "reason with half a surrogate pair": ("reason", "\ud800"),
    "reason with a card": ("reason", "card 4111111111111111"),
    "reason a number": ("reason", 5),
    "currency": ("currency", "RUB"),
    "user_id": ("user_id", UNKNOWN),
    "transaction_id": ("transaction_id", UNKNOWN),
    "status": ("status", "posted"),
    "commission_returned": ("commission_returned", "3.00"),
    "debited": ("debited", "0.00"),
    "created_at": ("created_at", "2026-11-23T09:00:00Z"),
    "__proto__": ("__proto__", {}),
}


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_wrong_or_unknown_field_is_422(
    server: Http, world: World, name: str, value: object
) -> None:
    assert wrong(give_back(server, world, amount="1.00", **{name: value})) == [name]


def test_more_digits_than_the_currency_has_are_422(server: Http, world: World) -> None:
    reply = give_back(server, world, amount="1.005")
    (error,) = refused(reply, 422, "invalid_input")["errors"]
    assert error == {"field": "amount", "message": "has more than 2 fractional digits (RUB)"}


LATE_FIELDS = ("amount", "currency", "reason", "user_id", "late_for", "status", "created_at")


@pytest.mark.parametrize("name", LATE_FIELDS)
def test_a_late_payment_is_nothing_but_an_id(server: Http, world: World, name: str) -> None:
    body = {"id": world.ids["canceled"], name: "1"}
    assert wrong(server.post(LATE, body, key=world.admin.key)) == [name]


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": 1}, {"id": [UNKNOWN]}], ids=json.dumps)
def test_both_need_an_id(server: Http, world: World, path: str, body: dict[str, Any]) -> None:
    assert wrong(server.post(path, body, key=world.admin.key)) == ["id"]


@pytest.mark.parametrize("path", ACTS)
def test_only_json_of_its_size_without_a_query_is_taken(
    server: Http, world: World, path: str
) -> None:
    key, body = world.admin.key, {"id": UNKNOWN}
    refused(server.post(f"{path}?id={UNKNOWN}", body, key=key), 422, "invalid_input")
    text = {"Content-Type": "text/plain"}
    refused(server.post(path, body, key=key, headers=text), 415, "unsupported_media_type")
    large = json.dumps({"id": "x" * 65_536}).encode()
    refused(server.post(path, large, key=key), 413, "payload_too_large")


@pytest.mark.parametrize("given", ["", "a,b", "a b", "ключ".encode().decode("latin-1"), "x" * 256])
@pytest.mark.parametrize("path", ACTS)
def test_a_wrong_idempotency_key_is_400(server: Http, world: World, path: str, given: str) -> None:
    headers = {"Idempotency-Key": given}
    reply = server.post(path, {"id": UNKNOWN}, key=world.admin.key, headers=headers)
    refused(reply, 400, "malformed_request")


@pytest.mark.parametrize(
    ("name", "state"),
    [("pending", "pending"), ("canceled", "canceled"), ("overdue", "expired")],
)
@pytest.mark.parametrize("amount", ["1.00", "9999.00", None])
def test_what_was_not_paid_is_not_refunded(
    server: Http, world: World, name: str, state: str, amount: str | None
) -> None:
    document = refused(
        give_back(server, world, id=world.ids[name], amount=amount), 409, "not_confirmed"
    )
    assert document["transaction_status"] == state


def test_more_than_is_left_is_409(server: Http, world: World) -> None:
    for amount in ("99.01", "100.00", "10000000000000.00"):
        document = refused(give_back(server, world, amount=amount), 409, "refund_too_large")
        assert (document["refundable"], document["currency"]) == ("99.00", "RUB")


@pytest.mark.parametrize("members", [{}, {"amount": "99.00"}, {"amount": None}], ids=json.dumps)
def test_more_than_is_available_is_409(server: Http, world: World, members: dict[str, Any]) -> None:
    left = server.call("GET", "/balance", key=world.shop.key).json()["balances"][0]["balance"]
    document = refused(give_back(server, world, **members), 409, "insufficient_balance")
    assert (document["currency"], document["available"]) == ("RUB", left)


@pytest.mark.parametrize(("name", "state"), [("pending", "pending"), ("confirmed", "confirmed")])
def test_what_may_be_or_was_paid_is_not_late(
    server: Http, world: World, name: str, state: str
) -> None:
    reply = server.post(LATE, {"id": world.ids[name]}, key=world.admin.key)
    assert refused(reply, 409, "not_late")["transaction_status"] == state


def test_unknown_and_foreign_ids_get_the_same_404(server: Http, world: World) -> None:
    answers = []
    for given in (UNKNOWN, world.ids["confirmed"], world.ids["pending"], world.ids["refund"]):
        key = world.keys["trusted stranger"]
        for reply in (
            server.post(REFUND, {"id": given, "amount": "1.005"}, key=key),
            server.call("GET", f"/check_refund?id={given}", key=key),
        ):
            document = refused(reply, 404, "not_found")
            del document["request_id"]
            answers.append(document)
    assert all(answer == answers[0] for answer in answers)


def test_an_admin_finds_nothing_under_other_ids(server: Http, world: World) -> None:
    for given in (UNKNOWN, world.ids["refund"], world.ids["payout"], str(world.shop.id)):
        for path in ACTS:
            reply = server.post(path, {"id": given}, key=world.admin.key)
            refused(reply, 404, "not_found")
    for given in (UNKNOWN, world.ids["confirmed"], str(world.shop.id)):
        reply = server.call("GET", f"/check_refund?id={given}", key=world.admin.key)
        refused(reply, 404, "not_found")


@pytest.mark.parametrize("name", ["shop", "reader", "writer"])
def test_the_default_scopes_give_nothing_back(server: Http, world: World, name: str) -> None:
    document = refused(give_back(server, world, key=name), 403, "insufficient_scope")
    assert document["required_scope"] == "refund"


@pytest.mark.parametrize("name", ["shop", "trusted shop", "trusted stranger"])
def test_only_confirm_records_what_came_late(server: Http, world: World, name: str) -> None:
    reply = server.post(LATE, {"id": world.ids["canceled"]}, key=world.keys[name])
    assert refused(reply, 403, "insufficient_scope")["required_scope"] == "confirm"


METHODS = [
    (method, path)
    for path, known in {
        REFUND: {"POST"},
        LATE: {"POST"},
        "/check_refund": {"GET", "HEAD"},
        "/refunds": {"GET", "HEAD"},
    }.items()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
    if method not in known
]


@pytest.mark.parametrize(("method", "path"), METHODS)
def test_another_method_is_405(server: Http, world: World, method: str, path: str) -> None:
    refused(server.call(method, path, key=world.admin.key), 405, "method_not_allowed")


BAD_QUERIES: dict[str, dict[str, str]] = {
    **{f"limit {given[:12]!r}": {"limit": given} for given in LIMITS},
    "unknown": {"sort": "amount"},
    "offset": {"offset": "5"},
    "status": {"status": "posted"},
    "reference": {"reference": "order-1"},
    "currency": {"currency": "rub"},
    "user_id": {"user_id": "1"},
    "transaction_id": {"transaction_id": "x"},
    "transaction_id empty": {"transaction_id": ""},
    "date": {"created_from": "2026-11-23"},
    "no zone": {"created_to": "2026-11-23T00:00:00"},
    "cursor empty": {"cursor": ""},
    "cursor forged": {"cursor": "A" * 54},
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_wrong_query_of_a_list_is_422(server: Http, world: World, query: dict[str, str]) -> None:
    reply = server.call("GET", f"/refunds?{urlencode(query)}", key=world.shop.key)
    assert wrong(reply) == [*query]


@pytest.mark.parametrize("path", ["/check_refund", "/refunds"])
@pytest.mark.parametrize(
    "query", [f"id={UNKNOWN}&id={UNKNOWN}", "limit=1&limit=1", "id=%ff", "limit"]
)
def test_a_query_that_can_be_read_in_two_ways_is_422(
    server: Http, world: World, path: str, query: str
) -> None:
    refused(server.call("GET", f"{path}?{query}", key=world.shop.key), 422, "invalid_input")
