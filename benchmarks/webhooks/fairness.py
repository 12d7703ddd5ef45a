"""Fairness: a few deliveries for live endpoints beside a great pile for a dead one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from benchmarks.rounds import Distorted
from benchmarks.webhooks import books
from benchmarks.webhooks.scene import AT_ONCE, HANGING, Receiver
from benchmarks.webhooks.senders import Standart
from standart.clock import new_id
from standart.services import webhook_service, webhook_sql
from standart.webhooks import window

LIVE_SECONDS = 120.0
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Fairness:
    """Seconds until the live endpoints had all; the plans of the claim at the start."""

    dead: str
    seconds: float
    plans: Mapping[str, object]


def measure(
    standart: Standart, receiver: Receiver, *, dead: int, live: int, nobody: str
) -> list[Fairness]:
    """Measure beside an endpoint that hangs, and beside one that refuses to connect.

    ``nobody`` is a URL where nobody listens.

    Raises:
        Distorted: the live ones did not get theirs within two minutes.
    """
    hanging = books.add_merchants(
        standart.stage, standart.prepared, [receiver.url(HANGING)], secret=receiver.secret
    )
    refusing = books.add_merchants(
        standart.stage, standart.prepared, [nobody], secret=receiver.secret
    )
    return [
        _beside(standart, receiver, name, owners, dead, live)
        for name, owners in (("hanging", hanging), ("refusing", refusing))
    ]


def _beside(
    standart: Standart,
    receiver: Receiver,
    name: str,
    owners: Sequence[UUID],
    dead: int,
    live: int,
) -> Fairness:
    with books.superuser(standart.stage) as connection:
        books.pile_up(connection, owners, dead)
        wanted = books.pile_up(connection, standart.owners(AT_ONCE), live)
        connection.execute(text("ANALYZE events, deliveries"))
        plans = claim_plans(connection)
        receiver.reset()
        with standart.workers(1, "--beat"):
            started = time.time()
            connection.commit()
            standart.nudge()
            arrivals = _await(receiver, name, wanted)
        books.bury(connection, owners)
    seconds = max(arrivals[event] for event in wanted) - started
    print(f"fairness, beside a {name} endpoint: {seconds:.1f} s", flush=True)
    return Fairness(name, seconds, plans)


def _await(receiver: Receiver, name: str, wanted: set[str]) -> Mapping[str, float]:
    deadline = time.monotonic() + LIVE_SECONDS
    while time.monotonic() < deadline:
        if receiver.count() >= len(wanted):
            arrivals = receiver.report().arrivals
            if wanted <= arrivals.keys():
                return arrivals
        time.sleep(POLL_SECONDS)
    raise Distorted(f"beside a {name} endpoint the live ones did not get all")


def claim_plans(connection: Connection) -> dict[str, object]:
    """Return what PostgreSQL did for one claim, which is undone: plans, times and buffers."""
    undone = connection.begin_nested()
    hold: dict[str, Any] = {
        "after_user": webhook_service.BEGINNING[0],
        "after_endpoint": webhook_service.BEGINNING[1],
        "steps": webhook_service.WALK,
        "lanes": window.BATCH,
    }
    lanes = [
        row for row in connection.execute(webhook_sql.HOLD_LANES, hold) if row.user_id is not None
    ]
    claim = {
        "user_ids": [lane.user_id for lane in lanes],
        "endpoint_ids": [lane.endpoint_id for lane in lanes],
        "rooms": [lane.room for lane in lanes],
        "shares": [window.BATCH // max(1, len(lanes))] * len(lanes),
        "ordered": [lane.ordered for lane in lanes],
        "lease": new_id(),
        "lease_seconds": webhook_service.LEASE_SECONDS,
    }
    plans = {
        "hold_lanes": _explain(connection, webhook_sql.HOLD_LANES, hold),
        "claim": _explain(connection, webhook_sql.CLAIM, claim),
    }
    undone.rollback()
    return plans


def _explain(
    connection: Connection, statement: TextClause, parameters: Mapping[str, object]
) -> object:
    explained = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.text}")
    said = connection.execute(explained, parameters).scalar_one()
    return json.loads(said) if isinstance(said, str) else said
