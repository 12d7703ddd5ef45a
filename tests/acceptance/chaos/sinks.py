"""The receivers of a run as the run sees them: their process, their moods, their log."""

from __future__ import annotations

import http.client
import json
import random
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.chaos import sink
from tests.acceptance.processes import Commands, until
from tests.ports import free_port

ROOT = Path(__file__).parents[3]

STEADY, MOODY, GONE, DOWN = "steady", "moody", "gone", "down"

# A moody receiver is well about half of the time.
MOODS = [sink.OK, sink.OK, sink.OK, sink.MIXED, sink.MIXED, sink.HANG, sink.DRIP]
MOODS += [sink.GARBAGE, sink.CUT, "500", "429", "302"]


@dataclass
class Sinks:
    """All receivers; those named in ``moody`` change their moods."""

    port: int
    moody: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/e/{name}"

    def tell(self, secrets: Mapping[str, str]) -> None:
        """Say what the signatures must be made with."""
        self._ask("PUT", "/-/secrets", secrets)

    def feel(self, moods: Mapping[str, str]) -> None:
        self.seen |= set(moods.values())
        self._ask("PUT", "/-/moods", moods)

    def change_moods(self, chance: random.Random) -> None:
        self.feel({name: chance.choice(MOODS) for name in self.moody})

    def heal(self) -> None:
        """From now on all are well that can be."""
        self.feel(dict.fromkeys(self.moody, sink.OK))

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", "/-/report", None)
        return found

    def answers(self) -> bool:
        try:
            self._ask("PUT", "/-/moods", {})
        except OSError:
            return False
        return True

    def _ask(self, method: str, path: str, what: Any) -> Any:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as link:
            link.request(method, path, None if what is None else json.dumps(what))
            with closing(link.getresponse()) as answer:
                said = answer.read()
                assert answer.status == 200, answer.status
                return json.loads(said) if said else None


def start_sinks(starter: Commands) -> Sinks:
    """Start the receivers' process and wait until it answers."""
    sinks = Sinks(free_port())
    command = [sys.executable, "-P", "-m", "tests.acceptance.chaos.sink", str(sinks.port)]
    running = starter.launch(command, {"PYTHONPATH": str(ROOT)})
    until(lambda: sinks.answers() or running.process.poll() is not None, "the receivers answer")
    assert running.process.poll() is None, running.logged
    return sinks
