"""Refunds, adjustments and late payments in the panel: looked at once more, done once."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.models import Role
from standart.services import transaction_service
from tests.builders import ORIGIN, PASSWORD, TestUser, make_transaction, make_user
from tests.integration.panel import Panel, kept_rows
from tests.integration.payouts import balances
from tests.integration.query_count import counted
from tests.integration.test_admin_books import logged_in, words
from tests.integration.test_admin_payouts import hidden

TWO_PEOPLE = {"RUB": 500_00}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(four_eyes_above=TWO_PEOPLE)


@pytest.fixture
def panel(app: Flask, admin: TestUser) -> Panel:
    return logged_in(app, admin)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, name="shop", password=PASSWORD)


@pytest.fixture
def paid(engine: Engine, admin: TestUser, shop: TestUser) -> UUID:
    """A payment of 100.00 with 3.00 commission."""
    made = UUID(make_transaction(engine, shop, amount="100.00")["id"])
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, made)
    return made


def test_a_part_is_given_back_after_a_second_look_and_once(
    panel: Panel, paid: UUID, shop: TestUser, connection: Connection
) -> None:
    address = f"/admin/refunds/new/{paid}"
    assert f'href="{address}"' in panel.get(f"/admin/transactions/{paid}").text
    assert "Left to refund 100.00 RUB" in words(panel.get(address).text)
    before = kept_rows(connection)
    typed = {"amount": "50.00", "refund_commission": "y", "reason": "one <b>cup</b>"}

    asked = panel.post(address, typed)

    assert "Give back 50.00 RUB of the payment to shop?" in words(asked.text)
    assert "Commission to be given back 1.50 RUB From the merchant 48.50 RUB" in words(asked.text)
    assert kept_rows(connection) == before
    said = panel.follow(panel.post(f"/admin/refunds/create/{paid}", hidden(asked.text)))
    again = panel.follow(panel.post(f"/admin/refunds/create/{paid}", hidden(asked.text)))

    assert "The money is given back." in said
    assert words(said) == words(again)
    assert "<q>one &lt;b&gt;cup&lt;/b&gt;</q>" in said
    assert balances(connection, shop.id)["available"] == 9700 - 4850
    assert connection.scalar(text("SELECT count(*) FROM refunds")) == 1
    assert "48.50" in panel.get("/admin/refunds/").text


def test_all_that_is_left_and_then_nothing(
    panel: Panel, paid: UUID, connection: Connection
) -> None:
    asked = panel.post(f"/admin/refunds/new/{paid}", {"amount": ""})
    carried = hidden(asked.text)
    assert carried["amount"] == "100.00"
    # The commission stays with us, so the merchant lacks 3.00.
    refused = panel.post(f"/admin/refunds/create/{paid}", carried)
    assert refused.status_code == 409
    assert "less than this is available" in words(refused.text)

    asked = panel.post(f"/admin/refunds/new/{paid}", {"amount": "", "refund_commission": "y"})
    panel.follow(panel.post(f"/admin/refunds/create/{paid}", hidden(asked.text)))
    over = words(panel.follow(panel.get(f"/admin/refunds/new/{paid}")))

    assert "Nothing was changed: 0.00 RUB is left to refund." in over
    assert "/refunds/new/" not in panel.get(f"/admin/transactions/{paid}").text
    assert connection.scalar(text("SELECT sum(amount) FROM refunds")) == 10000


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"amount": "100.01"}, "100.00 RUB is left to refund"),
        ({"amount": "0"}, "must be a sum above zero"),
        ({"amount": "x"}, "must be a sum above zero"),
        ({"amount": "1.00", "reason": "x" * 501}, "at most 500 characters"),
        ({"amount": "1.00", "reason": "4111111111111111"}, "must not hold a card number"),
    ],
    ids=["more", "zero", "no number", "long", "card"],
)
def test_what_makes_no_sense_is_said(
    panel: Panel, paid: UUID, connection: Connection, typed: dict[str, str], said: str
) -> None:
    before = kept_rows(connection)

    answer = panel.post(f"/admin/refunds/new/{paid}", typed)

    assert answer.status_code == 422
    assert said in words(answer.text)
    assert kept_rows(connection) == before


def test_only_what_was_paid_is_given_back(
    panel: Panel, engine: Engine, shop: TestUser, connection: Connection
) -> None:
    pending = make_transaction(engine, shop)["id"]

    said = words(panel.follow(panel.get(f"/admin/refunds/new/{pending}")))
    sent = panel.post(
        f"/admin/refunds/create/{pending}",
        {"amount": "1.00", "once": "00000000-0000-7000-8000-0000000000aa"},
    )

    assert "only a confirmed transaction can be refunded. Its status is: Pending." in said
    assert sent.status_code == 409
    assert connection.scalar(text("SELECT count(*) FROM refunds")) == 0


def test_an_adjustment_is_looked_at_once_more_and_posted_once(
    panel: Panel, shop: TestUser, connection: Connection
) -> None:
    typed = {"user": "shop", "direction": "credit", "amount": "5.00", "reason": "counted anew"}

    asked = panel.post("/admin/refunds/adjustments/new", typed)
    assert "Adjust the balance of shop by +5.00 RUB?" in words(asked.text)
    assert balances(connection, shop.id) == {}
    carried = hidden(asked.text)
    said = panel.follow(panel.post("/admin/refunds/adjustments/create", carried))
    panel.follow(panel.post("/admin/refunds/adjustments/create", carried))

    assert "The adjustment is posted." in said
    assert balances(connection, shop.id)["available"] == 500
    debit = {**typed, "direction": "debit", "amount": "5.01"}
    carried = hidden(panel.post("/admin/refunds/adjustments/new", debit).text)
    refused = panel.post("/admin/refunds/adjustments/create", carried)
    assert refused.status_code == 409
    assert balances(connection, shop.id)["available"] == 500
    for wrong in ({"reason": " "}, {"amount": "0"}, {"user": "nobody"}, {"direction": "up"}):
        assert panel.post("/admin/refunds/adjustments/new", {**typed, **wrong}).status_code == 422


def test_a_large_adjustment_waits_for_a_second_admin(
    app: Flask,
    panel: Panel,
    shop: TestUser,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
) -> None:
    second = make_user(engine, keyring, name="second", role=Role.ADMIN, password=PASSWORD)
    typed = {"user": "shop", "direction": "credit", "amount": "500.01", "reason": "counted anew"}
    asked = panel.post("/admin/refunds/adjustments/new", typed)
    assert "This sum takes two admins" in words(asked.text)
    answer = panel.post("/admin/refunds/adjustments/create", hidden(asked.text))
    address = answer.headers["Location"]
    assert "A second admin must approve it." in panel.follow(answer)

    alone = panel.follow(panel.post(f"{address}/approve"))
    assert "You have approved this already" in alone
    assert balances(connection, shop.id) == {}
    other = logged_in(app, second)
    assert "Post the adjustment of +500.01 RUB for shop?" in words(
        other.get(f"{address}/ask/approve").text
    )
    assert "The adjustment is posted." in other.follow(other.post(f"{address}/approve"))
    assert balances(connection, shop.id)["available"] == 50001
    stale = words(panel.follow(panel.post(f"{address}/cancel")))
    assert "Nothing was changed: the status of the adjustment is: Posted." in stale
    assert "Posted" in words(panel.follow(panel.get(f"{address}/ask/cancel")))
    assert "500.01" in panel.get("/admin/refunds/adjustments/?status=posted&user=shop").text


def test_money_that_came_late_is_recorded_once(
    panel: Panel, engine: Engine, shop: TestUser, connection: Connection
) -> None:
    old = make_transaction(engine, shop, amount="100.00")["id"]
    with autocommit(engine) as unit:
        transaction_service.cancel(unit, shop.digest, ORIGIN, UUID(old))
    address = f"/admin/refunds/late/{old}"
    assert f'href="{address}/ask"' in panel.get(f"/admin/transactions/{old}").text

    assert "Have 100.00 RUB for shop come after all?" in words(panel.get(f"{address}/ask").text)
    said = panel.follow(panel.post(address))
    panel.follow(panel.post(address))

    assert "The late payment is recorded." in said
    assert "Late payment for" in said
    assert balances(connection, shop.id)["available"] == 9700
    assert "/refunds/late/" not in panel.get(f"/admin/transactions/{old}").text
    late = re.search(
        r"/admin/transactions/([0-9a-f-]{36})", panel.post(address).headers["Location"]
    )
    assert late
    stale = words(panel.follow(panel.get(f"/admin/refunds/late/{late[1]}/ask")))
    assert "only a canceled or expired transaction can be paid late" in stale


def test_merchants_see_their_own_and_change_nothing(
    app: Flask, panel: Panel, paid: UUID, shop: TestUser, merchant: TestUser, admin: TestUser
) -> None:
    asked = panel.post(f"/admin/refunds/new/{paid}", {"amount": "10.00"})
    refund = panel.post(f"/admin/refunds/create/{paid}", hidden(asked.text)).headers["Location"]
    own, other = logged_in(app, shop), logged_in(app, merchant)

    page = own.get(refund)
    assert page.status_code == 200
    assert admin.name not in page.text
    assert "/refunds/new/" not in own.get(f"/admin/transactions/{paid}").text
    assert own.get(f"/admin/refunds/new/{paid}").status_code == 403
    assert other.get(refund).status_code == 404
    assert refund not in other.get(f"/admin/refunds/?transaction={paid}").text
    assert refund in own.get(f"/admin/refunds/?transaction={paid}&currency=rub").text
    assert "/adjustments/new" not in own.get("/admin/refunds/adjustments/").text


def test_pages_take_few_queries(app: Flask, panel: Panel, paid: UUID) -> None:
    asked = panel.post(f"/admin/refunds/new/{paid}", {"amount": "10.00"})
    refund = panel.post(f"/admin/refunds/create/{paid}", hidden(asked.text)).headers["Location"]

    for address in (
        "/admin/refunds/?user=shop",
        "/admin/refunds/adjustments/?user=shop",
        refund,
        f"/admin/refunds/new/{paid}",
        "/admin/refunds/adjustments/new",
    ):
        assert counted(app, lambda address=address: panel.get(address)) <= 12, address
