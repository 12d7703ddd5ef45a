"""The panel as people use it: in a browser, on a phone, without script."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Request, expect
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.services import ledger_service
from tests.browser.conftest import Visit
from tests.builders import TestUser, make_transaction, make_user

WORDS = {
    "ru": {
        "lang": "ru",
        "tabs": [
            *("Дашборд", "Пользователи", "Транзакции", "Выплаты", "Возвраты"),
            *("Сверка и отчёты", "Вебхуки", "Профиль", "Журнал", "Настройки"),
        ],
        "confirmed": "Подтверждена",
        "canceled": "Отменена",
    },
    "en": {
        "lang": "en",
        "tabs": [
            *("Dashboard", "Users", "Transactions", "Payouts", "Refunds"),
            *("Proof and reports", "Webhooks", "Profile", "Audit log", "Settings"),
        ],
        "confirmed": "Confirmed",
        "canceled": "Canceled",
    },
}


def _status(connection: Connection, transaction_id: str) -> str:
    return str(
        connection.scalar(
            text("SELECT status FROM transactions WHERE id = :id"), {"id": transaction_id}
        )
    )


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize(("language", "locale"), [("ru", "ru-RU"), ("en", "en-GB")])
def test_the_whole_way_through_the_panel(
    visit: Callable[..., Visit],
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    admin: TestUser,
    language: str,
    locale: str,
    width: int,
    script: bool,
) -> None:
    words = WORDS[language]
    shop = make_user(engine, keyring, name="x" * 128, webhook_url="https://example.com/hook")
    for number in range(30):
        make_transaction(engine, shop, amount="1000000.00", reference=f"{number:0128}")
    first, second = (make_transaction(engine, shop)["id"] for _ in range(2))
    window = visit(locale=locale, width=width, script=script, timezone_id="Asia/Kabul")
    page = window.page

    page.goto("/admin/transactions/?status=pending")
    window.check()
    page.fill("#name", admin.name)
    page.fill("#password", "correct horse battery")
    page.click("button.main")
    page.wait_for_url("**/admin/transactions/?status=pending")
    window.check()
    assert page.locator("html").get_attribute("lang") == words["lang"]
    tabs = page.locator("header nav a")
    assert tabs.all_inner_texts() == words["tabs"]

    for number in range(tabs.count()):
        window.open_menu()
        tabs.nth(number).click()
        expect(tabs.nth(number)).to_have_attribute("aria-current", "page")
        window.check()

    page.goto(f"/admin/transactions/{first}")
    window.check()
    page.click(".actions .main")
    window.check()
    assert _status(connection, first) == "pending"
    page.click("button.main")
    expect(page.locator("h1 .status")).to_have_text(str(words["confirmed"]))
    window.check()
    assert _status(connection, first) == "confirmed"
    assert ledger_service.balances(connection, shop.actor) == [("RUB", 9700)]

    page.goto(f"/admin/transactions/{second}")
    page.click(".actions .danger")
    page.fill("#reason", "sold out")
    page.click("button.danger")
    expect(page.locator("h1 .status")).to_have_text(str(words["canceled"]))
    window.check()
    assert _status(connection, second) == "canceled"

    page.goto("/admin/users/")
    page.click(".actions .main")
    page.fill("#name", "New shop")
    page.fill("#commission_rate", "7")
    page.click("button.main")
    expect(page.locator("#commission_rate")).to_have_attribute("aria-invalid", "true")
    window.check()
    page.fill("#commission_rate", "0.05")
    page.click("button.main")
    expect(page.locator("code.secret")).to_have_count(2)
    window.check()
    page.click("a.main")
    expect(page.locator("h1")).to_contain_text("New shop")
    page.click("form.new-key button.main")
    expect(page.locator("code.secret")).to_have_count(1)
    window.check()
    page.click("a.main")
    window.check()
    page.click(".actions .danger")
    window.check()
    page.click("button.danger")
    page.wait_for_url("**/admin/users/")
    window.check()
    names = connection.scalars(text("SELECT name FROM users WHERE role = 'regular'")).all()
    assert names == [shop.name]

    page.goto("/admin/webhooks/")
    page.locator("tbody a").first.click()
    expect(page.locator("pre").last).to_contain_text("transaction.")
    window.check()
    page.goto(f"/admin/users/{shop.id}")
    window.check()
    page.goto("/admin/nothing")
    window.check()
    other = "en" if language == "ru" else "ru"
    window.open_menu()
    page.click(f"button[name=language][value={other}]")
    expect(page.locator("html")).to_have_attribute("lang", other)
    window.open_menu()
    page.click("header form[action='/logout'] button")
    page.wait_for_url("**/login")
    window.check()


def test_the_dashboard_renews_itself(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    window = visit(locale="en-GB", timezone_id="Europe/Moscow")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    pending = page.locator("a.figure[href*=pending] .value")
    expect(pending).to_have_text("0")
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/live" in request.url else None)

    make_transaction(engine, merchant)
    with page.expect_response("**/refresh"):
        page.select_option("#refresh", "10")
    page.clock.fast_forward(10_500)
    expect(pending).to_have_text("1")
    assert "refresh=10" in page.url
    make_transaction(engine, merchant)
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    before = len(asked)
    page.clock.fast_forward(60_000)
    assert len(asked) == before, "a hidden tab asks for nothing"
    expect(pending).to_have_text("1")
    page.evaluate("delete document.hidden")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(pending).to_have_text("2")

    page.goto("/admin/")
    expect(page.locator("#refresh")).to_have_value("10")
    elsewhere = visit(locale="en-GB")
    elsewhere.log_in(admin)
    expect(elsewhere.page.locator("#refresh")).to_have_value("10"), "as this person likes it"
    page.select_option("#refresh", "0")
    before = len(asked)
    page.clock.fast_forward(60_000)
    assert len(asked) == before, "0 means off"
    window.check()


def test_a_login_that_has_ended_is_told_and_nothing_is_asked_on(
    visit: Callable[..., Visit], admin: TestUser, connection: Connection
) -> None:
    window = visit(locale="en-GB")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    # Drawn, so that its library and numbers are not still to be asked for.
    expect(page.locator("figure.chart .legend li")).to_have_count(5)
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url) if not each.redirected_from else None)
    with page.expect_response("**/refresh"):
        page.select_option("#refresh", "15")
    connection.execute(text("DELETE FROM panel_sessions"))

    asked.clear()
    page.clock.fast_forward(15_500)
    expect(page.locator("#ended")).to_be_visible()
    page.clock.fast_forward(60_000)
    assert len(asked) == 1
    page.click("#ended a")

    page.wait_for_url(lambda url: "/login?next=/admin/" in url)


def test_the_browser_tells_its_time_zone(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    made = make_transaction(engine, merchant)
    window = visit(locale="en-GB", timezone_id="Asia/Kabul")

    window.log_in(admin)

    expect(window.page.locator("footer")).to_contain_text("Asia/Kabul")
    moment = window.page.locator("tbody time").first
    assert moment.get_attribute("datetime") == made["created_at"]
    hour = (int(made["created_at"][11:13]) * 60 + int(made["created_at"][14:16]) + 270) % 1440
    shown = moment.inner_text().split(", ")[-1]
    assert f":{hour % 60:02}:" in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_enough_contrast(
    visit: Callable[..., Visit],
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    scheme: str,
) -> None:
    """WCAG 1.4.3 by its own formula, over every text on the pages with the most colours."""
    make_transaction(engine, merchant)
    window = visit(locale="en-GB", color_scheme=scheme)
    window.log_in(admin)
    for path in ("/admin/", "/admin/users/", f"/admin/users/{merchant.id}", "/admin/nothing"):
        window.page.goto(path)
        assert window.page.evaluate(_FAINT_TEXTS) == []


_FAINT_TEXTS = """
() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const part = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [one, two] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) faint.push(`${walker.currentNode.data.trim()} ${ratio.toFixed(2)}`);
  }
  return faint;
}
"""
