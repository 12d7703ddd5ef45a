"""Files that are sent while they are made, in flat memory; no spreadsheet runs what they hold."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Sequence
from io import StringIO
from typing import Final

from flask import Response, stream_with_context

from standart import streams
from standart.documents.csv import MARK, safe

CSV: Final = "text/csv; charset=utf-8"

_PIECE: Final = 32 * 1024


def download(file_name: str, content_type: str, pieces: Iterator[bytes]) -> Response:
    """Return the answer that the browser keeps as a file.

    Raises:
        Unavailable: enough long files are being sent.
    """
    body = streams.sent(pieces)
    answer = Response(
        body if isinstance(body, bytes) else stream_with_context(body), content_type=content_type
    )
    answer.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def csv_pieces(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    free: Collection[int] | None = None,
) -> Iterator[bytes]:
    """Yield a CSV of UTF-8 with a byte order mark, by which spreadsheets know it.

    ``free`` are the columns whose words somebody else chose; without it all are.
    """
    text = StringIO(MARK)
    text.seek(0, 2)
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            [safe(cell) if free is None or n in free else cell for n, cell in enumerate(row)]
        )
        if text.tell() > _PIECE:
            yield _taken(text)
    yield _taken(text)


def _taken(text: StringIO) -> bytes:
    made = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return made
