"""Idempotency keys: one key, one effect, one answer.

The answer is kept for 24 hours for each user and path, in the database transaction that
has the effect. Only 2xx answers are kept: an error changed nothing and is computed anew. One
that shows a secret is kept sealed by the key ring.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.encryption import Keyring
from standart.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from standart.services.transaction_sql import IDEMPOTENCY_LOCK, KEPT_FOR

SEALED: Final = "sealed:"
"""What a kept answer begins with that is no JSON but a box of the key ring, in base64."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an act answers: HTTP status and JSON body; ``replayed`` if it is a kept one.

    ``told`` says, for acts that tell not always, that a webhook waits to be sent.
    """

    status: int
    body: str
    replayed: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyClaim:
    """The client's key, with the path it was sent to and the SHA-256 of what was asked."""

    path: str
    key: str
    fingerprint: bytes

    @classmethod
    def of(cls, path: str, key: str, request: bytes) -> IdempotencyClaim:
        """Make a claim for the canonical bytes of a request."""
        return cls(path, key, hashlib.sha256(request).digest())

    def parameters(self) -> dict[str, Any]:
        """Bind parameters of the statements that claim."""
        return {"path": self.path, "key": self.key, "fingerprint": self.fingerprint}


_FIND = text(
    f"""
    SELECT fingerprint, status, body FROM idempotency_keys
    WHERE user_id = :user_id AND path = :path AND key = :key
      AND created_at > clock_timestamp() - {KEPT_FOR}
    """
)

_IN_FLIGHT = text(
    "SELECT NOT pg_try_advisory_xact_lock("
    + IDEMPOTENCY_LOCK.format(user_id="CAST(:user_id AS uuid)")
    + ")"
)

_KEEP = text(
    f"""
    INSERT INTO idempotency_keys (user_id, path, key, fingerprint, status, body)
    VALUES (:user_id, :path, :key, :fingerprint, :answer_status, :body)
    ON CONFLICT (user_id, path, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, status = excluded.status,
            body = excluded.body, created_at = excluded.created_at
        WHERE idempotency_keys.created_at <= clock_timestamp() - {KEPT_FOR}
    """
)

_PURGE = text(
    f"""
    DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_keys
        WHERE created_at <= clock_timestamp() - {KEPT_FOR}
        LIMIT :batch FOR UPDATE SKIP LOCKED
    ))
    """
)


def replay(connection: Connection, user_id: UUID, claim: IdempotencyClaim) -> Answer | None:
    """Return the kept answer for this key, ``None`` when the key is free.

    Raises:
        IdempotencyKeyReused: the key was used with another body.
        IdempotencyKeyInFlight: a request with this key is still running.
    """
    parameters = {"user_id": user_id, **claim.parameters()}
    kept = _found(connection, parameters, claim)
    if kept is None and connection.scalar(_IN_FLIGHT, parameters):
        raise IdempotencyKeyInFlight(retry_after=1)
    return kept


def _found(
    connection: Connection, parameters: Mapping[str, Any], claim: IdempotencyClaim
) -> Answer | None:
    row = connection.execute(_FIND, parameters).one_or_none()
    if row is None:
        return None
    if row.fingerprint != claim.fingerprint:
        raise IdempotencyKeyReused.of("Idempotency-Key", "This key was used with another request.")
    return Answer(row.status, row.body, replayed=True)


def take(
    connection: Connection, user_id: UUID, claim: IdempotencyClaim, ring: Keyring | None = None
) -> Answer | None:
    """Hold the key until the transaction ends; return its kept answer, ``None`` if it is free.

    ``ring`` opens the answers of calls that keep theirs sealed.

    Raises:
        IdempotencyKeyReused: the key was used with another body.
        IdempotencyKeyInFlight: a request with this key is still running.
    """
    parameters = {"user_id": user_id, **claim.parameters()}
    # Locked first and read by a statement of its own: it sees what the holder before kept.
    if connection.scalar(_IN_FLIGHT, parameters):
        raise IdempotencyKeyInFlight(retry_after=1)
    kept = _found(connection, parameters, claim)
    if kept is None or ring is None:
        return kept
    box = base64.b64decode(kept.body.removeprefix(SEALED))
    plain = ring.decrypt(box, sealed_context(user_id, claim.path, claim.key))
    return Answer(kept.status, plain.decode(), replayed=True)


def sealed_context(user_id: UUID, path: str, key: str) -> bytes:
    """Return what a kept answer is sealed for: its own row and no other."""
    return b"kept_answer:" + user_id.bytes + hashlib.sha256(f"{path} {key}".encode()).digest()


def keep(
    connection: Connection,
    user_id: UUID,
    claim: IdempotencyClaim,
    answer: Answer,
    ring: Keyring | None = None,
) -> bool:
    """Keep ``answer`` where the act itself wrote nothing; ``False`` if another was quicker.

    With a ``ring`` it is kept sealed, as it shows a secret.
    """
    body = answer.body
    if ring is not None:
        box = ring.encrypt(body.encode(), sealed_context(user_id, claim.path, claim.key))
        body = SEALED + base64.b64encode(box).decode()
    parameters = {
        "user_id": user_id,
        "answer_status": answer.status,
        "body": body,
        **claim.parameters(),
    }
    return connection.execute(_KEEP, parameters).rowcount == 1


def purge(connection: Connection, *, batch: int = 1000) -> int:
    """Delete up to ``batch`` answers whose day is over; return how many went."""
    return connection.execute(_PURGE, {"batch": batch}).rowcount
