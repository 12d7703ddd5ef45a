"""Work that runs again because its connection died has one effect."""

from __future__ import annotations

from sqlalchemy import Connection

from standart.services import transaction_service
from standart.services.transaction_request import NewTransaction
from tests.builders import ORIGIN, TestUser, row_counts


def test_a_create_that_runs_twice_makes_one_transaction(
    connection: Connection, merchant: TestUser
) -> None:
    new = NewTransaction(amount="5.00")

    first, second = (
        transaction_service.create(connection, merchant.digest, ORIGIN, new, ttl_seconds=900)
        for _ in range(2)
    )

    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    assert row_counts(connection)["transactions"] == 1
