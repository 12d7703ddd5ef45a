"""``docs/reconciliation.md`` is true: its commands are run over the samples and a prepared book."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import Connection, Engine, text

from standart.__main__ import create_app
from standart.bank_files import layout, tables
from standart.cli import command_line
from standart.encryption import Keyring
from standart.models import Outcome
from standart.services import transaction_service
from tests.builders import ORIGIN, TestUser, make_transaction, make_user
from tests.movements import Mover
from tests.world import contents

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = DOCS / "reconciliation.md"

# Reference, amount, day of November 2026 and fate of each payment that the samples are about.
BOOK = (
    ("A-1001", "1500.00", 2, "confirmed"),
    ("A-1002", "2350.50", 3, "confirmed"),
    ("A-1003", "990.00", 4, "confirmed"),
    ("A-1004", "400.00", 5, "confirmed"),
    ("A-1005", "750.00", 6, "pending"),
    ("A-1006", "120.00", 7, "confirmed"),
    ("A-1007", "60.00", 8, "confirmed"),
    ("A-1009", "64.00", 9, "canceled"),
    ("A-1010", "845.10", 10, "confirmed"),
    (None, "77.70", 11, "confirmed"),
    ("A-2001", "5000.00", 2, "confirmed"),
    ("A-2002", "2000.00", 3, "confirmed"),
    ("A-2003", "820.00", 5, "pending"),
    ("A-2004", "640.00", 6, "confirmed"),
    ("A-2005", "99.00", 7, "confirmed"),
    (None, "3210.00", 9, "confirmed"),
    ("A-2006", "100.00", 13, "confirmed"),
)


@dataclass(frozen=True)
class Example:
    """A command of the document, what it prints and how it ends."""

    command: str
    printed: str
    code: int


def examples() -> list[Example]:
    found = []
    for block in re.findall(r"^```\n(\$ .*?)\n```$", DOCUMENT.read_text("utf-8"), re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, rest = part.replace("\\\n", " ").partition("\n")
            printed, _, code = rest.partition("exit code: ")
            found.append(Example(command, printed.strip("\n"), int(code or 0)))
    return found


def masked(printed: str) -> str:
    """What is another one in each run: ids and the moment."""
    printed = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", printed)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", "<moment>", printed)


@pytest.fixture
def book(
    engine: Engine,
    connection: Connection,
    superuser: Engine,
    keyring: Keyring,
    admin: TestUser,
) -> TestUser:
    """The shop of the document with two shops' worth of payments in November 2026."""
    shops = {name: make_user(engine, keyring, name=name) for name in ("demo", "bank-demo")}
    days: dict[tuple[str, UUID], int] = {}
    made: dict[str | None, UUID] = {}
    for reference, amount, day, fate in BOOK:
        shop = shops["bank-demo" if amount == "3210.00" or "A-2" in (reference or "") else "demo"]
        fields = {} if reference is None else {"reference": reference}
        id_ = UUID(make_transaction(engine, shop, amount=amount, **fields)["id"])
        if fate == "confirmed":
            transaction_service.confirm(connection, admin.digest, ORIGIN, id_)
        elif fate == "canceled":
            transaction_service.cancel(connection, admin.digest, ORIGIN, id_)
        days["transactions", id_] = day
        made[reference] = id_
    days["refunds", Mover(connection, shops["demo"].id).refund(made["A-1001"], 50_000)] = 13
    bank = Mover(connection, shops["bank-demo"].id)
    for amount, day in ((250_000, 12), (70_000, 14)):
        payout = bank.reserve(amount)
        bank.finish(payout, "paid", amount)
        days["payouts", payout] = day
    _date(superuser, days)
    with superuser.begin() as breaking:
        breaking.execute(text("SET LOCAL session_replication_role = replica"))
        breaking.execute(text("UPDATE payouts SET reference = 'P-301' WHERE amount = 250000"))
        breaking.execute(text("UPDATE payouts SET reference = 'P-302' WHERE amount = 70000"))
        breaking.execute(text("ALTER TABLE reconciliations ALTER number RESTART"))
    return shops["demo"]


def _date(superuser: Engine, days: dict[tuple[str, UUID], int]) -> None:
    """Move rows to their days, behind the guards."""
    with superuser.begin() as breaking:
        breaking.execute(text("SET LOCAL session_replication_role = replica"))
        for (table, id_), day in days.items():
            at = {"id": id_, "at": f"2026-11-{day:02}T09:00:00Z"}
            until = "expires_at" if table == "transactions" else "finished_at"
            change = f"created_at = CAST(:at AS timestamptz) - interval '1 minute', {until} = "
            change += "CAST(:at AS timestamptz)"
            if table == "transactions":
                change += " + interval '10 minutes', finished_at = CASE WHEN finished_at IS NOT"
                change += " NULL THEN CAST(:at AS timestamptz) END"
            if table == "refunds":
                change = "created_at = CAST(:at AS timestamptz)"
            breaking.execute(text(f"UPDATE {table} SET {change} WHERE id = :id"), at)


@pytest.fixture
def run(
    app: Flask, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[str, int]]:
    """Run a command line of the document where its samples are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(DOCS)
    environment = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key,
        "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
    }

    def run(command: str) -> tuple[str, int]:
        program, *arguments = shlex.split(command)
        assert program == "standart"
        done = CliRunner().invoke(command_line(create_app), arguments, env=environment)
        return done.output.strip("\n"), done.exit_code

    return run


def test_the_documents_commands_print_what_it_says(
    book: TestUser, run: Callable[[str], tuple[str, int]], connection: Connection
) -> None:
    before = contents(connection)
    shown = examples()
    assert len(shown) >= 5
    for example in shown:
        printed, code = run(example.command)
        assert masked(printed) == masked(example.printed), example.command
        assert code == example.code, example.command

    after = contents(connection)
    changed = {table for table in after if after[table] != before[table]}
    assert changed == {"reconciliations", "reconciliation_rows", "audit_log"}


def test_the_samples_hold_every_kind_of_difference(
    book: TestUser, run: Callable[[str], tuple[str, int]], engine: Engine, tmp_path: Path
) -> None:
    fields: dict[str, set[str]] = {}
    outcomes: dict[str, set[str]] = {}
    for example in examples():
        if example.command.startswith("standart reconcile docs/") and example.code == 1:
            printed, _ = run(f"{example.command} --json")
            found = json.loads(printed)
            outcomes[found["format"]] = {row["outcome"] for row in found["rows"]}
            outcomes[found["format"]] |= {"matched"} if found["matched"] else set()
            fields[found["format"]] = {name for row in found["rows"] for name in row["fields"]}
    every = {"amount", "currency", "date", "status", "duplicate"}
    assert outcomes == {key: {each.value for each in Outcome} for key in ("csv", "1c")}
    assert fields == {"csv": every | {"reference"}, "1c": every}
    [report] = tmp_path.glob("*.csv")
    rows = list(csv.DictReader(io.StringIO(report.read_text("utf-8-sig"))))
    assert {row["outcome"] for row in rows} == {each.value for each in Outcome}


def test_the_document_names_every_column_and_word() -> None:
    said = DOCUMENT.read_text("utf-8")
    for name in (*layout.COLUMNS, *(each.value for each in Outcome)):
        assert f"`{name}`" in said, name
    for word in (*tables._PAID, *tables._DIRECTIONS):
        assert f"`{word}`" in said, word
