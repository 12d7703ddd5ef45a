"""The rules of endpoints, lanes, replays and deliveries, attacked by every role."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.clock import new_id
from standart.db import constraint_name, sqlstate
from standart.encryption import Keyring
from tests.builders import TestUser, make_endpoint, make_user, row_counts
from tests.integration import test_guards
from tests.integration.attacks import DENIED, attack
from tests.world import contents

TABLES = (
    "webhook_endpoints",
    "webhook_lanes",
    "webhook_replays",
    "event_clock",
    "deliveries",
    "attempts",
)

ENDPOINT = "INSERT INTO webhook_endpoints (user_id, id, url, secret{}) VALUES (:{}, :{}, {}, 'x'{})"
SECOND = "UPDATE webhook_endpoints SET {} WHERE id = :second"
DEFAULT = "UPDATE webhook_endpoints SET {} WHERE id = :shop"
LANE = "INSERT INTO webhook_lanes (user_id, endpoint_id) VALUES "
LANES = "UPDATE webhook_lanes SET {} WHERE endpoint_id = :shop"
REPLAY = (
    "INSERT INTO webhook_replays (user_id, id, endpoint_id, since, until, scope{columns})"
    " VALUES (:{owner}, :{id}, :{endpoint}, {since}, now(), '{scope}'{values})"
)
DELIVERY = test_guards.DELIVERY
DELIVERIES = "UPDATE deliveries SET {} WHERE id = :delivery"


def endpoint(owner: str = "shop", id: str = "new", url: str = "'https://a/'", **more: str) -> str:
    columns = "".join(f", {name}" for name in more)
    values = "".join(f", {value}" for value in more.values())
    return ENDPOINT.format(columns, owner, id, url, values)


def replay(more: dict[str, str] | None = None, **changes: str) -> str:
    usual = {"owner": "shop", "id": "new", "endpoint": "second", "scope": "dead"}
    columns = "".join(f", {name}" for name in more or {})
    values = "".join(f", {value}" for value in (more or {}).values())
    usual |= {"since": "now() - interval '1 hour'", "columns": columns, "values": values}
    return REPLAY.format(**(usual | changes))


REFUSED = {
    # Endpoints.
    "receiver of nobody": ([endpoint(owner="new")], "fk_webhook_endpoints_users"),
    "receiver nowhere": ([endpoint(url="NULL")], "ck_webhook_endpoints_url_unless_default"),
    "receiver that lost its URL": (
        [SECOND.format("url = NULL")],
        "ck_webhook_endpoints_url_unless_default",
    ),
    "receiver of no events": (
        [SECOND.format("event_types = '{}'")],
        "ck_webhook_endpoints_event_types_count",
    ),
    "receiver of too many kinds": (
        [SECOND.format("event_types = array_fill('*'::text, ARRAY[51])")],
        "ck_webhook_endpoints_event_types_count",
    ),
    "empty description": (
        [SECOND.format("description = ''")],
        "ck_webhook_endpoints_description_length",
    ),
    "long description": (
        [SECOND.format("description = repeat('x', 501)")],
        "ck_webhook_endpoints_description_length",
    ),
    "rate of nothing": ([SECOND.format("rate_limit = 0")], "ck_webhook_endpoints_rate_limit_range"),
    "rate of too much": (
        [SECOND.format("rate_limit = 10001")],
        "ck_webhook_endpoints_rate_limit_range",
    ),
    "stopped for no reason": (
        [SECOND.format("disabled_at = now()")],
        "ck_webhook_endpoints_disabled_for_a_reason",
    ),
    "a reason and not stopped": (
        [SECOND.format("disabled_reason = 'gone'")],
        "ck_webhook_endpoints_disabled_for_a_reason",
    ),
    "stopped for an unknown reason": (
        [SECOND.format("disabled_at = now(), disabled_reason = 'bored'")],
        "ck_webhook_endpoints_disabled_reason",
    ),
    "deleted and called": (
        [SECOND.format("deleted_at = now()")],
        "ck_webhook_endpoints_deleted_is_disabled",
    ),
    "default one deleted": (
        [DEFAULT.format("deleted_at = now(), disabled_at = now(), disabled_reason = 'owner'")],
        "ck_webhook_endpoints_deleted_is_disabled",
    ),
    "second default one": ([endpoint(id="shop")], "pk_webhook_endpoints"),
    "taken id of an endpoint": ([endpoint(owner="other", id="second")], "uq_webhook_endpoints_id"),
    "endpoint with deliveries": (
        ["DELETE FROM webhook_endpoints WHERE id = :shop"],
        "fk_deliveries_webhook_endpoints",
    ),
    "endpoint given away": (
        [SECOND.format("user_id = :other")],
        "fk_webhook_lanes_webhook_endpoints",
    ),
    # Lanes.
    "lane of nothing": ([LANE + "(:shop, :new)"], "fk_webhook_lanes_webhook_endpoints"),
    "lane across tenants": ([LANE + "(:other, :second)"], "fk_webhook_lanes_webhook_endpoints"),
    "second lane": ([LANE + "(:shop, :second)"], "pk_webhook_lanes"),
    "less than no failures": (
        [LANES.format("failures = -1")],
        "ck_webhook_lanes_failures_not_negative",
    ),
    "no room": ([LANES.format("room = 0")], "ck_webhook_lanes_room_range"),
    "too much room": ([LANES.format("room = 1001")], "ck_webhook_lanes_room_range"),
    # Replays.
    "replay of no time": ([replay(since="now()")], "ck_webhook_replays_span_not_empty"),
    "replay of an unknown kind": ([replay(scope="some")], "ck_webhook_replays_scope"),
    "replay of more than was looked at": (
        [replay({"examined": "1", "requeued": "2"})],
        "ck_webhook_replays_counts_agree",
    ),
    "replay of less than nothing": (
        [replay({"examined": "1", "requeued": "-1"})],
        "ck_webhook_replays_counts_agree",
    ),
    "replay across tenants": ([replay(owner="other")], "fk_webhook_replays_webhook_endpoints"),
    "second replay at once": ([replay(id="another")], "uq_webhook_replays_running"),
    "taken id of a replay": (
        [replay(owner="other", id="running", endpoint="other")],
        "uq_webhook_replays_id",
    ),
    "replay twice": ([replay({"finished_at": "now()"}, id="running")], "pk_webhook_replays"),
    "endpoint with a replay": (
        ["DELETE FROM webhook_endpoints WHERE id = :second"],
        "fk_webhook_replays_webhook_endpoints",
    ),
    # The clock of events.
    "second clock": (["INSERT INTO event_clock (single) VALUES (false)"], "ck_event_clock_one_row"),
    "the same clock": (["INSERT INTO event_clock DEFAULT VALUES"], "pk_event_clock"),
    # Deliveries and attempts.
    "delivery to another's receiver": (
        [DELIVERY + "(:shop, :new, :event, :other)"],
        "fk_deliveries_webhook_endpoints",
    ),
    "delivery across tenants": (
        [DELIVERY + "(:other, :new, :event, :other)"],
        "fk_deliveries_events",
    ),
    "second delivery to one receiver": (
        [DELIVERY + "(:shop, :new, :event, :shop)"],
        "uq_deliveries_user_id_event_id_endpoint_id",
    ),
    "delivery twice": ([DELIVERY + "(:shop, :delivery, :event, :second)"], "pk_deliveries"),
    "less than no attempts": (
        [DELIVERIES.format("attempt_count = -1")],
        "ck_deliveries_attempt_count_not_negative",
    ),
    "waiting for nothing": (
        [DELIVERIES.format("state = 'waiting'")],
        "ck_deliveries_due_while_waiting",
    ),
    "delivered and due": (
        [DELIVERIES.format("next_attempt_at = now()")],
        "ck_deliveries_due_while_waiting",
    ),
    "unknown state of a delivery": (
        [DELIVERIES.format("state = 'lost'")],
        "ck_deliveries_state",
    ),
    "attempt across tenants": (
        [test_guards.ATTEMPT + "(:other, :delivery, 2, '', '', '', '', 0)"],
        "fk_attempts_deliveries",
    ),
    "attempt twice": (
        [test_guards.ATTEMPT + "(:shop, :delivery, 1, '', '', '', '', 0)"],
        "pk_attempts",
    ),
}


@pytest.fixture
def receivers(
    connection: Connection, engine: Engine, keyring: Keyring, names: dict[str, Any]
) -> dict[str, Any]:
    """The shop with a second endpoint, for which a replay is running."""
    shop = TestUser(names["shop"], "", make_user(engine, keyring).role, "", "")
    second = make_endpoint(engine, keyring, shop, url="https://b.example/")
    found = names | {"second": second.id, "running": new_id(), "another": new_id()}
    connection.execute(
        text(replay(id="running")), {key: found[key] for key in ("shop", "second", "running")}
    )
    return found


@pytest.mark.parametrize("case", REFUSED)
def test_the_database_refuses(
    roles: dict[str, Engine], receivers: dict[str, Any], connection: Connection, case: str
) -> None:
    statements, constraint = REFUSED[case]
    before = contents(connection)

    for name, role in roles.items():
        error = attack(role, receivers, *statements)
        # What the application's role may not even try is refused before the rule is asked.
        if name != "application" or sqlstate(error) != DENIED:
            assert constraint_name(error) == constraint, str(error)

    assert contents(connection) == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM webhook_lanes",
        "DELETE FROM webhook_replays",
        "DELETE FROM deliveries",
        "UPDATE event_clock SET base = base + 1",
        "UPDATE event_clock SET purged_before = now()",
        "DELETE FROM event_clock",
        "LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE",
    ],
)
def test_the_service_may_not_even_try(
    engine: Engine, receivers: dict[str, Any], connection: Connection, statement: str
) -> None:
    before = row_counts(connection)
    assert sqlstate(attack(engine, receivers, statement)) == DENIED
    assert row_counts(connection) == before


def test_every_rule_of_webhooks_has_been_attacked(connection: Connection) -> None:
    """A new CHECK, unique index, primary or foreign key fails this until somebody attacks it."""
    rules = connection.scalars(
        text(
            "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f', 'u', 'p')"
            " AND conrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
            " UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique"
            " AND indrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
        ),
        {"tables": list(TABLES)},
    )
    assert set(rules) <= {constraint for _, constraint in REFUSED.values()}
