"""Transactions, webhooks and the audit log in the panel."""

from __future__ import annotations

import html
import re
import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.services import heartbeat_service, ledger_service, webhook_service
from standart.services.webhook_work import AttemptResult
from tests.builders import TestUser, make_transaction, make_user, overdue
from tests.integration.panel import Panel, kept_rows

TEXTS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "%(x)s %s %",
    "' OR 1=1 --",
    "Кофе «Ё» ☕",
]


@pytest.fixture
def panel(client: FlaskClient, admin: TestUser) -> Panel:
    made = Panel(client)
    made.log_in(admin)
    return made


def _status(connection: Connection, transaction_id: str) -> str:
    return str(
        connection.scalar(
            text("SELECT status FROM transactions WHERE id = :id"), {"id": transaction_id}
        )
    )


def _ids(page: str) -> list[str]:
    return re.findall(r'class="id" href="/admin/transactions/([0-9a-f-]{36})[?"]', page)


def test_confirm_asks_first_then_credits_once(
    panel: Panel, app: Flask, engine: Engine, merchant: TestUser, connection: Connection
) -> None:
    nudges: list[int] = []
    app.extensions["standart.nudge"] = lambda: nudges.append(1)
    made = make_transaction(engine, merchant, amount="100.00")
    address = f"/admin/transactions/{made['id']}"

    assert f'href="{address}/ask/confirm"' in panel.get(address).text
    question = panel.get(f"{address}/ask/confirm").text
    assert "97.00" in question
    assert _status(connection, made["id"]) == "pending", "asking changes nothing"
    said = panel.follow(panel.post(f"{address}/confirm"))
    again = panel.follow(panel.post(f"{address}/confirm"))

    assert "The transaction is confirmed." in said
    assert "The transaction is confirmed." in again
    assert "/ask/" not in said, "nothing is left to choose"
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9700)]
    assert connection.scalar(text("SELECT count(*) FROM journals")) == 1
    assert nudges, "the worker is woken"
    record = connection.execute(
        text("SELECT * FROM audit_log WHERE object_id = :id"), {"id": made["id"]}
    ).one()
    assert (record.channel, record.ip) == ("panel", "127.0.0.1")
    assert record.request_id


def test_entries_events_and_audit_are_on_the_page(
    panel: Panel, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    owner = make_user(engine, keyring, webhook_url="https://example.com/hook")
    made = make_transaction(engine, owner, amount="100.00", metadata={"table": "seven"})
    panel.post(f"/admin/transactions/{made['id']}/confirm")

    page = panel.get(f"/admin/transactions/{made['id']}").text

    for shown in ("-100.00", "97.00", "3.00", "Clearing", "Waiting", "0 attempts", "seven"):
        assert shown in page
    assert '"type": "transaction.confirmed"' in html.unescape(page), "the body that is sent"
    assert f"<bdi>{admin.name}</bdi>" in page
    assert re.search(
        r'<h1>.*<span class="status confirmed"><svg[^>]*>.*?</svg>Confirmed</span>', page
    )


def test_the_timeline_writes_sums_as_the_viewer_does(
    panel: Panel, engine: Engine, merchant: TestUser
) -> None:
    made = make_transaction(engine, merchant, amount="1234.50")
    panel.post(f"/admin/transactions/{made['id']}/confirm")
    panel.defaults["headers"] = {"Accept-Language": "ru"}

    page = panel.get(f"/admin/transactions/{made['id']}").text

    space = "\N{NO-BREAK SPACE}"
    course = page.split('<ol class="timeline">')[1].split("</ol>")[0]
    assert f"Клиринг -1{space}234,50{space}RUB" in course
    assert "1234.50" not in course


def test_cancel_keeps_the_reason(
    panel: Panel, engine: Engine, merchant: TestUser, connection: Connection
) -> None:
    made = make_transaction(engine, merchant)
    address = f"/admin/transactions/{made['id']}"
    assert 'name="reason"' in panel.get(f"{address}/ask/cancel").text

    said = panel.follow(panel.post(f"{address}/cancel", {"reason": "customer <b>left</b>"}))

    assert "The transaction is canceled." in said
    assert "<q>customer &lt;b&gt;left&lt;/b&gt;</q>" in said
    assert _status(connection, made["id"]) == "canceled"
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 0)]


