"""The panel's words are complete in Russian, and days begin where the viewer is."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

import standart
from standart.admin import listing, messages
from standart.admin.dashboard import edges_of
from standart.admin.language import day_starts
from standart.admin.way_in import safe_next
from standart.errors import InvalidInput
from standart.models import DeliveryState, Role
from standart.services import passwords
from standart.states import TransactionStatus
from standart.webhooks.addresses import UrlRules, parse_url

PACKAGE = Path(standart.__file__).parent
KEYWORDS = {"gettext": None, "lazy_gettext": None, "_": None, "ngettext": (1, 2)}
# What the rooms below say in English, and the panel in its viewer's language.
BELOW = {"Phrase": None, "_wrong": None, "_about": (3,)}
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]


def _catalog(locale: str) -> Catalog:
    path = PACKAGE / "translations" / locale / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as file:
        return read_po(file, locale=locale)


@cache
def _used() -> set[str]:
    found = [
        *extract_from_dir(PACKAGE / "admin", METHODS, keywords=KEYWORDS),
        *extract_from_dir(PACKAGE / "bank_files", METHODS, keywords=BELOW),
        *extract_from_file("python", PACKAGE / "checks.py", keywords=BELOW),
        *extract_from_file("python", PACKAGE / "config.py", keywords=BELOW),
    ]
    return {text if isinstance(text, str) else text[0] for *_, text, _, _ in found}


def _asked_for() -> Iterator[str]:
    """Yield what the code translates, also within f-strings, which no extractor reads."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {*KEYWORDS, "Phrase"}:
                match node.args:
                    case [ast.Constant(value=str(text)), *_]:
                        yield text


def test_no_word_hides_where_the_catalogues_do_not_find_it() -> None:
    assert set(_asked_for()) <= _used()


@pytest.mark.parametrize("locale", ["ru", "en"])
def test_the_catalogues_have_exactly_the_words_that_are_used(locale: str) -> None:
    known = {
        entry.id if isinstance(entry.id, str) else entry.id[0]
        for entry in _catalog(locale)
        if entry.id
    }

    assert known == _used()


def test_every_word_has_a_russian_one_with_the_same_variables() -> None:
    russian = _catalog("ru")
    for entry in russian:
        if not entry.id:
            continue
        texts = [entry.string] if isinstance(entry.string, str) else list(entry.string)
        assert all(texts), entry.id
        assert not entry.fuzzy
        assert not [str(error) for error in entry.check(russian)], entry.id


@pytest.mark.parametrize("locale", ["ru", "en"])
def test_the_compiled_catalogue_is_current(locale: str) -> None:
    compiled = PACKAGE / "translations" / locale / "LC_MESSAGES" / "messages.mo"
    made = io.BytesIO()
    write_mo(made, _catalog(locale))

    assert compiled.read_bytes() == made.getvalue()


def test_the_tabs_and_statuses_are_called_as_the_user_calls_them() -> None:
    words = {entry.id: entry.string for entry in _catalog("ru")}

    tabs = ["Dashboard", "Users", "Transactions", "Webhooks", "Audit log"]
    assert [words[tab] for tab in tabs] == [
        "Дашборд",
        "Пользователи",
        "Транзакции",
        "Вебхуки",
        "Журнал",
    ]
    statuses = ["Pending", "Confirmed", "Canceled", "Expired"]
    assert [words[status] for status in statuses] == [
        "Ожидание",
        "Подтверждена",
        "Отменена",
        "Истекла",
    ]
    assert set(messages.STATUSES) == {status.value for status in TransactionStatus}
    assert set(messages.ROLES) == {role.value for role in Role}
    assert set(messages.DELIVERY_STATES) == {state.value for state in DeliveryState}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https://example.com/" + "x" * 3000,
        "https://exa mple.com/",
        "https://example.com/#f",
        "https://a@example.com/",
        "https://example.com?x=1",
        "https://example.com:x/",
        "https://exa_mple..com/",
        "https://example.com./",
        "https://127.1/",
        "https://[::g]/",
        "https://[:::]/",
        "https://[::ffff:127.0.0.1]/",
        "http://example.com/",
        "https://example.com:22/",
        "https://127.0.0.1/",
        "https://localhost/",
    ],
)
@pytest.mark.parametrize("allow_http", [False, True])
def test_what_the_address_rules_say_is_translated(url: str, allow_http: bool) -> None:
    words = {entry.id: entry.string for entry in _catalog("ru")}
    try:
        parse_url(url, UrlRules(allow_http=allow_http))
    except InvalidInput as error:
        said = error.errors[0].message
        assert words.get(said), said
    else:
        assert allow_http
        assert url.startswith("http:")


