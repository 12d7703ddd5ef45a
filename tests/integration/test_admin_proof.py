"""Closes, the chain, statements and receipts in the panel."""

from __future__ import annotations

import csv
import io
import json
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.services import seal_service, transaction_service
from tests.builders import ORIGIN, PASSWORD, TestUser, make_transaction, make_user
from tests.integration.panel import Panel, kept_rows
from tests.integration.query_count import counted
from tests.integration.test_admin_books import logged_in, words

HOME = "/admin/reconciliation/"


@pytest.fixture
def panel(app: Flask, admin: TestUser) -> Panel:
    return logged_in(app, admin)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, name="shop", password=PASSWORD)


@pytest.fixture
def paid(engine: Engine, admin: TestUser, shop: TestUser) -> UUID:
    made = UUID(make_transaction(engine, shop, amount="100.00", reference="=order-1")["id"])
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, made)
    return made


def test_the_chain_is_told_before_and_after_the_first_seal(
    panel: Panel, paid: UUID, engine: Engine, connection: Connection
) -> None:
    assert "Nothing has been sealed yet." in words(panel.get(HOME).text)
    with autocommit(engine) as unit:
        seal_service.seal(unit)

    page = panel.get(HOME).text

    head = connection.scalar(text("SELECT encode(hash, 'hex') FROM seals"))
    assert f"1:{head}" in page
    assert "Journals sealed 1" in words(page)


def test_a_period_is_closed_after_a_question_and_once(
    panel: Panel, paid: UUID, connection: Connection, app: Flask, shop: TestUser, admin: TestUser
) -> None:
    before = kept_rows(connection)
    question = panel.get(f"{HOME}close?period=2025-03").text
    assert "Close 2025-03?" in words(question)
    assert kept_rows(connection) == before

    said = words(panel.follow(panel.post(f"{HOME}close", {"period": "2025-03"})))
    again = words(panel.follow(panel.post(f"{HOME}close", {"period": "2025-03"})))

    assert "2025-03 is closed." in said
    assert "2025-03 was closed before; nothing was changed." in again
    assert connection.scalar(text("SELECT count(*) FROM closes")) == 1
    own = logged_in(app, shop).get(HOME)
    assert "2025-03" in own.text
    assert admin.name not in own.text
    assert f"{HOME}close" not in own.text


@pytest.mark.parametrize("period", ["2999-01", "2999-01-01", "2025-13", "x", "", "2025-02-30"])
def test_what_is_not_over_or_no_period_is_not_closed(
    panel: Panel, connection: Connection, period: str
) -> None:
    before = kept_rows(connection)
    wanted = "this period ends at" if period.startswith("2999") else "Period:"

    asked = words(panel.follow(panel.get(f"{HOME}close", query_string={"period": period})))
    sent = words(panel.follow(panel.post(f"{HOME}close", {"period": period})))

    assert wanted in asked
    assert wanted in sent
    assert kept_rows(connection) == before


def test_a_statement_is_sent_in_each_format(panel: Panel, paid: UUID) -> None:
    query = {"user": "shop", "period": "month"}

    plain = panel.get(f"{HOME}statement/download", query_string={**query, "format": "json"})
    table = panel.get(f"{HOME}statement/download", query_string={**query, "format": "csv"})
    sheet = panel.get(f"{HOME}statement/download", query_string={**query, "format": "xlsx"})
    paper = panel.get(f"{HOME}statement/download", query_string=query)

    told = json.loads(plain.text)
    assert [each["net"] for each in told["movements"]] == ["97.00"]
    assert told["closing"]["available"] == "97.00"
    rows = list(csv.reader(io.StringIO(table.text)))
    assert any("97.00" in row for row in rows)
    assert sheet.data.startswith(b"PK")
    assert paper.data.startswith(b"%PDF-")
    for answer, ending in ((plain, "json"), (table, "csv"), (sheet, "xlsx"), (paper, "pdf")):
        disposition = answer.headers["Content-Disposition"]
        assert disposition.startswith('attachment; filename="statement-RUB-')
        assert disposition.endswith(f'.{ending}"')


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"user": "nobody"}, "There is no such user."),
        ({"user": "shop", "named": "2999-01"}, "must be"),
        ({"user": "shop", "named": "soon"}, "must be a day or a month"),
        ({"user": "shop", "start": "2999-01-01"}, "must be in the past"),
        ({"user": "shop", "end": "2025-01-01"}, "must be given when to is"),
        ({"user": "shop", "start": "2025-02-01", "end": "2025-01-01"}, "must be before to"),
        ({"user": "shop", "start": "2020-01-01", "end": "2025-01-01"}, "at most two years"),
        ({"user": "shop", "start": "x"}, "Not a valid date"),
        ({"user": "shop", "end": "9999-12-31", "start": "9999-12-31"}, "must be in the"),
        ({"user": "shop", "currency": "XXZ"}, "is not a known currency code"),
        ({"user": "shop", "format": "exe"}, "Not a valid choice"),
    ],
    ids=str,
)
def test_a_statement_that_makes_no_sense_is_refused_in_the_form(
    panel: Panel, shop: TestUser, query: dict[str, str], said: str
) -> None:
    answer = panel.get(f"{HOME}statement/download", query_string=query)

    assert answer.status_code == 422
    assert said in words(answer.text)


def test_merchants_get_their_own_statement_only(
    app: Flask, paid: UUID, shop: TestUser, merchant: TestUser
) -> None:
    own, other = logged_in(app, shop), logged_in(app, merchant)
    asked = f"{HOME}statement/download?format=json&period=month&user=shop"

    assert "period=last_month" in own.get(f"/admin/users/{shop.id}").text
    assert json.loads(own.get(asked).text)["closing"]["available"] == "97.00"
    told = json.loads(other.get(asked).text)
    assert told["statement"]["user_id"] == str(merchant.id)
    assert told["movements"] == []


def test_a_finished_transaction_has_a_receipt(
    app: Flask, panel: Panel, paid: UUID, engine: Engine, shop: TestUser, merchant: TestUser
) -> None:
    pending = make_transaction(engine, shop)["id"]
    address = f"{HOME}receipts/{paid}"
    assert f'href="{address}"' in panel.get(f"/admin/transactions/{paid}").text
    assert "/receipts/" not in panel.get(f"/admin/transactions/{pending}").text

    receipt = panel.get(address)

    assert str(paid) in receipt.text
    assert json.loads(receipt.text)
    assert f"receipt-{paid}.json" in receipt.headers["Content-Disposition"]
    said = words(panel.follow(panel.get(f"{HOME}receipts/{pending}")))
    assert "There is no receipt yet: the transaction is Pending." in said
    assert logged_in(app, shop).get(address).status_code == 200
    assert logged_in(app, merchant).get(address).status_code == 404


def test_pages_take_few_queries(app: Flask, panel: Panel, paid: UUID) -> None:
    for path in ("", "close?period=2025-03", "statement?user=shop", f"receipts/{paid}"):
        assert counted(app, lambda path=path: panel.get(HOME + path)) <= 12, path
