"""Webhooks side by side: ``python -m benchmarks.webhooks``; ``docs/benchmarks.md`` explains.

All senders post to the same receiver, all databases are in the same fresh PostgreSQL with
fsync and synchronous commit, all queues in the same Valkey. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report import machine, rounds_as_json, write_json
from benchmarks.rounds import Distorted, Round, median_ratio, table
from benchmarks.stage import NotStarted, free_port, server_settings, staged
from benchmarks.webhooks import fairness, latency, throughput
from benchmarks.webhooks.scene import AT_ONCE, SLOW, Receiver, receiving
from benchmarks.webhooks.senders import BARE, NAIVE_2, NAIVE_8, ONE, TWO, Standart, contenders
from standart.embedded import EngineError

PATHS = {"at once": AT_ONCE, "after 50 ms": SLOW}

# What is compared, by how the receiver answers, and what the ratio of the rates should be.
AIMS = {
    "at once": ((ONE, NAIVE_2, 10.0), (ONE, NAIVE_8, 10.0), (ONE, BARE, 0.4), (TWO, ONE, 1.4)),
    "after 50 ms": ((ONE, NAIVE_2, 20.0), (ONE, NAIVE_8, 20.0), (ONE, BARE, 0.4), (TWO, ONE, 1.4)),
}
IDLE_AIM_MS = 300.0
BESIDE_AIM = 1.5
LIVE_AIM_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables and write the JSON file; return the exit code."""
    options = _options(arguments)
    try:
        measure(options)
    except (NotStarted, Distorted, EngineError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def measure(options: argparse.Namespace) -> None:
    """Run the chosen parts; write everything that was measured, and on what, after each.

    Raises:
        NotStarted, EngineError: something did not come up.
        Distorted: a round did not do what it reports.
    """
    content: dict[str, object] = {
        "machine": machine(),
        "options": {name: value for name, value in vars(options).items() if name != "json"},
    }
    with staged() as stage, receiving(stage) as receiver:
        content["postgres"] = server_settings(stage)
        standart = Standart(stage, receiver)
        for name in options.only or PARTS:
            content[name] = PARTS[name](standart, receiver, options)
            write_json(options.json, content)


def measure_throughput(
    standart: Standart, receiver: Receiver, options: argparse.Namespace
) -> dict[str, object]:
    """Compare the rates of all senders, and what each delivery costs."""
    senders = contenders(standart.stage, receiver, standart)
    found: dict[str, object] = {}
    for name, path in PATHS.items():
        result = throughput.measure(
            standart.stage, receiver, senders, path, rounds=options.rounds, seconds=options.seconds
        )
        compared = ratios(result.rounds, AIMS[name])
        print(f"\nThe receiver answers {name}.")
        print(table(result.rounds, ONE, head=throughput.HEAD, cells=throughput.row))
        for each in compared:
            print("{above} / {below}: {ratio:.2f} (aim {aim})".format_map(each))
        print(f"messages that came twice: {dict(result.doubled)}\n", flush=True)
        found[name] = {
            "ratios": compared,
            "doubled": dict(result.doubled),
            "contenders": rounds_as_json(result.rounds, "deliveries"),
        }
    print("sender, PostgreSQL, Valkey, receiver: processor seconds for 1,000 deliveries")
    return found


def ratios(
    rounds: Mapping[str, Sequence[Round]], aims: Sequence[tuple[str, str, float]]
) -> list[dict[str, object]]:
    """Return how the rates compare, and how they should."""
    return [
        {
            "above": above,
            "below": below,
            "ratio": round(median_ratio(rounds[above], rounds[below]), 3),
            "aim": aim,
        }
        for above, below, aim in aims
    ]


def measure_latency(
    standart: Standart, receiver: Receiver, options: argparse.Namespace
) -> dict[str, object]:
    """Measure how long a confirm takes to its receiver, alone and beside one that hangs."""
    idle, beside = latency.measure(
        standart, receiver, samples=options.samples, queued=options.queued
    )
    factor = beside.p95 / idle.p95
    print(f"p95 idle: {idle.p95:.0f} ms (aim {IDLE_AIM_MS:.0f}); beside: x {factor:.2f}", end="")
    print(f" (aim {BESIDE_AIM})")
    return {
        "aims": {"idle_p95_ms": IDLE_AIM_MS, "beside_to_idle": BESIDE_AIM},
        "beside_to_idle": factor,
        **{
            name: {"p50_ms": each.p50, "p95_ms": each.p95, "all_ms": each.milliseconds}
            for name, each in (("idle", idle), ("beside", beside))
        },
    }


def measure_fairness(
    standart: Standart, receiver: Receiver, options: argparse.Namespace
) -> dict[str, object]:
    """Measure how long live endpoints wait beside the pile of a dead one."""
    nobody = f"http://127.0.0.1:{free_port()}/"
    found = fairness.measure(
        standart, receiver, dead=options.dead, live=options.live, nobody=nobody
    )
    return {
        "aim_seconds": LIVE_AIM_SECONDS,
        **{each.dead: {"seconds": each.seconds, "plans": each.plans} for each in found},
    }


PARTS = {
    "throughput": measure_throughput,
    "latency": measure_latency,
    "fairness": measure_fairness,
}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each sender")
    parser.add_argument("--seconds", type=float, default=3, help="length of a round, about")
    parser.add_argument("--samples", type=int, default=60, help="confirms of each latency")
    parser.add_argument(
        "--queued", type=int, default=10_000, help="pile of the hanging receiver beside them"
    )
    parser.add_argument("--dead", type=int, default=100_000, help="pile of the dead endpoint")
    parser.add_argument("--live", type=int, default=1_000, help="deliveries of the live ones")
    parser.add_argument("--only", action="append", choices=PARTS, help="leave other parts out")
    parser.add_argument(
        "--json", type=Path, default=Path("build/benchmarks/webhooks.json"), help="file to write"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
