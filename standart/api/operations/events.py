"""The calls about events."""

from __future__ import annotations

from typing import Final

from standart.api import examples, schemas
from standart.api.operations.base import KEYED, Operation
from standart.errors import NotFound
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
        "those with such a delivery. With `after` the answer is another: events of one merchant "
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
)
