"""Bad requests about adjustments: the exact answer, and nothing changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from sqlalchemy import Engine

from standart.db import autocommit
from standart.services import adjustment_service
from standart.services.adjustment_service import Direction, NewAdjustment
from tests.acceptance.http import Http, refused
from tests.acceptance.test_bad_inputs_create import WRONG_AMOUNTS
from tests.acceptance.test_bad_inputs_settle import LIMITS, MALFORMED_IDS, UNKNOWN
from tests.builders import ORIGIN
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

CREATE = "/create_adjustment"
ACTS = ("/approve_adjustment", "/cancel_adjustment")
CARD = "4111 1111 1111 1111"

Ids = Mapping[str, str]


@pytest.fixture(scope="module")
def ids(world: World, _app_engine: Engine) -> Ids:
    """The id of one of the shop's adjustments in each status."""
    made = {}
    with autocommit(_app_engine) as connection:
        for status in ("pending", "posted", "canceled"):
            new = NewAdjustment(
                user_id=world.shop.id, amount="1.00", direction=Direction.CREDIT, reason="Error"
            )
            alone = {} if status == "posted" else {"RUB": 0}
            adjustment_service.create(connection, world.admin.digest, ORIGIN, new, alone=alone)
            if status == "canceled":
                adjustment_service.cancel(connection, world.admin.digest, ORIGIN, new.fresh_id)
            made[status] = str(new.fresh_id)
    return made


@pytest.fixture(scope="session")
def careful(serve: Callable[..., Http]) -> Http:
    """A server where every sum in roubles takes two admins."""
    return serve(STANDART_FOUR_EYES_ABOVE="RUB:0")


def body(world: World, **changes: object) -> dict[str, Any]:
    sound: dict[str, Any] = {
        "user_id": str(world.shop.id),
        "amount": "1.00",
        "direction": "credit",
        "reason": "Error",
    }
    return sound | changes


def create(server: Http, world: World, **changes: object) -> Any:
    return server.post(CREATE, body(world, **changes), key=world.admin.key)


def wrong(reply: Any) -> list[str]:
    return [error["field"] for error in refused(reply, 422, "invalid_input")["errors"]]


@pytest.mark.parametrize("value", WRONG_AMOUNTS, ids=lambda value: repr(value)[:40])
def test_a_wrong_amount_is_422(server: Http, world: World, value: str) -> None:
    rest = json.dumps({key: each for key, each in body(world).items() if key != "amount"})
    sent = f'{rest[:-1]},"amount":{value}}}'.encode()
    assert wrong(server.post(CREATE, sent, key=world.admin.key)) == ["amount"]


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("1.5", "JPY"), ("0.001", "USD"), ("0.0001", "KWD"), ("0.0000001", "USDT"), ("0.001", None)],
)
def test_more_digits_than_the_currency_has_are_422(
    server: Http, world: World, amount: str, currency: str | None
) -> None:
    named = {"currency": currency} if currency else {}
    assert wrong(create(server, world, amount=amount, **named)) == ["amount"]


WRONG_FIELDS: dict[str, tuple[str, object]] = {
    "negative": ("amount", "-1.00"),
    "user unknown": ("user_id", UNKNOWN),
    "user malformed": ("user_id", "1"),
    "user null": ("user_id", None),
    "direction unknown": ("direction", "up"),
    "direction in upper case": ("direction", "CREDIT"),
    "direction null": ("direction", None),
    "direction a number": ("direction", -1),
    "reason null": ("reason", None),
    "reason empty": ("reason", ""),
    "reason blank": ("reason", " \u2003"),
    "reason long": ("reason", "x" * 501),
    "reason with line break": ("reason", "a\nb"),
    "reason with NUL": ("reason", "a\0"),
    "reason with half a surrogate pair": ("reason", "\ud800"),
    "reason with a card": ("reason", f"for {CARD}"),
    "reason a number": ("reason", 5),
    "currency in lower case": ("currency", "usd"),
    "currency of nobody": ("currency", "XXX"),
    "currency a number": ("currency", 643),
    "id": ("id", UNKNOWN),
    "kind": ("kind", "opening_balance"),
    "status": ("status", "posted"),
    "approvals": ("approvals", 2),
    "__proto__": ("__proto__", {}),
}


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_wrong_or_unknown_field_is_422(
    server: Http, world: World, name: str, value: object
) -> None:
    assert wrong(create(server, world, **{name: value})) == [name]


@pytest.mark.parametrize("name", ["user_id", "amount", "direction", "reason"])
def test_what_is_mandatory_must_be_there(server: Http, world: World, name: str) -> None:
    sent = body(world)
    del sent[name]
    assert wrong(server.post(CREATE, sent, key=world.admin.key)) == [name]


def test_a_debit_of_more_than_is_available_is_409(server: Http, world: World) -> None:
    reply = create(server, world, direction="debit", amount="1000000")
    document = refused(reply, 409, "insufficient_balance")
    left = server.call("GET", "/balance", key=world.shop.key).json()["balances"][0]
    assert (document["currency"], document["available"]) == ("RUB", left["balance"])
    reply = create(server, world, direction="debit", amount="1", currency="JPY")
    assert refused(reply, 409, "insufficient_balance")["available"] == "0"


@pytest.mark.parametrize("path", [CREATE, *ACTS])
@pytest.mark.parametrize("name", ["shop", "trusted shop", "stranger", "reader", "writer"])
def test_merchants_adjust_nothing(
    server: Http, world: World, ids: Ids, path: str, name: str
) -> None:
    sent = body(world) if path == CREATE else {"id": ids["pending"]}
    document = refused(server.post(path, sent, key=world.keys[name]), 403, "insufficient_scope")
    assert document["required_scope"] == "confirm"


