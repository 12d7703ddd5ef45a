"""What the database itself refuses of the kept sums."""

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import constraint_name, sqlstate
from tests.integration.attacks import DENIED, attack

TABLES = {
    "hourly_sums": "'RUB', '{series}', now()",
    "merchant_hourly_sums": ":{user}, 'RUB', '{series}', now()",
    "merchant_sums": ":{user}, 'RUB', '{series}'",
}


def insert(table: str, *, series: str = "created", user: str = "shop", count: int = 1) -> str:
    key = TABLES[table].format(series=series, user=user)
    return f"INSERT INTO {table} VALUES ({key}, {count}, 1, 0)"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("wrong", "rule"),
    [({"series": "pending"}, "series_known"), ({"count": 0}, "count_positive")],
    ids=["series", "count"],
)
def test_a_sum_is_of_something_that_is_counted(
    roles: dict[str, Engine], names: dict[str, Any], table: str, wrong: Any, rule: str
) -> None:
    for role in roles.values():
        error = attack(role, names, insert(table, **wrong))
        assert constraint_name(error) == f"ck_{table}_{rule}"


@pytest.mark.parametrize("table", ["merchant_hourly_sums", "merchant_sums"])
def test_a_merchants_sum_has_its_merchant(
    roles: dict[str, Engine], names: dict[str, Any], table: str
) -> None:
    for role in roles.values():
        error = attack(role, names, insert(table, user="new"))
        assert constraint_name(error) == f"fk_{table}_users"


@pytest.mark.parametrize("table", TABLES)
def test_one_sum_of_a_kind(roles: dict[str, Engine], names: dict[str, Any], table: str) -> None:
    for role in roles.values():
        error = attack(role, names, insert(table), insert(table))
        assert constraint_name(error) == f"pk_{table}"


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("INSERT INTO sums_mark (upto) VALUES (now())", "pk_sums_mark"),
        ("INSERT INTO sums_mark VALUES (false, now())", "ck_sums_mark_one_row"),
    ],
    ids=["second", "other"],
)
def test_there_is_one_mark(
    roles: dict[str, Engine], names: dict[str, Any], statement: str, rule: str
) -> None:
    errors = {name: attack(role, names, statement) for name, role in roles.items()}
    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert constraint_name(error) == rule


def test_the_service_may_not_lose_its_mark_nor_the_sums(
    roles: dict[str, Engine], names: dict[str, Any], connection: Connection
) -> None:
    for table in ("sums_mark", "hourly_sums", "merchant_sums"):
        error = attack(roles["application"], names, f"DELETE FROM {table}")
        assert sqlstate(error) == DENIED
    assert connection.scalar(text("SELECT count(*) FROM sums_mark")) == 1
