"""What the API answers when all is well: bytes, headers, repeats and pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from standart.api import schemas
from standart.encryption import Keyring
from standart.services.key_service import generate
from tests.builders import TestUser, make_endpoint, make_transaction, make_user
from tests.integration.query_count import hearing

UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def post(
    client: FlaskClient, path: str, who: TestUser, idempotency_key: str = "", **members: Any
) -> Any:
    headers = dict(who.headers)
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    return client.post(path, json=members, headers=headers)


def create(client: FlaskClient, who: TestUser, **members: Any) -> Any:
    return post(client, "/create_transaction", who, **{"amount": "100.00", **members})


@pytest.mark.parametrize(
    ("literal", "amount", "commission", "net"),
    [
        ('"100.00"', "100.00", "3.00", "97.00"),
        ("100", "100.00", "3.00", "97.00"),
        ("0.1", "0.10", "0.00", "0.10"),
        ("1.15", "1.15", "0.03", "1.12"),
        ("0.16", "0.16", "0.00", "0.16"),
        ("0.17", "0.17", "0.01", "0.16"),
        ('"0.01"', "0.01", "0.00", "0.01"),
        ("8.50", "8.50", "0.26", "8.24"),
        ("10000000000000", "10000000000000.00", "300000000000.00", "9700000000000.00"),
        ("9999999999999.99", "9999999999999.99", "300000000000.00", "9699999999999.99"),
    ],
)
def test_amounts_are_exact(
    client: FlaskClient, merchant: TestUser, literal: str, amount: str, commission: str, net: str
) -> None:
    reply = client.post(
        "/create_transaction",
        data=b'{"amount": %s}' % literal.encode(),
        content_type="application/json; charset=UTF-8",
        headers=merchant.headers,
    )
    assert reply.status_code == 201
    made = reply.json
    assert (made["amount"], made["commission"], made["net"]) == (amount, commission, net)


@pytest.mark.parametrize(("rate", "net"), [("0", "0.01"), ("0.5", "0.00"), ("1", "0.00")])
def test_a_commission_may_leave_all_or_nothing(
    client: FlaskClient, engine: Engine, keyring: Keyring, rate: str, net: str
) -> None:
    shop = make_user(engine, keyring, rate=rate)
    assert create(client, shop, amount="0.01").json["net"] == net


def test_a_created_transaction_has_the_form_of_the_contract(
    client: FlaskClient, merchant: TestUser
) -> None:
    sent = {
        "currency": "JPY",
        "reference": "заказ 17",
        "description": '<b>&amp; 😀 =HYPERLINK("x")',
        "metadata": {"a.b-c_D": "<script>", "k": "=1+1", "__proto__": "", "x": "v" * 500},
    }
    reply = create(client, merchant, amount="100", **sent)
    made = msgspec.json.decode(reply.data, type=schemas.Transaction)
    assert (made.amount, made.net, made.status) == ("100", "97", "pending")
    assert {name: getattr(made, name) for name in sent} == sent
    assert made.user_id == str(merchant.id)
    assert (made.reason, made.finished_at) == (None, None)
    assert list(json.loads(reply.data)) == list(schemas.Transaction.__struct_fields__)
    assert client.get(f"/check_transaction?id={made.id}", headers=merchant.headers).data == (
        reply.data
    )


def test_null_and_absent_mean_the_same(client: FlaskClient, merchant: TestUser) -> None:
    nothing = dict.fromkeys(("currency", "id", "reference", "description", "metadata"))
    made = create(client, merchant, user_id=None, **nothing).json
    assert (made["currency"], made["metadata"], made["reference"]) == ("RUB", {}, None)


def test_an_admin_creates_for_a_merchant(
    client: FlaskClient, admin: TestUser, merchant: TestUser
) -> None:
    made = create(client, admin, user_id=str(merchant.id).upper())
    assert (made.status_code, made.json["user_id"]) == (201, str(merchant.id))


def test_a_clients_own_id_repeats_safely(client: FlaskClient, merchant: TestUser) -> None:
    own = "8B0E7A5C-5B1F-4F1E-9B8F-0A1B2C3D4E5F"
    first = create(client, merchant, id=own, metadata={"a": "1", "b": "2"})
    again = create(client, merchant, id=own.lower(), amount=100, metadata={"b": "2", "a": "1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json["id"] == own.lower()
    assert first.data == again.data
    assert "Idempotent-Replayed" not in again.headers
    other = create(client, merchant, id=own, amount="100.01")
    assert (other.status_code, other.json["code"]) == (409, "id_conflict")


def test_an_idempotency_key_replays_the_same_bytes(
    client: FlaskClient, merchant: TestUser, engine: Engine
) -> None:
    key = "!\"#$%&'()*+-./:;<=>?@[]^_`{|}~".ljust(255, "k")
    first = create(client, merchant, idempotency_key=key)
    again = create(client, merchant, idempotency_key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["X-Request-Id"] != again.headers["X-Request-Id"]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM transactions")) == 1


def test_an_idempotency_key_with_another_body_is_422(
    client: FlaskClient, merchant: TestUser
) -> None:
    create(client, merchant, idempotency_key="k")
    for members in ({"amount": "100.01"}, {"metadata": {"a": "b"}}, {"reference": "r"}):
        reply = create(client, merchant, idempotency_key="k", **members)
        assert (reply.status_code, reply.json["code"]) == (422, "idempotency_key_reused")


def test_an_idempotency_key_belongs_to_a_user_and_a_path(
    client: FlaskClient, merchant: TestUser, admin: TestUser, engine: Engine, keyring: Keyring
) -> None:
    stranger = make_user(engine, keyring)
    mine = create(client, merchant, idempotency_key="k")
    theirs = create(client, stranger, idempotency_key="k", amount="5.00")
    assert (mine.status_code, theirs.status_code) == (201, 201)
    canceled = post(
        client, "/cancel_transaction", merchant, idempotency_key="k", id=mine.json["id"]
    )
    assert canceled.json["status"] == "canceled"
    confirmed = post(
        client, "/confirm_transaction", admin, idempotency_key="k", id=theirs.json["id"]
    )
    assert confirmed.json["status"] == "confirmed"


def test_an_error_is_not_kept(client: FlaskClient, merchant: TestUser) -> None:
    path = "/cancel_transaction"
    missing = post(
        client, path, merchant, idempotency_key="k", id="0" * 8 + "-0000" * 3 + "-" + "0" * 12
    )
    assert missing.status_code == 404
    made = create(client, merchant).json
    assert post(client, path, merchant, idempotency_key="k", id=made["id"]).status_code == 200


@pytest.mark.parametrize(("act", "state"), [("cancel", "canceled"), ("confirm", "confirmed")])
def test_a_settled_transaction_is_answered_again_unchanged(
    client: FlaskClient, merchant: TestUser, admin: TestUser, act: str, state: str
) -> None:
    made = create(client, merchant).json
    replies = [
        post(client, f"/{act}_transaction", admin, idempotency_key=key, id=made["id"])
        for key in ("", "k", "k", "")
    ]
    assert [reply.status_code for reply in replies] == [200] * 4
    assert {reply.data for reply in replies} == {replies[0].data}
    assert replies[0].json["status"] == state
    assert [reply.headers.get("Idempotent-Replayed") for reply in replies] == [
        None,
        None,
        "true",
        None,
    ]


def test_an_ending_wakes_the_worker(
    app: Flask, client: FlaskClient, merchant: TestUser, admin: TestUser
) -> None:
    woken: list[str] = []
    app.extensions["standart.nudge"] = lambda: woken.append("now")
    first, second = create(client, merchant).json, create(client, merchant).json
    assert woken == []
    post(client, "/confirm_transaction", admin, id=first["id"])
    assert woken == ["now"]
    post(client, "/cancel_transaction", merchant, id=second["id"], reason="Не пришёл")
    assert woken == ["now"] * 2


def test_a_creation_wakes_the_worker_where_somebody_asked_for_it(
    app: Flask, client: FlaskClient, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    woken: list[str] = []
    app.extensions["standart.nudge"] = lambda: woken.append("now")
    make_endpoint(engine, keyring, merchant, "transaction.created", url="https://a.example/")
    for _ in range(2):
        reply = post(client, "/create_transaction", merchant, "k", amount="1.00")
        assert reply.status_code == 201
    assert woken == ["now"], "a kept answer tells nobody anew"
    (told,) = client.get("/events", headers=merchant.headers).json["data"]
    assert (told["type"], told["sequence"]) == ("transaction.created", 1)
    assert told["payload"]["data"] == reply.json
    assert client.get("/events", headers=merchant.headers).json == msgspec.to_builtins(
        msgspec.convert({"data": [told], "next_cursor": None}, schemas.EventPage)
    )


def test_an_adjustment_wakes_the_worker_once_it_is_posted(
    make_app: Callable[..., Flask], engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    app, woken = make_app(four_eyes_above={"RUB": 100}), list[str]()
    app.extensions["standart.nudge"] = lambda: woken.append("now")
    client = app.test_client()
    asked = {"user_id": str(merchant.id), "direction": "credit", "reason": "Counted anew"}
    small = post(client, "/create_adjustment", admin, amount="1.00", **asked)
    assert (small.status_code, woken) == (201, ["now"])
    large = post(client, "/create_adjustment", admin, amount="1.01", **asked)
    assert (large.status_code, woken) == (202, ["now"])


def test_the_audit_log_says_from_where(
    client: FlaskClient, merchant: TestUser, engine: Engine
) -> None:
    made = create(client, merchant).json
    headers = {**merchant.headers, "X-Request-Id": "call-17", "X-Forwarded-For": "6.6.6.6"}
    client.post("/cancel_transaction", json={"id": made["id"]}, headers=headers)
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT channel, request_id, ip, actor_name FROM audit_log WHERE object_id = :id"),
            {"id": made["id"]},
        ).one()
    assert tuple(row) == ("api", "call-17", "127.0.0.1", merchant.name)


def test_balances_and_events_tell_what_was_confirmed(
    client: FlaskClient, merchant: TestUser, admin: TestUser
) -> None:
    before = client.get("/balance", headers=merchant.headers)
    nothing = {"currency": "RUB", "balance": "0.00", "pending_payout": "0.00"}
    assert before.json == {"balances": [nothing]}
    made = create(client, merchant).json
    create(client, merchant, amount="5", currency="JPY")
    confirmed = post(client, "/confirm_transaction", admin, id=made["id"]).json
    after = client.get("/balance", headers=merchant.headers).data
    by_admin = client.get(f"/balance?user_id={merchant.id}", headers=admin.headers).data
    assert after == by_admin
    assert msgspec.json.decode(after, type=schemas.Balances).balances[0].balance == "97.00"
    listed = client.get("/events", headers=merchant.headers)
    page = msgspec.json.decode(listed.data, type=schemas.EventPage)
    (told,) = page.data
    assert (told.type, told.transaction_id) == ("transaction.confirmed", made["id"])
    assert (told.object_type, told.object_id) == ("transaction", made["id"])
    assert told.payload.data == confirmed
    one = client.get(f"/events/{told.id.upper()}", headers=merchant.headers)
    assert one.json == listed.json["data"][0]


def test_a_balance_of_a_moment_is_answered_with_that_moment(
    client: FlaskClient, merchant: TestUser, admin: TestUser
) -> None:
    made = create(client, merchant).json
    post(client, "/confirm_transaction", admin, id=made["id"])

    def balance(at: str) -> Any:
        return client.get("/balance", query_string={"at": at}, headers=merchant.headers).json

    assert balance(made["created_at"])["balances"][0]["balance"] == "0.00"
    first = balance("0001-01-01T00:00:00Z")
    assert first["at"] == "0001-01-01T00:00:00.000000Z"
    assert first["balances"] == [{"currency": "RUB", "balance": "0.00", "pending_payout": "0.00"}]
    assert balance("2020-01-01t03:00:00.5+03:00")["at"] == "2020-01-01T00:00:00.500000Z"


@pytest.mark.parametrize("path", ["/transactions", "/events"])
def test_pages_follow_each_other_without_gap_or_repeat(
    client: FlaskClient, engine: Engine, merchant: TestUser, path: str
) -> None:
    for number in range(7):
        made = make_transaction(engine, merchant, reference=str(number % 2))
        post(client, "/cancel_transaction", merchant, id=made["id"])
    whole = client.get(f"{path}?limit=100", headers=merchant.headers).json
    assert (len(whole["data"]), whole["next_cursor"]) == (7, None)
    moments = [row["created_at"] for row in whole["data"]]
    assert moments == sorted(moments, reverse=True)
    seen, cursor, sizes = [], "", []
    while cursor is not None:
        query = f"?limit={2 + len(sizes)}" + (f"&cursor={cursor}" if cursor else "")
        page = client.get(path + query, headers=merchant.headers).json
        seen += page["data"]
        sizes.append(len(page["data"]))
        cursor = page["next_cursor"]
    assert seen == whole["data"]
    assert sizes == [2, 3, 2]


def test_filters_narrow_a_list(client: FlaskClient, engine: Engine, merchant: TestUser) -> None:
    first = make_transaction(engine, merchant, reference="A b+c&ё")
    second = make_transaction(engine, merchant, currency="USD")
    third = make_transaction(engine, merchant)
    post(client, "/cancel_transaction", merchant, id=third["id"])

    def ids(**query: str) -> list[str]:
        reply = client.get("/transactions", query_string=query, headers=merchant.headers)
        assert reply.status_code == 200, reply.json
        return [row["id"] for row in reply.json["data"]]

    assert ids() == [third["id"], second["id"], first["id"]]
    assert ids(reference="A b+c&ё") == [first["id"]]
    assert ids(currency="USD") == [second["id"]]
    assert ids(status="canceled") == [third["id"]]
    assert ids(created_from=second["created_at"]) == [third["id"], second["id"]]
    assert ids(created_to=second["created_at"]) == [first["id"]]
    assert ids(created_from="0001-01-01T00:00:00+23:59") == ids()
    assert ids(created_from="9999-12-31T23:59:59.999999-23:59") == []
    assert ids(created_from="2026-01-01t00:00:00+03:00", limit="1") == [third["id"]]


HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}


def test_every_answer_has_a_request_id_and_safe_headers(
    client: FlaskClient, merchant: TestUser
) -> None:
    replies = [
        create(client, merchant),
        client.get("/transactions", headers=merchant.headers),
        client.get("/healthz"),
        client.get("/nowhere"),
        client.get("/balance"),
        client.get("/apispec.json"),
        client.get("/apidocs/"),
    ]
    for reply in replies:
        assert UUID_FORM.fullmatch(reply.headers["X-Request-Id"])
        assert {name: reply.headers[name] for name in HEADERS} == HEADERS
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in reply.headers
        assert "Set-Cookie" not in reply.headers
    assert len({reply.headers["X-Request-Id"] for reply in replies}) == len(replies)


def test_https_is_told_to_stay(client: FlaskClient) -> None:
    for path in ("/healthz", "/apispec.json", "/nowhere"):
        reply = client.get(path, base_url="https://localhost")
        assert reply.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_sane_request_id_is_kept(client: FlaskClient) -> None:
    for path in ("/healthz", "/nowhere", "/apispec.json"):
        reply = client.get(path, headers={"X-Request-Id": "Abc-1.2_3:4"})
        assert reply.headers["X-Request-Id"] == "Abc-1.2_3:4"


def test_a_wrong_checksum_asks_no_database(app: Flask, client: FlaskClient) -> None:
    key = generate()
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    with hearing(app.extensions["standart.engine"]) as asked:
        for given in (wrong, "sk_live_x", ""):
            headers = {"Authorization": f"Bearer {given}"}
            assert client.get("/transactions", headers=headers).status_code == 401
        assert asked == []
        headers = {"Authorization": f"Bearer {key}"}
        assert client.get("/transactions", headers=headers).status_code == 401
    assert len(asked) == 1


def test_the_scheme_is_not_case_sensitive(client: FlaskClient, merchant: TestUser) -> None:
    headers = {"Authorization": f"bearer {merchant.key}"}
    assert client.get("/balance", headers=headers).status_code == 200
