"""Settlement statements over HTTP, sent as they are read."""

from __future__ import annotations

from flask import Response, stream_with_context
from sqlalchemy import Connection

from standart.api import auth, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.restful import Resource
from standart.documents.formats import FORMATS, file_name
from standart.extensions import on_connection, settings
from standart.services import key_service, statement_service, statement_stream
from standart.services.statement_service import Statement
from standart.services.statement_span import Asked


class ReadStatement(Resource):
    """``GET /statement``."""

    def get(self) -> Response:
        """Open a statement, refuse what can be refused, then send it."""
        digest, origin = auth.caller(), auth.origin()
        asked = query.read(schemas.ReadStatement)
        form = FORMATS[asked.format or "json"]

        def find(connection: Connection) -> Statement:
            return statement_service.open_statement(
                connection,
                key_service.authenticate(connection, digest, origin),
                user_id=uuid_or_none(asked.user_id),
                currency=asked.currency,
                asked=Asked(asked.start, asked.end, asked.period),
            )

        statement = on_connection(find)
        lang = form.language(asked.lang, settings().default_locale)
        pieces = statement_stream.document(statement, form, lang, on_connection)
        return responses.streamed(
            stream_with_context(pieces), form.mimetype, file_name(statement.head, form)
        )
