"""Reads the CSV file of a provider or bank by the layout that the operator names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import chain
from types import MappingProxyType
from typing import Final

from standart.bank_files import tokens, values
from standart.bank_files.layout import DELIMITERS, Layout
from standart.bank_files.lines import LONGEST_LINE, Lines
from standart.bank_files.records import (
    MAX_RECORDS,
    Direction,
    Facts,
    FileFormat,
    Record,
    Token,
    plain,
    shown,
    unfit,
    wrong,
)
from standart.errors import InvalidInput
from standart.phrases import Phrase

MOST_COLUMNS: Final = 200

_LONGEST_TEXT: Final = 1000

_DIRECTIONS: Final = MappingProxyType(
    dict.fromkeys(("in", "credit", "incoming", "payment", "приход", "поступление"), Direction.IN)
    | dict.fromkeys(("зачисление", "кредит", "оплата"), Direction.IN)
    | dict.fromkeys(("out", "debit", "outgoing", "refund", "payout"), Direction.OUT)
    | dict.fromkeys(("расход", "списание", "дебет", "возврат", "выплата"), Direction.OUT)
)
_PAID: Final = MappingProxyType(
    dict.fromkeys(("paid", "success", "successful", "succeeded", "confirmed", "completed"), True)
    | dict.fromkeys(("captured", "settled", "refunded", "ok", "done", "approved"), True)
    | dict.fromkeys(("оплачен", "оплачено", "успешно", "успех", "подтверждена"), True)
    | dict.fromkeys(("подтвержден", "проведен", "исполнен", "исполнено", "зачислено"), True)
    | dict.fromkeys(("canceled", "cancelled", "failed", "declined", "rejected"), False)
    | dict.fromkeys(("expired", "refused", "error", "voided", "pending", "waiting"), False)
    | dict.fromkeys(("отменен", "отменена", "отменено", "отклонен", "отклонено"), False)
    | dict.fromkeys(("истекла", "истек", "ошибка", "ожидание", "в обработке"), False)
)


class _Feed:
    """Hands lines to the CSV reader and bounds what one row may be made of."""

    def __init__(self, source: Iterable[str], lines: Lines) -> None:
        self._source, self._lines, self._held = source, lines, 0

    def __iter__(self) -> Iterator[str]:
        for line in self._source:
            self._held += len(line)
            if self._held > LONGEST_LINE:
                message = Phrase(
                    "is where a row becomes longer than %(most)s characters", most=LONGEST_LINE
                )
                raise wrong(self._lines.number, message)
            yield line

    def release(self) -> None:
        """Begin a new row."""
        self._held = 0


def read(lines: Lines, layout: Layout, facts: Facts) -> Iterator[Record]:
    """Yield the records of the file behind ``lines``; fill in ``facts`` on the way.

    Raises:
        InvalidInput: the first line that does not fit, by its number.
    """
    rows = _rows(lines, layout)
    first, header = next(rows, (1, []))
    places = _places(first, header, layout)
    reader = _RowReader(layout, places)
    count = 0
    for number, cells in rows:
        if len(cells) != len(header):
            message = Phrase(
                "has %(columns)s columns instead of %(wanted)s",
                columns=len(cells),
                wanted=len(header),
            )
            raise wrong(number, message)
        count += 1
        if count > MAX_RECORDS:
            message = Phrase(
                "is more than the %(most)s rows that a file may have", most=MAX_RECORDS
            )
            raise wrong(number, message)
        yield reader.record(number, cells)
    if count == 0:
        raise wrong(first, Phrase("is the header, and no row follows it"))
    facts.encoding = lines.encoding or "ascii"


def facts_for(layout: Layout) -> Facts:
    """Return what is known of a CSV file before it is read."""
    both = "direction" in layout.columns
    return Facts(FileFormat.CSV, frozenset(Direction if both else [Direction.IN]))


def _rows(lines: Lines, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that is not empty, with the number of its first line."""
    source = iter(lines)
    head = next(source, "")
    if not head:
        raise wrong(1, Phrase("is missing: the file is empty"))
    feed = _Feed(chain([head], source), lines)
    delimiter = layout.delimiter or _delimiter(head, layout)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        begins = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error):
                message = Phrase("opens a quotation mark that nothing closes")
                raise wrong(begins, message) from None
            raise wrong(lines.number, Phrase("is not CSV")) from None
        feed.release()
        if len(cells) > MOST_COLUMNS:
            message = Phrase(
                "has %(columns)s columns; %(most)s are the most",
                columns=len(cells),
                most=MOST_COLUMNS,
            )
            raise wrong(begins, message)
        if any(cells):
            yield begins, cells


