"""A statement as a document: refused before its first byte, or written to its end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from standart.documents.formats import Format
from standart.documents.words import Lang
from standart.errors import InvalidInput
from standart.services.statement_service import Run, Statement


def document(statement: Statement, form: Format, lang: Lang, run: Run) -> Iterator[bytes]:
    """Return the pieces of ``statement`` in a format, the first of them made already.

    Raises:
        InvalidInput: the format holds fewer movements.
    """
    # Those in other currencies are counted as well: to tell them apart would take too long.
    if form.most is not None and statement.journals(run, form.most + 1) > form.most:
        message = f"{form.name} holds at most {form.most} movements; ask for csv"
        raise InvalidInput.of("format", message)
    pieces = form.render(statement.head, statement.movements(run), statement.foot, lang)
    return chain([next(pieces)], pieces)
