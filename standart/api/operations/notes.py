"""The calls about notes."""

from __future__ import annotations

from typing import Any, Final

from standart.api import fields, schemas
from standart.api.operations.base import KEYED, POSTED, Operation
from standart.errors import NotFound
from standart.models import Scope

NOTE: Final[dict[str, Any]] = {
    "id": "0198f0c5-1a2b-7c3d-8e4f-5a6b7c8d9e0f",
    "transaction_id": fields.EXAMPLE_ID,
    "user_id": fields.EXAMPLE_USER,
    "author": "shop",
    "internal": False,
    "text": "The customer called: deliver after six",
    "created_at": "2026-11-23T09:05:00.123456Z",
}

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/create_note",
        id="create_note",
        tag="notes",
        summary="Write a note on a transaction",
        description="Adds a note to a transaction of any status. Only an admin's key may write "
        "an `internal` one, which merchants never see.",
        scope=Scope.WRITE,
        body=schemas.CreateNote,
        examples={
            "merchant": {"id": fields.EXAMPLE_ID, "text": NOTE["text"]},
            "admin": {"id": fields.EXAMPLE_ID, "text": "Asked the bank", "internal": True},
        },
        answer=schemas.Note,
        example=NOTE,
        successes={201: "Created."},
        errors=(*POSTED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="get",
        path="/notes",
        id="list_notes",
        tag="notes",
        summary="List the notes of a transaction",
        description="Newest first.",
        scope=Scope.READ,
        query=schemas.ListNotes,
        answer=schemas.NotePage,
        example={"data": [NOTE], "next_cursor": None},
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
)
