"""Confirm or cancel many pending transactions: a preview, then each act by itself.

Nothing is half told: each row is its own guarded act with its own answer, and the rows that
were not reached in time are named as such. Sending the same request again does nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from standart.clock import derived_id
from standart.db import is_transient
from standart.errors import DomainError, InvalidInput, NotFound, Unavailable
from standart.models import Scope
from standart.money import Money, format_minor
from standart.services import approval_service, transaction_service
from standart.services.access import Actor, Origin
from standart.services.approval_service import Thresholds
from standart.services.wire import CLOCK, VISIBLE
from standart.states import Action, TransactionStatus, target_of

MOST: Final = 1_000

_ACCEPTED: Final = 202


class Outcome(StrEnum):
    """What became of a row."""

    DONE = "done"
    ALREADY = "already"
    WAITS = "waits"
    REFUSED = "refused"
    NOT_REACHED = "not_reached"


@dataclass(frozen=True, slots=True)
class Item:
    """One row before the act: its transaction, ``None`` where there is none to be seen.

    ``two`` means that the act takes two people and this would be the first of them or the
    second; ``approvals`` have been given.
    """

    id: UUID
    user_id: UUID | None = None
    user_name: str = ""
    amount: int = 0
    currency: str = ""
    reference: str | None = None
    status: TransactionStatus | None = None
    two: bool = False
    approvals: int = 0

    @property
    def shown(self) -> dict[str, str]:
        """Return the amount as exact decimal text."""
        return {"amount": format_minor(self.amount, self.currency)}

    @property
    def can(self) -> bool:
        """Whether the act would change this row."""
        return self.status is TransactionStatus.PENDING


@dataclass(frozen=True, slots=True)
class Preview:
    """All rows, and what the ones that can be done come to: currency → (count, minor units)."""

    items: list[Item]
    sums: dict[str, tuple[int, int]]

    @property
    def possible(self) -> int:
        """Return how many rows the act would change."""
        return sum(each.can for each in self.items)

    @property
    def takes_two(self) -> bool:
        """Whether a row that the act would change takes two people."""
        return any(each.can and each.two for each in self.items)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one row, and why it was refused or is not known."""

    item: Item
    outcome: Outcome
    error: DomainError | None = None


_ITEMS = text(
    f"""
    SELECT v.id, v.user_id, u.name, v.amount, v.currency, v.reference, v.status, v.approvals
    FROM (
        SELECT {VISIBLE} FROM transactions t CROSS JOIN {CLOCK} AS clock
        WHERE t.id = ANY (CAST(:ids AS uuid[]))
    ) AS v
    JOIN users u ON u.id = v.user_id
    """
)


def preview(
    connection: Connection,
    actor: Actor,
    ids: Sequence[UUID],
    action: Action,
    *,
    alone: Thresholds,
) -> Preview:
    """Return what would be done, in the order of ``ids``; each is looked at once.

    Raises:
        InvalidInput: there are none, or more than ``MOST``.
        InsufficientScope: the actor settles nothing.
    """
    actor.require(Scope.CONFIRM)
    wanted = list(dict.fromkeys(ids))
    if not 1 <= len(wanted) <= MOST:
        raise InvalidInput.of("ids", f"must be 1 to {MOST} transactions")
    found = {row.id: row for row in connection.execute(_ITEMS, {"ids": wanted})}
    items = [_item(each, found.get(each), actor, action, alone) for each in wanted]
    sums: dict[str, tuple[int, int]] = {}
    for item in items:
        if item.can:
            count, amount = sums.get(item.currency, (0, 0))
            sums[item.currency] = (count + 1, amount + item.amount)
    return Preview(items, dict(sorted(sums.items())))


def _item(id: UUID, row: Row[Any] | None, actor: Actor, action: Action, alone: Thresholds) -> Item:
    if row is None or not actor.owns(row.user_id):
        return Item(id)
    amount = Money(row.amount, row.currency)
    return Item(
        id,
        row.user_id,
        row.name,
        row.amount,
        row.currency,
        row.reference,
        TransactionStatus(row.status),
        two=action is Action.CONFIRM and approval_service.needs_two(amount, alone),
        approvals=row.approvals,
    )


def settle(
    connection: Connection,
    actor: Actor,
    origin: Origin,
    items: Sequence[Item],
    action: Action,
    *,
    reason: str | None,
    alone: Thresholds,
    act_id: UUID,
    go_on: Callable[[], bool],
) -> Iterator[Result]:
    """Do it, row by row, while ``go_on`` says so; yield what became of each as it is done.

    ``connection`` is in autocommit mode. ``act_id`` was drawn for the form: the same form
    sent twice is one consent to each row, not two. A row that somebody else holds for too long
    keeps none of the others from its turn.

    Raises:
        DBAPIError: the connection is lost; what was yielded is done.
    """
    for item in items:
        if not go_on():
            yield Result(item, Outcome.NOT_REACHED)
        elif item.status is None:
            yield Result(item, Outcome.REFUSED, NotFound())
        elif item.status is target_of(TransactionStatus.PENDING, action):
            yield Result(item, Outcome.ALREADY)
        else:
            yield _one(connection, actor, origin, item, action, reason, alone, act_id)


def _one(
    connection: Connection,
    actor: Actor,
    origin: Origin,
    item: Item,
    action: Action,
    reason: str | None,
    alone: Thresholds,
    act_id: UUID,
) -> Result:
    try:
        if action is Action.CANCEL:
            transaction_service.cancel(connection, actor, origin, item.id, reason=reason)
            return Result(item, Outcome.DONE)
        answer = transaction_service.confirm(
            connection, actor, origin, item.id, alone=alone, act_id=derived_id(act_id, str(item.id))
        )
    except DomainError as error:
        return Result(item, Outcome.REFUSED, error)
    except DBAPIError as error:
        if error.connection_invalidated or not is_transient(error):
            raise
        return Result(item, Outcome.NOT_REACHED, Unavailable())
    return Result(item, Outcome.WAITS if answer.status == _ACCEPTED else Outcome.DONE)
