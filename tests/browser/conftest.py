"""A real Chromium before a real server of the app."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.builders import PASSWORD, TestUser

# Half of what a policy blocks is blocked on a click, so violations are counted all along.
_COUNT_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""

# Links inside running text may be as high as their line (WCAG 2.5.8).
_SMALL_TARGETS = """
() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")]
  .filter((element) => element.checkVisibility() && !element.matches(".skip"))
  .filter((element) => !element.closest("dd, p, footer, h3"))
  .map((element) => [element.outerHTML.slice(0, 90), element.getBoundingClientRect()])
  .filter(([html, box]) => box.width < 24 || box.height < 24)
  .map(([html, box]) => `${html} ${box.width} x ${box.height}`)
"""

_NAMELESS = """
() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select")]
  .filter((element) => element.checkVisibility())
  .filter((element) => !(element.labels?.length || element.ariaLabel || element.innerText?.trim()))
  .map((element) => element.outerHTML)
"""


# What is waited for comes; how soon is the machine's affair.
expect.set_options(timeout=30_000)


class Quiet(WSGIRequestHandler):
    def log(self, *args: object, **kwargs: object) -> None:
        """Say nothing: what fails is seen in the page."""


def chromium_path() -> str | None:
    """Where Chromium is: as STANDART_TEST_CHROMIUM says, else by its usual names."""
    return os.environ.get("STANDART_TEST_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


# Not for the session: while it lives, Playwright's event loop runs in this thread, and the
# tests of other modules could run none of their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = chromium_path()
    if found is None:
        pytest.skip("no Chromium: install one or name it in STANDART_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Visit:
    """A page in a browser that notes what goes wrong on it."""

    page: Page
    trouble: list[str] = field(default_factory=list)
    script: bool = True

    def log_in(self, user: TestUser) -> None:
        self.page.goto("/login")
        self.page.fill("#name", user.name)
        self.page.fill("#password", PASSWORD)
        self.page.click("button.main")
        self.page.wait_for_url("**/admin/")

    def tab(self) -> Visit:
        """Open another page of the same browser: the same login, troubles of its own."""
        return _watched(self.page.context, self.script)

    def open_menu(self) -> None:
        """Unfold the menu where the window is too narrow to show it all along."""
        if self.page.locator(".open-menu").is_visible():
            self.page.click(".open-menu")

    def check(self) -> None:
        """No violation, no error, no sideways scroll; controls large enough and with names."""
        self.page.wait_for_load_state("load")  # a click returns before the style sheet is there
        assert self.trouble == []
        assert self.page.locator("h1").count() == 1
        # The page's scripts may be off; those of the debugger still run.
        assert self.page.evaluate(_SMALL_TARGETS) == []
        assert self.page.evaluate(_NAMELESS) == []
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert self.page.evaluate(overflow) == 0, self.page.url
        if self.script:
            assert self.page.evaluate("window.violations") == []


def _note_line(visit: Visit, line: ConsoleMessage) -> None:
    # What a test asks for on purpose and is refused is no error of the page.
    if line.type in ("error", "warning") and "the server responded with a status" not in line.text:
        visit.trouble.append(f"{line.type}: {line.text}")


def _note_failure(visit: Visit, request: Request) -> None:
    # The next click leaves an icon behind that is still on its way.
    if request.failure != "net::ERR_ABORTED":
        visit.trouble.append(f"failed: {request.url} {request.failure}")


def _watched(context: BrowserContext, script: bool) -> Visit:
    """Open a page that notes what goes wrong on it."""
    page = context.new_page()
    opened = Visit(page, script=script)
    page.add_init_script(_COUNT_VIOLATIONS)
    page.on("pageerror", lambda error: opened.trouble.append(str(error)))
    page.on("console", lambda line: _note_line(opened, line))
    page.on("requestfailed", lambda request: _note_failure(opened, request))
    page.on("dialog", lambda dialog: opened.trouble.append(f"dialog: {dialog.message}"))
    return opened


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Callable[..., Visit]]:
    """Open a browser window: ``visit(locale="ru-RU", width=375, script=False)``."""
    contexts: list[BrowserContext] = []

    def open_window(*, width: int = 1280, script: bool = True, **options: Any) -> Visit:
        context = chromium.new_context(
            base_url=address,
            viewport={"width": width, "height": 800},
            java_script_enabled=script,
            **options,
        )
        contexts.append(context)
        return _watched(context, script)

    yield open_window
    for context in contexts:
        context.close()
