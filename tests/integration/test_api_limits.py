"""Limits and unique references over HTTP, and what they cost where there is much to count."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.models import LimitKind
from standart.money import Money
from standart.services import limit_service
from tests.builders import TestUser, row_counts
from tests.integration.limits import limit, rubles, want_unique_references


def post(client: FlaskClient, user: TestUser, key: str | None = None, **body: Any) -> Any:
    headers = user.headers if key is None else {**user.headers, "Idempotency-Key": key}
    return client.post("/create_transaction", json={"amount": "100.00", **body}, headers=headers)


@pytest.mark.parametrize(
    ("kind", "value", "members", "error"),
    [
        (
            LimitKind.TRANSACTION_AMOUNT,
            rubles("99.00"),
            {"limit": "transaction_amount", "value": "99.00", "currency": "RUB"},
            {
                "field": "amount",
                "message": "would exceed the limit transaction_amount of 99.00 RUB",
            },
        ),
        (
            LimitKind.DAILY_COUNT,
            0,
            {"limit": "daily_count", "value": "0"},
            {"field": "body", "message": "would exceed the limit daily_count of 0"},
        ),
    ],
)
def test_a_passed_limit_is_a_problem_that_names_it(
    client: FlaskClient,
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    kind: LimitKind,
    value: Money | int,
    members: dict[str, str],
    error: dict[str, str],
) -> None:
    limit(engine, merchant, kind, value)
    counts = row_counts(connection)

    reply = post(client, merchant, "k-1")

    problem = dict(reply.json)
    assert (reply.status_code, reply.content_type) == (422, "application/problem+json")
    assert problem.pop("request_id") == reply.headers["X-Request-Id"]
    assert problem == {
        "type": "urn:standart:problem:limit_exceeded",
        "title": "Limit exceeded",
        "status": 422,
        "detail": "This would exceed a limit of the merchant.",
        "code": "limit_exceeded",
        "errors": [error],
        **members,
    }
    assert row_counts(connection) == counts


def test_within_limits_ids_and_keys_repeat_as_ever(
    client: FlaskClient, engine: Engine, merchant: TestUser
) -> None:
    limit(engine, merchant, LimitKind.PENDING_COUNT, 2)
    id_ = str(uuid4())
    first, again = post(client, merchant, id=id_), post(client, merchant, id=id_)
    other = post(client, merchant, id=id_, amount="1.00")
    kept, replayed = post(client, merchant, "k-1"), post(client, merchant, "k-1")
    reused = post(client, merchant, "k-1", amount="1.00")
    full = post(client, merchant)

    assert [first.status_code, again.status_code, again.data] == [201, 200, first.data]
    assert (other.status_code, other.json["code"]) == (409, "id_conflict")
    assert (kept.status_code, replayed.status_code, replayed.data) == (201, 201, kept.data)
    assert replayed.headers["Idempotent-Replayed"] == "true"
    assert (reused.status_code, reused.json["code"]) == (422, "idempotency_key_reused")
    assert (full.status_code, full.json["code"]) == (422, "limit_exceeded")


def test_a_taken_reference_is_409(
    client: FlaskClient, engine: Engine, connection: Connection, merchant: TestUser
) -> None:
    want_unique_references(engine, merchant)
    post(client, merchant, reference="order-1")
    counts = row_counts(connection)

    reply = post(client, merchant, "k-1", reference="order-1")

    assert (reply.status_code, reply.json["code"]) == (409, "reference_taken")
    assert "order-1" not in reply.text
    assert row_counts(connection) == counts


HISTORY = text(
    """
    INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
        created_at, expires_at, status, finished_at)
    SELECT CAST(:user_id AS uuid), gen_random_uuid(), 100, 0, 0, 'RUB',
        clock_timestamp() - make_interval(hours => n), clock_timestamp() + interval '1 hour',
        'confirmed', clock_timestamp()
    FROM generate_series(1, 20000) AS n
    """
)


def nodes(plan: Any) -> list[Any]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]


def test_the_sums_of_a_day_read_nothing_of_the_days_before(
    engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    for kind in (LimitKind.DAILY_COUNT, LimitKind.PENDING_COUNT):
        limit(engine, merchant, kind, 5)
    with superuser.begin() as other:
        other.execute(text("SET LOCAL session_replication_role = replica"))
        other.execute(HISTORY, {"user_id": merchant.id})
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.execute(text("VACUUM ANALYZE transactions"))
    with autocommit(engine) as own:
        now = limit_service.hold(own, merchant.id)
        asked = {"user_id": merchant.id, "amount": 100, "currency": "RUB", "now": now}
        asked["since"] = now.replace(hour=0, minute=0, second=0, microsecond=0)
        asked |= {"kept_count": 0, "kept_amount": 0}
        explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {limit_service._BROKEN}")
        plan = own.execute(explain, asked).scalar_one()[0]["Plan"]

    scans = [node for node in nodes(plan) if node.get("Relation Name") == "transactions"]
    assert scans
    for scan in scans:
        assert scan["Node Type"] != "Seq Scan", scan
        # A day has less than 24 rows here, all others are behind the index.
        read = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
        assert read <= 24, scan
