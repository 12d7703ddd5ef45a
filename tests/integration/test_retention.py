"""Old events go when everybody got them, by one function; nothing else is ever deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from standart import tasks
from standart.clock import new_id
from standart.db import autocommit, sqlstate, transaction
from standart.encryption import Keyring
from standart.errors import NotFound
from standart.services import (
    endpoint_acts,
    event_list,
    event_search,
    heartbeat_service,
    late_payment_service,
    replay_service,
    retention_service,
    transaction_service,
    webhook_service,
)
from standart.services.event_search import Wanted
from standart.services.retention_service import Purged
from standart.services.webhook_work import AttemptResult
from tests.builders import ORIGIN, TestUser, make_transaction, make_user
from tests.integration.ages import grow_old
from tests.integration.attacks import DENIED, attack
from tests.integration.books import findings
from tests.integration.commands import Run
from tests.integration.concurrency import blocked, uncommitted
from tests.movements import Mover

URL = "https://shop.example/hook"
GOT_IT = AttemptResult("delivered", 200, "", "", 3)
REFUSED = AttemptResult("http_500", 500, "", "", 3)

COUNTS = text(
    "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM deliveries),"
    " (SELECT count(*) FROM attempts)"
)
WATERMARK = text("SELECT purged_before FROM event_clock")


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, webhook_url=URL)


@pytest.fixture
def mute(engine: Engine, keyring: Keyring) -> TestUser:
    """A merchant without a receiver: its events have no deliveries."""
    return make_user(engine, keyring)


def cancel(connection: Connection, owner: TestUser) -> UUID:
    """Cancel a transaction of a merchant; return the id of the event that tells of it."""
    made = make_transaction(connection.engine, owner)
    transaction_service.cancel(connection, owner.digest, ORIGIN, UUID(made["id"]))
    event_id: UUID = connection.execute(
        text("SELECT id FROM events WHERE transaction_id = :id"), {"id": made["id"]}
    ).scalar_one()
    return event_id


def send(connection: Connection, keyring: Keyring, result: AttemptResult = GOT_IT) -> None:
    """Try all that is due once; whatever fails is dead at once."""
    sent = 0
    while claimed := webhook_service.claim_due(connection, keyring, batch=1000).deliveries:
        pairs = [(each, result) for each in claimed]
        webhook_service.record_attempts(connection, pairs, schedule=())
        sent += len(pairs)
    assert sent


def counts(connection: Connection) -> tuple[int, ...]:
    return tuple(connection.execute(COUNTS).one())


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def test_what_everybody_got_goes_after_its_time_and_the_rest_stays(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring, shop: TestUser
) -> None:
    gone = {cancel(connection, shop) for _ in range(3)}
    send(connection, keyring)
    dead = cancel(connection, shop)
    send(connection, keyring, REFUSED)
    waiting = cancel(connection, shop)
    connection.execute(
        text("UPDATE deliveries SET next_attempt_at = 'infinity' WHERE state = 'waiting'")
    )
    grow_old(superuser, 31)
    young = cancel(connection, shop)
    send(connection, keyring)
    assert counts(connection) == (6, 6, 5)

    assert retention_service.purge(connection, days=30) == 3

    left = set(connection.scalars(text("SELECT id FROM events")))
    assert left == {dead, waiting, young}
    assert not left & gone
    assert counts(connection) == (3, 3, 2)
    marked = connection.execute(WATERMARK).scalar_one()
    assert timedelta(days=30) < datetime.now(UTC) - marked < timedelta(days=30, minutes=5)
    assert findings(engine) == []
    assert retention_service.purge(connection, days=30) == 0


def test_an_event_that_nobody_wanted_goes_as_well(
    connection: Connection, superuser: Engine, mute: TestUser
) -> None:
    cancel(connection, mute)
    grow_old(superuser, 2)
    assert retention_service.purge(connection, days=3) == 0
    assert retention_service.purge(connection, days=1) == 1
    assert counts(connection) == (0, 0, 0)


def test_zero_days_keep_everything(
    connection: Connection, superuser: Engine, mute: TestUser
) -> None:
    cancel(connection, mute)
    grow_old(superuser, 36_500)
    assert retention_service.purge(connection, days=0) == 0
    assert counts(connection) == (1, 0, 0)
    assert connection.execute(WATERMARK).scalar_one() is None


def test_an_event_stays_whole_while_one_receiver_lacks_it(
    connection: Connection, superuser: Engine, keyring: Keyring, shop: TestUser
) -> None:
    cancel(connection, shop)
    send(connection, keyring)
    second_receiver(superuser, shop)
    connection.execute(
        text(
            "INSERT INTO deliveries (user_id, id, event_id, endpoint_id, state, next_attempt_at)"
            " SELECT d.user_id, gen_random_uuid(), d.event_id, w.id, 'dead', NULL"
            " FROM deliveries d JOIN webhook_endpoints w USING (user_id) WHERE w.id <> w.user_id"
        )
    )
    grow_old(superuser, 31)
    assert retention_service.purge(connection, days=30) == 0
    assert counts(connection) == (1, 2, 1)

    connection.execute(text("UPDATE deliveries SET state = 'delivered' WHERE state = 'dead'"))
    assert retention_service.purge(connection, days=30) == 1
    assert counts(connection) == (0, 0, 0)


def second_receiver(superuser: Engine, owner: TestUser) -> UUID:
    endpoint_id = new_id()
    with superuser.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO webhook_endpoints (user_id, id, url, secret)"
                " SELECT user_id, :new, url, secret FROM webhook_endpoints WHERE id = :id"
            ),
            {"new": endpoint_id, "id": owner.id},
        )
        connection.execute(
            text("INSERT INTO webhook_lanes (user_id, endpoint_id) VALUES (:id, :new)"),
            {"new": endpoint_id, "id": owner.id},
        )
    return endpoint_id


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 100])
def test_batches_of_any_size_reach_every_event_behind_those_that_stay(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    shop: TestUser,
    batch: int,
) -> None:
    for _ in range(3):
        cancel(connection, shop)
    send(connection, keyring, REFUSED)
    others = [make_user(engine, keyring, webhook_url=URL) for _ in range(3)]
    for owner in (*others, shop):
        for _ in range(2):
            cancel(connection, owner)
    send(connection, keyring)
    grow_old(superuser, 31)

    before, more, calls, total = days_ago(30), True, 0, 0
    while more:
        calls += 1
        assert calls < 50
        done = retention_service.purge_batch(connection, before=before, batch=batch)
        assert done.events <= batch
        total += done.events
        more = done.more

    assert total == 8
    assert counts(connection) == (3, 3, 3)


def test_it_stops_where_it_is_told_to(
    connection: Connection, superuser: Engine, mute: TestUser
) -> None:
    cancel(connection, mute)
    grow_old(superuser, 31)
    assert retention_service.purge(connection, days=30, go_on=lambda: False) == 0
    assert counts(connection) == (1, 0, 0)


def test_the_sweep_purges_by_the_setting_until_the_worker_is_told_to_end(
    make_app: Callable[..., Flask], connection: Connection, superuser: Engine, mute: TestUser
) -> None:
    cancel(connection, mute)
    grow_old(superuser, 8)
    ever, ended, week = (make_app(webhook_retention_days=days) for days in (0, 7, 7))
    ended.extensions["standart.deliverer"].stop()
    for app in (ever, ended):
        with app.app_context():
            assert tasks.purge.run() == 0
    assert counts(connection) == (1, 0, 0)
    with week.app_context():
        assert tasks.purge.run() == 1
    assert counts(connection) == (0, 0, 0)
    assert "purge" in heartbeat_service.ages(connection)


def test_the_command_purges_at_once(
    run: Run, connection: Connection, superuser: Engine, mute: TestUser
) -> None:
    cancel(connection, mute)
    grow_old(superuser, 8)
    assert run("purge").stdout == "purged 0\n"
    done = run("purge", STANDART_WEBHOOK_RETENTION_DAYS="7")
    assert (done.exit_code, done.stdout) == (0, "purged 1\n")


def test_how_long_events_are_kept_beyond_their_time(
    connection: Connection, superuser: Engine, mute: TestUser
) -> None:
    assert retention_service.lag_seconds(connection, days=30) == 0
    grow_old(superuser, 40)
    assert 9.9 * 86_400 < retention_service.lag_seconds(connection, days=30) < 10.1 * 86_400
    retention_service.purge(connection, days=30)
    assert retention_service.lag_seconds(connection, days=30) < 600


# What the database itself refuses, whoever asks.


@pytest.fixture
def old(
    connection: Connection, superuser: Engine, keyring: Keyring, shop: TestUser
) -> dict[str, Any]:
    """Events of each kind, older than the watermark but for one, and not purged yet."""
    ids: dict[str, Any] = {"dead": cancel(connection, shop)}
    send(connection, keyring, REFUSED)
    ids["waiting"] = cancel(connection, shop)
    connection.execute(text("UPDATE deliveries SET lease = NULL WHERE state = 'waiting'"))
    grow_old(superuser, 5)
    retention_service.purge(connection, days=4)
    with superuser.begin() as everything:
        everything.execute(
            text("UPDATE deliveries SET next_attempt_at = 'infinity' WHERE state = 'waiting'")
        )
    ids["done"] = cancel(connection, shop)
    send(connection, keyring)
    ids["young"] = cancel(connection, shop)
    send(connection, keyring)
    with superuser.begin() as everything:
        everything.execute(text("SET LOCAL session_replication_role = replica"))
        everything.execute(
            text("UPDATE events SET created_at = created_at - interval '6 days' WHERE id = :done"),
            ids,
        )
    return ids


DELETES = {
    "events": "DELETE FROM events WHERE id = :{}",
    "deliveries": "DELETE FROM deliveries WHERE event_id = :{}",
    "attempts": (
        "DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE event_id = :{})"
    ),
}


@pytest.mark.parametrize(
    ("table", "which"),
    [
        (table, which)
        for table, which in product(DELETES, ("dead", "waiting", "young"))
        if (table, which) != ("attempts", "waiting")  # there is none
    ],
)
def test_nobody_deletes_what_is_young_or_not_delivered(
    roles: dict[str, Engine], old: dict[str, Any], table: str, which: str, connection: Connection
) -> None:
    before = counts(connection)
    statement = DELETES[table].format(which)

    errors = {name: attack(role, old, statement) for name, role in roles.items()}

    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is kept" in str(error)
    assert counts(connection) == before


def test_only_the_service_itself_may_not_delete_what_is_old_and_done(
    engine: Engine, owner: Engine, old: dict[str, Any], connection: Connection
) -> None:
    for statement in DELETES.values():
        assert sqlstate(attack(engine, old, statement.format("done"))) == DENIED
    with owner.begin() as trusted:
        for table in ("attempts", "deliveries", "events"):
            trusted.execute(text(DELETES[table].format("done")), old)
    assert counts(connection) == (3, 3, 2)


@pytest.mark.parametrize("table", DELETES)
def test_nobody_empties_a_table(roles: dict[str, Engine], old: dict[str, Any], table: str) -> None:
    errors = {name: attack(role, old, f"TRUNCATE {table} CASCADE") for name, role in roles.items()}
    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is kept" in str(error)


MOVES = {
    "back": "UPDATE event_clock SET purged_before = purged_before - interval '1 second'",
    "away": "UPDATE event_clock SET purged_before = NULL",
    "base": "UPDATE event_clock SET base = base - 1",
    "deleted": "DELETE FROM event_clock",
    "truncated": "TRUNCATE event_clock",
    "young": "UPDATE event_clock SET purged_before = now() - interval '23 hours'",
}


@pytest.mark.parametrize("move", MOVES)
def test_nobody_turns_the_clock_back_or_near_to_the_present(
    roles: dict[str, Engine], old: dict[str, Any], move: str
) -> None:
    errors = {name: attack(role, old, MOVES[move]) for name, role in roles.items()}
    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "clock of events" in str(error) or "events of the last day" in str(error)


@pytest.mark.parametrize(
    "arguments",
    [
        "clock_timestamp() - interval '23 hours', 10",
        "'infinity', 10",
        "NULL, 10",
        "'2020-01-01', 0",
        "'2020-01-01', 10001",
        "'2020-01-01', NULL",
    ],
)
def test_the_function_refuses_the_last_day_and_odd_batches(
    roles: dict[str, Engine], old: dict[str, Any], arguments: str, connection: Connection
) -> None:
    before = counts(connection)
    for role in roles.values():
        error = attack(role, old, f"SELECT standart_purge_events({arguments})")
        assert sqlstate(error) == "22023"
    assert counts(connection) == before


@pytest.mark.parametrize("role", ["application", "owner", "superuser"])
def test_by_the_function_whoever_calls_it_deletes_only_what_is_done(
    roles: dict[str, Engine], old: dict[str, Any], role: str, connection: Connection
) -> None:
    with roles[role].begin() as caller:
        # A table of the caller's own does not stand in for the real one; the service has none.
        if role != "application":
            caller.execute(text("CREATE TEMP TABLE events ON COMMIT DROP AS TABLE public.events"))
        purged = caller.execute(
            text("SELECT purged FROM standart_purge_events(now() - interval '4 days', 10)")
        ).scalar_one()
    assert purged == 1
    left = set(connection.scalars(text("SELECT id FROM events")))
    assert left == {old["dead"], old["waiting"], old["young"]}


def test_no_other_role_may_call_it(owner: Engine, connection: Connection) -> None:
    may = text(
        "SELECT p.proname, has_function_privilege(:role, p.oid, 'EXECUTE') FROM pg_proc p"
        " WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace"
    )
    functions = {"standart_purge_events", "standart_reseal_destinations"}
    assert connection.scalar(text("SELECT current_user")) == "standart_app"
    for role, allowed in (("standart_app", True), ("pg_read_all_data", False)):
        found = {row[0]: row[1] for row in connection.execute(may, {"role": role})}
        # That one is a trigger's, which nobody needs a right for.
        triggered = {"standart_note_particulars": False}
        assert found == dict.fromkeys(functions, allowed) | triggered


def test_the_watermark_never_falls(connection: Connection, superuser: Engine) -> None:
    retention_service.purge(connection, days=10)
    marked = connection.execute(WATERMARK).scalar_one()
    retention_service.purge(connection, days=20)
    assert connection.execute(WATERMARK).scalar_one() == marked
    retention_service.purge(connection, days=5)
    assert connection.execute(WATERMARK).scalar_one() > marked


# What lives on after its event has gone.


def test_acts_on_what_was_purged_are_answered_as_before(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    shop: TestUser,
    admin: TestUser,
) -> None:
    ids = [UUID(make_transaction(engine, shop)["id"]) for _ in range(2)]
    canceled = transaction_service.cancel(connection, shop.digest, ORIGIN, ids[0])
    confirmed = transaction_service.confirm(connection, admin.digest, ORIGIN, ids[1])
    mover = Mover(connection, shop.id)
    payout_id = mover.reserve(5_000)
    send(connection, keyring)
    grow_old(superuser, 31)
    assert retention_service.purge(connection, days=30) == 3

    again = transaction_service.cancel(connection, shop.digest, ORIGIN, ids[0])
    assert json.loads(again.body)["status"] == json.loads(canceled.body)["status"]
    again = transaction_service.confirm(connection, admin.digest, ORIGIN, ids[1])
    assert json.loads(again.body)["status"] == json.loads(confirmed.body)["status"]
    assert counts(connection) == (0, 0, 0)

    late_payment_service.record_late_payment(
        connection, admin.digest, ORIGIN, late_payment_service.LatePayment(transaction_id=ids[0])
    )
    mover.refund(ids[1], 1_000)
    mover.finish(payout_id, "paid", 5_000)
    types = set(connection.scalars(text("SELECT type FROM events")))
    assert types == {
        "transaction.confirmed",
        "refund.created",
        "payout.approved",
        "payout.paid",
    }
    assert findings(engine) == []


def test_lists_and_reads_show_what_is_left(
    connection: Connection, superuser: Engine, mute: TestUser
) -> None:
    gone = cancel(connection, mute)
    grow_old(superuser, 31)
    young = [cancel(connection, mute) for _ in range(2)]
    first = event_search.page(connection, mute.actor, Wanted(), limit=1).rows
    retention_service.purge(connection, days=30)

    rest = event_search.page(connection, mute.actor, Wanted(), after=first[0][1:], limit=10).rows
    assert [row[2] for row in (*first, *rest)] == young[::-1]
    with pytest.raises(NotFound):
        event_list.get_event(connection, mute.actor, gone)
    with pytest.raises(NotFound), Session(connection.engine) as session, transaction(session):
        replay_service.replay(session, mute.actor, gone)


@pytest.mark.parametrize(
    ("statement", "breaks"),
    [
        ("DELETE FROM events WHERE transaction_id = :young", True),
        ("DELETE FROM events WHERE transaction_id = :stays", False),
        (
            (
                "INSERT INTO events (user_id, id, transaction_id, type, payload, sequence) VALUES"
                " (:shop, gen_random_uuid(), :stays, 'transaction.expired', '{}', 2)"
            ),
            True,
        ),
    ],
)
def test_verify_proves_above_the_watermark_that_no_event_is_missing(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    shop: TestUser,
    statement: str,
    breaks: bool,
) -> None:
    cancel(connection, shop)
    send(connection, keyring, REFUSED)
    grow_old(superuser, 31)
    retention_service.purge(connection, days=30)
    cancel(connection, shop)
    stays, young = connection.scalars(
        text("SELECT transaction_id FROM events ORDER BY created_at")
    ).all()
    assert findings(engine) == []

    with superuser.begin() as everything:
        everything.execute(text("SET LOCAL session_replication_role = replica"))
        bound = {"young": young, "stays": stays, "shop": shop.id}
        used = {name: value for name, value in bound.items() if f":{name}" in statement}
        assert everything.execute(text(statement), used).rowcount == 1

    found = [each.invariant for each in findings(engine)]
    # Behind the guards its deliveries stay, which the purge would have taken along.
    left = ["references_are_whole"] if statement.startswith("DELETE") else []
    assert found == (["object_has_its_events"] if breaks else []) + left


# Races with a replay: it sends the event, or finds it gone; never half of it.


def replay(engine: Engine, owner: TestUser, event_id: UUID) -> int:
    with Session(engine) as session, transaction(session):
        return replay_service.replay(session, owner.actor, event_id)


@pytest.mark.parametrize("to", ["the same receiver", "a new one"])
def test_a_replay_that_was_first_keeps_its_event(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    shop: TestUser,
    to: str,
) -> None:
    event_id = cancel(connection, shop)
    other = cancel(connection, shop)
    send(connection, keyring)
    grow_old(superuser, 31)
    if to == "a new one":
        second_receiver(superuser, shop)
        connection.execute(
            text(
                "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'owner'"
                " WHERE id = user_id"
            )
        )
    with Session(engine) as session:
        replay_service.replay(session, shop.actor, event_id)
        with autocommit(engine) as purger:
            # It waits for nobody, and takes what is free.
            assert retention_service.purge(purger, days=30) == 1
        session.commit()

    assert list(connection.scalars(text("SELECT id FROM events"))) == [event_id] != [other]
    assert retention_service.purge(connection, days=30) == 0
    send(connection, keyring)
    assert retention_service.purge(connection, days=30) == 1


@pytest.mark.parametrize("to", ["the same receiver", "a new one"])
def test_a_replay_that_comes_later_finds_the_event_gone(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    shop: TestUser,
    to: str,
) -> None:
    event_id = cancel(connection, shop)
    send(connection, keyring)
    grow_old(superuser, 31)
    if to == "a new one":
        second_receiver(superuser, shop)
        connection.execute(
            text(
                "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'owner'"
                " WHERE id = user_id"
            )
        )
    with uncommitted(engine) as purger:
        purger.execute(text("SELECT standart_purge_events(now() - interval '30 days', 10)"))
        with blocked(superuser, lambda: replay(engine, shop, event_id)) as waiting:
            purger.commit()
    assert isinstance(waiting.result(), NotFound)
    assert counts(connection) == (0, 0, 0)


@pytest.mark.parametrize("marked", [False, True], ids=["first ever", "later"])
def test_one_purges_at_a_time_and_nobody_waits_for_it(
    connection: Connection, engine: Engine, superuser: Engine, mute: TestUser, marked: bool
) -> None:
    if marked:
        retention_service.purge(connection, days=30)
    before = days_ago(30)
    for _ in range(6):
        cancel(connection, mute)
    grow_old(superuser, 31)
    held = text("SELECT purged FROM standart_purge_events(:before, 4)")
    with uncommitted(engine) as first:
        assert first.execute(held, {"before": before}).scalar_one() == 4
        with autocommit(engine) as second:
            assert retention_service.purge(second, days=30) == 0
        first.commit()
    assert counts(connection) == (2, 0, 0)
    assert retention_service.purge(connection, days=30) == 2
    assert counts(connection) == (0, 0, 0)


def test_a_purge_goes_on_where_the_last_one_stopped_and_begins_anew_at_the_end(
    connection: Connection, superuser: Engine, keyring: Keyring, shop: TestUser
) -> None:
    kept = [cancel(connection, shop) for _ in range(2)]
    send(connection, keyring, REFUSED)
    gone = [cancel(connection, shop) for _ in range(2)]
    send(connection, keyring)
    grow_old(superuser, 31)
    batches = [
        retention_service.purge_batch(connection, before=days_ago(30), batch=2) for _ in range(4)
    ]
    assert batches == [Purged(0, True), Purged(2, True), Purged(0, False), Purged(0, True)]
    assert set(connection.scalars(text("SELECT id FROM events"))) == set(kept)
    assert len(gone) == 2


def test_what_is_dead_at_a_deleted_endpoint_can_never_be_sent_and_goes(
    connection: Connection, superuser: Engine, keyring: Keyring, shop: TestUser, engine: Engine
) -> None:
    second = second_receiver(superuser, shop)
    cancel(connection, shop)
    send_to = text(
        "UPDATE deliveries SET state = CASE WHEN endpoint_id = :second THEN 'dead'"
        " ELSE 'delivered' END"
    )
    send(connection, keyring)
    with superuser.begin() as everything:
        everything.execute(text("SET LOCAL session_replication_role = replica"))
        everything.execute(send_to, {"second": second})
    grow_old(superuser, 31)
    assert retention_service.purge(connection, days=30) == 0
    endpoint_acts.delete(connection, shop.digest, ORIGIN, second)
    assert retention_service.purge(connection, days=30) == 1
    assert findings(engine) == []


def test_a_task_that_has_used_its_time_leaves_the_rest_to_the_next(
    app: Flask,
    connection: Connection,
    superuser: Engine,
    mute: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancel(connection, mute)
    grow_old(superuser, 1000)
    monkeypatch.setattr(tasks, "BUDGET_SECONDS", 0)
    with app.app_context():
        assert tasks.purge.run() == 0
        monkeypatch.undo()
        assert tasks.purge.run() == 1


def test_an_attempt_that_is_under_way_keeps_its_event(
    connection: Connection, superuser: Engine, keyring: Keyring, shop: TestUser
) -> None:
    cancel(connection, shop)
    grow_old(superuser, 31)
    claimed = webhook_service.claim_due(connection, keyring).deliveries
    assert retention_service.purge(connection, days=30) == 0
    webhook_service.record_attempts(connection, [(each, GOT_IT) for each in claimed], schedule=())
    assert retention_service.purge(connection, days=30) == 1


def test_a_refusal_leaves_the_watermark_alone(connection: Connection) -> None:
    with pytest.raises(DBAPIError):
        retention_service.purge_batch(connection, before=days_ago(0))
    assert connection.execute(WATERMARK).scalar_one() is None
