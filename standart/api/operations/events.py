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
        description="What webhooks carry, newest first, with their deliveries.",
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
        description="What its webhook carries, with its deliveries.",
        scope=Scope.READ,
        path_parameter="id",
        answer=schemas.Event,
        example=examples.EVENT,
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
)