@pytest.mark.parametrize("reason", ["x" * 501, "two\r\nlines", "nul\0", "bell\x07"])
def test_a_reason_that_does_not_fit_changes_nothing(
    panel: Panel, engine: Engine, merchant: TestUser, connection: Connection, reason: str
) -> None:
    made = make_transaction(engine, merchant)

    answer = panel.post(f"/admin/transactions/{made['id']}/cancel", {"reason": reason})

    assert answer.status_code == 422
    assert "at most 500 characters" in answer.text
    assert _status(connection, made["id"]) == "pending"


def test_a_stale_page_says_what_is_true_now(
    panel: Panel, engine: Engine, superuser: Engine, merchant: TestUser, connection: Connection
) -> None:
    made = make_transaction(engine, merchant)
    address = f"/admin/transactions/{made['id']}"
    panel.get(f"{address}/ask/confirm")
    overdue(superuser, made["id"])
    before = kept_rows(connection)

    said = panel.follow(panel.post(f"{address}/confirm"))
    too_late = panel.follow(panel.get(f"{address}/ask/cancel"))

    assert "Nothing was changed" in said
    assert "Expired" in said
    assert re.search(r'<h1>.*<span class="status expired"><svg[^>]*>.*?</svg>Expired</span>', said)
    assert "not pending any more: Expired." in too_late
    assert kept_rows(connection) == before
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 0)]


def test_confirming_what_was_canceled_says_so(
    panel: Panel, engine: Engine, merchant: TestUser, connection: Connection
) -> None:
    made = make_transaction(engine, merchant)
    address = f"/admin/transactions/{made['id']}"
    panel.post(f"{address}/cancel")

    said = panel.follow(panel.post(f"{address}/confirm"))

    assert "Its status is: Canceled." in said
    assert _status(connection, made["id"]) == "canceled"


def test_two_clicks_at_once_have_one_effect(
    app: Flask, panel: Panel, engine: Engine, merchant: TestUser, connection: Connection
) -> None:
    made = make_transaction(engine, merchant)
    token = panel.token()
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
        answer = client.post(
            f"/admin/transactions/{made['id']}/confirm",
            data={"csrf_token": token},
            headers={"Cookie": cookies},
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [303] * 4
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9700)]
    assert connection.scalar(text("SELECT count(*) FROM events")) == 1


def test_an_unknown_transaction_is_not_settled(panel: Panel, connection: Connection) -> None:
    unknown = "00000000-0000-7000-8000-000000000000"
    before = kept_rows(connection)

    for act in ("confirm", "cancel"):
        assert panel.post(f"/admin/transactions/{unknown}/{act}").status_code == 404
    for nonsense in ("1%20OR%201=1", "x" * 10_000, f"{unknown},{unknown}"):
        assert panel.post(f"/admin/transactions/{nonsense}/confirm").status_code == 404
    assert panel.post(f"/admin/transactions/{unknown}/expire").status_code == 404
    assert kept_rows(connection) == before


