"""The second factor in a browser: set up by the shown secret, asked for, proven anew."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page, expect
from sqlalchemy import Engine, text

from tests.browser.conftest import Visit
from tests.browser.test_panel_everywhere import faults
from tests.builders import PASSWORD, TestUser
from tests.integration.factors import code_of, forget_steps, from_text

WAYS = pytest.mark.parametrize(
    ("script", "locale", "width"),
    [(True, "en-GB", 1280), (False, "ru-RU", 360)],
    ids=["script", "no script"],
)


def look(window: Visit) -> None:
    """No trouble on the page as it is now; axe needs the page's scripts."""
    window.check()
    if window.script:
        assert faults(window) == []


def show_password(page: Page, user: TestUser) -> None:
    page.goto("/login")
    page.fill("#name", user.name)
    page.fill("#password", PASSWORD)
    page.click("button.main")
    page.wait_for_url("**/login/code**")


def show_code(page: Page, code: str) -> None:
    page.fill("input[name=code]", code)
    page.click("main button.main")


def log_out(window: Visit) -> None:
    window.page.context.clear_cookies()


def set_up(window: Visit) -> tuple[bytes, list[str]]:
    """Follow the pages from the profile on; return the secret and the recovery codes."""
    page = window.page
    page.goto("/admin/profile/")
    look(window)
    page.click("main a[href$='/second-factor']")
    page.wait_for_url("**/second-factor")
    look(window)
    page.click("main form[action$='/begin'] button")
    expect(page.locator("svg.qr")).to_be_visible()
    secret = from_text(page.locator("code.secret").inner_text())
    look(window)
    with page.expect_navigation():
        show_code(page, code_of(secret))
    codes = page.locator("ul.codes code").all_inner_texts()
    look(window)
    return secret, codes


@WAYS
def test_a_login_asks_for_the_code_of_the_shown_secret(
    visit: Callable[..., Visit],
    engine: Engine,
    admin: TestUser,
    script: bool,
    locale: str,
    width: int,
) -> None:
    window = visit(script=script, locale=locale, width=width)
    page = window.page
    window.log_in(admin)

    secret, codes = set_up(window)

    assert len(set(codes)) == 10
    page.goto("/admin/profile/")
    look(window)

    # A code of the app opens the login, once.
    log_out(window)
    forget_steps(engine, admin.id)
    show_password(page, admin)
    look(window)
    used = code_of(secret)
    show_code(page, used)
    page.wait_for_url("**/admin/")
    log_out(window)
    show_password(page, admin)
    show_code(page, used)
    expect(page.locator("[role=alert]")).to_be_visible()
    look(window)

    # The password alone has opened nothing.
    page.goto("/admin/")
    page.wait_for_url("**/login?next=**")

    # So does a recovery code, once.
    show_password(page, admin)
    show_code(page, codes[0].lower())
    page.wait_for_url("**/admin/")
    log_out(window)
    show_password(page, admin)
    show_code(page, codes[0])
    expect(page.locator("[role=alert]")).to_be_visible()
    show_code(page, codes[1])
    page.wait_for_url("**/admin/")
    assert window.trouble == []


@WAYS
def test_a_form_that_was_open_for_long_is_proven_and_goes_on(
    visit: Callable[..., Visit],
    engine: Engine,
    admin: TestUser,
    script: bool,
    locale: str,
    width: int,
) -> None:
    window = visit(script=script, locale=locale, width=width)
    page = window.page
    window.log_in(admin)
    _, codes = set_up(window)
    page.goto("/admin/profile/")
    page.check("form.new-key input[value=read]")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE panel_sessions SET proven_at = proven_at - interval '1 hour'")
        )

    page.click("form.new-key button.main")

    expect(page.locator("input[name=proof_password]")).to_be_visible()
    look(window)
    page.fill("input[name=proof_password]", PASSWORD)
    page.fill("input[name=proof_code]", "000000000000")
    page.click("main button.main")
    expect(page.locator("[role=alert]")).to_be_visible()
    look(window)
    page.fill("input[name=proof_password]", PASSWORD)
    page.fill("input[name=proof_code]", codes[0])
    page.click("main button.main")
    expect(page.locator("main code.secret")).to_contain_text("sk_live_")
    look(window)


def test_nothing_comes_back_by_the_back_button(
    visit: Callable[..., Visit], admin: TestUser
) -> None:
    window = visit()
    page = window.page
    window.log_in(admin)
    page.goto("/admin/profile/")
    page.check("form.new-key input[value=read]")
    page.click("form.new-key button.main")
    key = page.locator("main code.secret").inner_text()
    assert key.startswith("sk_live_")
    page.click("main a.main")
    page.wait_for_url("**/admin/profile/")
    page.click("form[action='/logout'] button")
    page.wait_for_url("**/login")

    # The page itself is the answer to a form, which a browser keeps only as the way to it.
    for _ in range(4):
        with suppress(Error):
            page.go_back()
        expect(page.locator("body")).not_to_contain_text(key)
        expect(page.locator("nav[aria-label='Sections']")).to_have_count(0)
