"""The lives of transactions, payouts and adjustments: a table of transitions each.

Each is born ``pending`` and ends once; a terminal status never changes (CONTRACT §2).
Nothing else decides, and the database holds the same rules by triggers.
"""

from __future__ import annotations

from enum import StrEnum

from standart.errors import AdjustmentState, NotPending, PayoutState


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


class PayoutStatus(StrEnum):
    """Where a payout stands; its money is reserved until it is paid or given back."""

    PENDING = "pending"
    APPROVED = "approved"
    PAID = "paid"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELED = "canceled"


class PayoutAction(StrEnum):
    """What can be done to a payout."""

    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    PAY = "pay"
    FAIL = "fail"


PAYOUT_TRANSITIONS: dict[tuple[PayoutStatus, PayoutAction], PayoutStatus] = {
    (PayoutStatus.PENDING, PayoutAction.APPROVE): PayoutStatus.APPROVED,
    (PayoutStatus.PENDING, PayoutAction.REJECT): PayoutStatus.REJECTED,
    (PayoutStatus.PENDING, PayoutAction.CANCEL): PayoutStatus.CANCELED,
    (PayoutStatus.APPROVED, PayoutAction.PAY): PayoutStatus.PAID,
    (PayoutStatus.APPROVED, PayoutAction.FAIL): PayoutStatus.FAILED,
}

_PAYOUT_OUTCOMES = {action: target for (_, action), target in PAYOUT_TRANSITIONS.items()}


def payout_target(status: PayoutStatus, action: PayoutAction) -> PayoutStatus:
    """Return the status that ``action`` leads to; repeating what happened changes nothing.

    Raises:
        PayoutState: the payout stands elsewhere; carries ``payout_status``.
    """
    if status is _PAYOUT_OUTCOMES[action]:
        return status
    try:
        return PAYOUT_TRANSITIONS[status, action]
    except KeyError:
        raise PayoutState(payout_status=status.value) from None


class AdjustmentStatus(StrEnum):
    """Where an adjustment stands: it waits only for a second person."""

    PENDING = "pending"
    POSTED = "posted"
    CANCELED = "canceled"


def adjustment_target(status: AdjustmentStatus, wanted: AdjustmentStatus) -> AdjustmentStatus:
    """Return ``wanted`` if an adjustment may go there from ``status`` or stands there already.

    Raises:
        AdjustmentState: it ended otherwise; carries ``adjustment_status``.
    """
    if status not in (wanted, AdjustmentStatus.PENDING):
        raise AdjustmentState(adjustment_status=status.value)
    return wanted
