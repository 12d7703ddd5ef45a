"""Files that are sent while they are made, in flat memory; no spreadsheet runs what they hold."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Final

from flask import Response

from standart.clock import now
from standart.documents.csv import MARK, safe

_PIECE: Final = 32 * 1024


def csv_file(name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Response:
    """Return a CSV of UTF-8 with a byte order mark, by which spreadsheets know it."""
    answer = Response(_written(columns, rows), content_type="text/csv; charset=utf-8")
    file_name = f"{name}-{now():%Y%m%d-%H%M%S}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return answer


def _written(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    # At once, so that the download begins while rows are sought.
    yield (MARK + text.getvalue()).encode()
    _empty(text)
    for row in rows:
        writer.writerow([safe(cell) for cell in row])
        if text.tell() > _PIECE:
            yield text.getvalue().encode()
            _empty(text)
    yield text.getvalue().encode()


def _empty(text: StringIO) -> None:
    text.seek(0)
    text.truncate()
