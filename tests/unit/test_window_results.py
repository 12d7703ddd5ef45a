"""What ends while former results are being written down is written down as well."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from standart.webhooks.window import Claimed, Window


def run_window(works, attempt, record, **options):
    """Run a window over lists of work, one for each claim; return how many were tried."""
    waiting = list(works)

    def claim(most):
        return Claimed(waiting.pop(0) if waiting else [], 0 if waiting else None)

    with ThreadPoolExecutor(2) as executor:
        window = Window(
            claim=claim, attempt=attempt, record=record, executor=executor, seconds=60, **options
        )
        return asyncio.run(window.run())


def test_results_that_come_while_others_are_written_are_not_lost():
    recorded = []
    first_is_being_written = threading.Event()

    async def attempt(work):
        if work == "first":
            return "done"
        # Begun before the first result is handed over, ended after that.
        while not first_is_being_written.is_set():
            await asyncio.sleep(0)
        return "done"

    def record(results):
        first_is_being_written.set()
        recorded.extend(work for work, _ in results)

    assert run_window([["second", "third", "first"]], attempt, record, linger=0) == 3
    assert sorted(recorded) == ["first", "second", "third"]


def test_it_claims_again_after_the_last_results_are_written():
    """They made room at their endpoints, so more may be had now."""
    written = threading.Event()
    claimed, recorded = [], []

    def claim(most):
        if not claimed:
            claimed.append("first")
            return Claimed(["first"], None)
        if written.is_set() and len(claimed) == 1:
            claimed.append("second")
            return Claimed(["second"], None)
        return Claimed([], None)

    async def attempt(work):
        return "done"

    def record(results):
        # Longer than the window would wait for more with nothing under way.
        threading.Event().wait(0.3)
        written.set()
        recorded.extend(work for work, _ in results)

    with ThreadPoolExecutor(2) as executor:
        window = Window(
            claim=claim, attempt=attempt, record=record, executor=executor, seconds=60, linger=0
        )
        assert asyncio.run(window.run()) == 2
    assert recorded == ["first", "second"]
