"""The four-eyes rule: above a sum, money moves when two different people agreed.

The first consent is kept and changes nothing else; the second one lets the act happen. The
caller holds the lock of the row that it is about, so that the count is exact. A consent counts
while its giver is active and may give one: an admin, or an operator for all but adjustments.
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
from standart.services import audit_service
from standart.services.access import Actor
from standart.services.wire import may_consent

NEEDED = 2

Thresholds = Mapping[str, int]
"""Currency → minor units up to which one person suffices; a currency not named: any sum."""

NOBODY_ELSE: Final[Thresholds] = MappingProxyType({})
"""One person suffices for every sum."""

# Locked, so that who may agree now may do so until the commit; by id, like those who take
# rights away.
_GIVEN = text(
    f"""
    SELECT a.approver_id, a.hands, a.act_id, {may_consent("u", "a.object_type")} AS counts
    FROM approvals a JOIN users u ON u.id = a.approver_id
    WHERE a.user_id = :user_id AND a.object_type = :object_type AND a.object_id = :object_id
    ORDER BY u.id FOR SHARE OF u
    """
)

_APPROVE = text(
    """
    INSERT INTO approvals (user_id, object_type, object_id, approver_id, hands, act_id)
    VALUES (:user_id, :object_type, :object_id, :approver_id, CAST(:hands AS uuid[]), :act_id)
    """
)


def needs_two(amount: Money, alone: Thresholds) -> bool:
    """Whether ``amount`` is above what one person may move in its currency."""
    return abs(amount.amount) > alone.get(amount.currency, abs(amount.amount))


def approve(
    connection: Connection,
    actor: Actor,
    about: ApprovalOf,
    user_id: UUID,
    object_id: UUID,
    act_id: UUID,
    *,
    told_as: str | None = None,
) -> bool:
    """Keep the consent of ``actor``; return whether enough people have agreed now.

    ``user_id`` is the merchant whose money it is. ``act_id`` was drawn for this request alone:
    if its first run kept the consent and the connection died then, that is no second one.
    ``told_as`` is what the audit log calls a consent that waits for another one.

    Only those of people who may still agree count. Two that may come from one hand are one:
    somebody who made the key or the password of another person cannot be both.

    Raises:
        SecondPersonRequired: the actor has agreed before, or who has shares a hand with it.
        Unauthenticated: the actor is no person.
    """
    if actor.user_id is None:
        raise Unauthenticated("Only a person can approve.")
    subject = {"user_id": user_id, "object_type": about.value, "object_id": object_id}
    others = []
    for given in connection.execute(_GIVEN, subject):
        if given.approver_id != actor.user_id:
            others.append(given)
        elif given.act_id == act_id:
            return False
        else:
            raise SecondPersonRequired("You have approved this already; a second person must.")
    counting = [frozenset(given.hands) for given in others if given.counts]
    if any(hands & actor.hands for hands in counting):
        raise SecondPersonRequired(
            "One of you made the key or the password of the other, or one person made both; "
            "somebody with a key or login of its own must approve."
        )
    consent = {"approver_id": actor.user_id, "hands": sorted(actor.hands), "act_id": act_id}
    connection.execute(_APPROVE, {**subject, **consent})
    enough = len(counting) + 1 >= NEEDED
    if not enough and told_as is not None:
        audit_service.record(
            connection, actor, told_as, about.value, object_id, after={"approvals": 1}
        )
    return enough
