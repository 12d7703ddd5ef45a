"""The READMEs are true: their calls are made as they stand, their answers compared."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import Engine

from standart.__main__ import create_app
from standart.cli import command_line
from standart.config import Settings
from standart.encryption import Keyring
from standart.models import Role, Scope
from tests.builders import make_key, make_user

ROOT = Path(__file__).parents[2]
SERVER = "http://127.0.0.1:8000"
FIRST = f"    curl -X POST {SERVER}/create_transaction"
# Each language's README, and the section before which the calls end.
READMES = {"README.md": "Webhooks", "README.ru.md": "Вебхуки"}

# What differs from run to run: ids and moments.
_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CHANGING = re.compile(rf"{_ID}|\d{{4}}-\d\d-\d\dT[0-9:.]+Z|whsec_[A-Za-z0-9+/=]+")


def blocks(readme: str) -> list[str]:
    """The indented commands and the JSON answers, in the order in which they are read."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    part = text[text.index(FIRST) : text.index(f"\n## {READMES[readme]}\n")]
    found = re.findall(r"(?:^    .*\n)+|^```json\n.*\n```$", part, re.MULTILINE)
    return [block.replace(" \\\n", " ") for block in found]


def endpoint_blocks(readme: str) -> list[str]:
    """The commands and answers about endpoints, in the section about webhooks."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    part = text[text.index("    curl -X POST http://127.0.0.1:8000/webhook_endpoints") :]
    part = part[: part.index("standart check-receiver")]
    found = re.findall(r"(?:^    .*\n)+|^```json\n.*\n```$", part, re.MULTILINE)
    return [block.replace(" \\\n", " ") for block in found if "standart" not in block]


def shape(answer: str) -> Any:
    """An answer without what differs from run to run."""
    return json.loads(_CHANGING.sub("…", answer))


def test_both_languages_show_the_same_calls() -> None:
    english, russian = ([_commands(block) for block in blocks(readme)] for readme in READMES)

    assert english == russian
    assert len(english) > 20


def _commands(block: str) -> str:
    """A block without its comments."""
    return re.sub(r"\s+#.*", "", block)


class Reader:
    """Somebody who types a README's lines into a shell."""

    def __init__(self, app: Flask, run: Callable[[list[str]], None], **variables: str) -> None:
        self.client = app.test_client()
        self.run = run
        self.variables = variables
        self.answer = ""

    def type(self, line: str) -> None:
        """Do what one line says; what it answers is kept."""
        line = re.sub(r"\$([A-Z_]+)", lambda found: self.variables[found[1]], line)
        words = shlex.split(line, comments=True)
        if words[0] == "curl":
            self._call(words[1:])
        elif words[0].endswith("/standart"):
            self.run(words[1:])

    def _call(self, words: list[str]) -> None:
        headers: dict[str, str] = {}
        body, address, method = None, "", "GET"
        pairs = iter(words)
        for word in pairs:
            if word == "-H":
                name, _, value = next(pairs).partition(": ")
                headers[name] = value
            elif word == "-d":
                body = next(pairs)
            elif word == "-X":
                method = next(pairs)
            else:
                address = word.removeprefix(SERVER)
        self.answer = self.client.open(address, method=method, headers=headers, data=body).text
        answered = json.loads(self.answer)
        if address == "/create_transaction":
            self.variables |= {"ID": answered["id"], "MERCHANT": answered["user_id"]}
        if address == "/create_payout":
            self.variables["PAYOUT"] = answered["id"]
        if address == "/webhook_endpoints":
            self.variables["ENDPOINT"] = answered["id"]
        if address.endswith("/test"):
            self.variables["EVENT"] = answered["id"]


@pytest.mark.parametrize("readme", READMES)
def test_every_call_answers_what_the_readme_shows(
    app: Flask,
    engine: Engine,
    settings: Settings,
    keyring: Keyring,
    readme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    demo = make_user(engine, keyring, name="demo")
    admin = make_user(engine, keyring, name="admin", role=Role.ADMIN)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "balances.csv").write_text("user,currency,balance\ndemo,RUB,1250.00\n")

    environment = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key,
        "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
    }

    def run(words: list[str]) -> None:
        result = CliRunner().invoke(command_line(create_app), words, env=environment)
        assert result.exit_code == 0, result.output

    reader = Reader(
        app,
        run,
        KEY=demo.key,
        ADMIN_KEY=admin.key,
        MONEY_KEY=make_key(engine, demo, Scope.READ, Scope.REFUND, Scope.PAYOUT),
        LATE=_canceled(app, demo.headers),
    )
    compared = 0
    for block in blocks(readme):
        if block.startswith("```"):
            assert shape(reader.answer) == shape(block.removeprefix("```json").removesuffix("```"))
            compared += 1
        elif not block.startswith("    user,currency"):
            for line in block.splitlines():
                reader.type(line.strip())

    assert compared == 11


def test_both_languages_show_the_same_calls_about_endpoints() -> None:
    english, russian = (
        [_commands(block) for block in endpoint_blocks(readme)] for readme in READMES
    )

    assert english == russian


@pytest.mark.parametrize("readme", READMES)
def test_every_call_about_endpoints_answers_what_the_readme_shows(
    app: Flask, engine: Engine, keyring: Keyring, readme: str
) -> None:
    demo = make_user(engine, keyring, name="demo")
    reader = Reader(app, lambda words: None, KEY=demo.key)
    compared = 0
    for block in endpoint_blocks(readme):
        if block.startswith("```"):
            assert shape(reader.answer) == shape(block.removeprefix("```json").removesuffix("```"))
            compared += 1
        else:
            for line in block.splitlines():
                reader.type(line.strip())

    assert compared == 2


def _canceled(app: Flask, headers: dict[str, str]) -> str:
    client = app.test_client()
    new = {"amount": "20.00", "reference": "order-1018"}
    made: dict[str, Any] = client.post("/create_transaction", json=new, headers=headers).get_json()
    client.post("/cancel_transaction", json={"id": made["id"]}, headers=headers)
    return str(made["id"])
