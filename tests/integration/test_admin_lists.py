"""The list of transactions in the panel: filters, pages, counts, search, export, bulk."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from html import unescape
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.admin import transaction_bulk
from standart.admin import transactions as tab
from standart.clock import new_id
from standart.encryption import Keyring
from standart.models import Role
from standart.services import bulk_service, export_service, sums_service
from tests.builders import PASSWORD, TestUser, make_transaction, make_user, overdue
from tests.integration.panel import Panel
from tests.integration.panel_scene import TOO_LARGE, busy_merchant
from tests.integration.query_count import counted

LIST = "/admin/transactions/"


@pytest.fixture
def panel(client: FlaskClient, admin: TestUser) -> Panel:
    made = Panel(client)
    made.log_in(admin)
    return made


def as_user(app: Flask, user: TestUser) -> Panel:
    made = Panel(app.test_client())
    made.log_in(user)
    return made


def ids(page: str) -> list[str]:
    return re.findall(r'class="id" href="/admin/transactions/([0-9a-f-]{36})[?"]', page)


def way(page: str, rel: str) -> str | None:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    return unescape(found[1]) if found else None


def test_amounts_currencies_and_times_narrow_the_list(
    panel: Panel, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    yen = make_user(engine, keyring, currency="JPY")
    small, large = (make_transaction(engine, merchant, amount=a)["id"] for a in ("5.00", "700.50"))
    theirs = make_transaction(engine, yen, amount="700")["id"]

    def found(**query: str) -> set[str]:
        return set(ids(panel.get(LIST, query_string=query).text))

    assert found(currency="jpy") == {theirs}
    assert found(amount_from="700") == {large, theirs}
    assert found(amount_from="700", amount_to="700,00") == {theirs}, "inclusive, in main units"
    assert found(amount_to="699.99") == {small}
    assert found(created_from="2020-01-01") == {small, large, theirs}
    assert found(created_to="2020-01-01") == set()
    assert found(created_from="2020-01-01T00:00:00+03:00", currency="RUB") == {small, large}


@pytest.mark.parametrize(
    ("name", "nonsense"),
    [
        ("user", "nobody"),
        ("status", "paid"),
        ("currency", "XXXX"),
        ("amount_from", "1e5"),
        ("amount_to", "-1"),
        ("created_from", "yesterday"),
        ("created_to", "0001-01-01T00:00:00+14:00"),
        ("created_to", "9999-12-31"),
        ("id", "7"),
    ],
)
def test_a_filter_that_makes_no_sense_matches_nothing_and_says_so(
    panel: Panel, engine: Engine, merchant: TestUser, name: str, nonsense: str
) -> None:
    make_transaction(engine, merchant)
    answer = panel.get(LIST, query_string={name: nonsense})
    assert answer.status_code == 200
    assert ids(answer.text) == []
    assert "(unknown)" in answer.text
    assert f'value="{nonsense}"' in answer.text or name == "status"


def test_pages_go_forward_and_back_alike(panel: Panel, engine: Engine, merchant: TestUser) -> None:
    made = [make_transaction(engine, merchant)["id"] for _ in range(60)][::-1]
    first = panel.get(f"{LIST}?status=pending").text
    assert way(first, "prev") is None
    second = panel.get(way(first, "next")).text
    third = panel.get(way(second, "next")).text
    assert way(third, "next") is None
    assert ids(first) + ids(second) + ids(third) == made
    back = panel.get(way(third, "prev")).text
    assert ids(back) == made[25:50]
    assert "status=pending" in way(back, "prev")
    beginning = panel.get(way(back, "prev")).text
    assert ids(beginning) == made[:25]
    assert way(beginning, "prev") is None
    assert ids(panel.get(way(beginning, "next")).text) == made[25:50]


def test_a_day_is_jumped_to(panel: Panel, engine: Engine, merchant: TestUser) -> None:
    made = make_transaction(engine, merchant)
    assert ids(panel.get(f"{LIST}?jump={made['created_at'][:10]}").text) == [made["id"]]
    before = panel.get(f"{LIST}?jump=2020-01-01").text
    assert ids(before) == []
    assert "To the beginning" in before


def test_counts_are_exact_while_cheap(
    panel: Panel, engine: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        make_transaction(engine, merchant)
    assert "3 transactions" in panel.get(LIST).text
    monkeypatch.setattr(tab, "_COUNTED", 2)
    assert "more than 2 transactions" in panel.get(LIST).text


def test_what_takes_too_long_is_told_as_such(
    panel: Panel,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_transaction(engine, merchant)
    monkeypatch.setattr(tab, "_LIST_MILLISECONDS", 100)
    monkeypatch.setattr(tab, "_COUNT_MILLISECONDS", 100)
    with superuser.begin() as held:
        held.execute(text("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE"))
        answer = panel.get(f"{LIST}?amount_from=5")
    assert answer.status_code == 200
    assert "Narrow the time range" in answer.text
    assert "Too many to count quickly" in answer.text
    assert 'value="5"' in answer.text


def test_search_opens_what_it_finds_alone(
    app: Flask, engine: Engine, keyring: Keyring, admin: TestUser, connection: Connection
) -> None:
    scene = busy_merchant(engine, keyring, admin, "a note")
    stranger = make_user(engine, keyring, name="busybody", password=PASSWORD)
    paid = f"/admin/transactions/{scene.paid}"
    about_user = f"/admin/users/{scene.owner.id}"
    (refund,) = connection.scalars(text("SELECT id FROM refunds LIMIT 1"))
    (told,) = connection.scalars(text("SELECT id FROM events LIMIT 1"))
    (payout,) = connection.scalars(text("SELECT id FROM payouts"))
    (adjusted,) = connection.scalars(text("SELECT id FROM adjustments"))
    places = {
        str(scene.paid): paid,
        f" {scene.paid} ".upper(): paid,
        scene.paid.hex: paid,
        str(refund): f"/admin/refunds/{refund}",
        str(told): f"/admin/webhooks/{told}",
        str(payout): f"/admin/payouts/{payout}",
        str(adjusted): f"/admin/refunds/adjustments/{adjusted}",
        str(connection.scalar(text("SELECT id FROM notes WHERE NOT internal"))): paid,
        str(scene.owner.id): about_user,
        "order-1000": paid,
    }
    staff, own, other = (as_user(app, each) for each in (admin, scene.owner, stranger))
    for wanted, place in places.items():
        for reader in (staff, own):
            answer = reader.get("/admin/search/", query_string={"q": wanted})
            assert answer.headers.get("Location") == place, wanted
        nothing = other.get("/admin/search/", query_string={"q": wanted})
        assert nothing.status_code == 200
        assert "Nothing found." in nothing.text
    inside = str(connection.scalar(text("SELECT id FROM notes WHERE internal")))
    assert staff.get(f"/admin/search/?q={inside}").headers["Location"] == paid
    assert own.get(f"/admin/search/?q={inside}").status_code == 200
    # As pages shorten an id, whoever copies it from there.
    for dots in ("…", "..."):
        shortened = {"q": f" {scene.paid!s:.8}{dots}{str(scene.paid)[-6:].upper()} "}
        assert staff.get("/admin/search/", query_string=shortened).headers["Location"] == paid
        assert other.get("/admin/search/", query_string=shortened).status_code == 200
    several = staff.get("/admin/search/?q=order-").text
    assert several.count("/admin/transactions/0") == 4
    assert "busybody" in staff.get("/admin/search/?q=BUSY").text
    for nonsense in ("", "\0", "x" * 5000, "\U0010ffff", "%_"):
        assert staff.get("/admin/search/", query_string={"q": nonsense}).status_code == 200


def test_search_lists_transactions_as_lists_do_and_says_where_more_are(
    app: Flask, engine: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    other = make_user(engine, keyring, name="other", password=PASSWORD)
    make_transaction(engine, other, reference="inv-00")
    for number in range(11):
        make_transaction(engine, merchant, reference=f"inv-{number:02}", amount="12.50")
    staff, own = as_user(app, admin), as_user(app, merchant)

    page = staff.get("/admin/search/?q=inv-").text
    mine = own.get("/admin/search/?q=inv-1").headers["Location"]

    assert page.count('data-label="Reference"') == 10
    assert page.count('<span class="status pending">') == 10
    assert "<bdi>other</bdi>" in page
    assert 'href="/admin/transactions/?reference=inv-"' in page
    assert mine.startswith("/admin/transactions/0")
    assert "reference=inv-" not in staff.get("/admin/search/?q=inv-0").text.split("<h1>")[0]
    (all_of,) = re.findall(
        r'href="([^"]+)">[^<]*<svg.*?</svg>Transactions of this amount',
        (staff.get("/admin/search/?q=12.50").text),
    )
    assert staff.get(unescape(all_of)).text.count('data-label="Reference"') == 11
    assert "of this amount" not in staff.get("/admin/search/?q=12.50.1").text


def test_a_click_shows_one_status_and_keeps_the_other_filters(
    panel: Panel, engine: Engine, merchant: TestUser
) -> None:
    make_transaction(engine, merchant, reference="kept")

    page = panel.get(f"{LIST}?reference=kept&status=expired&limit=50&after=x&_scheme=javascript")
    ways = re.findall(r'<a href="([^"]+)"[^>]*>(Pending|All)</a>', page.text)

    way = {name: unescape(address) for address, name in ways}
    assert way["All"] == f"{LIST}?reference=kept&limit=50"
    assert way["Pending"] == f"{LIST}?status=pending&reference=kept&limit=50"
    assert 'aria-current="page">Pending</a>' in panel.get(way["Pending"]).text
    assert panel.get(way["Pending"]).text.count('data-label="Reference"') == 1


EVIL = "=cmd|' /C calc'!A0"


@pytest.fixture
def many(engine: Engine, keyring: Keyring, merchant: TestUser) -> list[str]:
    other = make_user(engine, keyring, name="@other", currency="USD")
    made = [make_transaction(engine, merchant, reference=f"r{n}")["id"] for n in range(7)]
    make_transaction(engine, other, reference=EVIL, description='a,"b"\n_x0041_ <&>\x0b')
    return made[::-1]


def test_an_export_holds_exactly_the_filtered_rows(
    panel: Panel, many: list[str], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_service, "BATCH", 3)
    asked = panel.get(f"{LIST}export?currency=RUB").text
    assert "7 rows" in asked
    answer = panel.post(f"{LIST}export/csv?currency=RUB")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [row["id"] for row in rows] == many
    assert tuple(rows[0]) == export_service.COLUMNS
    assert (rows[0]["amount"], rows[0]["commission"], rows[0]["net"]) == ("100.00", "3.00", "97.00")
    assert rows[0]["created_at"].endswith("Z")
    kept = connection.execute(
        text("SELECT actor_name, after FROM audit_log WHERE action = 'transactions.exported'")
    ).one()
    assert kept.after == {"form": "csv", "filters": {"currency": "RUB"}}
    assert len(list(csv.reader(io.StringIO(panel.post(f"{LIST}export/csv").text)))) == 9


def test_no_cell_is_a_formula(panel: Panel, many: list[str]) -> None:
    (row,) = csv.DictReader(
        io.StringIO(panel.post(f"{LIST}export/csv?currency=USD").data.decode("utf-8-sig"))
    )
    assert row["reference"] == f"'{EVIL}"
    assert row["user_name"] == "'@other"
    assert row["description"].startswith('a,"b"')


def test_a_workbook_opens_and_holds_texts_only(panel: Panel, many: list[str]) -> None:
    answer = panel.post(f"{LIST}export/xlsx")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as book:
        assert book.testzip() is None
        for name in book.namelist():
            ET.fromstring(book.read(name))
        sheet = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))
    space = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    rows = [
        ["".join(cell.itertext()) for cell in row.findall("m:c", space)]
        for row in sheet.iterfind(".//m:row", space)
    ]
    assert rows[0] == list(export_service.COLUMNS)
    assert len(rows) == 9
    assert rows[1][12] == EVIL
    assert rows[1][13] == 'a,"b"\n_x005F_x0041_ <&>\ufffd'
    assert sheet.findall(".//m:f", space) == []


def test_an_export_ends_at_its_cap_and_at_what_is_ones_own(
    app: Flask,
    panel: Panel,
    engine: Engine,
    keyring: Keyring,
    many: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stranger = make_user(engine, keyring, password=PASSWORD)
    assert as_user(app, stranger).post(f"{LIST}export/csv").text.count("\n") == 1
    monkeypatch.setattr(export_service, "MOST_ROWS", 5)
    assert "more than 5 rows" in panel.get(f"{LIST}export").text
    assert panel.post(f"{LIST}export/csv?currency=RUB").text.count("\n") == 6
    assert panel.post(f"{LIST}export/csv?status=nonsense").status_code == 422
    assert panel.post(f"{LIST}export/csv", csrf_token=None).status_code == 400
    assert panel.get(f"{LIST}export/csv").status_code == 405


def test_before_an_export_it_is_said_how_many_rows_it_has(
    panel: Panel, many: list[str], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_service, "MOST_COUNTED", 3)
    known = connection.scalar(text("SELECT count(*) FROM transactions"))
    assert known > len(many)
    assert f"{known} rows, the newest first" in panel.get(f"{LIST}export").text, "by the sums"
    assert "Too many to be counted quickly" in panel.get(f"{LIST}export?amount_from=1").text
    assert "0 rows, the newest first" in panel.get(f"{LIST}export?currency=EUR").text
    assert "0 rows, the newest first" in panel.get(f"{LIST}export?amount_from=99999").text


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


def statuses(connection: Connection) -> dict[str, str]:
    return {
        str(row.id): row.status
        for row in connection.execute(text("SELECT id, status FROM transactions"))
    }


def test_a_preview_of_many_shows_first_what_cannot_be_done_and_counts_the_rest(
    panel: Panel,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction_bulk, "_SHOWN", 2)
    made = [make_transaction(engine, merchant)["id"] for _ in range(4)]
    overdue(superuser, made[2])
    asked = panel.post(f"{LIST}bulk/confirm/ask", {"id": made})
    assert "3 transactions can be changed" in asked.text
    assert "300.00" in asked.text
    assert ids(asked.text) == [made[2], made[0]]
    assert "2 more like these" in asked.text
    assert set(hidden(asked.text, "ids").split(",")) == set(made)


def test_many_are_confirmed_after_a_preview_and_each_is_told_of(
    panel: Panel,
    app: Flask,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    connection: Connection,
) -> None:
    app.extensions["standart.nudge"] = lambda: None
    good, also, late = (make_transaction(engine, merchant)["id"] for _ in range(3))
    overdue(superuser, late)
    unknown = str(new_id())
    asked = panel.post(f"{LIST}bulk/confirm/ask", {"id": [good, also, late, unknown, "x", good]})
    assert asked.status_code == 200
    assert "2 transactions can be changed" in asked.text
    assert "200.00" in asked.text
    assert set(statuses(connection).values()) == {"pending"}, "asking changes nothing"
    form = {name: hidden(asked.text, name) for name in ("act_id", "ids")}
    told = panel.post(f"{LIST}bulk/confirm", form)
    assert told.status_code == 200
    assert re.search(r"Done: <b>2</b>", told.text)
    assert re.search(r"Not done: <b>2</b>", told.text)
    after = statuses(connection)
    assert (after[good], after[also]) == ("confirmed", "confirmed")
    again = panel.post(f"{LIST}bulk/confirm", form)
    assert re.search(r"Had been done before: <b>2</b>", again.text)
    assert connection.scalar(text("SELECT count(*) FROM journals")) == 2


def test_all_that_match_are_canceled_with_a_reason(
    panel: Panel, app: Flask, engine: Engine, merchant: TestUser, connection: Connection
) -> None:
    app.extensions["standart.nudge"] = lambda: None
    for n in range(30):
        make_transaction(engine, merchant, reference=f"batch-{n}")
    kept = make_transaction(engine, merchant, reference="other")["id"]
    asked = panel.post(f"{LIST}bulk/cancel/ask?reference=batch-&status=pending", {"all": "1"}).text
    assert "30 transactions can be changed" in asked
    form = {name: hidden(asked, name) for name in ("act_id", "ids")}
    too_long = panel.post(f"{LIST}bulk/cancel", {**form, "reason": "x" * 501})
    assert too_long.status_code == 422
    assert hidden(too_long.text, "act_id") == form["act_id"]
    panel.post(f"{LIST}bulk/cancel", {**form, "reason": "a wrong price"})
    rows = connection.execute(text("SELECT id, status, reason FROM transactions")).all()
    assert {row.status for row in rows if str(row.id) != kept} == {"canceled"}
    assert {row.reason for row in rows if str(row.id) != kept} == {"a wrong price"}
    assert statuses(connection)[kept] == "pending"


def test_large_sums_take_two_admins_in_bulk_too(
    make_app: Any,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    connection: Connection,
) -> None:
    app = make_app(four_eyes_above=TOO_LARGE)
    app.extensions["standart.nudge"] = lambda: None
    second = make_user(engine, keyring, role=Role.ADMIN, password=PASSWORD)
    large = make_transaction(engine, merchant, amount="60000.00")["id"]
    one, other = as_user(app, admin), as_user(app, second)
    asked = one.post(f"{LIST}bulk/confirm/ask", {"id": [large]}).text
    form = {name: hidden(asked, name) for name in ("act_id", "ids")}
    for _ in range(2):
        told = one.post(f"{LIST}bulk/confirm", form).text
        assert "Waits for a second admin" in told, "the same form is the same consent"
    assert statuses(connection)[large] == "pending"
    anew = one.post(f"{LIST}bulk/confirm", {**form, "act_id": str(new_id())}).text
    assert "a second person must" in anew or "Not done" in anew
    told = other.post(f"{LIST}bulk/confirm", {**form, "act_id": str(new_id())}).text
    assert "Done: <b>1</b>" in told
    assert statuses(connection)[large] == "confirmed"


def test_what_is_not_reached_in_time_is_told_and_can_be_sent_again(
    panel: Panel,
    app: Flask,
    engine: Engine,
    merchant: TestUser,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app.extensions["standart.nudge"] = lambda: None
    made = [make_transaction(engine, merchant)["id"] for _ in range(2)]
    asked = panel.post(f"{LIST}bulk/cancel/ask", {"id": made}).text
    form = {name: hidden(asked, name) for name in ("act_id", "ids")} | {"reason": "gone <b>"}
    monkeypatch.setattr(transaction_bulk, "BUDGET_SECONDS", -1.0)
    told = panel.post(f"{LIST}bulk/cancel", form).text
    assert "Not reached: <b>2</b>" in told
    assert set(statuses(connection).values()) == {"pending"}
    monkeypatch.undo()
    rest = {name: unescape(hidden(told, name)) for name in ("act_id", "ids", "reason")}
    assert "Done: <b>2</b>" in panel.post(f"{LIST}bulk/cancel", rest).text
    assert set(connection.scalars(text("SELECT reason FROM transactions"))) == {"gone <b>"}


def test_bulk_needs_an_admin_ids_and_a_token(
    app: Flask, panel: Panel, engine: Engine, merchant: TestUser, connection: Connection
) -> None:
    made = make_transaction(engine, merchant)["id"]
    form = {"ids": made, "act_id": str(new_id())}
    assert as_user(app, merchant).post(f"{LIST}bulk/confirm", form).status_code == 403
    assert as_user(app, merchant).post(f"{LIST}bulk/confirm/ask", {"id": [made]}).status_code == 403
    assert panel.post(f"{LIST}bulk/confirm", form, csrf_token=None).status_code == 400
    assert panel.post(f"{LIST}bulk/confirm", {"ids": made}).status_code == 422
    assert panel.post(f"{LIST}bulk/confirm", {**form, "ids": ""}).status_code == 422
    too_many = ",".join(str(new_id()) for _ in range(bulk_service.MOST + 1))
    assert panel.post(f"{LIST}bulk/confirm", {**form, "ids": too_many}).status_code == 422
    assert panel.post(f"{LIST}bulk/confirm/ask", {}).status_code == 303
    assert set(statuses(connection).values()) == {"pending"}


PAGES = (
    "/admin/",
    "/admin/live",
    "/admin/chart",
    LIST,
    f"{LIST}?status=expired&reference=r",
    f"{LIST}export",
    "/admin/search/?q=r",
)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_a_constant_number_of_times(
    panel: Panel, app: Flask, engine: Engine, keyring: Keyring, merchant: TestUser, path: str
) -> None:
    counts = []
    for rows in (1, 12):
        for n in range(rows):
            make_transaction(engine, merchant, reference=f"r{n}")
            make_transaction(engine, make_user(engine, keyring), reference=f"r{n}")
        assert panel.get(path).status_code == 200
        counts.append(counted(app, lambda: panel.get(path)))
    assert counts[0] == counts[1] <= 12


def test_one_transactions_page_asks_a_constant_number_of_times(
    panel: Panel, app: Flask, engine: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    scene = busy_merchant(engine, keyring, admin, "a note")
    bare = make_transaction(engine, merchant)["id"]
    counts = []
    for each in (bare, scene.paid):
        page = f"{LIST}{each}"
        panel.get(page)
        counts.append(counted(app, lambda page=page: panel.get(page)))
    assert max(counts) <= 12
    assert counts[1] - counts[0] <= 1, "its refunds and notes cost no query each"


def test_the_dashboard_and_its_chart_tell_what_there_is(
    panel: Panel, app: Flask, engine: Engine, merchant: TestUser, connection: Connection
) -> None:
    app.extensions["standart.nudge"] = lambda: None
    made = [make_transaction(engine, merchant)["id"] for _ in range(3)]
    panel.post(f"{LIST}{made[0]}/confirm")
    before = panel.get("/admin/live").text
    sums_service.keep(connection)
    after = panel.get("/admin/live").text
    assert before == after, "summed or not, the figures are the same"
    assert "Confirmed today" in after
    first = panel.get("/admin/chart?period=24h&currency=RUB")
    body = json.loads(first.data)
    assert len(body["times"]) == 24
    assert {each["status"]: sum(each["counts"]) for each in body["series"]} == {
        "confirmed": 1,
        "canceled": 0,
        "expired": 0,
        "pending": 2,
    }
    assert body["series"][0]["sums"][-1] == "100.00"
    waiting = body["series"][-1]
    assert (waiting["counts"][-1], waiting["sums"][-1]) == (2, "200.00")
    assert (waiting["counts"][-2], waiting["sums"][-2]) == (0, "0.00")
    same = panel.get(
        "/admin/chart?period=24h&currency=RUB",
        headers={"Accept-Language": "en", "If-None-Match": first.headers["ETag"]},
    )
    assert (same.status_code, same.data) == (304, b"")
    for period, steps in (("7d", 168), ("30d", 30), ("nonsense", 24)):
        assert len(json.loads(panel.get(f"/admin/chart?period={period}").data)["times"]) == steps
    assert "/admin/live?currency=RUB" in panel.get("/admin/?currency=RUB").text
