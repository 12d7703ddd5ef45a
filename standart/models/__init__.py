"""All tables. No queries, no commits: what a row is, and what can never be in it.

Tenant tables lead their keys with ``user_id``, so a reference across tenants is
impossible by constraint. Money is integer minor units; times are aware UTC.
"""

from standart.models.kinds import (
    MAX_AMOUNT,
    AccountKind,
    AdjustmentKind,
    ApprovalOf,
    DeliveryState,
    DisabledReason,
    JournalKind,
    LimitKind,
    LoginStep,
    MatchedBy,
    Outcome,
    ReplayScope,
    Role,
    Scope,
    Theme,
)
from standart.models.ledger import Account, AccountBalance, BalanceDelta, Entry, Journal
from standart.models.logins import (
    LoginFailure,
    PanelPreference,
    PanelSession,
    PendingLogin,
    RecoveryCode,
    SecondFactor,
)
from standart.models.movements import Adjustment, Approval, Payout
from standart.models.proof import MARK_BYTES, BookClock, Close, Particulars, Seal, SigningKey
from standart.models.reconciliations import Reconciliation, ReconciliationRow
from standart.models.records import AuditRecord, Heartbeat, IdempotencyKey
from standart.models.sums import HourlySum, MerchantHourlySum, MerchantSum, SumsMark
from standart.models.transactions import Note, Refund, RefundTotal, Transaction
from standart.models.users import (
    ApiKey,
    FeeSchedule,
    Limit,
    LimitSum,
    User,
)
from standart.models.webhooks import (
    ENDINGS,
    Attempt,
    Delivery,
    Event,
    EventClock,
    WebhookEndpoint,
    WebhookLane,
    WebhookReplay,
)

__all__ = [
    "ENDINGS",
    "MARK_BYTES",
    "MAX_AMOUNT",
    "Account",
    "AccountBalance",
    "AccountKind",
    "Adjustment",
    "AdjustmentKind",
    "ApiKey",
    "Approval",
    "ApprovalOf",
    "Attempt",
    "AuditRecord",
    "BalanceDelta",
    "BookClock",
    "Close",
    "Delivery",
    "DeliveryState",
    "DisabledReason",
    "Entry",
    "Event",
    "EventClock",
    "FeeSchedule",
    "Heartbeat",
    "HourlySum",
    "IdempotencyKey",
    "Journal",
    "JournalKind",
    "Limit",
    "LimitKind",
    "LimitSum",
    "LoginFailure",
    "LoginStep",
    "MatchedBy",
    "MerchantHourlySum",
    "MerchantSum",
    "Note",
    "Outcome",
    "PanelPreference",
    "PanelSession",
    "Particulars",
    "Payout",
    "PendingLogin",
    "Reconciliation",
    "ReconciliationRow",
    "RecoveryCode",
    "Refund",
    "RefundTotal",
    "ReplayScope",
    "Role",
    "Scope",
    "Seal",
    "SecondFactor",
    "SigningKey",
    "SumsMark",
    "Theme",
    "Transaction",
    "User",
    "WebhookEndpoint",
    "WebhookLane",
    "WebhookReplay",
]
