"""One run: rounds of lives, a fault within each, then healing and the proof."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from tests.acceptance.chaos.faults import ALL, Fault
from tests.acceptance.chaos.proof import left_to_do, prove
from tests.acceptance.chaos.scene import Scene, opened
from tests.acceptance.chaos.sinks import GONE
from tests.acceptance.processes import until

EVENTS = 20_000
TIMES = 2
TTL_SECONDS = 20

EVENTS_OF_A_LIFE = 2
"""Each is told of when it is created and when it ends, however it does."""

OUTSIDE = 0.6
"""The share of lives that go over HTTP; the others call the services in this process."""

HEALING_SECONDS = 240.0
"""The longest pause of a probe, an ended lease and what has piled up, on a busy machine."""


@dataclass(frozen=True)
class Plan:
    """What a run does; the same seed makes the same schedule."""

    seed: int
    events: int
    faults: Sequence[Fault]
    ttl_seconds: int
    hurry: Callable[[Scene], None] = lambda scene: None
    """What a short run does so as not to wait for leases."""

    def schedule(self) -> list[Fault]:
        """The faults of this seed in their order."""
        order = list(self.faults)
        random.Random(f"{self.seed}/faults").shuffle(order)
        return order


def full(seed: int, events: int = EVENTS) -> Plan:
    """Every fault twice."""
    return Plan(seed=seed, events=events, faults=ALL * TIMES, ttl_seconds=TTL_SECONDS)


def run(
    plan: Plan, folder: Path, tell: Callable[[str], object] = lambda line: None
) -> dict[str, Any]:
    """Run ``plan`` in ``folder``; return the figures, or fail with what went wrong."""
    started = time.monotonic()
    with opened(folder, seed=plan.seed, ttl_seconds=plan.ttl_seconds, outside=OUTSIDE) as scene:
        _break(scene, plan, tell)
        broken = time.monotonic()
        tell("healing")
        scene.sinks.heal()
        plan.hurry(scene)
        until(lambda: _is_quiet(scene), "all is told, ended and folded", HEALING_SECONDS)
        healed = time.monotonic()
        figures = prove(scene)
        return {
            **figures,
            "lives": dict(scene.lives.counted),
            "faults": dict(Counter(fault.__name__ for fault in plan.faults)),
            "moods": sorted(scene.sinks.seen),
            "seconds under faults": round(broken - started),
            "seconds to heal": round(healed - broken),
        }


def _break(scene: Scene, plan: Plan, tell: Callable[[str], object]) -> None:
    """Let all lives pass, with one fault somewhere within each part of them."""
    chance = random.Random(f"{plan.seed}/moments")
    order = plan.schedule()
    lives = plan.events // EVENTS_OF_A_LIFE
    gone_at = chance.randrange(len(order))
    with scene.lives.running() as running:
        for number, fault in enumerate(order):
            scene.sinks.change_moods(chance)
            if number == gone_at:
                gone = [e.place.name for e in scene.endpoints if e.place.temper == GONE]
                scene.sinks.feel(dict.fromkeys(gone, "410"))
            share = lives * (number + 1) // len(order) - running.allowed
            running.allow(share)
            running.pass_on(int(share * chance.uniform(0.1, 0.6)))
            tell(f"{number + 1} of {len(order)}: {fault.__name__} after {running.done} lives")
            fault(scene, chance)
            running.pass_on(share)
    assert running.done == lives, running


def _is_quiet(scene: Scene) -> bool:
    with suppress(DBAPIError):
        return not any(left_to_do(scene).values())
    return False
