"""What a run does to the parts; each fault heals what it broke. Numbers are those of the list.

How long an outage lasts is counted in lives that go on meanwhile, never in seconds.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

import psutil

from tests.acceptance.chaos.scene import Scene
from tests.acceptance.processes import STOP_PATIENCE, Running, until

Fault = Callable[[Scene, random.Random], None]

SHORTEST, LONGEST = 5, 40
FLUSHES = 20


def some(chance: random.Random) -> int:
    """For how many lives an outage lasts."""
    return chance.randint(SHORTEST, LONGEST)


def pool_child_killed(scene: Scene, chance: random.Random) -> None:
    """F5: a process of a prefork pool dies inside a batch."""
    scene.gets_busy()
    children = until(psutil.Process(scene.prefork.pid).children, "the pool has processes")
    for child in children:
        child.kill()
    scene.note_in_hand()
    until(lambda: not any(alive(child) for child in children), "they are replaced")


def worker_killed(scene: Scene, chance: random.Random) -> None:
    """F6: a whole worker dies inside a batch, and stays away for a while."""
    kill_inside_a_batch(scene, scene.worker)
    scene.lives.pass_on(some(chance))
    scene.restart_worker()


def all_workers_killed(scene: Scene, chance: random.Random) -> None:
    """F6, F7: nobody delivers and nobody sweeps for a while."""
    kill_inside_a_batch(scene, scene.worker, scene.prefork)
    scene.beat.kill()
    scene.lives.pass_on(some(chance))
    scene.restart_all_workers()


def beat_killed(scene: Scene, chance: random.Random) -> None:
    """F7: nobody asks for sweeps for a while."""
    scene.beat.kill()
    scene.lives.pass_on(some(chance))
    scene.restart_beat()


def second_beat(scene: Scene, chance: random.Random) -> None:
    """F8, F9: two beats ask two workers for the same."""
    other = scene.parts.beat()
    scene.lives.pass_on(some(chance))
    other.kill()


def broker_emptied(scene: Scene, chance: random.Random) -> None:
    """F10: FLUSHALL, again and again."""
    with scene.broker.client() as client:
        for _ in range(FLUSHES):
            client.flushall()
            scene.lives.pass_on(1)


def broker_killed(scene: Scene, chance: random.Random) -> None:
    """F11, F12: Valkey dies, stays away for a while and comes back empty."""
    scene.broker.kill()
    scene.lives.pass_on(some(chance))
    scene.broker.start_empty()


def broker_silent(scene: Scene, chance: random.Random) -> None:
    """F13: Valkey says nothing for a while."""
    pid = scene.broker.server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        scene.lives.pass_on(some(chance))
    finally:
        os.kill(pid, signal.SIGCONT)


def database_restarted(scene: Scene, chance: random.Random) -> None:
    """F16: PostgreSQL is told to restart; sessions are ended in order."""
    scene.database.end(signal.SIGINT)


def database_stopped_at_once(scene: Scene, chance: random.Random) -> None:
    """F16: PostgreSQL stops without a checkpoint, and recovers."""
    scene.database.end(signal.SIGQUIT)


def session_killed(scene: Scene, chance: random.Random) -> None:
    """F17: a backend dies, so PostgreSQL ends all sessions and recovers."""
    scene.database.kill_a_session()


def postmaster_killed(scene: Scene, chance: random.Random) -> None:
    """F17: PostgreSQL's parent dies."""
    scene.database.end(signal.SIGKILL)


def api_killed(scene: Scene, chance: random.Random) -> None:
    """F1: a process that answers requests dies under them."""
    scene.api.kill_worker()


def worker_told_and_killed(scene: Scene, chance: random.Random) -> None:
    """F35: SIGTERM inside a batch, and SIGKILL before it is finished."""
    scene.gets_busy()
    scene.worker.process.terminate()
    until(
        lambda: "stopping" in scene.worker.logged or scene.worker.process.poll() is not None,
        "it has heard",
        STOP_PATIENCE,
    )
    scene.worker.kill()
    scene.note_in_hand()
    scene.restart_worker()


def kill_inside_a_batch(scene: Scene, *victims: Running) -> None:
    """Kill them at a moment when webhooks are under way: they are stopped, and looked at first."""

    def caught() -> bool:
        scene.gets_busy()
        stopped = [
            each for victim in victims for each in (*victim.below(), psutil.Process(victim.pid))
        ]
        for each in stopped:
            each.suspend()
        if scene.leases():
            return True
        for each in stopped:
            each.resume()
        return False

    until(caught, "webhooks are under way in what is stopped")
    for victim in victims:
        victim.kill()
    scene.note_in_hand()


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


ALL: tuple[Fault, ...] = (
    api_killed,
    pool_child_killed,
    worker_killed,
    all_workers_killed,
    beat_killed,
    second_beat,
    broker_emptied,
    broker_killed,
    broker_silent,
    database_restarted,
    database_stopped_at_once,
    session_killed,
    postmaster_killed,
    worker_told_and_killed,
)
