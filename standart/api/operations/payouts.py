"""The calls about payouts."""

from __future__ import annotations

from typing import Any, Final

from standart.api import fields, schemas
from standart.api.operations.base import KEYED, POSTED, Operation
from standart.errors import InsufficientBalance, NotFound, PayoutState, SecondPersonRequired
from standart.models import Scope

_ID: Final = "0198f0c8-5a6b-7c8d-9e0f-1a2b3c4d5e6f"

_DESTINATION: Final = {"iban": "DE89370400440532013000", "holder": "Anna Petrova"}

_NEW: Final[dict[str, Any]] = {
    "amount": "40.00",
    "currency": "RUB",
    "destination": _DESTINATION,
    "reference": "week-47",
}

_PENDING: Final[dict[str, Any]] = {
    "id": _ID,
    "user_id": fields.EXAMPLE_USER,
    "amount": "40.00",
    "currency": "RUB",
    "status": "pending",
    "destination": {"iban": "****3000", "holder": "****rova"},
    "reference": "week-47",
    "reason": None,
    "approvals": 0,
    "created_at": "2026-11-23T18:00:00.123456Z",
    "approved_at": None,
    "finished_at": None,
}
_APPROVED: Final = {
    **_PENDING,
    "status": "approved",
    "approved_at": "2026-11-23T18:04:05.654321Z",
}
_PAID: Final = {**_APPROVED, "status": "paid", "finished_at": "2026-11-24T07:30:00.112233Z"}
_CANCELED: Final = {
    **_PENDING,
    "status": "canceled",
    "finished_at": "2026-11-23T18:01:02.334455Z",
}
_REJECTED: Final = {
    **_CANCELED,
    "status": "rejected",
    "reason": "The account has another holder",
}

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/create_payout",
        id="create_payout",
        tag="payouts",
        summary="Create a payout",
        description="Reserves the amount at once: it leaves `balance` and stands in "
        "`pending_payout` until the payout is paid or given back. An admin's key names the "
        "merchant by `user_id`, a merchant's key must not.",
        scope=Scope.PAYOUT,
        body=schemas.CreatePayout,
        examples={
            "merchant": _NEW,
            "admin": {"amount": "40.00", "user_id": fields.EXAMPLE_USER},
        },
        answer=schemas.Payout,
        example=_PENDING,
        successes={201: "Created, its money is reserved."},
        errors=(*POSTED, InsufficientBalance),
        wrong_field="amount",
    ),
    Operation(
        method="post",
        path="/approve_payout",
        id="approve_payout",
        tag="payouts",
        summary="Approve a payout",
        description="Approves a pending payout: it may be paid now and cannot be canceled any "
        "more. One that is approved already is answered unchanged. Above the sum that the "
        "operator has set, two admins must approve. For admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.OnePayout,
        examples={"admin": {"id": _ID}},
        answer=schemas.Payout,
        example=_APPROVED,
        successes={
            200: "Approved.",
            202: "The first of two approvals is kept; the payout is still pending.",
        },
        errors=(*POSTED, NotFound, PayoutState, SecondPersonRequired),
        wrong_field="id",
    ),
    Operation(
        method="post",
        path="/reject_payout",
        id="reject_payout",
        tag="payouts",
        summary="Reject a payout",
        description="Refuses a pending payout and gives its money back. One that is rejected "
        "already is answered unchanged. For admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.RejectPayout,
        examples={"admin": {"id": _ID, "reason": _REJECTED["reason"]}},
        answer=schemas.Payout,
        example=_REJECTED,
        errors=(*POSTED, NotFound, PayoutState),
        wrong_field="id",
    ),
    Operation(
        method="post",
        path="/cancel_payout",
        id="cancel_payout",
        tag="payouts",
        summary="Cancel a payout",
        description="Takes a pending payout back, its money too. One that is canceled already "
        "is answered unchanged.",
        scope=Scope.PAYOUT,
        body=schemas.OnePayout,
        examples={"merchant": {"id": _ID}},
        answer=schemas.Payout,
        example=_CANCELED,
        errors=(*POSTED, NotFound, PayoutState),
        wrong_field="id",
    ),
    Operation(
        method="post",
        path="/complete_payout",
        id="complete_payout",
        tag="payouts",
        summary="Complete a payout",
        description="Says what became of an approved payout: `paid`, or `failed`, which gives "
        "its money back. Repeating the same result is answered unchanged. For admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.CompletePayout,
        examples={
            "paid": {"id": _ID, "result": "paid"},
            "failed": {"id": _ID, "result": "failed", "reason": "The account is closed"},
        },
        answer=schemas.Payout,
        example=_PAID,
        errors=(*POSTED, NotFound, PayoutState),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/check_payout",
        id="check_payout",
        tag="payouts",
        summary="Read one payout",
        description="Its destination is masked.",
        scope=Scope.READ,
        query=schemas.OnePayout,
        answer=schemas.Payout,
        example=_PAID,
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/payouts",
        id="list_payouts",
        tag="payouts",
        summary="List payouts",
        description="Newest first. `created_from` is inclusive, `created_to` exclusive.",
        scope=Scope.READ,
        query=schemas.ListPayouts,
        answer=schemas.PayoutPage,
        example={"data": [_PAID], "next_cursor": None},
        errors=KEYED,
        wrong_field="limit",
    ),
    Operation(
        method="get",
        path="/payout_destination",
        id="payout_destination",
        tag="payouts",
        summary="Read where a payout goes",
        description="The plain fields of its destination, for whoever pays; null if it names "
        "none. Each look is written to the audit log. For admins' keys.",
        scope=Scope.CONFIRM,
        query=schemas.OnePayout,
        answer=schemas.PayoutDestination,
        example={"id": _ID, "destination": _DESTINATION},
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
)
