from __future__ import annotations

import pytest

from standart.api import checks
from standart.card_numbers import holds_card_number
from standart.errors import InvalidInput
from standart.money import CURRENCIES, MAX_MINOR, format_minor

# Test numbers that the schemes and their processors publish.
CARDS = [
    "4111111111111111",
    "4012888888881881",
    "4222222222222",
    "4000000000000000006",
    "5555555555554444",
    "5105105105105100",
    "2223003122003222",
    "2200123456789019",
    "378282246310005",
    "341111111111111",
    "30569309025904",
    "38520000023237",
    "6011111111111117",
    "3530111333300000",
    "6200000000000005",
    "6759649826438453",
]

FRAMES = ["{}", "card {}, thanks", "Карта:{}", "17 {}", "{} 42", "a{}b", "#{}/2", "\n{}"]


@pytest.mark.parametrize("number", CARDS)
def test_published_card_numbers_are_found_however_they_are_written(number: str) -> None:
    grouped = " ".join(number[start : start + 4] for start in range(0, len(number), 4))
    for written in (number, grouped, grouped.replace(" ", "-")):
        for frame in FRAMES:
            assert holds_card_number(frame.format(written)), frame.format(written)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4111111111111112",
        "411111111111111",
        "1234567812345670",
        "9999999999999995",
        "41111111111111111111111111",
        "4111.1111.1111.1111",
        "4111  1111  1111  1111",
        "+7 495 123-45-67",
        "order 2026-11-24 10:15:00 no 123",
        "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
        "x" * 500,
        "1" * 500,
        "1 " * 250,
    ],
)
def test_other_text_is_no_card_number(text: str) -> None:
    assert not holds_card_number(text)


def test_the_largest_amount_fits_the_grammar_in_every_number_of_digits() -> None:
    for currency in CURRENCIES:
        assert checks.amount(format_minor(MAX_MINOR, currency)) is None


@pytest.mark.parametrize("text", ["0", "0.0", "0.0000"])
def test_zero_is_no_amount(text: str) -> None:
    assert checks.amount(text) == "must be greater than 0"


@pytest.mark.parametrize("text", ["1", "10", "100", "0.01", "10.10", "1000.0001"])
def test_amounts_with_zeros_are_amounts(text: str) -> None:
    assert checks.amount(text) is None


@pytest.mark.parametrize(
    "text", ["1\n", "١", "1e3", "-1", "", "1.", "1." + "0" * 10, "12345678901234567"]
)
def test_other_text_is_no_amount(text: str) -> None:
    assert checks.amount(text) is not None


@pytest.mark.parametrize(
    "text", ["", "plain", "Два билета 😀", "a\u00a0b", "\u200f", "<b>", "\u2028"]
)
def test_plain_text_is_what_people_write(text: str) -> None:
    assert checks.plain(text) is None


@pytest.mark.parametrize(
    "code", [*range(32), 0x7F, 0x80, 0x85, 0x9F, 0xD800, 0xDBFF, 0xDC00, 0xDFFF]
)
def test_control_characters_and_halves_of_pairs_are_not_plain(code: int) -> None:
    assert checks.plain(f"a{chr(code)}b") is not None


def test_metadata_holds_fifty_keys_of_forty_characters() -> None:
    assert checks.metadata({f"{number:040}": "" for number in range(50)}) is None
    assert checks.metadata({f"{number}": "" for number in range(51)}) is not None
    assert checks.metadata({"k" * 41: ""}) is not None


def test_require_names_every_field_and_skips_absent_ones() -> None:
    with pytest.raises(InvalidInput) as caught:
        checks.require(
            ("a", "x", checks.identifier), ("b", None, checks.identifier), ("c", "", checks.limit)
        )
    assert [each.field for each in caught.value.errors] == ["a", "c"]
