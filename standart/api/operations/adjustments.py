"""The calls about adjustments."""

from __future__ import annotations

from typing import Any, Final

from standart.api import fields, schemas
from standart.api.operations.base import KEYED, POSTED, Operation
from standart.errors import (
    AdjustmentState,
    InsufficientBalance,
    NotFound,
    SecondPersonRequired,
)
from standart.models import Scope

_ID: Final = "0198f0c9-6b7c-7d8e-8f01-2a3b4c5d6e7f"

_NEW: Final[dict[str, Any]] = {
    "user_id": fields.EXAMPLE_USER,
    "amount": "12.50",
    "currency": "RUB",
    "direction": "credit",
    "reason": "A fee of the bank was charged twice",
}
_POSTED: Final[dict[str, Any]] = {
    "id": _ID,
    "user_id": fields.EXAMPLE_USER,
    "kind": "adjustment",
    "direction": "credit",
    "amount": "12.50",
    "currency": "RUB",
    "reason": _NEW["reason"],
    "status": "posted",
    "approvals": 0,
    "created_at": "2026-11-23T19:00:00.123456Z",
    "finished_at": "2026-11-23T19:00:00.123456Z",
}
_APPROVED: Final = {
    **_POSTED,
    "approvals": 2,
    "finished_at": "2026-11-23T19:30:00.654321Z",
}
_CANCELED: Final = {**_APPROVED, "status": "canceled", "approvals": 1}

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/create_adjustment",
        id="create_adjustment",
        tag="adjustments",
        summary="Correct a balance by hand",
        description="Credits or debits what is available to a merchant. Above the sum that the "
        "operator has set it waits for a second admin, nothing being reserved meanwhile. For "
        "admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.CreateAdjustment,
        examples={"admin": _NEW},
        answer=schemas.Adjustment,
        example=_POSTED,
        successes={201: "Posted.", 202: "Kept pending, with the approval of its author."},
        errors=(*POSTED, InsufficientBalance),
        wrong_field="amount",
    ),
    Operation(
        method="post",
        path="/approve_adjustment",
        id="approve_adjustment",
        tag="adjustments",
        summary="Approve an adjustment",
        description="Posts an adjustment that waits for a second admin. One that is posted "
        "already is answered unchanged. For admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.OneAdjustment,
        examples={"admin": {"id": _ID}},
        answer=schemas.Adjustment,
        example=_APPROVED,
        successes={
            200: "Posted.",
            202: "Its author may not approve any more, and this is the first approval that counts.",
        },
        errors=(*POSTED, NotFound, AdjustmentState, InsufficientBalance, SecondPersonRequired),
        wrong_field="id",
    ),
    Operation(
        method="post",
        path="/cancel_adjustment",
        id="cancel_adjustment",
        tag="adjustments",
        summary="Cancel an adjustment",
        description="Drops an adjustment that waits for a second admin. One that is canceled "
        "already is answered unchanged. For admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.OneAdjustment,
        examples={"admin": {"id": _ID}},
        answer=schemas.Adjustment,
        example=_CANCELED,
        errors=(*POSTED, NotFound, AdjustmentState),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/check_adjustment",
        id="check_adjustment",
        tag="adjustments",
        summary="Read one adjustment",
        description="An opening balance is one, too.",
        scope=Scope.READ,
        query=schemas.OneAdjustment,
        answer=schemas.Adjustment,
        example=_POSTED,
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/adjustments",
        id="list_adjustments",
        tag="adjustments",
        summary="List adjustments",
        description="Newest first, opening balances among them. `created_from` is inclusive, "
        "`created_to` exclusive.",
        scope=Scope.READ,
        query=schemas.ListAdjustments,
        answer=schemas.AdjustmentPage,
        example={"data": [_APPROVED], "next_cursor": None},
        errors=KEYED,
        wrong_field="limit",
    ),
)
