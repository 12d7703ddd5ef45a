"""A bank's file handed over in the panel: read whole or not at all, and shown row by row."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text

from standart.admin import uploads
from standart.db import autocommit
from standart.encryption import Keyring
from standart.services import transaction_service
from tests.builders import ORIGIN, PASSWORD, TestUser, make_transaction, make_user
from tests.integration.panel import Panel, kept_rows
from tests.integration.query_count import counted
from tests.integration.test_admin_books import logged_in, words
from tests.unit.test_bank_exchange import OWN, WENT, WHOLE

HOME = "/admin/reconciliation/runs/"
SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
MAPPED = {"map_reference": "Order", "map_amount": "Amount", "map_date": "Date"}


@pytest.fixture
def panel(app: Flask, admin: TestUser) -> Panel:
    return logged_in(app, admin)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring, admin: TestUser) -> TestUser:
    """A merchant whose orders one and two were paid today."""
    made = make_user(engine, keyring, name="shop", password=PASSWORD)
    for reference, amount in (("one", "10.00"), ("two", "20.00")):
        paid = make_transaction(engine, made, amount=amount, reference=reference)
        with autocommit(engine) as connection:
            transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(paid["id"]))
    return made


def today(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")))


def upload(panel: Panel, body: bytes, name: str = "bank.csv", **fields: Any) -> Any:
    data = {"file": (io.BytesIO(body), name), "date_tolerance": "1", **fields}
    return panel.post(f"{HOME}new", data, content_type="multipart/form-data")


def test_a_file_is_held_against_the_books_and_shown_row_by_row(
    panel: Panel, shop: TestUser, connection: Connection, app: Flask
) -> None:
    day = today(connection)
    body = f"Order;Amount;Date\none;10,00;{day}\ntwo;25,00;{day}\n=cmd;7,00;{day}\n".encode()

    answer = upload(panel, body, "<b>bank</b>.csv", user="SHOP", **MAPPED)
    page = panel.follow(answer)
    address = answer.headers["Location"]

    assert "<b>bank</b>" not in page
    assert "&lt;b&gt;bank&lt;/b&gt;.csv" in page
    shown = words(page)
    assert "There are differences" in shown
    for chip in ("Differing: 1", "Only in the file: 1", "Only in our books: 0", "Agree: 1"):
        assert chip in shown
    differing = panel.get(f"{address}?outcome=differing").text
    assert differing.count('data-label="Line"') == 1
    assert "25.00" in differing
    assert "Outcome: Differing" in differing
    assert panel.get(f"{address}?outcome=missing_there").text.count('data-label="Line"') == 0

    report = panel.get(f"{address}/report")
    rows = list(csv.DictReader(io.StringIO(report.text.lstrip("\ufeff"))))
    assert [row["outcome"] for row in rows] == ["differing", "missing_here", "matched"]
    assert rows[1]["reference"] == "'=cmd"
    assert rows[0]["user"] == "shop"
    only = panel.get(f"{address}/report?outcome=matched").text
    assert len(only.splitlines()) == 2
    assert address in panel.get(HOME).text
    for path in (address, HOME, f"{HOME}new"):
        assert counted(app, lambda path=path: panel.get(path)) <= 12, path


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "provider.csv",
            {
                **MAPPED,
                "map_time": "Time",
                "map_currency": "Currency",
                "map_status": "Status",
                "map_fee": "Fee",
            },
        ),
        ("bank-1c.txt", {}),
    ],
    ids=["provider", "bank"],
)
def test_the_samples_of_the_documentation_are_read(
    panel: Panel, connection: Connection, name: str, fields: dict[str, str]
) -> None:
    page = panel.follow(upload(panel, (SAMPLES / name).read_bytes(), name, **fields))
    number = connection.scalar(text("SELECT number FROM reconciliations"))

    assert f"Reconciliation {number}" in words(page)
    assert "Only in the file: " in words(page)


@pytest.mark.parametrize(
    ("body", "fields", "said"),
    [
        (b"", MAPPED, ""),
        (b"Order;Amount;Date\none;ten;2026-11-02\n", MAPPED, "Line 2 of the file:"),
        (b"Order;Amount;Date\none;1,00;2026-11-02\ntwo;1,00;soon\n", MAPPED, "Line 3 of the file:"),
        (b"\xff\xfe\x00", MAPPED, "Line 1 of the file:"),
        (b"Order;Amount;Date\n", {**MAPPED, "user": "nobody"}, "There is no such user."),
        (b"Order;Amount;Date\n", {**MAPPED, "date_tolerance": "32"}, "between 0 and 31"),
        (b"Order;Amount;Date\n", {"map_amount": "Amount"}, "This column is needed."),
        (b"Order;Amount;Date\n", {**MAPPED, "map_fee": "Date"}, "This column is named twice."),
        (b"Order;Amount;Date\n", {**MAPPED, "currency": "XXZ"}, "is not a known currency code"),
    ],
    ids=[
        "empty", "amount", "date", "encoding", "user", "tolerance", "unmapped", "twice", "currency",
    ],
)  # fmt: skip
def test_a_bad_file_leaves_nothing_and_says_where_it_is_wrong(
    panel: Panel, connection: Connection, body: bytes, fields: dict[str, str], said: str
) -> None:
    before = kept_rows(connection)

    answer = upload(panel, body, **fields)

    assert answer.status_code == 422
    assert said in words(answer.text)
    assert "Not done." in answer.text or 'class="error"' in answer.text
    assert kept_rows(connection) == before


@pytest.mark.parametrize(
    ("body", "fields", "said"),
    [
        (b"Order;Amount;Date\none;10,00;2026-02-30\n", MAPPED, "такой даты в календаре нет"),
        (b"Order;Amount;Date\none;0;2026-02-03\n", MAPPED, "Сумма '0': должно быть больше нуля"),
        (b"Order;Amount;Date\none;1,234;2026-02-03\n", MAPPED, "выберите десятичный разделитель"),
        (b"Order;Amount;Date\none;1;2026-02-03;\n", MAPPED, "столбцов 4, а должно быть 3"),
        (b"Order;Sum;Date\n", MAPPED, "столбца 'Amount' нет; есть: 'Order', 'Sum', 'Date'"),
        (b"Order\n", {"format": "1c"}, "здесь должно быть «1CClientBankExchange»"),
        (b"", MAPPED, "Строка 1 файла: файл пуст"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_russian_too(
    panel: Panel, body: bytes, fields: dict[str, str], said: str
) -> None:
    russian = Panel(panel.client, headers={"Accept-Language": "ru"})

    answer = upload(russian, body, **fields)

    assert answer.status_code == 422
    assert said in html.unescape(words(answer.text))


def test_what_was_noticed_about_a_file_is_said_in_russian_too(panel: Panel) -> None:
    russian = Panel(panel.client, headers={"Accept-Language": "ru"})
    body = WHOLE.replace(WENT, "").encode("windows-1251")

    page = words(russian.follow(upload(russian, body, "kl_to_1c.txt")))

    assert f"{OWN}: ВсегоСписано — 40.50, а по документам выходит 0.00" in page


def test_a_form_without_a_file_is_refused(panel: Panel, connection: Connection) -> None:
    before = kept_rows(connection)

    answer = panel.post(f"{HOME}new", {"date_tolerance": "1"})

    assert answer.status_code == 422
    assert "Choose a file." in words(answer.text)
    assert kept_rows(connection) == before


def test_a_large_file_is_for_those_who_may_and_has_an_end(
    app: Flask,
    panel: Panel,
    merchant: TestUser,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "one;10,00;2026-11-02\n"
    body = ("Order;Amount;Date\n" + line * 20_000).encode()
    assert len(body) > 2 * 65_536

    said = words(panel.follow(upload(panel, body, **MAPPED)))
    theirs = upload(logged_in(app, merchant), body, **MAPPED)
    monkeypatch.setattr(uploads, "LARGEST", 100_000)
    larger = upload(panel, body, **MAPPED)

    assert re.search(r"Payments 20,000", said)
    assert theirs.status_code == 413
    assert larger.status_code == 413
    assert connection.scalar(text("SELECT count(*) FROM reconciliations")) == 1


def test_pages_of_rows_go_by_key(panel: Panel) -> None:
    lines = "".join(f"order-{number};1,00;2026-11-02\n" for number in range(30))
    answer = upload(panel, ("Order;Amount;Date\n" + lines).encode(), **MAPPED)

    first = panel.follow(answer)
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = panel.get(older[1].replace("&amp;", "&")).text

    assert first.count('data-label="Line"') == 25
    assert second.count('data-label="Line"') == 5
    address = answer.headers["Location"]
    for far in ("2147483648", "9223372036854775807", "9" * 30):
        assert panel.get(f"{address}?after={far}").status_code == 200
