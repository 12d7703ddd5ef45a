"""The compiled clients: wrk for HTTP, pgbench for the bare database.

A client in Python would need more processor time than the servers that it measures.
"""

from __future__ import annotations

import json
import os
import re
import resource
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rounds import Distorted, Round

REQUESTS = Path(__file__).with_name("create.lua")

_RESULT = re.compile(r"^result (\{.*\})$", re.MULTILINE)
_PROCESSED = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: ([1-9]\d*)", re.MULTILINE)
_RATE = re.compile(r"^tps = ([\d.]+) \(without initial connection time\)", re.MULTILINE)


class Missing(Exception):
    """A program that is needed is not installed; the message says how to install it."""


def wrk_binary() -> str:
    """Return the path of wrk.

    Raises:
        Missing: it is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise Missing("wrk is needed as the HTTP client; on Debian and Ubuntu: apt-get install wrk")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrk:
    """Creates over HTTP with keep-alive connections, each with its own Idempotency-Key.

    A server that closes a connection after its answer is connected to again.
    """

    port: int
    api_key: str
    connections: int

    def run(self, seconds: float) -> Round:
        """Load the server for ``seconds``.

        Raises:
            Distorted: an answer was an error, or a connection broke.
        """
        command = [
            wrk_binary(),
            "--threads=1",
            f"--connections={self.connections}",
            f"--duration={seconds:.0f}s",
            "--timeout=10s",
            f"--script={REQUESTS}",
            f"http://127.0.0.1:{self.port}",
            "--",
            self.api_key,
            secrets.token_hex(6),
        ]
        output, cpu = _run(command, os.environ)
        found = _RESULT.search(output)
        if found is None:
            raise Distorted(f"wrk gave no result: {output.strip()}")
        result = json.loads(found[1])
        if result["refused"] or result["broken"] or result["timeouts"]:
            raise Distorted(f"not all requests succeeded: {result}")
        return Round(
            done=result["requests"],
            seconds=result["seconds"],
            p50_ms=result["p50_ms"],
            p99_ms=result["p99_ms"],
            client_cpu=cpu,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pgbench:
    """A script run over and over, each statement prepared once a connection."""

    binary: Path
    environment: Mapping[str, str]
    script: Path
    options: Sequence[str]
    connections: int

    def run(self, seconds: float | None) -> Round:
        """Load the database for ``seconds``, or as long as ``options`` say.

        Raises:
            Distorted: a statement failed.
        """
        command = [
            str(self.binary),
            "--no-vacuum",
            "--protocol=prepared",
            f"--client={self.connections}",
            "--jobs=2",
            *([] if seconds is None else [f"--time={seconds:.0f}"]),
            f"--file={self.script}",
            *self.options,
        ]
        output, cpu = _run(command, self.environment)
        processed, rate = _PROCESSED.search(output), _RATE.search(output)
        if processed is None or rate is None or _FAILED.search(output):
            raise Distorted(f"pgbench: {output.strip()}")
        done = int(processed[1])
        elapsed = done / float(rate[1])
        return Round(done=done, seconds=elapsed, client_cpu=cpu)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[str, float]:
    """Run a client; return its output and the processor seconds that it took.

    Raises:
        Distorted: it failed.
    """
    before = _children_cpu()
    done = subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Distorted(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout, _children_cpu() - before


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
