"""What several modules attack or read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.clock import new_id
from standart.encryption import Keyring
from standart.services import transaction_service, webhook_service
from standart.services.webhook_service import AttemptResult
from tests.builders import ORIGIN, TestUser, make_transaction, make_user


@pytest.fixture
def names(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser
) -> dict[str, Any]:
    """A shop with one transaction of each kind and a webhook that was tried once."""
    shop = make_user(engine, keyring, webhook_url="https://shop.example/")
    made = {
        name: UUID(make_transaction(engine, shop, reference="r")["id"])
        for name in ("pending", "confirmed", "canceled")
    }
    transaction_service.confirm(connection, admin.digest, ORIGIN, made["confirmed"])
    transaction_service.cancel(connection, admin.digest, ORIGIN, made["canceled"])
    result = AttemptResult("delivered", 200, "", "", 1)
    claimed = webhook_service.claim_due(connection, keyring)
    webhook_service.record_attempts(connection, [(each, result) for each in claimed], schedule=())
    return {
        **made,
        "shop": shop.id,
        "other": make_user(engine, keyring).id,
        "journal": connection.scalar(text("SELECT id FROM journals")),
        "event": connection.scalar(text("SELECT id FROM events LIMIT 1")),
        "delivery": connection.scalar(text("SELECT id FROM deliveries LIMIT 1")),
        "new": new_id(),
        "new_event": new_id(),
    }
