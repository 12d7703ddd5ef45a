"""The engine of a process: real threads, sockets and rows; who claims, who wakes, who ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from standart import delivery, tasks
from standart.delivery import Deliverer
from standart.services import endpoint_service, webhook_service
from standart.services.webhook_work import Claim, Latency
from standart.webhooks import sender, window
from standart.webhooks.window import Window
from tests.acceptance.receiver import Receiver, receiver
from tests.builders import TestUser
from tests.integration.concurrency import wait_until
from tests.integration.mail import Mail

LONG = 60.0


@pytest.fixture
def sink() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def shop(mail: Mail, sink: Receiver) -> TestUser:
    made = mail.shop(url=sink.url)
    sink.secret = made.webhook_secret
    return made


@pytest.fixture
def deliverer(app: Flask) -> Iterator[Deliverer]:
    made: Deliverer = app.extensions["standart.deliverer"]
    yield made
    made.stop()


@pytest.fixture
def pool(deliverer: Deliverer, sink: Receiver) -> Iterator[ThreadPoolExecutor]:
    """Threads for runs; whatever happens to the test, they come to their end."""
    with ThreadPoolExecutor(8) as executor:
        yield executor
        deliverer.stop()
        sink.release()


def lingering(deliverer: Deliverer, pool: ThreadPoolExecutor) -> Future[tuple[int, bool]]:
    """A run that has nothing to do and waits for more."""
    run = pool.submit(deliverer.run, linger=LONG)
    wait_until(lambda: deliverer._claiming is not None)
    return run


def good(mail: Mail, user: TestUser) -> int:
    return mail.states(user.id).get("delivered", 0)


def under_way(mail: Mail) -> int:
    return int(mail.one("SELECT count(*) FROM deliveries WHERE lease IS NOT NULL")[0])


def outcomes(mail: Mail, user: TestUser) -> list[str]:
    found = mail.one("SELECT array_agg(outcome) FROM attempts WHERE user_id = :id", id=user.id)[0]
    return list(found or ())


def test_a_second_task_wakes_the_first_which_sends_what_is_new_at_once(
    mail: Mail, app: Flask, deliverer: Deliverer, pool: ThreadPoolExecutor, shop: TestUser
) -> None:
    first = lingering(deliverer, pool)
    for number in (1, 2, 3):
        mail.pile(shop)
        with app.app_context():
            assert tasks.deliver.run() == 0
        wait_until(lambda number=number: good(mail, shop) == number)
        assert not first.done()
    deliverer.stop()
    assert first.result() == (3, False)


def test_what_was_asked_for_is_passed_on_if_nobody_has_seen_to_it(
    mail: Mail, deliverer: Deliverer, shop: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that comes when the last claim has looked and the end is not yet told."""
    monkeypatch.setattr(Window, "wake", lambda _: None)
    claim = webhook_service.claim_due
    passed_on: list[object] = []

    def claim_before_the_other(*arguments: Any, **options: Any) -> Claim:
        claimed = claim(*arguments, **options)
        mail.pile(shop)
        assert deliverer.run() == (0, False)
        monkeypatch.setattr(webhook_service, "claim_due", claim)
        return claimed

    monkeypatch.setattr(webhook_service, "claim_due", claim_before_the_other)
    assert deliverer.run(linger=0, pass_on=lambda: passed_on.append(None)) == (0, True)
    assert len(passed_on) == 1
    # Asked for before the last claim looked, it is done with.
    assert deliverer.run(linger=0, pass_on=lambda: passed_on.append(None)) == (1, False)
    assert len(passed_on) == 1


