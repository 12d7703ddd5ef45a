"""1CClientBankExchange: read in its encodings, refused where it contradicts itself."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standart.bank_files import accounts, exchange
from standart.bank_files.layout import Layout
from standart.bank_files.reading import BankFile
from standart.bank_files.records import Direction, FileFormat, Record
from standart.errors import FieldError, InvalidInput

OWN, OTHER, EURO = "40702810900000012345", "40702810100000099999", "40702978600000012345"

HEAD = f"""\
1CClientBankExchange
ВерсияФормата=1.03
Кодировка=Windows
Отправитель=Банк «Пример»
Получатель=
ДатаСоздания=01.12.2026
ДатаНачала=01.11.2026
ДатаКонца=30.11.2026
РасчСчет={OWN}
"""

ACCOUNT = f"""\
СекцияРасчСчет
ДатаНачала=01.11.2026
ДатаКонца=30.11.2026
РасчСчет={OWN}
НачальныйОстаток=1000.00
ВсегоПоступило=100.00
ВсегоСписано=40.50
КонечныйОстаток=1059.50
КонецРасчСчет
"""

CAME = f"""\
СекцияДокумент=Платежное поручение
Номер=17
Дата=20.11.2026
Сумма=100.00
ПлательщикСчет={OTHER}
ДатаСписано=
Плательщик=ИНН 7700000000 ООО «Ёлка»
Плательщик1=ООО «Ёлка»
ПлательщикИНН=7700000000
ПолучательСчет={OWN}
ДатаПоступило=21.11.2026
НазначениеПлатежа=Оплата заказа A-17 от 20.11.2026
КонецДокумента
"""

WENT = f"""\
СекцияДокумент=Банковский ордер
Номер=18
Дата=22.11.2026
Сумма=40.50
ПлательщикСчет={OWN}
ДатаСписано=22.11.2026
Получатель=ИП Ли
ПолучательСчет={OTHER}
НазначениеПлатежа=Выплата P-1
без НДС
НазначениеПлатежа1=Выплата P-1
КонецДокумента
"""

WHOLE = HEAD + ACCOUNT + CAME + WENT + "КонецФайла\n"


def opened(text: str, encoding: str = "windows-1251", **layout: Any) -> BankFile:
    content = text.replace("\n", "\r\n").encode(encoding)
    return BankFile(io.BytesIO(content), Layout(**({"currency": "RUB"} | layout)))


def records(text: str, **changes: Any) -> list[Record]:
    return list(opened(text, **changes).records())


def refused(text: str, **changes: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        records(text, **changes)
    [error] = caught.value.errors
    return f"{error.field} {error.message}"


def line_of(text: str, start: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(start))


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("windows-1251", "Windows"), ("cp866", "DOS"), ("utf-8", "UTF-8"), ("utf-8-sig", "utf-8")],
)
def test_documents_are_read_in_every_encoding(encoding: str, declared: str) -> None:
    text = WHOLE.replace("Windows", declared).replace("«", '"').replace("»", '"')
    file = opened(text, encoding)
    came, went = file.records()

    assert came == Record(
        line=line_of(text, "СекцияДокумент=Платежное"),
        direction=Direction.IN,
        date=date(2026, 11, 21),
        time=None,
        amount=10_000,
        currency="RUB",
        tokens=came.tokens,
        purpose="Оплата заказа A-17 от 20.11.2026",
        counterparty='ООО "Ёлка"',
        document="17",
    )
    assert [token.text for token in came.tokens] == ["A-17"]
    assert (went.direction, went.amount, went.date) == (Direction.OUT, 4_050, date(2026, 11, 22))
    assert (went.counterparty, went.purpose) == ("ИП Ли", "Выплата P-1 без НДС")
    assert (file.facts.first_day, file.facts.last_day) == (date(2026, 11, 1), date(2026, 11, 30))
    assert file.facts.format is FileFormat.EXCHANGE
    assert file.facts.directions == set(Direction)
    assert (file.facts.warnings, file.facts.transfers) == ([], 0)
    assert file.facts.encoding == encoding.removesuffix("-sig")


def test_an_operator_may_know_the_encoding_better_than_the_bank() -> None:
    assert "says Windows, but the file is in utf-8" in refused(WHOLE, encoding="utf-8")
    file = BankFile(io.BytesIO(WHOLE.encode()), Layout(currency="RUB", encoding="utf-8"))
    assert len(list(file.records())) == 2


def test_the_currency_is_that_of_the_account() -> None:
    text = WHOLE.replace(OWN, EURO)
    assert {record.currency for record in records(text)} == {"EUR"}
    short = WHOLE.replace(OWN, "KZ86125KZT5004100100")
    assert {record.currency for record in records(short, currency="KZT")} == {"KZT"}


def test_money_between_own_accounts_is_neither_income_nor_expense() -> None:
    second = f"РасчСчет={OTHER}\n"
    file = opened(HEAD + second + CAME + "КонецФайла\n")
    assert list(file.records()) == []
    assert file.facts.transfers == 1


def test_a_day_without_documents_is_a_statement_too() -> None:
    file = opened(HEAD + "КонецФайла\n")
    assert list(file.records()) == []
    assert file.facts.first_day == date(2026, 11, 1)


def test_turnover_that_the_documents_do_not_make_is_reported() -> None:
    file = opened(HEAD + ACCOUNT + CAME + "КонецФайла\n")
    assert len(list(file.records())) == 1
    assert file.facts.warnings == [f"{OWN}: ВсегоСписано is 40.50, its documents make 0.00"]


def test_an_account_may_have_a_section_for_each_day_and_be_overdrawn() -> None:
    days = [
        ACCOUNT.replace("1000.00", "-0.50").replace("1059.50", "59.00"),
        ACCOUNT.replace("=100.00", "=0").replace("=40.50", "=0").replace("1059.50", "1000.00"),
    ]
    file = opened(HEAD + "".join(days) + CAME + WENT + "КонецФайла\n")
    assert len(list(file.records())) == 2
    assert file.facts.warnings == []


def without(text: str, start: str) -> str:
    number = line_of(text, start)
    return "".join(line for n, line in enumerate(text.splitlines(keepends=True), 1) if n != number)


def cut(start: str) -> str:
    """The file as it is when it breaks off before a line."""
    return "".join(WHOLE.splitlines(keepends=True)[: line_of(WHOLE, start) - 1])


CASES = {
    "cut after the documents": (cut("КонецФайла"), "line 44: is missing: the file ends without"),
    "cut within a document": (cut("НазначениеПлатежа"), "the file ends within СекцияДокумент of"),
    "cut within an account": (cut("КонечныйОстаток"), "the file ends within СекцияРасчСчет of"),
    "cut after the first line": ("1CClientBankExchange\n", "line 2: is missing: the file ends"),
    "document that does not end": (
        without(WHOLE, "КонецДокумента"),
        "line 31: is СекцияДокумент, but СекцияДокумент of line 19 has not ended",
    ),
    "account that does not end": (
        without(WHOLE, "КонецРасчСчет"),
        "line 18: is СекцияДокумент, but СекцияРасчСчет of line 10 has not ended",
    ),
    "document that does not begin": (
        without(WHOLE, "СекцияДокумент=Плат"),
        "line 30: is КонецДокумента, but no СекцияДокумент has begun",
    ),
    "end within a document": (
        WHOLE.replace("Номер=17", "КонецФайла"),
        "line 20: is КонецФайла, but СекцияДокумент of line 19 has not ended",
    ),
    "two files in one": (WHOLE + WHOLE, "line 45: follows КонецФайла"),
    "no account": (
        without(HEAD, "РасчСчет") + "КонецФайла\n",
        "ends a file that names no РасчСчет",
    ),
    "account without a number": (HEAD + "РасчСчет=\n", "line 10: has no value for РасчСчет"),
    "account section without a number": (
        HEAD + without(ACCOUNT, "РасчСчет="),
        "line 17: has no value for РасчСчет",
    ),
    "neither period nor documents": (
        without(without(HEAD, "ДатаНачала"), "ДатаКонца") + "КонецФайла\n",
        "ends a file without documents and without a period",
    ),
    "document of others": (
        WHOLE.replace(f"ПолучательСчет={OWN}", f"ПолучательСчет={OTHER}"),
        "line 19: begins a document of no account that is a РасчСчет",
    ),
    "document without a sum": (without(WHOLE, "Сумма"), "line 19: begins a document without Сумма"),
    "document without a day": (
        without(without(WHOLE, "ДатаПоступило"), "Дата=20"),
        "line 19: begins a document without Дата",
    ),
    "second sum": (
        WHOLE.replace("Сумма=100.00", "Сумма=100.00\nСумма=1.00"),
        "line 23: says Сумма again, as line 22 does",
    ),
    "sum of nothing": (WHOLE.replace("Сумма=100.00", "Сумма=0.00"), "line 22: Сумма '0.00' must"),
    "negative sum": (WHOLE.replace("Сумма=100.00", "Сумма=-1"), "line 22: Сумма '-1' must not be"),
    "sum that is none": (WHOLE.replace("Сумма=100.00", "Сумма=NaN"), "line 22: Сумма 'NaN' is no"),
    "period that ends first": (
        HEAD.replace("30.11.2026", "31.10.2026"),
        "line 8: ends the period on 2026-10-31, before its start on 2026-11-01",
    ),
    "period of an account that ends first": (
        HEAD + ACCOUNT.replace("30.11.2026", "31.10.2026"),
        "line 12: ends the period",
    ),
    "second period": (HEAD + "ДатаКонца=30.11.2026\n", "line 10: says ДатаКонца again, as line 8"),
    "document after the period": (
        WHOLE.replace("ДатаПоступило=21.11.2026", "ДатаПоступило=01.12.2026"),
        "line 29: ДатаПоступило 2026-12-01 lies outside the file's period",
    ),
    "document before the period": (
        WHOLE.replace("ДатаСписано=22.11.2026", "ДатаСписано=31.10.2026"),
        "ДатаСписано 2026-10-31 lies outside the file's period",
    ),
    "day of another form": (
        WHOLE.replace("Дата=22.11.2026", "Дата=22.11.26").replace("ДатаСписано=22.11.2026", ""),
        "Дата '22.11.26' is no date like DD.MM.YYYY",
    ),
    "balance that is not right": (
        WHOLE.replace("1059.50", "1059.51"),
        "line 17: НачальныйОстаток + ВсегоПоступило - ВсегоСписано is not КонечныйОстаток",
    ),
    "balance that is none": (WHOLE.replace("1059.50", "1059.5x"), "line 17: КонечныйОстаток"),
    "unknown encoding": (WHOLE.replace("Windows", "KOI8-R"), "names an encoding 'KOI8-R' that"),
    "another encoding": (WHOLE.replace("Windows", "DOS"), "line 3: says DOS, but the file is in"),
    "no encoding": (
        "1CClientBankExchange\n\nВерсия=1\n",
        "line 3: must be ВерсияФормата or Кодировка in utf-8, windows-1251, cp866",
    ),
    "words of no section": (HEAD + "что это\n", "line 10: 'что это' is no part of the format"),
    "words in a document": (
        WHOLE.replace("Номер=17", "Номер=17\nчто это"),
        "line 21: 'что это' is no part of the format",
    ),
    "NUL": (WHOLE.replace("Номер=17", "Номер=\0"), "line 20: holds a NUL byte"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_broken_file_ends_in_one_error_with_its_line(case: str) -> None:
    text, message = CASES[case]
    assert message in refused(text)


def test_bytes_that_are_not_of_the_encoding_are_refused() -> None:
    content = HEAD.encode("windows-1251") + b"\x98=1\n"
    with pytest.raises(InvalidInput) as caught:
        list(BankFile(io.BytesIO(content), Layout(currency="RUB")).records())
    assert caught.value.errors[0].message.startswith("is not windows-1251")


def test_a_file_has_a_largest_number_of_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_RECORDS", 1)
    assert "is of more than the 1 documents" in refused(WHOLE)


def test_a_file_has_a_largest_number_of_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_MOST", 1)
    assert "is of more than 1 accounts" in refused(HEAD + f"РасчСчет={OTHER}\n")


@given(st.lists(st.sampled_from(WHOLE.splitlines()), max_size=30))
def test_any_order_of_lines_is_read_or_refused(lines: list[str]) -> None:
    text = "\n".join([*HEAD.splitlines()[:3], *lines])
    wrong: list[FieldError] = []
    try:
        found = records(text)
    except InvalidInput as error:
        wrong = list(error.errors)
    assert all(each.field.startswith("line ") for each in wrong)
    if not wrong:
        assert lines.count("КонецФайла") == 1
        assert len(found) <= lines.count("КонецДокумента")


@given(st.integers(0, len(WHOLE.encode("windows-1251"))), st.binary(min_size=1, max_size=3))
def test_a_file_with_a_hole_is_read_or_refused(place: int, noise: bytes) -> None:
    content = WHOLE.encode("windows-1251")
    broken = content[:place] + noise + content[place + len(noise) :]
    file = BankFile(io.BytesIO(broken), Layout(currency="RUB", columns={}))
    wrong: list[FieldError] = []
    try:
        list(file.records())
    except InvalidInput as error:
        wrong = list(error.errors)
    assert all(each.field.startswith(("line ", "--map")) for each in wrong)


@given(st.integers(0, len(WHOLE.encode("windows-1251")) - len("КонецФайла\n")))
def test_a_file_that_breaks_off_is_never_taken_for_whole(length: int) -> None:
    file = BankFile(io.BytesIO(WHOLE.encode("windows-1251")[:length]), Layout(currency="RUB"))
    with pytest.raises(InvalidInput):
        list(file.records())
