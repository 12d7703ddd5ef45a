"""``docs/ledger.md`` is true: its calls are carried out, its figures compared with the books."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart import money
from standart.__main__ import create_app
from standart.cli import command_line
from standart.encryption import Keyring
from standart.models import AccountKind, JournalKind, Scope
from standart.services import ledger_service, verify_service
from tests.builders import TestUser, make_key, make_user
from tests.integration.books import findings

DOCUMENT = Path(__file__).parents[2] / "docs" / "ledger.md"

Lines = dict[str, int]


@dataclass
class Step:
    """One heading of the example: what is called, posted, and left on the accounts."""

    title: str
    calls: list[str] = field(default_factory=list)
    journals: list[tuple[str, Lines]] = field(default_factory=list)
    after: Lines = field(default_factory=dict)


def minor(shown: str) -> int:
    """Kopecks of an amount as the document writes it."""
    negative, digits = shown.startswith("−"), shown.lstrip("−")
    amount = money.parse_amount(digits, "RUB").amount if digits.strip("0.") else 0
    return -amount if negative else amount


def section(name: str) -> str:
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {name}\n")
    assert rest, name
    return rest.partition("\n## ")[0]


def steps() -> list[Step]:
    found = []
    for part in section("A worked example").split("\n### ")[1:]:
        step = Step(part.partition("\n")[0])
        for block in re.findall(r"^```\n(.*?)\n```$", part, re.M | re.S):
            step.calls += re.split(r"\n(?=POST )", block)
        for kind, table in re.findall(r"^Journal `(\w+)`:\n\n((?:\|.*\n)+)", part, re.M):
            head, rule, *rows = [
                [cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()
            ]
            assert (head, len(rule)) == (["account", "debit", "credit"], 3)
            lines = {
                account.strip("`"): minor(credit) if credit else -minor(debit)
                for account, debit, credit in rows
            }
            assert sum(lines.values()) == 0, step.title
            step.journals.append((kind, lines))
        assert bool(step.journals) is ("No journal." not in part), step.title
        (after,) = re.findall(r"^After it: (.*)\.$", part, re.M)
        step.after = {name: minor(sum_) for name, sum_ in re.findall(r"`(\w+)` (−?[\d.]+)", after)}
        found.append(step)
    return found


STEPS = steps()


def test_the_example_shows_every_kind_of_journal_and_every_account() -> None:
    assert {kind for step in STEPS for kind, _ in step.journals} == set(JournalKind)
    assert set(STEPS[-1].after) == set(AccountKind)
    assert [step.title.partition(".")[0] for step in STEPS] == [
        str(number) for number in range(1, len(STEPS) + 1)
    ]


class Shop:
    """The world of the example, and the books as they are in the database."""

    def __init__(self, client: FlaskClient, connection: Connection, keys: dict[str, str]) -> None:
        self.client, self.connection, self.keys = client, connection, keys
        self.ids: dict[str, str] = {}

    def call(self, call: str) -> None:
        """Carry out ``POST path as who``, a body, and the status, name and members expected."""
        head, body, promised = call.split("\n")
        path, who = re.fullmatch(r"POST (/\w+) as (\w+)", head).groups()  # type: ignore[union-attr]  # fails loudly
        status, name, members = promised.split(" ", 2)
        answer = self.client.post(
            path,
            json=json.loads(self._filled(body)),
            headers={"Authorization": f"Bearer {self.keys[who]}"},
        )
        assert answer.status_code == int(status), (call, answer.text)
        shown = answer.json
        assert shown["id"] == self.ids.setdefault(name.strip("$"), shown["id"])
        expected = json.loads("{" + self._filled(members) + "}")
        assert {key: shown[key] for key in expected} == expected, call

    def _filled(self, text_: str) -> str:
        return re.sub(r"\$(\w+)", lambda match: self.ids[match[1]], text_)

    def journals(self) -> list[tuple[str, Lines]]:
        rows = self.connection.execute(
            text(
                "SELECT j.id, j.kind AS journal, e.kind, e.amount FROM journals j"
                " JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)"
                " ORDER BY j.created_at, e.line"
            )
        ).all()
        posted: dict[Any, Lines] = defaultdict(dict)
        kinds = {row.id: row.journal for row in rows}
        for row in rows:
            assert row.kind not in posted[row.id]
            posted[row.id][row.kind] = row.amount
        return [(kinds[id_], lines) for id_, lines in posted.items()]

    def accounts(self) -> Lines:
        rows = self.connection.execute(text("SELECT kind, balance FROM account_balances"))
        return {row.kind: row.balance for row in rows}

    def now(self) -> datetime:
        moment: datetime = self.connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return moment


@pytest.fixture
def shop(
    app: Flask, engine: Engine, keyring: Keyring, connection: Connection, admin: TestUser
) -> Shop:
    owner = make_user(engine, keyring, name="shop", rate="0.03")
    key = make_key(engine, owner, *(set(Scope) - {Scope.CONFIRM}))
    made = Shop(app.test_client(), connection, {"merchant": key, "admin": admin.key})
    made.ids["shop"] = str(owner.id)
    return made


@pytest.fixture
def run(app: Flask, settings: Any, tmp_path: Path) -> Callable[[str], None]:
    """Run a command of the document: its line, and the file that it reads."""

    def run(block: str) -> None:
        line, _, content = block.partition("\n")
        prompt, program, command, name = line.split()
        assert (prompt, program) == ("$", "standart")
        path = tmp_path / name
        path.write_text(content + "\n", encoding="utf-8")
        environment = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "SECRET_KEY": settings.secret_key,
            "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
        }
        done = CliRunner().invoke(command_line(create_app), [command, str(path)], env=environment)
        assert done.exit_code == 0, done.output

    return run


def test_every_posting_and_balance_of_the_example_is_what_the_service_does(
    shop: Shop, run: Callable[[str], None], engine: Engine, admin: TestUser
) -> None:
    moments = []
    for number, step in enumerate(STEPS):
        before = shop.journals()
        for call in step.calls:
            (run if call.startswith("$") else shop.call)(call)
        assert shop.journals()[len(before) :] == step.journals, step.title
        assert shop.accounts() == step.after, step.title
        if number % 3 == 0:
            ledger_service.fold_deltas(shop.connection)
            assert shop.accounts() == step.after
        moments.append((shop.now(), step.after))

    assert findings(engine) == []
    for moment, after in moments:
        balance = shop.client.get(
            "/balance",
            query_string={"user_id": shop.ids["shop"], "at": moment.isoformat()},
            headers=admin.headers,
        ).json["balances"]
        assert [minor(balance[0][name]) for name in ("balance", "pending_payout")] == [
            after["available"],
            after.get("pending_payout", 0),
        ]


def test_the_t_accounts_hold_the_same_entries() -> None:
    drawn = {}
    for block in re.findall(r"^```\n(.*?)\n```$", section("The same as T-accounts"), re.M | re.S):
        name, _, _, *rows, _, sums, balance = block.splitlines()
        sides: list[list[tuple[int, int]]] = [[], []]
        for row in rows:
            for side, cell in zip(sides, row.ljust(33).split("|"), strict=True):
                if cell.strip():
                    number, amount = cell.split(". ")
                    side.append((int(number), minor(amount.strip())))
        debits, credits_ = (sum(amount for _, amount in side) for side in sides)
        assert re.findall(r"[\d.]+", sums) == [
            money.format_minor(each, "RUB") for each in (debits, credits_)
        ]
        assert minor(balance.removeprefix("balance ")) == credits_ - debits
        drawn[name.strip()] = sides

    posted: dict[str, list[list[tuple[int, int]]]] = {kind: [[], []] for kind in AccountKind}
    for number, step in enumerate(STEPS, 1):
        for _, lines in step.journals:
            for account, amount in lines.items():
                posted[account][amount > 0].append((number, abs(amount)))
    assert drawn == posted
    assert sum(STEPS[-1].after.values()) == 0


def test_every_account_and_every_invariant_is_explained() -> None:
    accounts = re.findall(r"^\| `(\w+)` \|", section("The accounts"), re.M)
    assert accounts == [kind.value for kind in AccountKind]
    explained = re.findall(r"^\| `(\w+)` \|", section("What `standart verify` proves"), re.M)
    assert explained == list(verify_service.INVARIANTS)
