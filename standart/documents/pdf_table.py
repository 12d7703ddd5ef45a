"""The table of a printed statement: its columns, fitted to what they hold, and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from standart.documents.figures import amount, moment, moment_utc
from standart.documents.pdf_pen import Pen, Style, Weight, width, words, wrap
from standart.documents.statement import Foot, Head, Movement, Totals
from standart.documents.words import AMOUNTS, WORDS, Lang

SIZES = (7.0, 6.75, 6.5, 6.25, 6.0, 5.75, 5.5, 5.25, 5.0, 4.75, 4.5, 4.25, 4.0)
"""The sizes of figures that are tried, the largest that fits wins.

The last fits columns full of the largest sums that 64 bits hold.
"""

PAD = 3.0
_TEXT_ROOM = 136.0
_TEXT_ENOUGH = 250.0
_REFERENCE_LINES = 4
_HEADS = Style("bold", 6)
_GAP = "  ·  "

ZERO = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: ``texts`` (line, style) in the wide column, amounts to the right.

    ``amounts`` belong to ``AMOUNTS``; where they or ``balance`` are ``None``, nothing stands.
    ``times`` are the merchant's and UTC.
    """

    height: float
    texts: Sequence[tuple[str, Style]] = ()
    number: str = ""
    times: tuple[str, str] = ("", "")
    amounts: Sequence[int | None] = (None,) * len(AMOUNTS)
    balance: int | None = None
    bold: bool = False


