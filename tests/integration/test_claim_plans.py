"""How claims read: along their indexes, and little, however long one endpoint's pile is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from sqlalchemy import Engine, text

from standart.services import webhook_service, webhook_sql
from standart.services.webhook_service import BACKOFF, LEASE_SECONDS, LOOK, ROOM, WALK
from tests.builders import TestUser
from tests.integration.mail import BAD, GOOD, SCHEDULE, Mail, analyze

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
    statement = webhook_sql.CLAIM_ORDERED if ordered else webhook_sql.CLAIM
    look = {"look": BATCH} if ordered else {}
    plan = explained(
        statement.text,
        user_ids=[shop.id] * 31,
        endpoint_ids=endpoints,
        rooms=[100] * 31,
        shares=[BATCH] * 31,
        lease=UUID(int=1),
        lease_seconds=LEASE_SECONDS,
        **look,
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
        quiet_seconds=1000,
        refusing_seconds=60,
        own_pause=60,
        longest_own_pause=3600,
    )
    assert not whole_scans(plan) & {"deliveries"}
    assert read(plan, "deliveries") <= 10 * len(claimed)


def check_lag(explained: Explained) -> None:
    plan = explained(webhook_sql.LAG.text, patience=5, look=LOOK)
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


BLOCKED = 20_000

# Transactions that were created and confirmed while the receiver was down: the creations were
# tried and wait an hour, what came after them is due since long.
_PAIRS = """
    WITH object AS (
        INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
            expires_at)
        SELECT :user_id, gen_random_uuid(), 100, 0, 0, 'RUB', now() + interval '1 day'
        FROM generate_series(1, :count) RETURNING user_id, id
    ),
    event AS (
        INSERT INTO events (user_id, id, transaction_id, type, sequence, payload)
        SELECT o.user_id, gen_random_uuid(), o.id, k.type, k.sequence, '{}'
        FROM object o CROSS JOIN (
            VALUES ('transaction.created', 1), ('transaction.confirmed', 2)) AS k (type, sequence)
        RETURNING user_id, id, sequence
    )
    INSERT INTO deliveries (user_id, id, event_id, endpoint_id, attempt_count, next_attempt_at)
    SELECT user_id, gen_random_uuid(), id, :endpoint_id, 2 - sequence,
        now() + CASE sequence WHEN 1 THEN interval '1 hour' ELSE interval '-1 hour' END
    FROM event
"""


def test_a_pile_that_waits_for_its_turn_is_looked_at_in_small_parts(
    mail: Mail, explained: Explained, superuser: Engine
) -> None:
    shop = mail.shop(url=None)
    ordered, other = mail.endpoint(shop, ordered=True), mail.shop()
    mail.pile(other, count=3)
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        pairs = {"user_id": shop.id, "endpoint_id": ordered, "count": BLOCKED}
        connection.execute(text(_PAIRS), pairs)
        analyze(connection)
        connection.execute(text("ANALYZE transactions"))

    plan = explained(
        webhook_sql.CLAIM_ORDERED.text,
        user_ids=[shop.id],
        endpoint_ids=[ordered],
        rooms=[100],
        shares=[BATCH],
        lease=UUID(int=1),
        lease_seconds=LEASE_SECONDS,
        look=LOOK,
    )
    assert not whole_scans(plan) & {"deliveries", "events"}
    assert LOOK <= read(plan, "deliveries") <= 6 * LOOK
    assert read(plan, "events") <= 6 * LOOK
    plan = explained(webhook_sql.LAG.text, patience=5, look=LOOK)
    assert not whole_scans(plan) & {"deliveries", "events"}
    assert read(plan, "deliveries") <= 3 * LOOK
    assert read(plan, "events") <= 3 * LOOK

    # Each claim moves its part away, and nobody else waits for that.
    assert [each.endpoint_id for each in mail.claimed()] == [other.id] * 3
    claims = 1
    while mail.claim().full:
        claims += 1
    assert claims == BLOCKED // LOOK
    due = "SELECT count(*) FROM deliveries WHERE next_attempt_at <= clock_timestamp()"
    assert mail.one(due)[0] == 0

    # Once the receiver is back the first parts come, and let go what waited for them.
    mail.pass_time(7200)
    created = [each for each in mail.claimed() if each.endpoint_id == ordered]
    assert {each.attempt for each in created} == {2}
    mail.answer(created, GOOD)
    fresh = f"{due} AND next_attempt_at > clock_timestamp() - interval '1 hour'"
    assert mail.one(f"{fresh} AND attempt_count = 0")[0] == len(created)
