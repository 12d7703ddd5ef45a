from __future__ import annotations

import csv
import itertools
import random
import re
from decimal import Decimal
from importlib.resources import files

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standart.errors import InvalidInput
from standart.money import (
    CURRENCIES,
    MAX_MINOR,
    Money,
    commission,
    digits_of,
    fee,
    format_minor,
    format_rate,
    may_be_amount,
    parse_amount,
    parse_rate,
    share,
)

MILLION = 10**6


def second_commission(amount: int, millionths: int) -> int:
    """The same rule in other words: whole part, then one more from half a unit on."""
    whole, rest = divmod(amount * millionths, MILLION)
    return whole + (1 if 2 * rest >= MILLION else 0)


def rate_of(millionths: int) -> Decimal:
    return Decimal(f"{millionths // MILLION}.{millionths % MILLION:06d}")


def refused(error: pytest.ExceptionInfo[InvalidInput]) -> tuple[str, str]:
    (only,) = error.value.errors
    return only.field, only.message


CRYPTO = {"BTC": 8, "LTC": 8, "SOL": 9, "TON": 9, "TRX": 6, "USDC": 6, "USDT": 6, "XRP": 6}


def test_currencies_have_the_digits_of_the_standard() -> None:
    standard = {code: digits for code, digits in CURRENCIES.items() if code not in CRYPTO}
    assert len(standard) == 165
    assert {len(code) for code in standard} == {3}
    by_digits = {digits: {c for c, d in standard.items() if d == digits} for digits in range(10)}
    whole_only = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
    assert " ".join(sorted(by_digits[0])) == whole_only
    assert set().union(by_digits[1], *(by_digits[digits] for digits in range(5, 10))) == set()
    assert {"RUB", "USD", "EUR", "MGA", "MRU", "IRR"} <= by_digits[2]
    assert by_digits[3] == {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
    assert by_digits[4] == {"CLF", "UYW"}


def test_crypto_assets_have_the_digits_of_their_smallest_unit() -> None:
    assert {code: CURRENCIES[code] for code in CRYPTO} == CRYPTO


def test_the_list_of_currencies_says_what_each_one_is() -> None:
    listed = files("standart").joinpath("currencies.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(listed.splitlines(), strict=True))
    assert {row["code"] for row in rows if row["kind"] == "crypto"} == set(CRYPTO)
    assert {row["kind"] for row in rows} == {"iso", "crypto"}
    assert len(rows) == len(CURRENCIES), "a code is listed twice"
    # The rule that the database has for every column of currencies.
    assert [row["code"] for row in rows if not re.fullmatch("[A-Z]{3,5}", row["code"])] == []


@pytest.mark.parametrize(
    "code", ["XXX", "XTS", "XAU", "XDR", "usd", "US", "RUR", "BGN", "", "RUB ", "РУБ"]
)
def test_what_is_no_currency_is_refused(code: str) -> None:
    with pytest.raises(InvalidInput) as error:
        digits_of(code)
    assert refused(error) == ("currency", "is not a known currency code such as RUB or USDT")
    with pytest.raises(InvalidInput):
        Money(1, code)
    with pytest.raises(InvalidInput):
        parse_amount("1", code)


def test_the_list_of_currencies_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CURRENCIES["XXX"] = 2  # type: ignore[index]  # that is the point


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("0.01", "RUB", 1),
        ("0.1", "RUB", 10),
        ("1.15", "RUB", 115),
        ("100", "RUB", 10_000),
        ("100.00", "RUB", 10_000),
        ("10000000000000", "RUB", MAX_MINOR),
        ("10000000000000.00", "RUB", MAX_MINOR),
        ("7", "JPY", 7),
        ("1000000000000000", "JPY", MAX_MINOR),
        ("0.001", "KWD", 1),
        ("1.5", "KWD", 1500),
        ("0.0001", "CLF", 1),
        ("0.000001", "USDT", 1),
        ("0.00000001", "BTC", 1),
        ("10000000.00000000", "BTC", MAX_MINOR),
        ("0.000000001", "TON", 1),
        ("1000000.000000000", "TON", MAX_MINOR),
    ],
)
def test_amounts_are_read_exactly(text: str, currency: str, minor: int) -> None:
    assert parse_amount(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "sNaN", "-NaN", "Infinity", "-0", "-0.00", "-1", "1e3", "1E+999999999", "1_000"),
        *(
            "١٢",
            "１",
            " 12\n",
            "12\n",
            " 12",
            "+5",
            ".5",
            "5.",
            "1,50",
            "0x10",
            "",
            "00",
            "01",
            "1.2.3",
        ),
        *("1e2", "-0.0", "true", "null", '{"a":1}', '["1"]', "1\x00", "1.0\u0660", "²"),
    ],
)
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_amount(text, "RUB", field="sum")
    assert refused(error) == ("sum", "must be a plain decimal number such as 100.00")
    with pytest.raises(InvalidInput) as error:
        parse_rate(text)
    assert refused(error)[0] == "commission_rate"


