"""The calls about commissions."""

from __future__ import annotations

from typing import Any, Final

from standart.api import fields, schemas
from standart.api.operations.base import POSTED, Operation
from standart.models import Scope

_PREVIEW: Final[dict[str, Any]] = {
    "amount": "100.00",
    "currency": "RUB",
    "commission_rate": "0.029",
    "commission": "5.90",
    "net": "94.10",
    "fee_schedule": {
        "id": "0198f0c1-2c3b-7d1e-8a4f-6b7c8d9e0f1a",
        "rate": "0.029",
        "fixed": "3.00",
        "minimum": "5.00",
        "maximum": None,
    },
    "calculation": {
        "rule": "fee-1",
        "rounding": "half-up",
        "steps": [
            "100.00 × 0.029 = 2.9, rounded half-up: 2.90",
            "2.90 + 3.00 fixed = 5.90",
            "at least 5.00: 5.90",
            "net: 100.00 - 5.90 = 94.10",
        ],
    },
}

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/preview_commission",
        id="preview_commission",
        tag="transactions",
        summary="Preview a commission",
        description="What a transaction created now would cost: amount times rate, rounded "
        "half-up once to the currency's smallest unit, plus the fixed part, at most the maximum, "
        "at least the minimum, and never above the amount. The terms are those of the merchant's "
        "fee schedule of this moment, or without one its plain rate. An admin's key names the "
        "merchant by `user_id`, a merchant's key must not. Keeps nothing but the "
        "answer to an `Idempotency-Key`.",
        scope=Scope.READ,
        body=schemas.PreviewCommission,
        examples={
            "merchant": {"amount": "100.00", "currency": "RUB"},
            "admin": {"amount": "100.00", "user_id": fields.EXAMPLE_USER},
        },
        answer=schemas.CommissionPreview,
        example=_PREVIEW,
        errors=POSTED,
        wrong_field="amount",
    ),
)
