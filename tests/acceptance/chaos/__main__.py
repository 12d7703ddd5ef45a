"""``make chaos``: 20,000 events by default; prints its seed first, so that it can be repeated."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.acceptance.chaos.run import EVENTS, full, run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--keep", type=Path, help="a new folder for all logs, kept afterwards")
    options = parser.parse_args(arguments)
    # A second signal must not cut off the cleaning up after the first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    print(f"seed {options.seed}; again: make chaos ARGS='--seed {options.seed}'", flush=True)
    try:
        if options.keep:
            options.keep.mkdir(parents=True)
            figures = run(full(options.seed, options.events), options.keep, _tell)
        else:
            with tempfile.TemporaryDirectory(prefix="standart-chaos-") as folder:
                figures = run(full(options.seed, options.events), Path(folder), _tell)
    except AssertionError as finding:
        print(f"lost, seed {options.seed}:\n{finding}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(json.dumps(figures, indent=2))
    print(f"nothing was lost, seed {options.seed}")
    return 0


def _leave(number: int, frame: object) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
