"""Create over HTTP, beside a naive service and the bare database: ``python -m benchmarks.quick``.

All contenders write into the same fresh PostgreSQL with fsync and synchronous commit, each
into a database of its own, through the same unix socket. Rounds are interleaved, so that
whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.clients import Missing, wrk_binary
from benchmarks.contenders import MAKERS, STANDART, Contender, Load
from benchmarks.report import machine, rounds_as_json, write_json
from benchmarks.rounds import Distorted, Round, median_ratio, table
from benchmarks.stage import NotStarted, Stage, server_settings, staged
from standart.embedded import EngineError


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table and write the JSON file; return the exit code."""
    options = _options(arguments)
    load = Load(connections=options.connections, workers=options.workers)
    try:
        wrk_binary()
        with staged() as stage:
            chosen = [MAKERS[name] for name in MAKERS if name in (options.only or MAKERS)]
            contenders = [make(stage, load) for make in chosen]
            rounds = measure(stage, contenders, options)
            settings = server_settings(stage)
    except (Missing, NotStarted, Distorted, EngineError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    print("\n" + table(rounds, STANDART))
    print("server, PostgreSQL, client: processor milliseconds for each create")
    write_json(options.json, as_json(options, settings, rounds))
    return 0


def measure(
    stage: Stage, contenders: Sequence[Contender], options: argparse.Namespace
) -> dict[str, list[Round]]:
    """Warm every contender up, then run the rounds in turn.

    Raises:
        Distorted: a round failed, or its answers and its rows do not agree.
    """
    for contender in contenders:
        contender.round(stage, options.warmup)
    rounds: dict[str, list[Round]] = {contender.name: [] for contender in contenders}
    for number in range(1, options.rounds + 1):
        for contender in contenders:
            measured = contender.round(stage, options.seconds)
            rounds[contender.name].append(measured)
            print(f"round {number}  {contender.name}: {measured.rate:,.0f}/s", flush=True)
    return rounds


def as_json(
    options: argparse.Namespace, settings: Mapping[str, str], rounds: Mapping[str, list[Round]]
) -> dict[str, object]:
    """Return everything that was measured, and on what."""
    compared = [name for name in rounds if STANDART in rounds and name != STANDART]
    ratios = {name: round(median_ratio(rounds[STANDART], rounds[name]), 3) for name in compared}
    return {
        "machine": machine(),
        "postgres": dict(settings),
        "options": {name: vars(options)[name] for name in ("connections", "workers", "seconds")},
        "standart_to": ratios,
        "contenders": rounds_as_json(rounds),
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender")
    parser.add_argument("--seconds", type=int, default=5, help="length of a round")
    parser.add_argument("--warmup", type=int, default=3, help="seconds before the first round")
    parser.add_argument("--connections", type=int, default=32, help="connections of the client")
    parser.add_argument("--workers", type=int, default=2, help="processes of each HTTP server")
    parser.add_argument("--only", action="append", choices=MAKERS, help="leave the others out")
    parser.add_argument(
        "--json", type=Path, default=Path("build/benchmarks/quick.json"), help="file to write"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
