r"""A statement as one CSV table: a header, the movements, and facts in columns of their own.

Whoever adds up a column gets the movements' sum and nothing else: what is no movement (the
head, opening and closing balances, totals, digest, chain head) stands in rows without a number,
as a name in ``item`` and its ``value``, with all other cells empty. The last of them tells that
the file is whole.

It begins with a byte order mark: without it Excel takes UTF-8 for the code page of its language
and shows Cyrillic as noise, and nothing in the file can tell it otherwise. Programs that don't
expect one find it before the name of the first column, ``number``, and nowhere else.

In Russian the table is for Russian Excel: ``;`` between cells, a decimal comma, Russian names.
Else it is for programs and the rest of the world: ``,``, a point, the API's names.

Texts of people that a spreadsheet could take for a formula get an apostrophe before the sign:
at the start of a cell, and behind any character that some Excel may part cells by.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from io import StringIO
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from standart.documents.figures import moment
from standart.documents.plain import ROWS, amounts, utc
from standart.documents.statement import Foot, Head, Movement, Totals
from standart.documents.words import AMOUNTS, WORDS, Lang

MARK: Final = "\N{BYTE ORDER MARK}"

COLUMNS: Final = (
    "number",
    "item",
    "value",
    "at",
    "at_local",
    "reference",
    *AMOUNTS,
    "balance",
    "currency",
    "source_id",
    "transaction_id",
    "journal_id",
)

_NOTHING: Final = ("",) * (len(COLUMNS) - 3)

# Signs that begin a formula, full-width ones too, and control characters that Excel skips.
_SIGNS: Final = "[-=+@\t\r\n＝＋－＠−]"
_AT_START: Final = re.compile(rf"""[\s"']*{_SIGNS}""")
_WITHIN: Final = re.compile(rf"""([;,|\t\r\n][\s"']*)(?={_SIGNS})""")

_PLAIN: Final = re.compile(r"[\w.:/#'-]*")

_RUSSIAN: Final = {
    "item": "Показатель",
    "value": "Значение",
    "statement": "Выписка №",
    "from": "Начало (UTC)",
    "to": "Конец, не включая (UTC)",
    "from_local": "Начало",
    "to_local": "Конец, не включая",
    "timezone": "Часовой пояс",
    "user_id": "Идентификатор мерчанта",
    "closed": "Закрыта",
    "opening_available": "Входящий остаток, доступно",
    "opening_reserved": "Входящий остаток, в резерве",
    "closing_available": "Исходящий остаток, доступно",
    "closing_reserved": "Исходящий остаток, в резерве",
}
"""What is called so in a table only; all other words are those of every format."""


def safe(text: str) -> str:
    """Return ``text`` so that no spreadsheet takes a part of it for a formula."""
    inside = _WITHIN.sub(r"\1'", text)
    return f"'{inside}" if _AT_START.match(text) else inside


def render(
    head: Head, movements: Iterable[Movement], foot_of: Callable[[], Foot], lang: Lang
) -> Iterator[bytes]:
    """Yield the table in pieces; ``foot_of`` is called behind the last movement."""
    table = _Russian(head) if lang == "ru" else _Table(head)
    yield MARK.encode() + table.lines([table.header(), *table.facts(table.head())])
    remaining = iter(movements)
    while batch := list(islice(remaining, ROWS)):
        yield table.movements(batch)
    yield table.lines(table.facts(table.foot(foot_of())))


