"""Payouts in the panel: asked for, decided, ended, each of them once."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.models import Role
from standart.states import PayoutAction, PayoutStatus
from tests.builders import PASSWORD, TestUser, make_user
from tests.integration.panel import Panel, kept_rows
from tests.integration.payouts import DESTINATION, WAYS, act, balances, created, credit
from tests.integration.query_count import counted
from tests.integration.test_admin_books import DAY, logged_in, words

TWO_PEOPLE = {"RUB": 50_00}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(four_eyes_above=TWO_PEOPLE)


@pytest.fixture
def panel(app: Flask, admin: TestUser) -> Panel:
    return logged_in(app, admin)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring, admin: TestUser) -> TestUser:
    """A merchant with 194.00 RUB available."""
    made = make_user(engine, keyring, name="shop", password=PASSWORD)
    credit(engine, admin, made, "200.00")
    return made


@pytest.fixture
def make(engine: Engine, keyring: Keyring, admin: TestUser, shop: TestUser) -> Callable[..., UUID]:
    """Make a payout that stands at a status."""

    def make(status: PayoutStatus = PayoutStatus.PENDING, **fields: Any) -> UUID:
        with autocommit(engine) as connection:
            payout_id = created(connection, keyring, admin.digest, **{"user_id": shop.id, **fields})
            for action in WAYS[status]:
                act(connection, admin.digest, payout_id, action)
        return payout_id

    return make


def status_of(connection: Connection, payout_id: UUID) -> str:
    return str(
        connection.scalar(text("SELECT status FROM payouts WHERE id = :id"), {"id": payout_id})
    )


def hidden(page: str) -> dict[str, str]:
    """What a confirmation page carries along."""
    form = page.split("<main")[1]
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)
    return {name: html.unescape(value) for name, value in found if name != "csrf_token"}


def test_a_payout_is_asked_for_after_a_second_look_and_once(
    panel: Panel, shop: TestUser, connection: Connection
) -> None:
    before = kept_rows(connection)
    typed = {
        "user": "SHOP",
        "amount": "40.00",
        "destination": "iban: DE89370400440532013000\nholder: <b>Anna</b>",
        "reference": "Nov & Dec",
    }

    assert panel.get("/admin/payouts/new?user=shop").status_code == 200
    asked = panel.post("/admin/payouts/new", typed)

    assert asked.status_code == 200
    assert "Ask for a payout of 40.00 RUB to shop?" in words(asked.text)
    assert "Available 194.00 RUB" in words(asked.text)
    assert "holder <b>Anna</b>" in words(asked.text)
    assert kept_rows(connection) == before, "looking once more writes nothing"

    carried = hidden(asked.text)
    said = panel.follow(panel.post("/admin/payouts/create", carried))
    again = panel.follow(panel.post("/admin/payouts/create", carried))

    assert "The payout is asked for" in said
    assert words(said) == words(again)
    assert "iban ****3000" in words(said)
    assert connection.scalar(text("SELECT count(*) FROM payouts")) == 1
    assert balances(connection, shop.id)["pending_payout"] == 4000
    assert "DE89370400440532013000" not in str(
        connection.execute(text("SELECT * FROM idempotency_keys")).all()
    )


def test_a_form_sent_again_with_other_values_does_nothing(
    panel: Panel, shop: TestUser, connection: Connection
) -> None:
    asked = panel.post("/admin/payouts/new", {"user": "shop", "amount": "40.00"})
    carried = hidden(asked.text)
    panel.post("/admin/payouts/create", carried)

    other = panel.post("/admin/payouts/create", {**carried, "amount": "41.00"})

    assert other.status_code == 422
    assert "sent before with other values" in words(other.text)
    assert balances(connection, shop.id)["pending_payout"] == 4000


def test_four_clicks_at_once_make_one_payout(
    app: Flask, panel: Panel, shop: TestUser, connection: Connection
) -> None:
    carried = hidden(panel.post("/admin/payouts/new", {"user": "shop", "amount": "40.00"}).text)
    carried["csrf_token"] = panel.token()
    cookies = "; ".join(
        f"{cookie.key}={cookie.value}"
        for name in ("standart_session", "standart_form")
        if (cookie := panel.client.get_cookie(name))
    )
    start = threading.Barrier(4)
    statuses: list[int] = []

    def click() -> None:
        client = app.test_client(use_cookies=False)
        start.wait()
        sent = client.post("/admin/payouts/create", data=carried, headers={"Cookie": cookies})
        statuses.append(sent.status_code)

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Who comes while the first one is at it is told so.
    assert set(statuses) <= {303, 409}
    assert 303 in statuses
    assert connection.scalar(text("SELECT count(*) FROM payouts")) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"user": "nobody"}, "There is no such user."),
        ({"amount": "0"}, "must be a sum above zero"),
        ({"amount": "-5"}, "must be a sum above zero"),
        ({"amount": "1e3"}, "must be a sum above zero"),
        ({"amount": "1.001"}, "at most 2 digits"),
        ({"amount": "1,50"}, "must be a sum above zero"),
        ({"currency": "XXZ"}, "is not a known currency code"),
        ({"destination": "no colon"}, "must have a line of the form name: value"),
        ({"destination": "a: 1\na: 2"}, "must have a line of the form name: value"),
        ({"destination": "card: 4111 1111 1111 1111"}, "must not hold a card number"),
        ({"destination": "\n".join(f"n{n}: 1" for n in range(21))}, "at most 20 entries"),
        ({"reference": "x" * 129}, "at most 128 characters"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_said_beside_its_field(
    panel: Panel, shop: TestUser, connection: Connection, wrong: dict[str, str], said: str
) -> None:
    before = kept_rows(connection)
    typed = {
        "user": "shop",
        "amount": "5.00",
        "once": "00000000-0000-7000-8000-0000000000aa",
        **wrong,
    }

    for address in ("/admin/payouts/new", "/admin/payouts/create"):
        answer = panel.post(address, typed)
        assert answer.status_code == 422, address
        assert said in words(answer.text)
    assert kept_rows(connection) == before


def test_more_than_there_is_says_so_and_keeps_what_was_typed(
    panel: Panel, shop: TestUser, connection: Connection
) -> None:
    typed = {"user": "shop", "amount": "194.01"}
    at_once = panel.post("/admin/payouts/new", typed)
    carried = hidden(panel.post("/admin/payouts/new", {**typed, "amount": "194.00"}).text)

    # What was there when it was asked about may be gone by now.
    too_late = panel.post("/admin/payouts/create", {**carried, **typed})

    assert (at_once.status_code, too_late.status_code) == (422, 409)
    for answer in (at_once, too_late):
        assert "less than this is available" in words(answer.text)
        assert 'value="194.01"' in answer.text
    assert balances(connection, shop.id) == {
        "available": 19400,
        "clearing": -20000,
        "commission": 600,
    }


def test_the_event_of_a_payout_leads_to_it(
    panel: Panel, make: Callable[..., UUID], connection: Connection
) -> None:
    payout_id = make()
    told = connection.scalar(text("SELECT id FROM events WHERE payout_id = :id"), {"id": payout_id})

    page = panel.get(f"/admin/webhooks/{told}").text

    assert f'<a href="/admin/payouts/{payout_id}"><code class="whole">' in page


def test_russians_may_type_a_comma(app: Flask, admin: TestUser, shop: TestUser) -> None:
    russian = Panel(app.test_client(), headers={"Accept-Language": "ru"})
    russian.log_in(admin)

    asked = russian.post("/admin/payouts/new", {"user": "shop", "amount": "1 00,50"})

    assert asked.status_code == 200
    assert "100,50 RUB" in words(asked.text).replace("\xa0", " ")


def test_approved_and_paid(
    panel: Panel, make: Callable[..., UUID], shop: TestUser, connection: Connection, admin: TestUser
) -> None:
    payout_id = make(amount="30.00")
    address = f"/admin/payouts/{payout_id}"

    question = words(panel.get(f"{address}/ask/approve").text)
    assert "Approve the payout of 30.00 RUB to shop?" in question
    assert status_of(connection, payout_id) == "pending"
    said = panel.follow(panel.post(f"{address}/approve"))
    assert "The payout is approved." in said
    assert "/ask/pay" in said
    assert "/ask/approve" not in said
    paid = panel.follow(panel.post(f"{address}/paid", {"reason": "batch 7"}))
    again = panel.follow(panel.post(f"{address}/paid", {"reason": "batch 7"}))

    assert "The payout is paid." in paid
    assert "The payout is paid." in again
    assert "<q>batch 7</q>" in paid
    assert "/ask/" not in paid
    assert re.search(rf"Asked for {DAY}", words(paid))
    assert words(paid).count(admin.name) >= 3, "who asked, approved and paid"
    assert balances(connection, shop.id).get("pending_payout") is None
    assert connection.scalar(text("SELECT count(*) FROM events WHERE type = 'payout.paid'")) == 1


@pytest.mark.parametrize(
    ("status", "path", "data", "target"),
    [
        (PayoutStatus.PENDING, "reject", {"reason": "wrong account"}, "rejected"),
        (PayoutStatus.PENDING, "cancel", {}, "canceled"),
        (PayoutStatus.APPROVED, "failed", {"reason": "bank said no"}, "failed"),
    ],
)
def test_what_is_not_paid_is_available_again(
    panel: Panel,
    make: Callable[..., UUID],
    shop: TestUser,
    connection: Connection,
    status: PayoutStatus,
    path: str,
    data: dict[str, str],
    target: str,
) -> None:
    payout_id = make(status, amount="30.00")

    said = panel.follow(panel.post(f"/admin/payouts/{payout_id}/{path}", data))

    assert "its money is available again" in said
    assert status_of(connection, payout_id) == target
    assert balances(connection, shop.id)["available"] == 19400
    if data:
        assert f"<q>{data['reason']}</q>" in said


def test_a_rejection_needs_a_reason(
    panel: Panel, make: Callable[..., UUID], connection: Connection
) -> None:
    payout_id = make()

    for reason in ("", "   ", "x" * 501, "two\nlines"):
        answer = panel.post(f"/admin/payouts/{payout_id}/reject", {"reason": reason})
        assert answer.status_code == 422
    assert status_of(connection, payout_id) == "pending"


def test_a_stale_page_says_what_is_true_now(
    panel: Panel, make: Callable[..., UUID], connection: Connection
) -> None:
    for status, action in product(PayoutStatus, PayoutAction):
        completes = action in (PayoutAction.PAY, PayoutAction.FAIL)
        if status is (PayoutStatus.APPROVED if completes else PayoutStatus.PENDING):
            continue
        payout_id = make(status, amount="1.00")
        route = {"pay": "paid", "fail": "failed"}.get(action.value, action.value)
        asked = panel.get(f"/admin/payouts/{payout_id}/ask/{action.value}")

        said = words(panel.follow(asked))
        sent = panel.post(f"/admin/payouts/{payout_id}/{route}", {"reason": "late"})

        assert "Nothing was changed: the status of the payout is:" in said
        assert sent.status_code == 303
        assert status_of(connection, payout_id) == status.value


def test_a_large_one_takes_two_people(
    app: Flask,
    panel: Panel,
    make: Callable[..., UUID],
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    admin: TestUser,
) -> None:
    payout_id = make(amount="50.01")
    address = f"/admin/payouts/{payout_id}"
    second = make_user(engine, keyring, name="second", role=Role.ADMIN, password=PASSWORD)

    assert "This sum takes two people" in panel.get(f"{address}/ask/approve").text
    said = words(panel.follow(panel.post(f"{address}/approve")))
    assert "Your approval is kept. A second person must approve as well." in said
    assert re.search(rf"Approvals {admin.name} , {DAY}", said)
    again = words(panel.follow(panel.post(f"{address}/approve")))
    assert "You have approved this already" in again
    assert status_of(connection, payout_id) == "pending"

    other = logged_in(app, second)
    assert "One person has approved already" in other.get(f"{address}/ask/approve").text
    done = words(other.follow(other.post(f"{address}/approve")))
    assert "The payout is approved." in done
    assert status_of(connection, payout_id) == "approved"


def test_the_destination_is_masked_until_somebody_looks_who_may(
    app: Flask,
    panel: Panel,
    make: Callable[..., UUID],
    shop: TestUser,
    connection: Connection,
) -> None:
    payout_id = make(destination=DESTINATION)
    address = f"/admin/payouts/{payout_id}"

    assert "40817810099910004312" not in panel.get(address).text
    shown = panel.post(f"{address}/destination").text
    assert "40817810099910004312" in shown
    assert "Payout destination shown" in shown
    looks = "SELECT count(*) FROM audit_log WHERE action = 'payout.destination_read'"
    assert connection.scalar(text(looks)) == 1

    own = logged_in(app, shop)
    page = own.get(address)
    assert page.status_code == 200
    assert "****4312" in page.text
    assert "/destination" not in page.text
    assert own.post(f"{address}/destination").status_code == 403


def test_merchants_see_their_own_and_decide_nothing(
    app: Flask, make: Callable[..., UUID], shop: TestUser, merchant: TestUser, admin: TestUser
) -> None:
    payout_id = make(PayoutStatus.APPROVED, reference="salary")
    own, other = logged_in(app, shop), logged_in(app, merchant)

    listed = own.get("/admin/payouts/").text
    page = own.get(f"/admin/payouts/{payout_id}").text

    assert str(payout_id) in listed
    assert "/payouts/new" not in listed
    assert "salary" in page
    assert "/ask/" not in page
    assert admin.name not in page
    assert str(payout_id) not in other.get("/admin/payouts/?user=shop").text
    assert other.get(f"/admin/payouts/{payout_id}").status_code == 404


def test_filters_are_chips_and_pages_go_by_key(
    panel: Panel, make: Callable[..., UUID], connection: Connection
) -> None:
    made = {status: make(status, amount="1.00", reference=f"r-{status}") for status in PayoutStatus}

    def ids(query: str) -> set[str]:
        found = panel.get(f"/admin/payouts/?{query}").text
        return set(re.findall(r'href="/admin/payouts/([0-9a-f-]{36})"', found))

    everything = {str(each) for each in made.values()}
    open_ones = {str(made[PayoutStatus.PENDING]), str(made[PayoutStatus.APPROVED])}
    assert ids("") == everything
    assert ids("status=open") == open_ones
    for status, payout_id in made.items():
        assert ids(f"status={status.value}") == {str(payout_id)}
        assert ids(f"reference=r-{status}") == {str(payout_id)}
    assert ids("currency=usd") == set()
    assert ids("currency=rub&user=shop&created_from=2020-01-01") == everything
    assert ids("created_to=2020-01-01") == set()
    for nonsense in (
        "status=x",
        "currency=x",
        "user=nobody",
        "created_from=x",
        "created_to=9999-12-31",
        # No moment of UTC: as far as a calendar goes, and some hours more.
        "created_from=0001-01-01T00:00%2B05:00",
        "created_to=9999-12-31T23:59-05:00",
    ):
        assert ids(nonsense) == set(), nonsense
    page = panel.get("/admin/payouts/?status=open&currency=zzz").text
    assert "Status: Open: pending or approved" in page
    assert "Currency: zzz (unknown)" in page
    assert "Nothing matches." in page


def test_the_next_page_goes_on_where_this_one_ends(panel: Panel, make: Callable[..., UUID]) -> None:
    made = [str(make(amount="0.01")) for _ in range(27)]

    first = panel.get("/admin/payouts/?status=pending").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = panel.get(html.unescape(older[1])).text

    shown = [re.findall(r'href="/admin/payouts/([0-9a-f-]{36})"', page) for page in (first, second)]
    assert [len(each) for each in shown] == [25, 2]
    assert shown[0] + shown[1] == made[::-1]
    assert "Status: Pending" in second


def test_pages_take_few_queries_and_no_more_for_more_rows(
    panel: Panel, make: Callable[..., UUID], app: Flask
) -> None:
    payout_id = make(destination=DESTINATION)
    one = counted(app, lambda: panel.get("/admin/payouts/?user=shop&status=open"))
    for _ in range(5):
        make(amount="1.00")
    six = counted(app, lambda: panel.get("/admin/payouts/?user=shop&status=open"))

    assert one == six <= 12
    assert counted(app, lambda: panel.get(f"/admin/payouts/{payout_id}")) <= 12
    assert counted(app, lambda: panel.get(f"/admin/payouts/{payout_id}/ask/approve")) <= 12
