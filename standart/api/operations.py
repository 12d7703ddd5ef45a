"""Every call of the API, as the documentation tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import Struct

from standart.api import examples, fields, schemas
from standart.errors import (
    DomainError,
    IdConflict,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InsufficientScope,
    InvalidInput,
    Malformed,
    NotFound,
    NotPending,
    PayloadTooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from standart.models import Scope

Errors = tuple[type[DomainError], ...]

_ANY: Final[Errors] = (Malformed, InvalidInput, Unavailable)
_KEYED: Final[Errors] = (*_ANY, Unauthenticated, InsufficientScope, TooManyRequests)
_POSTED: Final[Errors] = (
    *_KEYED,
    PayloadTooLarge,
    UnsupportedMediaType,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call: ``scope`` is what its key needs, ``None`` for no key at all.

    ``examples`` are bodies, ``example`` is the answer; ``wrong_field`` is the field that the
    example of a 422 complains about.
    """

    method: Literal["get", "post"]
    path: str
    id: str
    tag: str
    summary: str
    description: str
    scope: Scope | None
    answer: type[Struct]
    example: Mapping[str, Any]
    errors: Errors
    wrong_field: str
    successes: Mapping[int, str] = field(default_factory=lambda: {200: "Done."})
    body: type[Struct] | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    query: type[Struct] | None = None
    path_parameter: str | None = None


OPERATIONS: Final = (
    Operation(
        method="post",
        path="/create_transaction",
        id="create_transaction",
        tag="transactions",
        summary="Create a transaction",
        description="Creates a pending transaction. `id` may be a UUID of your choice: repeating "
        "it with the same content answers 200 with the same transaction. An admin's key names "
        "the merchant by `user_id`, a merchant's key must not.",
        scope=Scope.WRITE,
        body=schemas.CreateTransaction,
        examples={
            "merchant": examples.NEW,
            "admin": {"amount": "100.00", "user_id": fields.EXAMPLE_USER},
        },
        answer=schemas.Transaction,
        example=examples.TRANSACTION,
        successes={201: "Created.", 200: "The `id` was sent before, with the same content."},
        errors=(*_POSTED, IdConflict),
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
        errors=(*_POSTED, NotFound, NotPending),
        wrong_field="id",
    ),
    Operation(
        method="post",
        path="/confirm_transaction",
        id="confirm_transaction",
        tag="transactions",
        summary="Confirm a transaction",
        description="Confirms a pending transaction and credits its net to the merchant's "
        "balance. One that is confirmed already is answered unchanged. For admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.ConfirmTransaction,
        examples={"admin": {"id": fields.EXAMPLE_ID}},
        answer=schemas.Transaction,
        example=examples.CONFIRMED,
        errors=(*_POSTED, NotFound, NotPending),
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
        errors=(*_KEYED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/transactions",
        id="list_transactions",
        tag="transactions",
        summary="List transactions",
        description="Newest first. `created_from` is inclusive, `created_to` exclusive.",
        scope=Scope.READ,
        query=schemas.ListTransactions,
        answer=schemas.TransactionPage,
        example=examples.TRANSACTIONS,
        errors=_KEYED,
        wrong_field="limit",
    ),
    Operation(
        method="get",
        path="/balance",
        id="balance",
        tag="balance",
        summary="Read a balance",
        description="What is available, a row for each currency. An admin's key names the "
        "merchant by `user_id`, a merchant's key must not.",
        scope=Scope.READ,
        query=schemas.OfUser,
        answer=schemas.Balances,
        example=examples.BALANCES,
        errors=_KEYED,
        wrong_field="user_id",
    ),
    Operation(
        method="get",
        path="/events",
        id="list_events",
        tag="events",
        summary="List events",
        description="What webhooks carry, newest first, with their deliveries.",
        scope=Scope.READ,
        query=schemas.ListEvents,
        answer=schemas.EventPage,
        example=examples.EVENTS,
        errors=_KEYED,
        wrong_field="limit",
    ),
    Operation(
        method="get",
        path="/events/{id}",
        id="event",
        tag="events",
        summary="Read one event",
        description="What its webhook carries, with its deliveries.",
        scope=Scope.READ,
        path_parameter="id",
        answer=schemas.Event,
        example=examples.EVENT,
        errors=(*_KEYED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/healthz",
        id="healthz",
        tag="health",
        summary="Is it alive?",
        description="Asks nothing but the process.",
        scope=None,
        answer=schemas.Health,
        example=examples.HEALTH,
        errors=(InvalidInput,),
        wrong_field="verbose",
    ),
    Operation(
        method="get",
        path="/readyz",
        id="readyz",
        tag="health",
        summary="Is it ready?",
        description="The database answers and has the schema of this version.",
        scope=None,
        answer=schemas.Health,
        example=examples.HEALTH,
        errors=(InvalidInput, Unavailable),
        wrong_field="verbose",
    ),
)
