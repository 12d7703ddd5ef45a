"""Standart's create under several WSGI servers: ``python -m benchmarks.servers``.

Each server runs alone while it is measured, for pages that it shares with another one
would make its memory look smaller than it is. Rounds are interleaved all the same.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients import Missing, Wrk, wrk_binary
from benchmarks.contenders import Contender
from benchmarks.metering import memory_mb
from benchmarks.report import machine, rounds_as_json, write_json
from benchmarks.rounds import HEAD, Distorted, Round, aligned, cells
from benchmarks.stage import (
    NotStarted,
    Prepared,
    Stage,
    free_port,
    reference_packages,
    server_settings,
    staged,
)
from standart import serving
from standart.embedded import EngineError

APPLICATION = "standart.serving:application"

# gunicorn is no dependency of Standart: it is found where the references have it, after all
# of Standart's own packages.
GUNICORN = "import sys; sys.path.append({folder!r}); from gunicorn.app.wsgiapp import run; run()"


@dataclass(frozen=True, slots=True)
class Server:
    """One way to serve: a program, its processes and the threads of each."""

    program: str
    processes: int
    threads: int

    @property
    def name(self) -> str:
        """How the table calls it."""
        return f"{self.program} {self.processes} x {self.threads}"

    def command(self, port: int) -> list[str]:
        """Return the command that serves on a loopback port."""
        if self.program == "gunicorn gthread":
            return [
                *[sys.executable, "-P", "-c", GUNICORN.format(folder=str(reference_packages()))],
                *["--bind", f"127.0.0.1:{port}", "--workers", str(self.processes)],
                *["--worker-class", "gthread", "--threads", str(self.threads)],
                *["--keep-alive", "30", "--backlog", str(serving.BACKLOG), f"{APPLICATION}()"],
            ]
        return [
            *[sys.executable, "-P", "-m", "granian", "--interface", "wsgi", "--factory"],
            *["--host", "127.0.0.1", "--port", str(port), "--workers", str(self.processes)],
            *["--blocking-threads", str(self.threads), "--backlog", str(serving.BACKLOG)],
            *["--http1-buffer-size", str(serving.HTTP1_BUFFER_BYTES)],
            *["--http", "1", "--no-ws", "--log-level", "warning", APPLICATION],
        ]


SERVERS = (
    Server("granian", 1, 4),
    Server("granian", 1, 8),
    Server("granian", 2, 1),
    Server("granian", 2, 2),
    Server("granian", 2, 4),
    Server("granian", 2, 8),
    Server("granian", 2, 16),
    Server("gunicorn gthread", 2, 4),
    Server("gunicorn gthread", 2, 8),
)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table and write the JSON file; return the exit code."""
    options = _options(arguments)
    rounds: dict[str, list[Round]] = {server.name: [] for server in SERVERS}
    memory: dict[str, list[float]] = {server.name: [] for server in SERVERS}
    try:
        wrk_binary()
        with staged() as stage:
            prepared = stage.prepare("standart")
            for number in range(1, options.rounds + 1):
                for server in SERVERS:
                    measured, used = measure(stage, prepared, server, options)
                    rounds[server.name].append(measured)
                    memory[server.name].append(used)
                    rate = f"{measured.rate:,.0f}/s, {used:.0f} MB"
                    print(f"round {number}  {server.name}: {rate}", flush=True)
            settings = server_settings(stage)
    except (Missing, NotStarted, Distorted, EngineError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    print("\n" + table(rounds, memory))
    print("server, PostgreSQL, client: processor milliseconds for each create; PSS of the server")
    content = {
        "machine": machine(),
        "postgres": settings,
        "options": {name: vars(options)[name] for name in ("connections", "seconds")},
        "memory_mb": {name: round(statistics.median(own), 1) for name, own in memory.items()},
        "contenders": rounds_as_json(rounds),
    }
    write_json(options.json, content)
    return 0


def measure(
    stage: Stage, prepared: Prepared, server: Server, options: argparse.Namespace
) -> tuple[Round, float]:
    """Start a server, warm it up, measure a round; return it and the server's memory in MB."""
    port = free_port()
    # As many connections as threads, so that no thread waits for the pool.
    pool = {"STANDART_DATABASE_POOL_SIZE": str(server.threads)}
    environment = stage.environment(prepared.url, prepared.owner_url, **pool)
    with stage.serving(server.name, server.command(port), port, environment) as process:
        contender = Contender(
            name=server.name,
            client=Wrk(port=port, api_key=prepared.api_key, connections=options.connections),
            server_pid=process.pid,
            database=str(prepared.url.database),
        )
        contender.round(stage, options.warmup)
        measured = contender.round(stage, options.seconds)
        return measured, memory_mb(process.pid)


def table(rounds: Mapping[str, list[Round]], memory: Mapping[str, list[float]]) -> str:
    """Return the figures as a table."""
    lines: list[tuple[str, ...]] = [("processes x threads", *HEAD, "PSS MB")]
    for name, own in rounds.items():
        lines.append((name, *cells(own), f"{statistics.median(memory[name]):,.0f}"))
    return aligned(lines)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server")
    parser.add_argument("--seconds", type=int, default=5, help="length of a round")
    parser.add_argument("--warmup", type=int, default=2, help="seconds before each round")
    parser.add_argument("--connections", type=int, default=32, help="connections of the client")
    parser.add_argument(
        "--json", type=Path, default=Path("build/benchmarks/servers.json"), help="file to write"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
