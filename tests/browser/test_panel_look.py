"""Themes, the menu, copying, and what the pages weigh: in a browser, after the clicks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from sqlalchemy import Connection, Engine, text

from tests.browser.conftest import Visit
from tests.builders import TestUser, make_transaction

FIRST_PAGE_BYTES = 300_000
NEXT_PAGE_BYTES = 60_000

_GROUND = "getComputedStyle(document.body).backgroundColor"


def test_the_theme_is_that_of_the_system_until_another_is_chosen(
    visit: Callable[..., Visit], admin: TestUser
) -> None:
    window = visit(locale="en-GB", color_scheme="light")
    page = window.page
    window.log_in(admin)
    light = page.evaluate(_GROUND)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(_GROUND)
    assert light != dark

    page.click("button[name=theme][value=light]")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(_GROUND) == light
    window.check()
    page.goto("/admin/transactions/")
    assert page.evaluate(_GROUND) == light, "kept, and written by the server"
    expect(page.locator("button[name=theme][value=light]")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.click("button[name=theme][value=dark]")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.emulate_media(color_scheme="light")
    assert page.evaluate(_GROUND) == dark
    window.check()


def test_the_theme_is_chosen_without_script(visit: Callable[..., Visit], admin: TestUser) -> None:
    window = visit(locale="ru-RU", script=False, width=375)
    window.log_in(admin)
    window.open_menu()

    window.page.click("button[name=theme][value=dark]")

    expect(window.page.locator("html")).to_have_attribute("data-theme", "dark")
    window.check()


def test_the_menu_is_folded_on_a_phone_and_opens_without_script(
    visit: Callable[..., Visit], admin: TestUser
) -> None:
    window = visit(locale="ru-RU", script=False, width=360)
    page = window.page
    window.log_in(admin)
    sections = page.locator("header nav a")
    expect(sections.first).to_be_hidden()

    window.open_menu()

    expect(sections.first).to_be_visible()
    sections.nth(2).click()
    page.wait_for_url("**/admin/transactions/")
    expect(sections.first).to_be_hidden()
    window.check()


def test_an_id_is_copied_and_the_page_says_so(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    made = make_transaction(engine, merchant)
    window = visit(locale="en-GB", permissions=["clipboard-read", "clipboard-write"])
    page = window.page
    window.log_in(admin)
    page.goto(f"/admin/transactions/{made['id']}")

    page.click(f"[data-copy='{made['id']}']")

    expect(page.locator("#toasts")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == made["id"]
    window.check()


@pytest.mark.parametrize("forbidden", [False, True])
def test_an_id_is_copied_where_the_browser_gives_no_clipboard(
    visit: Callable[..., Visit],
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    forbidden: bool,
) -> None:
    """As over plain http in a local network; where that fails too, it is said."""
    made = make_transaction(engine, merchant)
    window = visit(locale="en-GB", permissions=["clipboard-read"])
    page = window.page
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    if forbidden:
        page.add_init_script("document.execCommand = () => false")
    window.log_in(admin)
    page.goto(f"/admin/transactions/{made['id']}")
    button = page.locator(f"[data-copy='{made['id']}']")

    button.click()

    said = "The browser does not let it be copied." if forbidden else "Copied"
    expect(page.locator("#toasts")).to_have_text(said)
    expect(button).to_be_focused()
    window.check()


def test_a_file_can_be_taken_twice(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    """The page stays after a download, so its form must not stay as sent."""
    make_transaction(engine, merchant)
    window = visit(locale="en-GB")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    page.goto("/admin/transactions/export")

    for _ in range(2):
        with page.expect_download() as taken:
            page.click("form[action$='/export/csv'] button")
        assert taken.value.suggested_filename.endswith(".csv")
        page.clock.fast_forward(2_500)
    window.check()


TOLD = """
() => {
  window.told = [];
  const words = document.querySelector("[data-progress] output");
  new MutationObserver(() => window.told.push(words.textContent)).observe(words, {childList: true});
}
"""


@pytest.mark.parametrize(("form", "last"), [("csv", "3 of 3 rows"), ("xlsx", "0.0 MB")])
def test_an_export_says_how_far_it_has_come(
    visit: Callable[..., Visit],
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    form: str,
    last: str,
) -> None:
    for number in range(3):
        make_transaction(engine, merchant, description=f'line "one"\nline {number}')
    window = visit(locale="en-GB")
    page = window.page
    window.log_in(admin)
    page.goto("/admin/transactions/export")
    page.evaluate(TOLD)

    with page.expect_download() as taken:
        page.click(f"form[action$='/export/{form}'] button")

    assert taken.value.suggested_filename.startswith("transactions-")
    expect(page.locator("#toasts")).to_have_text("The file is whole")
    assert page.evaluate("window.told").pop() == last
    expect(page.locator("[data-progress]")).to_be_hidden()
    window.check()


def test_an_export_that_breaks_off_is_no_file(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    make_transaction(engine, merchant)
    window = visit(locale="en-GB")
    page = window.page
    files: list[object] = []
    page.on("download", lambda file: files.append(file))
    window.log_in(admin)
    page.goto("/admin/transactions/export")
    with page.expect_request("**/export/csv"):
        page.route("**/export/csv", lambda route: route.abort())
        page.click("form[action$='/export/csv'] button")
    expect(page.locator("#toasts")).to_have_text("The file broke off; try again")
    assert files == []


def test_an_export_after_the_login_has_ended_leads_to_it(
    visit: Callable[..., Visit], connection: Connection, admin: TestUser
) -> None:
    window = visit(locale="en-GB")
    window.log_in(admin)
    window.page.goto("/admin/transactions/export")
    connection.execute(text("DELETE FROM panel_sessions"))
    window.page.click("form[action$='/export/csv'] button")
    window.page.wait_for_url("**/login?next=/admin/transactions/export")


def test_pages_are_light(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    """Counted by the browser as it comes over the wire, headers and all."""
    for number in range(26):
        make_transaction(engine, merchant, reference=f"order-{number}")
    window = visit(locale="ru-RU")
    page = window.page
    taken: list[float] = []
    wire = page.context.new_cdp_session(page)
    wire.on("Network.loadingFinished", lambda event: taken.append(event["encodedDataLength"]))
    wire.send("Network.enable")

    window.log_in(admin)
    page.wait_for_load_state("networkidle")
    first = sum(taken)
    assert 10_000 < first <= FIRST_PAGE_BYTES
    taken.clear()
    page.goto("/admin/transactions/")
    page.wait_for_load_state("networkidle")
    following = sum(taken)
    assert 1_000 < following <= NEXT_PAGE_BYTES
