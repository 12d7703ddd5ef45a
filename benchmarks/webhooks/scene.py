"""What webhooks are measured on: the stage, the receiver, and questions to it."""

from __future__ import annotations

import http.client
import json
import secrets
import sys
from base64 import b64encode
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.metering import cpu_seconds
from benchmarks.rounds import Distorted
from benchmarks.stage import HERE, Stage, free_port

AT_ONCE, SLOW, HANGING = "/at-once", "/slow", "/hang"


# Our own programs are found wherever we are started.
OURS = {"PYTHONPATH": str(HERE.parent)}


def program(name: str) -> list[str]:
    """Return the command that runs one of this package's modules."""
    return [sys.executable, "-m", f"benchmarks.webhooks.{name}"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the receiver has seen: the first arrival of each message, by the machine's clock."""

    arrivals: dict[str, float]
    requests: int
    verified: int
    forged: int

    @property
    def doubled(self) -> int:
        """How many requests came for messages that were there already."""
        return self.requests - len(self.arrivals)


@dataclass(frozen=True, slots=True)
class Receiver:
    """The receiver's process, and the secret that it verifies by."""

    port: int
    pid: int
    secret: str

    def url(self, path: str) -> str:
        """Return the URL of one of its paths."""
        return f"http://127.0.0.1:{self.port}{path}"

    def reset(self) -> None:
        """Let it forget what it has seen."""
        self._ask("/reset")

    def count(self) -> int:
        """Return how many different messages have come."""
        return int(self._ask("/count")["messages"])

    def report(self) -> Seen:
        """Return all that has come since the last reset."""
        told = self._ask("/report")
        return Seen(told["arrivals"], told["requests"], told["verified"], told["forged"])

    def _ask(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10.0)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def receiving(stage: Stage) -> Iterator[Receiver]:
    """Run a receiver while the block runs."""
    port = free_port()
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    command = [*program("receiver"), str(port), secret]
    with stage.serving("receiver", command, port, {**stage.surroundings(), **OURS}) as process:
        yield Receiver(port, process.pid, secret)


def check_seen(name: str, seen: Seen, wanted: Set[str]) -> None:
    """Prove that each message came, nothing else did, and that the signatures are good.

    Raises:
        Distorted: some message is missing or unknown, or a signature is wrong.
    """
    missing, unknown = wanted - seen.arrivals.keys(), seen.arrivals.keys() - wanted
    if missing or unknown or seen.forged or not seen.verified:
        raise Distorted(
            f"{name}: of {len(wanted)} messages {len(missing)} did not come; {len(unknown)} are"
            f" unknown; {seen.forged} of {seen.verified} signatures are wrong"
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor seconds so far."""

    sender: float
    database: float
    broker: float
    receiver: float

    @classmethod
    def now(cls, stage: Stage, receiver: Receiver, senders: list[int]) -> Costs:
        """Read them of the whole process trees."""
        return cls(
            sum(map(cpu_seconds, senders)),
            cpu_seconds(stage.postgres.process.pid),
            cpu_seconds(stage.valkey.process.pid),
            cpu_seconds(receiver.pid),
        )
