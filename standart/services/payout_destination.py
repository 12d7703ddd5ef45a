"""Where the money of a payout goes: sealed before the database sees it, shown masked.

The plain fields leave by ``read`` only, for the operator who pays, and each look is written
to the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from standart.encryption import Keyring
from standart.errors import NotFound
from standart.models import Scope
from standart.services import acts, audit_service, payout_sql
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer
from standart.services.key_service import KeyDigest

MASK: Final = "****"

# Of a shorter value the last characters would give away too much.
_HIDDEN_WHOLE: Final = 8
_SHOWN: Final = 4


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a destination as everybody may see them.

    Of a value longer than eight characters the last four are shown, of a shorter one
    nothing; neither tells how long it is.
    """
    return {
        name: MASK + value[-_SHOWN:] if len(value) > _HIDDEN_WHOLE else MASK
        for name, value in values.items()
    }


def seal(keyring: Keyring, user_id: UUID, payout_id: UUID, values: Mapping[str, str]) -> bytes:
    """Return ``values`` encrypted for exactly this payout: moved to another it does not open."""
    return keyring.encrypt(msgspec.json.encode(values), _context(user_id, payout_id))


def reseal(keyring: Keyring, user_id: UUID, payout_id: UUID, box: bytes) -> bytes:
    """Return the same destination sealed with the first key of the ring.

    Raises:
        ConfigurationError: the ring lacks its key, or it is damaged.
    """
    return keyring.reseal(box, _context(user_id, payout_id))


def read(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    keyring: Keyring,
    payout_id: UUID,
) -> Answer:
    """Return where a payout goes in plain, ``null`` if it names nothing; record the look.

    Raises:
        InsufficientScope, Forbidden: only admins may.
        NotFound: there is no such payout.
        ConfigurationError: the key ring lacks the key that it is sealed with.
    """

    def work(actor: Actor) -> Answer:
        acts.require_settler(actor)
        row = connection.execute(payout_sql.DESTINATION, {"id": payout_id}).one_or_none()
        if row is None:
            raise NotFound
        plain = None
        if row.destination is not None:
            context = _context(row.user_id, payout_id)
            plain = msgspec.json.decode(keyring.decrypt(row.destination, context))
        audit_service.record(connection, actor, "payout.destination_read", "payout", payout_id)
        # Put together here and not by the database, which never sees it in plain.
        body = msgspec.json.encode({"id": str(payout_id), "destination": plain})
        return Answer(200, body.decode())

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work)


def _context(user_id: UUID, payout_id: UUID) -> bytes:
    return b"payout_destination:" + user_id.bytes + payout_id.bytes
