"""A statement as a document: refused before its first byte, or written to its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

from standart.documents.formats import Format
from standart.documents.statement import Movement
from standart.documents.words import Lang
from standart.errors import InvalidInput
from standart.services.statement_service import Run, Statement

HELD: Final = 10_000
"""Formats of so few movements are made of a list of them; larger ones as they are read."""


def document(statement: Statement, form: Format, lang: Lang, run: Run) -> Iterator[bytes]:
    """Return the pieces of ``statement`` in a format, the first of them made already.

    Raises:
        InvalidInput: the format holds fewer movements.
    """
    movements = _within(statement, form, run)
    pieces = form.render(statement.head, movements, statement.foot, lang)
    return chain([next(pieces)], pieces)


def _within(statement: Statement, form: Format, run: Run) -> Iterable[Movement]:
    if form.most is None:
        return statement.movements(run)
    if form.most <= HELD:
        found = list(islice(statement.movements(run), form.most + 1))
        if len(found) > form.most:
            raise _too_many(form)
        return found
    # Those in other currencies are counted as well: reading on to find out would take too long.
    if statement.journals(run, form.most + 1) > form.most:
        raise _too_many(form)
    return statement.movements(run)


def _too_many(form: Format) -> InvalidInput:
    message = f"{form.name} holds at most {form.most} movements; ask for csv"
    return InvalidInput.of("format", message)
