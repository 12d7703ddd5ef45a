"""A file that was read whole and found good, spooled to disk as the database takes it in.

Nothing of the database is asked here: a file may come as slowly as it wants, and a bad one
ends before any transaction has begun.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO

from standart.bank_files.layout import Layout
from standart.bank_files.reading import BankFile
from standart.bank_files.records import Facts, FileFormat, Record

_CHUNK = 1 << 16

# What a purpose or a name may be in a row that is kept for ever.
_KEPT_TEXT = 500


@dataclass(frozen=True, slots=True)
class Spooled:
    """A good file: what is known of it as a whole, its payments and their words on disk.

    ``first_day`` and ``last_day`` are the period that it states, or that of its payments.
    """

    name: str
    size: int
    digest: bytes
    facts: Facts
    options: dict[str, Any]
    layout: Layout
    first_day: date
    ends_before: date
    count: int
    _lines: IO[bytes]
    _tokens: IO[bytes]

    def lines(self) -> Iterator[bytes]:
        """Yield the payments as CSV, from the start."""
        return _chunks(self._lines)

    def tokens(self) -> Iterator[bytes]:
        """Yield the words by which they may name a transaction as CSV, from the start."""
        return _chunks(self._tokens)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk


@contextmanager
def spool(
    file: BinaryIO, name: str, layout: Layout, format: FileFormat | None = None
) -> Iterator[Spooled]:
    """Read and check all of ``file``; hold what it says until the block ends.

    Raises:
        InvalidInput: the first line that does not fit, by its number, or an option.
    """
    with TemporaryFile() as lines, TemporaryFile() as tokens:
        source = BankFile(file, layout, format)
        count, first, last = _write(source, lines, tokens)
        facts = source.facts
        # A file without payments has a period: its reader makes sure of that.
        starts, ends = facts.first_day or first, facts.last_day or last
        assert starts is not None
        assert ends is not None
        yield Spooled(
            name=name,
            size=source.lines.size,
            digest=source.lines.digest,
            facts=facts,
            options=_options(layout, facts),
            layout=layout,
            first_day=starts,
            ends_before=ends + timedelta(days=1),
            count=count,
            _lines=lines,
            _tokens=tokens,
        )


def _write(
    source: BankFile, lines: IO[bytes], tokens: IO[bytes]
) -> tuple[int, date | None, date | None]:
    """Write all records; return how many there are, and their first and last day."""
    into_lines, into_tokens = _Writer(lines), _Writer(tokens)
    count, first, last = 0, None, None
    for record in source.records():
        count += 1
        first = record.date if first is None else min(first, record.date)
        last = record.date if last is None else max(last, record.date)
        into_lines.row(_cells(record))
        for token in record.tokens:
            into_tokens.row((record.line, token.text, token.weak))
    into_lines.finish()
    into_tokens.finish()
    return count, first, last


class _Writer:
    """Writes rows of CSV to a binary file that stays open."""

    def __init__(self, file: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        self.row = csv.writer(self._text, lineterminator="\n").writerow

    def finish(self) -> None:
        """Let go of the file, all of it written."""
        self._text.flush()
        self._text.detach()


COLUMNS_OF_LINES = (
    "line, direction, day, time, amount, currency, paid, fee, reference, purpose,"
    " counterparty, document"
)
COLUMNS_OF_TOKENS = "line, token, weak"


def _cells(record: Record) -> tuple[Any, ...]:
    return (
        record.line,
        record.direction,
        record.date,
        record.time,
        record.amount,
        record.currency,
        record.paid,
        record.fee,
        record.reference,
        record.purpose and record.purpose[:_KEPT_TEXT],
        record.counterparty and record.counterparty[:_KEPT_TEXT],
        record.document and record.document[:_KEPT_TEXT],
    )


def _options(layout: Layout, facts: Facts) -> dict[str, Any]:
    """How the file was understood, so that anybody can do the same again."""
    said = {
        "encoding": facts.encoding,
        "columns": dict(layout.columns) if facts.format is FileFormat.CSV else None,
        "delimiter": layout.delimiter,
        "date_format": layout.date_format,
        "decimal_mark": layout.decimal_mark,
        "currency": layout.currency,
        "transfers": facts.transfers or None,
    }
    return {name: value for name, value in said.items() if value is not None}
