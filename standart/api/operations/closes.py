"""The calls about closed periods and the chain of seals."""

from __future__ import annotations

from typing import Any, Final

from standart.api import schemas
from standart.api.operations.base import KEYED, POSTED, Operation
from standart.errors import Forbidden, NotFound, NotOver
from standart.models import Scope

_HASH: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

_SEAL: Final[dict[str, Any]] = {
    "number": 17,
    "before": "2026-12-01T00:00:41.123456Z",
    "journals": 240,
    "total": 118_204,
    "previous": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
    "content": "fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13",
    "hash": _HASH,
}
_CLOSE: Final[dict[str, Any]] = {
    "period": "2026-11",
    "zone": "Europe/Moscow",
    "from": "2026-10-31T21:00:00.000000Z",
    "to": "2026-11-30T21:00:00.000000Z",
    "journals": 48_211,
    "digest": "a4e624d686e03ed2767c0abd85c14426b0b1157d2ce81d27bb4fe4f6f01d688a",
    "chain_head": {"number": 17, "hash": _HASH},
    "closed_by": "admin",
    "closed_at": "2026-12-01T00:00:42.654321Z",
}

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/close_period",
        id="close_period",
        tag="proof",
        summary="Close a day or a month",
        description="From then on nothing is ever posted in it, and statements of it never change "
        "by a byte. Waits for whoever is posting and for the seals; closing again answers 200 with "
        "the same. For admins' keys.",
        scope=Scope.CONFIRM,
        body=schemas.ClosePeriod,
        examples={"month": {"period": "2026-11"}, "day": {"period": "2026-11-28"}},
        answer=schemas.Close,
        example=_CLOSE,
        successes={201: "Closed.", 200: "Had been closed before."},
        errors=(*POSTED, Forbidden, NotOver),
        wrong_field="period",
    ),
    Operation(
        method="get",
        path="/closes",
        id="list_closes",
        tag="proof",
        summary="List closed periods",
        description="The last one closed first. They are the same for all merchants.",
        scope=Scope.READ,
        query=schemas.ListCloses,
        answer=schemas.ClosePage,
        example={"data": [_CLOSE], "next_cursor": None},
        errors=KEYED,
        wrong_field="limit",
    ),
    Operation(
        method="get",
        path="/chain_head",
        id="chain_head",
        tag="proof",
        summary="Read the head of the chain",
        description="The newest seal. Whoever keeps it elsewhere can tell later whether anything "
        "that had been posted by then was changed, whoever did it; 404 before the first one.",
        scope=Scope.READ,
        answer=schemas.Seal,
        example=_SEAL,
        errors=(*KEYED, NotFound),
        wrong_field="limit",
    ),
)
