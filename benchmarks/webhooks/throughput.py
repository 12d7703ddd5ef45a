"""Throughput: rounds of all senders in turn, each proved by what receiver and database saw."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.rounds import Distorted, Round, cells, median_of, number
from benchmarks.stage import Stage
from benchmarks.webhooks.scene import Costs, Receiver, check_seen
from benchmarks.webhooks.senders import Crew, Pile, Sender

POLL_SECONDS = 0.1
WAIT_SECONDS = 120.0

# The first messages of a round: connections are opened and plans made. They do not count.
WARM_UP = 100
FEWEST, MOST = 100, 30_000

HEAD = ("deliveries/s", "slowest..fastest", "sender", "PostgreSQL", "Valkey", "receiver")


def row(rounds: Sequence[Round]) -> tuple[str, ...]:
    """Return the figures under ``HEAD``; the last four are processor ms for each delivery."""
    costs = ("server_cpu_ms", "database_cpu_ms", "broker_cpu_ms", "client_cpu_ms")
    return (*cells(rounds)[:2], *(number(median_of(rounds, name), 2) for name in costs))


def one_round(
    stage: Stage, receiver: Receiver, sender: Sender, path: str, count: int
) -> tuple[Round, int]:
    """Let ``sender`` send ``count`` messages; return the figures and how many came twice.

    The clock runs from the moment when they are let go until the last one is recorded.

    Raises:
        Distorted: some message did not come, or is not recorded as delivered.
    """
    with sender.at_work() as crew:
        _send(receiver, sender.name, crew, path, min(WARM_UP, count))
        pile = crew.pile(path, count)
        # Nobody pays for the dirty pages of the one before.
        stage.execute("CHECKPOINT")
        receiver.reset()
        before = Costs.now(stage, receiver, crew.pids)
        started = time.time()
        ended = _await(receiver, sender.name, pile)
        after = Costs.now(stage, receiver, crew.pids)
        seen = receiver.report()
    check_seen(sender.name, seen, pile.ids)
    measured = Round(
        done=count,
        seconds=ended - started,
        server_cpu=after.sender - before.sender,
        database_cpu=after.database - before.database,
        broker_cpu=after.broker - before.broker,
        client_cpu=after.receiver - before.receiver,
    )
    return measured, seen.doubled


def _send(receiver: Receiver, name: str, crew: Crew, path: str, count: int) -> None:
    pile = crew.pile(path, count)
    receiver.reset()
    _await(receiver, name, pile)


def _await(receiver: Receiver, name: str, pile: Pile) -> float:
    """Let the pile go; return the moment when the last of it was recorded."""
    deadline = time.monotonic() + WAIT_SECONDS
    pile.let_go()
    while time.monotonic() < deadline:
        if receiver.count() >= len(pile.ids) and (ended := pile.last_done()) is not None:
            return ended
        pile.tick()
        time.sleep(POLL_SECONDS)
    raise Distorted(
        f"{name}: after {WAIT_SECONDS:.0f} s {receiver.count()} of {len(pile.ids)} have come"
    )


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds on one path, by sender, and how many messages came more than once."""

    rounds: Mapping[str, list[Round]]
    doubled: Mapping[str, int]


def measure(
    stage: Stage,
    receiver: Receiver,
    senders: Sequence[Sender],
    path: str,
    *,
    rounds: int,
    seconds: float,
) -> Result:
    """Find out how many messages fill ``seconds``, then run the rounds in turn.

    Raises:
        Distorted: a round did not do what it reports.
    """
    counts = {}
    for sender in senders:
        tried, _ = one_round(stage, receiver, sender, path, FEWEST)
        tried, _ = one_round(stage, receiver, sender, path, _fill(tried.rate, 1.0))
        counts[sender.name] = _fill(tried.rate, seconds)
    measured: dict[str, list[Round]] = {sender.name: [] for sender in senders}
    doubled = dict.fromkeys(measured, 0)
    for turn in range(1, rounds + 1):
        for sender in senders:
            name = sender.name
            done, twice = one_round(stage, receiver, sender, path, counts[name])
            measured[name].append(done)
            doubled[name] += twice
            print(f"round {turn}  {path}  {name}: {done.rate:,.0f}/s", flush=True)
    return Result(measured, doubled)


def _fill(rate: float, seconds: float) -> int:
    return max(FEWEST, min(MOST, math.ceil(rate * seconds)))
