"""Webhooks as their owners work with them: in a browser, on a phone, without script."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from playwright.sync_api import expect
from sqlalchemy import Connection, Engine, text

from standart.delivery import Deliverer
from standart.encryption import Keyring
from tests.browser.conftest import Visit
from tests.browser.test_panel import _FAINT_TEXTS
from tests.builders import PASSWORD, TestUser, make_endpoint, make_user
from tests.integration.hooks import Answer, serving

WORDS = {
    "ru-RU": {"delivered": "Доставлено", "wrong": "Нужно исправить", "running": "Идёт"},
    "en-GB": {"delivered": "Delivered", "wrong": "to mend", "running": "Running"},
}
SAID = "<script>alert(1)</script>" + "x" * 300


def _deliver(app: Flask) -> None:
    """Send what is due, beside this thread: here runs the browser's event loop."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(Deliverer(app).run, linger=0).result()


def _careless(headers: dict[str, str], body: bytes) -> Answer:
    return 200, {"X-Long": "y" * 300, "X-Html": "<b>bold</b>"}, SAID.encode()


@pytest.mark.parametrize(
    ("locale", "width", "script", "role"),
    [
        ("ru-RU", 1280, True, "admin"),
        ("en-GB", 375, True, "owner"),
        ("ru-RU", 375, False, "owner"),
        ("en-GB", 1280, False, "admin"),
    ],
)
def test_an_endpoint_is_made_tested_and_sent_to_again(
    visit: Callable[..., Visit],
    app: Flask,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    admin: TestUser,
    locale: str,
    width: int,
    script: bool,
    role: str,
) -> None:
    words = WORDS[locale]
    shop = make_user(engine, keyring, name="shop", password=PASSWORD)
    app.extensions["standart.nudge"] = app.extensions["standart.replay_nudge"] = lambda: None
    window = visit(locale=locale, width=width, script=script, timezone_id="Asia/Kabul")
    page = window.page
    window.log_in(admin if role == "admin" else shop)

    with serving(_careless) as url:
        page.goto(f"/admin/users/{shop.id}")
        window.check()
        page.click("#endpoints .button")
        page.fill("#url", f"{url}?{'long' * 40}")
        page.fill("#description", "<b>Till</b> " + "d" * 200)
        page.fill("#headers", "webhook-id: mine")
        page.uncheck("input[value='transaction.expired']")
        page.click("button.main")
        expect(page.locator("#headers")).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#description")).to_have_value("<b>Till</b> " + "d" * 200)
        expect(page.locator("input[value='transaction.expired']")).not_to_be_checked()
        window.check()
        page.fill("#headers", "X-Shop: hidden")
        page.click("button.main")
        expect(page.locator("code.secret")).to_have_count(1)
        window.check()
        page.click("a.main")
        window.check()

        page.click("form[action$='/ping'] button")
        page.wait_for_url("**/admin/webhooks/*-*")
        window.check()
        _deliver(app)
        page.click(".heading .button >> nth=0")
        expect(page.locator(".delivery .status")).to_have_text(words["delivered"])
        page.locator("summary").first.click()
        expect(page.locator(".try pre")).to_have_text(SAID)
        expect(page.locator(".try")).to_contain_text("X-Shop")
        expect(page.locator(".try")).to_contain_text("***")
        window.check()

        page.click("h1 ~ .actions .main")
        window.check()
        page.click("button.main")
        page.wait_for_url("**/admin/webhooks/*-*")
        _deliver(app)
        page.reload()
        expect(page.locator(".try")).to_have_count(2)
        window.check()

        page.locator(".delivery h3 a").click()
        page.click("form[action$='/check'] button")
        expect(page.locator(".flash")).to_contain_text(words["wrong"])
        window.check()
    page.click("a.main")
    page.fill("#until", page.input_value("#since"))
    page.click("form[action$='/replay'] button")
    expect(page.locator("#until")).to_have_attribute("aria-invalid", "true")
    window.check()
    page.fill("#since", "2026-01-01T00:00")
    page.click("form[action$='/replay'] button")
    expect(page.locator("progress")).to_have_count(1)
    expect(page.locator("tr:has(progress) .status")).to_have_text(words["running"])
    window.check()
    for act in ("disable", "enable", "delete"):
        page.click(f"a[href$='/ask/{act}']")
        window.check()
        page.click("main button")
        window.check()
    page.goto("/admin/webhooks/?state=delivered")
    window.check()
    left = text("SELECT count(*) FROM webhook_endpoints WHERE deleted_at IS NULL AND url <> ''")
    assert connection.scalar(left) == 0


@pytest.mark.parametrize(
    ("locale", "width", "scheme"), [("ru-RU", 375, "dark"), ("en-GB", 1280, "light")]
)
def test_a_tab_full_of_trouble_fits_and_can_be_read(
    visit: Callable[..., Visit],
    app: Flask,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    admin: TestUser,
    locale: str,
    width: int,
    scheme: str,
) -> None:
    shop = make_user(engine, keyring, name="x" * 128)
    made = [
        make_endpoint(engine, keyring, shop, url=f"http://127.0.0.1:9/{'long' * 60}/{number}")
        for number in range(3)
    ]
    connection.execute(
        text(
            "UPDATE webhook_lanes SET failures = 1000, failing_since = clock_timestamp(),"
            " open_until = clock_timestamp() WHERE user_id = :id"
        ),
        {"id": shop.id},
    )
    connection.execute(
        text(
            "UPDATE webhook_endpoints SET disabled_at = clock_timestamp(), disabled_reason ="
            " 'failing' WHERE id = :id"
        ),
        {"id": made[0].id},
    )
    window = visit(locale=locale, width=width, color_scheme=scheme, timezone_id="Asia/Kabul")
    page = window.page
    window.log_in(admin)
    page.goto(f"/admin/webhooks/endpoints/{made[1].id}")
    page.click("form[action$='/ping'] button")
    page.wait_for_url("**/admin/webhooks/*-*")
    connection.execute(text("UPDATE webhook_lanes SET open_until = NULL"))
    _deliver(app)

    for path in (
        page.url,
        "/admin/webhooks/",
        *(f"/admin/webhooks/endpoints/{each.id}" for each in made),
        f"/admin/webhooks/endpoints/{made[0].id}/edit",
        f"/admin/users/{shop.id}",
        "/admin/audit/",
    ):
        page.goto(path)
        window.check()
        assert page.evaluate(_FAINT_TEXTS) == []