def test_a_run_whose_time_is_over_passes_on_while_its_last_attempts_are_under_way(
    mail: Mail,
    app: Flask,
    deliverer: Deliverer,
    pool: ThreadPoolExecutor,
    shop: TestUser,
    sink: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "RUN_SECONDS", 0.2)
    nudges: list[object] = []
    app.extensions["standart.nudge"] = lambda: nudges.append(None)
    sink.hold()
    mail.pile(shop)

    def task() -> int:
        with app.app_context():
            return int(tasks.deliver.run())

    first = pool.submit(task)
    wait_until(lambda: len(nudges) == 1)
    assert not first.done()

    # The next one claims, though the receiver still holds the first one's.
    monkeypatch.setattr(delivery, "RUN_SECONDS", LONG)
    mail.pile(shop)
    second = pool.submit(deliverer.run, linger=0)
    wait_until(lambda: len(sink.seen()) == 2)
    assert not first.done()
    sink.release()
    assert (first.result(), second.result()) == (1, (1, False))
    assert good(mail, shop) == 2


def test_told_to_stop_it_claims_nothing_more_and_records_what_is_under_way(
    mail: Mail,
    deliverer: Deliverer,
    pool: ThreadPoolExecutor,
    shop: TestUser,
    sink: Receiver,
) -> None:
    sink.hold()
    mail.pile(shop, count=3)
    run = pool.submit(deliverer.run, linger=LONG)
    wait_until(lambda: len(sink.seen()) == 3)

    # A signal may find this very thread inside; it must not wait for itself.
    with deliverer._lock:
        deliverer.stop()
    wait_until(lambda: deliverer._claiming is None)
    mail.pile(shop, count=2)
    assert deliverer.run() == (0, False)
    assert not run.done()
    sink.release()

    assert run.result() == (3, False)
    assert mail.states(shop.id) == {"delivered": 3, "waiting": 2}
    assert under_way(mail) == 0


