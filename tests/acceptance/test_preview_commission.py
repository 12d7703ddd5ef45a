"""What a commission would be: the same that creating a transaction says, and nothing written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from standart.api import schemas
from standart.db import autocommit
from standart.encryption import Keyring
from standart.models import Scope
from tests.builders import TestUser, make_key, make_user, row_counts
from tests.integration.fees import schedule

PATH = "/preview_commission"


def post(client: FlaskClient, who: TestUser, path: str = PATH, **members: Any) -> Any:
    return client.post(path, json={"amount": "100.00", **members}, headers=who.headers)


def test_the_plain_rate_is_shown_with_its_calculation(
    client: FlaskClient, merchant: TestUser
) -> None:
    reply = post(client, merchant)
    assert reply.status_code == 200
    assert json.loads(reply.data) == {
        "amount": "100.00",
        "currency": "RUB",
        "commission_rate": "0.03",
        "commission": "3.00",
        "net": "97.00",
        "fee_schedule": None,
        "calculation": {
            "rule": "fee-1",
            "rounding": "half-up",
            "steps": [
                "100.00 × 0.03 = 3, rounded half-up: 3.00",
                "net: 100.00 - 3.00 = 97.00",
            ],
        },
    }


@pytest.mark.parametrize(
    ("currency", "amount"),
    [("RUB", "100.00"), ("JPY", "12345"), ("KWD", "0.005"), ("USDT", "7.000001"), ("BTC", "1")],
)
def test_a_schedule_is_shown_as_the_transaction_will_show_it(
    client: FlaskClient, engine: Engine, merchant: TestUser, currency: str, amount: str
) -> None:
    schedule(engine, merchant, "0.029", 3, 5, 900, currency=currency)
    asked = {"amount": amount, "currency": currency}
    reply = post(client, merchant, **asked)
    shown = json.loads(reply.data)
    made = post(client, merchant, "/create_transaction", **asked).json
    assert {name: shown[name] for name in shown if name != "calculation"} == {
        name: made[name] for name in shown if name != "calculation"
    }
    assert msgspec.json.decode(reply.data, type=schemas.CommissionPreview).fee_schedule is not None
    assert list(shown) == list(schemas.CommissionPreview.__struct_fields__)


@pytest.mark.parametrize("literal", ["100", "100.0", '"100.00"'])
def test_an_amount_may_be_a_number(client: FlaskClient, merchant: TestUser, literal: str) -> None:
    reply = client.post(
        PATH,
        data=f'{{"amount": {literal}}}',
        content_type="application/json",
        headers=merchant.headers,
    )
    assert json.loads(reply.data)["amount"] == "100.00"


def test_an_admin_names_the_merchant(
    client: FlaskClient, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    shop = make_user(engine, keyring, currency="JPY", rate="0.5")
    shown = post(client, admin, amount="3", user_id=str(shop.id)).json
    assert (shown["currency"], shown["commission"], shown["net"]) == ("JPY", "2", "1")


def test_a_preview_without_a_key_writes_nothing(
    client: FlaskClient, engine: Engine, merchant: TestUser
) -> None:
    with autocommit(engine) as connection:
        before = row_counts(connection)
        assert post(client, merchant).status_code == 200
        assert row_counts(connection) == before


def test_a_key_keeps_the_answer_and_is_for_one_question(
    client: FlaskClient, engine: Engine, merchant: TestUser
) -> None:
    headers = {**merchant.headers, "Idempotency-Key": "one"}
    first = client.post(PATH, json={"amount": "100.00"}, headers=headers)
    schedule(engine, merchant, "0.5")
    again = client.post(PATH, json={"amount": "100.00"}, headers=headers)
    other = client.post(PATH, json={"amount": "200.00"}, headers=headers)

    assert json.loads(first.data)["commission"] == "3.00"
    assert "Idempotent-Replayed" not in first.headers
    assert (again.status_code, again.data) == (200, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, json.loads(other.data)["code"]) == (422, "idempotency_key_reused")
    assert post(client, merchant).json["commission"] == "50.00"
    with autocommit(engine) as connection:
        assert row_counts(connection)["idempotency_keys"] == 1


def test_an_error_keeps_no_key(client: FlaskClient, engine: Engine, merchant: TestUser) -> None:
    headers = {**merchant.headers, "Idempotency-Key": "one"}
    wrong = client.post(PATH, json={"amount": "1.001"}, headers=headers)
    right = client.post(PATH, json={"amount": "1.00"}, headers=headers)
    assert (wrong.status_code, right.status_code) == (422, 200)


def test_a_key_of_another_kind_is_not_enough(
    client: FlaskClient, engine: Engine, merchant: TestUser
) -> None:
    key = make_key(engine, merchant, Scope.WRITE)
    reply = client.post(PATH, json={"amount": "1.00"}, headers={"Authorization": f"Bearer {key}"})
    assert (reply.status_code, json.loads(reply.data)["required_scope"]) == (403, "read")
