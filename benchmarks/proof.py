"""What proving the books takes, and what sealing costs a confirm: ``python -m benchmarks.proof``.

First a database is filled as a busy service leaves it, sealed by ``standart seal`` and proven by
``standart verify``, each a process of its own whose time and memory are measured. Then pgbench
runs Standart's own confirm statement with and without a sweep that seals every second beside
it, in interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import create_engine

from benchmarks import ledger
from benchmarks.clients import Pgbench
from benchmarks.fill import Options, fill
from benchmarks.metering import cpu_seconds
from benchmarks.report import machine, rounds_as_json, write_json
from benchmarks.rounds import HEAD, Distorted, Round, median_ratio, table
from benchmarks.stage import (
    NotStarted,
    Prepared,
    Stage,
    pgbench_environment,
    postgres_program,
    server_settings,
    shown,
    staged,
)
from standart.db import autocommit, make_engine
from standart.embedded import EngineError
from standart.encryption import Keyring
from standart.errors import Unavailable
from standart.services import seal_service
from standart.services.transaction_sql import SETTLE_BY_KEY

FILLED = "filled"
SEALED, UNSEALED = "sealed every second", "without seals"
_TEMPORARY = "SELECT temp_bytes FROM pg_stat_database WHERE datname = '{}'"


def prove(stage: Stage, transactions: int) -> dict[str, object]:
    """Fill a database, seal it and prove it; return what each of the two took.

    Raises:
        Distorted: a command failed, or the proof found something.
    """
    prepared = stage.prepare(FILLED)
    superuser = create_engine(stage.superuser(FILLED))
    fill(superuser, Keyring.parse(stage.encryption_keys), Options(transactions=transactions))
    superuser.dispose()
    result: dict[str, object] = {"transactions": transactions}
    for name, arguments in (("seal", ["seal", "--json"]), ("verify", ["verify", "--json"])):
        measured, said = _command(stage, prepared, arguments)
        result[name] = measured
        print(f"{name}: {measured}", flush=True)
        if name == "verify":
            result["covered"] = json.loads(said)["covered"]
    return result


def _command(
    stage: Stage, prepared: Prepared, arguments: Sequence[str]
) -> tuple[dict[str, float], str]:
    """Run a command of Standart; return seconds, megabytes and what it printed."""
    postgres = stage.postgres.process.pid
    temporary = int(str(stage.execute(_TEMPORARY.format(FILLED))[0][0]))
    spent, began = cpu_seconds(postgres), time.monotonic()
    path = stage.folder / "said.json"
    with path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "standart", *arguments],
            env=stage.environment(prepared.url, prepared.owner_url),
            stdout=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Distorted(f"standart {arguments[0]} ended with {process.returncode}")
    measured = {
        "seconds": round(time.monotonic() - began, 1),
        "own_cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "postgres_cpu_seconds": round(cpu_seconds(postgres) - spent, 1),
        "resident_megabytes": usage.ru_maxrss // 1024,
        "temporary_megabytes": (
            int(str(stage.execute(_TEMPORARY.format(FILLED))[0][0])) - temporary
        )
        >> 20,
    }
    return measured, path.read_text(encoding="utf-8")


def contenders(
    stage: Stage, prepared: Prepared, options: argparse.Namespace
) -> list[ledger.Contender]:
    """Make a merchant for each contender, with transactions to confirm and a script."""
    key, merchants = ledger.people(prepared, 1)
    rows = ledger.FASTEST * (options.warmup + options.rounds * options.seconds)
    made = []
    for label, name, owner in (
        ("sealed", SEALED, merchants[0]),
        ("unsealed", UNSEALED, merchants[1]),
    ):
        for statement in ledger.pending(label, [owner], rows):
            stage.execute(statement, ledger.DATABASE)
        sql, defines = ledger.confirm_script(label, key, SETTLE_BY_KEY[True, False])
        script = stage.folder / f"{label}.sql"
        script.write_text(sql, encoding="utf-8")
        client = Pgbench(
            binary=postgres_program("pgbench"),
            environment=pgbench_environment(prepared.url),
            script=script,
            options=defines,
            connections=options.connections,
        )
        made.append(ledger.Contender(name=name, label=label, client=client))
    stage.execute("VACUUM ANALYZE", ledger.DATABASE)
    return made


def seal(prepared: Prepared) -> None:
    """Seal what has been posted once, as the sweep does."""
    engine = make_engine(shown(prepared.url), pool_size=1)
    with autocommit(engine) as connection:
        seal_service.seal(connection)
    engine.dispose()


@contextmanager
def sealing(prepared: Prepared, every: float) -> Iterator[None]:
    """Seal on a timetable while the block runs."""
    engine = make_engine(shown(prepared.url), pool_size=1)
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(every):
            with autocommit(engine) as connection:
                try:
                    seal_service.seal(connection)
                except Unavailable:
                    continue  # somebody was posting for long; the next sweep goes on

    thread = threading.Thread(target=sweep, name="seal")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        engine.dispose()


def measure(
    stage: Stage, prepared: Prepared, options: argparse.Namespace
) -> dict[str, list[Round]]:
    """Warm up, then run the rounds in turn; the sweep goes beside its own contender only."""
    chosen = contenders(stage, prepared, options)
    rounds: dict[str, list[Round]] = {each.name: [] for each in chosen}
    for number in range(options.rounds + 1):
        for each in chosen:
            # What the other one has left to seal is none of this one's cost.
            seal(prepared)
            beside = sealing(prepared, options.every) if each.name == SEALED else nullcontext()
            with beside:
                measured = each.round(stage, options.seconds if number else options.warmup)
            if number:
                rounds[each.name].append(measured)
                print(f"round {number}  {each.name}: {measured.rate:,.0f}/s", flush=True)
    return rounds


def as_json(
    options: argparse.Namespace,
    settings: Mapping[str, str],
    proof: Mapping[str, object],
    rounds: Mapping[str, list[Round]],
) -> dict[str, object]:
    """Return everything that was measured, and on what."""
    return {
        "machine": machine(),
        "postgres": dict(settings),
        "options": {name: value for name, value in vars(options).items() if name != "json"},
        "proof": dict(proof),
        "sealed_to_unsealed": round(median_ratio(rounds[SEALED], rounds[UNSEALED]), 3),
        "contenders": rounds_as_json(rounds, "confirms"),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the figures and write the JSON file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proof", description=__doc__)
    parser.add_argument("--transactions", type=int, default=1_000_000, help="to prove")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender")
    parser.add_argument("--seconds", type=int, default=5, help="length of a round")
    parser.add_argument("--warmup", type=int, default=3, help="seconds before the first round")
    parser.add_argument("--connections", type=int, default=16, help="connections of the client")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two sweeps")
    parser.add_argument(
        "--json", type=Path, default=Path("build/benchmarks/proof.json"), help="file to write"
    )
    options = parser.parse_args(arguments)
    try:
        with staged() as stage:
            proof = prove(stage, options.transactions)
            prepared = stage.prepare(ledger.DATABASE)
            rounds = measure(stage, prepared, options)
            settings = server_settings(stage)
    except (NotStarted, Distorted, EngineError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    print("\n" + table(rounds, SEALED, head=("confirms/s", *HEAD[1:])))
    write_json(options.json, as_json(options, settings, proof, rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
