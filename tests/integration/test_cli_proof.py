"""`standart seal`, `close`, `list-closes`: what they do, print and refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Connection, text

from standart.cli import proof
from standart.services import chain, close_service, seal_service
from tests import movements
from tests.builders import TestUser, row_counts
from tests.integration.commands import Run, refused


def test_without_journals_there_is_no_chain(run: Run) -> None:
    done = run("seal")
    assert (done.exit_code, done.stdout) == (
        0,
        "nothing has been posted yet, so there is no chain\n",
    )
    assert json.loads(run("seal", "--json").stdout) == {"sealed": 0, "head": None}


def test_seal_seals_and_prints_the_head(
    run: Run, connection: Connection, merchant: TestUser
) -> None:
    movements.Mover(connection, merchant.id).adjust(1_000)
    done = run("seal")
    head = chain.last(connection)
    assert head is not None
    assert done.stdout == f"sealed 1 journals; 1 are sealed in all\nhead {head.anchor}\n"
    assert json.loads(run("seal", "--json").stdout) == {"sealed": 0, "head": head.wire()}


def test_the_whole_chain_is_exported(
    run: Run, connection: Connection, merchant: TestUser, tmp_path: Path
) -> None:
    for amount in range(1, 4):
        movements.Mover(connection, merchant.id).adjust(amount)
        seal_service.seal(connection)
    target = tmp_path / "seals.jsonl"
    assert run("seal", "--export", str(target)).exit_code == 0
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [each["number"] for each in lines] == [1, 2, 3]
    assert [each["previous"] for each in lines[1:]] == [each["hash"] for each in lines[:-1]]
    printed = run("seal", "--export", "-").stdout.splitlines()
    assert [json.loads(line) for line in printed[:3]] == lines


def test_an_export_goes_into_a_pipe_and_through_a_link_and_replaces_neither(
    run: Run, connection: Connection, merchant: TestUser, tmp_path: Path
) -> None:
    """As `--export /dev/null` by root: a file in its place would break the machine."""
    movements.Mover(connection, merchant.id).adjust(1)
    pipe, link, target = (tmp_path / name for name in ("pipe", "link", "target"))
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reading:
        assert run("seal", "--export", str(pipe)).exit_code == 0
        assert json.loads(reading.read())["number"] == 1
    assert pipe.is_fifo()
    link.symlink_to(target)
    assert run("seal", "--export", str(link)).exit_code == 0
    assert link.is_symlink()
    assert json.loads(target.read_bytes())["number"] == 1


def test_an_export_to_nowhere_is_refused(run: Run, tmp_path: Path) -> None:
    refused(run("seal", "--export", str(tmp_path / "no" / "file")), 2, "--export", "No such file")


def test_a_place_that_cannot_be_written_is_told(
    run: Run,
    connection: Connection,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    movements.Mover(connection, merchant.id).adjust(1)
    monkeypatch.setenv("STANDART_SEAL_ANCHOR", str(tmp_path / "no" / "such" / "folder"))
    refused(run("seal"), 1, "sealed, but the head could not be left", "No such file")


def test_a_month_is_closed_once(run: Run, connection: Connection, merchant: TestUser) -> None:
    movements.Mover(connection, merchant.id).adjust(1_000)
    first = run("close", "2026-01")
    assert first.exit_code == 0, first.output
    head = chain.last(connection)
    assert head is not None
    told, digest, headed = first.stdout.splitlines()
    assert told == ("closed 2026-01: 2026-01-01T00:00:00.000000Z to 2026-02-01T00:00:00.000000Z")
    assert digest.startswith("0 journals, digest e3b0c44298fc1c14")
    assert headed == f"head {head.anchor}"
    again = run("close", "2026-01")
    assert again.stdout.splitlines()[0].startswith("closed 2026-01 (closed before): ")
    assert again.stdout.splitlines()[1:] == [digest, headed]
    as_json = json.loads(run("close", "2026-01", "--json").stdout)
    assert as_json["closed_by"] == "command line"
    listed = json.loads(run("list-closes", "--json").stdout)
    assert listed == {"data": [as_json]}
    table = run("list-closes").stdout.splitlines()
    assert table[1].split() == ["2026-01", "UTC", "0", as_json["digest"], str(head.anchor)]


def test_all_closes_are_listed_however_many_are_read_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "PAGE", 2)
    days = [f"2026-01-0{day}" for day in range(1, 6)]
    for day in days:
        assert run("close", day).exit_code == 0
    listed = json.loads(run("list-closes", "--json").stdout)["data"]
    assert [each["period"] for each in listed] == days[::-1]


def test_the_calendar_is_that_of_the_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDART_TIMEZONE", "Asia/Tokyo")
    closed = json.loads(run("close", "2026-01-01", "--json").stdout)
    assert (closed["from"], closed["zone"]) == ("2025-12-31T15:00:00.000000Z", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("period", "code", "words"),
    [
        ("2026-13", 2, "period names no day or month"),
        ("january", 2, "period must be a day or a month"),
        ("2999-01", 1, "has not ended yet"),
    ],
)
def test_what_cannot_be_closed_is_refused(
    run: Run, connection: Connection, period: str, code: int, words: str
) -> None:
    before = row_counts(connection)
    refused(run("close", period), code, words)
    assert row_counts(connection) == before


@pytest.mark.parametrize(
    ("command", "service", "act"),
    [(["close", "2026-01"], close_service, "close"), (["seal"], seal_service, "seal")],
)
def test_no_statement_of_a_command_has_too_much_to_read(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str], service: ModuleType, act: str
) -> None:
    """A month of many millions takes longer than a request may; whoever is at a shell can wait."""
    real = getattr(service, act)
    allowed = []

    def watched(connection: Connection, *args: Any, **named: Any) -> Any:
        allowed.append(connection.scalar(text("SHOW statement_timeout")))
        return real(connection, *args, **named)

    monkeypatch.setattr(service, act, watched)

    assert run(*command).exit_code == 0
    assert set(allowed) == {"0"}
