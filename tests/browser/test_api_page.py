"""The documentation page in a real browser, under its policy and without a network."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from standart.api.operations import OPERATIONS
from tests.browser.conftest import Visit
from tests.builders import TestUser

CREATE = "#operations-transactions-create_transaction"


def test_the_page_shows_every_operation_from_our_own_files(visit: Callable[..., Visit]) -> None:
    window = visit()
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    window.page.goto("/apidocs/")
    operations = window.page.locator(".opblock-summary-path")
    # Two more for the webhooks: the endings, and everything else.
    expect(operations).to_have_count(len(OPERATIONS) + 2)
    shown = [path.replace("\u200b", "") for path in operations.all_inner_texts()]
    assert shown[:-2] == [operation.path for operation in OPERATIONS]
    root = window.page.url.partition("/apidocs/")[0]
    assert asked
    assert [url for url in asked if not url.startswith((root, "data:"))] == []
    assert window.page.evaluate("window.violations") == []
    assert window.trouble == []


def test_a_call_can_be_tried_with_a_key(visit: Callable[..., Visit], merchant: TestUser) -> None:
    window = visit()
    page = window.page
    page.goto("/apidocs/")
    page.click(".btn.authorize")
    page.fill(".auth-container input", merchant.key)
    page.click(".auth-btn-wrapper .authorize")
    page.click(".btn-done")
    page.click(f"{CREATE} .opblock-summary-control")
    page.click(f"{CREATE} .try-out__btn")
    page.click(f"{CREATE} .execute")
    answer = page.locator(f"{CREATE} .live-responses-table")
    expect(answer.locator(".response-col_status").nth(1)).to_have_text(re.compile("201"))
    expect(answer).to_contain_text('"net": "97.00"')
    assert page.evaluate("window.violations") == []
    assert window.trouble == []


def test_without_script_the_page_points_to_the_document(visit: Callable[..., Visit]) -> None:
    window = visit(script=False)
    window.page.goto("/apidocs/")
    expect(window.page.locator("noscript a")).to_have_attribute("href", "/apispec.json")
