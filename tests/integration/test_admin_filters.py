"""What stands in the address of a list: whatever it is, one clear word and never an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from standart.encryption import Keyring
from tests.builders import TestUser, make_transaction, make_user
from tests.integration.panel import Panel

LIST = "/admin/transactions/"

MOMENTS = ("created_from", "created_to", "jump")
PLACES = ("after", "before")
TEXTS = ("user", "status", "currency", "reference", "id", "type", "state", "answer", "action", "q")
SUMS = ("amount_from", "amount_to")

# Each list with the parameters that it reads.
LISTS = {
    LIST: (*MOMENTS, *PLACES, *TEXTS[:5], *SUMS, "limit"),
    f"{LIST}export": (*MOMENTS[:2], *TEXTS[:5], *SUMS),
    "/admin/payouts/": (*MOMENTS[:2], *PLACES, *TEXTS[:4]),
    "/admin/refunds/": (*MOMENTS[:2], *PLACES, "user", "transaction", "currency"),
    "/admin/refunds/adjustments/": (*MOMENTS[:2], *PLACES, *TEXTS[:3]),
    "/admin/webhooks/": (*MOMENTS[:2], *PLACES, "user", *TEXTS[5:8], "endpoint", "transaction"),
    "/admin/webhooks/replay/ask": (*MOMENTS[:2], "user", *TEXTS[5:8], "endpoint", "transaction"),
    "/admin/audit/": (*MOMENTS[:2], *PLACES, "actor", "action", "object_type", "object_id"),
    "/admin/reconciliation/": PLACES,
    "/admin/reconciliation/runs/": PLACES,
    "/admin/users/": (*PLACES, "name"),
    "/admin/search/": ("q",),
    "/admin/": ("period", "currency", "refresh"),
    "/admin/chart": ("period", "currency"),
}

NONSENSE = {
    MOMENTS: (
        *("0001-01-01", "9999-12-31", "0001-01-01T00:00", "9999-12-31T23:59:59.999999"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-31", "2026-W48-1"),
        *("20261130", "2026-11-30T24:00", "2026-11-30T23:59:60", "2026-11-30T10:00+99:99"),
        "\uff12\uff10\uff12\uff16-11-30",
    ),
    PLACES: (
        *("2026-11-30_1", "9223372036854775808", "1" * 30, "\u0661\u0662"),
        "0001-01-01T00:00:00+14:00_00000000-0000-7000-8000-000000000000",
        "9999-12-31T23:59:59-14:00_ffffffff-ffff-ffff-ffff-ffffffffffff",
        "0001-01-01T00:00:00+00:00_99999999999999999999",
    ),
    SUMS: (
        *("NaN", "Infinity", "1e400", "0x10", "1_000", "-1", "+1", ".5", "1.", "1" + "0" * 30),
        *("99999999999999999999.99", "\u0661\u0662", "1,00,0", "1,000.5.5"),
    ),
}
ANYWHERE = (
    "a\0b",
    "9" * 5000,
    "%",
    "'; --",
    "{{7*7}}",
    "\U0010ffff",
    "\ud800",
    "{" + "0" * 32 + "}",
)


@pytest.fixture
def panel(client: FlaskClient, admin: TestUser) -> Panel:
    made = Panel(client)
    made.log_in(admin)
    return made


def addresses(path: str) -> Iterator[str]:
    for name in LISTS[path]:
        fitting = [values for names, values in NONSENSE.items() if name in names]
        for value in (*ANYWHERE, *(fitting[0] if fitting else ())):
            yield f"{path}?{name}={quote(value.encode('utf-8', 'surrogatepass'))}"


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns"])
def test_nonsense_is_no_error(
    panel: Panel, engine: Engine, merchant: TestUser, path: str, zone: str
) -> None:
    make_transaction(engine, merchant)
    panel.client.set_cookie("standart_zone", zone)

    refused = [
        (address[:120], answer.status_code)
        for address in addresses(path)
        if (answer := panel.get(address)).status_code not in (200, 303)
    ]

    assert refused == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (LIST, "created_from=2026-11-02&created_to=2026-11-01"),
        (LIST, "created_from=2026-11-02T10:00&created_to=2026-11-02T10:00"),
        (LIST, "amount_from=2&amount_to=1.99"),
        ("/admin/payouts/", "created_from=2026-11-02&created_to=2026-11-01"),
        ("/admin/webhooks/", "created_from=2026-11-02&created_to=2026-11-01"),
        ("/admin/audit/", "created_from=2026-11-02&created_to=2026-11-01"),
    ],
)
def test_a_range_that_ends_before_it_begins_says_so(panel: Panel, path: str, query: str) -> None:
    assert panel.get(f"{path}?{query}").text.count("(ends before it begins)") == 1
    assert "ends before" not in panel.get(f"{path}?{query.partition('&')[0]}").text


def test_a_range_of_one_day_or_sum_is_one(panel: Panel, engine: Engine, merchant: TestUser) -> None:
    made = make_transaction(engine, merchant, amount="2.00")
    day = made["created_at"][:10]
    query = f"created_from={day}&created_to={day}&amount_from=2&amount_to=2"
    page = panel.get(f"{LIST}?{query}").text
    assert "ends before" not in page
    assert made["id"] in page


@pytest.mark.parametrize("name", ["type", "state", "answer"])
def test_an_event_that_there_is_not_is_a_filter_too(
    panel: Panel, engine: Engine, keyring: Keyring, name: str
) -> None:
    """Else a mistyped address would send all events anew."""
    owner = make_user(engine, keyring, webhook_url="https://example.com/hook")
    panel.post(f"{LIST}{make_transaction(engine, owner)['id']}/cancel")
    assert "Transaction canceled" in _rows(panel.get("/admin/webhooks/").text)

    page = panel.get(f"/admin/webhooks/?{name}=deda").text
    asked = panel.get(f"/admin/webhooks/replay/ask?{name}=deda").text

    assert "(unknown)" in page
    assert "Transaction canceled" not in _rows(page)
    assert "Nothing matches, so there is nothing to send." in asked


def _rows(page: str) -> str:
    return page.partition("<tbody>")[2]


@pytest.mark.parametrize(
    ("lang", "typed", "found"),
    [
        ("en", "1,000", {"1000.00", "1234567.89"}),
        ("en", "1,234,567.89", {"1234567.89"}),
        ("en", "1,5", {"1.50", "1000.00", "1234567.89"}),
        ("ru", "1,000", {"1.00", "1.50", "1000.00", "1234567.89"}),
        ("ru", "1\u00a0000,00", {"1000.00", "1234567.89"}),
        ("ru", "1\u202f234\u202f567,89", {"1234567.89"}),
    ],
)
def test_amounts_are_read_as_the_language_writes_them(
    panel: Panel, engine: Engine, merchant: TestUser, lang: str, typed: str, found: set[str]
) -> None:
    made = {
        make_transaction(engine, merchant, amount=amount)["id"]: amount
        for amount in ("1.00", "1.50", "1000.00", "1234567.89")
    }

    page = panel.get(LIST, query_string={"amount_from": typed}, headers={"Accept-Language": lang})

    shown = re.findall(r'class="id" href="/admin/transactions/([0-9a-f-]{36})', page.text)
    assert {made[each] for each in shown} == found


def test_what_one_filter_has_no_other_loses(panel: Panel) -> None:
    """The form holds what the address has: a moment with its hour, and the size of a page."""
    query = {"created_from": "2026-11-01T10:30", "created_to": "2026-11-02", "limit": "50"}
    page = panel.get(LIST, query_string=query).text

    assert re.search(r'name="created_from" type="text" value="2026-11-01T10:30"', page)
    assert re.search(r'name="created_to" type="date" value="2026-11-02"', page)
    filters = page.partition('class="filters"')[2].partition("</form>")[0]
    assert '<input type="hidden" name="limit" value="50">' in filters


def test_a_chip_is_in_russian_too(panel: Panel) -> None:
    page = panel.get(f"{LIST}?status=paid", headers={"Accept-Language": "ru"}).text
    assert "(неизвестно)" in page
