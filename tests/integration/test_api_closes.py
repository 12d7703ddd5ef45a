"""Closes and the chain's head over HTTP: what is answered, page by page."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import Connection

from standart.services import chain, seal_service
from tests import movements
from tests.builders import TestUser

MONTHS = ("2026-01", "2026-02", "2026-03")


def close(client: FlaskClient, admin: TestUser, period: str, **headers: str) -> Any:
    return client.post(
        "/close_period", json={"period": period}, headers={**admin.headers, **headers}
    )


def test_a_close_is_answered_again_byte_for_byte(client: FlaskClient, admin: TestUser) -> None:
    first = close(client, admin, "2026-01", **{"Idempotency-Key": "one"})
    replayed = close(client, admin, "2026-01", **{"Idempotency-Key": "one"})
    again = close(client, admin, "2026-01")
    assert (first.status_code, replayed.status_code, again.status_code) == (201, 201, 200)
    assert first.data == replayed.data == again.data
    assert replayed.headers["Idempotent-Replayed"] == "true"


def test_closes_come_in_pages(client: FlaskClient, admin: TestUser, merchant: TestUser) -> None:
    made = [close(client, admin, month).json for month in MONTHS]
    listed: list[Any] = []
    cursor = ""
    for _ in MONTHS:
        page = client.get(f"/closes?limit=1{cursor}", headers=merchant.headers).json
        listed += page["data"]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert listed == [{**each, "closed_by": None} for each in made[::-1]]
    shown = client.get("/closes", headers=admin.headers).json["data"]
    assert shown == made[::-1]
    assert {each["closed_by"] for each in shown} == {admin.name}


def test_the_head_is_told_to_everybody_who_reads(
    client: FlaskClient, connection: Connection, merchant: TestUser
) -> None:
    none = client.get("/chain_head", headers=merchant.headers)
    assert (none.status_code, none.json["code"]) == (404, "not_found")
    movements.Mover(connection, merchant.id).adjust(5)
    seal_service.seal(connection)
    head = chain.last(connection)
    assert head is not None
    assert client.get("/chain_head", headers=merchant.headers).json == head.wire()
