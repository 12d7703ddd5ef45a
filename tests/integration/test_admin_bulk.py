"""Confirming and canceling many in the panel: what is chosen, told and carried on."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.services import bulk_service
from tests.builders import TestUser, make_transaction
from tests.integration.panel import Panel
from tests.integration.panel_scene import TOO_LARGE

LIST = "/admin/transactions/"


@pytest.fixture
def panel(client: FlaskClient, app: Flask, admin: TestUser) -> Panel:
    app.extensions["standart.nudge"] = lambda: None
    made = Panel(client)
    made.log_in(admin)
    return made


def fields(page: str, *names: str) -> dict[str, str]:
    found = {name: re.search(rf'name="{name}" value="([^"]*)"', page) for name in names}
    return {name: unescape(each[1]) for name, each in found.items() if each}


def action(page: str) -> str:
    """The address of the form that does it."""
    found = re.search(rf'action="({LIST}bulk/[^"]+)"', page)
    assert found
    return unescape(found[1])


def statuses(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT id, status FROM transactions"))
    return {str(row.id): row.status for row in rows}


def test_all_that_match_are_those_that_can_be_settled(
    panel: Panel, engine: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended takes no place among them, and that there are more is told."""
    old = [make_transaction(engine, merchant)["id"] for _ in range(3)]
    for _ in range(2):
        panel.post(f"{LIST}{make_transaction(engine, merchant)['id']}/cancel")
    monkeypatch.setattr(bulk_service, "MOST", 2)

    asked = panel.post(f"{LIST}bulk/confirm/ask", {"all": "1"}).text

    assert fields(asked, "ids") == {"ids": f"{old[2]},{old[1]}"}
    assert "2 transactions can be changed" in asked
    assert "More than 2 are pending and match; these are the newest 2 of them." in asked
    panel.post(f"{LIST}{old[0]}/cancel")
    fewer = panel.post(f"{LIST}bulk/confirm/ask", {"all": "1"}).text
    assert "2 transactions can be changed" in fewer
    assert "More than" not in fewer


@pytest.mark.parametrize(
    ("query", "chosen", "words"),
    [
        ("", {}, "Nothing is chosen."),
        ("", {"id": "nonsense"}, "Nothing is chosen."),
        ("?status=canceled", {"all": "1"}, "Nothing that is pending matches"),
        ("?status=nonsense", {"all": "1"}, "Nothing that is pending matches"),
    ],
)
def test_choosing_nothing_is_told(
    panel: Panel,
    engine: Engine,
    merchant: TestUser,
    query: str,
    chosen: dict[str, str],
    words: str,
) -> None:
    make_transaction(engine, merchant)

    page = panel.follow(panel.post(f"{LIST}bulk/cancel/ask{query}", chosen))

    assert words in page
    assert query == "" or 'class="chips"' in page


def test_the_filter_survives_an_act_on_many(
    panel: Panel, engine: Engine, merchant: TestUser
) -> None:
    made = [make_transaction(engine, merchant, reference=f"r{n}")["id"] for n in range(2)]
    way = "status=pending&reference=r&limit=50"
    listed = unescape(panel.get(f"{LIST}?{way}").text)
    assert f"{LIST}bulk/confirm/ask?status=pending&reference=r&limit=50" in listed

    asked = panel.post(f"{LIST}bulk/cancel/ask?{way}", {"id": made}).text
    told = panel.post(action(asked), fields(asked, "ids", "act_id")).text

    for page in (asked, told):
        assert f'href="{LIST}?{way}"' in unescape(page), "the way back"


def test_the_rest_is_canceled_for_the_same_reason(
    panel: Panel,
    engine: Engine,
    merchant: TestUser,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [make_transaction(engine, merchant)["id"] for _ in range(2)]
    asked = panel.post(f"{LIST}bulk/cancel/ask", {"id": made}).text
    monkeypatch.setattr("standart.admin.transaction_bulk.BUDGET_SECONDS", -1.0)
    form = {**fields(asked, "ids", "act_id"), "reason": 'a "wrong" price'}
    told = panel.post(action(asked), form).text
    monkeypatch.undo()

    panel.post(action(told), fields(told, "ids", "act_id", "reason"))

    reasons = connection.scalars(text("SELECT reason FROM transactions")).all()
    assert reasons == ['a "wrong" price'] * 2


def test_a_row_that_somebody_holds_keeps_no_other_from_its_turn(
    panel: Panel, engine: Engine, owner: Engine, merchant: TestUser, connection: Connection
) -> None:
    made = [make_transaction(engine, merchant)["id"] for _ in range(3)]
    asked = panel.post(f"{LIST}bulk/confirm/ask", {"id": made}).text
    form = fields(asked, "ids", "act_id")
    with owner.connect() as holder:
        holder.execute(text("SELECT FROM transactions WHERE id = :id FOR UPDATE"), {"id": made[1]})
        told = panel.post(action(asked), form).text
        holder.rollback()

    assert "Done: <b>2</b>" in told
    assert "Not reached: <b>1</b>" in told
    assert fields(told, "ids") == {"ids": made[1]}
    assert statuses(connection)[made[1]] == "pending"
    assert "Done: <b>1</b>" in panel.post(action(told), fields(told, "ids", "act_id")).text


def test_what_was_done_is_told_though_the_database_goes_away(
    panel: Panel,
    engine: Engine,
    merchant: TestUser,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [make_transaction(engine, merchant)["id"] for _ in range(3)]
    asked = panel.post(f"{LIST}bulk/cancel/ask", {"id": made}).text
    form = fields(asked, "ids", "act_id")
    cancel = bulk_service.transaction_service.cancel

    def fail(connection: Connection, actor: Any, origin: Any, id: Any, **rest: Any) -> Any:
        if str(id) == made[1]:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return cancel(connection, actor, origin, id, **rest)

    monkeypatch.setattr(bulk_service.transaction_service, "cancel", fail)
    told = panel.post(action(asked), form)
    monkeypatch.undo()

    assert told.status_code == 200
    assert "Done: <b>1</b>" in told.text
    assert "Not reached: <b>2</b>" in told.text
    assert fields(told.text, "ids") == {"ids": f"{made[1]},{made[2]}"}
    rest = panel.post(action(told.text), fields(told.text, "ids", "act_id")).text
    assert "Done: <b>2</b>" in rest
    assert set(statuses(connection).values()) == {"canceled"}


def test_large_sums_ask_for_a_proof_in_bulk_too(
    make_app: Any, engine: Engine, superuser: Engine, admin: TestUser, merchant: TestUser
) -> None:
    app = make_app(four_eyes_above=TOO_LARGE)
    app.extensions["standart.nudge"] = lambda: None
    panel = Panel(app.test_client())
    panel.log_in(admin)
    large = make_transaction(engine, merchant, amount="60000.00")["id"]
    small = make_transaction(engine, merchant)["id"]
    asked = panel.post(f"{LIST}bulk/confirm/ask", {"id": [large, small]}).text
    form = fields(asked, "ids", "act_id")
    with superuser.begin() as plain:
        plain.execute(text("UPDATE panel_sessions SET proven_at = now() - interval '1 hour'"))

    for path, data in (
        (f"{LIST}bulk/confirm/ask", {"id": [large, small]}),
        (f"{LIST}bulk/confirm", form),
    ):
        answer = panel.post(path, data)
        assert answer.status_code == 403
        assert 'name="proof_password"' in answer.text
    assert panel.post(f"{LIST}bulk/confirm/ask", {"id": [small]}).status_code == 200
    assert panel.post(f"{LIST}bulk/cancel/ask", {"id": [large]}).status_code == 200
