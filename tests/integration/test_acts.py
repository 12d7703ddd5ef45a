"""Acts of several statements: what happens to the caller meanwhile."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import Unauthenticated
from standart.models import Role
from standart.services import note_service
from standart.services.idempotency_service import Answer
from standart.services.note_service import NewNote
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, row_counts
from tests.integration.concurrency import blocked, uncommitted


def test_a_caller_that_is_deleted_meanwhile_is_known_no_more(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    made = make_transaction(engine, merchant)
    leaving = make_user(engine, keyring, role=Role.ADMIN)
    before = row_counts(connection)

    def write() -> Answer:
        new = NewNote(transaction_id=UUID(made["id"]), text="seen", internal=True)
        with autocommit(engine) as own:
            return note_service.create_note(own, leaving.digest, ORIGIN, new)

    with uncommitted(engine) as deleting:
        for table in ("api_keys", "webhook_endpoints"):
            deleting.execute(text(f"DELETE FROM {table} WHERE user_id = :id"), {"id": leaving.id})
        deleting.execute(text("DELETE FROM users WHERE id = :id"), {"id": leaving.id})
        with blocked(superuser, write) as writing:
            deleting.commit()
            refused = writing.result()

    assert isinstance(refused, Unauthenticated)
    after = row_counts(connection)
    gone = ("users", "particulars", "api_keys", "webhook_endpoints", "webhook_lanes")
    assert after == before | {table: before[table] - 1 for table in gone}
