"""The calls about settlement statements."""

from __future__ import annotations

from typing import Final

from standart.api import examples, schemas
from standart.api.operations.base import KEYED, Operation
from standart.documents.formats import FORMATS
from standart.models import Scope

OPERATIONS: Final = (
    Operation(
        method="get",
        path="/statement",
        id="statement",
        tag="balance",
        summary="Read a settlement statement",
        description="The opening balance, each movement of a span in order, their totals and the "
        "closing balance, in one currency: the merchant's own unless another is named. The span is "
        "half-open, at most two years, and ends at the present at the latest. It is written as it "
        "is read, so it may have a million rows; `pdf` holds 5,000. What it says of a span never "
        "changes: for one that ends just now it may wait up to two seconds, then it is 503. An "
        "admin's key names the merchant by `user_id`, a merchant's key must not.",
        scope=Scope.READ,
        query=schemas.ReadStatement,
        answer=schemas.Statement,
        example=examples.STATEMENT,
        other_types={
            each.mimetype: examples.STATEMENT_FILES[each.name]
            for each in FORMATS.values()
            if each.name != "json"
        },
        errors=KEYED,
        wrong_field="period",
    ),
)
