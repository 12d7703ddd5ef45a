"""What keeping balances costs a confirm: ``python -m benchmarks.ledger``.

pgbench runs Standart's own confirm statement, taken from the source, on one fresh
PostgreSQL with fsync and synchronous commit: for one hot merchant, for the same load spread
over many merchants, and for one merchant by the same statement without any balance keeping.
Rounds are interleaved; the sweep that folds balances runs beside all of them on its timetable.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.clients import Pgbench
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
from benchmarks.statement import pgbench_script
from standart.clock import new_id
from standart.db import HotStatement, autocommit, make_engine, transaction
from standart.embedded import EngineError
from standart.models import Role, Scope, User
from standart.services import key_service, ledger_service
from standart.services.access import SYSTEM
from standart.services.key_service import digest_of
from standart.services.transaction_sql import SETTLE_BY_KEY
from standart.tasks import FOLD_BATCH, FOLD_SECONDS

HOT, SPREAD, BARE = "one merchant", "spread", "one merchant, no balances"
DATABASE = "ledger"

# More confirms a second than any machine at hand does on two cores: what is prepared lasts.
FASTEST = 6000


def without_balances(statement: HotStatement) -> HotStatement:
    """Return the confirm statement with its deltas cut out, and nothing else changed.

    Raises:
        ValueError: the statement keeps balances in another way by now.
    """
    head, found, rest = statement.text.partition(" delta AS (")
    _, ended, tail = rest.partition(" ), event AS (")
    if not found or not ended:
        raise ValueError("the confirm statement has no part called delta")
    return HotStatement(f"{head} event AS ({tail}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to confirm; its transactions are numbered by a sequence of its own."""

    name: str
    client: Pgbench
    label: str

    def round(self, stage: Stage, seconds: float) -> Round:
        """Run one round and prove by the rows that each answer was a confirm.

        Raises:
            Distorted: some statement confirmed nothing.
        """
        before_rows = self._confirmed(stage)
        stage.execute("CHECKPOINT")
        before = cpu_seconds(stage.postgres.process.pid)
        measured = self.client.run(seconds)
        spent = cpu_seconds(stage.postgres.process.pid) - before
        rows = self._confirmed(stage) - before_rows
        if rows != measured.done:
            raise Distorted(f"{self.name}: {measured.done} answers, {rows} confirmed")
        return dataclasses.replace(measured, database_cpu=spent)

    def _confirmed(self, stage: Stage) -> int:
        query = (
            "SELECT count(*) FROM transactions WHERE status = 'confirmed'"
            f" AND description = '{self.label}'"
        )
        return int(str(stage.execute(query, DATABASE)[0][0]))


def contenders(stage: Stage, prepared: Prepared, options: argparse.Namespace) -> list[Contender]:
    """Make merchants, their pending transactions, and a script for each contender."""
    key, merchants = people(prepared, options.merchants)
    rows = FASTEST * (options.warmup + options.rounds * options.seconds)
    confirm = SETTLE_BY_KEY[True, False]
    made = [
        ("hot", HOT, confirm, merchants[:1]),
        ("spread", SPREAD, confirm, merchants[1:]),
        ("bare", BARE, without_balances(confirm), merchants[:1]),
    ]
    result = []
    for label, name, statement, owners in made:
        for prepare in pending(label, owners, rows):
            stage.execute(prepare, DATABASE)
        sql, defines = confirm_script(label, key, statement)
        script = stage.folder / f"{label}.sql"
        script.write_text(sql, encoding="utf-8")
        client = Pgbench(
            binary=postgres_program("pgbench"),
            environment=pgbench_environment(prepared.url),
            script=script,
            options=defines,
            connections=options.connections,
        )
        result.append(Contender(name=name, label=label, client=client))
    stage.execute("VACUUM ANALYZE", DATABASE)
    return result


def people(prepared: Prepared, merchants: int) -> tuple[str, list[str]]:
    """Return an admin's key, and the ids of one and ``merchants`` more merchants."""
    engine = make_engine(shown(prepared.owner_url), pool_size=1)
    with Session(engine) as session, transaction(session):
        admin = session.scalars(select(User).where(User.role == Role.ADMIN)).first()
        assert admin is not None
        _, key = key_service.create_key(session, SYSTEM, admin, scopes=list(Scope))
        made = [
            User(
                id=new_id(),
                name=f"merchant-{number}",
                role=Role.REGULAR,
                currency="RUB",
            )
            for number in range(merchants + 1)
        ]
        session.add_all(made)
        session.flush()
        ids = [str(user.id) for user in made]
    engine.dispose()
    return key, ids


