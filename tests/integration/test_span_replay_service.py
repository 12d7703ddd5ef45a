"""A span of events is sent anew: which of them, in which batches, by how many workers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart import tasks
from standart.clock import new_id, now
from standart.db import autocommit, transaction, unit
from standart.encryption import Keyring
from standart.errors import InvalidInput, ReplayRunning, UserHasHistory
from standart.models import ReplayScope
from standart.services import (
    endpoint_acts,
    outbox,
    ping_service,
    span_replay_service,
    user_service,
    webhook_service,
)
from standart.services.access import SYSTEM
from standart.services.endpoint_acts import Changes
from standart.services.span_replay_service import NewReplay, Step
from standart.services.webhook_work import AttemptResult
from tests.builders import ORIGIN, TestUser, make_endpoint, make_user, row_counts
from tests.integration.ages import grow_old
from tests.integration.concurrency import blocked, together, uncommitted

URL = "https://shop.example/hook"
DONE = AttemptResult("delivered", 200, "", "", 3)
GIVEN_UP = AttemptResult("http_500", 500, "", "", 3)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    """A merchant whose default endpoint gets everything."""
    owner = make_user(engine, keyring, webhook_url=URL)
    with autocommit(engine) as connection:
        endpoint_acts.update(
            connection, owner.digest, ORIGIN, keyring, owner.id, Changes(event_types=["*"])
        )
    return owner


def tell(connection: Connection, owner: TestUser, kind: str = "webhook_endpoint.disabled") -> UUID:
    body = json.dumps({"id": str(owner.id), "status": "disabled"})
    return outbox.tell(connection, owner.id, outbox.ENDPOINT, owner.id, kind, body)


def settle(connection: Connection, keyring: Keyring, result: AttemptResult) -> None:
    """Let all that is due be tried once, for the last time."""
    while claimed := webhook_service.claim_due(connection, keyring).deliveries:
        webhook_service.record_attempts(
            connection, [(each, result) for each in claimed], schedule=()
        )


def span(endpoint_id: UUID, scope: ReplayScope = ReplayScope.ALL) -> NewReplay:
    return NewReplay(
        endpoint_id=endpoint_id,
        since=now() - timedelta(days=1),
        until=now() + timedelta(days=1),
        scope=scope,
    )


def run_all(connection: Connection, batch: int = 500) -> list[Step]:
    steps = []
    while (step := span_replay_service.step(connection, batch=batch)) is not None:
        steps.append(step)
    return steps


def waiting(connection: Connection) -> set[tuple[UUID, UUID]]:
    rows = connection.execute(
        text("SELECT event_id, endpoint_id FROM deliveries WHERE state = 'waiting'")
    )
    return {(row.event_id, row.endpoint_id) for row in rows}


def start(connection: Connection, who: TestUser, new: NewReplay) -> None:
    span_replay_service.start(connection, who.digest, ORIGIN, new)


def test_all_takes_what_was_delivered_and_what_is_dead_but_no_test(
    connection: Connection, keyring: Keyring, shop: TestUser
) -> None:
    told = [tell(connection, shop) for _ in range(3)]
    ping_service.ping(connection, shop.digest, ORIGIN, shop.id, event_id=new_id())
    settle(connection, keyring, DONE)
    told += [tell(connection, shop) for _ in range(2)]
    settle(connection, keyring, GIVEN_UP)

    start(connection, shop, span(shop.id))
    assert run_all(connection, batch=4) == [Step(4, 3), Step(2, 2)]

    assert waiting(connection) == {(event_id, shop.id) for event_id in told}
    claimed = webhook_service.claim_due(connection, keyring).deliveries
    assert {each.attempt for each in claimed} == {1}


def test_dead_takes_what_is_dead_only(
    connection: Connection, keyring: Keyring, shop: TestUser
) -> None:
    tell(connection, shop)
    settle(connection, keyring, DONE)
    dead = tell(connection, shop)
    settle(connection, keyring, GIVEN_UP)

    start(connection, shop, span(shop.id, ReplayScope.DEAD))

    assert run_all(connection) == [Step(2, 1)]
    assert waiting(connection) == {(dead, shop.id)}


def test_an_event_that_is_purged_meanwhile_is_passed_over(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring, shop: TestUser
) -> None:
    tell(connection, shop)
    settle(connection, keyring, DONE)
    later = make_endpoint(engine, keyring, shop, url=URL + "/later").id
    grow_old(superuser, 31)
    young = tell(connection, shop)
    long = dataclasses.replace(span(later), since=now() - timedelta(days=60))
    start(connection, shop, long)
    with uncommitted(engine) as purger:
        purger.execute(text("SELECT standart_purge_events(now() - interval '30 days', 10)"))
        with autocommit(engine) as other:
            with blocked(superuser, lambda: span_replay_service.step(other)) as step:
                purger.commit()
            assert step.result() == Step(1, 0)
    assert {event for event, _ in waiting(connection)} == {young}


def test_a_task_that_is_told_to_end_or_has_used_its_time_leaves_the_rest(
    app: Flask,
    make_app: Callable[..., Flask],
    connection: Connection,
    keyring: Keyring,
    shop: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell(connection, shop)
    settle(connection, keyring, DONE)
    start(connection, shop, span(shop.id))
    ended = make_app()
    ended.extensions["standart.deliverer"].stop()
    with ended.app_context():
        assert tasks.replay.run() == 0
    with app.app_context():
        with monkeypatch.context() as patch:
            patch.setattr(tasks, "BUDGET_SECONDS", 0)
            assert tasks.replay.run() == 0
        assert tasks.replay.run() == 1


def test_all_brings_a_later_endpoint_what_it_asks_for(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    wanted = tell(connection, shop)
    tell(connection, shop, "balance.adjusted")
    settle(connection, keyring, DONE)
    late = make_endpoint(engine, keyring, shop, "webhook_endpoint.*", url=f"{URL}/2")

    start(connection, shop, span(late.id, ReplayScope.DEAD))
    assert run_all(connection) == [Step(2, 0)]
    start(connection, shop, span(late.id))
    assert run_all(connection) == [Step(2, 1)]

    assert waiting(connection) == {(wanted, late.id)}


def test_what_waits_is_left_alone_and_what_is_under_way_keeps_its_lease(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    tell(connection, shop)
    (claimed,) = webhook_service.claim_due(connection, keyring).deliveries
    tell(connection, shop)
    rows = text("SELECT id, lease, state, next_attempt_at FROM deliveries ORDER BY id")
    before = connection.execute(rows).all()

    for scope in ReplayScope:
        start(connection, shop, span(shop.id, scope))
        assert run_all(connection) == [Step(2, 0)]

    assert connection.execute(rows).all() == before
    assert claimed.lease in {row.lease for row in before}


def test_a_last_try_that_began_before_its_span_was_replayed_is_not_the_end(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring, shop: TestUser
) -> None:
    event_id = tell(connection, shop)
    (last,) = webhook_service.claim_due(connection, keyring).deliveries
    start(connection, shop, span(shop.id))

    # While its result is being written it cannot be reached: the step does not pass it by.
    with uncommitted(engine) as other:
        other.execute(text("SELECT FROM deliveries FOR UPDATE"))
        assert span_replay_service.step(connection) == Step(0, 0)
        other.rollback()
    assert run_all(connection) == [Step(1, 0)]

    webhook_service.record_attempts(connection, [(last, GIVEN_UP)], schedule=())
    (again,) = webhook_service.claim_due(connection, keyring).deliveries
    assert (again.event_id, again.attempt) == (event_id, 1)


def test_a_span_ends_where_it_says_and_never_behind_its_own_start(
    connection: Connection, keyring: Keyring, shop: TestUser
) -> None:
    tell(connection, shop)
    since = now()
    inside = tell(connection, shop)
    until = now()
    tell(connection, shop)
    settle(connection, keyring, DONE)
    bounded = NewReplay(endpoint_id=shop.id, since=since, until=until, scope=ReplayScope.ALL)
    start(connection, shop, bounded)
    assert run_all(connection) == [Step(1, 1)]
    assert waiting(connection) == {(inside, shop.id)}

    settle(connection, keyring, DONE)
    start(connection, shop, span(shop.id))
    tell(connection, shop)
    settle(connection, keyring, DONE)
    assert run_all(connection) == [Step(3, 3)]


def test_too_many_events_are_refused_before_anything_begins(
    connection: Connection, shop: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_replay_service, "MOST_EVENTS", 2)
    for _ in range(2):
        tell(connection, shop)
    start(connection, shop, span(shop.id))
    run_all(connection)
    tell(connection, shop)
    with pytest.raises(InvalidInput, match="Some fields"):
        start(connection, shop, span(shop.id))
    assert row_counts(connection)["webhook_replays"] == 1


def test_a_second_run_of_the_same_request_finds_the_first(
    connection: Connection, shop: TestUser
) -> None:
    new = span(shop.id)
    start(connection, shop, new)
    run_all(connection)
    start(connection, shop, new)
    assert row_counts(connection)["webhook_replays"] == 1


def test_one_runs_at_a_time_for_each_endpoint_also_under_races(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    def begin(scope: ReplayScope) -> None:
        with autocommit(engine) as own:
            start(own, shop, span(shop.id, scope))

    outcomes = together([lambda scope=scope: begin(scope) for scope in [*ReplayScope] * 4])

    # Each names a span of its own, to the microsecond.
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ReplayRunning) for outcome in outcomes) == 7
    second = make_endpoint(engine, keyring, shop, url=f"{URL}/2")
    start(connection, shop, span(second.id))
    assert row_counts(connection)["webhook_replays"] == 2


def test_several_workers_share_batches_and_double_none(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    second = make_endpoint(engine, keyring, shop, url=f"{URL}/2")
    with unit(connection):
        for _ in range(60):
            tell(connection, shop)
    settle(connection, keyring, DONE)
    for endpoint_id in (shop.id, second.id):
        start(connection, shop, span(endpoint_id))

    def work() -> list[Step]:
        with autocommit(engine) as own:
            return run_all(own, batch=7)

    steps = [step for done in together([work] * 4) for step in done]

    # Whoever found both held went home: the sweep would come again.
    steps += run_all(connection, batch=7)
    assert sum(step.examined for step in steps) == 120
    assert sum(step.requeued for step in steps) == 120
    rows = connection.execute(
        text("SELECT total, examined, requeued, finished_at FROM webhook_replays")
    )
    assert all(
        (row.total, row.examined, row.requeued) == (60, 60, 60) and row.finished_at for row in rows
    )


def test_a_short_one_does_not_wait_for_a_long_one(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    for _ in range(10):
        tell(connection, shop)
    settle(connection, keyring, DONE)
    start(connection, shop, span(shop.id))
    assert span_replay_service.step(connection, batch=2) == Step(2, 2)
    other = make_user(engine, keyring, webhook_url=URL)
    tell(connection, other)
    start(connection, other, span(other.id))
    span_replay_service.step(connection, batch=2)
    assert connection.scalar(
        text("SELECT finished_at IS NOT NULL FROM webhook_replays WHERE user_id = :id"),
        {"id": other.id},
    )


def test_a_held_batch_is_passed_over_and_a_broken_one_is_done_again(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    told = tell(connection, shop)
    settle(connection, keyring, DONE)
    start(connection, shop, span(shop.id))
    with uncommitted(engine) as dying:
        assert span_replay_service.step(dying) == Step(1, 1)
        assert span_replay_service.step(connection) is None
        dying.rollback()
    assert waiting(connection) == set()
    assert run_all(connection) == [Step(1, 1)]
    assert waiting(connection) == {(told, shop.id)}


def test_it_ends_when_its_endpoint_may_not_be_called_any_more(
    connection: Connection, keyring: Keyring, shop: TestUser
) -> None:
    tell(connection, shop)
    settle(connection, keyring, DONE)
    start(connection, shop, span(shop.id))
    endpoint_acts.update(connection, shop.digest, ORIGIN, keyring, shop.id, Changes(enabled=False))
    assert run_all(connection) == [Step(0, 0)]
    row = connection.execute(text("SELECT examined, finished_at FROM webhook_replays")).one()
    assert row.examined == 0
    assert row.finished_at is not None


def test_a_user_with_events_or_replays_is_kept(
    connection: Connection, engine: Engine, keyring: Keyring
) -> None:
    tested, replayed = (make_user(engine, keyring, webhook_url=URL) for _ in range(2))
    ping_service.ping(connection, tested.digest, ORIGIN, tested.id, event_id=new_id())
    start(connection, replayed, span(replayed.id))
    for owner in (tested, replayed):
        with Session(engine) as session, pytest.raises(UserHasHistory), transaction(session):
            user_service.delete_user(session, SYSTEM, user_service.get_user(session, owner.id))
    assert row_counts(connection)["users"] == 2
