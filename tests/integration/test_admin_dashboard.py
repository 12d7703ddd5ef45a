"""The cards of the dashboard, and how often it renews itself for whom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

import standart
from standart.admin import messages
from standart.admin.transactions import newest
from standart.encryption import Keyring
from standart.models import Role
from standart.services import dashboard_service, refund_service, transaction_service
from standart.services.refund_service import NewRefund
from tests.builders import ORIGIN, PASSWORD, TestUser, make_transaction, make_user
from tests.integration.panel import Panel

LIST = "/admin/transactions/"
SOON = "Expiring soon"


@pytest.fixture
def panel(client: FlaskClient, app: Flask, admin: TestUser) -> Panel:
    app.extensions["standart.nudge"] = lambda: None
    made = Panel(client)
    made.log_in(admin)
    return made


def card(page: str, name: str) -> str:
    """The words of a card, from its name to the next one."""
    found = re.search(rf'<span class="name">{name}</span>(.*?)<span class="name">', page, re.DOTALL)
    assert found, name
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).replace("&nbsp;", " ").split())


def test_commission_that_was_given_back_is_not_earned(
    panel: Panel,
    app: Flask,
    engine: Engine,
    superuser: Engine,
    admin: TestUser,
    merchant: TestUser,
    connection: Connection,
) -> None:
    made = [make_transaction(engine, merchant, amount="100.00")["id"] for _ in range(3)]
    for each in made:
        panel.post(f"{LIST}{each}/confirm")
    assert card(panel.get("/admin/live").text, "Commission today") == "9.00 RUB 3 transactions"

    for each, with_commission in ((made[0], True), (made[1], False)):
        new = NewRefund(
            transaction_id=UUID(each), amount="50.00", refund_commission=with_commission
        )
        refund_service.create_refund(connection, admin.actor, ORIGIN, new)

    shown = "7.50 RUB 3 transactions, given back 1.50 RUB"
    assert card(panel.get("/admin/live").text, "Commission today") == shown
    assert "7.50" in card(panel.get("/admin/live?currency=RUB").text, "Commission today")
    assert "7.50" not in card(panel.get("/admin/live?currency=USD").text, "Commission today")
    own = Panel(app.test_client())
    own.log_in(merchant)
    assert card(own.get("/admin/live").text, "Commission today") == shown
    # What was earned before today and is given back today is a loss of today.
    with superuser.begin() as plain:
        plain.execute(text("SET LOCAL session_replication_role = replica"))
        plain.execute(text("UPDATE transactions SET finished_at = finished_at - interval '3 days'"))
    lost = card(panel.get("/admin/live").text, "Commission today")
    assert lost == "-1.50 RUB 0 transactions, given back 1.50 RUB"


def test_a_strangers_refund_is_no_loss_of_ones_own(
    engine: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser, connection: Connection
) -> None:
    made = make_transaction(engine, merchant)
    other = make_user(engine, keyring)
    span = connection.execute(
        text("SELECT now() - interval '1 hour', now() + interval '1 hour'")
    ).one()
    transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))
    new = NewRefund(transaction_id=UUID(made["id"]), refund_commission=True)
    refund_service.create_refund(connection, admin.actor, ORIGIN, new)
    for owner, count in ((None, 1), (merchant.id, 1), (other.id, 0)):
        assert len(dashboard_service.refunded_in(connection, owner, *span)) == count
    before = (span[0] - (span[1] - span[0]), span[0])
    assert dashboard_service.refunded_in(connection, None, *before) == []


def test_what_is_counted_up_to_a_limit_says_that_there_are_more(
    panel: Panel, engine: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        make_transaction(engine, merchant)
    assert card(panel.get("/admin/live").text, SOON).startswith("2 within 15 minutes")
    monkeypatch.setattr(dashboard_service, "MOST", 1)
    assert card(panel.get("/admin/live").text, SOON).startswith("1+ within 15 minutes")


def test_the_latest_are_those_of_the_chosen_currency(
    panel: Panel, engine: Engine, merchant: TestUser
) -> None:
    made = {
        each: make_transaction(engine, merchant, currency=each)["id"] for each in ("RUB", "USD")
    }
    all_of_them = panel.get("/admin/live").text
    dollars = panel.get("/admin/live?currency=USD").text
    assert made["RUB"] in all_of_them
    assert made["USD"] in all_of_them
    assert made["RUB"] not in dollars
    assert made["USD"] in dollars


def test_the_latest_that_take_too_long_leave_the_figures_alone(
    panel: Panel, engine: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_transaction(engine, merchant)

    def slowly(session: Session, *rest: Any) -> Any:
        session.execute(text("SELECT pg_sleep(30)"))
        return newest(session, *rest)

    monkeypatch.setattr("standart.admin.dashboard.newest", slowly)
    monkeypatch.setattr("standart.admin.dashboard._LATEST_MILLISECONDS", 50)
    answer = panel.get("/admin/live?currency=RUB")
    assert answer.status_code == 200
    assert "These take too long to find." in answer.text
    assert card(answer.text, "Pending now") == "100.00 RUB 1 transaction"


def test_all_figures_are_of_one_moment(
    panel: Panel,
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is confirmed between two of its statements is pending in all of them."""
    made = make_transaction(engine, merchant)["id"]
    read = dashboard_service.confirmed_in

    def meanwhile(*given: Any) -> Any:
        transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made))
        return read(*given)

    monkeypatch.setattr(dashboard_service, "confirmed_in", meanwhile)
    before = panel.get("/admin/live").text
    monkeypatch.undo()
    after = panel.get("/admin/live").text
    assert card(before, "Pending now") == card(after, "Confirmed today")
    assert card(before, "Confirmed today") == card(after, "Pending now") == "0 nothing yet"


def test_how_often_it_renews_itself_is_kept_for_the_person(
    app: Flask, panel: Panel, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    """Without script too; where another one logs in, it is as that one wants it."""

    def chosen(reader: Panel, query: str = "") -> str:
        page = reader.get(f"/admin/{query}").text
        found = re.search(r'<option value="(\d+)" selected>', page)
        assert found
        assert ('http-equiv="refresh"' in page) == (found[1] != "0")
        return found[1]

    assert chosen(panel) == "0"
    back = panel.post("/refresh", {"refresh": "15", "next": "/admin/?period=7d&currency=RUB"})
    assert back.headers["Location"] == "/admin/?period=7d&currency=RUB"
    assert chosen(panel) == "15"
    assert chosen(panel, "?refresh=60") == "60", "for this once"
    elsewhere = Panel(app.test_client())
    elsewhere.log_in(admin)
    assert chosen(elsewhere) == "15"
    second = make_user(engine, keyring, role=Role.VIEWER, password=PASSWORD)
    panel.post("/logout")
    panel.log_in(second)
    assert chosen(panel) == "0"
    for nonsense in ("7", "", "x", "-1"):
        assert panel.post("/refresh", {"refresh": nonsense}).status_code == 400


def test_what_the_audit_log_tells_of_has_words() -> None:
    services = Path(standart.__file__).parent / "services"
    told = {
        (action, about)
        for path in services.rglob("*.py")
        for action, about in re.findall(
            r'"([a-z_]+\.[a-z_]+)",\s*"([a-z_]+)",\s*[a-z_.]*id', path.read_text()
        )
    }
    assert {"transactions.exported", "reconciliation.run"} <= {action for action, _ in told}
    assert {action for action, _ in told} - messages.ACTIONS.keys() == set()
    assert {about for _, about in told} - messages.OBJECTS.keys() == set()
