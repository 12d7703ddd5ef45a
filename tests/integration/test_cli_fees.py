"""The commands for fees: what they set, what they list, how they refuse."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from standart.db import autocommit
from standart.services import audit_service
from tests.builders import TestUser, make_transaction, row_counts
from tests.integration.commands import Run, refused
from tests.integration.fees import schedules

FUTURE = "2999-01-01T00:00:00Z"


def test_a_fee_schedule_is_set_for_the_next_transaction(
    run: Run, engine: Engine, merchant: TestUser
) -> None:
    done = run(
        *("set-fee-schedule", merchant.name, "--rate", "0.029", "--fixed", "3.00"),
        *("--minimum", "5", "--maximum", "1000.5"),
    )
    assert done.exit_code == 0, done.output
    (kept,) = schedules(engine, merchant)
    assert re.fullmatch(
        rf"set fee schedule {kept.schedule.id} of {merchant.name} from \S+Z\n", done.stdout
    )
    made = make_transaction(engine, merchant)
    assert made["commission"] == "5.90"
    assert made["fee_schedule"]["maximum"] == "1000.50"
    with Session(engine) as session:
        *_, record = audit_service.history(session, "user", merchant.id)
    assert (record.action, record.channel) == ("fee_schedule.set", "cli")


def test_a_fee_schedule_is_of_the_named_currency(
    run: Run, engine: Engine, merchant: TestUser
) -> None:
    done = run(
        *("set-fee-schedule", merchant.name, "--rate", "0", "--currency", "USDT"),
        *("--fixed", "0.000001"),
    )
    assert done.exit_code == 0, done.output
    assert make_transaction(engine, merchant)["fee_schedule"] is None
    made = make_transaction(engine, merchant, amount="1", currency="USDT")
    assert made["commission"] == "0.000001"


def test_the_plain_rate_comes_back(run: Run, engine: Engine, merchant: TestUser) -> None:
    assert run("set-fee-schedule", merchant.name, "--rate", "0.5").exit_code == 0
    assert run("set-fee-schedule", merchant.name, "--plain").exit_code == 0
    assert make_transaction(engine, merchant)["commission_rate"] == "0.03"


def test_fee_schedules_are_listed_with_what_they_are_now(
    run: Run, engine: Engine, merchant: TestUser
) -> None:
    assert run("list-fee-schedules", merchant.name).stdout == "plain commission rate: 0.03\n"
    assert run("set-fee-schedule", merchant.name, "--rate", "0.1").exit_code == 0
    assert run("set-fee-schedule", merchant.name, "--rate", "0.2", "--fixed", "1").exit_code == 0
    later = ("--plain", "--from", FUTURE)
    assert run("set-fee-schedule", merchant.name, *later).exit_code == 0
    plain, header, *rows = run("list-fee-schedules", merchant.name).stdout.splitlines()
    assert plain == "plain commission rate: 0.03"
    assert " ".join(header.split()) == "CURRENCY RATE FIXED MINIMUM MAXIMUM FROM STATE ID"
    listed = schedules(engine, merchant)
    cells = [re.split(r"  +", row) for row in rows]
    assert [row[-1] for row in cells] == [str(each.schedule.id) for each in listed]
    assert [(*row[:5], row[6]) for row in cells] == [
        ("RUB", "plain", "-", "-", "-", "planned"),
        ("RUB", "0.2", "1.00", "0.00", "-", "in force"),
        ("RUB", "0.1", "0.00", "0.00", "-", "replaced"),
    ]
    assert cells[0][5] == "2999-01-01T00:00:00.000000Z"


REFUSED = {
    "no fee": ((), "--rate"),
    "both": (("--rate", "0.1", "--plain"), "--rate"),
    "plain with a fixed part": (("--plain", "--fixed", "1"), "--rate"),
    "plain with a fixed part of zero": (("--plain", "--fixed", "0"), "--rate"),
    "a fixed part alone": (("--fixed", "1"), "--rate"),
    "rate above 1": (("--rate", "1.1"), "rate must be between 0 and 1"),
    "rate in percent": (("--rate", "2.9%"), "rate must be a plain decimal number"),
    "rate with a comma": (("--rate", "0,029"), "rate must be a plain decimal number"),
    "rate too fine": (("--rate", "0.0000001"), "rate has more than 6"),
    "fixed with too many digits": (("--rate", "0", "--fixed", "1.005"), "fixed has more than 2"),
    "fixed below zero": (("--rate", "0", "--fixed", "-1"), "fixed must be a plain"),
    "fixed too large": (("--rate", "0", "--fixed", "9" * 30), "fixed must be at most"),
    "fixed empty": (("--rate", "0", "--fixed", ""), "fixed must be a plain"),
    "minimum no number": (("--rate", "0", "--minimum", "1e2"), "minimum must be a plain"),
    "maximum below": (("--rate", "0", "--minimum", "2", "--maximum", "1"), "maximum must not"),
    "unknown currency": (("--rate", "0", "--currency", "XXX"), "currency is not a known"),
    "digits of the yen": (("--rate", "0", "--fixed", "1.5", "--currency", "JPY"), "fixed has"),
    "past": (("--rate", "0", "--from", "2020-01-01T00:00:00Z"), "starts_at must not be in"),
    "no zone": (("--rate", "0", "--from", "2999-01-01T00:00:00"), "--from must be RFC 3339"),
    "a date": (("--rate", "0", "--from", "2999-01-01"), "--from must be RFC 3339"),
    "no moment": (("--rate", "0", "--from", "2999-02-30T00:00:00Z"), "--from must be RFC 3339"),
    "a word": (("--rate", "0", "--from", "tomorrow"), "--from must be RFC 3339"),
    "beyond the calendar": (
        ("--rate", "0", "--from", "9999-12-31T23:59:59-12:00"),
        "starts_at must be within",
    ),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(
    run: Run, engine: Engine, merchant: TestUser, arguments: tuple[str, ...], words: str
) -> None:
    with autocommit(engine) as connection:
        before = row_counts(connection)
        refused(run("set-fee-schedule", merchant.name, *arguments), 2, words)
        assert row_counts(connection) == before


@pytest.mark.parametrize(
    "command", [("set-fee-schedule", "nobody", "--plain"), ("list-fee-schedules", "nobody")]
)
def test_an_unknown_user_is_named(run: Run, command: tuple[str, ...]) -> None:
    refused(run(*command), 1, "There is no user called nobody.")