def pending(label: str, owners: Sequence[str], rows: int) -> tuple[str, ...]:
    """SQL: ``rows`` pending transactions in turn for the owners, and the sequence of their ids."""
    listed = ", ".join(f"'{owner}'" for owner in owners)
    return (
        f"""
        INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
            description, expires_at)
        SELECT (ARRAY[{listed}]::uuid[])[1 + n % {len(owners)}], md5('{label}' || n)::uuid,
            100 + n % 5000, round((100 + n % 5000) * 0.03), 0.03, 'RUB', '{label}',
            clock_timestamp() + interval '1 day'
        FROM generate_series(1, {rows}) AS n
        """,
        f"CREATE SEQUENCE next_{label}",
        f"GRANT USAGE ON SEQUENCE next_{label} TO PUBLIC",
    )


def confirm_script(label: str, key: str, statement: HotStatement) -> tuple[str, list[str]]:
    """Return the pgbench script that confirms the next transaction of ``label``."""
    # The id of the journal stands twice in the statement and must be the same: it is drawn
    # as a number, of which both make the same id.
    numbered = HotStatement(
        statement.text.replace(":journal_id", "md5('journal' || CAST(:journal AS text))")
    )
    return pgbench_script(
        numbered,
        values={
            "digest": "\\x" + digest_of(key).value.hex(),
            "scope": "confirm",
            "status": "confirmed",
            "reason": None,
            "channel": "benchmark",
            "request_id": None,
            "ip": None,
            "alone": "{}",
        },
        drawn={
            "id": f"SQL (SELECT md5('{label}' || nextval('next_{label}')))",
            "event_id": "SQL uuidv7()",
            "delivery_id": "SQL uuidv7()",
            "journal": "random(1, 9000000000000000000)",
        },
    )


@contextmanager
def folding(prepared: Prepared) -> Iterator[None]:
    """Fold balances on the product's timetable while the block runs."""
    engine = make_engine(shown(prepared.url), pool_size=1)
    over = threading.Event()

    def fold() -> None:
        while not over.wait(FOLD_SECONDS):
            with autocommit(engine) as connection:
                while ledger_service.fold_deltas(connection, batch=FOLD_BATCH) == FOLD_BATCH:
                    pass

    thread = threading.Thread(target=fold, name="fold")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        engine.dispose()


def measure(
    stage: Stage, chosen: Sequence[Contender], options: argparse.Namespace
) -> dict[str, list[Round]]:
    """Warm up, then run the rounds in turn."""
    rounds: dict[str, list[Round]] = {each.name: [] for each in chosen}
    for each in chosen:
        each.round(stage, options.warmup)
    for number in range(1, options.rounds + 1):
        for each in chosen:
            measured = each.round(stage, options.seconds)
            rounds[each.name].append(measured)
            print(f"round {number}  {each.name}: {measured.rate:,.0f}/s", flush=True)
    return rounds


def as_json(
    options: argparse.Namespace, settings: Mapping[str, str], rounds: Mapping[str, list[Round]]
) -> dict[str, object]:
    """Return everything that was measured, and on what."""
    return {
        "machine": machine(),
        "postgres": dict(settings),
        "options": {name: value for name, value in vars(options).items() if name != "json"},
        "hot_to_spread": round(median_ratio(rounds[HOT], rounds[SPREAD]), 3),
        "hot_to_no_balances": round(median_ratio(rounds[HOT], rounds[BARE]), 3),
        "contenders": rounds_as_json(rounds, "confirms"),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table and write the JSON file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender")
    parser.add_argument("--seconds", type=int, default=5, help="length of a round")
    parser.add_argument("--warmup", type=int, default=3, help="seconds before the first round")
    parser.add_argument("--connections", type=int, default=16, help="connections of the client")
    parser.add_argument("--merchants", type=int, default=64, help="merchants of the spread load")
    parser.add_argument(
        "--json", type=Path, default=Path("build/benchmarks/ledger.json"), help="file to write"
    )
    options = parser.parse_args(arguments)
    try:
        with staged() as stage:
            prepared = stage.prepare(DATABASE)
            chosen = contenders(stage, prepared, options)
            with folding(prepared):
                rounds = measure(stage, chosen, options)
            settings = server_settings(stage)
    except (NotStarted, Distorted, EngineError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    print("\n" + table(rounds, HOT, head=("confirms/s", *HEAD[1:])))
    write_json(options.json, as_json(options, settings, rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
