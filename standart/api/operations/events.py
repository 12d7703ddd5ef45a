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
        "`object_id` asks for those of one object of any kind.",
        scope=Scope.READ,
        query=schemas.ListEvents,
        answer=schemas.EventPage,
        example=examples.EVENTS,
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
