"""The calls about balance."""

from __future__ import annotations

from typing import Final

from standart.api import examples, schemas
from standart.api.operations.base import KEYED, Operation
from standart.models import Scope

OPERATIONS: Final = (
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
        errors=KEYED,
        wrong_field="user_id",
    ),
)
