"""The commission that the database stores against the second implementation in integers."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from sqlalchemy import Connection, Engine, text

from standart import money
from standart.encryption import Keyring
from standart.services import transaction_service
from standart.services import transaction_sql as sql
from standart.services.transaction_request import NewTransaction
from tests.builders import ORIGIN, make_user
from tests.integration.books import findings

ROWS = 3000
CURRENCIES = ("RUB", "USD", "JPY", "KRW", "KWD", "TND", "CLF", "USDT", "BTC", "TON")

# Each row is (text of the amount, minor units, rate in millionths, currency).
Case = tuple[str, int, int, str]


def cases(seed: int) -> list[Case]:
    """Random ones of every size, and as many that fall on an exact half."""
    source = random.Random(seed)
    made = []
    for number in range(ROWS):
        currency = source.choice(CURRENCIES)
        if number % 2:
            amount = source.randint(1, 10 ** source.randint(1, 15))
            millionths = source.choice([0, 1_000_000, source.randint(0, 1_000_000), 30_000])
        else:
            # amount · rate = odd · odd / 2, by an odd number of 10**-power for the rate.
            power = source.randint(0, 5)
            amount = (2 * source.randint(0, 10**8) + 1) * 5**power * 2 ** max(0, power - 1)
            odd = 2 * source.randint(0, max(0, 10**power // 2 - 1)) + 1
            millionths = 500_000 if power == 0 else odd * 10 ** (6 - power)
        amount = max(1, min(amount, money.MAX_MINOR))
        made.append((money.format_minor(amount, currency), amount, millionths, currency))
    return made


def is_half(amount: int, millionths: int) -> bool:
    return amount * millionths % 1_000_000 == 500_000


def commission_expression() -> str:
    """The part of the statement of creation that computes amount and commission."""
    statement = str(sql.CREATE[False])
    steps = statement[statement.index("exact AS") : statement.index("born AS")]
    return steps.rstrip().rstrip(",")


def test_every_stored_commission_is_the_rule_in_integers(
    connection: Connection, engine: Engine, keyring: Keyring
) -> None:
    """The service's own expression, for many rows at once, inserted behind the guards."""
    seed = random.randrange(10**9)
    asked = cases(seed)
    merchant = make_user(engine, keyring)
    terms = """
        WITH terms AS MATERIALIZED (
            SELECT gen_random_uuid() AS id, CAST(:user_id AS uuid) AS user_id,
                a.millionths / 1000000.0 AS commission_rate, clock_timestamp() AS at,
                a.currency, CAST(a.amount AS numeric) AS amount, false AS unique_reference,
                CAST(NULL AS uuid) AS fee_schedule_id, CAST(NULL AS bigint) AS fee_fixed,
                CAST(NULL AS bigint) AS fee_minimum, CAST(NULL AS bigint) AS fee_maximum
            FROM unnest(CAST(:amounts AS text[]), CAST(:rates AS int[]),
                CAST(:currencies AS text[])) AS a (amount, millionths, currency)
        ),"""
    steps = commission_expression().replace("CAST(:id AS uuid)", "x.id")
    rows = connection.execute(
        text(
            f"""{terms} {steps}
            INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
                created_at, expires_at)
            SELECT user_id, id, amount, commission, commission_rate, currency, created_at,
                expires_at
            FROM bare RETURNING amount, commission, commission_rate, currency"""
        ),
        {
            "user_id": merchant.id,
            "amounts": [case[0] for case in asked],
            "rates": [case[2] for case in asked],
            "currencies": [case[3] for case in asked],
            "reference": None,
            "description": None,
            "metadata": "{}",
            "ttl": 900,
        },
    ).all()

    stored = sorted((row.amount, row.commission_rate, row.currency) for row in rows)
    wanted = sorted(
        (amount, Decimal(millionths) / 1_000_000, currency)
        for _, amount, millionths, currency in asked
    )
    assert stored == wanted, seed
    for row in rows:
        assert row.commission == money.commission(row.amount, row.commission_rate), (seed, row)
    assert sum(is_half(amount, rate) for _, amount, rate, _ in asked) > ROWS // 3
    assert findings(engine) == []


@pytest.mark.parametrize(
    ("amount", "rate", "commission"),
    [
        (1, "0.5", 1),
        (1, "0.499999", 0),
        (3, "0.5", 2),
        (5, "0.1", 1),
        (50, "0.01", 1),
        (150, "0.03", 5),
        (250, "0.05", 13),
        (500_000, "0.000001", 1),
        (499_999, "0.000001", 0),
        (10**15, "0.999999", 999_999_000_000_000),
        (10**15 - 1, "0.5", 5 * 10**14),
        (10**15, "1", 10**15),
        (1, "1", 1),
        (1, "0", 0),
    ],
)
def test_the_edges_are_stored_as_the_rule_says(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    amount: int,
    rate: str,
    commission: int,
) -> None:
    merchant = make_user(engine, keyring, rate=rate)
    transaction_service.create(
        connection,
        merchant.digest,
        ORIGIN,
        NewTransaction(amount=money.format_minor(amount, "RUB")),
        ttl_seconds=900,
    )

    kept = connection.execute(text("SELECT amount, commission, net FROM transactions")).one()
    assert kept == (amount, commission, amount - commission)
    assert money.commission(amount, Decimal(rate)) == commission
