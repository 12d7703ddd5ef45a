"""Reads 1CClientBankExchange, the exchange file that Russian banks hand out.

Lines are ``key=value``; a section begins and ends with lines of its own. The money of a
document went out when its payer's account is one of the file's (РасчСчет), and came in when
its receiver's is. What contradicts itself is refused: days outside the stated period, an
account whose opening balance and turnover don't make its closing balance, an end that is
missing. Turnover that the documents don't add up to is only a warning, since many banks let
one export a part of a period's documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final

from standart.bank_files import lines as encodings
from standart.bank_files import tokens, values
from standart.bank_files.accounts import ACCOUNT, RECEIVED, SPENT, Accounts
from standart.bank_files.layout import Layout
from standart.bank_files.lines import Lines
from standart.bank_files.records import (
    MAX_RECORDS,
    Direction,
    Facts,
    FileFormat,
    Record,
    plain,
    shown,
    wrong,
)
from standart.phrases import Phrase

MAGIC: Final = b"1CClientBankExchange"

_DECLARED: Final = MappingProxyType(
    {
        "windows": encodings.WINDOWS_1251,
        "windows-1251": encodings.WINDOWS_1251,
        "dos": encodings.CP866,
        "utf-8": encodings.UTF_8,
        "utf8": encodings.UTF_8,
    }
)
_FIRST_KEYS: Final = ("ВерсияФормата", "Кодировка")

_ACCOUNT_BEGINS, _ACCOUNT_ENDS = "СекцияРасчСчет", "КонецРасчСчет"
_DOCUMENT_BEGINS, _DOCUMENT_ENDS = "СекцияДокумент", "КонецДокумента"
_FILE_ENDS: Final = "КонецФайла"

_START, _END = "ДатаНачала", "ДатаКонца"
_OPENING, _CLOSING = "НачальныйОстаток", "КонечныйОстаток"
_NUMBER, _DAY, _SUM = "Номер", "Дата", "Сумма"
_PAYER, _PAYEE = "ПлательщикСчет", "ПолучательСчет"
_LEFT, _CAME, _PURPOSE = "ДатаСписано", "ДатаПоступило", "НазначениеПлатежа"

_OF_ACCOUNT: Final = frozenset((_START, _END, ACCOUNT, _OPENING, RECEIVED, SPENT, _CLOSING))
_OF_DOCUMENT: Final = frozenset((_NUMBER, _DAY, _SUM, _PAYER, _PAYEE, _LEFT, _CAME))
_TEXTS: Final = frozenset(
    [f"{name}{number}" for name in ("Плательщик", "Получатель") for number in ("", "1")]
    + [f"{_PURPOSE}{number}" for number in ("", *range(1, 7))]
)

_LONGEST_TEXT: Final = 1000


@dataclass(slots=True)
class _Section:
    """What stands between the first and the last line of a section, with the lines' numbers."""

    name: str
    line: int
    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    last: str = ""

    def get(self, key: str) -> str:
        return self.values.get(key, "")