class _Table:
    """How rows are written for programs."""

    delimiter = ","

    def __init__(self, head: Head) -> None:
        self._head, self._zone = head, ZoneInfo(head.zone)
        self.money = amounts(head.currency)

    def name(self, item: str) -> str:
        """Return what a column or a fact is called."""
        return item

    def kind(self, kind: str) -> str:
        """Return what a kind of journal is called."""
        return kind

    def local(self, at: datetime) -> str:
        """Return a moment in the merchant's zone."""
        return at.astimezone(self._zone).isoformat(timespec="microseconds")

    def truth(self, true: bool) -> str:
        """Return a word for yes or no."""
        return str(true).lower()

    def lines(self, rows: Iterable[Sequence[object]]) -> bytes:
        """Return rows as bytes, each ended as RFC 4180 wants it."""
        text = StringIO()
        csv.writer(text, delimiter=self.delimiter).writerows(rows)
        return text.getvalue().encode()

    def header(self) -> list[str]:
        """Return the names of all columns."""
        return [self.name(column) for column in COLUMNS]

    def movements(self, batch: Iterable[Movement]) -> bytes:
        """Return the rows of movements; a million of them shall not take long.

        Only a reference can hold what must be quoted; the writer would look at every cell.
        """
        money, part, currency = self.money, self.delimiter, self._head.currency
        return "".join(
            part.join(
                (
                    str(each.number),
                    self.kind(each.kind),
                    "",
                    utc(each.at),
                    self.local(each.at),
                    "" if each.reference is None else self._quoted(each.reference),
                    money(each.gross),
                    money(each.commission),
                    money(each.refunded),
                    money(each.commission_returned),
                    money(each.paid_out),
                    money(each.adjusted),
                    money(each.net),
                    money(each.reserved),
                    money(each.balance),
                    currency,
                    str(each.source_id),
                    "" if each.transaction_id is None else str(each.transaction_id),
                    f"{each.journal_id}\r\n",
                )
            )
            for each in batch
        ).encode()

    def _quoted(self, text: str) -> str:
        shown = safe(text)
        if _PLAIN.fullmatch(shown):
            return shown
        return '"' + shown.replace('"', '""') + '"'

    def facts(self, facts: Iterable[tuple[str, str]]) -> list[Sequence[object]]:
        """Return the rows of what is no movement."""
        return [("", self.name(item), value, *_NOTHING) for item, value in facts]

    def head(self) -> list[tuple[str, str]]:
        """Return what is known before the first movement."""
        head, money = self._head, self.money
        return [
            ("statement", head.number),
            ("merchant", safe(head.merchant)),
            ("user_id", str(head.merchant_id)),
            ("currency", head.currency),
            ("from", utc(head.start)),
            ("to", utc(head.end)),
            ("from_local", self.local(head.start)),
            ("to_local", self.local(head.end)),
            ("timezone", head.zone),
            ("closed", self.truth(head.closed)),
            ("opening_available", money(head.available)),
            ("opening_reserved", money(head.reserved)),
        ]

    def foot(self, foot: Foot) -> list[tuple[str, str]]:
        """Return what the movements came to; the digest is the last, so that all is there."""
        return [
            ("closing_available", self.money(foot.available)),
            ("closing_reserved", self.money(foot.reserved)),
            *self._totals("totals", foot.totals),
            *(row for kind, each in foot.by_kind.items() for row in self._totals(kind, each)),
            ("chain_head", "" if self._head.anchor is None else str(self._head.anchor)),
            ("digest", foot.digest),
        ]

    def _totals(self, of: str, totals: Totals) -> list[tuple[str, str]]:
        sums = ((f"{of}.{name}", self.money(getattr(totals, name))) for name in AMOUNTS)
        return [(f"{of}.count", str(totals.count)), *sums]


class _Russian(_Table):
    """How rows are written for Excel as Russia has it."""

    delimiter = ";"

    def __init__(self, head: Head) -> None:
        super().__init__(head)
        plain, self._words = self.money, WORDS["ru"]
        self.money = lambda minor: plain(minor).replace(".", ",")

    def name(self, item: str) -> str:
        of, _, what = item.partition(".")
        if what:
            kind = self._words.totals if of == "totals" else self.kind(of)
            return f"{kind}: {self.name(what)}"
        if item == "at_local":
            return self._words.columns["local"].format(zone=self._head.zone)
        found = _RUSSIAN.get(item) or self._words.columns.get(item)
        return found or str(getattr(self._words, item))

    def kind(self, kind: str) -> str:
        return self._words.kind(kind)

    def local(self, at: datetime) -> str:
        return moment(at, self._zone, "ru")

    def truth(self, true: bool) -> str:
        return "да" if true else "нет"
