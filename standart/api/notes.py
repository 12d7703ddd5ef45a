"""Notes over HTTP: write one, list those of a transaction."""

from __future__ import annotations

from uuid import UUID

from flask import Response
from sqlalchemy import Connection

from standart.api import auth, body, query, responses, schemas
from standart.api.cursor import Sealer
from standart.api.fields import DEFAULT_LIMIT
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.extensions import on_connection, settings
from standart.services import key_service, note_service
from standart.services.note_service import NewNote


class CreateNote(Resource):
    """``POST /create_note``."""

    def post(self) -> Response:
        """Add a note to a transaction."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.CreateNote)
        claimed, origin = claim(asked), auth.origin()
        new = NewNote(transaction_id=UUID(asked.id), text=asked.text, internal=asked.internal)
        answer = on_connection(
            lambda connection: note_service.create_note(
                connection, digest, origin, new, claim=claimed
            )
        )
        return responses.from_answer(answer)


class ListNotes(Resource):
    """``GET /notes``."""

    def get(self) -> Response:
        """List the notes of a transaction, newest first."""
        digest, origin = auth.caller(), auth.origin()
        asked = query.read(schemas.ListNotes)
        transaction_id, limit = UUID(asked.id), int(asked.limit or DEFAULT_LIMIT)
        secret = settings().secret_key

        def work(connection: Connection) -> Response:
            actor = key_service.authenticate(connection, digest, origin)
            sealer = Sealer(secret, "notes", actor, asked)
            rows = note_service.list_notes(
                connection,
                actor,
                transaction_id,
                after=sealer.open(asked.cursor),
                limit=limit + 1,
            )
            return responses.page(rows, limit, sealer)

        return on_connection(work)
