"""Settlement statements over HTTP: short ones at once, long ones as they are read.

A client that reads slowly holds one of the few threads that serve. So few long ones are sent
at a time by each process; whoever comes beyond that is asked to come again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from flask import Response, stream_with_context
from sqlalchemy import Connection

from standart.api import auth, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.restful import Resource
from standart.documents.formats import FORMATS, file_name
from standart.errors import Unavailable
from standart.extensions import on_connection, settings
from standart.services import key_service, statement_service, statement_stream
from standart.services.statement_service import Statement
from standart.services.statement_span import Asked

MOST_SENT: Final = 2
"""How many long statements a process sends at a time, of the threads that it serves with."""

SHORT_BYTES: Final = 64 * 1024
"""A statement that is not longer is made whole before it is sent, and holds nobody up."""

RETRY_SECONDS: Final = 5

_sending: Final = threading.BoundedSemaphore(MOST_SENT)


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
        begun = _beginning(pieces)
        if len(begun) <= SHORT_BYTES:
            return responses.ready(begun, mimetype=form.mimetype, headers=headers)
        return responses.streamed(_sent(begun, pieces), mimetype=form.mimetype, headers=headers)


def _beginning(pieces: Iterator[bytes]) -> bytes:
    """Return what comes first: all of a short statement, or more than ``SHORT_BYTES``."""
    begun = b""
    while len(begun) <= SHORT_BYTES and (piece := next(pieces, None)) is not None:
        begun += piece
    return begun


def _sent(begun: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return the pieces of a long statement, counted until the last one or the client is gone.

    Raises:
        Unavailable: enough of them are being sent.
    """
    if not _sending.acquire(blocking=False):
        raise Unavailable("Other long statements are being sent.", retry_after=RETRY_SECONDS)

    def send() -> Iterator[bytes]:
        try:
            yield b""
            yield begun
            yield from pieces
        finally:
            _sending.release()

    counted = send()
    # Only a generator that has begun ends by what stands in its finally.
    next(counted)
    return stream_with_context(counted)