def test_the_author_is_not_the_second_person(careful: Http, world: World, ids: Ids) -> None:
    reply = careful.post("/approve_adjustment", {"id": ids["pending"]}, key=world.admin.key)
    refused(reply, 403, "second_person_required")


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_in_a_body_is_422(server: Http, world: World, path: str, given: str) -> None:
    assert wrong(server.post(path, {"id": given}, key=world.admin.key)) == ["id"]


@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_in_a_query_is_422(server: Http, world: World, given: str) -> None:
    reply = server.call("GET", f"/check_adjustment?id={quote(given)}", key=world.admin.key)
    assert wrong(reply) == ["id"]


@pytest.mark.parametrize("path", ACTS)
def test_an_act_takes_an_id_and_nothing_else(
    server: Http, world: World, ids: Ids, path: str
) -> None:
    known = {"id": ids["pending"]}
    for members in ({"reason": "x"}, {"amount": "1"}, {"approvals": 2}):
        assert wrong(server.post(path, known | members, key=world.admin.key)) == [*members]
    for sent in ({}, {"id": None}, {"id": 1}):
        assert wrong(server.post(path, sent, key=world.admin.key)) == ["id"]


def test_what_ended_otherwise_is_409(server: Http, world: World, ids: Ids) -> None:
    for path, status in (("/approve_adjustment", "canceled"), ("/cancel_adjustment", "posted")):
        reply = server.post(path, {"id": ids[status]}, key=world.admin.key)
        assert refused(reply, 409, "adjustment_state")["adjustment_status"] == status
    for path, status in (("/approve_adjustment", "posted"), ("/cancel_adjustment", "canceled")):
        reply = server.post(path, {"id": ids[status]}, key=world.admin.key)
        assert (reply.status, reply.json()["status"]) == (200, status)


def test_unknown_and_foreign_ids_get_the_same_404(server: Http, world: World, ids: Ids) -> None:
    answers = []
    for given in (UNKNOWN, *ids.values(), world.ids["pending"]):
        reply = server.call("GET", f"/check_adjustment?id={given}", key=world.stranger.key)
        document = refused(reply, 404, "not_found")
        del document["request_id"]
        answers.append(document)
    assert all(answer == answers[0] for answer in answers)


def test_an_admin_finds_no_adjustment_under_other_ids(server: Http, world: World) -> None:
    for given in (UNKNOWN, world.ids["confirmed"], world.ids["payout"], str(world.shop.id)):
        for path in ACTS:
            refused(server.post(path, {"id": given}, key=world.admin.key), 404, "not_found")
        reply = server.call("GET", f"/check_adjustment?id={given}", key=world.admin.key)
        refused(reply, 404, "not_found")


@pytest.mark.parametrize("path", [CREATE, *ACTS])
def test_only_whole_json_without_a_query_is_taken(server: Http, world: World, path: str) -> None:
    key = world.admin.key
    sent = {"id": UNKNOWN}
    refused(server.post(path, b"{", key=key), 400, "malformed_request")
    refused(server.post(path, b"[]", key=key), 422, "invalid_input")
    refused(server.post(f"{path}?id={UNKNOWN}", sent, key=key), 422, "invalid_input")
    text = {"Content-Type": "text/plain"}
    refused(server.post(path, sent, key=key, headers=text), 415, "unsupported_media_type")
    large = json.dumps({"id": "x" * 65_536}).encode()
    refused(server.post(path, large, key=key), 413, "payload_too_large")
    refused(server.call("GET", path, key=key), 405, "method_not_allowed")


@pytest.mark.parametrize("given", ["", "a,b", "a b", "ключ".encode().decode("latin-1"), "x" * 256])
def test_a_wrong_idempotency_key_is_400(server: Http, world: World, given: str) -> None:
    headers = {"Idempotency-Key": given}
    for path, sent in ((CREATE, body(world)), (ACTS[0], {"id": UNKNOWN})):
        reply = server.post(path, sent, key=world.admin.key, headers=headers)
        refused(reply, 400, "malformed_request")


BAD_QUERIES: dict[str, dict[str, str]] = {
    **{f"limit {given[:12]!r}": {"limit": given} for given in LIMITS},
    "unknown": {"sort": "amount"},
    "kind": {"kind": "opening_balance"},
    "status of a transaction": {"status": "confirmed"},
    "status in upper case": {"status": "POSTED"},
    "currency": {"currency": "rub"},
    "user_id": {"user_id": "1"},
    "date": {"created_from": "2026-11-23"},
    "no zone": {"created_to": "2026-11-23T00:00:00"},
    "cursor forged": {"cursor": "A" * 54},
    "cursor word": {"cursor": "next"},
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_wrong_query_of_the_list_is_422(
    server: Http, world: World, query: dict[str, str]
) -> None:
    reply = server.call("GET", f"/adjustments?{urlencode(query)}", key=world.shop.key)
    assert wrong(reply) == list(query)


def test_a_cursor_serves_its_own_list_only(server: Http, world: World, ids: Ids) -> None:
    assert len(ids) > 1
    page = server.call("GET", "/adjustments?limit=1", key=world.shop.key).json()
    cursor = page["next_cursor"]
    for path, key in (
        (f"/adjustments?status=pending&cursor={cursor}", world.shop.key),
        (f"/adjustments?cursor={cursor}", world.admin.key),
        (f"/payouts?cursor={cursor}", world.shop.key),
    ):
        assert wrong(server.call("GET", path, key=key)) == ["cursor"]
