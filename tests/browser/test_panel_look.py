"""Themes, single keys, and what the pages weigh: in a browser, after the clicks."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect
from sqlalchemy import Engine

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


def test_single_keys_lead_through_the_panel(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    older, newer = (make_transaction(engine, merchant)["id"] for _ in range(2))
    window = visit(locale="en-GB")
    page = window.page
    window.log_in(admin)

    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/admin/transactions/")
    page.keyboard.press("/")
    field = page.locator(":focus")
    expect(field).to_be_editable()
    page.keyboard.type("jk?g")
    expect(field).to_have_value("jk?g")
    page.evaluate("document.activeElement.blur()")

    page.keyboard.press("j")
    assert newer in str(_row_in_focus(page))
    page.keyboard.press("j")
    assert older in str(_row_in_focus(page))
    page.keyboard.press("k")
    assert newer in str(_row_in_focus(page))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{newer}")

    page.keyboard.press("?")
    help_list = page.locator("dialog#keys")
    expect(help_list).to_be_visible()
    window.check()
    page.uncheck("[data-keys-switch]")
    page.keyboard.press("Escape")
    expect(help_list).to_be_hidden()
    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("u")
    expect(help_list).to_be_hidden()
    assert page.url.endswith(newer), "switched off, no key does anything"
    window.check()


def _row_in_focus(page: Page) -> object:
    return page.evaluate("document.activeElement.closest('tr').innerHTML")


def test_keys_are_found_by_their_place_on_a_keyboard_of_other_letters(
    visit: Callable[..., Visit], admin: TestUser
) -> None:
    window = visit(locale="ru-RU")
    page = window.page
    window.log_in(admin)

    for key, code in (("п", "KeyG"), ("г", "KeyU")):
        page.evaluate(
            "([key, code]) => document.body.dispatchEvent("
            "new KeyboardEvent('keydown', {key, code, bubbles: true, cancelable: true}))",
            [key, code],
        )

    page.wait_for_url("**/admin/users/")


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
