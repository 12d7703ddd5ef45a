"""A confirm above the four-eyes sum: the first admin's consent is kept, the second's confirms.

The transaction stays pending between the two, so it expires in its time and may be canceled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from standart.errors import NotFound, Unavailable
from standart.models import ApprovalOf, Scope
from standart.services import acts, approval_service
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.states import Action, TransactionStatus, target_of

Read = Callable[[Actor], str]
"""Reads the transaction on the wire as it stands now."""

Settle = Callable[[], Any]
"""Runs the guarded statement that confirms; ``None`` if it wrote nothing."""

_LOCK = text("SELECT user_id FROM transactions WHERE id = :id FOR UPDATE")


def confirm(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    transaction_id: UUID,
    act_id: UUID,
    *,
    claim: IdempotencyClaim | None,
    read: Read,
    settle: Settle,
) -> Answer:
    """Keep a consent and answer 202, or confirm and answer 200 if it is the second one.

    Raises:
        SecondPersonRequired: see ``approval_service``.
        NotPending: the transaction was canceled or has expired.
        NotFound: it is unknown.
    """

    def work(actor: Actor) -> Answer:
        acts.require_settler(actor)
        owner_id = connection.scalar(_LOCK, {"id": transaction_id})
        if owner_id is None:
            raise NotFound
        body = read(actor)
        if not _may_go_on(body):
            return Answer(200, body)
        enough = approval_service.approve(
            connection,
            actor,
            ApprovalOf.TRANSACTION,
            owner_id,
            transaction_id,
            act_id,
            told_as="transaction.approved",
        )
        return _confirmed(actor) if enough else Answer(202, read(actor))

    def _confirmed(actor: Actor) -> Answer:
        row = settle()
        if row is None:
            # The last moment has passed since it was read; the consent goes with it.
            _may_go_on(read(actor))
            raise Unavailable("The transaction is busy; try again.", retry_after=1)
        return Answer(200, row[0])

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def _may_go_on(body: str) -> bool:
    """Whether the transaction is pending, ``False`` if it is confirmed.

    Raises:
        NotPending: it ended otherwise.
    """
    status = TransactionStatus(msgspec.json.decode(body)["status"])
    return target_of(status, Action.CONFIRM) is not status
