"""Pages full of refunds, fees, limits and notes, as people see and use them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from sqlalchemy import Engine

from standart.encryption import Keyring
from tests.browser.conftest import Visit
from tests.builders import TestUser
from tests.integration.panel_scene import busy_merchant

LONG = "<b>" + "x" * 1990


@pytest.mark.parametrize(
    ("locale", "width", "kept"),
    [("ru-RU", 375, "Заметка сохранена."), ("en-GB", 1280, "The note is kept.")],
)
def test_full_pages_fit_and_a_note_is_written(
    visit: Callable[..., Visit],
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    locale: str,
    width: int,
    kept: str,
) -> None:
    busy = busy_merchant(engine, keyring, admin, LONG)
    window = visit(locale=locale, width=width, timezone_id="Asia/Kabul")
    page = window.page
    window.log_in(admin)

    for address in (
        f"transactions/{busy.paid}",
        f"transactions/{busy.late}",
        f"transactions/{busy.half}/ask/confirm",
        f"users/{busy.owner.id}/edit",
        f"users/{busy.owner.id}",
        "webhooks/?limit=100",
        "webhooks/?type=refund.created",
        "audit/?limit=100",
    ):
        page.goto(f"/admin/{address}")
        window.check()

    page.goto(f"/admin/transactions/{busy.old}")
    page.fill("#text", "paid after all & checked")
    page.uncheck("#internal")
    page.click(".new-note button")
    expect(page.locator(".flash")).to_contain_text(kept)
    expect(page.locator(".notes bdi").first).to_have_text("paid after all & checked")
    window.check()
    page.fill("#text", "4111 1111 1111 1111")
    page.click(".new-note button")
    expect(page.locator("#text")).to_have_attribute("aria-invalid", "true")
    window.check()
    page.goto(f"/admin/users/{busy.owner.id}")
    page.check("input[value=refund]")
    page.click("form.new-key button.main")
    expect(page.locator("code.secret")).to_have_count(1)
    window.check()
