"""Fee schedules: when they start, what they leave alone, what they refuse."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from standart.db import autocommit, constraint_name, transaction
from standart.encryption import Keyring
from standart.errors import InvalidInput, UserHasHistory
from standart.models import User
from standart.money import MAX_MINOR
from standart.services import (
    audit_service,
    fee_service,
    ledger_service,
    transaction_service,
    user_service,
)
from standart.services.access import SYSTEM
from standart.services.fee_service import ScheduleState
from standart.services.transaction_request import NewTransaction
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, row_counts
from tests.integration.books import findings
from tests.integration.concurrency import blocked, together, wait_until
from tests.integration.fees import preview, schedule, schedules


def by_the_database(engine: Engine, **later: float) -> datetime:
    with engine.connect() as connection:
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC) + timedelta(**later)


def states(engine: Engine, user: TestUser) -> list[str]:
    return [each.state.value for each in schedules(engine, user)]


def test_without_a_schedule_the_plain_rate_is_taken(engine: Engine, merchant: TestUser) -> None:
    made = make_transaction(engine, merchant)
    assert (made["commission_rate"], made["commission"]) == ("0.03", "3.00")
    assert made["fee_schedule"] is None
    shown = preview(engine, merchant)
    assert (str(shown.commission), shown.terms.schedule_id) == ("3.00", None)


def test_a_schedule_is_in_force_at_once_and_kept_on_the_transaction(
    engine: Engine, merchant: TestUser
) -> None:
    kept = schedule(engine, merchant, "0.029", 300, 500, 100_000)
    made = make_transaction(engine, merchant)
    assert (made["commission_rate"], made["commission"], made["net"]) == ("0.029", "5.90", "94.10")
    assert made["fee_schedule"] == {
        "id": str(kept.id),
        "rate": "0.029",
        "fixed": "3.00",
        "minimum": "5.00",
        "maximum": "1000.00",
    }


@pytest.mark.parametrize(
    ("parts", "amount", "commission"),
    [
        (("0", 0, 0, None), "100.00", "0.00"),
        (("1", 0, 0, None), "100.00", "100.00"),
        (("0.029", 300, 600, None), "100.00", "6.00"),
        (("0.029", 300, 0, 500), "100.00", "5.00"),
        (("0.029", 300, 0, None), "1.00", "1.00"),
        (("0.029", 300, 0, None), "0.01", "0.01"),
        (("0", 0, 300, None), "2.99", "2.99"),
        (("0", 0, 300, None), "3.00", "3.00"),
        (("0", 0, 300, None), "3.01", "3.00"),
        (("0", 0, 300, 300), "2.99", "2.99"),
        (("0.5", MAX_MINOR, 0, None), "10000000000000.00", "10000000000000.00"),
        (("0.01", 0, 0, None), "0.50", "0.01"),
        (("0.01", 0, 0, None), "0.49", "0.00"),
    ],
)
def test_the_fee_is_bounded_and_never_above_the_amount(
    engine: Engine, merchant: TestUser, parts: Any, amount: str, commission: str
) -> None:
    schedule(engine, merchant, *parts)
    assert make_transaction(engine, merchant, amount=amount)["commission"] == commission
    assert str(preview(engine, merchant, amount).commission) == commission


def test_a_fee_of_the_whole_amount_credits_nothing(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    schedule(engine, merchant, "0", 0, 300)
    made = make_transaction(engine, merchant, amount="2.50")
    transaction_service.confirm(connection, admin.digest, ORIGIN, made["id"])
    held = ledger_service.holdings(connection, merchant.actor)
    assert [each.available for each in held] == [0]
    assert findings(engine) == []


def test_a_schedule_is_of_one_currency_and_one_merchant(
    engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    schedule(engine, merchant, "0.5", currency="USD")
    for currency, rate in (("USD", "0.5"), ("RUB", "0.03"), ("EUR", "0.03")):
        made = make_transaction(engine, merchant, currency=currency)
        assert made["commission_rate"] == rate
        assert str(preview(engine, merchant, currency=currency).terms.rate).startswith(rate)
    other = make_user(engine, keyring)
    assert make_transaction(engine, other, currency="USD")["fee_schedule"] is None


def test_the_plain_rate_changes_nothing_under_a_schedule_and_comes_back_after_it(
    engine: Engine, merchant: TestUser
) -> None:
    schedule(engine, merchant, "0.5")
    with Session(engine) as session, transaction(session):
        user_service.update_user(
            session, SYSTEM, session.get_one(User, merchant.id), commission_rate=Decimal("0.07")
        )
    assert make_transaction(engine, merchant)["commission_rate"] == "0.5"
    schedule(engine, merchant, None)
    made = make_transaction(engine, merchant)
    assert (made["commission_rate"], made["commission"]) == ("0.07", "7.00")
    assert made["fee_schedule"] is None
    assert states(engine, merchant) == ["in_force", "replaced"]


def test_a_planned_schedule_starts_by_itself(engine: Engine, merchant: TestUser) -> None:
    schedule(engine, merchant, "0.1")
    start = by_the_database(engine, seconds=0.5)
    planned = schedule(engine, merchant, "0.2", starts_at=start)
    assert planned.starts_at == start
    made: list[dict[str, Any]] = []

    def begun() -> bool:
        made.append(make_transaction(engine, merchant))
        return bool(made[-1]["commission_rate"] == "0.2")

    wait_until(begun)
    for one in made:
        created = datetime.fromisoformat(one["created_at"])
        assert (one["commission_rate"] == "0.2") is (created >= start), one
    assert states(engine, merchant) == ["in_force", "replaced"]
    assert findings(engine) == []


def test_a_start_far_ahead_changes_nothing_yet(engine: Engine, merchant: TestUser) -> None:
    schedule(engine, merchant, "0.2", starts_at=by_the_database(engine, days=365))
    assert make_transaction(engine, merchant)["fee_schedule"] is None
    assert preview(engine, merchant).terms.schedule_id is None
    assert states(engine, merchant) == ["planned"]


def test_a_planned_schedule_is_replaced_by_one_of_the_same_start(
    engine: Engine, merchant: TestUser, superuser: Engine
) -> None:
    start = by_the_database(engine, days=1)
    schedule(engine, merchant, "0.9", starts_at=start)
    right = schedule(engine, merchant, "0.1", starts_at=start)
    listed = schedules(engine, merchant)
    assert [(each.schedule.id == right.id, each.state) for each in listed] == [
        (True, ScheduleState.PLANNED),
        (False, ScheduleState.REPLACED),
    ]
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE fee_schedules SET starts_at = '2026-01-01Z'"))
    assert make_transaction(engine, merchant)["fee_schedule"]["id"] == str(right.id)
    assert states(engine, merchant) == ["in_force", "replaced"]


def test_a_start_in_another_zone_is_the_same_moment(engine: Engine, merchant: TestUser) -> None:
    start = by_the_database(engine, days=1)
    elsewhere = start.astimezone(timezone(timedelta(hours=-11, minutes=-30)))
    assert schedule(engine, merchant, "0.1", starts_at=elsewhere).starts_at == start


def test_a_schedule_changed_while_a_transaction_is_pending_leaves_it_alone(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    first = schedule(engine, merchant, "0.029", 300)
    pending = make_transaction(engine, merchant)
    schedule(engine, merchant, "0.5", 1000)

    checked = transaction_service.check(connection, merchant.digest, ORIGIN, pending["id"])
    assert json.loads(checked.body) == pending
    answer = transaction_service.confirm(connection, admin.digest, ORIGIN, pending["id"])
    confirmed = json.loads(answer.body)
    assert confirmed["commission"] == "5.90"
    assert confirmed["fee_schedule"] == pending["fee_schedule"]
    assert confirmed["fee_schedule"]["id"] == str(first.id)
    held = ledger_service.holdings(connection, merchant.actor)
    assert [each.available for each in held] == [9410]
    assert make_transaction(engine, merchant)["commission"] == "60.00"
    assert findings(engine) == []


def test_a_repeated_request_answers_with_the_fee_of_the_first(
    engine: Engine, merchant: TestUser
) -> None:
    own = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
    first = make_transaction(engine, merchant, id=own)
    schedule(engine, merchant, "0.5")
    assert make_transaction(engine, merchant, id=own) == first


def test_schedules_changed_under_load_leave_every_transaction_whole(
    engine: Engine, merchant: TestUser
) -> None:
    """Each of many creators at once gets the terms of one schedule, never a mixture."""
    schedule(engine, merchant, "0.1", 10)

    def create() -> Any:
        with autocommit(engine) as connection:
            new = NewTransaction(amount="100.00")
            answer = transaction_service.create(
                connection, merchant.digest, ORIGIN, new, ttl_seconds=900
            )
            return json.loads(answer.body)

    acts = [create] * 20
    acts[3:3] = [lambda: schedule(engine, merchant, "0.2", 20)] * 2
    acts[9:9] = [lambda: schedule(engine, merchant, None)] * 2
    made = [each for each in together(acts) if isinstance(each, dict)]
    assert len(made) == 20
    for one in made:
        found = one["fee_schedule"]
        assert (one["commission_rate"], one["commission"], found and found["fixed"]) in {
            ("0.1", "10.10", "0.10"),
            ("0.2", "20.20", "0.20"),
            ("0.03", "3.00", None),
        }
    assert findings(engine) == []


def test_who_sets_a_schedule_waits_for_whoever_is_setting_one(
    engine: Engine, merchant: TestUser, superuser: Engine
) -> None:
    with Session(engine) as session, transaction(session):
        user = session.get_one(User, merchant.id)
        first = fee_service.set_schedule(
            session, SYSTEM, user, currency="RUB", rate=Decimal("0.1")
        ).id
        with blocked(superuser, lambda: schedule(engine, merchant, "0.2")) as waiting:
            session.commit()
            second = waiting.result().id
    assert [each.schedule.id for each in schedules(engine, merchant)] == [second, first]
    assert make_transaction(engine, merchant)["commission_rate"] == "0.2"


def test_the_audit_log_has_the_fee_before_and_after(engine: Engine, merchant: TestUser) -> None:
    schedule(engine, merchant, "0.029", 300)
    kept = schedule(engine, merchant, "0.03", 0, 500, 9900)
    with Session(engine) as session:
        *_, record = audit_service.history(session, "user", merchant.id)
    assert record.action == "fee_schedule.set"
    assert record.before is not None
    assert record.after is not None
    assert (record.before["rate"], record.before["fixed"]) == ("0.029", "3.00")
    assert record.after == {
        "id": str(kept.id),
        "currency": "RUB",
        "rate": "0.03",
        "fixed": "0.00",
        "minimum": "5.00",
        "maximum": "99.00",
        "starts_at": kept.starts_at.isoformat(),
    }


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "rate above 1": ({"rate": Decimal("1.000001")}, ["rate"]),
    "rate below 0": ({"rate": Decimal("-0.01")}, ["rate"]),
    "rate with seven digits": ({"rate": Decimal("0.0000001")}, ["rate"]),
    "rate no number": ({"rate": Decimal("NaN")}, ["rate"]),
    "rate infinite": ({"rate": Decimal("Infinity")}, ["rate"]),
    "fixed below 0": ({"fixed": -1}, ["fixed"]),
    "fixed too large": ({"fixed": MAX_MINOR + 1}, ["fixed"]),
    "minimum below 0": ({"minimum": -1}, ["minimum"]),
    "minimum too large": ({"minimum": MAX_MINOR + 1}, ["minimum"]),
    "maximum too large": ({"maximum": MAX_MINOR + 1}, ["maximum"]),
    "maximum below the minimum": ({"minimum": 2, "maximum": 1}, ["maximum"]),
    "several": ({"rate": Decimal(2), "fixed": -1}, ["rate", "fixed"]),
    "plain with a fixed part": ({"rate": None, "fixed": 1}, ["rate"]),
    "plain with a minimum": ({"rate": None, "minimum": 1}, ["rate"]),
    "plain with a maximum": ({"rate": None, "maximum": 0}, ["rate"]),
    "unknown currency": ({"currency": "XXX"}, ["currency"]),
    "currency in lower case": ({"currency": "rub"}, ["currency"]),
    "past": ({"starts_at": datetime(2020, 1, 1, tzinfo=UTC)}, ["starts_at"]),
    "no zone": ({"starts_at": datetime(2999, 1, 1)}, ["starts_at"]),  # noqa: DTZ001  # that is wrong
    "beyond the calendar": (
        {"starts_at": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))},
        ["starts_at"],
    ),
}


@pytest.mark.parametrize(("parts", "fields"), WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_is_refused_and_nothing_written(
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    parts: dict[str, Any],
    fields: list[str],
) -> None:
    before = row_counts(connection)
    asked = {"currency": "RUB", "rate": Decimal("0.1"), **parts}
    with Session(engine) as session:
        user = session.get_one(User, merchant.id)
        with pytest.raises(InvalidInput) as caught:
            fee_service.set_schedule(session, SYSTEM, user, **asked)
        session.commit()
    assert [each.field for each in caught.value.errors] == fields
    assert row_counts(connection) == before


def test_a_moment_ago_is_past(engine: Engine, merchant: TestUser) -> None:
    with pytest.raises(InvalidInput):
        schedule(engine, merchant, "0.1", starts_at=by_the_database(engine, microseconds=-1))


def test_bounds_themselves_are_fine(engine: Engine, merchant: TestUser) -> None:
    schedule(engine, merchant, "0.000001", MAX_MINOR, MAX_MINOR, MAX_MINOR, currency="BTC")
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    schedule(engine, merchant, "1", 0, 0, 0, starts_at=last)
    assert states(engine, merchant) == ["in_force", "planned"]


@pytest.mark.parametrize(
    "change", ["UPDATE fee_schedules SET rate = 0.9", "DELETE FROM fee_schedules"]
)
def test_history_cannot_be_changed(
    engine: Engine, superuser: Engine, merchant: TestUser, change: str
) -> None:
    schedule(engine, merchant, "0.1")
    for role in (engine, superuser):
        with role.connect() as connection, pytest.raises(DBAPIError):
            connection.execute(text(change))
    assert make_transaction(engine, merchant)["commission_rate"] == "0.1"


FORGED = {
    "another rate": "rate = 0.2",
    "another fixed part": "fixed = fixed + 1",
    "another minimum": "minimum = 1",
    "another maximum": "maximum = 1000000",
    "no maximum": "maximum = NULL",
    "another currency": "currency = 'USD'",
    "not begun": "starts_at = starts_at + interval '1 day'",
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_the_database_refuses_a_fee_that_its_schedule_does_not_say(
    engine: Engine, superuser: Engine, merchant: TestUser, change: str
) -> None:
    """Whoever inserts a transaction, by whatever code, under the id of another's terms."""
    schedule(engine, merchant, "0.1", 10, 0, 100_000)
    made = make_transaction(engine, merchant)
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(f"UPDATE fee_schedules SET {change}"))
    columns = (
        "user_id, amount, commission, commission_rate, currency, created_at, expires_at,"
        " fee_schedule_id, fee_fixed, fee_minimum, fee_maximum"
    )
    copied = text(
        f"INSERT INTO transactions (id, {columns}) SELECT gen_random_uuid(), {columns}"
        " FROM transactions WHERE id = :id"
    )
    for role in (engine, superuser):
        with role.connect() as connection:
            connection.execute(copied, {"id": made["id"]})
            with pytest.raises(IntegrityError) as caught:
                connection.commit()
        assert constraint_name(caught.value) == "fee_is_of_its_schedule"


