"""F5 to F17, F24 to F26, F29, F35 together: whatever is killed, every event arrives."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from standart.db import make_engine
from tests.acceptance.chaos.faults import (
    all_workers_killed,
    broker_killed,
    database_stopped_at_once,
)
from tests.acceptance.chaos.run import EVENTS, Plan, full, run
from tests.acceptance.chaos.scene import Scene

END_LEASES = text(
    "UPDATE deliveries SET next_attempt_at = clock_timestamp() WHERE lease IS NOT NULL"
)
LET_PROBES = text("UPDATE webhook_lanes SET open_until = NULL")


def hurry(scene: Scene) -> None:
    """Let the time of leases and of pauses between probes run out without waiting for it."""
    engine = make_engine(scene.superuser_url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(END_LEASES)
        connection.execute(LET_PROBES)
    engine.dispose()


@pytest.mark.timeout(600)
def test_every_event_arrives_whatever_is_killed(tmp_path: Path) -> None:
    faults = (all_workers_killed, broker_killed, database_stopped_at_once)
    figures = run(Plan(seed=5, events=300, faults=faults, ttl_seconds=3, hurry=hurry), tmp_path)
    assert figures["events"] >= 300


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_thousand_events_arrive_whatever_is_killed(tmp_path: Path) -> None:
    assert run(full(seed=11), tmp_path)["events"] >= EVENTS
