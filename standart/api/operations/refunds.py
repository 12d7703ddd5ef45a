"""The calls about refunds."""

from __future__ import annotations

from typing import Any, Final

from standart.api import fields, schemas
from standart.api.operations.base import KEYED, POSTED, Operation
from standart.errors import InsufficientBalance, NotConfirmed, NotFound, RefundTooLarge
from standart.models import Scope

_ID: Final = "0198f0c9-6b7c-7d8e-8f0a-2b3c4d5e6f70"

_REASON: Final = "One ticket given back"

_REFUND: Final[dict[str, Any]] = {
    "id": _ID,
    "transaction_id": fields.EXAMPLE_ID,
    "user_id": fields.EXAMPLE_USER,
    "status": "posted",
    "amount": "50.00",
    "currency": "RUB",
    "refund_commission": True,
    "commission_returned": "1.50",
    "debited": "48.50",
    "reason": _REASON,
    "created_at": "2026-11-23T19:00:00.123456Z",
}

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/create_refund",
        id="create_refund",
        tag="refunds",
        summary="Refund a transaction",
        description="Gives back a part of a confirmed transaction; without `amount` all that is "
        "left. `debited` leaves the merchant's balance: the amount, less the commission's share "
        "with `refund_commission`. The share of a part is what the parts up to it come to, "
        "rounded half-up, less what those before it came to, so that the shares of all parts "
        "make up the commission; a part that left its share with us counts too. The transaction "
        "stays `confirmed` and shows `refunded_amount`.",
        scope=Scope.REFUND,
        body=schemas.CreateRefund,
        examples={
            "part": {
                "id": fields.EXAMPLE_ID,
                "amount": "50.00",
                "reason": _REASON,
                "refund_commission": True,
            },
            "rest": {"id": fields.EXAMPLE_ID},
        },
        answer=schemas.Refund,
        example=_REFUND,
        successes={201: "Given back."},
        errors=(*POSTED, NotFound, NotConfirmed, RefundTooLarge, InsufficientBalance),
        wrong_field="amount",
    ),
    Operation(
        method="get",
        path="/check_refund",
        id="check_refund",
        tag="refunds",
        summary="Read one refund",
        description="A refund never changes.",
        scope=Scope.READ,
        query=schemas.CheckRefund,
        answer=schemas.Refund,
        example=_REFUND,
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/refunds",
        id="list_refunds",
        tag="refunds",
        summary="List refunds",
        description="Newest first. `created_from` is inclusive, `created_to` exclusive.",
        scope=Scope.READ,
        query=schemas.ListRefunds,
        answer=schemas.RefundPage,
        example={"data": [_REFUND], "next_cursor": None},
        errors=KEYED,
        wrong_field="limit",
    ),
)
