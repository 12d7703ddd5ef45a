"""Refunds, fees, limits, notes, late payments and second admins on the panel's pages."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text

from standart.admin import messages
from standart.encryption import Keyring
from standart.models import AccountKind, ApprovalOf, JournalKind, LimitKind, Scope
from standart.services.fee_service import ScheduleState
from standart.states import AdjustmentStatus, PayoutStatus
from tests.builders import TestUser, make_transaction
from tests.integration.panel import Panel, kept_rows
from tests.integration.panel_scene import TOO_LARGE, BusyMerchant, busy_merchant

NOTE = "<script>alert(1)</script> {{7*7}} %(x)s"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(four_eyes_above=TOO_LARGE)


@pytest.fixture
def panel(app: Flask, admin: TestUser) -> Panel:
    return logged_in(app, admin)


@pytest.fixture
def busy(engine: Engine, keyring: Keyring, admin: TestUser) -> BusyMerchant:
    return busy_merchant(engine, keyring, admin, NOTE)


def logged_in(app: Flask, user: TestUser) -> Panel:
    made = Panel(app.test_client())
    made.log_in(user)
    return made


DAY = r"[A-Z][a-z]{2} \d{1,2}\b"
"""How a day begins to be told, as in "Nov 30": in whatever month the tests run."""


def words(page: str) -> str:
    """The text of a page as it is read: no tags, single spaces."""
    shown = re.sub(r"<[^>]+>", " ", page.split("<main")[1])
    return " ".join(html.unescape(shown).split())


def test_a_transaction_shows_its_fee_refunds_and_postings(panel: Panel, busy: BusyMerchant) -> None:
    source = panel.get(f"/admin/transactions/{busy.paid}").text
    page = words(source)

    assert (
        "Fee schedule 2.9%, fixed part 3.00 RUB , at least 10.00 RUB , at most 5,000.00 RUB" in page
    )
    assert "Refunded 150.00 RUB" in page
    assert re.search(rf"Settlement, {DAY}", page)
    assert len(re.findall(rf"Refund, {DAY}", page)) == 2
    # In its course and in the ledger.
    assert source.count("<q>one &lt;b&gt;cup&lt;/b&gt; was broken</q>") == 2
    # The share of 50.00 in the commission of 32.00 came back: 1.60.
    assert "Available to the merchant -48.40 RUB Commission -1.60 RUB Clearing 50.00 RUB" in page


def test_a_plain_pending_transaction_shows_nothing_of_that(
    panel: Panel, engine: Engine, merchant: TestUser
) -> None:
    made = make_transaction(engine, merchant)

    page = words(panel.get(f"/admin/transactions/{made['id']}").text)

    for absent in ("Fee schedule", "Refunded", "Late payment", "Paid late", "Approvals", "Ledger"):
        assert absent not in page


def test_a_late_payment_and_what_it_is_for_lead_to_each_other(
    panel: Panel, busy: BusyMerchant
) -> None:
    old = panel.get(f"/admin/transactions/{busy.old}").text
    late = panel.get(f"/admin/transactions/{busy.late}").text

    assert f'<dt>Paid late by</dt><dd><a class="id" href="/admin/transactions/{busy.late}"' in old
    assert f'<dt>Late payment for</dt><dd><a class="id" href="/admin/transactions/{busy.old}"' in (
        late
    )
    assert '<span class="status canceled">' in old, "the old one stays as it was"


def test_a_large_sum_says_that_it_takes_two_and_who_was_first(
    app: Flask, panel: Panel, busy: BusyMerchant, admin: TestUser, engine: Engine
) -> None:
    address = f"/admin/transactions/{busy.half}"
    untouched = make_transaction(engine, busy.owner, amount="50000.01")
    small = make_transaction(engine, busy.owner, amount="50000.00")

    page = words(panel.get(address).text)
    assert re.search(rf"Approvals {admin.name} , {DAY}", page)
    assert "A second admin must confirm as well." in page
    asked = f"/admin/transactions/{untouched['id']}/ask"
    assert "This sum takes two admins" in panel.get(f"{asked}/confirm").text
    assert "two admins" not in panel.get(f"{asked}/cancel").text
    assert "two admins" not in panel.get(f"/admin/transactions/{small['id']}/ask/confirm").text

    second = logged_in(app, busy.second)
    assert "One admin has confirmed already" in second.get(f"{address}/ask/confirm").text
    said = words(second.follow(second.post(f"{address}/confirm")))

    assert "The transaction is confirmed." in said
    assert re.search(rf"{admin.name} , {DAY}", said)
    assert re.search(rf"second , {DAY}", said)


def test_a_merchant_sees_how_many_agreed_but_not_who(app: Flask, busy: BusyMerchant) -> None:
    page = words(logged_in(app, busy.owner).get(f"/admin/transactions/{busy.half}").text)

    assert "Approvals 1 A second admin must confirm as well." in page
    assert "admin-" not in page


def test_notes_are_escaped_and_internal_ones_are_for_admins(
    app: Flask, panel: Panel, busy: BusyMerchant
) -> None:
    address = f"/admin/transactions/{busy.paid}"

    page = panel.get(address).text
    theirs = logged_in(app, busy.owner).get(address).text

    assert f"<bdi>{html.escape(NOTE)}</bdi>" in page
    assert "<script>alert" not in page
    assert "call before noon" in page
    assert "call before noon" in theirs
    assert "alert(1)" not in theirs
    assert "/notes" not in theirs, "merchants write notes over the API"


@pytest.mark.parametrize("internal", [True, False])
def test_a_note_is_kept_for_whom_it_is_meant(
    app: Flask, panel: Panel, busy: BusyMerchant, connection: Connection, internal: bool
) -> None:
    address = f"/admin/transactions/{busy.half}"
    form = {"text": "ask <i>twice</i>", **({"internal": "y"} if internal else {})}

    said = panel.follow(panel.post(f"{address}/notes", form))

    assert "The note is kept." in said
    assert "ask &lt;i&gt;twice&lt;/i&gt;" in said
    theirs = logged_in(app, busy.owner).get(address).text
    assert ("ask &lt;i&gt;" in theirs) is not internal
    record = connection.execute(
        text("SELECT * FROM audit_log WHERE action = 'note.created' ORDER BY id DESC LIMIT 1")
    ).one()
    assert (record.channel, record.after["internal"]) == ("panel", internal)


@pytest.mark.parametrize(
    "wrong", ["", " ", "x" * 2001, "two\r\nlines", "nul\0", "\x85", "paid by 4111 1111 1111 1111"]
)
def test_a_note_that_does_not_fit_is_not_kept_and_not_lost(
    panel: Panel, busy: BusyMerchant, connection: Connection, wrong: str
) -> None:
    before = kept_rows(connection)

    answer = panel.post(f"/admin/transactions/{busy.paid}/notes", {"text": wrong})

    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert 'id="text-error"' in answer.text
    assert kept_rows(connection) == before


def test_a_note_on_nothing_is_not_found(panel: Panel) -> None:
    nothing = "/admin/transactions/00000000-0000-7000-8000-000000000000/notes"

    assert panel.post(nothing, {"text": "hello"}).status_code == 404
    assert panel.post(nothing, {"text": ""}).status_code == 404


def test_a_user_shows_what_is_reserved_its_fees_and_its_limits(
    app: Flask, panel: Panel, busy: BusyMerchant
) -> None:
    address = f"/admin/users/{busy.owner.id}"
    page = words(panel.get(address).text)
    theirs = words(logged_in(app, busy.owner).get(address).text)

    # 968.00 + 190.00 paid, 148.40 given back, 70.00 reserved, 5.00 by hand.
    for shown in (
        "Balance 944.60 RUB Reserved for payouts 70.00 RUB",
        "In force RUB 2.9% 3.00 10.00 5,000.00",
        "In force USD the plain commission rate",
        "Sum of a day 1,000,000.00 RUB",
        "Pending at once 20",
        "Unique references no",
    ):
        assert shown in page
        assert shown in theirs
    assert "standart set-limit" in page
    assert "standart set-limit" not in theirs


def test_a_merchants_dashboard_tells_what_is_reserved(app: Flask, busy: BusyMerchant) -> None:
    page = words(logged_in(app, busy.owner).get("/admin/").text)

    assert "Balance 944.60 RUB Reserved for payouts: 70.00 RUB" in page


def test_references_can_be_made_unique_and_free_again(
    panel: Panel, app: Flask, merchant: TestUser, connection: Connection
) -> None:
    address = f"/admin/users/{merchant.id}/edit"
    fields = {
        "name": merchant.name,
        "role": "regular",
        "commission_rate": "0.03",
        "currency": "RUB",
        "webhook_url": "",
        "password": "",
    }
    order = {"amount": "1.00", "reference": "order-1"}

    def create() -> int:
        client = app.test_client()
        return client.post("/create_transaction", json=order, headers=merchant.headers).status_code

    assert "Unique references yes" in words(
        panel.follow(panel.post(address, {**fields, "unique_reference": "y"}))
    )
    assert re.search(r'<input[^>]* checked[^>]*name="unique_reference"', panel.get(address).text)
    assert [create(), create()] == [201, 409]
    assert "Unique references no" in words(panel.follow(panel.post(address, fields)))
    assert create() == 201
    changed = text("SELECT after FROM audit_log WHERE action = 'user.updated' ORDER BY id")
    switched = [after["unique_reference"] for after in connection.scalars(changed)]
    assert switched == [True, False]


def test_keys_may_have_the_new_scopes(
    panel: Panel, merchant: TestUser, connection: Connection
) -> None:
    page = panel.get(f"/admin/users/{merchant.id}").text
    offered = re.findall(r'name="scopes"[^>]*value="([a-z]+)"', page)
    assert offered == ["read", "write", "refund", "payout"], "confirm is for admins' keys"
    assert re.findall(r'checked[^>]*name="scopes"[^>]*value="([a-z]+)"', page) == ["read", "write"]

    answer = panel.post(
        f"/admin/users/{merchant.id}/keys", {"scopes": ["refund", "payout"], "expires_in": ""}
    )

    assert answer.status_code == 201
    made = text("SELECT scopes FROM api_keys WHERE user_id = :id ORDER BY created_at DESC LIMIT 1")
    assert sorted(connection.scalars(made, {"id": merchant.id}).one()) == ["payout", "refund"]


def test_events_of_all_kinds_have_a_page(panel: Panel, busy: BusyMerchant) -> None:
    page = panel.get("/admin/webhooks/?limit=100").text
    shown = words(page)

    for name in ("Refund made", "Payout asked for", "Balance adjusted", "Transaction confirmed"):
        assert name in shown
    assert "not sent" in shown
    for address in re.findall(r'href="(/admin/webhooks/[0-9a-f-]{36})"', page):
        event = panel.get(address)
        assert event.status_code == 200
        sent = "No endpoint asked for it" not in event.text
        assert sent is ("Transaction " in words(event.text).split(" Id ")[0])
    refunds = panel.get("/admin/webhooks/?type=refund.created").text
    assert refunds.count('data-label="Event"') == 2


def test_no_destination_of_a_payout_is_on_any_page(panel: Panel, busy: BusyMerchant) -> None:
    listed = panel.get("/admin/webhooks/?type=payout.created").text
    (address,) = re.findall(r'href="(/admin/webhooks/[0-9a-f-]{36})"', listed)

    for page in (listed, panel.get(address).text, panel.get("/admin/audit/?limit=100").text):
        assert "DE89370400440532013000" not in page


def test_the_audit_log_tells_it_in_words(panel: Panel, busy: BusyMerchant) -> None:
    page = words(panel.get("/admin/audit/?limit=100").text)

    for told in (
        "Fee schedule set",
        "Limit: Sum of a day Value: 1000000.00",
        "Refund made",
        "Status: Posted",
        "Payout asked for",
        "Adjustment posted",
        "Kind: Adjustment",
        "Transaction approved by one of two",
        "Note written",
    ):
        assert told in page
    assert not re.search(r"\b[a-z]+_[a-z]+: ", page), "every field has a name"


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (messages.ACCOUNTS, AccountKind),
        (messages.JOURNALS, JournalKind),
        (messages.LIMITS, LimitKind),
        (messages.SCOPES, Scope),
        (messages.SCHEDULE_STATES, ScheduleState),
    ],
)
def test_every_code_has_a_label_and_every_label_a_code(labels: Any, codes: Any) -> None:
    assert set(labels) == {code.value for code in codes}


def test_every_state_and_object_has_a_label() -> None:
    assert set(messages.STATES) >= {*PayoutStatus, *AdjustmentStatus}
    assert set(messages.OBJECTS) >= {*ApprovalOf} - {ApprovalOf.LATE_PAYMENT}
