"""A statement as an Excel workbook, streamed: a million movements in flat memory.

XlsxWriter makes everything of the workbook but the movements' rows (``xlsx_frame``). Those
are written here, straight into the archive, as soon as they are read: its parts may come in
any order, so the sheets of movements go first and the statement itself, which needs the
totals, goes last though it is the first sheet. Texts are inline strings, never formulas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from html import escape
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo
from zoneinfo import ZoneInfo

from standart.documents.statement import Foot, Head, Movement, Totals
from standart.documents.words import COLUMNS, WORDS, Lang
from standart.documents.xlsx_frame import EXACT, HEADS_HEIGHT, Sheet, build, clean, sheet_name
from standart.errors import InvalidInput
from standart.money import format_minor

MAX_MOVEMENTS = 10_000_000
"""More belong into a CSV file: nobody opens ten sheets that are full to the last row."""

SHEET_ROWS = 2**20 - 1
"""The movements that a sheet holds below its heads; more go on in the next sheet."""

SHEET_BYTES = 2_000_000_000
"""Where a sheet ends at the latest: beyond 2 GiB its part would need ZIP64, which Excel
takes for damage."""

# The same whatever the movements are; and whoever looks at a file's first bytes only sees
# what kind it is.
_EARLY = ("_rels/.rels", "docProps/core.xml")

_BATCH = 500
_CHUNK = 64 * 1024
_LEVEL = 3
_DAY = 86_400
_EPOCH = date(1899, 12, 30).toordinal()

# What a spreadsheet would take for the code of a character, such as _x0041_ for A.
_CODE = re.compile("_(?=x[0-9A-Fa-f]{4}_)")


def render(
    head: Head, movements: Iterable[Movement], foot: Callable[[], Foot], lang: Lang
) -> Iterator[bytes]:
    """Yield the workbook's bytes; the first ones before the first movement is asked for.

    ``foot`` is called once, after the last movement. The same values give the same bytes.

    Raises:
        InvalidInput: there are more than ``MAX_MOVEMENTS``. By then part of the file is
            out, and without its end it opens nowhere, so count before.
    """
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        begun = build(head, _NO_FOOT, lang, [0])
        for name in _EARLY:
            archive.writestr(_part(name), begun.parts[name])
        yield sink.taken()
        rows = _Rows(begun.sheets[0], head, lang, movements)
        while rows.more:
            with archive.open(_part(sheet_name(len(rows.counts))), "w") as part:
                part.write(rows.sheet.before + rows.heads())
                for batch in rows.batches():
                    part.write(batch)
                    if sink.size >= _CHUNK:
                        yield sink.taken()
                part.write(build(head, _NO_FOOT, lang, rows.counts[-1:]).sheets[0].after)
        whole = build(head, foot(), lang, rows.counts, inexact=rows.inexact)
        if any(sheet.styles != rows.sheet.styles for sheet in whole.sheets):
            raise RuntimeError("the styles of a workbook depend on its totals")
        for name in (each for each in whole.parts if each not in _EARLY):
            archive.writestr(_part(name), whole.parts[name])
    yield sink.taken()


_NO_FOOT = Foot(Totals(), {}, 0, 0, "")


def _part(name: str) -> ZipInfo:
    """Return a part's entry, the same on every machine and day."""
    entry = ZipInfo(name)
    entry.compress_type = ZIP_DEFLATED
    entry.create_system = 0
    return entry


class _Sink:
    """Where the archive writes to: it cannot seek, and is emptied chunk by chunk."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        """Keep ``data`` until it is taken."""
        self._chunks.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: what was written is there at once."""

    def close(self) -> None:
        """Do nothing: what is left is still to be taken."""

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self.size = 0
        return data


