"""Bad requests to preview a commission: the exact answer, and nothing changed."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Engine, text

from tests.acceptance.http import Http, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

PATH = "/preview_commission"
UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"

NOT_JSON = {
    "empty": b"",
    "truncated": b'{"amount":"1"',
    "key twice": b'{"amount":"1.00","amount":"999.00"}',
    "NaN": b'{"amount":NaN}',
    "plus": b'{"amount":+1}',
    "leading zero": b'{"amount":01}',
    "5000 digits": b'{"amount":%s}' % (b"9" * 5000),
    "deep": b"[" * 60_000,
    "UTF-16": '{"amount":"1"}'.encode("utf-16"),
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_400(server: Http, world: World, body: bytes) -> None:
    refused(server.post(PATH, body, key=world.shop.key), 400, "malformed_request")


AMOUNTS = {
    "null": None,
    "boolean": True,
    "array": ["1"],
    "object": {"value": "1"},
    "zero": "0",
    "zero with digits": "0.00",
    "negative": "-1",
    "negative number": -1,
    "exponent": "1e2",
    "exponent number": 1e30,
    "comma": "1,00",
    "space": " 1",
    "line break": "1\n",
    "empty": "",
    "no whole part": ".5",
    "separator": "1_000",
    "Arabic digits": "١٢",
    "three digits": "1.005",
    "ten digits": "1.0000000001",
    "too large": "10000000000000.01",
    "very large": "9" * 500,
    "a word": "all",
    "SQL": "1; DROP TABLE users",
}


@pytest.mark.parametrize("amount", AMOUNTS.values(), ids=AMOUNTS)
def test_a_wrong_amount_is_422(server: Http, world: World, amount: object) -> None:
    body = json.dumps({"amount": amount}).encode()
    document = refused(server.post(PATH, body, key=world.shop.key), 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["amount"]


@pytest.mark.parametrize(
    ("currency", "amount"),
    [
        ("JPY", "1.5"),
        ("KWD", "1.2345"),
        ("RUB", "1.234"),
        ("CLF", "0.00001"),
        ("USDT", "0.0000001"),
        ("BTC", "0.000000001"),
        ("TON", "0.0000000001"),
        ("JPY", "1000000000000001"),
        ("TON", "1000000.000000001"),
    ],
)
def test_digits_and_size_are_those_of_the_currency(
    server: Http, world: World, currency: str, amount: str
) -> None:
    body = {"amount": amount, "currency": currency}
    for path in (PATH, "/create_transaction"):
        document = refused(server.post(path, body, key=world.shop.key), 422, "invalid_input")
        assert [error["field"] for error in document["errors"]] == ["amount"]


WRONG_FIELDS = {
    "currency in lower case": ("currency", "rub"),
    "currency of nobody": ("currency", "XXX"),
    "currency of a metal": ("currency", "XAU"),
    "crypto asset in lower case": ("currency", "usdt"),
    "crypto asset that is not listed": ("currency", "DOGE"),
    "currency too long": ("currency", "USDTTT"),
    "currency empty": ("currency", ""),
    "currency with line break": ("currency", "RUB\n"),
    "currency with NUL": ("currency", "RUB\0"),
    "currency a number": ("currency", 643),
    "currency Cyrillic": ("currency", "РУБ"),
    "rate": ("rate", "0"),
    "commission_rate": ("commission_rate", "0"),
    "commission": ("commission", "0"),
    "fee_schedule": ("fee_schedule", {}),
    "fixed": ("fixed", "1.00"),
    "at": ("at", "2026-01-01T00:00:00Z"),
    "id": ("id", UNKNOWN),
    "reference": ("reference", "x"),
    "unknown with a lone surrogate": ("\ud800", 1),
    "user_id of a merchant's key": ("user_id", UNKNOWN),
    "user_id malformed": ("user_id", "1"),
    "user_id a number": ("user_id", 1),
}


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_wrong_or_unknown_field_is_422(
    server: Http, world: World, name: str, value: object
) -> None:
    body = json.dumps({"amount": "1.00", name: value}).encode()
    document = refused(server.post(PATH, body, key=world.shop.key), 422, "invalid_input")
    shown = name.encode("ascii", "backslashreplace").decode()
    assert [error["field"] for error in document["errors"]] == [shown]


def test_no_object_and_no_amount_are_422(server: Http, world: World) -> None:
    for body, field in ((b"[]", "body"), (b"null", "body"), (b"{}", "amount")):
        document = refused(server.post(PATH, body, key=world.shop.key), 422, "invalid_input")
        assert [error["field"] for error in document["errors"]] == [field]


@pytest.mark.parametrize("members", [{}, {"user_id": UNKNOWN}], ids=["nobody", "unknown"])
def test_an_admins_key_names_a_merchant(
    server: Http, world: World, members: dict[str, str]
) -> None:
    reply = server.post(PATH, {"amount": "1.00", **members}, key=world.admin.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["user_id"]


def test_a_deactivated_merchant_is_422_for_an_admin(
    server: Http, world: World, superuser: Engine
) -> None:
    with superuser.connect() as connection:
        left = connection.scalar(text("SELECT id FROM users WHERE NOT active"))
    reply = server.post(PATH, {"amount": "1.00", "user_id": str(left)}, key=world.admin.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["user_id"]


@pytest.mark.parametrize("name", ["revoked", "expired", "deactivated", "unknown"])
def test_a_key_that_opens_nothing_is_401(server: Http, world: World, name: str) -> None:
    reply = server.post(PATH, {"amount": "1.00"}, key=world.keys[name])
    refused(reply, 401, "unauthenticated")


def test_a_key_without_the_scope_is_403(server: Http, world: World) -> None:
    reply = server.post(PATH, {"amount": "1.00"}, key=world.keys["writer"])
    assert refused(reply, 403, "insufficient_scope")["required_scope"] == "read"


@pytest.mark.parametrize("key", ["", "a,b", "ü", "x" * 256, "a b"])
def test_an_idempotency_key_must_be_one(server: Http, world: World, key: str) -> None:
    reply = server.post(
        PATH,
        {"amount": "1.00"},
        key=world.shop.key,
        headers={"Idempotency-Key": key.encode().decode("latin-1")},
    )
    refused(reply, 400, "malformed_request")


@pytest.mark.parametrize("media_type", ["text/plain", "application/jsonp", ""])
def test_only_json_is_taken(server: Http, world: World, media_type: str) -> None:
    reply = server.post(
        PATH, {"amount": "1.00"}, key=world.shop.key, headers={"Content-Type": media_type}
    )
    refused(reply, 415, "unsupported_media_type")


def test_a_body_over_the_limit_is_413(server: Http, world: World) -> None:
    body = b'{"amount":"1.00"}' + b" " * 65_536
    refused(server.post(PATH, body, key=world.shop.key), 413, "payload_too_large")


def test_a_query_has_no_place_here(server: Http, world: World) -> None:
    reply = server.post(f"{PATH}?amount=1", {"amount": "1.00"}, key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["amount"]


def test_get_is_405(server: Http, world: World) -> None:
    refused(server.call("GET", PATH, key=world.shop.key), 405, "method_not_allowed")
