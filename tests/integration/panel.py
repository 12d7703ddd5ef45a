"""A browser without script: what the tests of the panel send and read."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import Connection, text
from werkzeug.test import TestResponse

from tests.builders import PASSWORD, TestUser, row_counts

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Panel:
    """A client that sends the CSRF token of its pages with every form."""

    def __init__(self, client: FlaskClient, **defaults: Any) -> None:
        self.client = client
        self.defaults = {"headers": {"Accept-Language": "en"}, "buffered": True, **defaults}

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, **{**self.defaults, **options})

    def token(self) -> str:
        found = _TOKEN.search(self.get("/admin/no-such-page").text)
        assert found
        return found[1]

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        """Send a form; ``csrf_token`` may be given, ``None`` leaves it out."""
        form = {"csrf_token": options.pop("csrf_token", ...), **(data or {})}
        if form["csrf_token"] is ...:
            form["csrf_token"] = self.token()
        if form["csrf_token"] is None:
            del form["csrf_token"]
        return self.client.post(path, data=form, **{**self.defaults, **options})

    def log_in(self, user: TestUser, password: str = PASSWORD, **data: Any) -> TestResponse:
        answer = self.post("/login", {"name": user.name, "password": password, **data})
        assert answer.status_code == 303, answer.text
        return answer

    def follow(self, answer: TestResponse) -> str:
        """Return the page that a redirect leads to."""
        assert answer.status_code == 303, answer.text
        page = self.get(answer.headers["Location"])
        assert page.status_code == 200
        return page.text


def kept_rows(connection: Connection) -> dict[str, int]:
    """Count what a refused request must leave alone; logins come and go by themselves."""
    counts = row_counts(connection)
    opened = text("SELECT count(*) FROM audit_log WHERE action = 'session.opened'")
    counts["audit_log"] -= connection.scalar(opened) or 0
    for table in ("panel_sessions", "pending_logins", "login_failures"):
        del counts[table]
    return counts
