"""How claims read: along their indexes, and little, however long one endpoint's pile is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from sqlalchemy import Engine

from standart.services import webhook_service, webhook_sql
from standart.services.webhook_service import BACKOFF, LEASE_SECONDS, ROOM, WALK
from tests.builders import TestUser
from tests.integration.mail import BAD, SCHEDULE, Mail, analyze

Explained = Callable[..., dict[str, Any]]

# What the driver tells the server of values whose type the statement does not say.
_KINDS = {int: "int", float: "float8"}

PILE = 20_000
BATCH = 200


@pytest.fixture
def piled(mail: Mail, superuser: Engine) -> tuple[TestUser, list[UUID]]:
    """An endpoint with a long pile, thirty with one delivery each."""
    shop = mail.shop()
    endpoints = mail.endpoints(shop, 31)
    mail.pile(shop, endpoints[15], PILE)
    for each in endpoints[:15] + endpoints[16:]:
        mail.pile(shop, each)
    with superuser.begin() as connection:
        analyze(connection)
    return shop, endpoints


@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def explained(request: pytest.FixtureRequest, engine: Engine) -> Explained:
    """Carry out a statement and undo it again; the plan is the one for these very values, or the
    one that the driver's prepared statements come to use."""

    def explained(sql: str, **parameters: Any) -> dict[str, Any]:
        names = list(dict.fromkeys(re.findall(r"(?<!:):(\w+)", sql)))
        for number, name in enumerate(names, start=1):
            sql = re.sub(rf"(?<!:):{name}\b", f"${number}", sql)
        kinds = ", ".join(_KINDS.get(type(parameters[name]), "unknown") for name in names)
        with engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            cursor = psycopg.ClientCursor(raw)
            values = cursor.mogrify(", ".join(["%s"] * len(names)), [parameters[n] for n in names])
            connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {request.param}")
            cursor.execute(f"PREPARE explained ({kinds}) AS {sql}")
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained ({values})")
            found = cursor.fetchone()
            connection.rollback()
            connection.invalidate()  # and with it what was prepared
        assert found is not None
        plan: dict[str, Any] = found[0][0]["Plan"]
        return plan

    return explained


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


def read(plan: dict[str, Any], relation: str) -> float:
    """How many rows of a table were read, those that a filter took away included."""
    return sum(
        (each["Actual Rows"] + each.get("Rows Removed by Filter", 0)) * each["Actual Loops"]
        for each in nodes(plan)
        if each.get("Relation Name") == relation and each["Node Type"] != "ModifyTable"
    )


def indexes(plan: dict[str, Any]) -> set[str]:
    return {each["Index Name"] for each in nodes(plan) if "Index Name" in each}


def buffers(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def whole_scans(plan: dict[str, Any]) -> set[str]:
    return {each["Relation Name"] for each in nodes(plan) if each["Node Type"] == "Seq Scan"}


def check_walk(explained: Explained) -> None:
    start = UUID(int=0)
    plan = explained(
        webhook_sql.HOLD_LANES.text,
        after_user=start,
        after_endpoint=start,
        steps=WALK,
        lanes=BATCH,
    )
    assert "ix_deliveries_due" in indexes(plan)
    assert not whole_scans(plan) & {"deliveries", "events"}
    assert read(plan, "deliveries") <= 31 + 1
    # For each step the way down the index, the lane and the endpoint.
    assert buffers(plan) <= 31 * 30


def check_claim(explained: Explained, shop: TestUser, endpoints: list[UUID], ordered: bool) -> None:
    plan = explained(
        webhook_sql.CLAIM.text,
        user_ids=[shop.id] * 31,
        endpoint_ids=endpoints,
        rooms=[100] * 31,
        shares=[BATCH] * 31,
        ordered=[ordered] * 31,
        lease=UUID(int=1),
        lease_seconds=LEASE_SECONDS,
    )
    assert {"ix_deliveries_due", "ix_deliveries_leased"} <= indexes(plan)
    assert not whole_scans(plan) & {"deliveries", "events"}
    assert 100 <= read(plan, "deliveries") <= 10 * BATCH
    assert read(plan, "events") <= 10 * BATCH
    assert buffers(plan) <= 100 * BATCH


def check_orphan(explained: Explained, shop: TestUser, endpoint_id: UUID) -> None:
    plan = explained(
        webhook_sql.ORPHAN.text, user_ids=[shop.id], endpoint_ids=[endpoint_id], batch=BATCH
    )
    assert "ix_deliveries_due" in indexes(plan)
    assert not whole_scans(plan) & {"deliveries"}
    assert BATCH <= read(plan, "deliveries") <= 10 * BATCH


def check_record(explained: Explained, mail: Mail) -> None:
    claimed = [(each, BAD) for each in mail.claimed(20)]
    outcomes = [webhook_service._outcome(*each, SCHEDULE) for each in claimed]
    plan = explained(
        webhook_sql.RECORD.text,
        results=msgspec.json.encode(outcomes).decode(),
        most=ROOM,
        backoff=BACKOFF,
        patience=5,
        shortest_pause=5,
        longest_pause=60,
        failing_seconds=1000,
    )
    assert not whole_scans(plan) & {"deliveries"}
    assert read(plan, "deliveries") <= 10 * len(claimed)


def check_lag(explained: Explained) -> None:
    plan = explained(webhook_sql.LAG.text, patience=5)
    assert not whole_scans(plan) & {"deliveries", "events"}
    assert read(plan, "deliveries") <= 10 * 31


def test_all_statements_go_along_the_indexes_and_read_little(
    mail: Mail, explained: Explained, piled: tuple[TestUser, list[UUID]]
) -> None:
    shop, endpoints = piled
    mail.claimed(20)  # something is under way already

    check_walk(explained)
    for ordered in (False, True):
        check_claim(explained, shop, endpoints, ordered)
    check_orphan(explained, shop, endpoints[15])
    check_record(explained, mail)
    check_lag(explained)
