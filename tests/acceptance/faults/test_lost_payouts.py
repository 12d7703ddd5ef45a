"""F1, F4 for acts of several statements: the connection to the database dies at the COMMIT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from standart.encryption import Keyring
from standart.models import Role, Scope
from tests import builders
from tests.acceptance.client import Client, Reply
from tests.acceptance.faults.conftest import Api, Parts
from tests.acceptance.proxy import Proxy, Trap
from tests.builders import TestUser, row_counts
from tests.integration.books import findings
from tests.integration.payouts import DESTINATION, credit

KEY = "one-key"
BODY = {"amount": "60.00", "destination": DESTINATION}

Lose = Callable[[Proxy], Trap]


def before_it(proxy: Proxy) -> Trap:
    """Lose the COMMIT itself: nothing was done."""
    return proxy.lose_request(b"COMMIT")


def after_it(proxy: Proxy) -> Trap:
    """Lose its answer: all was done, and nobody heard of it."""
    return proxy.lose_answer(b"COMMIT\x00")


@pytest.fixture
def api(parts: Parts, database_proxy: tuple[Proxy, str]) -> Api:
    """An API whose payouts above 50.00 need two admins."""
    return parts.having(
        DATABASE_URL=database_proxy[1], STANDART_FOUR_EYES_ABOVE="RUB:50.00"
    ).serve()


@pytest.fixture
def payer(api: Api, engine: Engine, operator: TestUser, merchant: TestUser) -> Client:
    """A merchant who has 97.00, its client warm."""
    credit(engine, operator, merchant)
    payer = Client(api.port, builders.make_key(engine, merchant, Scope.READ, Scope.PAYOUT))
    assert payer.post("/create_payout", {"amount": "1.00"}).status == 201
    return payer


def losing(proxy: Proxy, lose: Lose, send: Callable[[], Reply]) -> Reply:
    """Send while the next COMMIT is lost on one of its ways; what a patient client hears."""
    trapped = lose(proxy)
    trapped.cut.set()
    reply = send()
    assert trapped.caught.is_set()
    # The server may not have noticed yet that the connection is gone, and then holds the key.
    while reply.json.get("code") == "idempotency_key_in_flight":
        reply = send()
    return reply


def payouts(engine: Engine) -> int:
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM payouts WHERE amount = 6000")
        return int(connection.scalar(query) or 0)


@pytest.mark.parametrize(("lose", "key"), [(before_it, KEY), (after_it, KEY), (after_it, None)])
def test_a_payout_is_made_once(
    lose: Lose,
    key: str | None,
    payer: Client,
    database_proxy: tuple[Proxy, str],
    engine: Engine,
) -> None:
    reply = losing(database_proxy[0], lose, lambda: payer.post("/create_payout", BODY, key))

    assert (reply.status, reply.json["amount"], reply.json["status"]) == (201, "60.00", "pending")
    assert payouts(engine) == 1
    [balance] = payer.get("/balance").json["balances"]
    assert balance["balance"] == "36.00"
    if key is not None:
        again = payer.post("/create_payout", BODY, key)
        assert (again.status, again.body, again.replayed) == (201, reply.body, True)
        assert payouts(engine) == 1
    assert findings(engine) == []


def test_each_act_happens_once_and_is_answered_as_if_nothing_was_lost(
    api: Api,
    payer: Client,
    database_proxy: tuple[Proxy, str],
    engine: Engine,
    keyring: Keyring,
    operator: TestUser,
) -> None:
    second = api.client(builders.make_user(engine, keyring, role=Role.ADMIN))
    first = api.client(operator)
    subject = {"id": payer.post("/create_payout", BODY).json["id"]}
    small = {"id": payer.post("/create_payout", {"amount": "2.00"}).json["id"]}

    def lost(client: Client, path: str, body: dict[str, Any]) -> tuple[int, str, int]:
        reply = losing(database_proxy[0], after_it, lambda: client.post(path, body))
        return reply.status, reply.json["status"], reply.json["approvals"]

    assert lost(first, "/approve_payout", subject) == (202, "pending", 1)
    assert first.post("/approve_payout", subject).status == 403
    assert lost(second, "/approve_payout", subject) == (200, "approved", 2)
    failed = {**subject, "result": "failed", "reason": "Closed"}
    assert lost(first, "/complete_payout", failed) == (200, "failed", 2)
    assert lost(payer, "/cancel_payout", small) == (200, "canceled", 0)
    with engine.connect() as connection:
        counts = row_counts(connection)
        told = connection.scalars(
            text("SELECT type FROM events WHERE payout_id IS NOT NULL ORDER BY created_at, id")
        ).all()
    assert told == [
        *("payout.created", "payout.created", "payout.created"),
        *("payout.approved", "payout.failed", "payout.canceled"),
    ]
    assert counts["approvals"] == 2
    assert findings(engine) == []