def test_a_window_that_cannot_be_opened_blocks_nobody_after_it(
    mail: Mail, deliverer: Deliverer, shop: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.pile(shop)
    with monkeypatch.context() as patch:

        def broken(*_: object) -> None:
            raise OSError("too many open files")

        patch.setattr(sender, "Sender", broken)
        with pytest.raises(OSError, match="too many"):
            deliverer.run(linger=0)
    assert deliverer.run(linger=0) == (1, False)


def test_a_database_that_is_away_is_told_and_blocks_nobody_after_it(
    mail: Mail, deliverer: Deliverer, shop: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.pile(shop)
    with monkeypatch.context() as patch:

        def away(*_: object, **__: object) -> None:
            raise OperationalError("claim", None, Exception("away"))

        patch.setattr(webhook_service, "claim_due", away)
        with pytest.raises(OperationalError, match="away"):
            deliverer.run(linger=0)
    assert deliverer.run(linger=0) == (1, False)


def test_results_wait_for_a_database_that_is_away(
    mail: Mail, deliverer: Deliverer, shop: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "RETRY_SECONDS", 0.01)
    record = webhook_service.record_attempts
    failures = iter(range(5))

    def away_at_first(*arguments: Any, **options: Any) -> list[Latency]:
        if next(failures, None) is not None:
            raise OperationalError("record", None, Exception("away"))
        return record(*arguments, **options)

    monkeypatch.setattr(webhook_service, "record_attempts", away_at_first)
    mail.pile(shop, count=5)
    assert deliverer.run(linger=0) == (5, False)
    assert good(mail, shop) == 5


def test_a_result_that_cannot_be_written_takes_no_others_along(
    mail: Mail,
    deliverer: Deliverer,
    shop: TestUser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mail.pile(shop, count=6)
    odd = mail.one("SELECT id FROM deliveries LIMIT 1")[0]
    record = webhook_service.record_attempts

    def picky(connection: Any, results: Any, **options: Any) -> list[Latency]:
        if any(each.id == odd for each, _ in results):
            raise ValueError("no such text")
        return record(connection, results, **options)

    monkeypatch.setattr(webhook_service, "record_attempts", picky)
    deliverer.run(linger=0)
    assert mail.states(shop.id) == {"delivered": 5, "waiting": 1}
    assert f"an attempt of delivery {odd} cannot be recorded" in caplog.text


def test_a_secret_that_is_none_is_an_outcome_of_its_own(
    mail: Mail, deliverer: Deliverer, shop: TestUser, sink: Receiver
) -> None:
    broken = mail.shop(url=sink.url)
    box = endpoint_service.seal_secret(mail.keyring, broken.id, "whsec_ no base64")
    mail.do("UPDATE webhook_endpoints SET secret = :box WHERE id = :id", box=box, id=broken.id)
    mail.pile(broken)
    mail.pile(shop)
    deliverer.run(linger=0)
    assert outcomes(mail, broken) == ["unsigned"]
    assert outcomes(mail, shop) == ["delivered"]
    assert len(sink.seen()) == 1


def test_an_attempt_is_kept_as_it_was_with_what_is_secret_masked(
    mail: Mail, deliverer: Deliverer, shop: TestUser, sink: Receiver
) -> None:
    box = endpoint_service.seal_headers(mail.keyring, shop.id, {"x-door": "sesame"})
    mail.do("UPDATE webhook_endpoints SET headers = :box WHERE id = :id", box=box, id=shop.id)
    mail.pile(shop)
    deliverer.run(linger=0)

    attempt = mail.one("SELECT * FROM attempts")
    [tried] = sink.seen()
    assert tried.complaint == ""
    assert '"x-door":"***"' in attempt.request_headers
    assert "sesame" not in str(attempt)
    assert tried.id in attempt.request_headers
    assert tried.signature in attempt.request_headers
    assert (attempt.url, attempt.outcome, attempt.status_code) == (sink.url, "delivered", 200)


def test_a_round_over_many_endpoints_knows_what_is_due_first_and_does_not_spin(
    mail: Mail,
    deliverer: Deliverer,
    shop: TestUser,
    sink: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_service, "WALK", 2)
    endpoints = mail.endpoints(shop, 7, url=sink.url)
    for each in endpoints:
        mail.pile(shop, each)
    mail.do("UPDATE deliveries SET next_attempt_at = next_attempt_at + interval '1 hour'")
    claims: list[Claim] = []
    claim = webhook_service.claim_due

    def counted(*arguments: Any, **options: Any) -> Claim:
        claims.append(claim(*arguments, **options))
        return claims[-1]

    monkeypatch.setattr(webhook_service, "claim_due", counted)
    assert deliverer.run(linger=0) == (0, False)
    assert len(claims) == math.ceil(7 / 2)

    # Known from the first claim of a round only, and waited for all the same.
    mail.do(
        "UPDATE deliveries SET next_attempt_at = now() + interval '0.3 s' WHERE endpoint_id = :id",
        id=endpoints[0],
    )
    monkeypatch.setattr(window, "_BREATH", 0.001)
    assert deliverer.run(linger=1)[0] == 1


def test_two_processes_share_the_work_and_double_nothing(
    mail: Mail, make_app: Any, pool: ThreadPoolExecutor, sink: Receiver, shop: TestUser
) -> None:
    mail.lane(shop.id, room=100)
    mail.pile(shop, count=150)
    engines: list[Deliverer] = [make_app().extensions["standart.deliverer"] for _ in range(2)]
    runs = [pool.submit(each.run, linger=0.2) for each in engines]
    assert sum(each.result()[0] for each in runs) == 150
    assert len({each.id for each in sink.seen()}) == len(sink.seen()) == 150
    assert good(mail, shop) == 150
    assert all(each.complaint == "" for each in sink.seen())


def test_by_hand_all_is_sent_in_as_many_runs_as_it_takes(
    mail: Mail, app: Flask, shop: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RUN_SECONDS", 0.05)
    mail.pile(shop, count=60)
    with app.app_context():
        assert tasks.deliver_now() == 60
    assert good(mail, shop) == 60
