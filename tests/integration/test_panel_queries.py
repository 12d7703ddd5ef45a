"""How many statements a page sends: at most twelve, whatever it shows and whatever is asked."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.extensions import db
from standart.services import sums_service
from tests.builders import TestUser, make_transaction
from tests.integration.panel import Panel
from tests.integration.panel_scene import busy_merchant
from tests.integration.query_count import counted

MOST = 12

EVERY_FILTER = (
    "user=busy&status=expired&currency=RUB&amount_from=1&amount_to=5&reference=order"
    "&created_from=2026-01-01&created_to=2036-01-01"
)
EVENTS = "user=busy&type=transaction.confirmed&created_from=2026-01-01&created_to=2036-01-01"

PAGES = [
    "/admin/",
    "/admin/live",
    "/admin/chart",
    "/admin/transactions/",
    f"/admin/transactions/?{EVERY_FILTER}",
    "/admin/transactions/?user=busy&reference=order&amount_from=1",
    f"/admin/transactions/export?{EVERY_FILTER}",
    "/admin/users/",
    "/admin/users/?name=bus",
    "/admin/payouts/?user=busy&status=open&currency=RUB&reference=x",
    "/admin/refunds/?user=busy&currency=RUB",
    "/admin/refunds/adjustments/?user=busy&currency=RUB",
    "/admin/webhooks/",
    f"/admin/webhooks/?{EVENTS}&state=dead&answer=5xx",
    f"/admin/webhooks/?{EVENTS}&state=delivered&answer=2xx",
    f"/admin/webhooks/replay/ask?{EVENTS}&state=dead",
    "/admin/audit/",
    "/admin/audit/?actor=admin&action=transaction.confirmed&object_type=transaction",
    "/admin/profile/",
    "/admin/settings/",
]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_little_and_no_more_when_there_is_more(
    app: Flask,
    client: FlaskClient,
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    path: str,
) -> None:
    busy = busy_merchant(engine, keyring, admin, "a note")
    panel = Panel(client)
    panel.log_in(admin)
    sums_service.keep(connection)

    def ask() -> None:
        assert panel.get(path).status_code == 200

    ask()
    few = counted(app, ask)
    for _ in range(8):
        make_transaction(engine, busy.owner, amount="3.00", reference="order-more")
    assert few <= MOST
    assert counted(app, ask) == few


def test_units_of_work_are_planned_for_the_values_they_have(app: Flask) -> None:
    with app.app_context():
        assert db.session.scalar(text("SHOW plan_cache_mode")) == "force_custom_plan"
        with app.extensions["standart.engine"].connect() as hot:
            assert hot.scalar(text("SHOW plan_cache_mode")) == "auto"
