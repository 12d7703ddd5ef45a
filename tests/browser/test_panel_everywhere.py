"""Every page of the panel in both themes and languages: axe finds nothing, a phone shows it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine

from standart.encryption import Keyring
from tests.browser import stops
from tests.browser.conftest import Visit
from tests.browser.scene import Scene, full_scene, with_extremes
from tests.browser.test_panel_look import NEXT_PAGE_BYTES
from tests.builders import TestUser
from tests.integration.panel_scene import TOO_LARGE

# axe-core 4.14.1, MPL-2.0 (vendor/LICENSE.txt). It is injected past the policy of the pages.
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
ALL = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    },
    "rules": {"target-size": {"enabled": True}},
}
# A theme changes the colours of a page and nothing else of it.
OF_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}

_RUN = """
async (options) => {
  const found = (await axe.run(options)).violations;
  return found.flatMap((rule) => rule.nodes.map(
    (node) => `${rule.id}: ${node.html.slice(0, 160)} ${node.failureSummary}`
  ));
}
"""
# Of a table that is wider than its box the rest must be in reach by scrolling.
_CUT = """
() => [...document.querySelectorAll("main *:not(input, textarea)")]
  .filter((element) => element.checkVisibility() && element.scrollWidth > element.clientWidth + 1)
  .filter((element) => ["clip", "hidden"].includes(getComputedStyle(element).overflowX))
  .filter((element) => !element.matches(".hidden, .hidden *, .u-wrap *") && element.clientWidth > 1)
  .map((element) => element.outerHTML.slice(0, 120))
"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(four_eyes_above=TOO_LARGE)


@pytest.fixture
def scene(app: Flask, engine: Engine, keyring: Keyring, admin: TestUser) -> Iterator[Scene]:
    with full_scene(app, engine, keyring, admin) as made:
        yield made


def faults(window: Visit) -> list[str]:
    """What axe finds on the page as it is now, and in the colours of the other theme."""
    page = window.page
    page.wait_for_load_state("load")  # what is half there has faults, as without its style sheet
    page.evaluate(AXE)
    found: list[str] = page.evaluate(_RUN, ALL)
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    # Colours that are still on their way from one theme to the other are nobody's.
    page.emulate_media(color_scheme="light" if dark else "dark", reduced_motion="reduce")
    found += page.evaluate(_RUN, OF_COLOURS)
    page.emulate_media(color_scheme="dark" if dark else "light")
    page.emulate_media(reduced_motion="no-preference")
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("language", "locale"), [("ru", "ru-RU"), ("en", "en-GB")])
def test_axe_finds_nothing_on_any_page_in_either_theme(
    visit: Callable[..., Visit], scene: Scene, language: str, locale: str
) -> None:
    window = visit(locale=locale, timezone_id="Europe/Moscow")
    problems: dict[str, list[str]] = {}
    window.page.goto("/login")
    problems["login"] = faults(window)
    window.log_in(scene.admin)
    for name, path in scene.pages().items():
        answer = window.page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        assert window.page.locator("html").get_attribute("lang") == language
        problems[name] = faults(window)
        window.check()

    assert {name: found for name, found in problems.items() if found} == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("language", "locale"), [("ru", "ru-RU"), ("en", "en-GB")])
@pytest.mark.parametrize("width", [1280, 360])
def test_nor_on_those_that_are_only_reached_by_an_act(
    visit: Callable[..., Visit], scene: Scene, language: str, locale: str, width: int
) -> None:
    look = {"locale": locale, "timezone_id": "Europe/Moscow"}
    window = visit(width=width, **look)
    window.log_in(scene.admin)
    ways = [(window, way) for way in stops.OF_ADMINS]
    ways += [(visit(width=width, **look), way) for way in stops.OF_OTHERS]
    problems: dict[str, list[str]] = {}
    for opened, way in ways:
        for name in way(opened.page, scene):
            assert opened.page.locator("html").get_attribute("lang") == language
            problems[name] = faults(opened)
            opened.check()

    assert len(problems) > 40
    assert {name: found for name, found in problems.items() if found} == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("locale", "scheme"), [("ru-RU", "dark"), ("en-GB", "light")])
def test_a_small_phone_shows_every_page_whole(
    visit: Callable[..., Visit], scene: Scene, locale: str, scheme: str
) -> None:
    window = visit(locale=locale, color_scheme=scheme, width=360, timezone_id="Europe/Moscow")
    window.log_in(scene.admin)
    for path in scene.pages().values():
        window.page.goto(path)
        assert window.page.evaluate(_OVERFLOW) == 0, path
        window.check()


@pytest.mark.timeout(600)
def test_no_page_weighs_much_for_who_has_been_here(
    visit: Callable[..., Visit], scene: Scene
) -> None:
    window = visit(locale="ru-RU")
    window.log_in(scene.admin)
    window.page.wait_for_load_state("networkidle")
    taken: list[float] = []
    wire = window.page.context.new_cdp_session(window.page)
    wire.on("Network.loadingFinished", lambda event: taken.append(event["encodedDataLength"]))
    wire.send("Network.enable")
    weights: dict[str, float] = {}
    for name, path in scene.pages().items():
        taken.clear()
        window.page.goto(path, wait_until="networkidle")
        weights[name] = sum(taken)

    assert all(weights.values())
    assert {name: weight for name, weight in weights.items() if weight > NEXT_PAGE_BYTES} == {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_the_longest_names_references_and_sums_fit(
    visit: Callable[..., Visit], scene: Scene, keyring: Keyring, width: int
) -> None:
    window = visit(locale="ru-RU", width=width, timezone_id="Europe/Moscow")
    window.log_in(scene.admin)
    for path in with_extremes(scene, keyring).pages().values():
        window.page.goto(path)
        window.check()
        assert window.page.evaluate(_CUT) == [], path


def test_a_merchant_sees_its_own_pages_without_faults(
    visit: Callable[..., Visit], scene: Scene
) -> None:
    window = visit(locale="ru-RU", width=360)
    window.log_in(scene.busy.owner)
    problems: dict[str, list[str]] = {}
    for path in ("/admin/", "/admin/transactions/", "/admin/webhooks/", "/admin/users/"):
        window.page.goto(path)
        problems[path] = faults(window)
        window.check()

    assert {path: found for path, found in problems.items() if found} == {}