def _delimiter(head: str, layout: Layout) -> str:
    """Return the delimiter by which the header has the most of the columns named."""

    def fits(delimiter: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([head], delimiter=delimiter), [])
        except csv.Error:
            return 0, 0
        names = {cell.strip() for cell in cells}
        return len(names & set(layout.columns.values())), len(cells)

    return max(DELIMITERS, key=fits)


def _places(line: int, header: list[str], layout: Layout) -> dict[str, int]:
    names = [cell.strip() for cell in header]
    for number, name in enumerate(names):
        if name and name in names[:number]:
            raise wrong(line, Phrase("has the column %(name)s twice", name=shown(name)))
    known = ", ".join(shown(name) for name in names[:20] if name)
    if not layout.columns:
        message = Phrase("must say what the columns are; there are %(known)s", known=known)
        raise InvalidInput.of("--map", message)
    for name in layout.columns.values():
        if name not in names:
            message = Phrase(
                "has no column %(name)s; it has %(known)s", name=shown(name), known=known
            )
            raise wrong(line, message)
    return {kind: names.index(name) for kind, name in layout.columns.items()}


class _RowReader:
    """Turns the cells of a row into a record."""

    def __init__(self, layout: Layout, places: dict[str, int]) -> None:
        self._layout, self._places = layout, places
        self._days = values.Days(layout.date_format, layout.zone)

    def record(self, line: int, cells: list[str]) -> Record:
        """Return the record of ``cells``.

        Raises:
            InvalidInput: a cell does not fit.
        """
        layout = self._layout
        day, time = self._days.read(self._cell(cells, "date"), line, "date")
        written = self._cell(cells, "time").strip()
        code = self._cell(cells, "currency").strip()
        currency = values.currency(code, line) if code else layout.currency
        reference = self._text(cells, "reference")
        purpose = self._text(cells, "purpose")
        return Record(
            line=line,
            direction=self._direction(cells, line),
            date=day,
            time=values.clock(written, line, "time") if written else time,
            amount=values.amount(
                self._cell(cells, "amount"), currency, layout.decimal_mark, line, "amount"
            ),
            currency=currency,
            reference=reference and reference[: tokens.LONGEST],
            tokens=_tokens(reference, purpose),
            paid=self._paid(cells, line),
            fee=self._fee(cells, currency, line),
            purpose=purpose,
            counterparty=self._text(cells, "counterparty"),
            document=self._text(cells, "document"),
        )

    def _cell(self, cells: list[str], kind: str) -> str:
        place = self._places.get(kind)
        return "" if place is None else cells[place]

    def _text(self, cells: list[str], kind: str) -> str | None:
        return plain(self._cell(cells, kind), _LONGEST_TEXT)

    def _direction(self, cells: list[str], line: int) -> Direction:
        if "direction" not in self._places:
            return Direction.IN
        word = self._cell(cells, "direction").strip()
        try:
            return _DIRECTIONS[word.lower()]
        except KeyError:
            raise unfit(line, Phrase("is neither in nor out"), "direction", word) from None

    def _paid(self, cells: list[str], line: int) -> bool:
        if "status" not in self._places:
            return True
        word = self._cell(cells, "status").strip()
        try:
            return _PAID[word.lower().replace("ё", "е")]
        except KeyError:
            problem = Phrase("says neither paid nor failed")
            raise unfit(line, problem, "status", word) from None

    def _fee(self, cells: list[str], currency: str, line: int) -> int | None:
        text = self._cell(cells, "fee").strip()
        mark = self._layout.decimal_mark
        if not text:
            return None
        return values.amount(text, currency, mark, line, "fee", may_be_zero=True)


def _tokens(reference: str | None, purpose: str | None) -> tuple[Token, ...]:
    named = tokens.of_reference(reference) if reference else ()
    said = tokens.of_purpose(purpose) if purpose else ()
    known = {token.text for token in named}
    return (*named, *(token for token in said if token.text not in known))
