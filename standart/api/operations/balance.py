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
        description="What is available and what payouts have reserved, a row for each currency; "
        "with `at` as it was when everything up to that moment had been posted. That answer never "
        "changes: for a moment just gone it may wait up to two seconds, then it is 503. An "
        "admin's key names the merchant by `user_id`, a merchant's key must not.",
        scope=Scope.READ,
        query=schemas.ReadBalance,
        answer=schemas.Balances,
        example=examples.BALANCES,
        errors=KEYED,
        wrong_field="user_id",
    ),
)
