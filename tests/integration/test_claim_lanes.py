"""Lanes: how much an endpoint has under way, whoever claims, and what its failures lead to."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import Engine, text

from standart.services import webhook_service, webhook_sql
from standart.services.webhook_service import PATIENCE, SHORTEST_PAUSE
from standart.services.webhook_work import ClaimedDelivery
from tests.integration.concurrency import blocked, together, uncommitted
from tests.integration.mail import BAD, GOOD, Mail, by_endpoint, result

THREADS = 8


def claim_at_once(mail: Mail, batch: int, times: int = 1) -> list[ClaimedDelivery]:
    """What eight threads claim that begin together, each so many times."""

    def act() -> list[ClaimedDelivery]:
        return [each for _ in range(times) for each in mail.claimed(batch)]

    return [each for claimed in together([act] * THREADS) for each in claimed]


def test_eight_threads_lease_each_delivery_once(mail: Mail) -> None:
    shop = mail.shop()
    endpoints = mail.endpoints(shop, 6)
    for each in endpoints:
        mail.lane(each, room=100)
        mail.pile(shop, each, 60)

    claimed = claim_at_once(mail, 20, times=12)
    while more := mail.claimed(200):
        claimed += more

    assert len(claimed) == len({each.id for each in claimed}) == 360
    assert by_endpoint(claimed) == dict.fromkeys(endpoints, 60)
    # A lease stands in the row exactly as its holder has it.
    leases = {each.id: each.lease for each in claimed}
    with mail.engine.connect() as connection:
        rows = connection.execute(text("SELECT id, lease, attempt_count FROM deliveries")).all()
    assert {row.id: row.lease for row in rows} == leases
    assert {row.attempt_count for row in rows} == {1}


@pytest.mark.parametrize("room", [1, 5, 8])
def test_eight_threads_never_have_more_under_way_than_the_endpoint_has_room(
    mail: Mail, room: int
) -> None:
    shop = mail.shop()
    tight, wide = mail.endpoints(shop, 2)
    mail.lane(tight, room=room)
    mail.lane(wide, room=100)
    mail.pile(shop, tight, 50)
    mail.pile(shop, wide, 50)

    claimed = claim_at_once(mail, 20, times=6)
    while more := mail.claimed():
        claimed += more

    assert by_endpoint(claimed) == {tight: room, wide: 50}


def test_the_end_of_a_lease_makes_room_again(mail: Mail) -> None:
    shop = mail.shop()
    mail.lane(shop.id, room=2)
    mail.pile(shop, count=5)
    lost = mail.claimed()
    assert len(lost) == 2

    mail.pass_time(webhook_service.LEASE_SECONDS)

    again = mail.claimed()
    assert len(again) == 2
    assert {each.lease for each in again} != {each.lease for each in lost}


def test_a_lane_that_somebody_holds_is_left_to_him(mail: Mail, engine: Engine) -> None:
    shop = mail.shop()
    held, free = mail.endpoints(shop, 2)
    mail.pile(shop, held)
    mail.pile(shop, free)

    with uncommitted(engine) as other:
        other.execute(
            text("SELECT FROM webhook_lanes WHERE endpoint_id = :id FOR NO KEY UPDATE"),
            {"id": held},
        )
        assert by_endpoint(mail.claimed()) == {free: 1}
        other.rollback()
    assert by_endpoint(mail.claimed()) == {held: 1}


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ("open_until = clock_timestamp() + interval '1 hour'", 0),
        ("free_at = clock_timestamp() + interval '1 hour'", 0),
        ("room = 2", 2),
        ("failures = 9", 1),
    ],
)
def test_what_a_lane_has_become_meanwhile_counts(
    mail: Mail,
    engine: Engine,
    superuser: Engine,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    taken: int,
) -> None:
    """A claim that saw the lane as it was locks it as it is."""
    held_up = webhook_sql.HOLD_LANES.text.replace(
        "walk AS (", "door AS MATERIALIZED (SELECT pg_advisory_xact_lock(42)), walk AS (", 1
    ).replace("FROM reached r JOIN", "FROM door CROSS JOIN reached r JOIN", 1)
    monkeypatch.setattr(webhook_sql, "HOLD_LANES", text(held_up))
    shop = mail.shop()
    mail.pile(shop, count=20)

    with uncommitted(engine) as other:
        other.execute(text("SELECT pg_advisory_xact_lock(42)"))
        with blocked(superuser, mail.claimed) as claim:
            mail.do(f"UPDATE webhook_lanes SET {change}")
            other.rollback()
            assert len(claim.result()) == taken


def test_room_grows_with_each_success_and_shrinks_faster_with_failures(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=400)
    rooms = [mail.lane(shop.id).room]
    for _ in range(5):
        claimed = mail.claimed(200)
        assert len(claimed) == rooms[-1]
        mail.answer(claimed, GOOD)
        rooms.append(mail.lane(shop.id).room)
    assert rooms == [8, 16, 32, 64, 100, 100]

    claimed = mail.claimed(200)
    mail.record(*[(each, BAD if n % 10 == 0 else GOOD) for n, each in enumerate(claimed)])
    assert mail.lane(shop.id).room == 100, "one in ten fails for a reason of its own"
    claimed = mail.claimed(40)
    mail.record(*[(each, BAD if n % 2 else GOOD) for n, each in enumerate(claimed)])
    lane = mail.lane(shop.id)
    assert (lane.room, lane.failures, lane.failing_since) == (100 + 20 - 4 * 20, 0, None)
    mail.answer(mail.claimed(20), BAD)
    assert mail.lane(shop.id).room == 1


def test_failures_in_a_row_open_the_breaker_for_what_is_new_as_well(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=20)
    first, *rest = mail.claimed()
    mail.answer([first], BAD)
    lane = mail.lane(shop.id)
    assert (lane.failures, lane.open_until) == (1, None)
    assert lane.failing_since is not None

    # What is under way together and fails together says no more than its first five.
    mail.answer(rest[:5], BAD)
    opened = mail.lane(shop.id)
    assert opened.failures == PATIENCE
    assert 0.8 * SHORTEST_PAUSE - 1 < opened.open_for <= 1.2 * SHORTEST_PAUSE
    mail.answer(rest[5:], BAD)
    later = mail.lane(shop.id)
    assert (later.failures, later.open_until) == (PATIENCE, opened.open_until)
    assert later.failing_since == lane.failing_since

    mail.pile(shop, count=5)
    assert mail.claimed() == [], "their first tries wait too"
    mail.pass_time(10)
    assert len(mail.claimed()) == 1


def test_a_failing_endpoint_is_probed_once_for_each_pause(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=300)
    mail.fail(shop.id)
    mail.lane(shop.id, room=50)

    pauses = []
    for _ in range(6):
        [probe] = claim_at_once(mail, 20)
        assert claim_at_once(mail, 20) == [], "one is under way"
        mail.answer([probe], BAD)
        assert claim_at_once(mail, 20) == [], "the pause has begun"
        pauses.append(mail.lane(shop.id).open_for)
        mail.pass_time(pauses[-1])

    for pause, wanted in zip(pauses, [10, 20, 40, 60, 60, 60], strict=True):
        assert 0.8 * wanted - 1 < pause <= 1.2 * wanted
    assert mail.lane(shop.id).failures == PATIENCE + 6


def test_a_probe_whose_worker_died_is_followed_by_another(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=10)
    mail.fail(shop.id)
    assert len(mail.claimed()) == 1
    assert mail.claimed() == []
    mail.pass_time(webhook_service.LEASE_SECONDS)
    assert len(mail.claimed()) == 1


def test_a_success_closes_the_breaker_and_the_room_grows_again(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=300)
    mail.fail(shop.id, times=40)

    under_way = []
    for _ in range(7):
        claimed = mail.claimed(200)
        under_way.append(len(claimed))
        mail.answer(claimed, GOOD)
        lane = mail.lane(shop.id)
        assert (lane.failures, lane.failing_since, lane.open_until) == (0, None, None)

    assert under_way == [1, 2, 4, 8, 16, 32, 64]


def test_a_late_success_closes_a_breaker_that_is_open(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=30)
    slow, *rest = mail.claimed()
    mail.answer(rest, BAD)
    assert mail.lane(shop.id).open_until is not None

    mail.answer([slow], GOOD)

    lane = mail.lane(shop.id)
    assert (lane.failures, lane.open_until) == (0, None)
    assert len(mail.claimed()) == lane.room


def test_a_healthy_lane_at_its_full_room_is_never_written(mail: Mail) -> None:
    shop = mail.shop()
    mail.lane(shop.id, room=webhook_service.ROOM)
    mail.pile(shop, count=20)
    before = mail.one("SELECT xmin, ctid FROM webhook_lanes")
    mail.answer(mail.claimed(), GOOD)
    assert mail.one("SELECT xmin, ctid FROM webhook_lanes") == before


def test_threads_that_claim_and_record_together_lose_and_double_nothing(mail: Mail) -> None:
    shop = mail.shop()
    endpoints = mail.endpoints(shop, 5)
    for each in endpoints:
        mail.pile(shop, each, 40)

    def work() -> list[ClaimedDelivery]:
        done: list[ClaimedDelivery] = []
        for _ in range(15):
            claimed = mail.claimed(15)
            mail.answer(claimed, GOOD)
            done += claimed
        return done

    done = [each for each in together([work] * THREADS) for each in each]
    while more := mail.claimed(200):
        mail.answer(more, GOOD)
        done += more

    assert Counter(each.id for each in done).most_common(1)[0][1] == 1
    assert [mail.states(each) for each in endpoints] == [{"delivered": 40}] * 5
    assert mail.one("SELECT count(*) FROM attempts")[0] == 200


def test_workers_that_record_for_the_same_lanes_in_opposite_order_wait_and_go_on(
    mail: Mail, superuser: Engine, engine: Engine
) -> None:
    shop = mail.shop()
    first, second = mail.endpoints(shop, 2)
    for _ in range(20):
        mail.pile(shop, first, 4)
        mail.pile(shop, second, 4)
        claimed = mail.claimed(200)
        ways = [
            sorted(claimed[::2], key=lambda each: each.endpoint_id),
            sorted(claimed[1::2], key=lambda each: each.endpoint_id, reverse=True),
        ]
        assert together([lambda way=way: mail.answer(way, GOOD) for way in ways]) == [None, None]

    # And whoever comes second waits at the first lane, holding none.
    mail.pile(shop, first)
    mail.pile(shop, second)
    mail.lane(first, room=50)
    mail.lane(second, room=50)
    claimed = sorted(mail.claimed(), key=lambda each: each.endpoint_id, reverse=True)
    with uncommitted(engine) as other:
        lock = text("SELECT FROM webhook_lanes WHERE endpoint_id = :id FOR NO KEY UPDATE")
        other.execute(lock, {"id": first})
        with blocked(superuser, lambda: mail.answer(claimed, GOOD)) as recording:
            other.execute(lock, {"id": second})
            other.commit()
            assert recording.result() is None
    assert [mail.lane(each).room for each in (first, second)] == [51, 51]


REFUSED = result("http_404", 404)


def test_answers_4xx_take_no_room_from_a_receiver_that_is_alive(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=400)
    mail.lane(shop.id, room=100)
    for _ in range(4):
        claimed = mail.claimed(40)
        mail.record(*[(each, REFUSED if n % 4 else GOOD) for n, each in enumerate(claimed)])
        lane = mail.lane(shop.id)
        assert (lane.room, lane.failures, lane.failing_since) == (100, 0, None)
    mail.answer(mail.claimed(40), REFUSED)
    lane = mail.lane(shop.id)
    assert (lane.room, lane.failures, lane.open_until) == (100, 0, None)
    mail.record((mail.claimed(1)[0], GOOD))
    assert mail.lane(shop.id).failing_since is None


@pytest.mark.parametrize("status", [408, 425, 429])
def test_answers_4xx_that_ask_for_patience_are_failures_as_others(mail: Mail, status: int) -> None:
    shop = mail.shop()
    mail.pile(shop, count=5)
    mail.answer(mail.claimed(), result(f"http_{status}", status))
    lane = mail.lane(shop.id)
    assert (lane.room, lane.failures) == (1, PATIENCE)


def test_an_endpoint_that_only_answers_4xx_is_failing_all_the_same(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=300)
    mail.answer(mail.claimed(), REFUSED)
    assert mail.lane(shop.id).failures == 0
    mail.pass_time(webhook_service.REFUSING_SECONDS + 1)
    mail.answer(mail.claimed(), REFUSED)
    lane = mail.lane(shop.id)
    assert (lane.failures, lane.room) == (PATIENCE, 8)
    assert mail.claimed() == []
