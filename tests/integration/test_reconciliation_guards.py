"""The rules of kept reconciliations, attacked by every role."""

from __future__ import annotations

import io
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.bank_files import layout as layouts
from standart.bank_files.layout import Layout
from standart.db import constraint_name, sqlstate
from standart.services import reconciliation_service
from standart.services.access import SYSTEM
from standart.services.reconciliation_service import Question
from standart.services.reconciliation_spool import spool
from tests.integration.attacks import DENIED, attack
from tests.world import contents

APPEND_ONLY = {"reconciliations": "actor_name", "reconciliation_rows": "amount"}

RUN = (
    "INSERT INTO reconciliations (id, actor_name, user_id, file_name, file_digest, file_size,"
    " format, options, zone, starts_on, ends_before, date_tolerance, warnings, lines, skipped,"
    " matched, missing_here, missing_there, differing, totals) VALUES ({id}, 'x', {user_id},"
    " {file_name}, {file_digest}, {file_size}, '{format}', '{{}}', 'UTC', '2026-01-01',"
    " '{ends_before}', {date_tolerance}, '{{}}', {lines}, {skipped}, {matched}, {missing_here},"
    " {missing_there}, 0, '[]')"
)
ROW = (
    "INSERT INTO reconciliation_rows (reconciliation_id, number, outcome, fields, matched_by,"
    " direction, line, user_id, transaction_id, payout_id) VALUES ({run}, {number}, '{outcome}',"
    " {fields}, {matched_by}, '{direction}', {line}, {user_id}, {transaction_id}, {payout_id})"
)


def run(**changes: str) -> str:
    usual = {"id": ":new", "user_id": ":shop", "file_name": "'f.csv'", "file_size": "1"}
    usual |= {"file_digest": "decode(repeat('00', 32), 'hex')", "format": "csv"}
    usual |= {"ends_before": "2026-01-02", "date_tolerance": "1"}
    usual |= dict.fromkeys(("lines", "skipped", "matched", "missing_here", "missing_there"), "0")
    return RUN.format(**(usual | changes))


def row(**changes: str) -> str:
    """A row that a run of one matched payment has."""
    usual = {"run": ":new", "number": "1", "outcome": "matched", "fields": "'{}'", "line": "2"}
    usual |= {"matched_by": "'reference'", "direction": "in", "user_id": ":shop"}
    usual |= {"transaction_id": ":confirmed", "payout_id": "NULL"}
    return ROW.format(**(usual | changes))


ONE = run(lines="1", matched="1")
NONE_OF_OURS = {"user_id": "NULL", "transaction_id": "NULL", "matched_by": "NULL"}
ROWS = "ck_reconciliation_rows_"
RUNS = "ck_reconciliations_"

