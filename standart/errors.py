"""Everything that can go wrong in the domain, named for what happened.

::

    DomainError
    ├── Malformed                  400  not parseable, or a header is wrong
    ├── Unauthenticated            401  no key, or a key that opens nothing
    ├── Forbidden                  403
    │   ├── InsufficientScope
    │   └── SecondPersonRequired
    ├── NotFound                   404  unknown, or somebody else's
    ├── MethodNotAllowed           405
    ├── Conflict                   409
    │   ├── IdConflict
    │   ├── NotPending
    │   ├── NotFinished
    │   ├── NotConfirmed
    │   ├── NotLate
    │   ├── NotOver
    │   ├── RefundTooLarge
    │   ├── InsufficientBalance
    │   ├── PayoutState
    │   ├── AdjustmentState
    │   ├── ReferenceTaken
    │   ├── NameTaken
    │   ├── UserHasHistory
    │   ├── EndpointLimit
    │   ├── EndpointNotCallable
    │   ├── ReplayRunning
    │   └── IdempotencyKeyInFlight
    ├── PayloadTooLarge            413
    ├── UnsupportedMediaType       415
    ├── InvalidInput               422  one entry of ``errors`` for each field
    │   ├── LimitExceeded               names the limit
    │   └── IdempotencyKeyReused
    ├── TooManyRequests            429
    ├── Unavailable                503
    └── ConfigurationError         (no HTTP) names the variable and the remedy

``code`` is part of the public contract and never changes; ``status`` is the HTTP
status; the first line of the docstring is the default ``detail``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one input field; ``field`` is its path, ``message`` is for people."""

    field: str
    message: str


class DomainError(Exception):
    """The request could not be carried out."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: int | None = None,
        **members: object,
    ) -> None:
        """``retry_after`` is in seconds; ``members`` become members of the problem document."""
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.retry_after = retry_after
        self.members = members
        super().__init__(self.detail)


class Malformed(DomainError):
    """The request cannot be parsed."""

    code, status, title = "malformed_request", 400, "Malformed request"


class Unauthenticated(DomainError):
    """A valid API key is required."""

    code, status, title = "unauthenticated", 401, "Unauthenticated"


class Forbidden(DomainError):
    """This is not allowed for you."""

    code, status, title = "forbidden", 403, "Forbidden"


class InsufficientScope(Forbidden):
    """The API key lacks the scope that this call needs."""

    code, title = "insufficient_scope", "Insufficient scope"


class SecondPersonRequired(Forbidden):
    """You have approved this already, or it takes a second person with a key of its own."""

    code, title = "second_person_required", "Second person required"


class NotFound(DomainError):
    """There is no such object."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(DomainError):
    """This method is not supported here."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


class Conflict(DomainError):
    """The present state does not allow this."""

    code, status, title = "conflict", 409, "Conflict"


class IdConflict(Conflict):
    """This id is already in use."""

    code, title = "id_conflict", "Id conflict"


class NotPending(Conflict):
    """The transaction is not pending any more."""

    code, title = "not_pending", "Transaction not pending"


class NotFinished(Conflict):
    """The transaction is still pending, so there is no receipt of it yet."""

    code, title = "not_finished", "Transaction not finished"


class NotConfirmed(Conflict):
    """Only a confirmed transaction can be refunded."""

    code, title = "not_confirmed", "Transaction not confirmed"


class NotLate(Conflict):
    """Only a canceled or expired transaction can be paid late."""

    code, title = "not_late", "Transaction not ended unpaid"


class NotOver(Conflict):
    """This period has not ended yet; ``ends_at`` tells when it does."""

    code, title = "period_not_over", "Period not over"


class RefundTooLarge(Conflict):
    """This is more than is left to refund."""

    code, title = "refund_too_large", "Refund too large"


class InsufficientBalance(Conflict):
    """The available balance does not cover this."""

    code, title = "insufficient_balance", "Insufficient balance"


class PayoutState(Conflict):
    """The payout's status does not allow this."""

    code, title = "payout_state", "Payout status conflict"


class AdjustmentState(Conflict):
    """The adjustment is not pending any more."""

    code, title = "adjustment_state", "Adjustment not pending"


class ReferenceTaken(Conflict):
    """Another transaction has this reference, and the merchant wants them unique."""

    code, title = "reference_taken", "Reference taken"


class NameTaken(Conflict):
    """A user of this name exists already."""

    code, title = "name_taken", "Name taken"


class UserChanged(Conflict):
    """Somebody else has changed this user since it was shown."""

    code, title = "user_changed", "User changed"


class UserHasHistory(Conflict):
    """A user with transactions cannot be deleted; deactivate it instead."""

    code, title = "user_has_history", "User has history"


class EndpointLimit(Conflict):
    """A user may have 20 webhook endpoints at most; delete one first."""

    code, title = "endpoint_limit", "Endpoint limit reached"


class EndpointNotCallable(Conflict):
    """The endpoint is disabled or has no URL, so nothing can be sent to it."""

    code, title = "endpoint_not_callable", "Endpoint not callable"


class ReplayRunning(Conflict):
    """Another replay of this endpoint is still running; wait for its end."""

    code, title = "replay_running", "Replay running"


class IdempotencyKeyInFlight(Conflict):
    """A request with this Idempotency-Key is still running."""

    code, title = "idempotency_key_in_flight", "Idempotency key in flight"


class PayloadTooLarge(DomainError):
    """The request body is larger than 64 KiB."""

    code, status, title = "payload_too_large", 413, "Payload too large"


class UnsupportedMediaType(DomainError):
    """The body must be application/json in UTF-8, without a content encoding."""

    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class InvalidInput(DomainError):
    """Some fields are not valid."""

    code, status, title = "invalid_input", 422, "Invalid input"

    def __init__(
        self, errors: Sequence[FieldError] = (), detail: str | None = None, **members: object
    ) -> None:
        """``errors`` names each wrong field once; ``members`` as everywhere."""
        self.errors = tuple(errors)
        super().__init__(detail)
        self.members = members

    @classmethod
    def of(cls, field: str, message: str) -> InvalidInput:
        """The usual case: one wrong field."""
        return cls([FieldError(field, message)])


class LimitExceeded(InvalidInput):
    """This would exceed a limit of the merchant."""

    code, title = "limit_exceeded", "Limit exceeded"


class IdempotencyKeyReused(InvalidInput):
    """This Idempotency-Key was used with another body."""

    code, title = "idempotency_key_reused", "Idempotency key reused"


class TooManyRequests(DomainError):
    """Too many requests; slow down."""

    code, status, title = "too_many_requests", 429, "Too many requests"


class Unavailable(DomainError):
    """The service cannot answer right now; try again."""

    code, status, title = "unavailable", 503, "Unavailable"


class ConfigurationError(DomainError):
    """A setting is missing or makes no sense."""

    code, title = "configuration", "Configuration"

    def __init__(self, variable: str, problem: str, remedy: str) -> None:
        """One line: which variable, what is wrong with it, what to do."""
        self.variable, self.problem, self.remedy = variable, problem, remedy
        super().__init__(f"{variable}: {problem}. {remedy}")