def test_what_a_password_must_be_is_translated() -> None:
    words = {entry.id: entry.string for entry in _catalog("ru")}
    for password in ("short", "\udcff" * 12):
        with pytest.raises(InvalidInput) as refused:
            passwords.hashed(password)
        assert words.get(refused.value.errors[0].message)


@pytest.mark.parametrize(
    ("zone", "moment", "starts"),
    [
        ("UTC", "2026-03-10T12:00", ["2026-03-09T00:00", "2026-03-10T00:00", "2026-03-11T00:00"]),
        (
            "Europe/Moscow",
            "2026-03-10T22:30",
            ["2026-03-09T21:00", "2026-03-10T21:00", "2026-03-11T21:00"],
        ),
        (
            "Asia/Kathmandu",
            "2026-03-10T12:00",
            ["2026-03-08T18:15", "2026-03-09T18:15", "2026-03-10T18:15"],
        ),
        # A day of 23 hours, one of 25, and its last hour.
        (
            "Europe/Berlin",
            "2026-03-29T12:00",
            ["2026-03-27T23:00", "2026-03-28T23:00", "2026-03-29T22:00"],
        ),
        (
            "Europe/Berlin",
            "2026-10-25T22:30",
            ["2026-10-23T22:00", "2026-10-24T22:00", "2026-10-25T23:00"],
        ),
        # Midnight comes twice, or never.
        (
            "Atlantic/Azores",
            "2026-10-25T12:00",
            ["2026-10-24T00:00", "2026-10-25T00:00", "2026-10-26T01:00"],
        ),
        (
            "America/Santiago",
            "2026-09-06T12:00",
            ["2026-09-05T04:00", "2026-09-06T04:00", "2026-09-07T03:00"],
        ),
    ],
)
def test_a_day_lasts_from_midnight_to_midnight_of_the_viewer(
    zone: str, moment: str, starts: list[str]
) -> None:
    found = day_starts(ZoneInfo(zone), 2, datetime.fromisoformat(f"{moment}Z"))

    assert found == [datetime.fromisoformat(f"{each}Z") for each in starts]
    assert {each.tzinfo for each in found} == {UTC}


@pytest.mark.parametrize("hour", [0, 3, 12, 23])
@pytest.mark.parametrize("day", ["2026-03-29", "2026-03-30", "2026-10-25", "2026-10-26"])
def test_the_chart_has_every_day_once_wherever_the_clocks_moved(day: str, hour: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    at = datetime.fromisoformat(f"{day}T{hour:02}:30").replace(tzinfo=zone)

    days = [edge.astimezone(zone).date() for edge in edges_of("30d", at, zone)]

    assert days == [at.date() - timedelta(days=n) for n in range(29, -1, -1)]


def test_next_keeps_paths_of_the_panel() -> None:
    for path in ("/admin/", "/admin/users/?name=a%20b&limit=50", "/admin/transactions/0198"):
        assert safe_next(path) == path
    assert safe_next(None) == "/admin/"
    assert safe_next("/admin/é") == "/admin/"


def test_ids_are_read_in_their_usual_form_only() -> None:
    shown = "0198f0c2-0000-7000-8000-00000000000a"

    assert str(listing.as_id(shown.upper())) == shown
    for text in ("", shown[:-1], shown.replace("-", ""), "{" + shown[:34] + "}", "x" * 36):
        assert listing.as_id(text) is None
