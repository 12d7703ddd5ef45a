"""The dashboard that renews itself: what it says when it cannot."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Route, expect

from tests.browser.conftest import Visit
from tests.builders import TestUser

TEN_SECONDS = 10_500
LEGEND = "figure.chart .legend"


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


def test_a_day_of_a_zone_of_half_hours_says_from_when_it_is(
    visit: Callable[..., Visit], admin: TestUser
) -> None:
    """It begins there at 18:15 UTC, and its first full hour 45 minutes later."""
    window = visit(locale="en-GB", timezone_id="Asia/Kathmandu")
    window.log_in(admin)
    window.page.goto("/admin/?period=30d")
    expect(window.page.locator(f"{LEGEND} li")).to_have_count(5)  # drawn: now keys lead somewhere
    window.page.focus("figure.chart .plot")
    window.page.keyboard.press("End")

    expect(window.page.locator(f"{LEGEND} .at")).to_contain_text(", 00:45")
    window.check()


def test_the_chart_goes_on_with_the_hour(visit: Callable[..., Visit], admin: TestUser) -> None:
    """Nothing else has changed, so that the page itself is not sent again."""
    window = visit(locale="en-GB")
    page = window.page
    page.clock.install()
    window.log_in(admin)
    with page.expect_response("**/refresh"):
        page.select_option("#refresh", "10")
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url) if "/chart" in each.url else None)
    for _ in range(2):
        with page.expect_response("**/admin/live*"):
            page.clock.fast_forward(TEN_SECONDS)
    before = len(asked)

    with page.expect_response("**/admin/chart*"):
        page.clock.fast_forward(3_600_000)

    assert before <= 1
    window.check()


def test_a_chart_that_does_not_come_says_so(visit: Callable[..., Visit], admin: TestUser) -> None:
    window = visit(locale="en-GB")
    page = window.page
    page.route("**/admin/chart*", lambda route: route.fulfill(status=503, body=""))
    window.log_in(admin)

    expect(page.locator("figure.chart .trouble")).to_be_visible()
    page.unroute("**/admin/chart*")
    page.reload()

    expect(page.locator(f"{LEGEND} li")).to_have_count(5)
    expect(page.locator("figure.chart .trouble")).to_be_hidden()
    window.check()
