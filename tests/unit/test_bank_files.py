"""Files of banks and providers: what they say is read exactly, what does not fit is refused."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from datetime import date, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standart import money
from standart.bank_files import layout as layouts
from standart.bank_files import lines, tables, tokens, values
from standart.bank_files.layout import Layout
from standart.bank_files.reading import BankFile
from standart.bank_files.records import Direction, FileFormat, Record, plain
from standart.errors import InvalidInput

MAP = layouts.columns(["reference=Order,amount=Sum,date=Date"])
HEAD = "Order,Sum,Date\n"


def layout(**changes: Any) -> Layout:
    return Layout(**({"currency": "RUB", "columns": MAP} | changes))


def opened(content: bytes | str, format: FileFormat | None = None, **changes: Any) -> BankFile:
    body = content.encode() if isinstance(content, str) else content
    return BankFile(io.BytesIO(body), layout(**changes), format)


def records(content: bytes | str, **changes: Any) -> list[Record]:
    return list(opened(content, **changes).records())


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        act()
    [error] = caught.value.errors
    return f"{error.field} {error.message}"


def refused(content: bytes | str, **changes: Any) -> str:
    return refusal(lambda: records(content, **changes))


# CSV.


def test_a_row_becomes_a_record() -> None:
    file = opened(HEAD + "A-17,100.00,2026-11-23\n\nA-18,0.01,24.11.2026\n")
    first, second = file.records()

    assert (first.line, first.direction, first.amount, first.currency) == (
        2,
        Direction.IN,
        10_000,
        "RUB",
    )
    assert (first.date, first.time, first.reference) == (date(2026, 11, 23), None, "A-17")
    assert [token.text for token in first.tokens] == ["A-17"]
    assert (first.paid, first.fee, first.purpose) == (True, None, None)
    assert (second.line, second.amount, second.date) == (4, 1, date(2026, 11, 24))
    assert file.facts.directions == {Direction.IN}
    assert file.facts.format is FileFormat.CSV


def test_every_column_that_can_be_mapped_is_read() -> None:
    columns = layouts.columns([",".join(f"{kind}={kind.upper()}" for kind in layouts.COLUMNS)])
    head = ";".join(kind.upper() for kind in layouts.COLUMNS)
    row = 'r-1;"1 234,50";01.11.2026;14:05;USD;out;paid;1,5;by "A 9";ООО «Ё»;42'
    [record] = records(
        f"{head}\n{row.replace(chr(34) + 'A 9' + chr(34), 'r-2')}\n", columns=columns
    )

    assert record == Record(
        line=2,
        direction=Direction.OUT,
        date=date(2026, 11, 1),
        time=time(14, 5),
        amount=123_450,
        currency="USD",
        reference="r-1",
        tokens=(tokens.Token("r-1"), tokens.Token("r-2")),
        paid=True,
        fee=150,
        purpose="by r-2",
        counterparty="ООО «Ё»",
        document="42",
    )


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"\xef\xbb\xbf" + HEAD.encode() + "Ё-1,1.00,2026-11-23".encode(), "utf-8"),
        (HEAD.encode() + "Ё-1,1.00,2026-11-23".encode(), "utf-8"),
        (HEAD.encode() + "Ё-1,1.00,2026-11-23".encode("windows-1251"), "windows-1251"),
        (HEAD.encode() + b"E-1,1.00,2026-11-23", "ascii"),
    ],
)
def test_the_encoding_is_found(content: bytes, encoding: str) -> None:
    file = opened(content)
    [record] = file.records()
    assert record.reference in ("Ё-1", "E-1")
    assert file.facts.encoding == encoding
    assert file.lines.digest == hashlib.sha256(content).digest()
    assert file.lines.size == len(content)


def test_an_encoding_that_cannot_be_found_is_named() -> None:
    content = HEAD.encode() + "Ё-1,1.00,2026-11-23".encode("cp866")
    [record] = records(content, encoding="cp866")
    assert record.reference == "Ё-1"


def test_line_breaks_in_quotation_marks_are_part_of_a_cell() -> None:
    first, second = records(
        '"Or\nder",Sum,Date\n"A\r\n1",1.00,2026-11-23\nB,2.00,2026-11-23\n',
        columns={"reference": "Order", "amount": "Sum", "date": "Date"} | {"reference": "Or\nder"},
    )
    assert (first.line, first.reference, second.line, second.reference) == (3, "A 1", 5, "B")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    content = "Order,Sum,Date\nA,1.00,2026-11-23\n".replace(",", delimiter)
    assert records(content)[0].reference == "A"
    assert records(content, delimiter=delimiter)[0].reference == "A"


CASES: dict[str, tuple[bytes | str, str]] = {
    "nothing": ("", "line 1: is missing: the file is empty"),
    "blank lines": ("\n\n", "line 1: has no column 'Order'"),
    "header only": (HEAD, "line 1: is the header, and no row follows it"),
    "no such column": ("Order,Sum\n1,2\n", "line 1: has no column 'Date'; it has 'Order', 'Sum'"),
    "column twice": ("Order,Sum,Date,Sum\n", "line 1: has the column 'Sum' twice"),
    "too few cells": (HEAD + "A,1.00\n", "line 2: has 2 columns instead of 3"),
    "too many cells": (HEAD + "A,1.00,2026-11-23,\n", "line 2: has 4 columns instead of 3"),
    "open quotation mark": (HEAD + 'A,1.00,2026-11-23\n"B,1.00\n\n', "line 3: opens a quotation"),
    "letters behind a quotation mark": (HEAD + '"A"b,1,2026-11-23\n', "line 2: is not CSV"),
    "old line ends": (HEAD + "A,1,2026-11-23\rB,1,2026-11-23\r", "line 2: is not CSV"),
    "a million columns": (b"," * 999_999 + b"\n", "line 1: is longer than 65536 bytes"),
    "many columns": (b"," * 9999 + b"\n", "line 1: has 10000 columns; 200 are the most"),
    "a row of many lines": (
        HEAD + '"' + "A\n" * 40_000 + '",1,2026-11-23\n',
        "is where a row becomes longer than 65536 characters",
    ),
    "NUL": (HEAD + "A\0,1.00,2026-11-23\n", "line 2: holds a NUL byte"),
    "UTF-16": (HEAD.encode("utf-16"), "line 1: is UTF-16"),
    "two encodings": (
        HEAD.encode() + "Ё,1.00,2026-11-23\n".encode() + "Ё,1.00,2026-11-23\n".encode("cp1251"),
        "line 3: is not utf-8; name the encoding by --encoding",
    ),
    "no encoding": (HEAD.encode() + b"\x98,1.00,2026-11-23\n", "line 2: is not windows-1251"),
    "no date": (HEAD + "A,1.00,\n", "line 2: date '' is no date like YYYY-MM-DD or DD.MM.YYYY"),
    "American date": (HEAD + "A,1.00,11/23/2026\n", "line 2: date '11/23/2026' is no date like"),
    "no such day": (HEAD + "A,1.00,30.02.2026\n", "line 2: date '30.02.2026' is no date of the"),
    "year zero": (HEAD + "A,1.00,0000-01-01\n", "no date of the calendar"),
    "year of another age": (HEAD + "A,1.00,9999-12-31T23:59-23:59\n", "no date of the calendar"),
    "Arabic day": (HEAD + "A,1.00,٢٠٢٦-11-23\n", "is no date like"),
    "hour of another day": (HEAD + "A,1.00,2026-11-23 25:00\n", "is no date of the calendar"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_table_ends_in_one_error_with_its_line(case: str) -> None:
    content, message = CASES[case]
    assert message in refused(content)


def test_a_header_that_nothing_maps_is_shown() -> None:
    message = refused("Order;Sum\n", columns={})
    assert message == "--map must say what the columns are; there are 'Order', 'Sum'"


def test_a_line_of_a_gigabyte_is_not_read() -> None:
    class Endless(io.RawIOBase):
        taken = 0

        def readline(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 < size <= lines.LONGEST_LINE + 1
            self.taken += size
            return b"x" * size

    file = Endless()
    read = BankFile(file, layout()).records()  # type: ignore[arg-type]  # what is needed of it
    assert "line 1: is longer than" in refusal(lambda: list(read))
    assert file.taken <= 2 * lines.LONGEST_LINE


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LARGEST_FILE", 40)
    assert "line 3: is where the file passes 40 bytes" in refused(
        HEAD + "A,1.00,2026-11-23\nA,1.00,2026-11-23\n"
    )


def test_a_table_has_a_largest_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_RECORDS", 2)
    row = "A,1.00,2026-11-23\n"
    assert len(records(HEAD + row * 2)) == 2
    assert "line 4: is more than the 2 rows" in refused(HEAD + row * 3)


AMOUNTS = {
    "1234": 123_400,
    "1234.5": 123_450,
    "1234,56": 123_456,
    "1 234,56": 123_456,
    "1\u00a0234\u202f567.01": None,
    "1\u00a0234\u00a0567.01": 123_456_701,
    "1,234.56": 123_456,
    "1.234,56": 123_456,
    "1,234,567": 123_456_700,
    "1'234.56": 123_456,
    " 12.30 ": 1_230,
    "0.01": 1,
    "10000000000000.00": 10**15,
    "1,234": None,
    "1.234": None,
    "12,34.5": None,
    "1 23,00": None,
    "1,234 567": None,
    "0": None,
    "0.00": None,
    "-1.00": None,
    "\u22121.00": None,
    "(1.00)": None,
    "+1.00": None,
    "01.00": None,
    "1.005": None,
    "1e3": None,
    "NaN": None,
    "Infinity": None,
    "1_000": None,
    "0x10": None,
    "١٢": None,
    "１２": None,
    "": None,
    "10000000000000.01": None,
    "9" * 5000: None,
    "1.00 RUB": None,
    ".5": None,
    "5.": None,
}


@pytest.mark.parametrize("text", AMOUNTS, ids=ascii)
def test_amounts_are_read_exactly_or_refused(text: str) -> None:
    content = f'Order;Sum;Date\nA;"{text}";2026-11-23\n'
    if AMOUNTS[text] is None:
        assert refused(content).startswith("line 2: amount ")
    else:
        assert records(content)[0].amount == AMOUNTS[text]


def test_a_decimal_mark_gives_an_amount_its_one_meaning() -> None:
    content = "Order;Sum;Date\nA;1,234;2026-11-23\n"
    assert refused(content) == ("line 2: amount '1,234' may be 1.234 or 1234; say --decimal-mark")
    assert records(content, decimal_mark=".")[0].amount == 123_400
    assert records(content, decimal_mark=",", currency="KWD")[0].amount == 1_234


@given(
    minor=st.integers(1, money.MAX_MINOR),
    mark=st.sampled_from(".,"),
    blank=st.sampled_from(" '\u00a0"),
)
def test_an_amount_survives_its_writing(minor: int, mark: str, blank: str) -> None:
    whole, _, fraction = money.format_minor(minor, "RUB").partition(".")
    grouped = f"{int(whole):,}".replace(",", blank)
    for text in (f"{whole}{mark}{fraction}", f"{grouped}{mark}{fraction}"):
        assert values.amount(text, "RUB", None, 1, "amount") == minor


@pytest.mark.parametrize(
    ("format", "text", "day"),
    [
        ("DD/MM/YYYY", "02/11/2026", date(2026, 11, 2)),
        ("MM/DD/YYYY", "02/11/2026", date(2026, 2, 11)),
        ("YYYYMMDD", "20261102", date(2026, 11, 2)),
        (None, "2026-11-02T23:30:00Z", date(2026, 11, 3)),
        (None, "2026-11-02 23:30:00.123+03:00", date(2026, 11, 2)),
        (None, "02.11.2026 23:30", date(2026, 11, 2)),
    ],
)
def test_days_are_read_by_their_format(format: str | None, text: str, day: date) -> None:
    days = values.Days(format, ZoneInfo("Europe/Moscow"))
    assert days.read(text, 1, "date")[0] == day


@pytest.mark.parametrize("format", ["", "YYYY", "YYYY-MM", "YYYY-MM-DD-DD", "%Y-%m-%d", "DDMMYYY"])
def test_a_format_of_days_has_all_parts_once(format: str) -> None:
    assert "--date-format" in refusal(lambda: layout(date_format=format))


def test_other_options_are_checked_as_well() -> None:
    assert "--delimiter" in refusal(lambda: layout(delimiter="|"))
    assert "--encoding" in refusal(lambda: layout(encoding="utf-16"))
    assert "--decimal-mark" in refusal(lambda: layout(decimal_mark="'"))
    assert "currency" in refusal(lambda: layout(currency="XXX"))


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("currency", "rub", "line 2: currency 'rub' is not a known currency"),
        ("direction", "sideways", "line 2: direction 'sideways' is neither in nor out"),
        ("direction", "", "line 2: direction '' is neither in nor out"),
        ("status", "maybe", "line 2: status 'maybe' says neither paid nor failed"),
        ("time", "24:00", "line 2: time '24:00' is no time like"),
        ("time", "noon", "line 2: time 'noon' is no time like"),
        ("fee", "-1", "line 2: fee '-1' must not be negative"),
    ],
)
def test_other_columns_are_read_or_refused(column: str, cell: str, message: str) -> None:
    columns = MAP | {column: "More"}
    assert message in refused(f"Order,Sum,Date,More\nA,1.00,2026-11-23,{cell}\n", columns=columns)


@pytest.mark.parametrize(
    ("column", "cell", "name", "value"),
    [
        ("currency", "RUR", "currency", "RUB"),
        ("currency", "978", "currency", "EUR"),
        ("currency", "", "currency", "RUB"),
        ("direction", "Списание", "direction", Direction.OUT),
        ("direction", "credit", "direction", Direction.IN),
        ("status", "Отменён", "paid", False),
        ("status", "Succeeded", "paid", True),
        ("fee", "0", "fee", 0),
        ("fee", "", "fee", None),
        ("counterparty", "\x1b[31mEve\t=1", "counterparty", "[31mEve =1"),
    ],
)
def test_what_other_columns_mean(column: str, cell: str, name: str, value: object) -> None:
    columns = MAP | {column: "More"}
    [record] = records(f"Order;Sum;Date;More\nA;1.00;2026-11-23;{cell}\n", columns=columns)
    assert getattr(record, name) == value


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "must say which column is the amount and the date"),
        (["amount=Sum"], "must say which column is the date"),
        (["amount"], "must be like reference=Order"),
        (["amount="], "must be like reference=Order"),
        (["what=Sum"], "knows no 'what'"),
        (["amount=Sum,date=Date,amount=S"], "names amount twice"),
        (["amount=Sum", "date=Sum"], "names Sum twice"),
        (['"amount=Sum'], "quotation mark"),
        (["amount=Sum\ndate=Date"], "quotation mark"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused(written: list[str], message: str) -> None:
    assert message in refusal(lambda: layouts.columns(written))


def test_a_map_may_name_columns_with_commas_and_signs() -> None:
    assert layouts.columns(['"amount=Sum, RUB",date=Day', "reference=a=b"]) == {
        "amount": "Sum, RUB",
        "date": "Day",
        "reference": "a=b",
    }


# Words of a purpose.


@pytest.mark.parametrize(
    ("purpose", "found"),
    [
        ("Оплата по счету № A-17 от 23.11.2026, НДС 20%", ["A-17", "20%"]),
        ("order:555123;zakaz#77-1", ["order:555123;zakaz#77-1", "555123", "77-1"]),
        ("(inv/2026/7), сумма 100-00, 1204", ["inv/2026/7", "2026", "1204"]),
        ("Зачисление без номера", []),
        ("0198F0C2-0000-7000-8000-00000000000A", ["0198F0C2-0000-7000-8000-00000000000A",
                                                  "0198f0c2-0000-7000-8000-00000000000a"]),
    ],
)  # fmt: skip
def test_whole_words_with_a_digit_may_name_a_transaction(purpose: str, found: list[str]) -> None:
    assert [token.text for token in tokens.of_purpose(purpose)] == found


def test_short_numbers_are_weak_and_a_flood_of_words_is_cut() -> None:
    weak = {token.text: token.weak for token in tokens.of_purpose("1204 12045 a1204")}
    assert weak == {"1204": True, "12045": False, "a1204": False}
    assert len(tokens.of_purpose(" ".join(f"w{number}" for number in range(999)))) == 24
    assert tokens.of_reference("x" * 129) == ()


@given(st.text(), st.integers(1, 50))
def test_texts_are_kept_on_one_line(text: str, most: int) -> None:
    kept = plain(text, most)
    assert kept is None or (kept.isprintable() and 0 < len(kept) <= most and kept == kept.strip())


# Anything at all.


def survives(content: bytes, format: FileFormat | None, **changes: Any) -> None:
    """Reads, or ends with the one error that names a line or an option."""
    file = opened(content, format, **changes)
    try:
        found = list(file.records())
    except InvalidInput as error:
        [wrong] = error.errors
        assert wrong.field.startswith(("line ", "--"))
    else:
        assert all(0 < record.amount <= money.MAX_MINOR for record in found)
        assert all(isinstance(record.amount, int) for record in found)


@given(st.binary(max_size=300), st.sampled_from([None, *FileFormat]))
@example(b"1CClientBankExchange", None)
@example(b"\xef\xbb\xbf", None)
def test_any_bytes_are_read_or_refused(content: bytes, format: FileFormat | None) -> None:
    survives(content, format)


CELLS = st.text(st.sampled_from("0123456789.,-' \u00a0eENa/:TZ+\"\n;АЁ\u0661"), max_size=14)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4), st.sampled_from([None, ".", ","]))
def test_any_cells_are_read_or_refused(rows: list[tuple[str, ...]], mark: str | None) -> None:
    body = "".join(";".join(row) + "\n" for row in rows)
    survives(("Order;Sum;Date\n" + body).encode(), FileFormat.CSV, decimal_mark=mark)
