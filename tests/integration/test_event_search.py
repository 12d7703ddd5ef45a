"""Events found by what became of them: rightly both ways, in bounds; and sets sent anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event, text

from standart.clock import new_id
from standart.encryption import Keyring
from standart.errors import InvalidInput
from standart.models import DeliveryState, Role, Scope
from standart.services import (
    event_search,
    set_replay_service,
    transaction_service,
    webhook_service,
)
from standart.services.access import Actor
from standart.services.event_search import NO_ANSWER, Place, Wanted
from standart.services.webhook_work import AttemptResult
from tests.builders import ORIGIN, TestUser, make_transaction, make_user

ADMIN = Actor(None, "system", Role.ADMIN, frozenset(Scope))
ANSWERS = (200, 404, 503, None, 302)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, name="shop", webhook_url="https://example.com/hook")


@pytest.fixture
def sent(
    engine: Engine, connection: Connection, keyring: Keyring, shop: TestUser
) -> dict[int | None, UUID]:
    """An event for each answer, dead but for the delivered one, and 0 for one never tried."""
    found: dict[int | None, UUID] = {}
    for answer in ANSWERS:
        found[answer] = _canceled(engine, connection, shop)
        (claimed,) = webhook_service.claim_due(connection, keyring).deliveries
        outcome = {200: "delivered", None: "timeout"}.get(answer, f"http_{answer}")
        result = AttemptResult(outcome, answer, "", "", 5)
        webhook_service.record_attempts(connection, [(claimed, result)], schedule=())
    found[0] = _canceled(engine, connection, shop)
    return found


def _canceled(engine: Engine, connection: Connection, shop: TestUser) -> UUID:
    made = make_transaction(engine, shop)
    transaction_service.cancel(connection, shop.digest, ORIGIN, UUID(made["id"]))
    query = text(
        "SELECT id FROM events WHERE transaction_id = :id AND type = 'transaction.canceled'"
    )
    event_id = connection.scalar(query, {"id": made["id"]})
    assert isinstance(event_id, UUID)
    return event_id


def _found(connection: Connection, actor: Actor = ADMIN, **wanted: object) -> list[UUID]:
    found = event_search.find(connection, actor, Wanted(**wanted), limit=100)  # type: ignore[arg-type]
    return [key.id for key in found.keys]


@pytest.mark.parametrize("few", [event_search.FEW, 0], ids=["few", "many"])
def test_both_ways_of_looking_find_the_same(
    connection: Connection,
    sent: dict[int | None, UUID],
    shop: TestUser,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
) -> None:
    monkeypatch.setattr(event_search, "FEW", few)
    dead = [sent[302], sent[None], sent[503], sent[404]]

    assert _found(connection, state=DeliveryState.DEAD) == dead
    assert _found(connection, state=DeliveryState.WAITING) == [sent[0]]
    assert _found(connection, state=DeliveryState.DELIVERED) == [sent[200]]
    for answer, code in ((2, 200), (3, 302), (4, 404), (5, 503), (NO_ANSWER, None)):
        assert _found(connection, answer=answer) == [sent[code]], answer
        assert _found(connection, answer=answer, user_id=shop.id) == [sent[code]]
        assert _found(connection, answer=answer, user_id=new_id()) == []
    assert _found(connection, answer=4, state=DeliveryState.DELIVERED) == []
    assert _found(connection, answer=4, state=DeliveryState.WAITING) == []
    assert _found(connection, state=DeliveryState.DEAD, endpoint_id=shop.id) == dead
    assert _found(connection, state=DeliveryState.DEAD, endpoint_id=new_id()) == []
    assert _found(connection, state=DeliveryState.DEAD, type="transaction.canceled") == dead
    assert _found(connection, state=DeliveryState.DEAD, type="transaction.created") == []
    ahead = datetime.now(UTC) + timedelta(hours=1)
    assert _found(connection, state=DeliveryState.DEAD, created_to=ahead) == dead
    assert _found(connection, state=DeliveryState.DEAD, created_from=ahead) == []


@pytest.mark.parametrize("few", [event_search.FEW, 0], ids=["few", "many"])
def test_the_api_finds_the_same_by_its_state_and_endpoint(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    sent: dict[int | None, UUID],
    shop: TestUser,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
) -> None:
    monkeypatch.setattr(event_search, "FEW", few)
    dead = [sent[302], sent[None], sent[503], sent[404]]
    other = make_user(engine, keyring, name="other", webhook_url="https://other.example/")
    theirs = _canceled(engine, connection, other)

    def listed(
        actor: Actor = ADMIN, *, after: Place | None = None, limit: int = 100, **wanted: Any
    ) -> list[UUID]:
        page = event_search.page(connection, actor, Wanted(**wanted), after=after, limit=limit)
        return [row[2] for row in page.rows]

    assert listed(state=DeliveryState.DEAD) == dead
    assert listed(state=DeliveryState.WAITING) == [theirs, sent[0]]
    assert listed(state=DeliveryState.DELIVERED) == [sent[200]]
    assert listed(state=DeliveryState.DEAD, endpoint_id=shop.id) == dead
    assert listed(state=DeliveryState.DEAD, endpoint_id=other.id) == []
    assert listed(state=DeliveryState.WAITING, user_id=shop.id) == [sent[0]]
    assert listed(endpoint_id=other.id) == [theirs]
    assert listed(other.actor, state=DeliveryState.WAITING) == [theirs]
    assert listed(other.actor, state=DeliveryState.DEAD) == []
    assert listed(other.actor, endpoint_id=shop.id) == []
    first = event_search.page(connection, ADMIN, Wanted(state=DeliveryState.DEAD), limit=1)
    rest = listed(state=DeliveryState.DEAD, after=first.rows[0][1:])
    assert [first.rows[0][2], *rest] == dead


def test_a_merchant_finds_its_own_whatever_it_asks(
    connection: Connection, engine: Engine, keyring: Keyring, sent: dict[int | None, UUID]
) -> None:
    other = make_user(engine, keyring, name="other", webhook_url="https://other.example/")
    theirs = _canceled(engine, connection, other)
    actor = Actor(other.id, "other", Role.REGULAR, frozenset({Scope.READ}))

    assert theirs in _found(connection, actor)
    assert not set(_found(connection, actor)) & set(sent.values())
    for wanted in ({"endpoint_id": other.id}, {"state": DeliveryState.WAITING}, {}):
        assert set(sent.values()).isdisjoint(_found(connection, actor, **wanted)), wanted
    shop_id = connection.scalar(text("SELECT user_id FROM events WHERE id = :id"), {"id": sent[0]})
    assert _found(connection, actor, user_id=shop_id) == []
    assert _found(connection, actor, endpoint_id=shop_id) == []


def test_a_look_ends_and_tells_where_to_go_on(
    connection: Connection, sent: dict[int | None, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(state=DeliveryState.DELIVERED)
    found, after, looks = [], None, 0
    while True:
        step = event_search.find(connection, ADMIN, wanted, after=after, limit=5, look=3)
        found += [key.id for key in step.keys]
        looks += 1
        if step.looked_to is None:
            break
        after = step.looked_to

    assert found == [sent[200]]
    # Six events, three at a time; the third look finds that there is nothing more.
    assert looks == 3


def test_a_page_looks_farther_and_farther_for_what_is_rare(
    connection: Connection, sent: dict[int | None, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_search, "LOOK", 1)
    wanted = Wanted(state=DeliveryState.DELIVERED)

    whole = event_search.page(connection, ADMIN, wanted, limit=2, seconds=60)
    assert [row[2] for row in whole.rows] == [sent[200]]
    assert whole.looked_to is None

    cut = event_search.page(connection, ADMIN, wanted, limit=2, seconds=0)
    assert cut.rows == []
    assert cut.looked_to is not None, "there may be more, and this is where to go on"


def test_a_list_of_the_api_that_runs_out_of_time_goes_on_where_it_ended(
    client: FlaskClient,
    connection: Connection,
    sent: dict[int | None, UUID],
    shop: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_search, "LOOK", 2)
    monkeypatch.setattr(event_search, "page", partial(event_search.page, seconds=0))
    query = "/events?state=delivered&limit=1"
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        answer = client.get(query + (f"&cursor={cursor}" if cursor else ""), headers=shop.headers)
        assert answer.status_code == 200
        found += [UUID(event["id"]) for event in answer.json["data"]]
        cursor, pages = answer.json["next_cursor"], pages + 1
    assert found == [sent[200]]
    assert pages == 4


def test_a_page_is_read_in_one_statement_so_that_a_purge_leaves_no_hole(
    connection: Connection, sent: dict[int | None, UUID], shop: TestUser
) -> None:
    (of_one,) = connection.scalars(
        text("SELECT transaction_id FROM events WHERE id = :id"), {"id": sent[404]}
    )
    seen: list[str] = []

    def note(*given: Any) -> None:
        seen.append(given[2])

    event.listen(connection.engine, "before_cursor_execute", note)
    try:
        for actor, wanted in (
            (ADMIN, Wanted()),
            (shop.actor, Wanted()),
            (ADMIN, Wanted(user_id=shop.id, transaction_id=of_one)),
            (shop.actor, Wanted(transaction_id=of_one)),
        ):
            before = len(seen)
            assert event_search.page(connection, actor, wanted, limit=3).rows
            assert len(seen) - before == 1, (actor, wanted)
    finally:
        event.remove(connection.engine, "before_cursor_execute", note)


def test_rare_types_are_found_without_a_look_at_the_others(
    connection: Connection, sent: dict[int | None, UUID], shop: TestUser
) -> None:
    connection.execute(
        text(
            "INSERT INTO events (user_id, id, endpoint_id, type, sequence, payload)"
            " VALUES (:user, :id, :user, 'ping', 1, '{}')"
        ),
        {"user": shop.id, "id": shop.id},
    )
    for _ in range(3):
        event_search.find(connection, ADMIN, Wanted(), limit=1)

    found = event_search.find(connection, ADMIN, Wanted(type="ping"), limit=5, look=1)

    assert [key.id for key in found.keys] == [shop.id]


def test_a_set_is_sent_anew_as_far_as_it_can_be(
    connection: Connection, sent: dict[int | None, UUID]
) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1)
    wanted = Wanted(state=DeliveryState.DEAD, created_to=at)
    assert set_replay_service.preview(connection, ADMIN, wanted, at).events == 4

    done = set_replay_service.replay(connection, ADMIN, ORIGIN, wanted)

    assert (done.events, done.deliveries, done.requeued) == (4, 4, 4)
    due = text("SELECT event_id FROM deliveries WHERE state = 'waiting' AND lease IS NULL")
    assert set(connection.scalars(due)) == {sent[code] for code in (0, 404, 503, None, 302)}
    under_way = text(
        "UPDATE deliveries SET lease = gen_random_uuid(),"
        " next_attempt_at = clock_timestamp() + interval '1 minute' WHERE event_id = :id"
    )
    connection.execute(under_way, {"id": sent[404]})
    again = set_replay_service.replay(connection, ADMIN, ORIGIN, Wanted(created_to=at))
    assert (again.deliveries, again.requeued) == (6, 5), "what is under way is left alone"
    noted = connection.scalars(
        text("SELECT after FROM audit_log WHERE action = 'events.replayed' ORDER BY id")
    ).all()
    assert noted[0]["state"] == "dead"
    assert noted[0]["requeued"] == 4


def test_nothing_goes_to_an_endpoint_that_is_not_called(
    connection: Connection, sent: dict[int | None, UUID]
) -> None:
    connection.execute(
        text(
            "UPDATE webhook_endpoints SET disabled_at = clock_timestamp(),"
            " disabled_reason = 'owner'"
        )
    )
    wanted = Wanted(state=DeliveryState.DEAD, created_to=datetime.now(UTC) + timedelta(seconds=1))

    done = set_replay_service.replay(connection, ADMIN, ORIGIN, wanted)

    assert (done.deliveries, done.requeued) == (4, 0)


def test_old_ones_are_told_and_a_set_without_an_end_is_refused(
    connection: Connection, sent: dict[int | None, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_replay_service, "MOST_EVENTS", 2)
    later = datetime.now(UTC) + timedelta(days=2)
    wanted = Wanted(state=DeliveryState.DEAD, created_to=later)

    outlook = set_replay_service.preview(connection, ADMIN, wanted, later)

    assert (outlook.events, outlook.stale, outlook.more) == (2, 2, True)
    with pytest.raises(InvalidInput):
        set_replay_service.replay(connection, ADMIN, ORIGIN, Wanted())
