"""Lists by amount and currency: exact in every currency, and what is rare by its index."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart import money
from standart.db import autocommit
from standart.encryption import Keyring
from standart.models import Role
from standart.services import (
    sums_service,
    transaction_amounts,
    transaction_list,
    transaction_service,
)
from standart.services.transaction_list import Wanted
from standart.states import TransactionStatus
from tests.builders import ORIGIN, TestUser, make_transaction, make_user

# The main unit has none, two, three and eight digits in these.
AMOUNTS = [
    ("100", "JPY"),
    ("101", "JPY"),
    ("1.00", "RUB"),
    ("99.99", "RUB"),
    ("100.00", "RUB"),
    ("100.01", "USD"),
    ("0.100", "KWD"),
    ("100.001", "KWD"),
    ("99.99999999", "BTC"),
    ("100", "BTC"),
]

RANGES: list[tuple[str | None, str | None]] = [
    ("100", "100"),
    ("100", None),
    (None, "100"),
    ("99.995", "100.005"),
    ("100.0005", "100.9"),
    ("0.01", "0.02"),
    ("0", "0"),
    ("200", "100"),
    ("1", "9999999999999999"),
    ("9999999999999999.999999999", None),
]


@pytest.fixture
def shop(engine: Engine, merchant: TestUser, keyring: Keyring) -> TestUser:
    """A merchant with a transaction of each amount, every second one ended; another has half."""
    other = make_user(engine, keyring)
    for number, (amount, currency) in enumerate(AMOUNTS):
        made = make_transaction(engine, merchant, amount=amount, currency=currency)
        if number % 2:
            with autocommit(engine) as connection:
                transaction_service.cancel(connection, merchant.digest, ORIGIN, UUID(made["id"]))
    for amount, currency in AMOUNTS[: len(AMOUNTS) // 2]:
        make_transaction(engine, other, amount=amount, currency=currency)
    return merchant


def found(connection: Connection, caller: TestUser, **filters: Any) -> list[tuple[Decimal, str]]:
    wanted = Wanted(**filters)
    rows = transaction_list.page(connection, caller.actor, wanted, limit=100)
    counted = transaction_list.count(connection, caller.actor, wanted, most=100)
    bodies = [json.loads(row[0]) for row in rows]
    assert counted == len(bodies)
    return sorted((Decimal(body["amount"]), body["currency"]) for body in bodies)


def bound(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


@pytest.mark.parametrize("summed", [False, True], ids=["no sums yet", "by the sums"])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_a_range_of_main_units_holds_in_every_currency(
    connection: Connection, shop: TestUser, summed: bool, low: str | None, high: str | None
) -> None:
    if summed:
        sums_service.keep(connection)
    bounds = {"amount_from": bound(low), "amount_to": bound(high)}
    given = {name: value for name, value in bounds.items() if value is not None}
    right = sorted(
        (Decimal(amount), currency)
        for amount, currency in AMOUNTS
        if Decimal(low or 0) <= Decimal(amount) <= Decimal(high or "1e20")
    )
    assert found(connection, shop, **given) == right
    for status, ended in (("pending", 0), ("canceled", 1)):
        some = sorted(
            (Decimal(amount), currency)
            for number, (amount, currency) in enumerate(AMOUNTS)
            if number % 2 == ended and (Decimal(amount), currency) in right
        )
        assert found(connection, shop, status=TransactionStatus(status), **given) == some
    for currency in ("JPY", "RUB", "BTC", "EUR"):
        own = [each for each in right if each[1] == currency]
        assert found(connection, shop, currency=currency, **given) == own, currency


def test_who_sees_all_finds_the_amounts_of_all(
    connection: Connection, engine: Engine, keyring: Keyring, shop: TestUser
) -> None:
    admin = make_user(engine, keyring, role=Role.ADMIN)
    hundred = Decimal(100)
    twice = found(connection, admin, amount_from=hundred, amount_to=hundred)
    assert twice == [(hundred, "BTC"), *[(hundred, "JPY")] * 2, *[(hundred, "RUB")] * 2]
    one = found(connection, admin, user_id=shop.id, amount_from=hundred, amount_to=hundred)
    assert one == [(hundred, "BTC"), (hundred, "JPY"), (hundred, "RUB")]


def test_a_currency_that_is_new_to_a_merchant_is_found_before_it_is_summed(
    connection: Connection, engine: Engine, shop: TestUser
) -> None:
    sums_service.keep(connection)
    assert transaction_amounts.currencies_of(connection, shop.id) is not None
    assert found(connection, shop, currency="EUR") == []
    make_transaction(engine, shop, amount="5.00", currency="EUR")
    assert found(connection, shop, currency="EUR") == [(Decimal(5), "EUR")]
    assert found(connection, shop, amount_from=Decimal(5), amount_to=Decimal(5)) == [
        (Decimal(5), "EUR")
    ]


def test_the_currencies_are_known_after_a_quiet_night(
    connection: Connection, superuser: Engine, shop: TestUser
) -> None:
    """The mark of the sums moves only when something has happened."""
    sums_service.keep(connection)
    with superuser.begin() as other:
        other.execute(text("UPDATE sums_mark SET upto = upto - interval '2 days'"))
    assert set(transaction_amounts.currencies_of(connection, shop.id) or ()) == {
        currency for _, currency in AMOUNTS
    }


def test_many_rows_without_sums_are_not_read_for_their_currencies(
    connection: Connection, shop: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction_amounts, "BEHIND", len(AMOUNTS))
    assert transaction_amounts.currencies_of(connection, shop.id) is not None
    monkeypatch.setattr(transaction_amounts, "BEHIND", len(AMOUNTS) - 1)
    assert transaction_amounts.currencies_of(connection, shop.id) is None


def test_the_bounds_are_those_of_each_number_of_digits() -> None:
    written = transaction_amounts.between(Decimal("1.5"), Decimal(2), ["JPY", "RUB", "EUR"])
    assert written == (
        "(t.amount BETWEEN 150 AND 200 AND t.currency IN ('EUR', 'RUB')"
        " OR t.amount BETWEEN 2 AND 2 AND t.currency IN ('JPY'))"
    )
    assert transaction_amounts.between(Decimal(3), Decimal(2), None) == "false"
    assert transaction_amounts.between(None, None, []) == "false"
    every = transaction_amounts.between(None, None, None)
    assert all(f"'{code}'" in every for code in money.CURRENCIES)


# As a service's amounts are: many small ones, few large ones, another merchant beside.
FILL = text(
    """
    INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
        created_at, expires_at, status, finished_at)
    SELECT CAST(:user_id AS uuid), gen_random_uuid(), 100 + (n * 7919) % 100000, 0, 0, :currency,
        clock_timestamp() - make_interval(secs => n), clock_timestamp() + interval '1 hour',
        'confirmed', clock_timestamp()
    FROM generate_series(1, 30000) AS n
    """
)


def indexes(plan: Any) -> set[str]:
    named = {plan["Index Name"]} if "Index Name" in plan else set()
    return named.union(*(indexes(part) for part in plan.get("Plans", [])))


@pytest.mark.parametrize("own", [False, True], ids=["of all", "of one"])
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"amount_from": Decimal("500.01"), "amount_to": Decimal("500.02")}, "amount"),
        ({"amount_from": Decimal(100_080)}, "amount"),
        ({"amount_from": Decimal(5)}, "newest"),
    ],
)
def test_rare_amounts_are_found_by_their_index_and_common_ones_newest_first(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    merchant: TestUser,
    own: bool,
    filters: dict[str, Decimal],
    index: str,
) -> None:
    other = make_user(engine, keyring)
    with superuser.begin() as loading:
        loading.execute(text("SET LOCAL session_replication_role = replica"))
        loading.execute(FILL, {"user_id": merchant.id, "currency": "RUB"})
        loading.execute(FILL, {"user_id": other.id, "currency": "JPY"})
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as tidying:
        tidying.execute(text("VACUUM ANALYZE transactions"))
    sums_service.keep(connection)
    caller = merchant if own else make_user(engine, keyring, role=Role.ADMIN)
    conditions = transaction_list.conditions(connection, caller.actor, Wanted(**filters))
    ended = " AND ".join(conditions.branches(None)[0])
    statement = text(
        f"EXPLAIN (FORMAT JSON) SELECT * FROM transactions t"
        f" WHERE {ended} ORDER BY created_at DESC, id DESC LIMIT 26"
    )
    connection.execute(text("SET random_page_cost = 1.1"))
    plan = connection.execute(statement, conditions.parameters).scalar_one()[0]["Plan"]
    connection.execute(text("RESET random_page_cost"))
    newest = "ix_transactions_user_newest" if own else "ix_transactions_newest"
    assert indexes(plan) == {newest if index == "newest" else "ix_transactions_amount"}, plan