class _Exchange:
    """The state of reading one file."""

    def __init__(self, lines: Lines, layout: Layout, facts: Facts) -> None:
        self._lines, self._layout, self._facts = lines, layout, facts
        # The format has days in this form only, whatever a CSV file would have.
        self._days = values.Days("DD.MM.YYYY", layout.zone)
        self._accounts = Accounts(layout.currency)
        self._section: _Section | None = None
        self._head = _Section("", 1)
        self._ended = False

    def read(self) -> Iterator[Record]:
        """Yield the records; check the whole at the end."""
        self._expect_magic()
        count = 0
        while line := self._lines.read():
            text = self._decode(line).strip()
            if self._ended and text:
                raise self._wrong("follows %(key)s", key=_FILE_ENDS)
            record = self._take(text) if text else None
            if record is not None:
                count += 1
                if count > MAX_RECORDS:
                    raise self._wrong(
                        "is of more than the %(most)s documents allowed", most=MAX_RECORDS
                    )
                yield record
        self._close(count)

    def _expect_magic(self) -> None:
        if self._lines.read().strip() != MAGIC:
            raise wrong(1, Phrase("is not %(magic)s", magic=MAGIC.decode()))

    def _decode(self, line: bytes) -> str:
        """Return the line as text; the first key tells the encoding by its own bytes."""
        if self._lines.encoding is None and line.strip():
            self._lines.encoding = self._encoding_of(line)
        return self._lines.decode(line)

    def _encoding_of(self, line: bytes) -> str:
        for encoding in encodings.ENCODINGS:
            if line.strip().startswith(tuple(key.encode(encoding) for key in _FIRST_KEYS)):
                return encoding
        one, other = _FIRST_KEYS
        known = ", ".join(encodings.ENCODINGS)
        raise self._wrong(
            "must be %(one)s or %(other)s in %(known)s", one=one, other=other, known=known
        )

    def _take(self, text: str) -> Record | None:
        """Take in one line; return a document when it ends with it."""
        key, sign, value = (part.strip() for part in text.partition("="))
        if key in (_ACCOUNT_BEGINS, _DOCUMENT_BEGINS):
            self._begin(key)
        elif key in (_ACCOUNT_ENDS, _DOCUMENT_ENDS):
            return self._end(key)
        elif key == _FILE_ENDS:
            self._require_outside(key)
            self._ended = True
        elif sign:
            self._keep(key, value)
        else:
            self._continue(text)
        return None

    def _begin(self, key: str) -> None:
        self._require_outside(key)
        self._section = _Section(key, self._lines.number)

    def _require_outside(self, key: str) -> None:
        if self._section is not None:
            raise self._wrong(
                "is %(key)s, but %(begun)s of line %(line)s has not ended",
                key=key,
                begun=self._section.name,
                line=self._section.line,
            )

    def _end(self, key: str) -> Record | None:
        section, self._section = self._section, None
        begins = {_ACCOUNT_ENDS: _ACCOUNT_BEGINS, _DOCUMENT_ENDS: _DOCUMENT_BEGINS}[key]
        if section is None or section.name != begins:
            raise self._wrong("is %(key)s, but no %(begins)s has begun", key=key, begins=begins)
        if begins == _ACCOUNT_BEGINS:
            self._account(section)
            return None
        return self._document(section)

    def _keep(self, key: str, value: str) -> None:
        section = self._section
        if section is None:
            self._header(key, value)
            return
        wanted = _OF_ACCOUNT if section.name == _ACCOUNT_BEGINS else _OF_DOCUMENT | _TEXTS
        section.last = key
        if key not in wanted:
            return
        if key in section.values:
            raise self._said_twice(key, section)
        section.values[key], section.lines[key] = value, self._lines.number

    def _continue(self, text: str) -> None:
        """Take a line without a sign of equality for more of a purpose, and for nothing else."""
        section = self._section
        if section is None or not section.last.startswith(_PURPOSE):
            raise self._wrong("%(text)s is no part of the format", text=shown(text))
        if section.last in section.values and len(section.values[section.last]) < _LONGEST_TEXT:
            section.values[section.last] += f" {text}"

    def _header(self, key: str, value: str) -> None:
        head, number = self._head, self._lines.number
        if key == "Кодировка":
            self._check_encoding(value)
        elif key == ACCOUNT:
            self._accounts.own(value, number)
        elif key in (_START, _END):
            if key in head.values:
                raise self._said_twice(key, head)
            head.values[key], head.lines[key] = value, number
            self._period(head)

    def _check_encoding(self, value: str) -> None:
        declared = _DECLARED.get(value.lower())
        if declared is None:
            raise self._wrong("names an encoding %(text)s that is not known", text=shown(value))
        # An encoding that the operator named is what counts, whatever the bank wrote here.
        if self._layout.encoding is None and declared != self._lines.encoding:
            raise self._wrong(
                "says %(value)s, but the file is in %(encoding)s",
                value=value,
                encoding=self._lines.encoding,
            )

    def _period(self, section: _Section) -> None:
        """Check a stated period as soon as both ends are known; the header's is the file's."""
        days = {
            key: self._days.read(section.get(key), section.lines[key], key)[0]
            for key in (_START, _END)
            if section.get(key)
        }
        start, end = days.get(_START), days.get(_END)
        if start and end and start > end:
            line = max(section.lines[_START], section.lines[_END])
            message = Phrase(
                "ends the period on %(end)s, before its start on %(start)s", end=end, start=start
            )
            raise wrong(line, message)
        if section is self._head:
            self._facts.first_day, self._facts.last_day = start, end

    def _account(self, section: _Section) -> None:
        self._period(section)
        turnover = self._accounts.own(section.get(ACCOUNT), self._lines.number)
        sums = {
            key: self._sum(section, key, turnover.currency)
            for key in (_OPENING, RECEIVED, SPENT, _CLOSING)
            if section.get(key)
        }
        if len(sums) == 4:
            expected = sums[_OPENING] + sums[RECEIVED] - sums[SPENT]
            if expected != sums[_CLOSING]:
                line = section.lines[_CLOSING]
                sum_of = f"{_OPENING} + {RECEIVED} - {SPENT}"
                message = Phrase("%(sum)s is not %(key)s", sum=sum_of, key=_CLOSING)
                raise wrong(line, message)
        turnover.state(came=sums.get(RECEIVED), went=sums.get(SPENT))

    def _sum(self, section: _Section, key: str, currency: str) -> int:
        text, sign = section.get(key), 1
        # A balance may be below zero, an amount never.
        if key in (_OPENING, _CLOSING) and text.startswith("-"):
            text, sign = text[1:], -1
        mark = self._layout.decimal_mark
        line = section.lines[key]
        return sign * values.amount(text, currency, mark, line, key, may_be_zero=True)

    def _document(self, section: _Section) -> Record | None:
        payer = self._accounts.get(section.get(_PAYER))
        payee = self._accounts.get(section.get(_PAYEE))
        own = payer or payee
        if own is None:
            message = Phrase("begins a document of no account that is a %(key)s", key=ACCOUNT)
            raise wrong(section.line, message)
        if not section.get(_SUM):
            raise wrong(section.line, Phrase("begins a document without %(key)s", key=_SUM))
        line = section.lines[_SUM]
        amount = values.amount(
            section.get(_SUM), own.currency, self._layout.decimal_mark, line, _SUM
        )
        day = self._day(section, _LEFT if payer else _CAME)
        if payer:
            payer.went += amount
        if payee:
            payee.came += amount
        if payer and payee:
            self._facts.transfers += 1
            return None
        direction = Direction.OUT if payer else Direction.IN
        return self._record(section, direction, day, amount, own.currency)

    def _day(self, section: _Section, key: str) -> date:
        """Return when the bank carried a document out; it lies in the file's period."""
        key = key if section.get(key) else _DAY
        if not section.get(key):
            raise wrong(section.line, Phrase("begins a document without %(key)s", key=_DAY))
        line = section.lines[key]
        day, _ = self._days.read(section.get(key), line, key)
        first, last = self._facts.first_day, self._facts.last_day
        if (first and day < first) or (last and day > last):
            message = Phrase("%(key)s %(day)s lies outside the file's period", key=key, day=day)
            raise wrong(line, message)
        return day

    def _record(
        self, section: _Section, direction: Direction, day: date, amount: int, currency: str
    ) -> Record:
        parts = [section.get(f"{_PURPOSE}{number}") for number in ("", *range(1, 7))]
        # The parts repeat the whole where a bank writes both.
        purpose = plain(parts[0] or " ".join(parts[1:]), _LONGEST_TEXT)
        other = "Плательщик" if direction is Direction.IN else "Получатель"
        name = section.get(f"{other}1") or section.get(other)
        return Record(
            line=section.line,
            direction=direction,
            date=day,
            time=None,
            amount=amount,
            currency=currency,
            tokens=tokens.of_purpose(purpose) if purpose else (),
            purpose=purpose,
            counterparty=plain(name, _LONGEST_TEXT),
            document=plain(section.get(_NUMBER), _LONGEST_TEXT),
        )

    def _close(self, count: int) -> None:
        number = self._lines.number + 1
        if self._section is not None:
            message = Phrase(
                "is missing: the file ends within %(begun)s of line %(line)s",
                begun=self._section.name,
                line=self._section.line,
            )
            raise wrong(number, message)
        if not self._ended:
            message = Phrase("is missing: the file ends without %(key)s", key=_FILE_ENDS)
            raise wrong(number, message)
        if not self._accounts:
            raise wrong(number - 1, Phrase("ends a file that names no %(key)s", key=ACCOUNT))
        if count == 0 and not (self._facts.first_day and self._facts.last_day):
            message = Phrase("ends a file without documents and without a period")
            raise wrong(number - 1, message)
        self._facts.encoding = self._lines.encoding or ""
        self._facts.warnings += self._accounts.warnings()

    def _said_twice(self, key: str, section: _Section) -> Exception:
        return self._wrong(
            "says %(key)s again, as line %(line)s does", key=key, line=section.lines[key]
        )

    def _wrong(self, template: str, **values: object) -> Exception:
        return wrong(self._lines.number, Phrase(template, **values))


def read(lines: Lines, layout: Layout, facts: Facts) -> Iterator[Record]:
    """Yield the records of the file behind ``lines``; fill in ``facts`` on the way.

    Raises:
        InvalidInput: the first line that does not fit, by its number.
    """
    return _Exchange(lines, layout, facts).read()


def empty_facts() -> Facts:
    """Return what is known of such a file before it is read."""
    return Facts(FileFormat.EXCHANGE, frozenset(Direction))
