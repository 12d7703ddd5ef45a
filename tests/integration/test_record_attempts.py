"""Results: many in one statement, only by the holder of the lease, with all that was seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from standart.services import webhook_service
from standart.services.webhook_service import FAILING_SECONDS, LEASE_SECONDS
from standart.services.webhook_work import ClaimedDelivery
from tests.integration.mail import BAD, GOOD, SCHEDULE, Mail, result

GONE = result("http_410", 410)
UNSIGNED = result("unsigned", None)


@pytest.fixture
def rows(connection: Connection) -> Callable[..., list[Any]]:
    def rows(sql: str, **parameters: Any) -> list[Any]:
        return list(connection.execute(text(sql), parameters).all())

    return rows


def disabled(mail: Mail, endpoint_id: UUID) -> str | None:
    row = mail.one("SELECT disabled_reason FROM webhook_endpoints WHERE id = :id", id=endpoint_id)
    reason: str | None = row[0]
    return reason


def told(deliveries: list[ClaimedDelivery]) -> list[tuple[UUID, str, str]]:
    """Which endpoint hears which event about what."""
    events = [(each.endpoint_id, json.loads(each.body)) for each in deliveries]
    return sorted((to, event["type"], event["id"]) for to, event in events if "type" in event)


def test_many_results_of_many_endpoints_are_written_together(
    mail: Mail, rows: Callable[..., list[Any]]
) -> None:
    shop = mail.shop()
    endpoints = mail.endpoints(shop, 4)
    for each in endpoints:
        mail.lane(each, room=100)
        mail.pile(shop, each, 25)
    claimed = mail.claimed(200)
    outcomes = [(each, GOOD if n % 5 else BAD) for n, each in enumerate(claimed)]

    latencies = mail.record(*outcomes)

    assert len(latencies) == 80
    assert all(0 <= each.seconds < 60 and each.at_once for each in latencies)
    assert rows("SELECT state, lease, count(*) FROM deliveries GROUP BY 1, 2 ORDER BY 1") == [
        ("delivered", None, 80),
        ("waiting", None, 20),
    ]
    good = {each.id for each, outcome in outcomes if outcome is GOOD}
    assert {row.id for row in rows("SELECT id FROM deliveries WHERE state = 'delivered'")} == good
    assert rows("SELECT outcome, status_code, count(*) FROM attempts GROUP BY 1, 2 ORDER BY 1") == [
        ("delivered", 204, 80),
        ("http_500", 500, 20),
    ]


def test_a_lost_leases_result_is_dropped_among_others_that_count(
    mail: Mail, rows: Callable[..., list[Any]]
) -> None:
    shop, other = mail.shop(), mail.shop()
    mail.pile(shop)
    [lost] = mail.claimed()
    mail.pass_time(LEASE_SECONDS)
    [taken_over] = mail.claimed()
    mail.pile(other)
    [sound] = mail.claimed()
    assert lost.id == taken_over.id
    lane = mail.lane(shop.id)

    mail.record((lost, GONE), (sound, GOOD))

    assert rows("SELECT delivery_id, outcome FROM attempts") == [(sound.id, "delivered")]
    assert mail.lane(shop.id)[:2] == lane[:2]
    assert disabled(mail, shop.id) is None
    assert mail.states(shop.id) == {"waiting": 1}
    mail.answer([taken_over], GOOD)
    assert rows("SELECT number FROM attempts WHERE delivery_id = :id", id=lost.id) == [(2,)]


def test_a_result_that_comes_after_the_lease_counts_while_nobody_took_over(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop)
    claimed = mail.claimed()
    mail.pass_time(LEASE_SECONDS + 60)
    mail.answer(claimed, GOOD)
    assert mail.states(shop.id) == {"delivered": 1}
    assert mail.claimed() == []


def test_what_was_recorded_and_is_told_again_changes_nothing(mail: Mail) -> None:
    """An answer that was lost on its way back: the same results are written once more."""
    shop = mail.shop()
    mail.pile(shop, count=6)
    claimed = mail.claimed()
    mail.answer(claimed, BAD)
    before = mail.lane(shop.id)

    assert mail.record(*[(each, BAD) for each in claimed]) == []

    assert mail.lane(shop.id)[:4] == before[:4]
    assert mail.one("SELECT count(*) FROM attempts")[0] == 6


def test_gone_disables_that_endpoint_alone_and_all_others_are_told(mail: Mail) -> None:
    shop, stranger = mail.shop(), mail.shop()
    gone, other = mail.endpoints(shop, 2)
    unasked = mail.endpoint(shop, "transaction.*")
    stopped = mail.endpoint(shop, disabled_at=datetime.now(UTC), disabled_reason="owner")
    chosen = mail.endpoint(shop, "webhook_endpoint.*")
    mail.endpoint(stranger)
    mail.pile(shop, gone, 3)
    mail.pile(shop, other)
    claimed = mail.claimed()
    first, *rest = [each for each in claimed if each.endpoint_id == gone]

    mail.record((first, GONE), *[(each, GOOD) for each in claimed if each.endpoint_id == other])

    assert disabled(mail, gone) == "gone"
    assert [disabled(mail, each) for each in (other, chosen, shop.id)] == [None] * 3
    assert disabled(mail, stopped) == "owner"
    news = mail.claimed()
    told_to = [(each, "webhook_endpoint.disabled", str(gone)) for each in (other, unasked, chosen)]
    assert told(news) == sorted(told_to)
    body = json.loads(news[0].body)
    assert (body["status"], body["data"]["disabled_reason"]) == ("disabled", "gone")
    assert "secret" not in str(body).replace("previous_secret_until", "")
    audit = mail.one("SELECT object_id, after FROM audit_log WHERE action = 'endpoint.disabled'")
    assert audit[:] == (str(gone), {"reason": "gone"})

    # It says so again: nobody is told twice.
    mail.answer(rest, GONE)
    assert mail.states(gone) == {"dead": 3}
    assert mail.claimed() == []


def test_gone_from_a_url_that_was_changed_meanwhile_disables_nothing(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop)
    claimed = mail.claimed()
    mail.do("UPDATE webhook_endpoints SET url = 'https://new.example/'")
    mail.answer(claimed, GONE)
    assert disabled(mail, shop.id) is None
    assert mail.states(shop.id) == {"dead": 1}


def test_an_endpoint_that_only_failed_for_days_is_disabled_and_its_owner_told(mail: Mail) -> None:
    shop = mail.shop()
    failing, other = mail.endpoints(shop, 2)
    mail.pile(shop, failing, 8)
    mail.fail(failing)
    mail.answer(mail.claimed(), BAD)
    for _ in range(4):
        mail.pass_time((FAILING_SECONDS - 60) / 4)
        mail.answer(mail.claimed(), BAD)
    assert disabled(mail, failing) is None

    mail.pass_time(120)
    mail.answer(mail.claimed(1), BAD)

    assert disabled(mail, failing) == "failing"
    assert told(mail.claimed()) == [(other, "webhook_endpoint.disabled", str(failing))]


def test_a_failure_after_quiet_days_is_the_first_of_a_new_series(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop)
    mail.answer(mail.claimed(), BAD)
    mail.pass_time(FAILING_SECONDS + 60)
    mail.answer(mail.claimed(), BAD)
    assert disabled(mail, shop.id) is None
    since = mail.lane(shop.id).failing_since
    assert datetime.now(UTC) - since < timedelta(hours=1)


def test_the_way_to_a_first_delivery_counts_however_many_tries_it_took(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=2)
    good, late = mail.claimed()
    assert len(mail.record((good, GOOD), (late, BAD))) == 1
    mail.pass_time(10)
    mail.answer(mail.claimed(), UNSIGNED)
    mail.pass_time(60)
    [latency] = mail.record(*[(each, GOOD) for each in mail.claimed()])
    assert not latency.at_once
    # A replay is another way.
    mail.do(
        "UPDATE deliveries SET state = 'waiting', delivered_at = NULL, next_attempt_at = now(),"
        " schedule_start = attempt_count"
    )
    assert mail.record(*[(each, GOOD) for each in mail.claimed()]) == []


def test_what_we_could_not_sign_is_no_failure_of_the_receivers(
    mail: Mail, rows: Callable[..., list[Any]]
) -> None:
    shop = mail.shop()
    mail.pile(shop)
    before = mail.lane(shop.id)
    pauses = []
    for _ in range(9):
        [delivery] = mail.claimed()
        assert delivery.attempt == 1
        mail.answer([delivery], UNSIGNED)
        due = "extract(epoch FROM next_attempt_at - clock_timestamp())::float"
        pauses.append(mail.one(f"SELECT {due} FROM deliveries")[0])
        mail.pass_time(pauses[-1] + 1)
    for pause, wanted in zip(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600], strict=True):
        assert wanted - 5 < pause <= wanted
    assert mail.lane(shop.id)[:5] == before[:5]
    assert rows("SELECT count(*) FROM attempts") == [(9,)]
    # With the key back the schedule is as long as ever.
    for _ in range(len(SCHEDULE) + 1):
        mail.answer(mail.claimed(), BAD)
        mail.pass_time(3600)
    assert mail.states(shop.id) == {"dead": 1}
    assert rows("SELECT count(*) FROM attempts") == [(9 + len(SCHEDULE) + 1,)]


def test_one_success_in_five_days_keeps_an_endpoint(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=9)
    mail.fail(shop.id, times=1)
    mail.pass_time(FAILING_SECONDS + 60)
    good, *bad = mail.claimed()
    assert bad == []
    mail.answer([good], GOOD)
    mail.answer(mail.claimed(), BAD)
    assert disabled(mail, shop.id) is None
    since = mail.lane(shop.id).failing_since
    assert datetime.now(UTC) - since < timedelta(hours=1)


def test_an_attempt_keeps_headers_and_the_timing_of_its_phases(
    mail: Mail, rows: Callable[..., list[Any]]
) -> None:
    shop = mail.shop()
    mail.pile(shop)
    [delivery] = mail.claimed()
    seen = result(
        "delivered",
        200,
        duration_ms=321,
        request_headers={"webhook-id": "1", "x-door": "***"},
        response_headers={"server": "nginx"},
        dns_ms=1,
        connect_ms=20,
        tls_ms=300,
        first_byte_ms=4000,
    )

    mail.answer([delivery], seen)

    [row] = rows(
        "SELECT request_headers, response_headers, dns_ms, connect_ms, tls_ms, first_byte_ms,"
        " duration_ms FROM attempts"
    )
    assert json.loads(row.request_headers) == {"webhook-id": "1", "x-door": "***"}
    assert json.loads(row.response_headers) == {"server": "nginx"}
    assert row[2:] == (1, 20, 300, 4000, 321)


@pytest.mark.parametrize("odd", ["\0", "\udcff", "ы" * 5000, '"}\\', "\u2028"])
def test_nothing_that_a_receiver_says_takes_others_along(mail: Mail, odd: str) -> None:
    shop = mail.shop()
    mail.pile(shop, count=2)
    first, second = mail.claimed()
    headers = {f"x{odd}": odd}
    strange = result(excerpt=odd, error=odd, response_headers=headers, request_headers=headers)

    mail.record((first, strange), (second, GOOD))

    assert mail.states(shop.id) == {"waiting": 1, "delivered": 1}
    row = mail.one("SELECT excerpt, response_headers FROM attempts WHERE outcome <> 'delivered'")
    assert row.excerpt[:1] in {odd[:1], "\ufffd", "?"}
    assert len(json.loads(row.response_headers)) == 1


def test_the_schedule_ends_in_death_and_says_when_the_next_try_is(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop)
    mail.lane(shop.id, room=50)
    dues = []
    for _ in range(4):
        mail.answer(mail.claimed(), BAD)
        due = "extract(epoch FROM next_attempt_at - clock_timestamp())::float"
        dues.append(mail.one(f"SELECT {due} FROM deliveries")[0])
        mail.pass_time(3600)
    assert dues.pop() is None
    for due, wanted in zip(dues, SCHEDULE, strict=True):
        assert 0.8 * wanted - 1 < due <= 1.2 * wanted
    assert mail.states(shop.id) == {"dead": 1}


def test_recording_nothing_is_nothing(connection: Connection) -> None:
    assert webhook_service.record_attempts(connection, [], schedule=()) == []
