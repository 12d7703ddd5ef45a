"""The workbook of a statement: read back cell by cell by another library."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import repeat
from typing import Any
from xml.etree import ElementTree as ET
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from openpyxl.utils.datetime import from_excel
from openpyxl.utils.escape import unescape

from standart.documents import xlsx
from standart.documents.statement import Foot, Movement
from standart.documents.words import AMOUNTS, COLUMNS, WORDS, Lang
from standart.documents.xlsx_frame import EXACT
from standart.errors import InvalidInput
from standart.money import digits_of, format_minor
from tests.unit.document_samples import (
    HEAD,
    HOSTILE,
    Statement,
    changed,
    hostile,
    statement,
)

FORMATS = {"RUB": "#,##0.00", "JPY": "#,##0", "BTC": "#,##0.00000000", "KWD": "#,##0.000"}


def read(document: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(document))


def table(document: bytes, sheet: int = 1) -> list[dict[str, Any]]:
    """Return the movements of a sheet as values by column."""
    rows = read(document).worksheets[sheet].iter_rows(min_row=2, values_only=True)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def cover(document: bytes) -> list[list[Any]]:
    """Return what stands on the first sheet, without empty cells and lines."""
    rows = read(document).worksheets[0].iter_rows(values_only=True)
    filled = [[each for each in row if each is not None] for row in rows]
    return [row for row in filled if row]


def exact(value: Any, currency: str) -> str:
    """Return an amount's cell as text with the currency's digits."""
    return f"{Decimal(str(value)):.{digits_of(currency)}f}"


@pytest.mark.parametrize("lang", WORDS)
def test_the_same_statement_is_the_same_file(lang: Lang) -> None:
    made = statement(40)
    assert made.render("xlsx", lang) == made.render("xlsx", lang)


@pytest.mark.parametrize("form", ["xlsx", "pdf"])
def test_another_process_makes_the_same_bytes(form: str) -> None:
    """Whatever the seed of its hashes, its zone and the date that builds pretend to have."""
    here = hashlib.sha256(statement(40).render(form, "ru")).hexdigest()
    odd = {"PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    command = [sys.executable, "-m", "tests.unit.document_samples", form, "ru"]
    there = subprocess.run(
        command, env=os.environ | odd, capture_output=True, text=True, check=True
    ).stdout
    assert there == here


@pytest.mark.parametrize("currency", FORMATS)
def test_every_movement_is_in_the_table(currency: str) -> None:
    made = statement(60, replace(HEAD, currency=currency))
    rows = table(made.render("xlsx", "en"))

    assert len(rows) == 60
    zone = ZoneInfo(HEAD.zone)
    for row, it in zip(rows, made.moves, strict=True):
        assert row["number"] == it.number
        assert row["kind"] == WORDS["en"].kinds[it.kind]
        assert row["reference"] == it.reference
        assert row["source_id"] == str(it.source_id)
        assert row["journal_id"] == str(it.journal_id)
        assert row["transaction_id"] == (it.transaction_id and str(it.transaction_id))
        whole = it.at.replace(microsecond=0)
        assert row["at"] == whole.replace(tzinfo=None)
        assert row["local"] == whole.astimezone(zone).replace(tzinfo=None)
        for name in (*AMOUNTS, "balance"):
            assert exact(row[name], currency) == format_minor(getattr(it, name), currency), name


@pytest.mark.parametrize(("currency", "format"), FORMATS.items())
def test_amounts_are_numbers_in_the_currencys_format(currency: str, format: str) -> None:
    made = statement(30, replace(HEAD, currency=currency))
    sheet = read(made.render("xlsx", "ru")).worksheets[1]
    cells = dict(zip(COLUMNS, sheet[2], strict=True))

    for name in AMOUNTS:
        assert cells[name].data_type == "n"
        assert cells[name].number_format == f'{format};-{format};"–"'
    assert cells["balance"].number_format == f"{format};-{format}"
    assert cells["at"].is_date
    assert cells["local"].is_date


def test_a_column_summed_by_a_spreadsheet_is_the_total() -> None:
    made = statement(80)
    rows = table(made.render("xlsx", "ru"))
    for name in AMOUNTS:
        summed = sum(float(row[name]) for row in rows)
        assert f"{summed:.2f}" == format_minor(getattr(made.foot.totals, name), "RUB")


def test_the_first_sheet_says_whose_statement_it_is_and_what_it_came_to() -> None:
    made = statement(60)
    foot, head = made.foot, made.head
    document = made.render("xlsx", "ru")
    lines = cover(document)
    said = {str(line[0]): line[1:] for line in lines}

    def figures(*minor: int) -> list[str]:
        return [format_minor(each, "RUB") for each in minor]

    def shown(name: str) -> list[str]:
        return [exact(each, "RUB") for each in said[name]]

    assert lines[0] == ["Выписка о расчётах № 2026-11-0042"]
    assert said["Мерчант"] == ["ООО «Ромашка»"]
    assert said["Идентификатор"] == [str(head.merchant_id)]
    assert said["Период"] == ["с 01.11.2026 00:00:00 до 01.12.2026 00:00:00, не включая"]
    assert said["Период, UTC"] == ["с 2026-10-31 21:00:00Z до 2026-11-30 21:00:00Z, не включая"]
    assert said["Часовой пояс"] == ["Europe/Moscow (UTC+03:00)"]
    assert said["Валюта"] == ["RUB"]
    assert said["Книги"] == ["закрыты: выписка окончательная"]
    assert shown("Входящий остаток") == figures(head.available, head.reserved)
    assert shown("Изменение за период") == figures(foot.totals.net, foot.totals.reserved)
    assert shown("Исходящий остаток") == figures(foot.available, foot.reserved)
    for kind, sums in foot.by_kind.items():
        count, *amounts = said[WORDS["ru"].kinds[kind]]
        assert count == sums.count
        assert [exact(each, "RUB") for each in amounts] == figures(
            *(getattr(sums, name) for name in AMOUNTS)
        )
    assert said["Итого"][0] == 60
    assert shown("Итого")[1:] == figures(*(getattr(foot.totals, name) for name in AMOUNTS))
    assert said["Голова цепочки"] == [str(head.anchor)]
    assert said["Дайджест"] == [foot.digest]
    assert not any("15 цифр" in str(line[0]) for line in lines)


def test_an_open_period_before_the_first_seal_says_so() -> None:
    made = statement(3, replace(HEAD, closed=False, anchor=None))
    said = {str(line[0]): line[1:] for line in cover(made.render("xlsx", "en"))}
    assert said["Books"] == ["not closed: the period may still grow"]
    assert said["Chain head"] == ["no seal yet"]


def test_a_period_without_movements_is_a_whole_workbook() -> None:
    made = statement(0)
    document = made.render("xlsx", "en")
    assert table(document) == []
    said = {str(line[0]): line[1:] for line in cover(document)}
    assert said["Opening balance"] == said["Closing balance"] == [12345.67, 500]
    assert said["Totals"] == [0] * (1 + len(AMOUNTS))
    assert WORDS["en"].nothing in said


@pytest.mark.parametrize("currency", ["RUB", "JPY", "BTC"])
def test_amounts_of_more_than_fifteen_digits_are_text_and_exact(currency: str) -> None:
    """What a spreadsheet would round, it must not get as a number."""
    values = (EXACT, -EXACT, EXACT - 1, EXACT + 1, -EXACT - 1, 2**63 - 1, -(2**63))
    head = replace(HEAD, currency=currency)
    made = changed(
        statement(len(values), head), lambda it: replace(it, gross=values[it.number - 1])
    )
    document = made.render("xlsx", "en")
    cells = [dict(zip(COLUMNS, row, strict=True))["gross"] for row in rows_of(document)]

    assert [cell.data_type for cell in cells] == ["n", "n", "n", "s", "s", "s", "s"]
    assert [exact(cell.value, currency) for cell in cells] == [
        format_minor(each, currency) for each in values
    ]
    assert all(
        len(Decimal(str(cell.value)).normalize().as_tuple().digits) <= 15 for cell in cells[:3]
    )
    [said] = [line for line in cover(document) if str(line[0]).startswith("Amounts of more")]
    assert said == [WORDS["en"].long_amounts]


def rows_of(document: bytes) -> list[Any]:
    return list(read(document).worksheets[1].iter_rows(min_row=2))


def test_text_stays_text_whatever_it_looks_like() -> None:
    made = hostile()
    document = made.render("xlsx", "en")
    parts = {each: data.decode() for each, data in unpacked(document).items()}

    assert [name for name, part in parts.items() if re.search("<f[ >/]|<hyperlink", part)] == []
    for row, text in zip(rows_of(document), HOSTILE, strict=True):
        cell = dict(zip(COLUMNS, row, strict=True))["reference"]
        assert cell.data_type == "s"
        assert unescape(cell.value) == re.sub("[\ufffe\uffff]", "\ufffd", text)
    said = {str(line[0]): line[1:] for line in cover(document)}
    assert said["Merchant"] == [HOSTILE[1]]


@pytest.mark.parametrize("code", [0, 1, 8, 11, 12, 31, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF])
def test_characters_that_xml_cannot_carry_are_replaced(code: int) -> None:
    """They cannot come from the database, but a file must open whatever comes."""
    text = f"a{chr(code)}b"
    made = statement(1, replace(HEAD, merchant=text))
    document = changed(made, lambda it: replace(it, reference=text)).render("xlsx", "en")
    [row] = table(document)
    assert row["reference"] == "a\ufffdb"


def unpacked(document: bytes) -> dict[str, bytes]:
    with ZipFile(io.BytesIO(document)) as archive:
        assert archive.testzip() is None
        return {each: archive.read(each) for each in archive.namelist()}


def test_the_archive_is_plain_and_its_parts_are_whole() -> None:
    document = statement(30).render("xlsx", "ru")
    with ZipFile(io.BytesIO(document)) as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.compress_type == ZIP_DEFLATED
            assert entry.create_system == 0
            # Excel takes the extra field of ZIP64 for damage.
            assert entry.extra == b""
            ET.fromstring(archive.read(entry))
    assert document[:4] == b"PK\x03\x04"
    assert document[30:41] == b"_rels/.rels"


def test_the_workbooks_date_is_the_periods_end() -> None:
    book = read(statement(3).render("xlsx", "en"))
    assert book.properties.created == HEAD.end.replace(tzinfo=None)
    assert book.properties.modified == book.properties.created
    assert book.properties.title == "Settlement statement No. 2026-11-0042"
    assert book.sheetnames == ["Settlement statement", "Movements"]
    assert book.active.title == "Settlement statement"


def test_heads_stay_in_sight_and_columns_may_be_filtered() -> None:
    sheet = read(statement(30).render("xlsx", "ru")).worksheets[1]
    heads = [cell.value for cell in sheet[1]]
    assert heads[1] == "Время (Europe/Moscow)"
    assert heads == [WORDS["ru"].columns[name].format(zone="Europe/Moscow") for name in COLUMNS]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:Q31"
    assert sheet.print_title_rows == "$1:$1"


def test_the_first_bytes_come_before_the_first_movement_and_the_foot_after_the_last() -> None:
    made = statement(3)
    seen: list[str] = []

    def source() -> Iterator[Movement]:
        for each in made.moves:
            seen.append("movement")
            yield each

    def foot() -> Foot:
        seen.append("foot")
        return made.foot

    chunks = xlsx.render(made.head, source(), foot, "ru")
    assert next(chunks)
    assert seen == []
    assert b"".join(chunks)
    assert seen == ["movement"] * 3 + ["foot"]


@pytest.mark.parametrize(
    ("count", "sheets"), [(0, [0]), (4, [4]), (5, [5]), (6, [5, 1]), (10, [5, 5]), (12, [5, 5, 2])]
)
def test_what_does_not_fit_on_a_sheet_goes_on_the_next(
    count: int, sheets: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx, "SHEET_ROWS", 5)
    made = statement(count)
    document = made.render("xlsx", "ru")
    book = read(document)

    names = ["Движения", "Движения 2", "Движения 3"][: len(sheets)]
    assert book.sheetnames == ["Выписка о расчётах", *names]
    tables = [table(document, place + 1) for place in range(len(sheets))]
    assert [len(each) for each in tables] == sheets
    assert [row["number"] for each in tables for row in each] == [it.number for it in made.moves]
    for place, rows in enumerate(sheets):
        sheet = book.worksheets[place + 1]
        assert sheet.auto_filter.ref == f"A1:Q{max(rows, 1) + 1}"
        assert sheet["A1"].value == "№"


def test_a_sheet_ends_before_its_part_would_need_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "SHEET_BYTES", 1)
    monkeypatch.setattr(xlsx, "_BATCH", 50)
    made = statement(120)
    document = made.render("xlsx", "ru")
    tables = [table(document, place + 1) for place in range(3)]
    assert [len(each) for each in tables] == [50, 50, 20]


def test_too_many_movements_leave_no_file_that_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "MAX_MOVEMENTS", 10)
    assert len(table(statement(10).render("xlsx", "ru"))) == 10

    made = statement(11)
    out: list[bytes] = []
    with pytest.raises(InvalidInput) as refused:
        out.extend(xlsx.render(made.head, made.moves, lambda: made.foot, "ru"))
    assert "csv" in refused.value.errors[0].message
    with pytest.raises(BadZipFile):
        ZipFile(io.BytesIO(b"".join(out)))


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2000, 2, 29, 12, 0, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
    ids=str,
)
def test_serials_are_the_wall_clocks_second(at: datetime) -> None:
    assert from_excel(float(xlsx.serial(at))) == at.replace(tzinfo=None, microsecond=0)


def test_every_second_of_a_day_has_its_serial() -> None:
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    for second in range(0, 86_400, 7):
        at = midnight + timedelta(seconds=second)
        assert round((float(xlsx.serial(at)) - 46_327) * 86_400) == second


def peak(made: Statement, count: int) -> int:
    """Return the most bytes that Python holds while a workbook of ``count`` rows is written."""
    chunks = xlsx.render(made.head, repeat(made.moves[0], count), lambda: made.foot, "ru")
    next(chunks)
    tracemalloc.start()
    try:
        for _ in chunks:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_flat() -> None:
    made = statement(1)
    assert peak(made, 4_000) < peak(made, 1_000) + 500_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_is_flat_over_200_000_rows() -> None:
    assert peak(statement(1), 200_000) < 8_000_000
