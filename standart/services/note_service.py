"""Notes: what people write down about a transaction, for the merchant or for admins only.

A note is written once and never changed. It moves no money, so it tells no event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from standart.clock import new_id
from standart.errors import InvalidInput, NotFound
from standart.models import Scope
from standart.services import acts, audit_service
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.wire import rfc3339

Row = tuple[str, datetime, UUID]
"""Wire JSON, created_at and id of a note."""

_JSON = f"""(SELECT row_to_json(w)::text FROM (SELECT
        n.id, n.transaction_id, n.user_id, n.author_name AS author, n.internal, n.body AS text,
        {rfc3339("n.created_at")} AS created_at
    ) AS w)"""

_OWNER = text("SELECT user_id FROM transactions WHERE id = :id")

# No key is named: of two runs in one moment the second may meet the first at any unique key.
_ADD = text(
    """
    INSERT INTO notes (user_id, id, transaction_id, author_id, author_name, internal, body)
    VALUES (:user_id, :id, :transaction_id, :author_id, :author_name, :internal, :body)
    ON CONFLICT DO NOTHING
    """
)

_READ = text(f"SELECT {_JSON} FROM notes n WHERE n.user_id = :user_id AND n.id = :id")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNote:
    """What somebody writes down; ``fresh_id`` lets a repeated run find what the first wrote."""

    transaction_id: UUID
    text: str
    internal: bool = False
    fresh_id: UUID = field(default_factory=new_id)


def create_note(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    new: NewNote,
    *,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Add a note to a transaction, whatever its status; answers 201.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not write.
        InvalidInput: ``internal`` by somebody who is no admin.
        NotFound: the transaction is unknown, or somebody else's.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """

    def work(actor: Actor) -> Answer:
        if new.internal and not actor.settles:
            raise InvalidInput.of("internal", "Only an admin may write internal notes.")
        owner_id = _owner(connection, actor, new.transaction_id)
        note = {"user_id": owner_id, "id": new.fresh_id}
        written = {
            **note,
            "transaction_id": new.transaction_id,
            "author_id": actor.user_id,
            "author_name": actor.name,
            "internal": new.internal,
            "body": new.text,
        }
        if connection.execute(_ADD, written).rowcount:
            about = {"transaction_id": str(new.transaction_id), "internal": new.internal}
            audit_service.record(
                connection, actor, "note.created", "note", new.fresh_id, after=about
            )
        return Answer(201, connection.execute(_READ, note).scalar_one())

    return acts.perform(connection, caller, origin, Scope.WRITE, work, claim=claim)


def list_notes(
    connection: Connection,
    actor: Actor,
    transaction_id: UUID,
    *,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 20,
) -> list[Row]:
    """Return the notes of a transaction, newest first; internal ones for admins only.

    ``after`` is the (created_at, id) of the last note already seen.

    Raises:
        NotFound: the transaction is unknown, or somebody else's.
    """
    actor.require(Scope.READ)
    parameters: dict[str, Any] = {
        "user_id": _owner(connection, actor, transaction_id),
        "transaction_id": transaction_id,
        "limit": limit,
    }
    conditions = ["n.user_id = :user_id", "n.transaction_id = :transaction_id"]
    if not actor.sees_all:
        conditions.append("NOT n.internal")
    if after is not None:
        conditions.append("(n.created_at, n.id) < (:after_at, :after_id)")
        parameters |= {"after_at": after[0], "after_id": after[1]}
    rows = connection.execute(
        text(
            f"SELECT {_JSON} AS body, n.created_at, n.id FROM notes n"
            f" WHERE {' AND '.join(conditions)}"
            " ORDER BY n.created_at DESC, n.id DESC LIMIT :limit"
        ),
        parameters,
    )
    return [(row.body, row.created_at, row.id) for row in rows]


def _owner(connection: Connection, actor: Actor, transaction_id: UUID) -> UUID:
    """Return whose transaction it is.

    Raises:
        NotFound: it is unknown, or not the actor's to see.
    """
    owner_id: UUID | None = connection.scalar(_OWNER, {"id": transaction_id})
    if owner_id is None:
        raise NotFound
    actor.require_owner(owner_id)
    return owner_id