@pytest.mark.parametrize(
    ("text", "currency", "message"),
    [
        ("0", "RUB", "must be greater than 0"),
        ("0.00", "RUB", "must be greater than 0"),
        ("1.005", "RUB", "has more than 2 fractional digits (RUB)"),
        ("1.000", "RUB", "has more than 2 fractional digits (RUB)"),
        ("1.0", "JPY", "has more than 0 fractional digits (JPY)"),
        ("0.0000001", "USDT", "has more than 6 fractional digits (USDT)"),
        ("0.0000000001", "SOL", "has more than 9 fractional digits (SOL)"),
        ("1000000.000000001", "SOL", "must be at most 1000000.000000000"),
        ("10000000000000.01", "RUB", "must be at most 10000000000000.00"),
        ("1000000000000001", "JPY", "must be at most 1000000000000000"),
        ("9" * 16, "RUB", "must be at most 10000000000000.00"),
        ("9" * 5000, "RUB", "must be at most 10000000000000.00"),
        ("1." + "0" * 50_000, "RUB", "has more than 2 fractional digits (RUB)"),
    ],
)
def test_numbers_out_of_bounds_are_refused(text: str, currency: str, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_amount(text, currency)
    assert refused(error) == ("amount", message)


@pytest.mark.parametrize("text", ["0", "0.0", "0.00"])
def test_zero_is_read_where_it_may_be(text: str) -> None:
    assert parse_amount(text, "RUB", may_be_zero=True) == Money(0, "RUB")
    with pytest.raises(InvalidInput):
        parse_amount("-0", "RUB", may_be_zero=True)


@given(st.integers(1, MAX_MINOR), st.sampled_from(sorted(CURRENCIES)))
@example(MAX_MINOR, "CLF")
@example(MAX_MINOR, "SOL")
def test_text_and_money_are_the_same(amount: int, currency: str) -> None:
    money = Money(amount, currency)
    assert parse_amount(str(money), currency) == money
    assert may_be_amount(str(money))
    digits = CURRENCIES[currency]
    assert len(str(money).partition(".")[2]) == digits
    assert Decimal(str(money)) == Decimal(amount).scaleb(-digits)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (0, "RUB", "0.00"),
        (-1, "RUB", "-0.01"),
        (-12345, "RUB", "-123.45"),
        (-7, "JPY", "-7"),
        (0, "JPY", "0"),
        (5, "KWD", "0.005"),
        (10**40, "RUB", "1" + "0" * 38 + ".00"),
    ],
)
def test_minor_units_become_text(amount: int, currency: str, text: str) -> None:
    assert format_minor(amount, currency) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *(("0", "0"), ("1", "1"), ("0.03", "0.03"), ("0.030000", "0.03"), ("1.000000", "1")),
        *(("0.000001", "0.000001"), ("0.999999", "0.999999"), ("0.0", "0")),
    ],
)
def test_rates_are_read_and_shown(text: str, shown: str) -> None:
    assert format_rate(parse_rate(text)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.000001", "must be between 0 and 1"),
        ("2", "must be between 0 and 1"),
        ("10", "must be between 0 and 1"),
        ("9" * 5000, "must be between 0 and 1"),
        ("0.0000001", "has more than 6 fractional digits"),
        ("0,03", "must be a plain decimal number such as 0.03"),
    ],
)
def test_rates_out_of_bounds_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_rate(text, field="rate")
    assert refused(error) == ("rate", message)


@given(st.integers(0, MILLION))
def test_every_rate_survives_text(millionths: int) -> None:
    rate = rate_of(millionths)
    assert parse_rate(format_rate(rate)) == rate


