"""Closed periods and the chain's head over HTTP."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec
from flask import Response
from sqlalchemy import Connection

from standart.api import auth, body, query, responses, schemas
from standart.api.cursor import Sealer
from standart.api.fields import DEFAULT_LIMIT
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.errors import NotFound
from standart.extensions import on_connection, settings
from standart.models import Scope
from standart.services import chain, close_service, key_service

# A close has a number and no id of its own; cursors hold both.
_NO_ID: Final = UUID(int=0)


class ClosePeriod(Resource):
    """``POST /close_period``."""

    def post(self) -> Response:
        """Close a day or a month that is over."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.ClosePeriod)
        claimed, origin = claim(asked), auth.origin()
        zone = settings().timezone
        answer = on_connection(
            lambda connection: close_service.close(
                connection, digest, origin, period=asked.period, zone=zone, claim=claimed
            )
        )
        return responses.from_answer(answer)


class ListCloses(Resource):
    """``GET /closes``."""

    def get(self) -> Response:
        """List the closed periods, the last one first."""
        digest, origin = auth.caller(), auth.origin()
        asked = query.read(schemas.ListCloses)
        limit = int(asked.limit or DEFAULT_LIMIT)
        secret = settings().secret_key

        def work(connection: Connection) -> Response:
            actor = key_service.authenticate(connection, digest, origin)
            sealer = Sealer(secret, "closes", actor, asked)
            before = sealer.open_number(asked.cursor)[0] if asked.cursor else None
            rows = close_service.list_closes(connection, actor, before=before, limit=limit + 1)
            shown = rows[:limit]
            more = len(rows) > limit
            cursor = f'"{sealer.seal_number(shown[-1][1], _NO_ID)}"' if more else "null"
            data = ",".join(text for text, _ in shown)
            return responses.ready(f'{{"data":[{data}],"next_cursor":{cursor}}}'.encode())

        return on_connection(work)


class ChainHead(Resource):
    """``GET /chain_head``."""

    def get(self) -> Response:
        """Tell the newest seal, for whoever keeps it elsewhere."""
        digest, origin = auth.caller(), auth.origin()
        query.refuse()

        def work(connection: Connection) -> Response:
            key_service.authenticate(connection, digest, origin).require(Scope.READ)
            head = chain.last(connection)
            if head is None:
                raise NotFound("Nothing has been sealed yet.")
            return responses.ready(msgspec.json.encode(head.wire()))

        return on_connection(work)
