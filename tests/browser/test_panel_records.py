"""The audit log, the settings and sets of webhooks in a browser, also without script."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from flask import Flask
from playwright.sync_api import expect
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.services import transaction_service, webhook_service
from standart.services.webhook_work import AttemptResult
from tests.browser.conftest import Visit
from tests.builders import ORIGIN, TestUser, make_transaction, make_user


def _dead(engine: Engine, connection: Connection, keyring: Keyring, shop: TestUser) -> None:
    """Let two events of the shop be given up: one was turned down, one never answered."""
    for answer in (404, None):
        made = make_transaction(engine, shop)
        transaction_service.cancel(connection, shop.digest, ORIGIN, UUID(made["id"]))
        (claimed,) = webhook_service.claim_due(connection, keyring).deliveries
        outcome = f"http_{answer}" if answer else "timeout"
        result = AttemptResult(outcome, answer, "whsec_bm90IGZvciBleWVz", "", 5)
        webhook_service.record_attempts(connection, [(claimed, result)], schedule=())


@pytest.mark.parametrize(
    ("locale", "width", "script"),
    [("ru-RU", 1280, True), ("en-GB", 375, False)],
    ids=["ru-script", "en-phone-no-script"],
)
def test_a_filtered_set_is_sent_again(
    visit: Callable[..., Visit],
    app: Flask,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    admin: TestUser,
    locale: str,
    width: int,
    script: bool,
) -> None:
    app.extensions["standart.nudge"] = lambda: None
    shop = make_user(engine, keyring, name="shop", webhook_url="https://example.com/hook")
    _dead(engine, connection, keyring, shop)
    rows = "td[data-label='Event'], td[data-label='Событие']"
    window = visit(locale=locale, width=width, script=script, timezone_id="Europe/Moscow")
    page = window.page
    window.log_in(admin)

    page.goto("/admin/webhooks/")
    window.check()
    page.click("a[href='/admin/webhooks/?state=dead']")
    expect(page.locator(rows)).to_have_count(2)
    if not page.locator("#answer").is_visible():
        page.click("form.filters summary")
    page.select_option("#answer", "4xx")
    page.click("form.filters button")
    expect(page.locator(rows)).to_have_count(1)
    expect(page.locator(".chips li")).to_have_count(3)
    expect(page.locator("main")).to_contain_text("HTTP 404")
    window.check()
    page.locator(rows).locator("a").click()
    expect(page.locator("main")).not_to_contain_text("bm90IGZvciBleWVz")
    page.go_back()

    page.click("a[href*='/replay/ask']")
    expect(page.locator("h1")).to_contain_text("1")
    window.check()
    page.click("button.main")
    expect(page.locator(".flash")).to_contain_text("1")
    expect(page.locator(rows)).to_have_count(0)
    window.check()
    states = connection.scalars(text("SELECT state FROM deliveries ORDER BY state")).all()
    assert states == ["dead", "waiting"]

    page.click(".chips a >> nth=0")
    page.click(".chips .reset")
    page.wait_for_url("**/admin/webhooks/")
    expect(page.locator(rows)).to_have_count(2)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_audit_log_is_narrowed_widened_and_taken_away(
    visit: Callable[..., Visit],
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
    script: bool,
) -> None:
    made = make_transaction(engine, merchant)
    transaction_service.cancel(connection, merchant.digest, ORIGIN, UUID(made["id"]))
    window = visit(locale="en-GB", script=script)
    page = window.page
    window.log_in(admin)
    rows = "td[data-label='Before → after']"

    page.goto("/admin/audit/")
    window.check()
    page.select_option("#action", "transaction.canceled")
    page.fill("#actor", merchant.name)
    page.click("form.filters button")
    expect(page.locator(rows)).to_have_count(1)
    expect(page.locator(".chips li")).to_have_count(3)
    window.check()
    with page.expect_download() as download:
        page.click("form[action*='export'] button")
    assert download.value.suggested_filename.startswith("audit-")
    page.click(f"a[href='/admin/transactions/{made['id']}']")
    expect(page.locator("h1")).to_be_visible()
    page.go_back()
    page.click(".chips .reset")
    page.wait_for_url("**/admin/audit/")
    expect(page.locator(rows).nth(1)).to_be_visible()
    for path in ("/admin/settings/", "/admin/settings/health"):
        page.goto(path)
        window.check()
