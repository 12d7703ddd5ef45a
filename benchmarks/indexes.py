"""What an index costs a create and a confirm: ``python -m benchmarks.indexes --data-dir D``.

``D`` was filled by ``python -m benchmarks.fill``. pgbench runs Standart's own statements, taken
from the source, over 64 merchants of it. In turn, some indexes are not kept up: the database
writes no entries into them, as if they were not there. They are made anew at the end, and what
was created stays; so take a copy of a data dir that is still needed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine, make_url, text

from benchmarks.clients import Pgbench
from benchmarks.fill.people import name_of
from benchmarks.metering import cpu_seconds
from benchmarks.report import machine, write_json
from benchmarks.stage import pgbench_environment, postgres_program
from benchmarks.statement import pgbench_script
from standart import migrations
from standart.db import HotStatement, make_engine
from standart.embedded import EngineError, Postgres, start_postgres
from standart.services.transaction_sql import CREATE, SETTLE_BY_KEY

MERCHANTS: Final = 64
ALL: Final = "all"

_BEFORE: Final = {
    "ix_transactions_created_at": "transactions USING brin (created_at)",
    "ix_transactions_finished_at": "transactions USING brin (finished_at)",
}
"""Those over ranges of pages that the ordered ones took the place of."""
_OTHERWISE: Final = {
    "ix_transactions_amount_whole": "transactions (currency, amount)",
}
"""What might be in the place of one: of all amounts, from the creation on."""

_TRANSACTIONS: Final = (
    "ix_transactions_newest",
    "ix_transactions_ended",
    "ix_transactions_unpaid",
    "ix_transactions_amount",
)
_RECORDS: Final = (
    "ix_audit_log_action",
    "ix_audit_log_actor",
    "ix_events_newest",
    "ix_events_type_newest",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which of the indexes are kept up: all but ``without``, and ``beside`` of the former."""

    name: str
    without: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """What one create and one confirm took of PostgreSQL: processor ms, bytes of its log."""

    create_ms: float
    create_wal: float
    confirm_ms: float
    confirm_wal: float


