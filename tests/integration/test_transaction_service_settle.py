"""Create, confirm, cancel, check, list, expire: one at a time."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Connection, Engine

from standart.errors import NotPending
from standart.services import ledger_service, transaction_service
from tests.builders import ORIGIN, TestUser, make_transaction


def test_confirm_credits_the_net(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = make_transaction(engine, merchant, amount="100.00")

    answer = transaction_service.confirm(connection, admin.digest, ORIGIN, made["id"])

    assert answer.status == 200
    assert json.loads(answer.body)["status"] == "confirmed"
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9700)]
    with pytest.raises(NotPending) as refused:
        transaction_service.cancel(connection, merchant.digest, ORIGIN, made["id"])
    assert refused.value.members == {"transaction_status": "confirmed"}
