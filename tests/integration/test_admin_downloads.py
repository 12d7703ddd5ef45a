"""Files that the panel sends while they are made: few long ones at a time, nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from standart import streams
from standart.services import export_service
from tests.builders import TestUser, make_transaction
from tests.integration.panel import Panel

EXPORTS = ["/admin/transactions/export/csv", "/admin/transactions/export/xlsx"]

# What is between a file of nine rows and an empty one; a workbook has much around them.
SHORT = {"csv": 1_500, "xlsx": 1_950}


@pytest.fixture
def panel(
    client: FlaskClient,
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> Panel:
    monkeypatch.setattr(export_service, "BATCH", 2)
    monkeypatch.setattr("standart.admin.downloads._PIECE", 10)
    monkeypatch.setattr("standart.admin.workbook._BATCH", 1)
    monkeypatch.setattr("standart.admin.workbook._CHUNK", 10)
    for _ in range(9):
        make_transaction(engine, merchant)
    made = Panel(client)
    made.log_in(admin)
    return made


def begin(panel: Panel, path: str) -> TestResponse:
    """Ask for a file and read no more of it than its beginning."""
    return panel.post(path, buffered=False)


@pytest.mark.parametrize("path", EXPORTS)
def test_long_files_wait_for_one_another_and_short_ones_do_not(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(streams, "SHORT_BYTES", SHORT[path.rpartition("/")[2]])
    under_way = [begin(panel, path) for _ in range(streams.MOST_SENT)]
    assert [each.status_code for each in under_way] == [200] * streams.MOST_SENT

    refused = panel.post(path)
    short = panel.post(f"{path}?reference=nothing")
    under_way.pop().close()
    again = panel.post(path)

    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == str(streams.RETRY_SECONDS)
    assert short.status_code == again.status_code == 200
    if path.endswith("csv"):
        assert again.text.count("\r\n") == 10
    under_way.pop().close()


@pytest.mark.parametrize("path", EXPORTS)
def test_who_goes_away_leaves_no_connection_in_use(
    app: Flask, panel: Panel, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(streams, "SHORT_BYTES", SHORT[path.rpartition("/")[2]])
    pool: Any = app.extensions["standart.engine"].pool
    answer = begin(panel, path)
    pieces = answer.iter_encoded()
    next(pieces)
    assert pool.checkedout() == 0, "none is held between two pieces"
    answer.close()
    assert pool.checkedout() == 0
    assert streams._sending.acquire(blocking=False)
    streams._sending.release()


def test_what_cannot_be_read_is_told_as_such_and_is_no_broken_file(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first piece: the answer is a page then, and none that looks like a file."""

    def fail(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("standart.services.transaction_list.plain_page", fail)
    answer = panel.post(EXPORTS[0])
    assert answer.status_code == 500
    assert "attachment" not in answer.headers.get("Content-Disposition", "")
