"""Act in one guarded statement; if it wrote nothing, ask why in a second one.

The state may move between an act and the question why it failed, so each round asks anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from standart.db import constraint_name
from standart.errors import Unavailable
from standart.models import Scope
from standart.services import idempotency_service, key_service
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest

Run = Callable[[Connection, Mapping[str, Any]], Any]

_ROUNDS = 5

# Broken by what happened beside the statement: the id was taken, the user was deleted.
_EXPLAINED_CONSTRAINTS = frozenset(
    {
        "pk_transactions",
        "uq_transactions_id",
        "uq_transactions_reference",
        "fk_transactions_users",
        "fk_idempotency_keys_users",
    }
)


def act(
    connection: Connection,
    run: Run,
    parameters: Mapping[str, Any],
    explain: Callable[[], Answer | None],
    status: int,
    caller: KeyDigest | Actor,
    claim: IdempotencyClaim | None,
) -> Answer:
    """Run a guarded statement; when it wrote nothing, say why or try again."""
    if claim is not None:
        parameters = {**parameters, **claim.parameters(), "answer_status": status}
    for _ in range(_ROUNDS):
        try:
            row = run(connection, parameters)
        except IntegrityError as error:
            if constraint_name(error) not in _EXPLAINED_CONSTRAINTS:
                raise
            row = None
        if row is not None:
            return Answer(status, row[0], told=any(row[1:]))
        answer = explain()
        if answer is not None and _kept(connection, caller, claim, answer):
            return answer
    raise Unavailable("The transaction is busy; try again.", retry_after=1)


def _kept(
    connection: Connection,
    caller: KeyDigest | Actor,
    claim: IdempotencyClaim | None,
    answer: Answer,
) -> bool:
    """Keep an answer that the explaining path found, unless it is a kept one itself."""
    if claim is None or answer.replayed or not isinstance(caller, KeyDigest):
        return True
    actor = key_service.authenticate(connection, caller, Origin("api"))
    assert actor.user_id is not None
    return idempotency_service.keep(connection, actor.user_id, claim, answer)


def who_asks(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    scope: Scope,
    claim: IdempotencyClaim | None,
) -> tuple[Actor, Answer | None]:
    """Return who asks, and the kept answer if this was asked before."""
    if isinstance(caller, Actor):
        caller.require(scope)
        return caller, None
    actor = key_service.authenticate(connection, caller, origin)
    actor.require(scope)
    assert actor.user_id is not None
    kept = idempotency_service.replay(connection, actor.user_id, claim) if claim else None
    return actor, kept
