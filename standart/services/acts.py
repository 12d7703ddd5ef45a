"""How an act of several statements is carried out: one transaction proves, works and keeps.

The hot acts are single statements (``transaction_sql``). What needs more goes through
``perform``: the caller, the idempotency key, the work and the kept answer share one
transaction, so an error leaves nothing behind and an answer is never kept without its act.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from standart.db import constraint_name, unit
from standart.encryption import Keyring
from standart.errors import Forbidden, Unauthenticated
from standart.models import Scope
from standart.services import idempotency_service, key_service
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest

Work = Callable[[Actor], Answer]

# Rows that name their author: broken when the author is deleted between proof and write.
_CALLER_CONSTRAINTS = frozenset({"fk_approvals_approvers", "fk_notes_users"})

_STILL_THERE = text("SELECT EXISTS (SELECT FROM users WHERE id = :id AND active AND role = :role)")


def perform(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    scope: Scope,
    work: Work,
    *,
    claim: IdempotencyClaim | None = None,
    sealed_by: Keyring | None = None,
) -> Answer:
    """Run ``work`` for whoever asks, all of it or nothing; replay a kept answer instead.

    Answers that show a secret are kept ``sealed_by`` the key ring.

    ``connection`` is in autocommit mode. A caller that lost its connection runs the act once
    more, perhaps after the commit: ``work`` must know its own first run by an id that was
    drawn before.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not do this.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """
    try:
        return _perform(connection, caller, origin, scope, work, claim, sealed_by)
    except IntegrityError as error:
        if constraint_name(error) in _CALLER_CONSTRAINTS:
            raise Unauthenticated("This user was deleted meanwhile.") from error
        raise


def _perform(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    scope: Scope,
    work: Work,
    claim: IdempotencyClaim | None,
    ring: Keyring | None,
) -> Answer:
    with unit(connection):
        actor = _proven(connection, caller, origin)
        actor.require(scope)
        # A key belongs to a user; the service itself and the command line have none.
        owner_id = actor.user_id if claim is not None else None
        if claim is not None and owner_id is not None:
            kept = idempotency_service.take(connection, owner_id, claim, ring)
            if kept is not None:
                return kept
        answer = work(actor)
        if claim is not None and owner_id is not None:
            # ``take`` holds the key's lock until the commit: nobody can keep another answer.
            idempotency_service.keep(connection, owner_id, claim, answer, ring)
        return answer


def require_admin(actor: Actor) -> None:
    """Refuse everybody but admins, whatever scopes the key has.

    Raises:
        Forbidden: the actor is no admin.
    """
    if not actor.is_admin:
        raise Forbidden("Only an admin may do this.")


def require_settler(actor: Actor) -> None:
    """Refuse everybody but admins and operators, whatever scopes the key has.

    Raises:
        Forbidden: the actor is neither.
    """
    if not actor.settles:
        raise Forbidden("Only an admin or an operator may do this.")


def _proven(connection: Connection, caller: KeyDigest | Actor, origin: Origin) -> Actor:
    """Return who asks, by the database's word of this moment."""
    if isinstance(caller, KeyDigest):
        return key_service.authenticate(connection, caller, origin)
    still_there = {"id": caller.user_id, "role": caller.role.value}
    if caller.user_id is not None and not connection.scalar(_STILL_THERE, still_there):
        raise Unauthenticated("This login is not active any more.")
    return caller.at(origin)
