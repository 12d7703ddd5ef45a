"""The window of attempts: what it claims, how much it holds, what it does when things fail."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from standart.webhooks import window as module
from standart.webhooks.window import Claimed, Window
from tests.unit.works import LONG, PATIENCE, Works, many, play, until


def test_all_is_tried_and_recorded_once_and_counted() -> None:
    works = Works(*many(1000))
    assert play(works) == 1000
    assert sorted(works.recorded) == sorted(many(1000))
    assert works.claimed_all == 1
    assert works.most_open <= 500
    assert max(works.asked) == module.BATCH


def test_a_slow_attempt_delays_no_other() -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: len(works.recorded) == 30)
        works.queue += many(20, "later")
        window.wake()
        await until(lambda: len(works.recorded) == 50)
        assert works.under_way == ["slow"]
        assert not running.done()
        works.gates["slow"].set()

    works = Works("slow", *many(30))
    works.gates["slow"] = asyncio.Event()
    assert play(works, script) == 51
    assert works.records[-1] == ["slow"]


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_it_refills_and_never_holds_more_than_its_size(size: int) -> None:
    works = Works(*many(150))
    assert play(works, size=size) == 150
    assert works.most_open <= size
    assert all(1 <= most <= size for most in works.asked)


def test_slow_attempts_leave_what_room_there_is_to_others() -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: works.under_way == many(10))
        works.queue.append("late")
        works.gates["w3"].set()
        await until(lambda: "late" in works.recorded)
        assert len(works.under_way) == 9
        for gate in works.gates.values():
            gate.set()

    works = Works(*many(10))
    works.gates = {each: asyncio.Event() for each in many(10)}
    assert play(works, script, size=10, poll=0.01) == 11
    assert works.most_open <= 10


def test_what_waits_to_be_recorded_counts_as_open() -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: works.claimed == 10 and not works.under_way)
        for _ in range(5):
            window.wake()
            await asyncio.sleep(0.001)
        assert works.claimed == 10
        works.may_record.set()

    works = Works(*many(100))
    works.may_record.clear()
    assert play(works, script, size=10) == 100
    assert works.most_open <= 10


def test_results_that_come_in_meanwhile_are_recorded_together() -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: works.under_way == many(25))
        works.may_record.clear()
        works.gates["w24"].set()
        await until(lambda: works.under_way == many(24))
        for each in many(24):
            works.gates[each].set()
        await until(lambda: not works.under_way)
        works.may_record.set()

    works = Works(*many(25))
    works.gates = {each: asyncio.Event() for each in many(25)}
    assert play(works, script) == 25
    assert works.records[0] == ["w24"]
    assert sorted(works.records[1]) == sorted(many(24))


def test_what_ends_while_results_are_handed_over_is_recorded_as_well() -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: works.under_way == many(2))
        works.may_record.clear()
        works.gates["w0"].set()
        await until(lambda: works.recording)
        works.gates["w1"].set()
        await until(lambda: not works.under_way)
        works.may_record.set()

    works = Works(*many(2))
    works.gates = {each: asyncio.Event() for each in many(2)}
    assert play(works, script) == 2
    assert works.records == [["w0"], ["w1"]]


def test_it_claims_again_once_the_last_results_are_written() -> None:
    """They made room at their endpoints, though nothing said that more may be had."""

    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: works.recording)
        await until(lambda: not works.under_way)
        works.queue.append("second")
        works.may_record.set()

    works = Works("first")
    works.may_record.clear()
    assert play(works, script) == 2
    assert works.records == [["first"], ["second"]]


def test_more_that_is_due_now_is_asked_for_at_once() -> None:
    """Nothing else would ask: the attempts hang, nobody wakes it, and the poll is an hour."""

    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: len(works.under_way) == 450)
        for gate in works.gates.values():
            gate.set()

    works = Works(*many(450))
    works.gates = {each: asyncio.Event() for each in many(450)}
    assert play(works, script) == 450


def test_an_attempt_that_ends_by_a_fault_of_ours_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    works = Works("fault1", *many(20), "fault2")
    assert play(works, size=4) == 20
    assert sorted(works.recorded) == sorted(many(20))
    assert caplog.text.count("an attempt could not be made") == 2


def test_a_claim_that_fails_with_nothing_under_way_is_the_callers() -> None:
    works = Works(*many(3))
    works.claim_errors = [ConnectionError("away")]
    with pytest.raises(ConnectionError, match="away"):
        play(works)
    assert works.claimed_all == 1


def test_a_claim_that_fails_while_attempts_are_under_way_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: works.under_way == ["slow"])
        works.queue += many(3)
        works.claim_errors = [ConnectionError("away")] * 4
        window.wake()
        await until(lambda: len(works.recorded) == 3)
        works.gates["slow"].set()

    works = Works("slow")
    works.gates["slow"] = asyncio.Event()
    assert play(works, script) == 4
    assert caplog.text.count("nothing could be claimed") == 4


def test_results_are_recorded_though_that_failed_at_first() -> None:
    works = Works(*many(30))
    works.record_errors = [ConnectionError("away")] * 5
    assert play(works) == 30
    assert sorted(works.recorded) == sorted(many(30))


def test_results_that_can_never_be_recorded_are_given_up_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "RECORD_SECONDS", 0)
    works = Works(*many(30))
    works.record_errors = [ConnectionError("away")]
    tried = play(works, size=10)
    assert tried == len(works.recorded) < 30
    assert f"{30 - tried} attempts are not recorded" in caplog.text


def test_woken_while_it_lingers_it_looks_again_at_once() -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        for name in ("one", "two"):
            await until(lambda: bool(works.asked) and not works.claimed - len(works.recorded))
            works.queue.append(name)
            # From another thread, as tasks do.
            await asyncio.get_running_loop().run_in_executor(None, window.wake)
            await until(lambda name=name: name in works.recorded)
        assert not running.done()
        works.stopped = True
        window.wake()

    works = Works()
    assert play(works, script, linger=LONG) == 2
    assert works.claimed_all == 1


def test_woken_while_it_claims_it_claims_once_more() -> None:
    works = Works()
    claim = works.claim

    def claim_and_be_woken(most: int) -> Claimed[str]:
        claimed = claim(most)
        if len(works.asked) == 1:
            works.queue.append("late")  # committed after the claim had looked
            loop.call_soon_threadsafe(woken.set)
            assert heard.wait(PATIENCE)
        return claimed

    works.claim = claim_and_be_woken  # type: ignore[method-assign]
    heard = threading.Event()

    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        nonlocal loop, woken
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        await woken.wait()
        window.wake()
        await asyncio.sleep(0)
        heard.set()

    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event
    assert play(works, script) == 1
    assert works.recorded == ["late"]


def test_told_to_stop_it_claims_nothing_more_and_finishes_the_rest() -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: len(works.under_way) == 2)
        works.stopped = True
        works.queue += many(5)
        window.wake()
        await until(lambda: works.claimed_all == 1)
        assert not running.done()
        for gate in works.gates.values():
            gate.set()

    works = Works("one", "two")
    works.gates = {"one": asyncio.Event(), "two": asyncio.Event()}
    assert play(works, script, linger=LONG) == 2
    assert sorted(works.recorded) == ["one", "two"]
    assert works.queue == many(5)


def test_told_to_stop_before_it_begins_it_claims_nothing() -> None:
    works = Works(*many(5))
    works.stopped = True
    assert play(works, linger=LONG) == 0
    assert (works.asked, works.claimed_all) == ([], 1)


def test_after_its_time_it_claims_nothing_more_and_finishes_the_rest() -> None:
    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: works.under_way == ["slow"])
        while not works.claimed_all:
            window.wake()
            await asyncio.sleep(0.001)
        works.queue += many(5)
        works.gates["slow"].set()

    works = Works("slow")
    works.gates["slow"] = asyncio.Event()
    assert play(works, script, linger=LONG, seconds=0.05) == 1
    assert works.queue == many(5)


def test_it_waits_for_what_is_due_soon_and_for_nothing_later() -> None:
    works = Works(again=0.01)
    claim = works.claim

    def due_at_the_third(most: int) -> Claimed[str]:
        if len(works.asked) == 2:
            works.queue, works.again = ["due"], LONG
        return claim(most)

    works.claim = due_at_the_third  # type: ignore[method-assign]
    assert play(works, linger=0.05) == 1
    assert works.recorded == ["due"]


def test_what_is_called_at_the_end_may_fail_and_nothing_is_lost() -> None:
    def fail() -> None:
        raise ConnectionError("away")

    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        await until(lambda: works.under_way == ["slow"])
        works.stopped = True
        window.wake()
        await asyncio.sleep(0)
        works.gates["slow"].set()

    works = Works("slow")
    works.gates["slow"] = asyncio.Event()
    works.end = fail  # type: ignore[method-assign]
    with pytest.raises(ConnectionError, match="away"):
        play(works, script)
    assert works.recorded == ["slow"]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_order_of_things_all_is_recorded_once(seed: int) -> None:
    chance = random.Random(seed)

    async def script(works: Works, window: Window[str, str], running: asyncio.Task[int]) -> None:
        gates = list(works.gates.values())
        chance.shuffle(gates)
        for gate in gates:
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            if chance.random() < 0.1:
                window.wake()
            if chance.random() < 0.05:
                works.record_errors.append(ConnectionError("away"))
            gate.set()

    works = Works(*many(300))
    works.gates = {each: asyncio.Event() for each in chance.sample(many(300), 200)}
    assert play(works, script, size=chance.choice([3, 40, 500])) == 300
    assert sorted(works.recorded) == sorted(many(300))
