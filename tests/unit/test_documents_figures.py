"""Words and figures of documents: complete in both languages, exact in every currency."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from standart.documents.figures import amount, moment, moment_utc, offsets
from standart.documents.statement import Totals
from standart.documents.words import AMOUNTS, COLUMNS, WORDS, Lang, Words, kinds_in_order
from standart.models import JournalKind

MOSCOW = ZoneInfo("Europe/Moscow")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("lang", WORDS)
def test_a_language_says_everything(lang: Lang) -> None:
    words = WORDS[lang]

    assert set(words.columns) == set(COLUMNS)
    assert set(words.kinds) == set(JournalKind)
    texts = [getattr(words, each.name) for each in fields(Words)]
    texts += [*words.columns.values(), *words.kinds.values()]
    assert all(texts)


def test_the_languages_differ_in_every_word_but_signs() -> None:
    ru, en = WORDS["ru"], WORDS["en"]
    same = [each.name for each in fields(Words) if getattr(ru, each.name) == getattr(en, each.name)]
    assert same == []


def test_the_columns_of_money_are_those_that_totals_have() -> None:
    assert ("count", *AMOUNTS) == tuple(each.name for each in fields(Totals))


def test_kinds_stand_in_a_fixed_order_and_unknown_ones_at_the_end() -> None:
    kinds = ["zebra", "adjustment", "ape", "refund", "settlement"]
    assert kinds_in_order(kinds) == ["settlement", "refund", "adjustment", "ape", "zebra"]
    assert WORDS["ru"].kind("zebra") == "zebra"


@pytest.mark.parametrize(
    ("minor", "currency", "ru", "en"),
    [
        (0, "RUB", "0,00", "0.00"),
        (123_456, "RUB", "1\xa0234,56", "1,234.56"),
        (-5, "RUB", "−0,05", "−0.05"),
        (10**15, "RUB", "10\xa0000\xa0000\xa0000\xa0000,00", "10,000,000,000,000.00"),
        (1_234_567, "JPY", "1\xa0234\xa0567", "1,234,567"),
        (-1, "JPY", "−1", "−1"),
        (1, "BTC", "0,00000001", "0.00000001"),
        (-123_456_789_012, "BTC", "−1\xa0234,56789012", "−1,234.56789012"),
    ],
)
def test_amounts_are_exact_and_grouped(minor: int, currency: str, ru: str, en: str) -> None:
    assert amount(minor, currency, "ru") == ru
    assert amount(minor, currency, "en") == en


def test_moments_are_shown_to_the_second_and_never_rounded_up() -> None:
    at = datetime(2026, 10, 31, 20, 59, 59, 999_999, tzinfo=UTC)
    assert moment(at, MOSCOW, "ru") == "31.10.2026 23:59:59"
    assert moment(at, MOSCOW, "en") == "2026-10-31 23:59:59"
    assert moment_utc(at) == "2026-10-31 20:59:59Z"
    assert moment_utc(at.astimezone(MOSCOW)) == "2026-10-31 20:59:59Z"


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("Europe/Moscow", "UTC+03:00"),
        ("UTC", "UTC+00:00"),
        ("Asia/Kolkata", "UTC+05:30"),
        ("America/St_Johns", "UTC-02:30 / UTC-03:30"),
        ("Europe/Berlin", "UTC+02:00 / UTC+01:00"),
    ],
)
def test_a_zone_says_how_far_it_is_from_utc(zone: str, shown: str) -> None:
    start, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    assert offsets(ZoneInfo(zone), start, end) == shown
