"""How tests ask the service for a new transaction."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection

from standart.errors import InvalidInput
from standart.services import transaction_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.transaction_request import NewTransaction
from tests.builders import ORIGIN, TestUser

PATH = "/create_transaction"
TTL = 900


def claim(key: str = "order-1", body: bytes = b"{}") -> IdempotencyClaim:
    return IdempotencyClaim.of(PATH, key, body)


def create(
    connection: Connection,
    caller: TestUser,
    *,
    amount: str = "100.00",
    claimed: IdempotencyClaim | None = None,
    ttl: int = TTL,
    **fields: Any,
) -> Answer:
    return transaction_service.create(
        connection,
        caller.digest,
        ORIGIN,
        NewTransaction(amount=amount, **fields),
        ttl_seconds=ttl,
        claim=claimed,
    )


def wrong_fields(error: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    return [each.field for each in error.value.errors]
