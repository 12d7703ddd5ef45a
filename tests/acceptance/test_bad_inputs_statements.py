"""Bad requests for a statement: the exact answer before the first byte, nothing changed."""

from __future__ import annotations

import pytest

from tests.acceptance.http import Http, refused
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
DAY, NEXT = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"

WRONG: dict[str, tuple[str, list[str]]] = {
    "from after to": (f"from={NEXT}&to={DAY}", ["from", "to"]),
    "from is to": (f"from={DAY}&to={DAY}", ["from", "to"]),
    "from is to in two zones": (f"from={DAY}&to=2026-11-01T03:00:00%2B03:00", ["from", "to"]),
    "over two years": ("from=2024-01-01T00:00:00Z&to=2026-01-02T00:00:01Z", ["to"]),
    "over two years until now": ("from=2020-01-01T00:00:00Z", ["to"]),
    "no from": (f"to={NEXT}", ["from"]),
    "no zone": ("from=2026-11-01T00:00:00&to=2026-11-02T00:00:00", ["from", "to"]),
    "no time": ("from=2026-11-01", ["from"]),
    "plus not encoded": ("from=2026-11-01T00:00:00+03:00", ["from"]),
    "from empty": (f"from=&to={NEXT}", ["from"]),
    "from a word": ("from=yesterday", ["from"]),
    "from a number": ("from=1764547200", ["from"]),
    "day 31 of November": (f"from=2026-11-31T00:00:00Z&to={NEXT}", ["from"]),
    "from with NUL": (f"from={DAY}%00", ["from"]),
    "from twice": (f"from={DAY}&from={DAY}", ["from"]),
    "to twice": (f"from={DAY}&to={NEXT}&to={NEXT}", ["to"]),
    "from to come": ("from=2999-01-01T00:00:00Z&to=2999-01-02T00:00:00Z", ["from"]),
    "to too far": (f"from={DAY}&to=9999-12-31T23:59:59Z", ["to"]),
    "year 1": (f"from=0001-01-01T00:00:00Z&to={NEXT}", ["to"]),
    "before year 1": (f"from=0001-01-01T00:00:00%2B14:00&to={NEXT}", ["from"]),
    "beyond year 9999": (f"from={DAY}&to=9999-12-31T23:59:59-14:00", ["to"]),
    "period and from": (f"period=month&from={DAY}", ["from"]),
    "period and to": (f"period=month&to={NEXT}", ["to"]),
    "period unknown": ("period=tomorrow", ["period"]),
    "period empty": ("period=", ["period"]),
    "period in capitals": ("period=MONTH", ["period"]),
    "period twice": ("period=month&period=month", ["period"]),
    "period with NUL": ("period=month%00", ["period"]),
    "period with a line break": ("period=2026-11%0A", ["period"]),
    "month 13": ("period=2026-13", ["period"]),
    "month 0": ("period=2026-00", ["period"]),
    "February 30": ("period=2026-02-30", ["period"]),
    "year 0": ("period=0000-01", ["period"]),
    "year 9999": ("period=9999-12", ["period"]),
    "last day of all": ("period=9999-12-31", ["period"]),
    "month to come": ("period=2998-01", ["period"]),
    "a month without its zero": ("period=2026-1", ["period"]),
    "other digits": ("period=%D9%A2%D9%A0%D9%A2%D9%A6-01", ["period"]),
    "format unknown": ("format=xls", ["format"]),
    "format empty": ("format=", ["format"]),
    "format in capitals": ("format=CSV", ["format"]),
    "format twice": ("format=csv&format=csv", ["format"]),
    "format a path": ("format=../csv", ["format"]),
    "currency unknown": ("currency=ABC", ["currency"]),
    "currency in small letters": ("currency=rub", ["currency"]),
    "currency empty": ("currency=", ["currency"]),
    "language unknown": ("lang=de", ["lang"]),
    "unknown": ("until=now", ["until"]),
    "limit": ("limit=10", ["limit"]),
    "user_id a word": ("user_id=x", ["user_id"]),
    "user_id with NUL": (f"user_id={UNKNOWN}%00", ["user_id"]),
    "start, as it is called inside": (f"start={DAY}", ["start"]),
}


@pytest.mark.parametrize(("query", "fields"), WRONG.values(), ids=WRONG)
def test_a_wrong_query_is_422(server: Http, world: World, query: str, fields: list[str]) -> None:
    reply = server.call("GET", f"/statement?{query}", key=world.shop.key)
    document = refused(reply, 422, "invalid_input")
    assert [error["field"] for error in document["errors"]] == fields
    assert "content-disposition" not in reply.headers


@pytest.mark.parametrize("form", ["json", "csv", "xlsx", "pdf"])
def test_whose_statement_it_is_must_be_the_callers_to_say(
    server: Http, world: World, form: str
) -> None:
    for key, query in (
        (world.shop.key, f"user_id={world.stranger.id}"),
        (world.shop.key, f"user_id={world.shop.id}"),
        (world.shop.key, f"user_id={UNKNOWN}"),
        (world.admin.key, ""),
        (world.admin.key, f"user_id={UNKNOWN}"),
    ):
        reply = server.call("GET", f"/statement?format={form}&{query}", key=key)
        document = refused(reply, 422, "invalid_input")
        assert [error["field"] for error in document["errors"]] == ["user_id"]


def test_only_get_reads_a_statement(server: Http, world: World) -> None:
    for method in ("POST", "PUT", "DELETE"):
        reply = server.call(method, "/statement", key=world.shop.key)
        refused(reply, 405, "method_not_allowed")


@pytest.mark.parametrize("form", ["json", "csv", "xlsx", "pdf"])
def test_head_is_the_answer_without_its_body(server: Http, world: World, form: str) -> None:
    path = f"/statement?format={form}"
    asked = server.call("HEAD", path, key=world.shop.key)
    read = server.call("GET", path, key=world.shop.key)
    assert (asked.status, asked.body, read.status) == (200, b"", 200)
    assert asked.headers["content-type"] == read.headers["content-type"]
    assert read.headers["cache-control"] == "no-store"
    assert read.headers["content-disposition"].endswith(f'.{form}"')


def test_filters_never_reach_rows_of_others(server: Http, world: World) -> None:
    for key, query, movements in (
        (world.shop.key, "", 3),
        (world.stranger.key, "", 0),
        (world.admin.key, f"?user_id={world.shop.id}", 3),
        (world.admin.key, f"?user_id={world.stranger.id}", 0),
    ):
        body = server.call("GET", f"/statement{query}", key=key).json()
        assert len(body["movements"]) == movements
