"""A statement as a PDF document: A4 across, made by ReportLab from a font of our own.

The whole statement is read before the first page is drawn, since page one says what all
the movements come to; so it takes up to ``MAX_MOVEMENTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from io import BytesIO
from itertools import islice
from threading import Lock
from zoneinfo import ZoneInfo

from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfgen.canvas import Canvas

from standart.documents.figures import moment, moment_utc, offsets
from standart.documents.pdf_pen import Pen, Style, cut, width
from standart.documents.pdf_table import PAD, Row, Table
from standart.documents.statement import Foot, Head, Movement
from standart.documents.words import WORDS, Lang, kinds_in_order
from standart.errors import InvalidInput

MAX_MOVEMENTS = 5000
"""The most that a document holds: nobody reads further, and all of it is in memory."""

_WIDTH, _HEIGHT = landscape(A4)
_SIDE = 30.0
_ROOM = _WIDTH - 2 * _SIDE
_TOP = _HEIGHT - 30.0
_BOTTOM = 42.0
_CHUNK = 64 * 1024

# A font's object may serve one document at a time (ReportLab), and threads share it.
_drawing = Lock()


def render(
    head: Head, movements: Iterable[Movement], foot: Callable[[], Foot], lang: Lang
) -> Iterator[bytes]:
    """Read all movements, call ``foot`` once, draw, and return the document's bytes.

    The same values give the same bytes.

    Raises:
        InvalidInput: there are more than ``MAX_MOVEMENTS``, found before anything is drawn.
    """
    moves = list(islice(movements, MAX_MOVEMENTS + 1))
    if len(moves) > MAX_MOVEMENTS:
        message = f"pdf holds at most {MAX_MOVEMENTS} movements; ask for csv"
        raise InvalidInput.of("format", message)
    with _drawing:
        data = _Document(head, moves, foot(), lang).data()
    return (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))


class _Document:
    """The pages of one statement."""

    def __init__(self, head: Head, moves: list[Movement], foot: Foot, lang: Lang) -> None:
        self.head = head
        self.foot = foot
        self.lang = lang
        self.words = WORDS[lang]
        self.zone = ZoneInfo(head.zone)
        self.table = Table(head, moves, foot, lang, _ROOM)
        self.title = self.words.numbered.format(number=head.number)
        self.rows = self._rows(moves)
        self._target = BytesIO()
        self.canvas = self._canvas()
        self.pen = Pen(self.canvas)

    def _rows(self, moves: list[Movement]) -> list[Row]:
        middle = [self.table.movement(each) for each in moves] or [self.table.nothing()]
        return [self.table.opening(self.head), *middle, self.table.closing(self.foot)]

    def _canvas(self) -> Canvas:
        """Return an empty document whose date is the span's end, on whatever day it is made."""
        lang = {"ru": "ru-RU", "en": "en"}[self.lang]
        canvas = Canvas(
            self._target, pagesize=(_WIDTH, _HEIGHT), invariant=1, pageCompression=1, lang=lang
        )
        made = self.head.end.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ")
        canvas.setDateFormatter(lambda *_: made)
        canvas.setTitle(self.title)
        canvas.setSubject(self.head.merchant)
        canvas.setAuthor("Standart")
        canvas.setCreator("Standart")
        return canvas

    def data(self) -> bytes:
        """Draw everything and return the document."""
        top = self._first()
        pages = self._pages(top)
        for place, rows in enumerate(pages):
            if place:
                top = _TOP
            if rows:
                top = self.table.draw_heads(self.pen, _SIDE, top, None)
            for row in rows:
                top = self.table.draw(self.pen, _SIDE, top, row)
            self._footer(place + 1, len(pages))
            self.pen.next_page()
        self.canvas.save()
        return self._target.getvalue()

    def _pages(self, top: float) -> list[list[Row]]:
        """Return the rows by pages, the first of which begins at ``top``.

        The opening balance is never alone, nor are the totals.
        """
        pages: list[list[Row]] = [[]]
        room = top - _BOTTOM - self.table.heads_height
        rows = self.rows
        for place, row in enumerate(rows):
            together = {0: 2 if len(rows) > 3 else 3, len(rows) - 2: 2}.get(place, 1)
            needed = sum(each.height for each in rows[place : place + together])
            if needed > room:
                pages.append([])
                room = _TOP - _BOTTOM - self.table.heads_height
            pages[-1].append(row)
            room -= row.height
        return pages

    def _footer(self, page: int, pages: int) -> None:
        style = Style("regular", 6.5, "soft")
        y = _BOTTOM - 16
        self.pen.rule(_SIDE, y + 10, _ROOM, 0.5, "line")
        text = self.words.page.format(page=page, pages=pages)
        self.pen.right(_SIDE + _ROOM, y, text, style)
        digest = f"{self.words.digest} {self.foot.digest[:16]}…"
        self.pen.left(_SIDE + _ROOM * 0.62, y, digest, style)
        whose = f"{self.title}  ·  {self.head.merchant}"
        self.pen.left(_SIDE, y, cut(whose, _ROOM * 0.6, style), style)

    def _first(self) -> float:
        """Draw page one down to the table of movements and return where that begins."""
        pen, words = self.pen, self.words
        title, merchant = Style("bold", 15), Style("regular", 10.5)
        top = _TOP - 13
        pen.left(_SIDE, top, cut(self.title, _ROOM, title), title)
        top -= 17
        pen.left(_SIDE, top, cut(self.head.merchant, _ROOM, merchant), merchant)
        top -= 9
        pen.rule(_SIDE, top, _ROOM, 1.25, "accent")
        top -= 8
        top = min(self._facts(top), self._balances(top)) - 10
        top = self._kinds(top) - 9
        pen.left(_SIDE + PAD, top, words.net_note, Style("regular", 6, "soft"))
        top = self._proof(top - 4) - 20
        pen.left(_SIDE, top, words.movements, Style("bold", 9))
        return top - 6

    def _facts(self, top: float) -> float:
        head, words = self.head, self.words
        spans = (
            [moment(at, self.zone, self.lang) for at in (head.start, head.end)],
            [moment_utc(at) for at in (head.start, head.end)],
        )
        local, utc = (words.span.format(start=start, end=end) for start, end in spans)
        facts = (
            (words.merchant_id, str(head.merchant_id)),
            (words.period, local),
            (f"{words.period}, UTC", utc),
            (words.zone, f"{head.zone} ({offsets(self.zone, head.start, head.end)})"),
            (words.currency, head.currency),
            (words.books, words.closed if head.closed else words.open),
        )
        return self._pairs(top, facts, _ROOM * 0.55)

    def _proof(self, top: float) -> float:
        words, anchor = self.words, self.head.anchor
        pairs = (
            (words.chain_head, str(anchor or words.no_chain)),
            (words.digest, f"{self.foot.digest}  ({words.digest_note})"),
        )
        return self._pairs(top, pairs, _ROOM)

    def _pairs(self, top: float, pairs: Iterable[tuple[str, str]], room: float) -> float:
        label, value = Style("regular", 7.5, "soft"), Style("regular", 7.5)
        for name, text in pairs:
            top -= 11
            self.pen.left(_SIDE + PAD, top, name, label)
            self.pen.left(_SIDE + 82, top, cut(text, room - 82, value), value)
        return top

    def _balances(self, top: float) -> float:
        """Draw what there was, what changed and what is left, at the right."""
        head, foot, words = self.head, self.foot, self.words
        lines = (
            (words.opening, head.available, head.reserved),
            (words.change, foot.totals.net, foot.totals.reserved),
            (words.closing, foot.available, foot.reserved),
        )
        columns = [(available, reserved) for _, available, reserved in lines]
        right, left = _SIDE + _ROOM, _SIDE + _ROOM * 0.58
        heads = Style("bold", 7)
        for size in (8.0, 7.5, 7.0, 6.5, 6.0, 5.5):
            first, third = (max(self._widths(size, each)) for each in zip(*columns, strict=True))
            second = max(third, width(words.reserved, heads)) + 6 * PAD
            if width(words.change, Style("bold", size)) + first + second + 6 * PAD <= right - left:
                break
        self.pen.box(left, top - 15, right - left, 15, "ground")
        self.pen.left(left + PAD, top - 10, words.balances, heads)
        self.pen.right(right - second - PAD, top - 10, words.available, heads)
        self.pen.right(right - PAD, top - 10, words.reserved, heads)
        top -= 15
        for place, (name, available, reserved) in enumerate(lines):
            style = Style("bold" if place == 2 else "regular", size)
            if place == 2:
                self.pen.rule(left, top, right - left, 0.5, "soft")
            self.pen.left(left + PAD, top - 11, name, style)
            self.pen.right(right - second - PAD, top - 11, self.table.amount(available), style)
            self.pen.right(right - PAD, top - 11, self.table.amount(reserved), style)
            top -= 16
            self.pen.rule(left, top, right - left, 0.35, "line")
        return top

    def _widths(self, size: float, amounts: Iterable[int]) -> Iterator[float]:
        return (width(self.table.amount(each), Style("bold", size)) for each in amounts)

    def _kinds(self, top: float) -> float:
        words, table, foot = self.words, self.table, self.foot
        top = table.draw_heads(self.pen, _SIDE, top, (words.by_kind, words.count))
        for kind in kinds_in_order(foot.by_kind):
            sums = foot.by_kind[kind]
            row = table.sums((words.kind(kind), table.plain), sums)
            top = table.draw(self.pen, _SIDE, top, row, count=sums.count)
        row = table.sums((words.totals, Style("bold", table.size)), foot.totals)
        return table.draw(self.pen, _SIDE, top, row, count=foot.totals.count)
