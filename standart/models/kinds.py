"""The words that rows are made of: roles, scopes, and the kinds and states of things."""

from __future__ import annotations

from enum import StrEnum

MAX_AMOUNT = 10**15
"""The largest amount of one row, in minor units."""


class Role(StrEnum):
    """What a user may do.

    An admin may do all; an operator sees and settles all, but manages neither users nor
    settings; a viewer sees all and changes nothing; a regular one owns its rows.
    """

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    REGULAR = "regular"


class Scope(StrEnum):
    """What an API key may do."""

    READ = "read"
    WRITE = "write"
    CONFIRM = "confirm"
    REFUND = "refund"
    PAYOUT = "payout"


class LoginStep(StrEnum):
    """What somebody who wants in shows: first the password, then a code."""

    PASSWORD = "password"  # noqa: S105 - the word, no password
    CODE = "code"


class Theme(StrEnum):
    """The colours of the panel; without a choice those of the device."""

    LIGHT = "light"
    DARK = "dark"


class AccountKind(StrEnum):
    """The accounts of a user in one currency.

    What is ``available`` and what a payout has reserved (``pending_payout``) never falls
    below zero. ``clearing`` mirrors the money outside, so it is negative while the acquirer
    or bank holds money for the merchant; ``adjustment`` mirrors what was corrected by hand.
    """

    AVAILABLE = "available"
    PENDING_PAYOUT = "pending_payout"
    CLEARING = "clearing"
    COMMISSION = "commission"
    ADJUSTMENT = "adjustment"


class JournalKind(StrEnum):
    """Why money moved."""

    SETTLEMENT = "settlement"
    REFUND = "refund"
    PAYOUT_RESERVED = "payout_reserved"
    PAYOUT_RETURNED = "payout_returned"
    PAYOUT_PAID = "payout_paid"
    ADJUSTMENT = "adjustment"
    OPENING_BALANCE = "opening_balance"


class DeliveryState(StrEnum):
    """Where the delivery of an event stands; only ``waiting`` is ever claimed."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class DisabledReason(StrEnum):
    """Why an endpoint is not called: its owner's wish, an answer 410, or failing for days."""

    OWNER = "owner"
    GONE = "gone"
    FAILING = "failing"


class ReplayScope(StrEnum):
    """Which deliveries of a span of time are sent anew."""

    DEAD = "dead"
    ALL = "all"


class AdjustmentKind(StrEnum):
    """A correction by an admin, or what a merchant brought along from another system."""

    ADJUSTMENT = "adjustment"
    OPENING_BALANCE = "opening_balance"


class ApprovalOf(StrEnum):
    """What a first or second person agreed to."""

    TRANSACTION = "transaction"
    LATE_PAYMENT = "late_payment"
    PAYOUT = "payout"
    ADJUSTMENT = "adjustment"


class LimitKind(StrEnum):
    """What a merchant may not exceed; the amounts are kept for each currency.

    The daily ones count a UTC day's pending and confirmed transactions.
    """

    TRANSACTION_AMOUNT = "transaction_amount"
    DAILY_AMOUNT = "daily_amount"
    DAILY_COUNT = "daily_count"
    PENDING_COUNT = "pending_count"


class Outcome(StrEnum):
    """What became of a payment of a file, or of one of ours, when both were compared.

    In the order of a report: what somebody must look at comes first.
    """

    DIFFERING = "differing"
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    MATCHED = "matched"


class MatchedBy(StrEnum):
    """By what a payment of a file was found in our books."""

    ID = "id"
    REFERENCE = "reference"
    AMOUNT = "amount"