def test_a_merchant_with_schedules_has_history(engine: Engine, merchant: TestUser) -> None:
    schedule(engine, merchant, "0.1")
    with Session(engine) as session, pytest.raises(UserHasHistory), transaction(session):
        user_service.delete_user(session, SYSTEM, session.get_one(User, merchant.id))
    assert states(engine, merchant) == ["in_force"]


def test_the_steps_spell_the_rule_out(engine: Engine, merchant: TestUser) -> None:
    schedule(engine, merchant, "0.029", 300, 500, 100_000)
    assert preview(engine, merchant, "100.05").steps == (
        "100.05 × 0.029 = 2.90145, rounded half-up: 2.90",
        "2.90 + 3.00 fixed = 5.90",
        "at most 1000.00: 5.90",
        "at least 5.00: 5.90",
        "net: 100.05 - 5.90 = 94.15",
    )
    schedule(engine, merchant, "0", 0, 500)
    assert preview(engine, merchant, "4.00").steps == (
        "4.00 × 0 = 0, rounded half-up: 0.00",
        "at least 5.00: 5.00",
        "never above the amount: 4.00",
        "net: 4.00 - 4.00 = 0.00",
    )


def test_the_steps_are_exact_for_the_longest_numbers(engine: Engine, merchant: TestUser) -> None:
    schedule(engine, merchant, "0.999999", currency="TON")
    shown = preview(engine, merchant, "999999.999999999", "TON")
    assert shown.steps[0] == (
        "999999.999999999 × 0.999999 = 999998.999999999000001, rounded half-up: 999998.999999999"
    )


@pytest.mark.parametrize(
    ("currency", "amount", "net"),
    [
        ("USDT", "10.000001", "9.700001"),
        ("BTC", "0.12345678", "0.11975308"),
        ("TON", "1.000000001", "0.970000001"),
    ],
)
def test_crypto_assets_are_money_like_any_other(
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
    currency: str,
    amount: str,
    net: str,
) -> None:
    made = make_transaction(engine, merchant, amount=amount, currency=currency)
    assert (made["amount"], made["net"]) == (amount, net)
    transaction_service.confirm(connection, admin.digest, ORIGIN, made["id"])
    held = {
        each.currency: each.available
        for each in ledger_service.holdings(connection, merchant.actor)
    }
    assert held[currency] == int(net.replace(".", ""))
    assert findings(engine) == []


def test_many_merchants_set_schedules_at_once(engine: Engine, keyring: Keyring) -> None:
    merchants = [make_user(engine, keyring) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda user: schedule(engine, user, "0.1"), merchants))
    for user in merchants:
        assert states(engine, user) == ["in_force"]
