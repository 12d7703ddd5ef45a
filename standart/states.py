"""The life of a transaction: one table of transitions, and nothing else decides.

A transaction is born ``pending`` and ends once; a terminal status never changes
(CONTRACT §2). The database holds the same rule by a trigger.
"""

from __future__ import annotations

from enum import StrEnum

from standart.errors import NotPending


class TransactionStatus(StrEnum):
    """Where a transaction stands; the value is what goes over the wire and into the database."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELED = "canceled"
    EXPIRED = "expired"


class Action(StrEnum):
    """What can be done to a transaction."""

    CONFIRM = "confirm"
    CANCEL = "cancel"
    EXPIRE = "expire"


TRANSITIONS: dict[tuple[TransactionStatus, Action], TransactionStatus] = {
    (TransactionStatus.PENDING, Action.CONFIRM): TransactionStatus.CONFIRMED,
    (TransactionStatus.PENDING, Action.CANCEL): TransactionStatus.CANCELED,
    (TransactionStatus.PENDING, Action.EXPIRE): TransactionStatus.EXPIRED,
}

OUTCOMES: dict[Action, TransactionStatus] = {
    action: target for (_, action), target in TRANSITIONS.items()
}

TERMINAL: frozenset[TransactionStatus] = frozenset(TransactionStatus) - {
    source for source, _ in TRANSITIONS
}


def target_of(status: TransactionStatus, action: Action) -> TransactionStatus:
    """Return the status that ``action`` leads to from ``status``.

    Repeating what already happened is no error and changes nothing: the outcome of the
    action is returned as it stands.

    Raises:
        NotPending: the transaction ended otherwise; carries ``transaction_status``.
    """
    if status is OUTCOMES[action]:
        return status
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise NotPending(transaction_status=status.value) from None
