"""Attacks on the database with plain SQL, which it must refuse by itself."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

DENIED = "42501"

_BORN = (
    "INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,"
    " created_at, expires_at, status, finished_at{columns}) VALUES (:shop, :new, {amount},"
    " {commission}, {rate}, '{currency}', now(), now() + interval '{ttl}', '{status}', {finished}"
    "{values})"
)


def attack(engine: Engine, names: dict[str, Any], *statements: str) -> DBAPIError:
    """Run the statements in one transaction that must fail; return what it failed with."""
    try:
        with engine.begin() as connection:
            for statement in statements:
                used = {name: value for name, value in names.items() if f":{name}" in statement}
                connection.execute(text(statement), used)
    except DBAPIError as refused:
        return refused
    pytest.fail(f"was let through: {statements}")


def born(more: dict[str, str] | None = None, **changes: str) -> str:
    """SQL: a new transaction of the shop; ``more`` has further columns."""
    usual = {
        "amount": "100",
        "commission": "3",
        "rate": "0.03",
        "currency": "RUB",
        "ttl": "1 hour",
        "status": "pending",
        "finished": "NULL",
    }
    columns = "".join(f", {name}" for name in more or {})
    values = "".join(f", {value}" for value in (more or {}).values())
    return _BORN.format(columns=columns, values=values, **(usual | changes))