def test_filters_live_in_the_url(
    panel: Panel, engine: Engine, superuser: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    other = make_user(engine, keyring, name="Other & Co")
    pending = make_transaction(engine, merchant, reference="A-1")["id"]
    late = make_transaction(engine, merchant, reference="A-2")["id"]
    theirs = make_transaction(engine, other, reference="A-1")["id"]
    confirmed = make_transaction(engine, other)["id"]
    overdue(superuser, late)
    panel.post(f"/admin/transactions/{confirmed}/confirm")

    def found(**query: str) -> set[str]:
        return set(_ids(panel.get("/admin/transactions/", query_string=query).text))

    assert found() == {pending, late, theirs, confirmed}
    assert found(status="pending") == {pending, theirs}
    assert found(status="expired") == {late}, "overdue counts as expired before a sweep has run"
    assert found(status="confirmed") == {confirmed}
    assert found(user="other & co") == {theirs, confirmed}
    assert found(user="other & co", reference="A-1") == {theirs}
    assert found(user="nobody") == set()
    assert found(reference="A") == {pending, late, theirs}, "the beginning of it"
    assert found(reference="a") == set()
    assert found(id="nonsense") == set()
    assert found(status="nonsense") == set(), "what is not known matches nothing"
    assert found(reference="\0") == found(), "nothing is left of it"
    jump = panel.get("/admin/transactions/", query_string={"id": pending.upper()})
    assert jump.headers["Location"] == f"/admin/transactions/{pending}"
    page = panel.get(
        "/admin/transactions/", query_string={"user": "Other & Co", "status": "pending"}
    ).text
    assert 'href="/admin/transactions/?user=Other+%26+Co"' in page, "the chip drops one filter"
    assert 'href="/admin/transactions/?status=pending"' in page
    assert "Nothing matches." in panel.get("/admin/transactions/?user=nobody").text


def test_pages_follow_one_another_without_loss(
    panel: Panel, engine: Engine, merchant: TestUser
) -> None:
    made = [make_transaction(engine, merchant)["id"] for _ in range(60)]
    seen: list[str] = []
    address: str | None = "/admin/transactions/?status=pending"
    pages = 0
    while address:
        page = panel.get(address).text
        seen += _ids(page)
        pages += 1
        found = re.search(r'rel="next" href="([^"]+)"', page)
        address = found[1].replace("&amp;", "&") if found else None
        assert address is None or "status=pending" in address

    assert pages == 3
    assert seen == list(reversed(made))


@pytest.mark.parametrize(
    "after",
    [
        "99999999999999999999",
        "-1",
        "x",
        "_",
        "2026-01-01T00:00:00_00000000-0000-7000-8000-000000000000",
        "9999-99-99T00:00:00+00:00_x",
        "2026-01-01T00:00:00+00:00_" + "0" * 36,
        "\0",
        "é" * 3000,
    ],
)
@pytest.mark.parametrize("tab", ["transactions", "webhooks", "audit", "users"])
def test_a_made_up_page_is_no_error(panel: Panel, tab: str, after: str) -> None:
    answer = panel.get(f"/admin/{tab}/", query_string={"after": after, "page": "9" * 20})

    assert answer.status_code == 200


@pytest.mark.parametrize("said", TEXTS)
def test_texts_of_others_are_shown_as_text(
    app: Flask, panel: Panel, engine: Engine, keyring: Keyring, admin: TestUser, said: str
) -> None:
    owner = make_user(
        engine, keyring, name=said, webhook_url="https://example.com/hook", password="x" * 12
    )
    made = make_transaction(
        engine, owner, reference=said, description=said, metadata={"note": said}
    )
    panel.post(f"/admin/transactions/{made['id']}/cancel", {"reason": said})
    theirs = Panel(app.test_client())
    theirs.log_in(owner, "x" * 12)
    pages = [
        panel.get(path, query_string=query).text
        for path, query in (
            ("/admin/", {}),
            ("/admin/users/", {"name": said}),
            (f"/admin/users/{owner.id}", {}),
            (f"/admin/users/{owner.id}/edit", {}),
            (f"/admin/users/{owner.id}/ask/deactivate", {}),
            (f"/admin/users/{owner.id}/secret/ask", {}),
            ("/admin/transactions/", {"reference": said, "user": said}),
            (f"/admin/transactions/{made['id']}", {}),
            ("/admin/webhooks/", {"user": said}),
            ("/admin/audit/", {"actor": said, "object_id": said, "action": said}),
            ("/admin/transactions/", {said: said, "status": said, "limit": said}),
        )
    ]
    pages += [theirs.get("/admin/").text, theirs.get("/admin/transactions/").text]
    pages.append(panel.post(f"/admin/users/{owner.id}/secret").text)
    pages.append(panel.post("/admin/users/new", {"name": said}).text)
    pages.append(panel.post("/login", {"name": said, "password": "x"}).text)

    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        if said == "{{7*7}}":
            assert ">49<" not in page
    if "☕" in said:
        assert said in pages[0]
        assert f"<title>{said}" in pages[2]


def test_webhooks_show_attempts_and_what_came_back(
    panel: Panel, engine: Engine, keyring: Keyring, connection: Connection
) -> None:
    owner = make_user(engine, keyring, webhook_url="https://example.com/hook")
    made = make_transaction(engine, owner)
    panel.post(f"/admin/transactions/{made['id']}/confirm")
    (claimed,) = webhook_service.claim_due(connection, keyring).deliveries
    result = AttemptResult("http_500", 500, "<h1>Oops & more</h1>", "", 41)
    webhook_service.record_attempts(connection, [(claimed, result)], schedule=(5,))

    listed = panel.get("/admin/webhooks/").text
    detail = panel.get(f"/admin/webhooks/{claimed.event_id}").text

    assert f"/admin/webhooks/{claimed.event_id}" in listed
    assert "Waiting" in listed
    assert '<span title="http_500">HTTP 500</span>' in detail
    assert "<pre>&lt;h1&gt;Oops &amp; more&lt;/h1&gt;</pre>" in detail
    assert "41 ms" in detail
    assert "&#34;type&#34;: &#34;transaction.confirmed&#34;" in detail
    assert owner.webhook_secret not in detail
    assert "http_500" in panel.get(f"/admin/transactions/{made['id']}").text
    for query, rows in (
        ({"type": "transaction.confirmed"}, 1),
        ({"type": "transaction.expired"}, 0),
        ({"transaction": made["id"]}, 1),
        ({"transaction": "nonsense"}, 0),
        ({"user": owner.name}, 1),
        ({"user": "nobody"}, 0),
    ):
        page = panel.get("/admin/webhooks/", query_string=query).text
        assert page.count('data-label="Event"') == rows, query


def test_the_audit_log_can_be_searched(
    panel: Panel, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = make_transaction(engine, merchant)
    panel.post(f"/admin/transactions/{made['id']}/cancel", {"reason": "by hand"})

    for query, shown in (
        ({"actor": admin.name.upper()}, True),
        ({"actor": "nobody"}, False),
        ({"object_id": made["id"]}, True),
        ({"action": "transaction.canceled"}, True),
        ({"action": "transaction.confirmed"}, False),
    ):
        page = panel.get("/admin/audit/", query_string=query).text
        assert ("by hand" in page) is shown, query


def test_the_dashboard_counts_and_sums(
    panel: Panel,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    merchant: TestUser,
    connection: Connection,
) -> None:
    yen = make_user(engine, keyring, currency="JPY")
    for amount in ("100.00", "0.05"):
        panel.post(
            f"/admin/transactions/{make_transaction(engine, merchant, amount=amount)['id']}/confirm"
        )
    panel.post(f"/admin/transactions/{make_transaction(engine, yen, amount='7')['id']}/confirm")
    make_transaction(engine, merchant, amount="5.00")
    overdue(superuser, make_transaction(engine, merchant)["id"])

    page = panel.get("/admin/").text

    cards = dict(re.findall(r'status=(\w+)">.*?<span class="value">(\d+)</span>', page, re.DOTALL))
    assert cards == {"pending": "1", "confirmed": "3", "canceled": "0", "expired": "1"}
    assert "100.05&nbsp;<abbr" in page
    assert "7&nbsp;<abbr" in page
    assert "active: 3" in page
    assert page.count('data-label="Commission"') == 5


def test_only_what_was_confirmed_in_the_viewers_day_is_summed(
    panel: Panel, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    made = make_transaction(engine, merchant, amount="321.00")
    panel.post(f"/admin/transactions/{made['id']}/confirm")
    today = panel.get("/admin/live").text
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text(
                "UPDATE transactions SET created_at = created_at - interval '2 days',"
                " finished_at = finished_at - interval '2 days'"
            )
        )

    assert "321.00" in today.split("<table")[0]
    assert "321.00" not in panel.get("/admin/live").text.split("<table")[0]


def test_the_strip_tells_how_the_background_work_does(
    panel: Panel, superuser: Engine, connection: Connection
) -> None:
    assert "never seen" in panel.get("/admin/live").text
    for part in ("sweep", "delivery"):
        heartbeat_service.beat(connection, part)
    fresh = panel.get("/admin/live").text
    with superuser.begin() as owner:
        owner.execute(text("UPDATE heartbeats SET seen_at = seen_at - interval '10 minutes'"))
    late = panel.get("/admin/live").text

    assert fresh.count('<li class="ok">') == 3
    assert late.count('<li class="late">') == 2
    assert "last seen 10 minutes ago" in late


def test_the_live_part_is_sent_again_only_when_it_changed(
    panel: Panel, engine: Engine, merchant: TestUser
) -> None:
    first = panel.get("/admin/live")
    tag = {"headers": {"If-None-Match": first.headers["ETag"], "Accept-Language": "en"}}
    same = panel.get("/admin/live", **tag)
    make_transaction(engine, merchant)
    changed = panel.get("/admin/live", **tag)

    assert "<html" not in first.text
    assert (same.status_code, same.data) == (304, b"")
    assert changed.status_code == 200


def test_without_script_the_page_renews_itself_by_the_chosen_period(panel: Panel) -> None:
    chosen: dict[str, Any] = {
        period: 'http-equiv="refresh" content="15"' in panel.get(f"/admin/?refresh={period}").text
        for period in ("15", "0", "7", "x", "")
    }

    assert chosen == {"15": True, "0": False, "7": False, "x": False, "": False}


def test_a_merchant_sees_its_own_figures(
    app: Flask, panel: Panel, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    other = make_user(engine, keyring)
    for owner, amount in ((merchant, "10.00"), (other, "55.00")):
        made = make_transaction(engine, owner, amount=amount)
        panel.post(f"/admin/transactions/{made['id']}/confirm")
    theirs = Panel(app.test_client())
    theirs.log_in(merchant)

    page = theirs.get("/admin/").text

    assert "10.00" in page
    assert "9.70" in page, "the balance"
    assert "55.00" not in page
    assert "never seen" not in page, "how the service does is for operators"


@pytest.mark.parametrize(
    "foreign",
    ["endpoint=x", "_method=POST", "_scheme=javascript&_external=1", "_anchor=x", "self=1"],
)
def test_a_list_links_to_itself_whatever_else_its_address_names(panel: Panel, foreign: str) -> None:
    answer = panel.get(f"/admin/transactions/?status=pending&{foreign}")

    assert answer.status_code == 200
    chip = re.search(r'class="chips".*?href="([^"]*)"', answer.text, re.DOTALL)
    assert chip is not None
    assert html.unescape(chip[1]) == f"/admin/transactions/?{foreign}", "only the filter is dropped"


def test_a_reason_with_a_card_number_is_refused_as_over_the_api(
    panel: Panel, engine: Engine, merchant: TestUser, connection: Connection
) -> None:
    made = make_transaction(engine, merchant)

    answer = panel.post(
        f"/admin/transactions/{made['id']}/cancel", {"reason": "paid by 4111 1111 1111 1111"}
    )

    assert answer.status_code == 422
    assert "must not hold a card number" in answer.text
    assert _status(connection, made["id"]) == "pending"
