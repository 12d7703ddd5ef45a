"""Every call of the API, as the documentation tells it."""

from __future__ import annotations

from typing import Final

from standart.api.operations import (
    adjustments,
    balance,
    closes,
    endpoints,
    events,
    fees,
    health,
    late_payments,
    notes,
    payouts,
    receipts,
    refunds,
    statements,
    transactions,
)
from standart.api.operations.base import Operation

__all__ = ["OPERATIONS", "Operation"]

OPERATIONS: Final = (
    *transactions.OPERATIONS,
    *fees.OPERATIONS,
    *late_payments.OPERATIONS,
    *refunds.OPERATIONS,
    *payouts.OPERATIONS,
    *adjustments.OPERATIONS,
    *notes.OPERATIONS,
    *balance.OPERATIONS,
    *statements.OPERATIONS,
    *receipts.OPERATIONS,
    *closes.OPERATIONS,
    *endpoints.OPERATIONS,
    *events.OPERATIONS,
    *health.OPERATIONS,
)
