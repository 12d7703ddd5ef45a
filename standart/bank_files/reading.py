"""Opens a file as what it is and reads it whole, record by record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from standart.bank_files import exchange, tables
from standart.bank_files.layout import Layout
from standart.bank_files.lines import MARK, Lines
from standart.bank_files.records import Facts, FileFormat, Record


class BankFile:
    """A file that is being read once, from its beginning to its end.

    ``facts`` and ``lines`` say all about the file once the last record was taken.
    """

    def __init__(self, file: BinaryIO, layout: Layout, format: FileFormat | None = None) -> None:
        """Without a ``format`` the file's first line tells it."""
        self.lines = Lines(file, layout.encoding)
        self._layout = layout
        if format is None:
            first = self.lines.peek().removeprefix(MARK).strip()
            is_exchange = first == exchange.MAGIC
        else:
            is_exchange = format is FileFormat.EXCHANGE
        self.facts: Facts = exchange.empty_facts() if is_exchange else tables.facts_for(layout)

    def records(self) -> Iterator[Record]:
        """Yield the records in the order of the file.

        Raises:
            InvalidInput: the first line that does not fit, by its number.
        """
        read = exchange.read if self.facts.format is FileFormat.EXCHANGE else tables.read
        return read(self.lines, self._layout, self.facts)
