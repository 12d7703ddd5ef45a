"""A page of a list: whom it is read for, where it begins, and the cursor of the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from flask import Response
from sqlalchemy import Connection

from standart.api import auth, responses, schemas
from standart.api.cursor import Position, Sealer
from standart.api.fields import DEFAULT_LIMIT
from standart.extensions import on_connection, settings
from standart.services import key_service
from standart.services.access import Actor
from standart.services.key_service import KeyDigest

Row = tuple[str, datetime, UUID]
"""A row's ready JSON, its created_at and its id."""


class Bounds(TypedDict):
    """What a service reads of a list: the rows behind ``after``, at most ``limit``."""

    after: Position | None
    limit: int


Asked = (
    schemas.ListAdjustments
    | schemas.ListAttempts
    | schemas.ListEndpoints
    | schemas.ListEvents
    | schemas.ListNotes
    | schemas.ListPayouts
    | schemas.ListRefunds
    | schemas.ListReplays
    | schemas.ListTransactions
)
"""A query of a list, as it was read."""


def answer(
    digest: KeyDigest,
    name: str,
    asked: Asked,
    read: Callable[[Connection, Actor, Bounds], Sequence[Row]],
) -> Response:
    """Return the page of the list ``name`` that was asked for.

    Raises:
        Unauthenticated, InvalidInput: as ``answer_search``.
    """
    return answer_search(
        digest,
        name,
        asked,
        lambda connection, actor, bounds: (read(connection, actor, bounds), None),
    )


def answer_search(
    digest: KeyDigest,
    name: str,
    asked: Asked,
    seek: Callable[[Connection, Actor, Bounds], tuple[Sequence[Row], Position | None]],
) -> Response:
    """Return the page that ``seek`` finds; besides its rows it says where it ran out of time.

    Such a page has fewer rows than the limit, and a cursor all the same.

    Raises:
        Unauthenticated: nobody has the key of ``digest``.
        InvalidInput: the cursor is of another list, caller or filter.
    """
    origin, secret = auth.origin(), settings().secret_key
    limit = int(asked.limit or DEFAULT_LIMIT)

    def work(connection: Connection) -> Response:
        actor = key_service.authenticate(connection, digest, origin)
        sealer = Sealer(secret, name, actor, asked)
        # One row more than is shown says whether there is a next page.
        bounds: Bounds = {"after": sealer.open(asked.cursor), "limit": limit + 1}
        rows, goes_on = seek(connection, actor, bounds)
        shown = rows[:limit]
        if len(rows) > limit:
            goes_on = shown[-1][1:]
        cursor = "null" if goes_on is None else f'"{sealer.seal(goes_on)}"'
        data = ",".join(text for text, _, _ in shown)
        return responses.ready(f'{{"data":[{data}],"next_cursor":{cursor}}}'.encode())

    return on_connection(work)
