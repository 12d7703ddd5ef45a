"""`docs/statements.md` is true: its commands, calls and programs are run, its table compared."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from standart.db import transaction
from standart.documents.formats import FORMATS
from standart.documents.words import AMOUNTS
from standart.models import User
from standart.money import format_minor
from standart.services import key_service, statement_service
from standart.services.access import SYSTEM
from standart.services.statement_span import Asked
from tests import movements
from tests.integration.commands import Run

PAGE = (Path(__file__).parents[2] / "docs" / "statements.md").read_text(encoding="utf-8")
CALLS = re.findall(r"^GET (/statement\S+)$", PAGE, re.MULTILINE)
COMMANDS = re.findall(r"^\$ standart (.+)$", PAGE, re.MULTILINE)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shop(connection: Connection, engine: Engine, names: dict[str, Any]) -> UUID:
    """A merchant called as in the page, its money moved in every way."""
    movements.every_kind(connection, names["shop"], names["confirmed"])
    with Session(engine) as session, transaction(session):
        session.get_one(User, names["shop"]).name = "shop"
    found: UUID = names["shop"]
    return found


def test_the_table_of_kinds_is_what_statements_say(connection: Connection, shop: UUID) -> None:
    statement = statement_service.open_statement(
        connection, SYSTEM, user_id=shop, asked=Asked(period="7d")
    )
    said: dict[str, list[list[str]]] = {}
    for each in statement.movements(lambda work: work(connection)):
        cells = [getattr(each, name) for name in AMOUNTS]
        shown = [format_minor(cell, "RUB") if cell else "" for cell in cells]
        said.setdefault(each.kind, []).append(shown)
    written = [
        [cell.strip() for cell in row[1:-1].split("|")]
        for row in re.findall(r"^\| `\w+` \|.*\|$", PAGE.partition("| kind |")[2], re.MULTILINE)
    ]
    assert f"| kind | {' | '.join(AMOUNTS)} |" in PAGE
    assert {row[0].strip("`") for row in written} == set(said)
    for kind, *cells in written:
        assert cells in said[kind.strip("`")]


@pytest.mark.parametrize("path", CALLS)
def test_calls_are_answered(
    client: FlaskClient, engine: Engine, connection: Connection, shop: UUID, path: str
) -> None:
    with Session(engine) as session, transaction(session):
        _, key = key_service.create_key(session, SYSTEM, session.get_one(User, shop))
    reply = client.get(path, headers={"Authorization": f"Bearer {key}"})
    assert reply.status_code == 200
    form = FORMATS[(re.findall(r"format=(\w+)", path) or ["json"])[0]]
    assert reply.headers["Content-Type"] == form.mimetype
    assert re.fullmatch(
        rf'attachment; filename="statement-[A-Z]{{3}}-\d{{8}}-\d{{8}}-[0-9a-f]{{10}}\.{form.name}"',
        reply.headers["Content-Disposition"],
    )
    assert reply.data


def test_commands_and_programs_run(
    run: Run, shop: UUID, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        result = run(*command.split())
        assert result.exit_code == 0, result.output
    (workbook,) = (tmp_path / "statements").iterdir()
    assert re.fullmatch(r"shop-statement-RUB-.*\.xlsx", workbook.name)
    assert workbook.read_bytes().startswith(b"PK")
    assert len(PROGRAMS) == 2
    for number, program in enumerate(PROGRAMS):
        script = tmp_path / f"program{number}.py"
        script.write_text(program, encoding="utf-8")
        runpy.run_path(str(script))
    available = format_minor(movements.AFTER_EVERY_KIND["available"], "RUB")
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(f" shop {available} RUB")
    assert second.endswith(f" {available}")