class Bench:
    """A database with keys for merchants, an operator's key, and the scripts of pgbench."""

    def __init__(self, postgres: Postgres, folder: Path, operations: int) -> None:
        self.postgres, self.folder, self.operations = postgres, folder, operations
        database = make_url(postgres.app_url).database
        url = make_url(postgres.superuser_url).set(database=database)
        self.connection: Connection = create_engine(url, isolation_level="AUTOCOMMIT").connect()
        self.environment = pgbench_environment(url)

    def execute(self, statement: str, **values: object) -> None:
        """Run a statement as the superuser."""
        self.connection.execute(text(statement), values)

    def prepare(self) -> None:
        """Give merchants keys whose secrets are their numbers, and so one who settles."""
        for number in range(MERCHANTS + 1):
            owner = (
                "(SELECT id FROM users WHERE role = 'admin' ORDER BY created_at LIMIT 1)"
                if number == 0
                else "(SELECT id FROM users WHERE name = :name)"
            )
            self.execute(
                f"""
                INSERT INTO api_keys (user_id, id, prefix, last4, digest, scopes)
                SELECT {owner}, gen_random_uuid(), 'bench-' || :number, '0000',
                    sha256(CAST('bench' || CAST(:number AS text) AS bytea)),
                    ARRAY['read', 'write', 'confirm']
                ON CONFLICT DO NOTHING
                """,
                **({"number": number} | ({"name": name_of(number)} if number else {})),
            )
        self.execute("CREATE TABLE IF NOT EXISTS bench_born (n bigint PRIMARY KEY, id uuid)")
        self.execute("CREATE SEQUENCE IF NOT EXISTS bench_next")
        for name, definition in {**_BEFORE, **_OTHERWISE}.items():
            self.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {definition}")

    def tidy(self) -> None:
        """Take away what the benchmark needed, and make whole what it left behind."""
        for index in {**_BEFORE, **_OTHERWISE}:
            self.execute(f"DROP INDEX IF EXISTS {index}")
        for index in (*_TRANSACTIONS, *_RECORDS):
            self.execute(f"REINDEX INDEX {index}")
        self.keep_up(())
        self.execute("DROP TABLE bench_born")
        self.execute("DROP SEQUENCE bench_next")
        self.execute("DELETE FROM api_keys WHERE prefix LIKE 'bench-%'")

    def keep_up(self, without: Sequence[str]) -> None:
        """Let all indexes get entries but those."""
        self.execute(
            """
            UPDATE pg_index SET indisready = NOT name = ANY (:without),
                indisvalid = NOT name = ANY (:without)
            FROM (SELECT oid, relname AS name FROM pg_class WHERE relname = ANY (:known)) AS c
            WHERE indexrelid = c.oid
            """,
            without=list(without),
            known=[*_BEFORE, *_OTHERWISE, *_TRANSACTIONS, *_RECORDS],
        )

    def measure(self, shape: Shape) -> Cost:
        """Create so many, then confirm them."""
        self.keep_up(
            [
                *shape.without,
                *(each for each in {**_BEFORE, **_OTHERWISE} if each not in shape.beside),
            ]
        )
        create_ms, create_wal = self._run("create", *self._create())
        self.execute("TRUNCATE bench_born")
        self.execute("ALTER SEQUENCE bench_next RESTART")
        self.execute(
            """
            INSERT INTO bench_born SELECT row_number() OVER (), id FROM (
                SELECT id FROM transactions WHERE status = 'pending' AND description = 'bench'
                ORDER BY created_at DESC, id DESC LIMIT :most) AS t
            """,
            most=self.operations,
        )
        self.execute("ANALYZE bench_born")
        confirm_ms, confirm_wal = self._run("confirm", *self._confirm())
        return Cost(create_ms, create_wal, confirm_ms, confirm_wal)

    def _run(self, name: str, sql: str, defines: list[str]) -> tuple[float, float]:
        script = self.folder / f"{name}.sql"
        script.write_text(sql, encoding="utf-8")
        clients = 8
        client = Pgbench(
            binary=postgres_program("pgbench"),
            environment=self.environment,
            script=script,
            options=[*defines, f"--transactions={self.operations // clients}"],
            connections=clients,
        )
        self.execute("CHECKPOINT")
        before, lsn = cpu_seconds(self.postgres.process.pid), self._lsn()
        done = client.run(None).done
        self.execute("CHECKPOINT")
        spent = cpu_seconds(self.postgres.process.pid) - before
        return spent / done * 1000, (self._lsn() - lsn) / done

    def _lsn(self) -> float:
        return float(
            self.connection.scalar(text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")) or 0
        )

    def _create(self) -> tuple[str, list[str]]:
        return pgbench_script(
            CREATE[True],
            values={
                "scope": "write",
                "currency": None,
                "user_id": None,
                "reference": "order-1",
                "description": "bench",
                "metadata": "{}",
                "ttl": "86400",
                "path": "/create_transaction",
                "fingerprint": "\\x" + "5a" * 32,
                "answer_status": "201",
            },
            drawn={
                "digest": f"SQL (SELECT sha256(('bench' || random(1, {MERCHANTS}))::bytea))",
                "id": "SQL uuidv7()",
                "event_id": "SQL uuidv7()",
                "key": "random(1, 9000000000000000000)",
                "amount": "random(100, 100000)",
            },
        )

    def _confirm(self) -> tuple[str, list[str]]:
        numbered = HotStatement(
            SETTLE_BY_KEY[True, False].text.replace(
                ":journal_id", "md5('journal' || CAST(:journal AS text))"
            )
        )
        return pgbench_script(
            numbered,
            values={
                "scope": "confirm",
                "status": "confirmed",
                "reason": None,
                "channel": "benchmark",
                "request_id": None,
                "ip": None,
                "alone": "{}",
            },
            drawn={
                "digest": "SQL (SELECT sha256('bench0'::bytea))",
                "id": "SQL (SELECT b.id FROM bench_born b WHERE b.n = (SELECT"
                " nextval('bench_next')))",
                "event_id": "SQL uuidv7()",
                "delivery_id": "SQL uuidv7()",
                "journal": "random(1, 9000000000000000000)",
            },
        )


SHAPES: Final = (
    Shape(ALL),
    Shape("as before 0012", (*_TRANSACTIONS, *_RECORDS), tuple(_BEFORE)),
    Shape("amounts from the creation on", ("ix_transactions_amount",), tuple(_OTHERWISE)),
    *(Shape(f"without {each}", (each,)) for each in (*_TRANSACTIONS, *_RECORDS)),
)


def ratios(costs: dict[str, list[Cost]], name: str) -> dict[str, float]:
    """Return what a shape takes of what all take: medians of the ratios of neighbours."""
    return {
        field: round(
            statistics.median(
                getattr(one, field) / getattr(whole, field)
                for one, whole in zip(costs[name], costs[ALL], strict=True)
            ),
            3,
        )
        for field in Cost.__dataclass_fields__
    }


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure all shapes in turn; return the figures."""
    postgres = start_postgres(options.data_dir)
    try:
        owner = make_engine(postgres.owner_url, pool_size=1)
        migrations.upgrade(owner, postgres.app_url)
        owner.dispose()
        bench = Bench(postgres, options.data_dir, options.operations)
        bench.prepare()
        costs: dict[str, list[Cost]] = {shape.name: [] for shape in SHAPES}
        try:
            bench.measure(SHAPES[0])
            for number in range(1, options.rounds + 1):
                # To and fro: what grows with the rows that are there grows for all of them.
                for shape in SHAPES if number % 2 else reversed(SHAPES):
                    costs[shape.name].append(bench.measure(shape))
                print(f"round {number} of {options.rounds}", flush=True)
        finally:
            bench.tidy()
    finally:
        postgres.stop()
    shown = {}
    for name, each in costs.items():
        middle = {
            field: round(statistics.median(getattr(cost, field) for cost in each), 3)
            for field in Cost.__dataclass_fields__
        }
        shown[name] = {"medians": middle, "of all": ratios(costs, name)}
        print(f"{name:36} {middle} {shown[name]['of all']}", flush=True)
    return {
        "machine": machine(),
        "operations": options.operations,
        "shapes": shown,
        "rounds": {name: [asdict(cost) for cost in each] for name, each in costs.items()},
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the JSON file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.indexes", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="filled by benchmarks.fill")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each shape")
    parser.add_argument("--operations", type=int, default=8000, help="of a round")
    parser.add_argument(
        "--json", type=Path, default=Path("build/benchmarks/indexes.json"), help="file to write"
    )
    options = parser.parse_args(arguments)
    options.data_dir = options.data_dir.absolute()
    try:
        figures = run(options)
    except EngineError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