REFUSED = {
    "taken id": ([run(id=":run")], "pk_reconciliations"),
    "taken number": (
        [run().replace("(id,", "(id, number,").replace("(:new,", "(:new, 1,")
         .replace(" VALUES", " OVERRIDING SYSTEM VALUE SELECT", 1)
         .replace("SELECT (:new, 1,", "SELECT :new, r.number,")[:-1]
         + " FROM reconciliations r"],
        "uq_reconciliations_number",
    ),
    "merchant that is none": ([run(user_id=":new_event")], "fk_reconciliations_users"),
    "file without a name": ([run(file_name="''")], RUNS + "file_name_length"),
    "long name": ([run(file_name="repeat('x', 256)")], RUNS + "file_name_length"),
    "short digest": ([run(file_digest="'x'")], RUNS + "file_digest_is_sha256"),
    "empty file": ([run(file_size="0")], RUNS + "file_not_empty"),
    "empty span": ([run(ends_before="2026-01-01")], RUNS + "span_not_empty"),
    "negative tolerance": ([run(date_tolerance="-1")], RUNS + "date_tolerance_range"),
    "tolerance of months": ([run(date_tolerance="32")], RUNS + "date_tolerance_range"),
    "unknown format": ([run(format="ofx")], RUNS + "format"),
    "counts that do not add up": ([run(lines="1")], RUNS + "counts_add_up"),
    "less than nothing": ([run(lines="-1", skipped="-1")], RUNS + "counts_add_up"),
    "run without its rows": ([ONE], "reconciliation_is_whole"),
    "run with another's outcome": (
        [ONE, row(outcome="missing_here", **NONE_OF_OURS)],
        "reconciliation_is_whole",
    ),
    "gap in the numbers": ([ONE, row(number="2")], "reconciliation_is_whole"),
    "row that comes later": ([row(run=":run", number="2", line="9")], "reconciliation_is_whole"),
    "row twice": ([row(run=":run")], "pk_reconciliation_rows"),
    "line twice": (
        [row(run=":run", number="2")],
        "uq_reconciliation_rows_reconciliation_id_line",
    ),
    "row of no run": ([row()], "fk_reconciliation_rows_reconciliations"),
    "unknown outcome": ([ONE, row(outcome="lost", matched_by="NULL")], ROWS + "outcome"),
    "unknown direction": ([ONE, row(direction="up")], ROWS + "direction"),
    "matched by a guess": ([ONE, row(matched_by="'guess'")], ROWS + "matched_by"),
    "matched by nothing": ([ONE, row(matched_by="NULL")], ROWS + "matched_by_something"),
    "missing and matched": (
        [ONE, row(outcome="missing_here", **NONE_OF_OURS | {"matched_by": "'id'"})],
        ROWS + "matched_by_something",
    ),
    "matched without a line": ([ONE, row(line="NULL")], ROWS + "line_of_the_file"),
    "missing there with a line": (
        [ONE, row(outcome="missing_there", matched_by="NULL")],
        ROWS + "line_of_the_file",
    ),
    "matched with nothing": (
        [ONE, row(transaction_id="NULL")],
        ROWS + "one_of_ours",
    ),
    "matched with two": ([ONE, row(payout_id=":new")], ROWS + "one_of_ours"),
    "nobody's": ([ONE, row(user_id="NULL")], ROWS + "one_of_ours"),
    "missing here and found": (
        [ONE, row(outcome="missing_here", matched_by="NULL")],
        ROWS + "one_of_ours",
    ),
    "matched and differing": ([ONE, row(fields="'{date}'")], ROWS + "fields_that_differ"),
    "differing in nothing": ([ONE, row(outcome="differing")], ROWS + "fields_that_differ"),
    "differing in something unknown": (
        [ONE, row(outcome="differing", fields="'{colour}'")],
        ROWS + "fields_that_differ",
    ),
}  # fmt: skip


@pytest.fixture
def kept(connection: Connection, names: dict[str, Any]) -> dict[str, Any]:
    """The shop with a reconciliation of one row, which is missing here."""
    columns = layouts.columns(["reference=r,amount=a,date=d"])
    content = io.BytesIO(b"r,a,d\nx,1.23,2001-01-01\n")
    with spool(content, "f.csv", Layout(currency="RUB", columns=columns)) as file:
        run_id = reconciliation_service.run(connection, SYSTEM, file, Question())
    return names | {"run": run_id}


@pytest.mark.parametrize("case", REFUSED)
def test_the_database_refuses(
    roles: dict[str, Engine], kept: dict[str, Any], connection: Connection, case: str
) -> None:
    statements, constraint = REFUSED[case]
    before = contents(connection)

    for role in roles.values():
        error = attack(role, kept, *statements)
        assert constraint_name(error) == constraint, str(error)

    assert contents(connection) == before


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    ("verb", "why"),
    [
        ("DELETE FROM {table}", "history is kept"),
        ("TRUNCATE {table} CASCADE", "history is kept"),
        ("UPDATE {table} SET {column} = {column}", "history is append-only"),
    ],
)
def test_what_was_kept_stays_as_it_was(
    roles: dict[str, Engine],
    kept: dict[str, Any],
    connection: Connection,
    table: str,
    verb: str,
    why: str,
) -> None:
    before = contents(connection)
    statement = verb.format(table=table, column=APPEND_ONLY[table])

    errors = {name: attack(role, kept, statement) for name, role in roles.items()}

    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert why in str(error)
    assert contents(connection) == before


def test_a_whole_run_is_let_through(engine: Engine, kept: dict[str, Any]) -> None:
    with engine.begin() as other:
        for statement in (ONE, row()):
            used = {name: value for name, value in kept.items() if f":{name}" in statement}
            other.execute(text(statement), used)


def test_every_rule_of_reconciliations_has_been_attacked(connection: Connection) -> None:
    """A new CHECK, unique index, primary or foreign key fails this until somebody attacks it."""
    rules = connection.scalars(
        text(
            "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f', 'u', 'p')"
            " AND conrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
        ),
        {"tables": list(APPEND_ONLY)},
    )
    assert set(rules) <= {constraint for _, constraint in REFUSED.values()}
