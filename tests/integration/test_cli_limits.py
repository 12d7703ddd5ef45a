"""The commands for limits and for the settings of users."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from standart.errors import LimitExceeded, ReferenceTaken
from standart.models import AuditRecord, User
from tests.builders import TestUser, row_counts
from tests.integration.calls import create
from tests.integration.commands import Run, refused


def test_limits_are_set_listed_and_removed(
    run: Run, connection: Connection, merchant: TestUser
) -> None:
    done = run(
        *("set-limit", merchant.name.upper(), "--transaction-amount", "1000"),
        *("--daily-amount", "5000.50", "--daily-count", "2", "--pending-count", "0"),
    )
    table = (
        "LIMIT               VALUE    CURRENCY\n"
        "daily_amount        5000.50  RUB\n"
        "daily_count         2\n"
        "pending_count       0\n"
        "transaction_amount  1000.00  RUB\n"
    )
    assert (done.exit_code, done.stdout) == (0, table), done.stderr
    assert run("list-limits", merchant.name).stdout == table
    with pytest.raises(LimitExceeded):
        create(connection, merchant)

    kinds = ("daily-count", "pending-count", "daily-amount", "transaction-amount")
    removed = run(
        "set-limit", merchant.name, *(part for kind in kinds for part in ("--remove", kind))
    )

    assert (removed.exit_code, removed.stdout) == (0, "no limits\n"), removed.stderr
    assert run("list-limits", merchant.name).stdout == "no limits\n"
    assert create(connection, merchant).status == 201


def test_amounts_are_of_the_named_currency(run: Run, engine: Engine, merchant: TestUser) -> None:
    run("set-limit", merchant.name, "--daily-amount", "1.001", "--currency", "KWD")
    run("set-limit", merchant.name, "--daily-amount", "0")

    replaced = run(
        *("set-limit", merchant.name, "--remove", "daily-amount", "--currency", "KWD"),
        *("--transaction-amount", "0.500"),
    )

    assert [line.split() for line in replaced.stdout.splitlines()[1:]] == [
        ["daily_amount", "0.00", "RUB"],
        ["transaction_amount", "0.500", "KWD"],
    ]
    with Session(engine) as session:
        records = session.query(AuditRecord).filter(AuditRecord.action.like("limit.%")).all()
        assert {(each.channel, each.actor_name) for each in records} == {("cli", "command line")}
        assert len(records) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ["needs a limit"]),
        (["--currency", "USD"], 2, ["needs a limit"]),
        (["--transaction-amount", "1.001"], 2, ["--transaction-amount", "2 fractional digits"]),
        (["--transaction-amount", "-1"], 2, ["--transaction-amount"]),
        (["--daily-amount", "1e3"], 2, ["--daily-amount"]),
        (["--daily-amount", "1", "--currency", "XXX"], 2, ["currency"]),
        (["--daily-amount", "1" * 50], 2, ["at most"]),
        (["--remove", "daily-count"], 1, ["no limit daily_count"]),
        (["--remove", "daily-amount", "--currency", "USD"], 1, ["USD"]),
        (["--daily-count", "5", "--remove", "pending-count"], 1, ["pending_count"]),
        (["--daily-count", "5", "--daily-amount", "x"], 2, ["--daily-amount"]),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line_and_changes_nothing(
    run: Run,
    connection: Connection,
    merchant: TestUser,
    arguments: list[str],
    code: int,
    words: list[str],
) -> None:
    counts = row_counts(connection)

    refused(run("set-limit", merchant.name, *arguments), code, *words)

    assert row_counts(connection) == counts


@pytest.mark.parametrize("value", ["-1", "1.5", "x", "", "1" * 20])
def test_a_number_must_be_one(run: Run, merchant: TestUser, value: str) -> None:
    done = run("set-limit", merchant.name, f"--daily-count={value}")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--daily-count" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["set-limit", "nobody", "--daily-count", "1"],
        ["list-limits", "nobody"],
        ["update-user", "nobody", "--unique-references"],
    ],
)
def test_an_unknown_user_is_refused(run: Run, arguments: list[str]) -> None:
    refused(run(*arguments), 1, "nobody")


def test_a_user_is_changed_where_an_option_says_so(
    run: Run, engine: Engine, merchant: TestUser
) -> None:
    done = run(
        *("update-user", merchant.name, "--commission-rate", "0.025", "--currency", "USD"),
        *("--webhook-url", "http://127.0.0.1:9999/hook"),
        STANDART_WEBHOOK_ALLOW_HTTP="true",
    )
    assert done.exit_code == 0, done.stderr
    told, _, changed = done.stdout.partition(": ")
    assert told == f"updated user {merchant.name}"
    assert json.loads(changed) == {
        "commission_rate": "0.025",
        "currency": "USD",
        "webhook_url": "http://127.0.0.1:9999/hook",
    }
    assert run("update-user", merchant.name, "--webhook-url", "").exit_code == 0
    with Session(engine) as session:
        user = session.get_one(User, merchant.id)
        assert (str(user.commission_rate), user.currency) == ("0.025000", "USD")
        assert (user.webhook_url, user.unique_reference) == (None, False)


def test_unique_references_are_switched_on_and_off(
    run: Run, connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    on = run("update-user", merchant.name, "--unique-references")
    assert on.stdout == f'updated user {merchant.name}: {{"unique_reference": true}}\n'
    create(connection, merchant, reference="r")
    with pytest.raises(ReferenceTaken):
        create(connection, merchant, reference="r")

    assert run("update-user", merchant.name, "--no-unique-references").exit_code == 0

    assert create(connection, merchant, reference="r").status == 201
    with Session(engine) as session:
        records = session.query(AuditRecord).filter_by(action="user.updated").all()
        told = [each.after["unique_reference"] for each in records if each.after]
        assert sorted(told) == [False, True]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "needs something"),
        (["--commission-rate", "1.5"], "between 0 and 1"),
        (["--commission-rate", ""], "commission_rate"),
        (["--currency", "rub"], "currency"),
        (["--webhook-url", "ftp://shop.example/"], "https"),
        (["--unique-references", "--currency", "XXX"], "currency"),
    ],
)
def test_a_senseless_change_of_a_user_changes_nothing(
    run: Run, engine: Engine, merchant: TestUser, arguments: list[str], word: str
) -> None:
    refused(run("update-user", merchant.name, *arguments), 2, word)

    with Session(engine) as session:
        assert session.get_one(User, merchant.id).unique_reference is False
        assert session.query(AuditRecord).filter_by(action="user.updated").count() == 0