@pytest.mark.parametrize(
    ("amount", "rate", "expected"),
    [
        (10_000, "0.03", 300),
        (50, "0.01", 1),
        (49, "0.01", 0),
        (150, "0.01", 2),
        (250, "0.01", 3),
        (1, "0.5", 1),
        (1, "0.499999", 0),
        (1, "1", 1),
        (MAX_MINOR, "1", MAX_MINOR),
        (MAX_MINOR, "0", 0),
        (0, "1", 0),
    ],
)
def test_commission_is_rounded_half_up(amount: int, rate: str, expected: int) -> None:
    assert commission(amount, Decimal(rate)) == expected


def test_commission_equals_a_second_implementation() -> None:
    chance = random.Random(4217)
    halves = 0
    for _ in range(100_000):
        amount = chance.randrange(1, 10 ** chance.randrange(1, 16))
        millionths = chance.choice((chance.randrange(MILLION + 1), chance.randrange(101) * 5_000))
        halves += 2 * (amount * millionths % MILLION) == MILLION
        assert commission(amount, rate_of(millionths)) == second_commission(amount, millionths)
    # Without exact halves among them the cases would not tell half-up from half-even.
    assert halves > 100


@given(st.integers(0, MAX_MINOR), st.integers(0, MILLION))
@example(MAX_MINOR, MILLION)
@example(MAX_MINOR, MILLION - 1)
@example(1, 500_000)
@example(1, 499_999)
@example(3, 500_000)
@example(5, 500_000)
def test_commission_stays_within_the_amount(amount: int, millionths: int) -> None:
    taken = commission(amount, rate_of(millionths))
    assert taken == second_commission(amount, millionths)
    assert 0 <= taken <= amount


@pytest.mark.parametrize(
    ("amount", "rate"), [(-1, "0.1"), (1, "1.000001"), (1, "-0.1"), (1, "NaN"), (1, "sNaN")]
)
def test_commission_refuses_what_cannot_be(amount: int, rate: str) -> None:
    with pytest.raises(ValueError, match=r"commission needs|cannot convert NaN"):
        commission(amount, Decimal(rate))


# Rounded, then with the fixed part, the maximum, the minimum, and what the amount allows.
@pytest.mark.parametrize(
    ("amount", "rate", "fixed", "minimum", "maximum", "expected"),
    [
        (10_000, "0.029", 300, 0, None, 590),
        (10_000, "0.029", 300, 600, None, 600),
        (10_000, "0.029", 300, 590, None, 590),
        (10_000, "0.029", 300, 0, 500, 500),
        (10_000, "0.029", 300, 500, 500, 500),
        (10_000, "0.029", 0, 0, 0, 0),
        (100, "0.029", 300, 0, None, 100),
        (100, "0", 0, 300, None, 100),
        (100, "0", 0, 100, None, 100),
        (100, "0", 0, 99, None, 99),
        (100, "0", 0, 300, 400, 100),
        (50, "0.01", 1, 0, None, 2),
        (49, "0.01", 1, 0, None, 1),
        (1, "1", 1, 0, None, 1),
        (MAX_MINOR, "1", MAX_MINOR, 0, None, MAX_MINOR),
        (MAX_MINOR, "1", 0, 0, 1, 1),
        (0, "1", 5, 5, None, 0),
    ],
)
def test_a_fee_is_put_together_in_this_order(
    amount: int, rate: str, fixed: int, minimum: int, maximum: int | None, expected: int
) -> None:
    assert fee(amount, Decimal(rate), fixed, minimum, maximum) == expected


