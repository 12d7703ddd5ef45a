"""F1, F4 for refunds and late payments: the connection to the database dies at the COMMIT."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from standart.encryption import Keyring
from standart.models import Role
from tests import builders
from tests.acceptance.client import Client
from tests.acceptance.faults.conftest import Api, Parts
from tests.acceptance.faults.test_lost_payouts import Lose, after_it, before_it, losing
from tests.acceptance.proxy import Proxy
from tests.builders import TestUser, row_counts
from tests.integration.books import findings
from tests.integration.movements import paid

KEY = "one-key"


@pytest.fixture
def api(parts: Parts, database_proxy: tuple[Proxy, str]) -> Api:
    """An API where sums above 50.00 need two admins."""
    return parts.having(
        DATABASE_URL=database_proxy[1], STANDART_FOUR_EYES_ABOVE="RUB:50.00"
    ).serve()


@pytest.fixture
def operators(
    api: Api, engine: Engine, keyring: Keyring, operator: TestUser, merchant: TestUser
) -> tuple[Client, Client]:
    """Two admins' clients, warm."""
    second = builders.make_user(engine, keyring, role=Role.ADMIN)
    both = api.client(operator), api.client(second)
    made = str(paid(engine, operator, merchant))
    for client in both:
        assert client.post("/create_refund", {"id": made, "amount": "1.00"}).status == 201
    return both


def canceled(client: Client, engine: Engine, owner: TestUser, amount: str) -> dict[str, Any]:
    """The body that names a canceled transaction."""
    named = {"id": builders.make_transaction(engine, owner, amount=amount)["id"]}
    assert client.post("/cancel_transaction", named).status == 200
    return named


@pytest.mark.parametrize(
    ("lose", "key"), [(before_it, None), (before_it, KEY), (after_it, None), (after_it, KEY)]
)
def test_a_refund_is_made_once(
    lose: Lose,
    key: str | None,
    operators: tuple[Client, Client],
    database_proxy: tuple[Proxy, str],
    engine: Engine,
    operator: TestUser,
    merchant: TestUser,
) -> None:
    """All that is left, so that a second one would find nothing."""
    subject = {"id": str(paid(engine, operator, merchant))}
    client = operators[0]

    reply = losing(database_proxy[0], lose, lambda: client.post("/create_refund", subject, key))

    assert (reply.status, reply.json["amount"]) == (201, "100.00")
    [balance] = client.get("/balance", user_id=str(merchant.id)).json["balances"]
    assert balance["balance"] == "92.00"
    listed = client.get("/refunds", transaction_id=subject["id"]).json["data"]
    assert listed == [reply.json]
    if key is not None:
        again = client.post("/create_refund", subject, key)
        assert (again.status, again.body, again.replayed) == (201, reply.body, True)
    assert findings(engine) == []


@pytest.mark.parametrize("lose", [before_it, after_it])
def test_late_money_is_counted_once_and_each_consent_too(
    lose: Lose,
    operators: tuple[Client, Client],
    database_proxy: tuple[Proxy, str],
    engine: Engine,
    merchant: TestUser,
) -> None:
    first, second = operators
    small = canceled(first, engine, merchant, "20.00")
    large = canceled(first, engine, merchant, "60.00")

    def lost(client: Client, body: dict[str, Any]) -> tuple[int, str, int, str | None]:
        reply = losing(database_proxy[0], lose, lambda: client.post("/record_late_payment", body))
        told = reply.json
        return reply.status, told["status"], told["approvals"], told["late_for"]

    assert lost(first, small) == (201, "confirmed", 0, small["id"])
    assert lost(first, large) == (202, "canceled", 1, None)
    assert first.post("/record_late_payment", large).status == 403
    assert lost(second, large) == (201, "confirmed", 2, large["id"])
    assert second.post("/record_late_payment", large).status == 200

    with engine.connect() as connection:
        counts = row_counts(connection)
    # One was paid in time, two were canceled and two of those paid late.
    assert (counts["transactions"], counts["approvals"]) == (5, 2)
    [balance] = first.get("/balance", user_id=str(merchant.id)).json["balances"]
    assert balance["balance"] == "172.60"
    assert findings(engine) == []
