"""When things fail, the panel says so in a page and tells nothing of its inside."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from standart.admin import dashboard
from tests.builders import TestUser
from tests.integration.panel import Panel


def test_a_database_that_is_away_is_said_to_be(make_app: Callable[..., Flask]) -> None:
    app = make_app(database_url="postgresql+psycopg://nobody:secret@127.0.0.1:1/nothing")
    client = app.test_client(use_cookies=False)

    form = client.get("/login")
    page = client.get("/admin/", headers={"Cookie": "standart_session=x", "Accept-Language": "en"})

    assert form.status_code == 200, "the form needs no database"
    assert page.status_code == 503
    assert page.mimetype == "text/html"
    assert page.headers["Retry-After"] == "1"
    assert "The service cannot answer right now" in page.text
    for inside in ("secret", "psycopg", "127.0.0.1", "Traceback"):
        assert inside not in page.text


def test_the_unexpected_goes_to_the_log_and_not_to_the_page(
    client: FlaskClient,
    admin: TestUser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    panel = Panel(client)
    panel.log_in(admin)

    def fail(*args: object) -> None:
        raise TypeError("SELECT secret FROM inside")

    monkeypatch.setattr(dashboard, "_figures", fail)
    with caplog.at_level(logging.ERROR):
        page = panel.get("/admin/")

    assert page.status_code == 500
    assert page.mimetype == "text/html"
    assert "inside" not in page.text
    assert "TypeError" not in page.text
    assert "Something went wrong" in page.text
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1, "and it ran once"


@pytest.mark.parametrize(
    ("language", "said"), [("ru", "Такой страницы или такого объекта нет."), ("en", "There is no")]
)
def test_error_pages_speak_the_viewers_language(
    client: FlaskClient, language: str, said: str
) -> None:
    page = client.get("/admin/nothing", headers={"Accept-Language": language})

    assert page.status_code == 404
    assert f'<html lang="{language}" ' in page.text
    assert said in page.text
    assert client.get("/administrator").mimetype == "application/problem+json"
