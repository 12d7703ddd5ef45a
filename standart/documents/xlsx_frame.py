"""Everything of a statement's workbook but its rows: written by XlsxWriter, in memory.

The first sheet is the statement itself: head, balances, totals by kind, proof. The others
hold nothing but movements below one row of heads, so that a whole column may be summed,
filtered or turned into a pivot table. Their rows are streamed by ``xlsx``, which puts them
between ``Sheet.before`` and ``Sheet.after``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from io import BytesIO
from typing import Any
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import xlsxwriter

from standart.documents.figures import moment, moment_utc, offsets
from standart.documents.statement import Foot, Head, Totals
from standart.documents.words import AMOUNTS, COLUMNS, WORDS, Lang, Words, kinds_in_order
from standart.money import digits_of, format_minor

EXACT = 10**15
"""The largest amount, in minor units, that a cell can hold as a number.

Spreadsheets keep 15 significant digits; up to here an amount has no more. What is larger
stands there as text, exact but not summed, and the statement says so.
"""

WIDTHS: Mapping[str, float] = {
    "number": 8,
    "local": 19,
    "at": 19,
    "kind": 21,
    "reference": 24,
    "source_id": 37,
    "transaction_id": 37,
    "journal_id": 37,
}
_AMOUNT_WIDTH = 18
HEADS_HEIGHT = 32
"""The height of a row of heads in points: two lines."""

_SHEETS_BEFORE = 1

# Characters that XML 1.0 cannot carry, not even as references.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Return ``text`` with a replacement character for each that XML cannot carry."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet of movements without its rows: what stands before and after them.

    ``styles`` has the number of each column's cell style, ``heads`` that of the heads' row.
    """

    before: bytes
    after: bytes
    styles: Sequence[str]
    heads: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A workbook without movements: ``parts`` by name, ``sheets`` in order."""

    parts: Mapping[str, bytes]
    sheets: Sequence[Sheet]


def build(
    head: Head, foot: Foot, lang: Lang, rows: Sequence[int], *, inexact: bool = False
) -> Frame:
    """Return the workbook of a statement with a sheet for each of ``rows``, its movements' count.

    ``inexact`` tells that some movement's amount is text. The same arguments give the same
    bytes.
    """
    words = WORDS[lang]
    target = BytesIO()
    options = {"in_memory": True, "default_date_format": "yyyy-mm-dd"}
    book = xlsxwriter.Workbook(target, options)
    formats = _formats(book, digits_of(head.currency))
    title = words.numbered.format(number=clean(head.number))
    end = head.end.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    book.set_properties({"title": title, "author": "Standart", "created": end})
    cover = _Cover(book.add_worksheet(words.statement[:31]), formats, head, lang)
    cover.inexact = inexact
    cover.write(foot)
    for place, count in enumerate(rows):
        name = words.movements if place == 0 else f"{words.movements} {place + 1}"
        _movements(book.add_worksheet(name), formats, count)
    book.close()
    with ZipFile(target) as archive:
        parts = {each: archive.read(each) for each in archive.namelist()}
    names = [sheet_name(place) for place in range(len(rows))]
    return Frame(
        {name: data for name, data in parts.items() if name not in names},
        [_split(parts[name]) for name in names],
    )


def sheet_name(place: int) -> str:
    """Return the name of the part that holds the sheet of movements number ``place``, from 0."""
    return f"xl/worksheets/sheet{place + 1 + _SHEETS_BEFORE}.xml"


def _formats(book: Any, digits: int) -> dict[str, Any]:
    """Return the styles by name; a zero in a movement shows as a dash, a balance as it is."""
    number = "#,##0" + ("." + "0" * digits if digits else "")
    table = {"border": 1, "border_color": "#D8DEE7", "valign": "top"}
    head = {**table, "bold": True, "bg_color": "#E6E9EE", "text_wrap": True}
    head.update(align="center", valign="vcenter")
    sums = {**table, "bold": True, "top": 2, "top_color": "#57616F"}
    # An amount may be text, which a cell that is too narrow would cut without a sign of it.
    right = {"align": "right", "shrink": True}
    made = {
        "title": {"bold": True, "font_size": 14},
        "label": {"font_color": "#57616F"},
        "plain": {},
        "note": {"italic": True, "font_color": "#57616F"},
        "head": head,
        "text": table,
        "count": {**table, "num_format": "0"},
        "place": {**table, "num_format": "0", "align": "center"},
        "moment": {**table, "num_format": "yyyy-mm-dd hh:mm:ss", "align": "left"},
        "amount": {**table, **right, "num_format": f'{number};-{number};"–"'},
        "balance": {**table, **right, "num_format": f"{number};-{number}"},
        "total": sums,
        "total_count": {**sums, "num_format": "0"},
        "total_amount": {**sums, **right, "num_format": f"{number};-{number}"},
    }
    return {name: book.add_format(what) for name, what in made.items()}


class _Cover:
    """The first sheet: everything but the movements."""

    def __init__(self, sheet: Any, formats: Mapping[str, Any], head: Head, lang: Lang) -> None:
        self.sheet = sheet
        self.formats = formats
        self.head = head
        self.lang = lang
        self.words: Words = WORDS[lang]
        self.row = 0
        self.inexact = False

    def write(self, foot: Foot) -> None:
        """Fill the sheet from top to bottom."""
        sheet, head, words = self.sheet, self.head, self.words
        sheet.activate()
        sheet.hide_gridlines(2)
        sheet.set_landscape()
        sheet.set_paper(9)
        sheet.fit_to_pages(1, 0)
        sheet.set_footer("&L&8&A&R&8&P / &N")
        sheet.set_column(0, 0, 30)
        sheet.set_column(1, 1 + len(AMOUNTS), _AMOUNT_WIDTH)
        self._line(("title", words.numbered.format(number=head.number)))
        self.row += 1
        self._facts()
        self.row += 1
        self._balances(foot)
        self.row += 1
        self._kinds(foot)
        self.row += 1
        self._line(("note", words.net_note))
        if self.inexact:
            self._line(("note", words.long_amounts))
        self.row += 1
        self._fact(words.chain_head, str(head.anchor or words.no_chain))
        self._fact(words.digest, foot.digest)
        self._line(("plain", ""), ("note", words.digest_note))

    def _facts(self) -> None:
        head, words = self.head, self.words
        zone = ZoneInfo(head.zone)
        start, end = (moment(at, zone, self.lang) for at in (head.start, head.end))
        utc = words.span.format(start=moment_utc(head.start), end=moment_utc(head.end))
        self._fact(words.merchant, head.merchant)
        self._fact(words.merchant_id, str(head.merchant_id))
        self._fact(words.period, words.span.format(start=start, end=end))
        self._fact(f"{words.period}, UTC", utc)
        self._fact(words.zone, f"{head.zone} ({offsets(zone, head.start, head.end)})")
        self._fact(words.currency, head.currency)
        self._fact(words.books, words.closed if head.closed else words.open)

    def _balances(self, foot: Foot) -> None:
        sheet, head, words, totals = self.sheet, self.head, self.words, foot.totals
        sheet.set_row(self.row, HEADS_HEIGHT)
        self._line(("head", words.balances), ("head", words.available), ("head", words.reserved))
        self._line(("text", words.opening), ("balance", head.available), ("balance", head.reserved))
        self._line(("text", words.change), ("balance", totals.net), ("balance", totals.reserved))
        self._line(
            ("total", words.closing),
            ("total_amount", foot.available),
            ("total_amount", foot.reserved),
        )

    def _kinds(self, foot: Foot) -> None:
        words = self.words
        self.sheet.set_row(self.row, HEADS_HEIGHT)
        heads = (words.by_kind, words.count, *(words.columns[each] for each in AMOUNTS))
        self._line(*(("head", each) for each in heads))
        # There is always a row: styles are numbered in the order of their first use, and rows
        # are streamed by numbers that must not depend on what the totals turn out to be.
        rows = [(words.kind(each), foot.by_kind[each]) for each in kinds_in_order(foot.by_kind)]
        for name, sums in rows or [(words.nothing, Totals())]:
            self._sums("", name, sums)
        self._sums("total", words.totals, foot.totals)

    def _sums(self, style: str, name: str, sums: Totals) -> None:
        text, count, amount = (
            (style, f"{style}_count", f"{style}_amount") if style else ("text", "count", "amount")
        )
        amounts = [(amount, getattr(sums, each)) for each in AMOUNTS]
        self._line((text, name), (count, sums.count), *amounts)

    def _fact(self, name: str, text: str) -> None:
        self._line(("label", name), ("plain", text))

    def _line(self, *cells: tuple[str, str | int]) -> None:
        for column, (style, value) in enumerate(cells):
            self._cell(column, style, value)
        self.row += 1

    def _cell(self, column: int, style: str, value: str | int) -> None:
        """Write text as text, whatever it begins with, and whole numbers as what they stand for."""
        place = (self.row, column)
        if isinstance(value, str):
            self.sheet.write_string(*place, clean(value), self.formats[style])
        elif style.endswith("count"):
            self.sheet.write_number(*place, value, self.formats[style])
        elif abs(value) <= EXACT:
            exact = Decimal(format_minor(value, self.head.currency))
            self.sheet.write_number(*place, exact, self.formats[style])
        else:
            self.inexact = True
            text = format_minor(value, self.head.currency)
            self.sheet.write_string(*place, text, self.formats[style])


def _movements(sheet: Any, formats: Mapping[str, Any], count: int) -> None:
    """Set up a sheet of ``count`` movements, with one cell of each style for ``_split``.

    On paper the identifiers are left out.
    """
    last = len(COLUMNS) - 1
    sheet.freeze_panes(1, 0)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.print_area(0, 0, count, COLUMNS.index("balance"))
    sheet.set_footer("&L&8&A&R&8&P / &N")
    sheet.autofilter(0, 0, max(count, 1), last)
    styles = {"number": "place", "local": "moment", "at": "moment", "balance": "balance"}
    for column, name in enumerate(COLUMNS):
        style = "amount" if name in AMOUNTS else styles.get(name, "text")
        sheet.set_column(column, column, WIDTHS.get(name, _AMOUNT_WIDTH))
        sheet.write_blank(0, column, None, formats[style])
    sheet.write_blank(0, last + 1, None, formats["head"])


def _split(part: bytes) -> Sheet:
    # The dimension is a hint that nobody needs, and not known before the last row is.
    text = re.sub(r"<dimension [^>]*/>", "", part.decode())
    before, cells, after = re.split(r"(?<=<sheetData>)(.*)(?=</sheetData>)", text)
    *styles, heads = re.findall(r' s="(\d+)"', cells)
    return Sheet(before.encode(), after.encode(), styles, heads)
