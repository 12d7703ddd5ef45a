"""Rate limits: over any span no more than the rate and the burst allow, and no less either."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import Connection

from standart.services import webhook_service
from standart.services.webhook_service import BURST_SECONDS, ROOM
from standart.services.webhook_work import ClaimedDelivery
from tests.integration.concurrency import together
from tests.integration.mail import GOOD, Mail


def freed(mail: Mail, seconds: float) -> None:
    """Let so much time pass for the rate limits."""
    mail.do(
        "UPDATE webhook_lanes SET free_at = free_at - make_interval(secs => :seconds)",
        seconds=seconds,
    )


def burst(rate: int) -> int:
    """What may be sent at once after a rest: the bucket, and the one that empties it."""
    return math.floor(max(BURST_SECONDS, 1 / rate) * rate) + 1


@pytest.mark.parametrize(("rate", "step", "steps"), [(10, 0.1, 30), (50, 0.05, 40), (5, 0.2, 20)])
def test_over_a_span_an_endpoint_gets_what_its_rate_allows(
    mail: Mail, rate: int, step: float, steps: int
) -> None:
    shop = mail.shop()
    paced = mail.endpoint(shop, rate_limit=rate)
    mail.lane(paced, room=ROOM)
    mail.pile(shop, paced, 400)
    began = mail.one("SELECT extract(epoch FROM clock_timestamp())::float")[0]

    sent = 0
    for _ in range(steps):
        # Several claims at each moment: asking more often gives no more.
        for _ in range(3):
            claimed = mail.claimed(200)
            mail.answer(claimed, GOOD)
            sent += len(claimed)
        freed(mail, step)

    took = mail.one("SELECT extract(epoch FROM clock_timestamp())::float")[0] - began
    assert sent <= rate * (step * steps + took) + burst(rate)
    # What was saved beyond the burst while a claim took its time may be lost.
    assert sent >= math.floor(rate * step * (steps - 1))


def test_a_long_rest_saves_no_more_than_the_burst(mail: Mail) -> None:
    shop = mail.shop()
    paced = mail.endpoint(shop, rate_limit=100)
    mail.lane(paced, room=ROOM)
    mail.pile(shop, paced, 400)

    for rest in (0, 3600, 86_400):
        freed(mail, rest)
        assert burst(100) - 1 <= len(mail.claimed(200)) <= burst(100)
        mail.do(
            "UPDATE deliveries SET lease = NULL, state = 'dead', next_attempt_at = NULL"
            " WHERE lease IS NOT NULL"
        )


def test_eight_threads_keep_the_pace_of_one(mail: Mail) -> None:
    shop = mail.shop()
    paced = mail.endpoint(shop, rate_limit=1)
    mail.pile(shop, paced, 50)

    def act() -> list[ClaimedDelivery]:
        return [each for _ in range(4) for each in mail.claimed(10)]

    claimed = [each for claimed in together([act] * 8) for each in claimed]

    # Each one was paid for with a second, whatever the threads took.
    free_for, took = mail.one(
        "SELECT extract(epoch FROM free_at - min(d.updated))::float, count(*)"
        " FROM webhook_lanes, (SELECT next_attempt_at - interval '30 s' AS updated"
        "   FROM deliveries WHERE lease IS NOT NULL) AS d"
        " WHERE endpoint_id = :id GROUP BY free_at",
        id=paced,
    )
    assert len(claimed) == took
    assert free_for > took - 1.1


def test_one_attempt_a_second_is_possible_and_the_next_waits_its_second(mail: Mail) -> None:
    shop = mail.shop()
    paced = mail.endpoint(shop, rate_limit=1)
    mail.pile(shop, paced, 9)

    assert len(mail.claimed()) == 1
    mail.claimed()
    claim = mail.claim()
    assert claim.deliveries == []
    assert claim.soonest is not None
    assert 0 < claim.soonest <= 1
    assert not claim.full


def test_the_pace_costs_a_lane_nothing_while_nothing_is_claimed(mail: Mail) -> None:
    shop = mail.shop()
    paced = mail.endpoint(shop, rate_limit=10)
    mail.lane(paced, room=1)
    mail.pile(shop, paced, 5)
    assert len(mail.claimed()) == 1
    freed(mail, 60)
    before = mail.lane(paced).free_at

    assert mail.claimed() == [], "its room is taken"

    assert mail.lane(paced).free_at == before


def test_a_limit_that_was_lifted_is_forgotten(mail: Mail) -> None:
    shop = mail.shop()
    paced = mail.endpoint(shop, rate_limit=1)
    mail.lane(paced, room=ROOM)
    mail.pile(shop, paced, 40)
    mail.claimed()
    mail.do("UPDATE webhook_endpoints SET rate_limit = NULL WHERE id = :id", id=paced)
    freed(mail, 1)
    assert len(mail.claimed(30)) == 30


def test_the_alarm_hears_of_paced_endpoints_once_the_pace_does_not_explain_the_wait(
    mail: Mail, connection: Connection
) -> None:
    shop = mail.shop()
    paced = mail.endpoint(shop, rate_limit=1)
    mail.pile(shop, paced, 9)
    mail.do("UPDATE deliveries SET next_attempt_at = next_attempt_at - interval '1 hour'")
    assert 3600 <= webhook_service.oldest_due_seconds(connection) < 3700, "never called yet"

    assert len(mail.claimed()) == 1
    assert webhook_service.oldest_due_seconds(connection) < 60

    freed(mail, 600)
    assert 500 < webhook_service.oldest_due_seconds(connection) < 700
