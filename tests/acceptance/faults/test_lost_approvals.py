"""F1, F4 for confirms by two admins and adjustments: the connection dies at the COMMIT."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from standart.encryption import Keyring
from standart.models import Role
from tests import builders
from tests.acceptance.client import Client, Reply
from tests.acceptance.faults.conftest import Api, Parts
from tests.acceptance.faults.test_lost_payouts import Lose, after_it, before_it, losing
from tests.acceptance.proxy import Proxy
from tests.builders import TestUser, row_counts
from tests.integration.books import findings

KEY = "one-key"


@pytest.fixture
def api(parts: Parts, database_proxy: tuple[Proxy, str]) -> Api:
    """An API where sums above 50.00 need two admins."""
    return parts.having(
        DATABASE_URL=database_proxy[1], STANDART_FOUR_EYES_ABOVE="RUB:50.00"
    ).serve()


@pytest.fixture
def admins(
    api: Api, engine: Engine, keyring: Keyring, operator: TestUser, merchant: TestUser
) -> tuple[Client, Client]:
    """Two admins' clients, warm."""
    second = builders.make_user(engine, keyring, role=Role.ADMIN)
    both = api.client(operator), api.client(second)
    for client in both:
        assert client.post("/create_adjustment", adjustment(merchant, "1.00")).status == 201
    return both


def adjustment(owner: TestUser, amount: str) -> dict[str, Any]:
    return {
        "user_id": str(owner.id),
        "amount": amount,
        "direction": "credit",
        "reason": "Counted anew",
    }


def shown(reply: Reply) -> tuple[int, str, int]:
    return reply.status, reply.json["status"], reply.json["approvals"]


@pytest.mark.parametrize("lose", [before_it, after_it])
def test_an_adjustment_is_posted_once(
    lose: Lose,
    admins: tuple[Client, Client],
    database_proxy: tuple[Proxy, str],
    engine: Engine,
    merchant: TestUser,
) -> None:
    reply = losing(
        database_proxy[0],
        lose,
        lambda: admins[0].post("/create_adjustment", adjustment(merchant, "20.00")),
    )
    assert shown(reply) == (201, "posted", 0)
    [balance] = admins[0].get("/balance", user_id=str(merchant.id)).json["balances"]
    assert balance["balance"] == "22.00"
    assert findings(engine) == []


@pytest.mark.parametrize(
    ("lose", "key"), [(before_it, None), (before_it, KEY), (after_it, None), (after_it, KEY)]
)
def test_each_consent_counts_once_and_is_answered_as_if_nothing_was_lost(
    lose: Lose,
    key: str | None,
    admins: tuple[Client, Client],
    database_proxy: tuple[Proxy, str],
    engine: Engine,
    merchant: TestUser,
) -> None:
    first, second = admins
    paid = {"id": builders.make_transaction(engine, merchant, amount="100.00")["id"]}

    def lost(client: Client, path: str, body: dict[str, Any]) -> Reply:
        return losing(database_proxy[0], lose, lambda: client.post(path, body, key))

    assert shown(lost(first, "/confirm_transaction", paid)) == (202, "pending", 1)
    assert first.post("/confirm_transaction", paid).status == 403
    assert shown(lost(second, "/confirm_transaction", paid)) == (200, "confirmed", 2)

    made = lost(first, "/create_adjustment", adjustment(merchant, "60.00"))
    assert shown(made) == (202, "pending", 1)
    waiting = {"id": made.json["id"]}
    assert first.post("/approve_adjustment", waiting).status == 403
    assert shown(lost(second, "/approve_adjustment", waiting)) == (200, "posted", 2)

    with engine.connect() as connection:
        counts = row_counts(connection)
    assert counts["approvals"] == 4
    assert counts["adjustments"] == 3
    assert findings(engine) == []