class Table:
    """Columns as wide as these movements need, in ``room`` points, and how rows are drawn."""

    def __init__(
        self, head: Head, moves: Sequence[Movement], foot: Foot, lang: Lang, room: float
    ) -> None:
        self.room = room
        self._currency = head.currency
        self._lang = lang
        self._zone = ZoneInfo(head.zone)
        self._words = WORDS[lang]
        names = self._words.columns
        self._titles = [names[each] for each in (*AMOUNTS, "balance")]
        columns = _extremes(head, moves, foot)
        number = str(moves[-1].number) if moves else ""
        for self.size in SIZES:
            figures = Style("bold", self.size)
            self.amounts = [
                max(
                    *(width(self.amount(value), figures) for value in column),
                    *(width(word, _HEADS) for word in title.split(" ")),
                )
                + 2 * PAD
                for column, title in zip(columns, self._titles, strict=True)
            ]
            self.number = max(width(number, figures), width(names["number"], _HEADS)) + 2 * PAD
            self.time = width("0000-00-00 00:00:00Z", Style("regular", self.size)) + 3 * PAD
            self.text = room - self.number - self.time - sum(self.amounts)
            if self.text >= _TEXT_ROOM:
                break
        self._share()
        self.plain = Style("regular", self.size)
        self.small = Style("regular", self.size - 1, "soft")
        self.leading = self.size * 1.25
        self._heads = [
            words(title, wide - 2 * PAD, _HEADS)
            for title, wide in zip(self._titles, self.amounts, strict=True)
        ]
        self._time_heads = words(names["local"].format(zone=head.zone), self.time - PAD, _HEADS)
        lines = max(map(len, [*self._heads, self._time_heads]))
        self.heads_height = lines * _HEADS.size * 1.2 + 2 * PAD + 1

    def _share(self) -> None:
        """Give the room that texts don't need to the narrowest columns of amounts."""
        spare = self.text - _TEXT_ENOUGH
        if spare <= 0:
            return
        self.text = _TEXT_ENOUGH
        level = sum(self.amounts)
        for widest in sorted(self.amounts, reverse=True):
            narrower = [each for each in self.amounts if each <= widest]
            level = (sum(narrower) + spare) / len(narrower)
            if level >= widest:
                break
        self.amounts = [max(each, level) for each in self.amounts]

    def amount(self, minor: int) -> str:
        """Return an amount as it is printed."""
        return amount(minor, self._currency, self._lang)

    def opening(self, head: Head) -> Row:
        """Return the row above all movements."""
        text = (self._words.opening, Style("bold", self.size))
        return Row(self._height(1), [text], balance=head.available, bold=True)

    def closing(self, foot: Foot) -> Row:
        """Return the row below all movements."""
        text = f"{self._words.totals}{_GAP}{self._words.closing.lower()}"
        return self.sums((text, Style("bold", self.size)), foot.totals, foot.available)

    def nothing(self) -> Row:
        """Return the row that stands for no movements."""
        return Row(self._height(1), [(self._words.nothing, Style("regular", self.size, "soft"))])

    def sums(self, text: tuple[str, Style], sums: Totals, balance: int | None = None) -> Row:
        """Return a row of totals."""
        amounts = [getattr(sums, each) for each in AMOUNTS]
        bold = text[1].weight == "bold"
        return Row(self._height(1), [text], amounts=amounts, balance=balance, bold=bold)

    def movement(self, it: Movement) -> Row:
        """Return a movement's row: two lines, more if its reference is long."""
        room = self.text - 2 * PAD
        texts = [(each, self.plain) for each in self._kind(it, room)]
        ids = [str(it.source_id)]
        if it.transaction_id not in (None, it.source_id):
            ids.append(f"{self._words.payment} {it.transaction_id}")
        if len(ids) == 2 and width(_GAP.join(ids), self.small) <= room:
            ids = [_GAP.join(ids)]
        texts += [(each, self.small) for each in ids]
        amounts = [getattr(it, each) for each in AMOUNTS]
        times = (moment(it.at, self._zone, self._lang), moment_utc(it.at))
        height = self._height(len(texts))
        return Row(height, texts, str(it.number), times, amounts, it.balance)

    def _kind(self, it: Movement, room: float) -> list[str]:
        kind = self._words.kind(it.kind)
        if it.reference is None:
            return wrap(kind, [room], self.plain)
        both = f"{kind}{_GAP}{it.reference}"
        if width(both, self.plain) <= room:
            return [both]
        lines = wrap(it.reference, [room] * _REFERENCE_LINES, self.plain)
        return [*wrap(kind, [room], self.plain), *lines]

    def _height(self, lines: int) -> float:
        return lines * self.leading + PAD

    def draw_heads(self, pen: Pen, x: float, top: float, texts: tuple[str, str] | None) -> float:
        """Draw the row of heads below ``top`` and return where it ends.

        ``texts`` stand at the left end and the right end of the wide columns of a table of
        totals; without them it is the table of movements.
        """
        bottom = top - self.heads_height
        pen.box(x, bottom, self.room, self.heads_height, "ground")
        pen.rule(x, bottom, self.room, 0.75, "soft")
        line = _HEADS.size * 1.2
        first = top - PAD - _HEADS.size
        right = x + self.number + self.time + self.text
        if texts is None:
            names = self._words.columns
            pen.right(x + self.number - PAD, first, names["number"], _HEADS)
            for place, text in enumerate(self._time_heads):
                pen.left(x + self.number + PAD, first - place * line, text, _HEADS)
            start = x + self.number + self.time + PAD
            pen.left(start, first, f"{names['kind']}, {names['reference'].lower()}", _HEADS)
        else:
            pen.left(x + PAD, first, texts[0], _HEADS)
            pen.right(right - PAD, first, texts[1], _HEADS)
        for wide, lines in zip(self.amounts, self._heads, strict=True):
            right += wide
            if texts is None or lines is not self._heads[-1]:
                for place, text in enumerate(lines):
                    pen.right(right - PAD, first - place * line, text, _HEADS)
        return bottom - 0.75

    def draw(self, pen: Pen, x: float, top: float, row: Row, *, count: int | None = None) -> float:
        """Draw ``row`` below ``top`` and return where it ends.

        With ``count`` it is a row of totals: its text begins at the left end.
        """
        weight: Weight = "bold" if row.bold else "regular"
        figures = Style(weight, self.size)
        y = top - PAD / 2 - self.size * 0.95
        start = x + self.number
        if row.bold:
            pen.rule(x, top, self.room, 0.5, "soft")
        if row.number:
            pen.right(start - PAD, y, row.number, Style("regular", self.size, "soft"))
        pen.left(start + PAD, y, row.times[0], self.plain)
        pen.left(start + PAD, y - self.leading, row.times[1], self.small)
        start = x + PAD if count is not None else start + self.time + PAD
        for place, (text, style) in enumerate(row.texts):
            pen.left(start, y - place * self.leading, text, style)
        right = x + self.number + self.time + self.text
        if count is not None:
            pen.right(right - PAD, y, amount(count, "JPY", self._lang), figures)
        values = [*row.amounts, row.balance]
        for wide, value in zip(self.amounts, values, strict=True):
            right += wide
            if value is not None:
                zero = value == 0 and not row.bold
                text = ZERO if zero else self.amount(value)
                pen.right(
                    right - PAD, y, text, Style(weight, self.size, "faint") if zero else figures
                )
        bottom = top - row.height
        pen.rule(x, bottom, self.room, 0.35, "line")
        return bottom


def _extremes(head: Head, moves: Sequence[Movement], foot: Foot) -> list[list[int]]:
    """Return each column's lowest and highest amount: figures are as wide as each other."""
    sums = [*moves, foot.totals, *foot.by_kind.values()]
    columns = [[getattr(each, name) for each in sums] for name in AMOUNTS]
    balances = [each.balance for each in moves]
    columns.append([*balances, head.available, foot.available])
    return [[min(column), max(column)] for column in columns]
