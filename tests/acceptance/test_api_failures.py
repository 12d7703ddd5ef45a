"""What the API answers when something behind it fails, and where it counts requests."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from standart.api import limits, listing
from standart.config import Settings
from standart.embedded import Valkey
from standart.errors import Unavailable
from standart.setting_kinds import RateLimit
from tests.builders import TestUser

NO_DATABASE = "postgresql+psycopg://nobody:secret-word@127.0.0.1:1/nothing"
NO_REDIS = "redis://127.0.0.1:1/0"


def test_without_a_database_it_is_alive_and_says_try_again(
    make_app: Callable[..., Flask], merchant: TestUser, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_app(database_url=NO_DATABASE).test_client()
    assert client.get("/healthz").status_code == 200
    replies = [
        client.get("/readyz"),
        client.get("/balance", headers=merchant.headers),
        client.post("/create_transaction", json={"amount": "1.00"}, headers=merchant.headers),
    ]
    for reply in replies:
        assert (reply.status_code, reply.json["code"]) == (503, "unavailable")
        assert reply.content_type == "application/problem+json"
        assert reply.headers["Retry-After"] == "1"
        assert "127.0.0.1" not in reply.text
    assert "secret-word" not in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_ready_means_the_migrations_of_this_version(
    make_app: Callable[..., Flask], superuser: Engine
) -> None:
    client = make_app().test_client()
    assert client.get("/readyz").json == {"status": "ok"}
    with superuser.begin() as connection:
        head = connection.scalar(text("SELECT version_num FROM alembic_version"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    try:
        reply = client.get("/readyz")
        assert (reply.status_code, reply.json["code"]) == (503, "unavailable")
        assert client.get("/healthz").status_code == 200
    finally:
        with superuser.begin() as connection:
            connection.execute(
                text("UPDATE alembic_version SET version_num = :head"), {"head": head}
            )
    assert client.get("/readyz").status_code == 200


def test_ready_asks_nothing_of_redis(make_app: Callable[..., Flask]) -> None:
    client = make_app(redis_url=NO_REDIS).test_client()
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "error",
    [RuntimeError("SELECT secret FROM users"), KeyError("psycopg"), RecursionError("deep")],
    ids=repr,
)
def test_the_unexpected_is_a_problem_without_a_word_about_the_inside(
    app: Flask,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def fail(work: object) -> None:
        raise error

    monkeypatch.setattr(listing, "on_connection", fail)
    headers = {**merchant.headers, "X-Request-Id": "call-18"}
    reply = app.test_client().get("/transactions", headers=headers)
    assert reply.status_code == 500
    assert reply.json == {
        "type": "urn:standart:problem:internal_error",
        "title": "Internal error",
        "status": 500,
        "detail": "Something went wrong here; it has been written to the log.",
        "code": "internal_error",
        "request_id": "call-18",
    }
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert vars(record)["request_id"] == "call-18"


def test_a_busy_transaction_says_when_to_try_again(
    app: Flask, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(work: object) -> None:
        raise Unavailable("The transaction is busy; try again.")

    monkeypatch.setattr(listing, "on_connection", busy)
    reply = app.test_client().get("/transactions", headers=merchant.headers)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json["detail"] == "The transaction is busy; try again."


def test_a_key_has_its_own_rate(
    make_app: Callable[..., Flask], merchant: TestUser, admin: TestUser
) -> None:
    client = make_app(rate_limit=RateLimit(3, 86_400)).test_client()

    def statuses(who: TestUser) -> list[int]:
        return [client.get("/events", headers=who.headers).status_code for _ in range(4)]

    assert statuses(merchant) == [200, 200, 200, 429]
    assert statuses(admin) == [200, 200, 200, 429]
    reply = client.get("/transactions", headers=merchant.headers)
    assert (reply.status_code, reply.json["code"]) == (429, "too_many_requests")
    assert 1 <= int(reply.headers["Retry-After"]) <= 86_400
    assert client.get("/healthz").status_code == 200


def test_two_processes_count_together(make_app: Callable[..., Flask], merchant: TestUser) -> None:
    clients = [make_app(rate_limit=RateLimit(2, 86_400)).test_client() for _ in range(2)]
    statuses = [
        client.get("/events", headers=merchant.headers).status_code
        for client in clients
        for _ in range(2)
    ]
    assert statuses == [200, 200, 429, 429]


def test_without_redis_requests_pass_uncounted(
    make_app: Callable[..., Flask], merchant: TestUser
) -> None:
    client = make_app(rate_limit=RateLimit(1, 86_400), redis_url=NO_REDIS).test_client()
    before = limits.UNCOUNTED._value.get()
    statuses = [client.get("/events", headers=merchant.headers).status_code for _ in range(3)]
    assert statuses == [200, 200, 200]
    assert limits.UNCOUNTED._value.get() == before + 3


def test_counters_in_redis_end_by_themselves(
    make_app: Callable[..., Flask], merchant: TestUser, valkey: Valkey, settings: Settings
) -> None:
    app = make_app(rate_limit=RateLimit(5, 60))
    app.test_client().get("/events", headers=merchant.headers)
    limiter = app.extensions["standart.rate_limiter"]
    names = limiter._redis.keys(f"standart:rate:{merchant.digest.value.hex()[:32]}:*")
    assert len(names) == 1
    assert 0 < limiter._redis.ttl(names[0]) <= 120


def test_documentation_can_be_switched_off(make_app: Callable[..., Flask]) -> None:
    client = make_app(api_docs=False).test_client()
    for path in ("/apidocs/", "/apispec.json", "/apidocs/static/swagger-ui.css"):
        assert client.get(path).status_code == 404


def test_a_forwarded_address_counts_only_behind_a_known_proxy(
    make_app: Callable[..., Flask], merchant: TestUser, admin: TestUser, engine: Engine
) -> None:
    client = make_app(proxy_hops=1).test_client()
    made = client.post(
        "/create_transaction", json={"amount": "1.00"}, headers=merchant.headers
    ).json
    headers = {**merchant.headers, "X-Forwarded-For": "6.6.6.6, 198.51.100.7"}
    client.post("/cancel_transaction", json={"id": made["id"]}, headers=headers)
    with engine.connect() as connection:
        found = connection.scalar(
            text("SELECT ip FROM audit_log WHERE object_id = :id"), {"id": made["id"]}
        )
    assert found == "198.51.100.7"