def test_small_fees_equal_the_median_of_their_bounds_in_every_combination() -> None:
    """The rule in other words: the middle one of minimum, sum and maximum, cut at the amount."""
    cases = 0
    for amount, fixed, minimum in itertools.product(range(8), range(4), range(4)):
        for maximum, tenths in itertools.product((None, *range(minimum, 8)), range(11)):
            total = second_commission(amount, tenths * MILLION // 10) + fixed
            bounded = sorted((minimum, total, total if maximum is None else maximum))[1]
            if maximum is None:
                bounded = max(minimum, total)
            expected = bounded if bounded < amount else amount
            assert fee(amount, Decimal(tenths) / 10, fixed, minimum, maximum) == expected
            cases += 1
    assert cases > 10_000


@given(
    st.integers(0, MAX_MINOR),
    st.integers(0, MILLION),
    st.integers(0, MAX_MINOR),
    st.integers(0, MAX_MINOR),
    st.none() | st.integers(0, MAX_MINOR),
)
def test_a_fee_stays_within_its_bounds(
    amount: int, millionths: int, fixed: int, minimum: int, above: int | None
) -> None:
    maximum = None if above is None else minimum + above
    taken = fee(amount, rate_of(millionths), fixed, minimum, maximum)
    assert 0 <= taken <= amount
    assert taken >= min(amount, minimum)
    assert maximum is None or taken <= maximum
    assert fee(amount, rate_of(millionths), 0, 0, None) == commission(amount, rate_of(millionths))


@pytest.mark.parametrize(
    ("amount", "rate", "fixed", "minimum", "maximum"),
    [
        (-1, "0", 0, 0, None),
        (1, "2", 0, 0, None),
        (1, "0", -1, 0, None),
        (1, "0", 0, -1, None),
        (1, "0", 0, 0, -1),
    ],
)
def test_a_fee_refuses_what_cannot_be(
    amount: int, rate: str, fixed: int, minimum: int, maximum: int | None
) -> None:
    with pytest.raises(ValueError, match=r"must not be negative|commission needs"):
        fee(amount, Decimal(rate), fixed, minimum, maximum)


def second_share_until(commission: int, amount: int, parts: int) -> int:
    """Half-up by the remainder instead of by doubling."""
    whole, rest = divmod(commission * parts, amount)
    return whole + (2 * rest >= amount)


@st.composite
def divided(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """An amount, the commission on it, and parts that make up the amount."""
    amount = draw(st.integers(1, MAX_MINOR) | st.integers(1, 100))
    commission = draw(st.integers(0, amount))
    cuts = draw(st.lists(st.integers(0, amount), max_size=20))
    edges = [0, *sorted(cuts), amount]
    parts = [end - start for start, end in itertools.pairwise(edges)]
    return commission, amount, draw(st.permutations(parts))


@given(divided())
@example((1, 2, [1, 1]))
@example((MAX_MINOR, MAX_MINOR, [1, MAX_MINOR - 2, 1]))
@example((MAX_MINOR - 1, MAX_MINOR, [1, MAX_MINOR - 2, 1]))
@example((1, 1, [0, 1, 0]))
def test_shares_of_a_commission_lose_nothing(case: tuple[int, int, list[int]]) -> None:
    commission, amount, parts = case
    before = given_back = 0
    for part in parts:
        part_of_it = share(commission, amount, before, part)
        assert 0 <= part_of_it <= min(part, commission)
        before, given_back = before + part, given_back + part_of_it
        # At every moment what went is the exact sum, rounded once: never half a unit away.
        assert given_back == second_share_until(commission, amount, before)
    assert given_back == commission


@pytest.mark.parametrize(
    ("commission", "amount", "before", "part", "expected"),
    [
        (300, 10_000, 0, 10_000, 300),
        (300, 10_000, 0, 5_000, 150),
        (300, 10_000, 0, 16, 0),
        (300, 10_000, 0, 17, 1),
        (1, 2, 0, 1, 1),
        (1, 2, 1, 1, 0),
        (0, 5, 0, 5, 0),
        (5, 5, 2, 3, 3),
        (5, 5, 5, 0, 0),
        (MAX_MINOR, MAX_MINOR, 0, MAX_MINOR, MAX_MINOR),
    ],
)
def test_a_share_is_rounded_half_up(
    commission: int, amount: int, before: int, part: int, expected: int
) -> None:
    assert share(commission, amount, before, part) == expected


@pytest.mark.parametrize(
    ("commission", "amount", "before", "part"),
    [(1, 0, 0, 0), (2, 1, 0, 1), (1, 2, 1, 2), (-1, 2, 0, 1), (1, 2, -1, 1), (1, 2, 1, -1)],
)
def test_a_share_of_what_cannot_be_is_refused(
    commission: int, amount: int, before: int, part: int
) -> None:
    with pytest.raises(ValueError, match="a share needs"):
        share(commission, amount, before, part)