class _Rows:
    """Writes movements as the rows of one sheet after another."""

    def __init__(self, sheet: Sheet, head: Head, lang: Lang, source: Iterable[Movement]) -> None:
        self.sheet = sheet
        self.counts: list[int] = []
        self.more = True
        self.inexact = False
        self._source = iter(source)
        self._waiting: Movement | None = None
        self._words = WORDS[lang]
        self._zone = ZoneInfo(head.zone)
        self._currency = head.currency
        self._kinds: dict[str, str] = {}
        self._heads = [self._words.columns[name].format(zone=head.zone) for name in COLUMNS]
        letters = [chr(ord("A") + place) for place in range(len(COLUMNS))]
        self._heads_row = _template(letters, [sheet.heads] * len(COLUMNS))
        self._row = _template(letters, sheet.styles)

    def heads(self) -> bytes:
        """Return the row of heads."""
        row = self._heads_row.format(1, *(_text(name) for name in self._heads))
        return row.replace('r="1"', f'r="1" ht="{HEADS_HEIGHT}" customHeight="1"', 1).encode()

    def batches(self) -> Iterator[bytes]:
        """Yield the rows of the next sheet and count them; ``more`` if one more is needed.

        Raises:
            InvalidInput: there are more than ``MAX_MOVEMENTS``.
        """
        count, size, batch = 0, 0, []
        self.more = False
        before = sum(self.counts)
        for movement in self._movements():
            if count == SHEET_ROWS or size >= SHEET_BYTES:
                self._waiting, self.more = movement, True
                break
            if before + count == MAX_MOVEMENTS:
                message = f"xlsx holds at most {MAX_MOVEMENTS} movements; ask for csv"
                raise InvalidInput.of("format", message)
            count += 1
            batch.append(self._line(count + 1, movement))
            if len(batch) == _BATCH:
                data = "".join(batch).encode()
                size += len(data)
                yield data
                batch.clear()
        self.counts.append(count)
        yield "".join(batch).encode()

    def _movements(self) -> Iterator[Movement]:
        if self._waiting is not None:
            yield self._waiting
        yield from self._source

    def _line(self, line: int, it: Movement) -> str:
        """Return ``it`` as row number ``line``, its cells in the order of ``COLUMNS``."""
        kind = self._kinds.get(it.kind)
        if kind is None:
            kind = self._kinds[it.kind] = _text(self._words.kind(it.kind))
        amount = self._amount
        return self._row.format(
            line,
            _number(it.number),
            _number(serial(it.at.astimezone(self._zone))),
            kind,
            _EMPTY if it.reference is None else _text(it.reference),
            amount(it.gross),
            amount(it.commission),
            amount(it.refunded),
            amount(it.commission_returned),
            amount(it.paid_out),
            amount(it.adjusted),
            amount(it.net),
            amount(it.reserved),
            amount(it.balance),
            _number(serial(it.at.astimezone(UTC))),
            _plain(it.source_id),
            _EMPTY if it.transaction_id is None else _plain(it.transaction_id),
            _plain(it.journal_id),
        )

    def _amount(self, minor: int) -> str:
        if minor == 0:
            return _ZERO
        text = format_minor(minor, self._currency)
        if -EXACT <= minor <= EXACT:
            return _number(text)
        self.inexact = True
        return _plain(text)


def serial(at: datetime) -> str:
    """Return the wall clock of ``at`` as spreadsheets count: days since 1899-12-30.

    To the second, downwards: shown without its fraction, a moment must not be rounded into
    the next second, which may lie in the next period.
    """
    days = at.toordinal() - _EPOCH
    seconds = at.hour * 3600 + at.minute * 60 + at.second
    return f"{days}.{(seconds * 10**12 + _DAY // 2) // _DAY:012d}"


def _template(letters: Sequence[str], styles: Sequence[str]) -> str:
    """Return a row for ``str.format``: its number, then what ends each cell."""
    cells = [
        f'<c r="{letter}{{0}}" s="{style}"{{{place}}}'
        for place, (letter, style) in enumerate(zip(letters, styles, strict=True), 1)
    ]
    return f'<row r="{{0}}">{"".join(cells)}</row>'


def _number(value: object) -> str:
    return f"><v>{value}</v></c>"


def _plain(value: object) -> str:
    return f' t="inlineStr"><is><t>{value}</t></is></c>'


def _text(text: str) -> str:
    text = escape(_CODE.sub("_x005F_", clean(text)), quote=False)
    return f' t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


_EMPTY = "/>"
_ZERO = _number(0)
