"""The figures of what waits to be sent: right, told by lane, and cheap however much it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.services import backlog_service, gauges, webhook_service
from standart.services.backlog_service import Backlog
from standart.services.webhook_service import PATIENCE
from standart.services.webhook_work import AttemptResult
from tests.builders import TestUser, make_user
from tests.conftest import ENCRYPTION_KEYS
from tests.integration.commands import Run

URL = "https://shop.example/hook"
REFUSED = AttemptResult("http_500", 500, "", "", 3)

PILE = text(
    """
    WITH event AS (
        INSERT INTO events (user_id, id, endpoint_id, type, sequence, payload)
        SELECT :user_id, gen_random_uuid(), :user_id, 'ping', 1, '{}'
        FROM generate_series(1, :count)
        RETURNING id
    )
    INSERT INTO deliveries (user_id, id, event_id, endpoint_id, state, next_attempt_at)
    SELECT :user_id, gen_random_uuid(), id, :user_id, CAST(:state AS text),
        CASE WHEN CAST(:state AS text) = 'waiting'
        THEN clock_timestamp() - make_interval(secs => :age) END
    FROM event
    """
)


def pile(
    connection: Connection,
    owner: TestUser,
    count: int,
    *,
    age: float = 1,
    state: str = "waiting",
) -> None:
    """Let ``count`` deliveries of a merchant be due since ``age`` seconds."""
    values = {"user_id": owner.id, "count": count, "age": age, "state": state}
    connection.execute(PILE, values)


@pytest.fixture
def shops(engine: Engine, keyring: Keyring) -> list[TestUser]:
    return [make_user(engine, keyring, webhook_url=URL) for _ in range(4)]


def fail(connection: Connection, owner: TestUser, failures: int = PATIENCE) -> None:
    connection.execute(
        text("UPDATE webhook_lanes SET failures = :failures WHERE endpoint_id = :id"),
        {"failures": failures, "id": owner.id},
    )


def test_nothing_waits_at_first(connection: Connection, shops: list[TestUser]) -> None:
    assert backlog_service.read(connection) == Backlog()


def test_what_waits_is_told_by_lane(
    connection: Connection, keyring: Keyring, shops: list[TestUser]
) -> None:
    good, slow, stopped, later = shops
    pile(connection, good, 3, age=5)
    pile(connection, slow, 7, age=90)
    pile(connection, later, 5, age=-100)
    pile(connection, later, 2, state="dead")
    pile(connection, good, 4, state="delivered")
    fail(connection, slow)
    fail(connection, later, PATIENCE - 1)
    connection.execute(
        text(
            "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'gone'"
            " WHERE id = :id"
        ),
        {"id": stopped.id},
    )

    found = backlog_service.read(connection)
    assert found.due == {"normal": 3, "slow": 7}
    assert 5 <= found.oldest["normal"] < 35
    assert 90 <= found.oldest["slow"] < 120
    assert (found.dead, found.failing, found.disabled) == (2, 1, {"gone": 1})
    assert found.in_flight == {"normal": 0, "slow": 0}

    claimed = webhook_service.claim_due(connection, keyring).deliveries
    assert [each.receiver.slow for each in claimed].count(True) == 1
    found = backlog_service.read(connection)
    assert found.in_flight == {"normal": 3, "slow": 1}
    assert found.due == {"normal": 0, "slow": 6}

    webhook_service.record_attempts(connection, [(each, REFUSED) for each in claimed], schedule=())
    found = backlog_service.read(connection)
    assert found.in_flight == {"normal": 0, "slow": 0}
    assert found.dead == 6


def test_counting_ends_at_a_bound(
    connection: Connection, shops: list[TestUser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_service, "MOST_OF_AN_ENDPOINT", 10)
    monkeypatch.setattr(backlog_service, "MOST", 25)
    for shop in shops:
        pile(connection, shop, 12)
        pile(connection, shop, 12, state="dead")
    assert sum(backlog_service.read(connection).due.values()) == 25
    fail(connection, shops[0])
    assert backlog_service.read(connection).due == {"normal": 25, "slow": 10}
    assert backlog_service.read(connection).dead == 25


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    found = [plan]
    for below in plan.get("Plans", ()):
        found += nodes(below)
    return found


@pytest.mark.parametrize("statement", ["_DUE", "_DEAD", "_IN_FLIGHT"])
def test_no_statement_reads_the_whole_table(
    connection: Connection, superuser: Engine, shops: list[TestUser], statement: str
) -> None:
    # Known to be large before it grows: a foreign key that was planned for an empty table
    # would read all of it for each row.
    for shop in shops:
        pile(connection, shop, 400)
    with superuser.connect() as everything:
        everything.execution_options(isolation_level="AUTOCOMMIT").execute(
            text("ANALYZE events, deliveries")
        )
    for shop in shops:
        pile(connection, shop, 3600)
        pile(connection, shop, 300, state="dead")
        pile(connection, shop, 4000, state="delivered")
    with superuser.connect() as everything:
        everything.execution_options(isolation_level="AUTOCOMMIT").execute(
            text("ANALYZE deliveries")
        )
    query = getattr(backlog_service, statement)
    bounds: dict[str, Any] = {
        "patience": PATIENCE,
        "most": 500,
        "most_of_an_endpoint": 50,
        "most_endpoints": 100,
    }
    bounds["lanes"] = list(backlog_service.LANES)
    used = {name: value for name, value in bounds.items() if f":{name}" in query.text}
    explained = connection.execute(
        text(f"EXPLAIN (ANALYZE, FORMAT JSON) {query.text}"), used
    ).scalar_one()
    plan = explained if isinstance(explained, list) else json.loads(explained)
    scans = [each for each in nodes(plan[0]["Plan"]) if each.get("Relation Name") == "deliveries"]
    assert scans
    assert "Seq Scan" not in {each["Node Type"] for each in scans}
    assert sum(each["Actual Rows"] * each["Actual Loops"] for each in scans) <= 1200


def test_all_gauges_have_a_meaning(connection: Connection, shops: list[TestUser]) -> None:
    connection.execute(
        text("INSERT INTO heartbeats SELECT unnest(ARRAY['sweep', 'delivery', 'purge', 'other'])")
    )
    read = gauges.read(connection, 30)
    assert read.keys() == gauges.GAUGES.keys()
    assert read["standart_webhook_due"] == {"normal": 0, "slow": 0}
    for name, value in read.items():
        assert bool(gauges.GAUGES[name].label) == isinstance(value, dict)
    assert "standart_event_retention_lag_seconds" not in gauges.read(connection, 0)


# What the operator is told.


def marks(run: Run, **changes: str) -> dict[str, str]:
    """What `doctor` says, by the name of the check."""
    lines = run("doctor", **changes).stdout.splitlines()
    return {line.split(":")[0].split()[1]: line for line in lines}


def test_doctor_turns_red_after_a_minute_unless_it_is_the_receiver(
    run: Run, connection: Connection, shops: list[TestUser]
) -> None:
    pile(connection, shops[0], 1, age=55)
    assert marks(run)["webhooks"].startswith("ok")
    pile(connection, shops[1], 1, age=65)
    assert marks(run)["webhooks"].startswith("FAIL")
    fail(connection, shops[1])
    assert marks(run)["webhooks"].startswith("ok")


def test_doctor_tells_of_endpoints_replays_retention_and_keys(
    run: Run,
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    shops: list[TestUser],
) -> None:
    said = marks(run)
    assert said["endpoints"].endswith("disabled: none")
    assert said["replays"].endswith("running: none")
    assert said["retention"].endswith("events go after 30 days")
    assert said["keys"].endswith("everything is sealed with k1")
    for shop, reason in zip(shops, ("owner", "gone", "failing"), strict=False):
        connection.execute(
            text(
                "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = :reason"
                " WHERE id = :id"
            ),
            {"id": shop.id, "reason": reason},
        )
    connection.execute(
        text(
            "INSERT INTO webhook_replays (user_id, id, endpoint_id, since, until, scope)"
            " VALUES (:id, gen_random_uuid(), :id, now() - interval '1 day', now(), 'dead')"
        ),
        {"id": shops[0].id},
    )
    with superuser.begin() as everything:
        everything.execute(text("UPDATE users SET created_at = created_at - interval '40 days'"))
    ring = "k9:" + "A" * 43 + "="
    said = marks(run, STANDART_ENCRYPTION_KEYS=ring)
    assert said["endpoints"].startswith("warn")
    assert "disabled: 1 for failing, 1 for gone, 1 for owner" in said["endpoints"]
    assert said["replays"].endswith("running: 1")
    assert said["retention"].startswith("FAIL")
    assert "10.0 days behind" in said["retention"]
    assert said["keys"].startswith("FAIL")
    assert "4 boxes of k1 do not open" in said["keys"]
    said = marks(
        run,
        STANDART_ENCRYPTION_KEYS=f"{ring},{ENCRYPTION_KEYS}",
        STANDART_WEBHOOK_RETENTION_DAYS="0",
    )
    assert said["keys"].startswith("warn")
    assert "standart rotate-encryption-key" in said["keys"]
    assert said["retention"].endswith("events are kept for ever")
