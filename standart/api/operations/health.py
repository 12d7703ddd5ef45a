"""The calls about health."""

from __future__ import annotations

from typing import Final

from standart.api import examples, schemas
from standart.api.operations.base import Operation
from standart.errors import InvalidInput, Unavailable

OPERATIONS: Final = (
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
