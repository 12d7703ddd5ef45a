"""The call about payments that came late."""

from __future__ import annotations

from typing import Any, Final

from standart.api import examples, fields, schemas
from standart.api.operations.base import POSTED, Operation
from standart.errors import NotFound, NotLate, SecondPersonRequired
from standart.models import Scope

_LATE: Final[dict[str, Any]] = {
    **examples.CONFIRMED,
    "id": "0198f0ca-7c8d-7e9f-9a0b-3c4d5e6f7081",
    "created_at": "2026-11-23T11:30:00.123456Z",
    "expires_at": "2026-11-23T11:45:00.123456Z",
    "finished_at": "2026-11-23T11:30:00.123456Z",
    "late_for": fields.EXAMPLE_ID,
}

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/record_late_payment",
        id="record_late_payment",
        tag="transactions",
        summary="Record a late payment",
        description="For money that came after its transaction was canceled or had expired. That "
        "one stays as it is; the money becomes a new confirmed transaction that names it in "
        "`late_for`, with its amount, currency, rate, fee, reference, description and metadata, "
        "and with a webhook of its own. There is one at most: repeating the call answers it "
        "unchanged. Limits and unique references do not hold it up. Above the sum that the "
        "operator has set, two admins must agree. For admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.RecordLatePayment,
        examples={"admin": {"id": fields.EXAMPLE_ID}},
        answer=schemas.Transaction,
        example=_LATE,
        successes={
            201: "Recorded; the new transaction.",
            200: "It was recorded before; the late transaction as it stands now.",
            202: "The first of two approvals is kept; the old transaction.",
        },
        errors=(*POSTED, NotFound, NotLate, SecondPersonRequired),
        wrong_field="id",
    ),
)
