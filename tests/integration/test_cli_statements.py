"""Writing statements by command: one, or all of them or none."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from standart.encryption import Keyring
from standart.services import statement_stream
from tests import movements
from tests.builders import TestUser, make_user
from tests.integration.commands import Run, refused


def adjust(connection: Connection, owner: TestUser, amount: int, currency: str = "RUB") -> None:
    movements.Mover(connection, owner.id, currency).adjust(amount)


def test_one_goes_to_standard_output(run: Run, connection: Connection, merchant: TestUser) -> None:
    adjust(connection, merchant, 1_234)
    table = run("statement", merchant.name)
    assert table.exit_code == 0
    rows = list(csv.DictReader(table.stdout_bytes.decode("utf-8-sig").splitlines()))
    assert [row["net"] for row in rows if row["number"]] == ["12.34"]
    body = json.loads(run("statement", merchant.name, "--format", "json").stdout_bytes)
    assert body["closing"]["available"] == "12.34"
    assert body["statement"]["merchant"] == merchant.name


def test_what_is_no_file_is_written_to_and_not_replaced(
    run: Run, connection: Connection, merchant: TestUser, tmp_path: Path
) -> None:
    """As `--output /dev/null` by root: a file in its place would break the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reading:
        result = run("statement", merchant.name, "--format", "json", "--output", str(pipe))
        assert result.exit_code == 0, result.stderr
        assert json.loads(reading.read())["statement"]["merchant"] == merchant.name
    assert pipe.is_fifo()


def test_a_link_is_followed(run: Run, merchant: TestUser, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real" / "statement.json")
    result = run("statement", merchant.name, "--format", "json", "--output", str(link))
    assert result.exit_code == 0, result.stderr
    assert link.is_symlink()
    assert json.loads((tmp_path / "real" / "statement.json").read_bytes())["totals"]["count"] == 0


def test_a_folder_gets_a_file_of_its_number(
    run: Run, connection: Connection, merchant: TestUser, tmp_path: Path
) -> None:
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-02-01T00:00:00Z")
    result = run("statement", merchant.name, *span, "--output", str(tmp_path))
    assert result.exit_code == 0
    (file,) = tmp_path.glob("*.csv")
    assert file.name.startswith("statement-RUB-20260101-20260131-")
    assert result.stdout == f"wrote {file}\n"
    assert not list(tmp_path.glob(".statement*"))


def test_all_get_a_file_for_each_currency_that_they_have(
    run: Run,
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    tmp_path: Path,
) -> None:
    other = make_user(engine, keyring, name="Лавка / 2")
    make_user(engine, keyring)
    adjust(connection, merchant, 500)
    adjust(connection, merchant, 7, "JPY")
    adjust(connection, other, 800)
    # What was there and went again before the span is nothing to tell.
    past = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-02-01T00:00:00Z")
    folder = tmp_path / "all"
    nothing = run("statement", "--all", *past, "--output", str(folder))
    assert (nothing.exit_code, nothing.stdout) == (0, f"wrote 0 statements to {folder}\n")
    assert list(folder.iterdir()) == []

    result = run("statement", "--all", "--period", "today", "--output", str(folder))
    assert result.stdout == f"wrote 3 statements to {folder}\n"
    # A merchant's name may have the beginning of a year in it.
    begun = sorted(
        re.sub(r"(-statement-[A-Z]{3})-20.*", r"\1", each.name) for each in folder.iterdir()
    )
    assert begun == sorted(
        [
            f"{merchant.name}-statement-RUB",
            f"{merchant.name}-statement-JPY",
            "Лавка-2-statement-RUB",
        ]
    )
    one = run("statement", "--all", "--currency", "JPY", "--output", str(tmp_path / "yen"))
    assert one.stdout.startswith("wrote 1 statements")


def test_all_or_none_are_there(
    run: Run,
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adjust(connection, merchant, 500)
    adjust(connection, make_user(engine, keyring), 500)
    folder, made = tmp_path / "all", []
    document = statement_stream.document

    def fail_later(*arguments: object) -> object:
        made.append(1)
        if len(made) == 2:
            raise OSError(28, "No space left on device")
        return document(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(statement_stream, "document", fail_later)
    result = run("statement", "--all", "--output", str(folder))
    refused(result, 1, "No space left on device")
    assert list(folder.iterdir()) == []


def test_wrong_use_is_refused(run: Run, merchant: TestUser, tmp_path: Path) -> None:
    refused(run("statement"), 2, "NAME", "--all")
    refused(run("statement", merchant.name, "--all", "--output", "x"), 2, "--all")
    refused(run("statement", "--all"), 2, "--output")
    refused(run("statement", "nobody"), 1, "nobody")
    refused(run("statement", merchant.name, "--period", "tomorrow"), 2, "period")
    refused(run("statement", merchant.name, "--from", "yesterday"), 2, "--from")
    refused(run("statement", merchant.name, "--currency", "ABC"), 2, "currency")
    later = ("--from", "2026-02-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z")
    assert run("statement", merchant.name, *later).exit_code == 2
    missing = str(tmp_path / "missing" / "file.csv")
    refused(run("statement", merchant.name, "--output", missing), 1, "cannot write")
    file = tmp_path / "file"
    file.write_text("x")
    refused(run("statement", "--all", "--output", str(file)), 1, "cannot write")
    assert file.read_text() == "x"
