"""What an operator does again and again, in a browser with script or without."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.test_panel_access import look, set_up, show_code, show_password
from tests.builders import TestUser
from tests.integration.factors import code_of

SHEET = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}

_ROWS = """
(rows) => rows.map((row) => [
  row.querySelector("a.id").title,
  row.querySelector(".status").className.replace("status ", ""),
  row.querySelector(".money").innerText.replace(/[^0-9.]/g, ""),
  row.querySelector("[data-label=Reference]").innerText,
])
"""

Row = tuple[str, str, str, str]


def press(page: Page) -> None:
    """Press the button that the page is about."""
    page.locator("main button.main, main button.danger").click()


def enrol_and_log_in_again(window: Visit, admin: TestUser) -> None:
    """Give oneself a second factor, and come back with it."""
    window.log_in(admin)
    secret, _ = set_up(window)
    window.page.get_by_role("link", name="To your profile").click()
    log_out(window)
    show_password(window.page, admin)
    show_code(window.page, code_of(secret, ahead=1))  # the present one was used a moment ago
    window.page.wait_for_url("**/admin/")
    look(window)


def filter_list(page: Page, **wanted: str) -> None:
    """Fill in the filters of the list of transactions as a person does."""
    page.goto("/admin/transactions/")
    status = wanted.pop("status", "")
    for name, value in wanted.items():
        page.fill(f"#{name}", value)
    page.select_option("#status", status)
    page.locator("form.filters .fields button").click()
    expect(page.locator(".chips .reset")).to_have_count(1)


def rows_of(page: Page) -> list[Row]:
    """The rows on the page: id, status, amount, reference."""
    expect(page.locator("main h1")).to_have_text("Transactions")
    page.wait_for_load_state("load")  # the heading is there before the last row is
    found = page.locator("tbody tr:not(.nothing)").evaluate_all(_ROWS)
    return [tuple(each) for each in found]


def confirm_one(window: Visit, transaction_id: str, amount: str, name: str) -> None:
    """Open it from the list; the question names what it is about; a double click does it once."""
    page = window.page
    page.locator(f"a.id[title='{transaction_id}']").click()
    page.locator(".actions a.main").click()
    expect(page.locator("h1")).to_have_text(f"Confirm {amount} for {name}?")
    look(window)
    page.locator("main button.main").dblclick()
    expect(page.locator("h1 .status")).to_have_text("Confirmed")
    expect(page.locator(".flash")).to_contain_text("The transaction is confirmed.")
    look(window)


def ask_to_cancel_all(page: Page) -> None:
    page.check("input[name=all]")
    page.get_by_role("button", name="Cancel the chosen…").click()


def all_pages(page: Page) -> list[Row]:
    """Turn the pages to the last one; no row is on two of them."""
    rows, older = rows_of(page), page.locator(".pager a[rel=next]")
    while older.count():
        last = page.url
        older.click()
        page.wait_for_url(lambda url, last=last: url != last)
        rows += rows_of(page)
    assert len({row[0] for row in rows}) == len(rows)
    return rows


def export_and_compare(window: Visit, listed: list[Row]) -> None:
    """Both files hold exactly the rows of the list, in its order, and can be had again."""
    page = window.page
    page.get_by_role("link", name="Export…").click()
    expect(page.locator("main")).to_contain_text(f"{len(listed)} rows, the newest first.")
    look(window)
    for form, read in (("CSV", _csv), ("XLSX", _xlsx), ("CSV", _csv)):
        with page.expect_download() as got:
            page.get_by_role("button", name=f"Download {form}").click()
        names = ("id", "status", "amount", "reference")
        rows = [tuple(row[name] for name in names) for row in read(Path(got.value.path()))]
        assert rows == listed
        # Two clicks are one file; a while later it can be had again.
        expect(page.locator("form[data-sent]")).to_have_count(0)
    look(window)


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _xlsx(path: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(path) as book:
        sheet = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))
    head, *rows = (
        ["".join(cell.itertext()) for cell in row.findall("m:c", SHEET)]
        for row in sheet.iterfind(".//m:row", SHEET)
    )
    return [dict(zip(head, row, strict=True)) for row in rows]


def log_out(window: Visit) -> None:
    """Leave; the history of the browser shows nothing of it."""
    page = window.page
    window.open_menu()
    page.locator("form[action='/logout'] button").click()
    page.wait_for_url("**/login")
    page.go_back()
    page.wait_for_url("**/login?next=**")
    expect(page.locator("#password")).to_be_visible()
    expect(page.locator("nav a, table, code.secret")).to_have_count(0)
