"""Statements as CSV and JSON: whole, exact, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from uuid import UUID

import pytest

from standart.documents import csv as table
from standart.documents import json as document
from standart.documents.plain import ROWS, amounts, utc
from standart.documents.statement import Anchor, Foot, Head, Movement, Totals
from standart.documents.words import AMOUNTS, Lang
from standart.money import CURRENCIES, format_minor

AT = datetime(2026, 11, 23, 9, 2, 11, 654400, tzinfo=UTC)
HEAD = Head(
    number="RUB-20261101-20261130-5b8c2f9a01",
    merchant_id=UUID(int=1),
    merchant="Лавка",
    currency="RUB",
    start=datetime(2026, 10, 31, 21, tzinfo=UTC),
    end=datetime(2026, 11, 30, 21, tzinfo=UTC),
    zone="Europe/Moscow",
    closed=True,
    anchor=Anchor(12, "9f" * 32),
    available=100,
    reserved=5,
)
SETTLED = Movement(
    number=1,
    at=AT,
    kind="settlement",
    journal_id=UUID(int=2),
    source_id=UUID(int=3),
    transaction_id=UUID(int=3),
    reference="заказ-17",
    gross=10_000,
    commission=300,
    refunded=0,
    commission_returned=0,
    paid_out=0,
    adjusted=0,
    net=9_700,
    reserved=0,
    balance=9_800,
)
RESERVED = replace(
    SETTLED,
    number=2,
    kind="payout_reserved",
    transaction_id=None,
    reference=None,
    gross=0,
    commission=0,
    paid_out=4_000,
    net=-4_000,
    reserved=4_000,
    balance=5_800,
)
FOOT = Foot(
    totals=Totals(2, 10_000, 300, 0, 0, 4_000, 0, 5_700, 4_000),
    by_kind={"settlement": Totals(1, 10_000, 300, net=9_700)},
    available=5_800,
    reserved=4_005,
    digest="5f" * 32,
)


def written(render: Any, moves: Sequence[Movement], lang: Lang = "en", head: Head = HEAD) -> str:
    left = iter(moves)

    def foot() -> Foot:
        assert next(left, None) is None, "the foot is asked for before the last movement"
        return FOOT

    pieces: Iterator[bytes] = render(head, left, foot, lang)
    return b"".join(pieces).decode()


def read_table(text: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    assert text.startswith("\ufeffnumber,item,value,")
    rows = list(csv.DictReader(StringIO(text.removeprefix("\ufeff")), strict=True))
    movements = [row for row in rows if row["number"]]
    return movements, {row["item"]: row["value"] for row in rows if not row["number"]}


def test_json_holds_all_as_text_exactly() -> None:
    body = json.loads(written(document.render, [SETTLED, RESERVED]))
    assert list(body) == [
        *("statement", "movements", "totals", "totals_by_kind", "closing", "digest", "chain_head")
    ]
    assert body["statement"]["opening"] == {"available": "1.00", "reserved": "0.05"}
    assert body["statement"]["to_local"] == "2026-12-01T00:00:00+03:00"
    first, second = body["movements"]
    assert (first["at"], first["reference"]) == ("2026-11-23T09:02:11.654400Z", "заказ-17")
    assert (second["net"], second["transaction_id"], second["reference"]) == ("-40.00", None, None)
    assert body["totals"] == {
        **dict.fromkeys(AMOUNTS, "0.00"),
        "count": 2,
        "gross": "100.00",
        "commission": "3.00",
        "paid_out": "40.00",
        "net": "57.00",
        "reserved": "40.00",
    }
    assert body["closing"] == {"available": "58.00", "reserved": "40.05"}
    assert (body["digest"], body["chain_head"]) == ("5f" * 32, f"12:{'9f' * 32}")


@pytest.mark.parametrize("count", [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 1])
def test_every_number_of_movements_makes_a_whole_document(count: int) -> None:
    moves = [replace(SETTLED, number=number) for number in range(1, count + 1)]
    body = json.loads(written(document.render, moves))
    assert [each["number"] for each in body["movements"]] == [each.number for each in moves]
    movements, facts = read_table(written(table.render, moves))
    assert [row["number"] for row in movements] == [str(each.number) for each in moves]
    assert list(facts)[-1] == "digest"


def test_columns_of_the_table_may_be_summed_whole() -> None:
    movements, facts = read_table(written(table.render, [SETTLED, RESERVED]))
    rows = list(csv.DictReader(StringIO(written(table.render, [SETTLED, RESERVED])[1:])))
    for name in AMOUNTS:
        cents = [int(row[name].replace(".", "")) for row in rows if row[name]]
        assert len(cents) == len(movements)
        assert format_minor(sum(cents), "RUB") == facts[f"totals.{name}"]
    assert (facts["opening_available"], facts["opening_reserved"]) == ("1.00", "0.05")
    assert (facts["closing_available"], facts["closing_reserved"]) == ("58.00", "40.05")
    assert (facts["from"], facts["timezone"]) == ("2026-10-31T21:00:00.000000Z", "Europe/Moscow")
    assert (facts["closed"], facts["chain_head"]) == ("true", f"12:{'9f' * 32}")
    assert facts["settlement.count"] == "1"
    assert movements[0]["at_local"] == "2026-11-23T12:02:11.654400+03:00"
    assert (movements[1]["transaction_id"], movements[1]["reference"]) == ("", "")


def test_the_table_is_for_russian_excel_when_russian_is_asked_for() -> None:
    text = written(table.render, [SETTLED, RESERVED], "ru")
    rows = list(csv.reader(StringIO(text.removeprefix("\ufeff")), delimiter=";", strict=True))
    assert {len(row) for row in rows} == {len(table.COLUMNS)}
    assert rows[0][:3] == ["№", "Показатель", "Значение"]
    first = next(row for row in rows if row[0] == "1")
    assert (first[1], first[4], first[6]) == ("Зачисление", "23.11.2026 12:02:11", "100,00")
    facts = {row[1]: row[2] for row in rows[1:] if not row[0]}
    assert facts["Мерчант"] == "Лавка"
    assert facts["Закрыта"] == "да"
    assert facts["Исходящий остаток, доступно"] == "58,00"
    assert facts["Итого: Нетто"] == "57,00"
    assert facts["Зачисление: Количество"] == "1"
    assert list(facts)[-1] == "Дайджест"


SIGNS = "=+-@\t\r＝＋－＠"

FORMULAS = [
    *(f"{sign}1+1" for sign in SIGNS),
    '=HYPERLINK("http://evil.example","click")',
    " =1+1",
    '"=1+1',
    "a;=1+1",
    'a;"=1+1',
    "a,@SUM(1)",
    "a\t-1",
    "a\r\n=1",
    "x|+1",
]


@pytest.mark.parametrize("lang", ["en", "ru"])
@pytest.mark.parametrize("text", FORMULAS, ids=repr)
def test_no_text_is_a_formula_however_the_table_is_parted(text: str, lang: Lang) -> None:
    shown = written(
        table.render, [replace(SETTLED, reference=text)], lang, replace(HEAD, merchant=text)
    )
    own = ";" if lang == "ru" else ","
    cells = [cell for row in csv.reader(StringIO(shown[1:]), delimiter=own) for cell in row]
    assert text not in cells
    for delimiter in ",;\t|":
        for row in csv.reader(StringIO(shown[1:], newline=""), delimiter=delimiter):
            for cell in row:
                begun = cell.strip(" \"'\t\r\n")[:1]
                harmless = cell.lstrip(' "').startswith("'") or is_number(cell)
                assert begun not in SIGNS or not begun or harmless, (delimiter, cell)


def is_number(cell: str) -> bool:
    return cell.lstrip("-").replace(".", "").replace(",", "").isdigit()


@pytest.mark.parametrize(
    "text", ["order-17", "заказ №5", "a,b", "a;b", 'say "no"', "", "#1", "1=1", "a - b", "x'y"]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    movements, _ = read_table(written(table.render, [replace(SETTLED, reference=text)]))
    assert movements[0]["reference"] == text
    body = json.loads(written(document.render, [replace(SETTLED, reference=text)]))
    assert body["movements"][0]["reference"] == text


@pytest.mark.parametrize("currency", ["RUB", "JPY", "KWD", "BTC"])
@pytest.mark.parametrize("minor", [0, 1, -1, 99, 100, -100, 123_456_789, -(10**18), 10**18])
def test_amounts_are_written_as_everywhere(currency: str, minor: int) -> None:
    assert currency in CURRENCIES
    assert amounts(currency)(minor) == format_minor(minor, currency)


def test_moments_have_microseconds_even_if_there_are_none() -> None:
    assert utc(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


def test_no_chain_is_nothing() -> None:
    head = replace(HEAD, anchor=None, closed=False)
    assert json.loads(written(document.render, [], head=head))["chain_head"] is None
    _, facts = read_table(written(table.render, [], head=head))
    assert (facts["chain_head"], facts["closed"]) == ("", "false")
