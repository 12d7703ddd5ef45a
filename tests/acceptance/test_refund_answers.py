"""What the API answers about refunds and late payments when all is well."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from standart.api import schemas
from standart.encryption import Keyring
from standart.models import Role, Scope
from tests.builders import TestUser, make_key, make_transaction, make_user
from tests.integration.movements import paid

Post = Callable[..., Any]


@pytest.fixture
def post(engine: Engine, client: FlaskClient, merchant: TestUser) -> Post:
    """Post as the merchant with a key that may refund, unless ``who`` says otherwise."""
    own = make_key(engine, merchant, Scope.READ, Scope.REFUND)

    def send(path: str, who: TestUser | None = None, key: str = "", **members: Any) -> Any:
        headers = who.headers if who else {"Authorization": f"Bearer {own}"}
        if key:
            headers = {**headers, "Idempotency-Key": key}
        return client.post(path, json=members, headers=headers)

    return send


@pytest.mark.parametrize(
    ("literal", "amount"), [('"40.00"', "40.00"), ("40", "40.00"), ("0.1", "0.10"), ("null", None)]
)
def test_a_refund_has_the_form_of_its_schema(
    client: FlaskClient,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    literal: str,
    amount: str | None,
) -> None:
    paid(engine, admin, merchant)
    made = paid(engine, admin, merchant)
    own = make_key(engine, merchant, Scope.READ, Scope.REFUND)
    reply = client.post(
        "/create_refund",
        data=b'{"id":"%s","amount":%s}' % (str(made).upper().encode(), literal.encode()),
        content_type="application/json",
        headers={"Authorization": f"Bearer {own}"},
    )
    assert reply.status_code == 201
    told = msgspec.json.decode(reply.data, type=schemas.Refund)
    assert (told.amount, told.transaction_id) == (amount or "100.00", str(made))
    assert list(json.loads(reply.data)) == list(schemas.Refund.__struct_fields__)
    for who in (merchant, admin):
        again = client.get(f"/check_refund?id={told.id.upper()}", headers=who.headers)
        assert (again.status_code, again.data) == (200, reply.data)
    listed = client.get(f"/refunds?transaction_id={made}", headers=merchant.headers)
    page = msgspec.json.decode(listed.data, type=schemas.RefundPage)
    assert (page.data, page.next_cursor) == ([told], None)
    checked = client.get(f"/check_transaction?id={made}", headers=merchant.headers).json
    assert (checked["status"], checked["refunded_amount"]) == ("confirmed", told.amount)


def test_a_key_replays_the_same_bytes_and_refuses_another_body(
    engine: Engine, merchant: TestUser, admin: TestUser, post: Post
) -> None:
    made = str(paid(engine, admin, merchant))
    first = post("/create_refund", key="k", id=made, amount="10.00")
    again = post("/create_refund", key="k", id=made, amount="10.00")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert [each.headers.get("Idempotent-Replayed") for each in (first, again)] == [None, "true"]
    for members in ({"amount": "10.01"}, {"amount": "10.00", "refund_commission": True}, {}):
        reply = post("/create_refund", key="k", id=made, **members)
        assert (reply.status_code, reply.json["code"]) == (422, "idempotency_key_reused")
    other = post("/create_refund", key="k2", id=made, amount="10.00")
    assert other.json["id"] != first.json["id"]


def test_a_refusal_is_not_kept(
    engine: Engine, merchant: TestUser, admin: TestUser, post: Post
) -> None:
    made = str(paid(engine, admin, merchant))
    assert post("/create_refund", key="k", id=made).json["code"] == "insufficient_balance"
    paid(engine, admin, merchant)
    assert post("/create_refund", key="k", id=made).status_code == 201


def test_pages_of_refunds_follow_each_other_without_gap_or_repeat(
    client: FlaskClient, engine: Engine, merchant: TestUser, admin: TestUser, post: Post
) -> None:
    made = str(paid(engine, admin, merchant))
    for _ in range(7):
        post("/create_refund", id=made, amount="1.00")
    whole = client.get("/refunds?limit=100", headers=merchant.headers).json
    assert (len(whole["data"]), whole["next_cursor"]) == (7, None)
    seen, cursor = [], ""
    while cursor is not None:
        query = "?limit=3" + (f"&cursor={cursor}" if cursor else "")
        page = client.get(f"/refunds{query}", headers=merchant.headers).json
        seen += page["data"]
        cursor = page["next_cursor"]
    assert seen == whole["data"]
    moment = whole["data"][3]["created_at"]
    newer = client.get(f"/refunds?created_from={moment}", headers=merchant.headers).json["data"]
    assert newer == whole["data"][:4]


def test_a_cursor_of_another_caller_or_filter_is_422(
    client: FlaskClient, engine: Engine, merchant: TestUser, admin: TestUser, post: Post
) -> None:
    made = str(paid(engine, admin, merchant))
    for _ in range(2):
        post("/create_refund", id=made, amount="1.00")
    cursor = client.get("/refunds?limit=1", headers=merchant.headers).json["next_cursor"]
    for path, who in (
        (f"/refunds?cursor={cursor}", admin),
        (f"/refunds?cursor={cursor}&currency=RUB", merchant),
        (f"/transactions?cursor={cursor}", merchant),
    ):
        reply = client.get(path, headers=who.headers)
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (422, "cursor")


def test_a_refund_wakes_the_worker_once(
    app: Flask, engine: Engine, merchant: TestUser, admin: TestUser, post: Post
) -> None:
    woken: list[str] = []
    app.extensions["standart.nudge"] = lambda: woken.append("now")
    made = str(paid(engine, admin, merchant))
    for _ in range(2):
        assert post("/create_refund", key="k", id=made, amount="1.00").status_code == 201
    assert post("/create_refund", id=made, amount="1000.00").status_code == 409
    assert woken == ["now"]


def test_a_late_payment_is_answered_as_a_transaction_and_wakes_the_worker(
    app: Flask,
    client: FlaskClient,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    post: Post,
) -> None:
    woken: list[str] = []
    app.extensions["standart.nudge"] = lambda: woken.append("now")
    made = make_transaction(engine, merchant, reference="order-1")["id"]
    post("/cancel_transaction", merchant, id=made)
    woken.clear()

    first = post("/record_late_payment", admin, key="k", id=made)

    assert first.status_code == 201
    told = msgspec.json.decode(first.data, type=schemas.Transaction)
    assert list(json.loads(first.data)) == list(schemas.Transaction.__struct_fields__)
    assert (told.late_for, told.status, told.reference) == (made, "confirmed", "order-1")
    assert woken == ["now"]
    again = post("/record_late_payment", admin, key="k", id=made)
    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert woken == ["now"]
    repeated = post("/record_late_payment", admin, id=made)
    assert (repeated.status_code, repeated.data) == (200, first.data)
    both = client.get("/transactions?reference=order-1", headers=merchant.headers).json["data"]
    assert [each["id"] for each in both] == [told.id, made]
    assert both[1]["status"] == "canceled"
    refund = post("/create_refund", admin, id=told.id, amount="1.00")
    assert refund.status_code == 201


def test_above_the_sum_of_the_settings_two_admins_record_it(
    make_app: Callable[..., Flask],
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
) -> None:
    client = make_app(four_eyes_above={"RUB": 99_99}).test_client()
    second = make_user(engine, keyring, role=Role.ADMIN)
    made = make_transaction(engine, merchant)["id"]
    client.post("/cancel_transaction", json={"id": made}, headers=merchant.headers)

    def record(who: TestUser, key: str) -> Any:
        headers = {**who.headers, "Idempotency-Key": key}
        return client.post("/record_late_payment", json={"id": made}, headers=headers)

    waiting = record(admin, "a")
    assert (waiting.status_code, waiting.json["id"], waiting.json["approvals"]) == (202, made, 1)
    assert msgspec.json.decode(waiting.data, type=schemas.Transaction).status == "canceled"
    replayed = record(admin, "a")
    assert (replayed.status_code, replayed.data) == (202, waiting.data)
    refused = record(admin, "b")
    assert (refused.status_code, refused.json["code"]) == (403, "second_person_required")
    made_late = record(second, "c")
    assert (made_late.status_code, made_late.json["approvals"]) == (201, 2)
    assert UUID(made_late.json["late_for"]) == UUID(made)


def test_the_audit_log_says_from_where(
    client: FlaskClient, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = make_transaction(engine, merchant)["id"]
    client.post("/cancel_transaction", json={"id": made}, headers=merchant.headers)
    headers = {**admin.headers, "X-Request-Id": "call-17"}
    late = client.post("/record_late_payment", json={"id": made}, headers=headers).json
    refund = client.post(
        "/create_refund", json={"id": late["id"], "amount": "1.00"}, headers=headers
    ).json
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT object_id, channel, request_id, ip, actor_name FROM audit_log"
                " WHERE object_id IN (:late, :refund) ORDER BY id"
            ),
            {"late": late["id"], "refund": refund["id"]},
        ).all()
    about = ("api", "call-17", "127.0.0.1", admin.name)
    assert [tuple(row) for row in rows] == [(late["id"], *about), (refund["id"], *about)]
