"""Deadlines of attempts: one timer for all, and nobody else's cancellation is taken for theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from standart.webhooks import loops
from standart.webhooks.deadlines import Deadlines


async def attempt(deadlines: Deadlines, work: Coroutine[Any, Any, object]) -> str:
    deadline = deadlines.start()
    try:
        await work
    except asyncio.CancelledError:
        if not deadline.was_the_only_reason():
            raise
        return "late"
    finally:
        deadlines.end(deadline)
    return "done"


@pytest.mark.parametrize("run", [asyncio.run, loops.run])
def test_what_takes_too_long_is_ended_and_the_others_are_not(run: Any) -> None:
    async def scene() -> list[str]:
        deadlines = Deadlines(0.5)
        forever = asyncio.Event()
        first = [attempt(deadlines, forever.wait()), attempt(deadlines, asyncio.sleep(0))]
        outcomes = await asyncio.gather(*first)
        # The timer has run out once; later ones have their own time.
        outcomes += await asyncio.gather(
            attempt(deadlines, forever.wait()), attempt(deadlines, asyncio.sleep(0))
        )
        deadlines.close()
        return outcomes

    assert run(scene()) == ["late", "done", "late", "done"]


def test_ones_that_begin_later_end_later() -> None:
    async def scene() -> list[str]:
        deadlines = Deadlines(0.5)
        ended: list[str] = []

        async def named(name: str) -> None:
            await attempt(deadlines, asyncio.Event().wait())
            ended.append(name)

        first = asyncio.create_task(named("first"))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(named("second"))
        await asyncio.gather(first, second)
        deadlines.close()
        return ended

    assert asyncio.run(scene()) == ["first", "second"]


def test_a_cancellation_from_elsewhere_passes_through() -> None:
    async def scene() -> None:
        deadlines = Deadlines(60)
        task = asyncio.create_task(attempt(deadlines, asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        deadlines.close()

    asyncio.run(scene())


def test_a_cancellation_at_the_same_moment_is_not_taken_for_the_deadline() -> None:
    async def scene() -> None:
        deadlines = Deadlines(0)
        task = asyncio.create_task(attempt(deadlines, asyncio.Event().wait()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        deadlines.close()

    asyncio.run(scene())


def test_closing_leaves_no_timer() -> None:
    async def scene() -> int:
        deadlines = Deadlines(60)
        await attempt(deadlines, asyncio.sleep(0))
        deadlines.close()
        deadlines.close()
        return len(asyncio.all_tasks())

    assert asyncio.run(scene()) == 1
