"""Bad requests to close and list periods: the exact answer, nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from standart.clock import now
from tests.acceptance.http import Http, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no period": ({}, "period"),
    "period null": ({"period": None}, "period"),
    "period a number": ({"period": 202601}, "period"),
    "period empty": ({"period": ""}, "period"),
    "period a year": ({"period": "2026"}, "period"),
    "month 13": ({"period": "2026-13"}, "period"),
    "30 February": ({"period": "2026-02-30"}, "period"),
    "year 0": ({"period": "0000-01"}, "period"),
    "year 10000": ({"period": "10000-01"}, "period"),
    "the last month there is": ({"period": "9999-12"}, "period"),
    "other digits": ({"period": "２０２６-01"}, "period"),
    "a line break": ({"period": "2026-01\n"}, "period"),
    "NUL": ({"period": "2026-01\0"}, "period"),
    "half a pair": ({"period": "\ud800"}, "period"),
    "a moment": ({"period": "2026-01-01T00:00:00Z"}, "period"),
    "10 KB": ({"period": "2" * 10_000}, "period"),
    "unknown field": ({"period": "2026-01", "force": True}, "force"),
}


@pytest.mark.parametrize(("body", "field"), WRONG.values(), ids=WRONG)
def test_a_wrong_close_is_422(server: Http, world: World, body: dict[str, Any], field: str) -> None:
    reply = server.post("/close_period", body, key=world.admin.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == [field]


def test_what_is_not_over_is_409(server: Http, world: World) -> None:
    for period in (f"{now():%Y-%m-%d}", f"{now():%Y-%m}", "2999-01"):
        reply = server.post("/close_period", {"period": period}, key=world.admin.key)
        document = refused(reply, 409, "period_not_over")
        assert document["period"] == period
        assert document["ends_at"].endswith("Z")


def test_a_merchant_closes_nothing(server: Http, world: World) -> None:
    reply = server.post("/close_period", {"period": "2026-01"}, key=world.shop.key)
    refused(reply, 403, "insufficient_scope")


QUERIES = {
    "limit 0": ("/closes?limit=0", "limit"),
    "limit twice": ("/closes?limit=1&limit=2", "limit"),
    "a forged cursor": ("/closes?cursor=AAAAAAAA", "cursor"),
    "an unknown parameter": ("/closes?period=2026-01", "period"),
    "a parameter of the head": ("/chain_head?number=1", "number"),
}


@pytest.mark.parametrize(("path", "field"), QUERIES.values(), ids=QUERIES)
def test_a_wrong_question_is_422(server: Http, world: World, path: str, field: str) -> None:
    document = refused(server.call("GET", path, key=world.shop.key), 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == [field]
