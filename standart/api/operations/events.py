"""The calls about events."""

from __future__ import annotations

from typing import Final

from standart.api import examples, fields, schemas
from standart.api.operations.base import KEYED, POSTED, Operation
from standart.errors import EndpointNotCallable, NotFound
from standart.models import Scope

OPERATIONS: Final = (
    Operation(
        method="get",
        path="/events",
        id="list_events",
        tag="events",
        summary="List events",
        description="Everything that happened to transactions, refunds, payouts and adjustments, "
        "newest first, with deliveries to the endpoints that asked for such events. "
        "`transaction.created` is there only if an endpoint asked for it. "
        "`object_id` asks for those of one object of any kind, `endpoint_id` and `state` for "
        "those with such a delivery. What is rare in a long history is sought for a second: a page "
        "may then have fewer events than `limit`, or none, and a `next_cursor` to go on from. "
        "With `after` the answer is another: events of one merchant "
        "as they happen, oldest first, to be followed without missing one; then an admin's key "
        "names the merchant by `user_id`, a merchant's key must not. An answer is held for up to "
        "`wait` seconds until something happens; where too many are held already, it comes at "
        "once and asks for a pause.",
        scope=Scope.READ,
        query=schemas.ListEvents,
        answer=schemas.EventPage,
        example=examples.EVENTS,
        other_answers={"followed": (schemas.EventFeed, examples.FEED)},
        errors=KEYED,
        wrong_field="limit",
    ),
    Operation(
        method="get",
        path="/events/{id}",
        id="event",
        tag="events",
        summary="Read one event",
        description="What happened, as webhooks carry it, with deliveries.",
        scope=Scope.READ,
        answer=schemas.Event,
        example=examples.EVENT,
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/events/{id}/attempts",
        id="list_attempts",
        tag="events",
        summary="List the attempts to deliver an event",
        description="Newest first, with what was sent, what came back and how long each part "
        "took. `endpoint_id` asks for those at one endpoint.",
        scope=Scope.READ,
        query=schemas.ListAttempts,
        answer=schemas.AttemptPage,
        example=examples.ATTEMPTS,
        errors=(*KEYED, NotFound),
        wrong_field="limit",
    ),
    Operation(
        method="post",
        path="/events/{id}/replay",
        id="replay_event",
        tag="events",
        summary="Send an event once more",
        description="With the same id and body, by a retry schedule from its start: to the "
        "endpoints that ask for such events now and those that got it before, or to the one that "
        "is named, whatever that asks for.",
        scope=Scope.WRITE,
        body=schemas.ReplayEvent,
        body_optional=True,
        examples={"all": {}, "one": {"endpoint_id": fields.EXAMPLE_ENDPOINT}},
        answer=schemas.Event,
        example=examples.REPLAYED,
        successes={202: "It is due now."},
        errors=(*POSTED, NotFound, EndpointNotCallable),
        wrong_field="endpoint_id",
    ),
)
