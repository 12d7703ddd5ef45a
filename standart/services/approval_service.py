"""The four-eyes rule: above a sum, money moves when two different people agreed.

The first consent is kept and changes nothing else; the second one lets the act happen. The
caller holds the lock of the row that it is about, so that the count is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.errors import SecondPersonRequired, Unauthenticated
from standart.models import ApprovalOf
from standart.money import Money
from standart.services.access import Actor

NEEDED = 2

Thresholds = Mapping[str, int]
"""Currency → minor units up to which one person suffices; a currency not named: any sum."""

NOBODY_ELSE: Final[Thresholds] = MappingProxyType({})
"""One person suffices for every sum."""

_APPROVE = text(
    """
    INSERT INTO approvals (user_id, object_type, object_id, approver_id)
    VALUES (:user_id, :object_type, :object_id, :approver_id)
    ON CONFLICT DO NOTHING
    """
)

_COUNT = text(
    """
    SELECT count(*) FROM approvals
    WHERE user_id = :user_id AND object_type = :object_type AND object_id = :object_id
    """
)

_ACTED_IN_REQUEST = text(
    """
    SELECT EXISTS (SELECT FROM audit_log
        WHERE object_type = :object_type AND object_id = :object_id
          AND actor_id = :actor_id AND request_id = :request_id)
    """
)


def needs_two(amount: Money, alone: Thresholds) -> bool:
    """Whether ``amount`` is above what one person may move in its currency."""
    return abs(amount.amount) > alone.get(amount.currency, abs(amount.amount))


def approve(
    connection: Connection, actor: Actor, about: ApprovalOf, user_id: UUID, object_id: UUID
) -> bool:
    """Keep the consent of ``actor``; return whether enough people have agreed now.

    ``user_id`` is the merchant whose money it is.

    Raises:
        SecondPersonRequired: the actor has agreed before.
        Unauthenticated: the actor is no person.
    """
    if actor.user_id is None:
        raise Unauthenticated("Only a person can approve.")
    subject = {"user_id": user_id, "object_type": about.value, "object_id": object_id}
    if connection.execute(_APPROVE, {**subject, "approver_id": actor.user_id}).rowcount == 0:
        raise SecondPersonRequired
    return int(connection.execute(_COUNT, subject).scalar_one()) >= NEEDED


def is_repetition(
    connection: Connection, actor: Actor, object_type: str, object_id: UUID | str
) -> bool:
    """Whether this very request has acted on the object before, its connection being lost then.

    Told by the audit log, for whoever writes there what was approved. So a consent that was
    committed unheard is answered like a kept one and not as somebody's second.
    """
    asked = {
        "object_type": object_type,
        "object_id": str(object_id),
        "actor_id": actor.user_id,
        "request_id": actor.origin.request_id,
    }
    return bool(connection.scalar(_ACTED_IN_REQUEST, asked))
