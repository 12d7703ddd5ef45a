"""Settlement statements over HTTP: short ones at once, long ones as they are read.

Few long ones are sent at a time; whoever comes beyond that is asked to come again.
"""

from __future__ import annotations

from flask import Response, stream_with_context
from sqlalchemy import Connection

from standart import streams
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
        disposition = f'attachment; filename="{file_name(statement.head, form)}"'
        headers = [("Content-Disposition", disposition)]
        body = streams.sent(pieces)
        if isinstance(body, bytes):
            return responses.ready(body, mimetype=form.mimetype, headers=headers)
        body = stream_with_context(body)
        return responses.streamed(body, mimetype=form.mimetype, headers=headers)
