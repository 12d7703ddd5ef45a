"""Settings and health in the panel: all of them, no secret, in few queries, for admins alone."""

from __future__ import annotations

import dataclasses
import html
import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, event

from standart import checks, migrations
from standart.admin import formats
from standart.config import SETTINGS, Settings
from standart.db import autocommit
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
    assert "Start <code>standart worker</code> and <code>standart beat</code>" in page


CYRILLIC = re.compile("[А-Яа-яЁё]")
RUSSIAN = {"headers": {"Accept-Language": "ru"}}


def test_in_russian_the_checks_and_the_help_of_the_settings_are_russian(
    panel: Panel, connection: Connection, settings: Settings
) -> None:
    health = panel.get("/admin/settings/health", **RUSSIAN).text
    page = html.unescape(panel.get("/admin/settings/", **RUSSIAN).text)

    found = re.findall(r'<td data-label="(?:Что найдено|Что делать)"[^>]*>(.*?)</td>', health)
    assert len(found) > 20
    assert [each for each in found if each != "—" and not CYRILLIC.search(each)] == []
    assert "Запустите <code>standart worker</code> и <code>standart beat</code>" in health
    assert [item.help for item in SETTINGS.values() if formats.coded(item.help) in page] == []


def test_where_the_head_is_left_outside_takes_no_query_more(
    app: Flask, settings: Settings, engine: Engine
) -> None:
    seen: list[str] = []

    def note(*given: Any) -> None:
        seen.append(given[2])

    def taken(configured: Settings) -> int:
        seen.clear()
        event.listen(Engine, "before_cursor_execute", note)
        try:
            with autocommit(engine) as connection:
                list(checks.of_database(connection, configured))
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return len(seen)

    assert taken(dataclasses.replace(settings, seal_anchor="/var/head")) == taken(settings) <= 11


@pytest.mark.parametrize(
    ("path", "most"), [("/admin/settings/", 12), ("/admin/settings/health", 12)]
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
