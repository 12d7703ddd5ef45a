"""The kept sums: exact at every moment, whatever commits late, and proven by ``verify``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.services import dashboard_service, sums_service, transaction_service
from standart.services.dashboard_service import ENDINGS, Sum
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, overdue
from tests.integration.books import findings

Scene = dict[str, Any]
HOUR = timedelta(hours=1)


@pytest.fixture
def scene(
    engine: Engine, superuser: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> Scene:
    """Two merchants with transactions of every kind in two currencies; one is overdue."""
    other = make_user(engine, keyring, currency="USD")
    made = itertools.chain.from_iterable(
        [make_transaction(engine, owner, amount=f"{n}.00") for n in (100, 200, 300, 400)]
        for owner in (merchant, other)
    )
    first, second, third, fourth, fifth, *_ = made
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(first["id"]))
        transaction_service.cancel(connection, admin.digest, ORIGIN, UUID(second["id"]))
        transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(fifth["id"]))
    overdue(superuser, third["id"])
    return {"merchant": merchant, "other": other, "pending": fourth["id"], "overdue": third["id"]}


def shown(
    connection: Connection, owner: TestUser | None = None
) -> dict[str, list[tuple[int, int]]]:
    """Each series of rubles, and what is pending: count and minor units."""
    totals = dashboard_service.totals(connection, owner.id if owner else None)
    series = {each: (totals.count(each, "RUB"), totals.amount(each, "RUB")) for each in ENDINGS}
    return {**series, "pending": (totals.pending("RUB"), totals.pending_amount("RUB"))}


EXACT = {
    "confirmed": (1, 10_000),
    "canceled": (1, 20_000),
    "expired": (1, 30_000),
    "pending": (1, 40_000),
}


def test_figures_are_exact_before_and_after_they_are_summed(
    connection: Connection, engine: Engine, scene: Scene
):
    assert shown(connection) == shown(connection, scene["merchant"]) == EXACT
    assert sums_service.keep(connection) == 8 + 3 + 1
    assert shown(connection) == shown(connection, scene["merchant"]) == EXACT
    assert sums_service.keep(connection) == 0
    assert findings(engine) == []
    assert dashboard_service.totals(connection, None).currencies == ["RUB", "USD"]
    assert dashboard_service.totals(connection, scene["other"].id).currencies == ["USD"]


def test_what_is_summed_as_overdue_is_not_counted_again_by_the_sweep(
    connection: Connection, engine: Engine, scene: Scene
):
    sums_service.keep(connection)
    assert transaction_service.expire_overdue(connection) == 1
    assert shown(connection) == EXACT
    assert sums_service.keep(connection) == 0
    assert shown(connection) == EXACT
    assert findings(engine) == []


@pytest.mark.parametrize("batch", [1, 3])
def test_small_batches_come_to_the_same(
    connection: Connection, engine: Engine, scene: Scene, batch: int
):
    assert sums_service.keep(connection, batch=batch) == 12
    assert shown(connection) == EXACT
    assert findings(engine) == []


def test_what_commits_late_is_waited_for(
    connection: Connection,
    engine: Engine,
    scene: Scene,
    admin: TestUser,
    monkeypatch: pytest.MonkeyPatch,
):
    """Its moment is before the mark's would-be place; nothing is summed while it is open."""
    monkeypatch.setattr(sums_service, "PAUSES", (0.001,))
    with engine.connect() as late:
        late.execute(
            text(
                "UPDATE transactions SET status = 'canceled', finished_at = clock_timestamp()"
                " WHERE id = :id"
            ),
            {"id": scene["pending"]},
        )
        assert sums_service.keep(connection) == 0
        assert shown(connection) == EXACT
        late.rollback()
    assert sums_service.keep(connection) == 12
    assert shown(connection) == EXACT


def test_two_sweeps_at_once_count_once(connection: Connection, engine: Engine, scene: Scene):
    with engine.connect() as other:
        other.execute(text("SELECT FROM sums_mark FOR UPDATE"))
        assert sums_service.keep(connection) == 0
        other.rollback()
    assert sums_service.keep(connection) == 12


SPANS: list[Callable[[datetime], tuple[datetime, datetime]]] = [
    lambda now: ((now - HOUR).replace(minute=0, second=0, microsecond=0), now + HOUR),
    lambda now: (now - timedelta(minutes=30), now + timedelta(minutes=30)),
    lambda now: (now - timedelta(hours=30, minutes=30), now + timedelta(hours=17, minutes=30)),
    lambda now: (now - timedelta(minutes=5), now + timedelta(minutes=1)),
]


@pytest.mark.parametrize("number", range(len(SPANS)))
@pytest.mark.parametrize("summed", [False, True])
def test_a_span_holds_what_was_confirmed_in_it_wherever_it_begins(
    connection: Connection, scene: Scene, number: int, summed: bool
):
    if summed:
        sums_service.keep(connection)
    now = datetime.now(UTC)
    span = SPANS[number](now)
    before = (span[0] - timedelta(days=1), span[0])
    rubles = Sum("RUB", 1, 10_000, 300)
    for owner in (None, scene["merchant"].id):
        today, yesterday = dashboard_service.confirmed_in(connection, owner, [span, before])
        assert today[0] == rubles
        assert len(today) == (2 if owner is None else 1)
        assert yesterday == []


@pytest.mark.parametrize("summed", [False, True])
def test_the_chart_has_every_moment_in_its_bucket(
    connection: Connection, scene: Scene, summed: bool
):
    if summed:
        sums_service.keep(connection)
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    edges = [this_hour - 23 * HOUR + n * HOUR for n in range(24)]
    made = dashboard_service.chart(connection, scene["merchant"].id, edges, "RUB")
    # One was created a day ago, so that it could be overdue.
    assert sum(made.counts["created"]) == 3
    assert {each: sum(made.counts[each]) for each in ENDINGS} == dict.fromkeys(ENDINGS, 1)
    assert {each: sum(made.amounts[each]) for each in ENDINGS} == {
        "confirmed": 10_000,
        "canceled": 20_000,
        "expired": 30_000,
    }
    everything = dashboard_service.chart(connection, None, edges)
    assert sum(everything.counts["confirmed"]) == 2
    assert everything.amounts == {}


def test_old_hours_of_single_merchants_are_forgotten(
    connection: Connection, engine: Engine, superuser: Engine, scene: Scene
):
    sums_service.keep(connection)
    with superuser.begin() as plain:
        plain.execute(
            text(
                "UPDATE merchant_hourly_sums SET hour = hour - interval '36 days'"
                " WHERE series = 'canceled'"
            )
        )
    assert sums_service.forget(connection) == 1
    assert shown(connection, scene["merchant"]) == EXACT


def test_what_waits_and_expires_soon_is_counted(connection: Connection, scene: Scene):
    soon = dashboard_service.soon(connection, scene["merchant"].id)
    assert (soon.minute, soon.quarter) == (0, 1)
    assert soon.next is not None
    assert dashboard_service.soon(connection, None).quarter == 4
    assert dashboard_service.webhooks(connection, None).failing == 0
    assert dashboard_service.users(connection).known == 3
