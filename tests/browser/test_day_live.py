"""The dashboard that an operator leaves open: what is looked at stays, only what is new changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import Engine

from standart import clock
from standart.admin import dashboard
from standart.db import autocommit
from standart.services import transaction_service
from tests.browser.conftest import Visit
from tests.browser.test_panel_everywhere import faults
from tests.builders import ORIGIN, TestUser, make_transaction

TEN_SECONDS = 10_500


def _confirmed(engine: Engine, admin: TestUser, owner: TestUser, **fields: Any) -> None:
    made = make_transaction(engine, owner, **fields)
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))


def _renew(page: Page) -> None:
    """Let the time of one refresh pass, and wait until it has been answered."""
    with page.expect_response(lambda answer: "/admin/live" in answer.url):
        page.clock.fast_forward(TEN_SECONDS)


def test_focus_selection_and_scroll_outlive_a_refresh(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    made = [make_transaction(engine, merchant)["id"] for _ in range(2)]
    window = visit(locale="en-GB")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    page.select_option("#refresh", "10")
    rows = page.locator("#live tbody tr")
    expect(rows).to_have_count(2)
    updated = page.locator("#updated").inner_text()

    # Who stands on a row stands on it still, though others have come above it.
    page.focus(f"#live a[href*='{made[0]}']")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#live tbody bdi'))")
    chosen = page.evaluate("getSelection().toString()")
    page.mouse.wheel(0, 120)
    page.wait_for_function("scrollY > 0")
    before = page.evaluate("scrollY")
    made += [make_transaction(engine, merchant)["id"] for _ in range(2)]
    _renew(page)
    expect(rows).to_have_count(4)
    assert _ids(rows) == made[::-1]
    assert made[0] in page.evaluate("document.activeElement.href")
    assert page.evaluate("getSelection().toString()") == chosen != ""
    assert page.evaluate("scrollY") == before
    expect(page.locator("a.figure[href*=pending] .value")).to_have_text("4")
    expect(page.locator("#updated")).not_to_have_text(updated)

    # A row keeps what belongs to it when its state changes, and rows leave at the end.
    with autocommit(engine) as connection:
        transaction_service.cancel(connection, admin.digest, ORIGIN, UUID(made[3]))
    made += [make_transaction(engine, merchant)["id"] for _ in range(8)]
    _renew(page)
    expect(rows).to_have_count(10)
    assert _ids(rows) == made[:1:-1]
    expect(page.locator(f"#live tr:has([href*='{made[3]}']) .status")).to_have_text("Canceled")
    expect(page.locator("#live .status.canceled")).to_have_count(2)
    expect(page.locator("a.figure[href*=pending] .value")).to_have_text("11")
    window.check()
    assert faults(window) == []


def _ids(rows: Locator) -> list[str]:
    found: list[str] = rows.locator("a.id").evaluate_all("(all) => all.map((each) => each.title)")
    return found


def test_the_chart_is_read_by_mouse_keys_and_table_and_renews_itself(
    visit: Callable[..., Visit],
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = clock.now()
    monkeypatch.setattr(dashboard, "now", lambda: begun)  # its last hour stays the last one
    _confirmed(engine, admin, merchant, amount="70.00")
    _confirmed(engine, admin, merchant, amount="30.50")
    _confirmed(engine, admin, merchant, amount="9.00", currency="USD")
    window = visit(locale="en-GB", color_scheme="light")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    figure = page.locator("figure.chart")
    confirmed, at = figure.locator(".legend b").first, figure.locator(".legend .at")
    expect(confirmed).to_have_text("3")
    expect(at).to_have_text("")

    page.select_option("#currency", "RUB")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**currency=RUB**")
    expect(confirmed).to_have_text("2")
    page.select_option("#refresh", "10")

    # The mouse on the last hour, where all of it happened.
    plot = figure.locator(".plot .u-over")
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 20)
    expect(confirmed).to_have_text("2 · 100.50 RUB")
    expect(at).not_to_have_text("")
    hour = at.inner_text()
    _confirmed(engine, admin, merchant, amount="1.00")
    page.clock.fast_forward(TEN_SECONDS)
    expect(confirmed).to_have_text("3 · 101.50 RUB")
    expect(at).to_have_text(hour)
    page.mouse.move(5, 5)
    expect(confirmed).to_have_text("3")

    # The keys; a screen reader is told where they lead.
    page.locator(".plot").focus()
    page.keyboard.press("ArrowLeft")
    expect(confirmed).to_have_text("3 · 101.50 RUB")
    expect(at).to_have_text(hour)
    spoken = figure.locator("[aria-live=polite]")
    numbers = (
        "Confirmed 3 · 101.50 RUB",
        "Canceled 0 · 0.00 RUB",
        "Expired 0 · 0.00 RUB",
        "Pending 0 · 0.00 RUB",
    )
    expect(spoken).to_have_text(f"{hour}: {', '.join(numbers)}")
    page.keyboard.press("ArrowLeft")
    expect(confirmed).to_have_text("0 · 0.00 RUB")
    _confirmed(engine, admin, merchant, amount="2.00")
    page.keyboard.press("End")
    page.clock.fast_forward(TEN_SECONDS)
    expect(confirmed).to_have_text("4 · 103.50 RUB")
    page.keyboard.press("Home")
    expect(at).not_to_have_text(hour)
    page.keyboard.press("ArrowRight")
    expect(confirmed).to_have_text("0 · 0.00 RUB")
    page.locator(".plot").blur()
    expect(confirmed).to_have_text("4")

    # The table has the same figures.
    figure.locator("summary").click()
    lines = figure.locator("tbody tr")
    expect(lines).to_have_count(24)
    expect(lines.last.locator("th")).to_have_text(hour)
    expect(lines.last.locator("td")).to_have_text(["4", "0", "0", "0"])
    columns = ["When", "Confirmed", "Canceled", "Expired", "Pending"]
    expect(figure.locator("thead th")).to_have_text(columns)
    assert faults(window) == []
    for period, steps in (("7d", 168), ("30d", 30)):
        page.select_option("#period", period)
        page.get_by_role("button", name="Show").click()
        page.wait_for_url(f"**period={period}**")
        expect(figure.locator("tbody tr")).to_have_count(steps)
        expect(confirmed).to_have_text("4")
        expect(page.locator("#currency")).to_have_value("RUB")
        expect(page.locator("#refresh")).to_have_value("10")

    # Each theme has colours of its own, and a switch of it draws anew.
    picture = "document.querySelector('.plot canvas').toDataURL()"
    light = page.evaluate(picture)
    page.click("button[name=theme][value=dark]")
    page.wait_for_function("(light) => " + picture + " !== light", arg=light)
    expect(figure.locator("canvas")).to_have_count(1)
    window.check()
    assert faults(window) == []


def test_the_script_tells_times_in_the_zone_that_the_person_has_chosen(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    make_transaction(engine, merchant)
    window = visit(locale="en-GB", timezone_id="Europe/Moscow")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    page.goto("/admin/profile/")
    page.select_option("#timezone", "Asia/Kabul")
    page.locator("form:has(#timezone) button").click()
    expect(page.locator("footer")).to_contain_text("Asia/Kabul")

    page.goto("/admin/?refresh=10")
    before = page.locator("#updated").inner_text()
    make_transaction(engine, merchant)
    _renew(page)
    expect(page.locator("#updated")).not_to_have_text(before)
    shown = [int(part) for part in page.locator("#updated").inner_text().split(":")]
    here = datetime.fromtimestamp(page.evaluate("Date.now()") / 1000, UTC)
    ahead = shown[0] * 60 + shown[1] - here.hour * 60 - here.minute
    assert round(ahead % 1440 / 30) == 9, "four hours and a half ahead of UTC"

    expect(page.locator(".legend li")).to_have_count(5)  # drawn: now keys lead somewhere
    page.locator(".plot").focus()
    page.keyboard.press("End")
    expect(page.locator(".legend .at")).to_have_text(re.compile(r"^\w{3} \d+, \d\d:30$"))
    window.check()
