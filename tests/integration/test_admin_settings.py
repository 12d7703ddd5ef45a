"""Settings and health in the panel: all of them, no secret, in few queries, for admins alone."""

from __future__ import annotations

import html
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, event

from standart import checks, migrations
from standart.config import SETTINGS, Settings
from standart.encryption import Keyring
from standart.models import Role
from standart.services import chain, signing_key_service
from tests.builders import PASSWORD, TestUser, make_user
from tests.integration.panel import Panel


@pytest.fixture
def panel(app: Flask, admin: TestUser, environment: dict[str, str], monkeypatch: Any) -> Panel:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = Panel(app.test_client())
    made.log_in(admin)
    return made


def test_every_setting_is_there_and_no_secret(
    panel: Panel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDART_TRANSACTION_TTL_SECONDS", "77")
    monkeypatch.setenv("STANDART_NO_SUCH_THING", "1")

    page = html.unescape(panel.get("/admin/settings/").text)

    for item in SETTINGS.values():
        assert f"<code>{item.variable}</code>" in page
    assert "<code>77</code>" in page
    assert "STANDART_NO_SUCH_THING" in page
    for secret in (settings.secret_key, settings.encryption_keys, settings.database_url):
        assert secret not in page


def test_it_tells_what_runs_and_what_proves_the_books(
    panel: Panel, connection: Connection, keyring: Keyring
) -> None:
    signing_key_service.ensure(connection, keyring)
    (key,) = signing_key_service.list_keys(connection)

    page = panel.get("/admin/settings/").text

    assert key.id in page
    assert key.public_key.hex() in page
    assert migrations.head() in page
    assert f"PostgreSQL {checks.server(connection).version}" in page
    assert "owns no tables" in page
    head = chain.last(connection)
    assert (str(head.anchor) if head else "Nothing has been sealed yet") in page


def test_health_says_what_doctor_says(
    panel: Panel, connection: Connection, settings: Settings
) -> None:
    page = html.unescape(panel.get("/admin/settings/health").text)

    for result in checks.of_database(connection, settings):
        if "ago" not in result.detail and " s" not in result.detail:
            assert result.detail in page
    assert "has never swept" in page
    assert "Start `standart worker` and `standart beat`" in page


@pytest.mark.parametrize(
    ("path", "most"), [("/admin/settings/", 12), ("/admin/settings/health", 14)]
)
def test_only_admins_see_it_and_it_takes_few_queries(
    panel: Panel, app: Flask, engine: Engine, keyring: Keyring, path: str, most: int
) -> None:
    seen: list[str] = []

    def note(*given: Any) -> None:
        seen.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert panel.get(path).status_code == 200
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(seen) <= most, seen
    for role in (Role.OPERATOR, Role.VIEWER, Role.REGULAR):
        other = make_user(engine, keyring, role=role, password=PASSWORD)
        theirs = Panel(app.test_client())
        theirs.log_in(other)
        assert theirs.get(path).status_code == 403, role
        assert "/admin/settings/" not in theirs.get("/admin/").text
