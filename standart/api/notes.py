"""Notes over HTTP: write one, list those of a transaction."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from standart.api import auth, body, listing, query, responses, schemas
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.extensions import on_connection
from standart.services import note_service
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
        digest = auth.caller()
        asked = query.read(schemas.ListNotes)
        transaction_id = UUID(asked.id)
        return listing.answer(
            digest,
            "notes",
            asked,
            lambda connection, actor, bounds: note_service.list_notes(
                connection,
                actor,
                transaction_id,
                **bounds,
            ),
        )
