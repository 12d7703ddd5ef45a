"""The dashboard that renews itself: what it says when it cannot."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit
from tests.builders import TestUser

TEN_SECONDS = 10_500


def test_it_says_when_no_answer_comes_and_when_one_comes_again(
    visit: Callable[..., Visit], admin: TestUser
) -> None:
    window = visit(locale="en-GB")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    page.select_option("#refresh", "10")
    page.route("**/admin/live*", lambda route: route.fulfill(status=503, body=""))

    page.clock.fast_forward(TEN_SECONDS)
    expect(page.locator("#trouble")).to_be_visible()
    page.unroute("**/admin/live*")
    page.clock.fast_forward(TEN_SECONDS)

    expect(page.locator("#trouble")).to_be_hidden()
    window.check()


def test_it_stops_asking_where_the_login_has_ended(
    visit: Callable[..., Visit], admin: TestUser
) -> None:
    window = visit(locale="en-GB")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=401, body="")

    page.route("**/admin/live*", refuse)
    page.select_option("#refresh", "10")
    page.clock.fast_forward(TEN_SECONDS)
    expect(page.locator("#ended")).to_be_visible()
    page.clock.fast_forward(60_000)

    assert len(asked) == 1
    expect(page.locator("#ended a")).to_have_attribute("href", "/login?next=/admin/")
    window.check()
