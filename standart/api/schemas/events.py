"""Events and their deliveries: what is asked and answered."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from standart.api import checks
from standart.api.fields import (
    After,
    Cursor,
    DeliveryState,
    EventType,
    Id,
    Limit,
    Moment,
    ObjectType,
    Sequence,
    Status,
    TransactionEvent,
    UserId,
    Wait,
)
from standart.api.schemas.common import Reply, Request
from standart.api.schemas.transactions import Transaction

# As in the document; types that differ by their members only cannot be told apart in reading.
_OBJECTS: Final = [
    {"$ref": f"#/components/schemas/{name}"}
    for name in ("Transaction", "Refund", "Payout", "Adjustment", "Endpoint")
]


class ListEvents(Request, frozen=True):
    """Filters of a list of events; all given ones must hold."""

    user_id: UserId | None = None
    type: EventType | None = None
    transaction_id: Id | None = None
    object_id: Id | None = None
    endpoint_id: Id | None = None
    state: DeliveryState | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None
    after: After | None = None
    wait: Wait | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier),
            ("transaction_id", self.transaction_id, checks.identifier),
            ("object_id", self.object_id, checks.identifier),
            ("endpoint_id", self.endpoint_id, checks.identifier),
            ("limit", self.limit, checks.limit),
            ("wait", self.wait, checks.wait),
        )
        if self.after is None:
            checks.require(("wait", self.wait, lambda _: "needs after"))
        else:
            others = ("transaction_id", "object_id", "endpoint_id", "state", "cursor")
            checks.require(*((name, getattr(self, name), _not_with_after) for name in others))


class WebhookBody(Reply, frozen=True, kw_only=True):
    """What a webhook about a transaction carries; `id` and `status` are the transaction's."""

    type: TransactionEvent
    timestamp: Moment
    id: Id
    status: Status
    # Bodies of events from before there were numbers stay as they were signed.
    sequence: Sequence | UnsetType = UNSET
    data: Transaction


class EventBody(Reply, frozen=True, kw_only=True):
    """What happened, byte for byte as webhooks carry it; `id` and `status` are the object's."""

    type: EventType
    timestamp: Moment
    id: Id
    status: str
    # Bodies of events from before there were numbers stay as they were signed.
    sequence: Sequence | UnsetType = UNSET
    data: Annotated[
        dict[str, Any],
        Meta(
            description="The object as its own call shows it at that moment.",
            extra_json_schema={"oneOf": _OBJECTS},
        ),
    ]


class Attempt(Reply, frozen=True):
    """One try to deliver an event."""

    number: int
    url: str
    outcome: str
    status_code: int | None
    duration_ms: int
    created_at: Moment


class Delivery(Reply, frozen=True):
    """The way of an event to an endpoint."""

    id: Id
    endpoint_id: Id
    state: DeliveryState
    attempt_count: int
    next_attempt_at: Moment | None
    delivered_at: Moment | None
    attempts: list[Attempt]


class Event(Reply, frozen=True):
    """What happened to an object, and how its webhooks fared if there are any.

    Of transactions `transaction_id` tells as well.
    """

    id: Id
    type: EventType
    object_type: ObjectType
    object_id: Id
    transaction_id: Id | None
    user_id: UserId
    sequence: Sequence
    created_at: Moment
    payload: EventBody
    deliveries: list[Delivery]


def _not_with_after(_: object) -> str:
    return "must not be given together with after"


class EventPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Event]
    next_cursor: str | None


class ReplayEvent(Request, frozen=True):
    """To which endpoint to send it once more; by default to all that want or got it."""

    endpoint_id: Id | None = None

    def __post_init__(self) -> None:
        checks.require(("endpoint_id", self.endpoint_id, checks.identifier))


class ListAttempts(Request, frozen=True):
    """Filters of a list of attempts."""

    endpoint_id: Id | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("endpoint_id", self.endpoint_id, checks.identifier),
            ("limit", self.limit, checks.limit),
        )


class SentRequest(Reply, frozen=True):
    """What was sent: the headers, with those of the owner masked, and the body byte for byte."""

    url: str
    headers: dict[str, str] | None
    body: str


class ReceivedResponse(Reply, frozen=True):
    """What came back; of the body at most 4 KiB."""

    status_code: int
    headers: dict[str, str] | None
    body: str


class Timing(Reply, frozen=True):
    """Milliseconds of each part; null where one did not take place, as on a kept connection."""

    dns_ms: int | None
    connect_ms: int | None
    tls_ms: int | None
    first_byte_ms: int | None
    total_ms: int


class DetailedAttempt(Reply, frozen=True):
    """One try to deliver an event, in all its details; `response` is null where none came."""

    event_id: Id
    delivery_id: Id
    endpoint_id: Id
    number: int
    outcome: str
    error: str | None
    request: SentRequest
    response: ReceivedResponse | None
    timing: Timing
    created_at: Moment


class AttemptPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[DetailedAttempt]
    next_cursor: str | None


class EventFeed(Reply, frozen=True):
    """What happened behind `after`, oldest first; `next` is the `after` of the next call.

    No event is missed, one that commits late included. An empty page that was not held asks for
    a pause of `poll_after` seconds.
    """

    data: list[Event]
    next: str
    poll_after: int
