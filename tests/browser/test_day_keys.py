"""A day without a mouse: every key on an English keyboard and on a Russian one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import Connection, Engine, text

from tests.browser.conftest import Visit
from tests.browser.test_panel_everywhere import faults
from tests.builders import PASSWORD, TestUser, make_transaction

# What the keys of those places give on a Russian keyboard, without and with Shift.
RUSSIAN = {"KeyJ": "о", "KeyK": "л", "KeyG": "п", "KeyT": "е", "KeyU": "г", "Slash": "."}
RUSSIAN_SHIFTED = {"Slash": ","}
ENGLISH = {"KeyJ": "j", "KeyK": "k", "KeyG": "g", "KeyT": "t", "KeyU": "u", "Slash": "/"}
ENGLISH_SHIFTED = {"Slash": "?"}
SHIFT = 8

_FOCUS_IS_SEEN = """
() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
    && box.width > 0 && box.top >= 0 && box.bottom <= innerHeight;
}
"""


@dataclass
class Keyboard:
    """Presses keys by their place, as the browser gets them from a keyboard of that layout."""

    page: Page
    plain: dict[str, str]
    shifted: dict[str, str]

    def press(self, *codes: str, shift: bool = False) -> None:
        wire = self.page.context.new_cdp_session(self.page)
        for code in codes:
            key = (self.shifted if shift else self.plain)[code]
            event = {"code": code, "key": key, "modifiers": SHIFT if shift else 0}
            wire.send("Input.dispatchKeyEvent", {"type": "keyDown", "text": key, **event})
            wire.send("Input.dispatchKeyEvent", {"type": "keyUp", **event})
        wire.detach()


@pytest.mark.parametrize(
    ("locale", "plain", "shifted"),
    [("en-GB", ENGLISH, ENGLISH_SHIFTED), ("ru-RU", RUSSIAN, RUSSIAN_SHIFTED)],
    ids=["english", "russian"],
)
def test_everything_is_reached_by_keys(
    visit: Callable[..., Visit],
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    connection: Connection,
    locale: str,
    plain: dict[str, str],
    shifted: dict[str, str],
) -> None:
    older, newer = (make_transaction(engine, merchant)["id"] for _ in range(2))
    window = visit(locale=locale)
    page = window.page
    keys = Keyboard(page, plain, shifted)
    page.goto("/login")
    expect(page.locator("#name")).to_be_focused()  # by autofocus, with the browser's next frame
    page.keyboard.type(admin.name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")

    # The first stop leads past the menu, and is seen once it is reached.
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_class("skip")
    assert page.evaluate(_FOCUS_IS_SEEN)
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("main :focus")).to_have_count(1)
    page.evaluate("document.activeElement.blur()")

    # On the dashboard the rows are those that can be opened, not those of the chart's table.
    keys.press("KeyJ")
    expect(_focused(page, newer)).to_have_count(1)
    assert page.evaluate(_FOCUS_IS_SEEN)
    keys.press("KeyJ")
    expect(_focused(page, older)).to_have_count(1)
    keys.press("KeyJ")
    expect(_focused(page, older)).to_have_count(1)
    keys.press("KeyK")
    expect(_focused(page, newer)).to_have_count(1)

    # Into the search and out of it: what was in focus is so again.
    keys.press("Slash")
    field = page.locator("input[data-search]")
    expect(field).to_be_focused()
    keys.press("KeyJ", "KeyG", "Slash")
    expect(field).to_have_value(plain["KeyJ"] + plain["KeyG"] + plain["Slash"])
    page.keyboard.press("Escape")
    expect(_focused(page, newer)).to_have_count(1)
    expect(field).to_have_value("")

    keys.press("Slash", shift=True)
    expect(page.locator("dialog#keys")).to_be_visible()
    window.check()
    assert faults(window) == []
    page.keyboard.press("Escape")
    expect(page.locator("dialog#keys")).to_be_hidden()
    expect(_focused(page, newer)).to_have_count(1)

    keys.press("KeyG", "KeyT")
    page.wait_for_url("**/admin/transactions/")
    expect(page.locator("main tbody tr")).to_have_count(2)
    keys.press("KeyK")
    expect(_focused(page, newer)).to_have_count(1)
    keys.press("KeyJ")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/transactions/{older}")
    _tab_to(page, page.locator(".actions a.main"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/ask/confirm")
    _tab_to(page, page.locator("main button.main"))
    page.keyboard.press("Enter")
    expect(page.locator("h1 .status")).to_have_class("status confirmed")
    assert faults(window) == []
    statuses = connection.scalars(text("SELECT status FROM transactions ORDER BY status")).all()
    assert statuses == ["confirmed", "pending"]

    # Switched off, no key does anything; the choice is kept in this browser.
    keys.press("Slash", shift=True)
    page.uncheck("[data-keys-switch]")
    page.keyboard.press("Escape")
    page.reload()
    keys.press("Slash", shift=True)
    keys.press("KeyG", "KeyU", "Slash")
    expect(page.locator("dialog#keys")).to_be_hidden()
    assert page.url.endswith(older)
    expect(page.locator("input:focus")).to_have_count(0)
    window.check()


def test_keys_of_the_browser_and_of_lists_to_choose_from_are_left_alone(
    visit: Callable[..., Visit], engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    make_transaction(engine, merchant)
    window = visit(locale="en-GB")
    page = window.page
    window.log_in(admin)
    page.goto("/admin/transactions/")

    page.keyboard.press("Control+j")
    page.keyboard.press("Alt+k")
    expect(page.locator("main :focus")).to_have_count(0)
    page.focus("#status")
    page.keyboard.press("c")
    page.keyboard.press("j")
    expect(page.locator("#status")).to_be_focused()
    page.focus("input[name=id][type=checkbox]")
    page.keyboard.press("Space")
    page.keyboard.press("j")
    expect(page.locator("tbody a:focus")).to_have_count(1)
    expect(page.locator("input[name=id][type=checkbox]")).to_be_checked()
    window.check()


def _focused(page: Page, transaction_id: str) -> Locator:
    return page.locator(f"main a:focus[href*='{transaction_id}']")


def _tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the target is in focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if target.evaluate("(element) => element === document.activeElement"):
            break
    assert page.evaluate(_FOCUS_IS_SEEN)
