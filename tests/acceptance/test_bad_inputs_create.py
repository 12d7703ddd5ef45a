"""Every class of bad body and amount: the exact answer, and not one row written."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.http import Http, raw_status, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

LIMIT = 64 * 1024


def amount(value: str) -> bytes:
    """A body whose amount is the JSON text ``value``."""
    return b'{"amount":%s}' % value.encode()


def field(name: str, value: object) -> bytes:
    return json.dumps({"amount": "1.00", name: value}).encode()


NOT_JSON = {
    "empty": b"",
    "blank": b"  \n",
    "trailing object": b'{"amount":1}{}',
    "trailing comma": b'{"amount":"1",}',
    "trailing text": b'{"amount":"1"} x',
    "comment": b'{"amount":"1"/* */}',
    "single quotes": b"{'amount':'1'}",
    "key twice": b'{"amount":"1.00","amount":"999.00"}',
    "key twice, once escaped": b'{"amount":"1.00","\\u0061mount":"999.00"}',
    "key twice inside": b'{"amount":"1","metadata":{"a":"1","a":"2"}}',
    "NaN": amount("NaN"),
    "Infinity": amount("Infinity"),
    "-Infinity": amount("-Infinity"),
    "NaN elsewhere": b'{"amount":"1","metadata":NaN}',
    "5000 digits": amount("9" * 5000),
    "5000 fractional digits": amount("1." + "9" * 5000),
    "5000 digits elsewhere": b'{"amount":"1","reference":%s}' % (b"9" * 5000),
    "leading zero": amount("01"),
    "plus": amount("+1"),
    "no whole part": amount(".5"),
    "no fraction": amount("1."),
    "hexadecimal": amount("0x10"),
    "deep arrays": b"[" * LIMIT,
    "deep objects": b'{"a":' * 10_000,
    "deep in a field": b'{"amount":' + b"[" * 50_000,
    "UTF-16": '{"amount":"1"}'.encode("utf-16"),
    "UTF-16 without mark": '{"amount":"1"}'.encode("utf-16-le"),
    "UTF-32": '{"amount":"1"}'.encode("utf-32"),
    "UTF-8 with mark": b'\xef\xbb\xbf{"amount":"1"}',
    "invalid UTF-8": b'{"amount":"1","reference":"\xff"}',
    "overlong UTF-8": b'{"amount":"1","reference":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"amount":"1","reference":"\xed\xa0\x80"}',
    "raw control character": b'{"amount":"1","reference":"a\x00b"}',
    "raw line break": b'{"amount":"1","reference":"a\nb"}',
    "truncated": b'{"amount":"1"',
    "bad escape": b'{"amount":"1","reference":"\\x41"}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_400(server: Http, world: World, body: bytes) -> None:
    refused(server.post("/create_transaction", body, key=world.shop.key), 400, "malformed_request")


NO_OBJECT = {"null": b"null", "array": b"[]", "text": b'"x"', "number": b"1", "true": b"true"}


@pytest.mark.parametrize("body", NO_OBJECT.values(), ids=NO_OBJECT)
def test_json_that_is_no_object_is_422(server: Http, world: World, body: bytes) -> None:
    reply = server.post("/create_transaction", body, key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["body"]


WRONG_AMOUNTS = (
    ["1e400", "1.005", "1e2", "1E2", "-0.0", "-1", "0", "0.00", "true", "false", "null"]
    + ['{"a":1}', '["1"]', "[]", "10000000000000.01", "9999999999999999999999"]
    + [
        json.dumps(text)
        for text in (
            *("NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "inf", "-0", "-0.00", "0", "0.00"),
            *("-1", "1e3", "1E+999999999", "1_000", "١٢", "１２", " 12\n", "12\n", " 12", "12 "),
            *("+5", ".5", "5.", "1.005", "1,50", "0x10", "", " ", "00.10", "01", "1.2.3", "½"),
            *("10000000000000.01", "10000000000001", "9" * 5000, "1\u0000", "\ud800", "1.00₽"),
        )
    ]
)


@pytest.mark.parametrize("value", WRONG_AMOUNTS, ids=lambda value: repr(value)[:40])
def test_a_wrong_amount_is_422(server: Http, world: World, value: str) -> None:
    reply = server.post("/create_transaction", amount(value), key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["amount"]


BIG = "x" * 501
WRONG_FIELDS = {
    "currency in lower case": ("currency", "usd"),
    "currency too short": ("currency", "US"),
    "currency of nobody": ("currency", "XXX"),
    "currency with line break": ("currency", "RUB\n"),
    "currency a number": ("currency", 643),
    "status": ("status", "confirmed"),
    "balance": ("balance", "1"),
    "net": ("net", "1"),
    "commission": ("commission", "0"),
    "commission_rate": ("commission_rate", "0"),
    "created_at": ("created_at", "2026-01-01T00:00:00Z"),
    "expires_at": ("expires_at", "2999-01-01T00:00:00Z"),
    "finished_at": ("finished_at", None),
    "__proto__": ("__proto__", {}),
    "unknown with a lone surrogate": ("\ud800", 1),
    "unknown with markup": ("<script>", 1),
    "reference empty": ("reference", ""),
    "reference long": ("reference", "x" * 129),
    "reference a number": ("reference", 5),
    "reference a boolean": ("reference", True),
    "reference with NUL": ("reference", "a\0b"),
    "reference with line break": ("reference", "a\n"),
    "reference with lone surrogate": ("reference", "\ud800"),
    "description long": ("description", BIG),
    "description with tab": ("description", "a\tb"),
    "description with C1": ("description", "a\x85b"),
    "description with DEL": ("description", "\x7f"),
    "description with lone surrogate": ("description", "x\udfffy"),
    "description with card": ("description", "card 4111 1111 1111 1111"),
    "description with card in dashes": ("description", "5555-5555-5555-4444"),
    "description with Mir card": ("description", "2200123456789019 спасибо"),
    "metadata null inside": ("metadata", {"a": None}),
    "metadata nested": ("metadata", {"a": {"b": "c"}}),
    "metadata array": ("metadata", ["a"]),
    "metadata text": ("metadata", "a"),
    "metadata number inside": ("metadata", {"a": 1}),
    "metadata fraction inside": ("metadata", {"a": 1.5}),
    "metadata boolean inside": ("metadata", {"a": True}),
    "metadata with 51 keys": ("metadata", {f"k{n}": "v" for n in range(51)}),
    "metadata long value": ("metadata", {"a": BIG}),
    "metadata long key": ("metadata", {"k" * 41: "v"}),
    "metadata empty key": ("metadata", {"": "v"}),
    "metadata odd key": ("metadata", {"a b": "v"}),
    "metadata key with line break": ("metadata", {"a\n": "v"}),
    "metadata Cyrillic key": ("metadata", {"ключ": "v"}),
    "metadata NUL in key": ("metadata", {"a\0": "v"}),
    "metadata NUL in value": ("metadata", {"a": "\0"}),
    "metadata lone surrogate": ("metadata", {"a": "\ud83d"}),
    "id empty": ("id", ""),
    "id without dashes": ("id", "0198f0c27d3e7c4b9a513f0d7f1c2b6a"),
    "id in braces": ("id", "{0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a}"),
    "id as URN": ("id", "urn:uuid:0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"),
    "id with line break": ("id", "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a\n"),
    "id with fullwidth digit": ("id", "０198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"),
    "id a number": ("id", 1),
    "id of 10 KB": ("id", "0" * 10_240),
    "user_id of a merchant's key": ("user_id", "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"),
    "user_id malformed": ("user_id", "1"),
}


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_wrong_or_unknown_field_is_422(
    server: Http, world: World, name: str, value: object
) -> None:
    reply = server.post("/create_transaction", field(name, value), key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    shown = name.encode("ascii", "backslashreplace").decode()
    assert [error["field"] for error in document["errors"]] == [shown]


def test_every_wrong_field_is_named_at_once(server: Http, world: World) -> None:
    body = {"currency": 1, "reference": "", "surprise": 1}
    document = refused(
        server.post("/create_transaction", body, key=world.shop.key), 422, "invalid_input"
    )
    named = {error["field"] for error in document["errors"]}
    assert named == {"amount", "currency", "reference", "surprise"}


@pytest.mark.parametrize(
    ("currency", "value"), [("JPY", "1.5"), ("KWD", "1.2345"), ("RUB", "1.234"), ("CLF", "0.00001")]
)
def test_more_digits_than_the_currency_has_are_422(
    server: Http, world: World, currency: str, value: str
) -> None:
    body = {"amount": value, "currency": currency}
    document = refused(
        server.post("/create_transaction", body, key=world.shop.key), 422, "invalid_input"
    )
    assert [error["field"] for error in document["errors"]] == ["amount"]


ADMINS = {
    "no user": {},
    "unknown user": {"user_id": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"},
}


@pytest.mark.parametrize("members", ADMINS.values(), ids=ADMINS)
def test_an_admins_key_names_a_merchant(
    server: Http, world: World, members: dict[str, str]
) -> None:
    body = {"amount": "1.00", **members}
    document = refused(
        server.post("/create_transaction", body, key=world.admin.key), 422, "invalid_input"
    )
    assert [error["field"] for error in document["errors"]] == ["user_id"]


def test_an_id_that_is_taken_shows_nothing(server: Http, world: World) -> None:
    own = {"amount": "7.00", "id": world.ids["pending"]}
    foreign = {"amount": "100.00", "id": world.ids["foreign"]}
    answers = [
        refused(server.post("/create_transaction", body, key=world.shop.key), 409, "id_conflict")
        for body in (own, foreign)
    ]
    for answer in answers:
        answer.pop("request_id")
    assert answers[0] == answers[1]


MEDIA_TYPES = {
    "text": "text/plain",
    "form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data; boundary=x",
    "problem": "application/problem+json",
    "other charset": "application/json; charset=utf-16",
    "two parameters": "application/json; charset=utf-8; charset=utf-16",
    "prefix": "application/jsonp",
    "empty": "",
}


@pytest.mark.parametrize("media_type", MEDIA_TYPES.values(), ids=MEDIA_TYPES)
def test_only_json_is_taken(server: Http, world: World, media_type: str) -> None:
    reply = server.post(
        "/create_transaction",
        {"amount": "1.00"},
        key=world.shop.key,
        headers={"Content-Type": media_type},
    )
    refused(reply, 415, "unsupported_media_type")


def test_a_body_without_media_type_is_415(server: Http, world: World) -> None:
    reply = server.call(
        "POST", "/create_transaction", key=world.shop.key, body=b'{"amount":"1.00"}'
    )
    refused(reply, 415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity", "identity, gzip", ""])
def test_an_encoded_body_is_415(server: Http, world: World, encoding: str) -> None:
    reply = server.post(
        "/create_transaction",
        {"amount": "1.00"},
        key=world.shop.key,
        headers={"Content-Encoding": encoding},
    )
    refused(reply, 415, "unsupported_media_type")


def padded(size: int) -> bytes:
    """A body of exactly ``size`` bytes that would be fine but for its amount."""
    return b'{"amount":"0"' + b" " * (size - 14) + b"}"


def test_a_body_of_the_limit_is_read(server: Http, world: World) -> None:
    reply = server.post("/create_transaction", padded(LIMIT), key=world.shop.key)
    refused(reply, 422, "invalid_input")


@pytest.mark.parametrize("size", [LIMIT + 1, 10 * LIMIT])
def test_a_body_over_the_limit_is_413(server: Http, world: World, size: int) -> None:
    reply = server.post("/create_transaction", padded(size), key=world.shop.key)
    refused(reply, 413, "payload_too_large")


@pytest.mark.parametrize(
    "data",
    [padded(LIMIT + 1), b'{"amount":"1.00"}' + b" " * LIMIT],
    ids=["broken by a cut", "still fine after a cut"],
)
def test_a_chunked_body_over_the_limit_is_413(server: Http, world: World, data: bytes) -> None:
    request = (
        b"POST /create_transaction HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    ) % (world.shop.key.encode(), len(data), data)
    received = server.raw(request)
    assert raw_status(received) == 413
    assert b"application/problem+json" in received
    assert b'"payload_too_large"' in received


def test_query_parameters_have_no_place_in_a_post(server: Http, world: World) -> None:
    reply = server.post(
        "/create_transaction?_method=DELETE", {"amount": "1.00"}, key=world.shop.key
    )
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == ["_method"]
