"""The calls about transactions."""

from __future__ import annotations

from typing import Final

from standart.api import examples, fields, schemas
from standart.api.operations.base import KEYED, POSTED, Operation
from standart.errors import (
    IdConflict,
    LimitExceeded,
    NotFound,
    NotPending,
    ReferenceTaken,
    SecondPersonRequired,
)
from standart.models import Scope

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/create_transaction",
        id="create_transaction",
        tag="transactions",
        summary="Create a transaction",
        description="Creates a pending transaction. `id` may be a UUID of your choice: repeating "
        "it with the same content answers 200 with the same transaction. An admin's key names "
        "the merchant by `user_id`, a merchant's key must not. A merchant may have limits; a day "
        "is a UTC day, and what was canceled or has expired does not count. A merchant may also "
        "want each `reference` to name one transaction only.",
        scope=Scope.WRITE,
        body=schemas.CreateTransaction,
        examples={
            "merchant": examples.NEW,
            "admin": {"amount": "100.00", "user_id": fields.EXAMPLE_USER},
        },
        answer=schemas.Transaction,
        example=examples.TRANSACTION,
        successes={201: "Created.", 200: "The `id` was sent before, with the same content."},
        errors=(*POSTED, IdConflict, ReferenceTaken, LimitExceeded),
        wrong_field="amount",
    ),
    Operation(
        method="post",
        path="/cancel_transaction",
        id="cancel_transaction",
        tag="transactions",
        summary="Cancel a transaction",
        description="Cancels a pending transaction. One that is canceled already is answered "
        "unchanged.",
        scope=Scope.WRITE,
        body=schemas.CancelTransaction,
        examples={"merchant": {"id": fields.EXAMPLE_ID, "reason": examples.CANCELED["reason"]}},
        answer=schemas.Transaction,
        example=examples.CANCELED,
        errors=(*POSTED, NotFound, NotPending),
        wrong_field="id",
    ),
    Operation(
        method="post",
        path="/confirm_transaction",
        id="confirm_transaction",
        tag="transactions",
        summary="Confirm a transaction",
        description="Confirms a pending transaction and credits its net to the merchant's "
        "balance. One that is confirmed already is answered unchanged. Above the sum that the "
        "operator has set, two admins must confirm, and the time runs on meanwhile. For admins' "
        "keys.",
        scope=Scope.CONFIRM,
        body=schemas.ConfirmTransaction,
        examples={"admin": {"id": fields.EXAMPLE_ID}},
        answer=schemas.Transaction,
        example=examples.CONFIRMED,
        successes={
            200: "Confirmed.",
            202: "The first of two approvals is kept; the transaction is still pending.",
        },
        errors=(*POSTED, NotFound, NotPending, SecondPersonRequired),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/check_transaction",
        id="check_transaction",
        tag="transactions",
        summary="Read one transaction",
        description="From `expires_at` on a pending transaction is expired for every reader.",
        scope=Scope.READ,
        query=schemas.CheckTransaction,
        answer=schemas.Transaction,
        example=examples.CONFIRMED,
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/transactions",
        id="list_transactions",
        tag="transactions",
        summary="List transactions",
        description="Newest first. `created_from` is inclusive, `created_to` exclusive. "
        "`metadata_value` needs `metadata_key`.",
        scope=Scope.READ,
        query=schemas.ListTransactions,
        answer=schemas.TransactionPage,
        example=examples.TRANSACTIONS,
        errors=KEYED,
        wrong_field="limit",
    ),
)
