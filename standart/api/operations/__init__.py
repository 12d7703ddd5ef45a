"""Every call of the API, as the documentation tells it."""

from __future__ import annotations

from typing import Final

from standart.api.operations import balance, events, fees, health, payouts, transactions
from standart.api.operations.base import Operation

__all__ = ["OPERATIONS", "Operation"]

OPERATIONS: Final = (
    *transactions.OPERATIONS,
    *fees.OPERATIONS,
    *payouts.OPERATIONS,
    *balance.OPERATIONS,
    *events.OPERATIONS,
    *health.OPERATIONS,
)
