"""Take a picture of every page of the panel: light, dark and on a phone, in Russian and English.

Run as ``python -m tests.screenshots [FOLDER [LANGUAGE]]``; it starts engines and a server of its
own and fills them with examples by a fixed seed. Chromium is found as the browser tests find it;
its own words in Russian are in a package of their own (Debian: ``chromium-l10n``).
"""

from __future__ import annotations

import base64
import dataclasses
import os
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from flask import Flask
from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from sqlalchemy import Engine, create_engine, make_url, text
from werkzeug.serving import make_server

from standart import encryption, migrations
from standart.app import create_app
from standart.config import Settings
from standart.db import autocommit, make_engine
from standart.embedded import Postgres, start_postgres, start_valkey
from standart.encryption import Keyring
from standart.models import Role
from standart.services import heartbeat_service
from tests.browser import stops
from tests.browser.conftest import Quiet, chromium_path
from tests.browser.scene import Scene, deliver, full_scene
from tests.builders import PASSWORD, make_user
from tests.integration.panel_scene import TOO_LARGE

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
SEED = 20
QUALITY = 60

# Some 400 pictures are kept beside the code: most are smaller than the page, and pages that are
# reached by an act are pictured once in each look.
SMALLER, LESS = 0.55, 40
WHOLE = frozenset(
    {"admin.index", "transactions.detail", "transactions.index", "webhooks.one_endpoint"}
)
OF_ACTS = frozenset({("ru", "light"), ("en", "dark"), ("ru", "phone")})


class Look(NamedTuple):
    """One way to see the pages: theme, width and height of the window, and whether on a phone."""

    name: str
    theme: str
    width: int
    height: int


LOOKS = (
    Look("light", "light", 1440, 900),
    Look("dark", "dark", 1440, 900),
    Look("phone", "light", 390, 844),
)
LOCALES = {"ru": "ru-RU", "en": "en-GB"}

# Whoever opens the picture wants the page, not the length of its longest list.
TALLEST = 1_300


def _spread(superuser: Engine) -> None:
    """Let what was written now have happened over the last day, by chance with a fixed seed."""
    chance = random.Random(SEED)
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        ids = connection.scalars(text("SELECT id FROM transactions ORDER BY id")).all()
        for row_id in ids[:-3]:
            connection.execute(
                text(
                    "UPDATE transactions SET created_at = created_at - :by,"
                    " finished_at = finished_at - :by WHERE id = :id"
                ),
                {"id": row_id, "by": timedelta(minutes=chance.randrange(3, 1_400))},
            )


@contextmanager
def _service(folder: Path) -> Iterator[tuple[Flask, Engine, Engine, Keyring]]:
    with ExitStack() as held:
        postgres: Postgres = start_postgres(folder / "pg", durable=False)
        held.callback(postgres.stop)
        valkey = start_valkey(folder / "vk")
        held.callback(valkey.stop)
        owner = make_engine(postgres.owner_url, pool_size=1)
        migrations.upgrade(owner, postgres.app_url)
        owner.dispose()
        keys = encryption.generate_key()
        settings = Settings(
            database_url=postgres.app_url,
            migration_database_url=postgres.owner_url,
            redis_url=valkey.url,
            secret_key="a secret of pictures, never of a server",
            encryption_keys=keys,
            webhook_allowed_networks=(ip_network("127.0.0.0/8"),),
            webhook_allow_http=True,
        )
        app = create_app(dataclasses.replace(settings, four_eyes_above=TOO_LARGE))
        engine = make_engine(postgres.app_url, pool_size=5)
        held.callback(engine.dispose)
        database = make_url(postgres.app_url).database
        superuser = create_engine(make_url(postgres.superuser_url).set(database=database))
        held.callback(superuser.dispose)
        yield app, engine, superuser, Keyring.parse(keys)


@contextmanager
def _served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _picture(page: Page, folder: Path, name: str, look: Look) -> None:
    """Write the page as WebP, which only the debugger's own command can make."""
    scale, quality = (1, QUALITY) if name in WHOLE else (SMALLER, LESS)
    if page.locator("figure.chart").count():
        page.wait_for_selector("figure.chart .legend li")
    page.set_viewport_size({"width": look.width, "height": look.height})
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    page.set_viewport_size({"width": look.width, "height": height})
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    session = page.context.new_cdp_session(page)
    shot = session.send(
        "Page.captureScreenshot",
        {
            "format": "webp",
            "quality": quality,
            "captureBeyondViewport": True,
            "clip": {"x": 0, "y": 0, "width": look.width, "height": height, "scale": scale},
        },
    )
    session.detach()
    path = folder / f"{name.replace('.', '-')}.webp"
    path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def _browser(playwright: Playwright, language: str) -> Iterator[Browser]:
    """Start Chromium in a language: that of its own words, as in fields for dates and files."""
    browser = playwright.chromium.launch(
        executable_path=chromium_path(),
        args=["--no-sandbox", f"--lang={LOCALES[language]}"],
        env={**os.environ, "LANGUAGE": language},
    )
    yield browser
    browser.close()


def _open(browser: Browser, address: str, language: str, look: Look) -> Page:
    context = browser.new_context(
        base_url=address,
        locale=LOCALES[language],
        color_scheme=look.theme,
        timezone_id="Europe/Moscow",
        viewport={"width": look.width, "height": look.height},
    )
    return context.new_page()


def _pages(page: Page, scene: Scene) -> Iterator[str]:
    """Go to all pages that have an address, and yield their names."""
    stops.log_in(page, scene.admin)
    for name, path in scene.pages().items():
        answer = page.goto(path)
        if answer is None or not answer.ok:
            raise RuntimeError(path)
        page.wait_for_load_state("load")
        yield name


def _work(scene: Scene) -> None:
    """Tell that the service does its work beside the pages, so that none of them calls it late."""
    with autocommit(scene.engine) as connection:
        for part in ("sweep", "delivery", "seal"):
            heartbeat_service.beat(connection, part)


def _take(browser: Browser, address: str, scene: Scene, language: str, place: Path) -> int:
    taken = 0
    for look in LOOKS:
        folder = place / f"{language}-{look.name}"
        folder.mkdir(parents=True, exist_ok=True)
        deliver(scene.app)
        _work(scene)
        ways: list[tuple[Page, stops.Way]] = [(_open(browser, address, language, look), _pages)]
        if (language, look.name) in OF_ACTS:
            ways += [(ways[0][0], way) for way in stops.OF_ADMINS]
            ways += [(_open(browser, address, language, look), way) for way in stops.OF_OTHERS]
        for page, way in ways:
            for name in way(page, scene):
                _picture(page, folder, name, look)
                _work(scene)
                taken += 1
        for page, _ in ways:
            page.context.close()
    return taken


def main() -> int:
    """Take all pictures, or those in the one language that the second argument names."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    languages = sys.argv[2:] or list(LOCALES)
    with tempfile.TemporaryDirectory() as place, _service(Path(place)) as made:
        app, engine, superuser, keyring = made
        admin = make_user(engine, keyring, name="anna", role=Role.ADMIN, password=PASSWORD)
        with full_scene(app, engine, keyring, admin, merchant="coffee-house") as scene:
            _spread(superuser)
            taken = 0
            with _served(app) as address, sync_playwright() as playwright:
                for language in languages:
                    with _browser(playwright, language) as browser:
                        taken += _take(browser, address, scene, language, folder)
    print(f"{taken} pictures in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
