"""One fee rule, written four times: creation, preview, the CHECK and integers in Python."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from standart import money
from standart.db import constraint_name
from standart.services import fee_sql
from standart.services import transaction_sql as sql
from tests.builders import TestUser, make_transaction
from tests.integration.books import findings
from tests.integration.fees import preview, schedule

ROWS = 3000
CURRENCIES = ("RUB", "USD", "JPY", "KWD", "CLF", "USDT", "BTC", "TON")


class Case(NamedTuple):
    amount: int
    millionths: int
    fixed: int
    minimum: int
    maximum: int | None
    currency: str

    @property
    def rate(self) -> Decimal:
        return Decimal(self.millionths) / 1_000_000

    @property
    def fee(self) -> int:
        return money.fee(self.amount, self.rate, self.fixed, self.minimum, self.maximum)

    @property
    def text(self) -> str:
        return money.format_minor(self.amount, self.currency)


def near(source: random.Random, amount: int) -> int:
    """A part of a fee that is likely to matter: about the amount, a fraction of it, or any."""
    return min(
        money.MAX_MINOR,
        source.choice(
            [
                0,
                source.randint(0, 5),
                max(0, amount + source.randint(-2, 2)),
                source.randint(0, amount),
                amount // 10,
                source.randint(0, money.MAX_MINOR),
                money.MAX_MINOR,
            ]
        ),
    )


def cases(source: random.Random, count: int) -> list[Case]:
    made = []
    for _ in range(count):
        amount = source.choice([source.randint(1, 10 ** source.randint(1, 15)), money.MAX_MINOR, 1])
        half = amount % 2 == 1 and source.random() < 0.3
        millionths = 500_000 if half else source.choice([0, 10**6, source.randint(0, 10**6)])
        minimum = source.choice([0, near(source, amount)])
        maximum = source.choice([None, max(minimum, near(source, amount))])
        made.append(
            Case(
                amount,
                millionths,
                source.choice([0, near(source, amount)]),
                minimum,
                maximum,
                source.choice(CURRENCIES),
            )
        )
    return made


@pytest.fixture
def source(request: pytest.FixtureRequest) -> random.Random:
    """Random by a seed of its own that a failure shows."""
    seed = random.randrange(10**9)
    request.node.add_report_section("call", "seed", f"seed {seed}")
    return random.Random(seed)


def check_of_the_database(connection: Connection) -> str:
    definition: str | None = connection.scalar(
        text(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conname = 'ck_transactions_commission_rule'"
        )
    )
    assert definition is not None
    return definition.removeprefix("CHECK ")


def test_all_small_fees_are_the_same_by_sql_by_the_check_and_in_integers(
    connection: Connection,
) -> None:
    """Every combination of small parts, and the CHECK allows that one commission only."""
    check = check_of_the_database(connection)
    rows = connection.execute(
        text(
            f"""
            WITH terms AS (
                SELECT amount::bigint, tenths / 10.0 AS commission_rate, fixed::bigint AS fee_fixed,
                    least_taken::bigint AS fee_minimum, most::bigint AS fee_maximum
                FROM generate_series(1, 7) AS a (amount), generate_series(0, 10) AS r (tenths),
                    generate_series(0, 4) AS f (fixed), generate_series(0, 8) AS l (least_taken),
                    unnest(ARRAY[NULL, 0, 1, 2, 3, 4, 5, 6, 7, 8]) AS m (most)
                WHERE most IS NULL OR most >= least_taken
            ),
            taken AS (
                SELECT t.*, {fee_sql.commission("t.amount::numeric", "t")} AS by_rule FROM terms t
            )
            SELECT t.*, (
                SELECT array_agg(commission ORDER BY commission)
                FROM generate_series(-1, t.amount + 1) AS c (commission) WHERE {check}
            ) AS allowed
            FROM taken t
            """
        )
    ).all()

    assert len(rows) > 20_000
    for row in rows:
        by_hand = money.fee(
            row.amount, row.commission_rate, row.fee_fixed, row.fee_minimum, row.fee_maximum
        )
        assert (row.by_rule, row.allowed) == (by_hand, [by_hand]), row


def test_without_a_schedule_the_rule_is_the_plain_rate(connection: Connection) -> None:
    rows = connection.execute(
        text(
            f"""
            SELECT x.*, {fee_sql.commission("x.amount", "x")} AS by_rule
            FROM (
                SELECT amount::numeric, tenths / 10.0 AS commission_rate,
                    CAST(NULL AS bigint) AS fee_fixed, CAST(NULL AS bigint) AS fee_minimum,
                    CAST(NULL AS bigint) AS fee_maximum
                FROM generate_series(1, 50) AS a (amount), generate_series(0, 10) AS r (tenths)
            ) AS x
            """
        )
    ).all()
    for row in rows:
        assert row.by_rule == money.commission(int(row.amount), row.commission_rate), row


def test_every_stored_fee_is_the_rule_in_integers(
    connection: Connection, engine: Engine, merchant: TestUser, source: random.Random
) -> None:
    """The service's own steps for many rows at once, each by a schedule of its own."""
    asked = cases(source, ROWS)
    statement = str(sql.CREATE[False])
    steps = statement[statement.index("exact AS") : statement.index("born AS")]
    steps = steps.rstrip().rstrip(",").replace("CAST(:id AS uuid)", "gen_random_uuid()")
    columns = "user_id, id, amount, commission, commission_rate, currency, created_at, expires_at,"
    columns += " fee_schedule_id, fee_fixed, fee_minimum, fee_maximum"
    rows = connection.execute(
        text(
            f"""
            WITH asked AS MATERIALIZED (
                SELECT gen_random_uuid() AS id, a.*
                FROM unnest(CAST(:amounts AS text[]), CAST(:rates AS int[]),
                    CAST(:fixed AS bigint[]), CAST(:minimums AS bigint[]),
                    CAST(:maximums AS bigint[]), CAST(:currencies AS text[]))
                    AS a (amount, millionths, fixed, minimum, maximum, currency)
            ),
            schedule AS (
                INSERT INTO fee_schedules (user_id, id, currency, rate, fixed, minimum, maximum)
                SELECT :user_id, id, currency, millionths / 1000000.0, fixed, minimum, maximum
                FROM asked
                RETURNING *
            ),
            terms AS MATERIALIZED (
                SELECT u.id AS user_id, {fee_sql.terms("u", "f")}, clock_timestamp() AS at,
                    a.currency, CAST(a.amount AS numeric) AS amount, false AS unique_reference
                FROM asked a JOIN schedule f USING (id) JOIN users u ON u.id = f.user_id
            ),
            {steps}
            INSERT INTO transactions ({columns})
            SELECT {columns} FROM bare
            RETURNING *
            """
        ),
        {
            "user_id": merchant.id,
            "amounts": [case.text for case in asked],
            "rates": [case.millionths for case in asked],
            "fixed": [case.fixed for case in asked],
            "minimums": [case.minimum for case in asked],
            "maximums": [case.maximum for case in asked],
            "currencies": [case.currency for case in asked],
            "reference": None,
            "description": None,
            "metadata": "{}",
            "ttl": 900,
        },
    ).all()

    def stored(row: Any) -> Case:
        millionths = int(row.commission_rate * 1_000_000)
        parts = (row.fee_fixed, row.fee_minimum, row.fee_maximum)
        return Case(row.amount, millionths, *parts, row.currency)

    def key(case: Case) -> tuple[Any, ...]:
        return tuple(str(part) for part in case)

    assert sorted(map(stored, rows), key=key) == sorted(asked, key=key)
    for row in rows:
        assert row.commission == stored(row).fee, row
        assert 0 <= row.commission <= row.amount
    assert findings(engine) == []


def test_preview_and_creation_say_the_same_as_integers(
    engine: Engine, merchant: TestUser, source: random.Random
) -> None:
    for case in cases(source, 40):
        kept = schedule(
            engine,
            merchant,
            case.rate,
            case.fixed,
            case.minimum,
            case.maximum,
            currency=case.currency,
        )
        shown = preview(engine, merchant, case.text, case.currency)
        made = make_transaction(engine, merchant, amount=case.text, currency=case.currency)
        assert shown.commission.amount == case.fee, case
        assert (str(shown.commission), str(shown.net)) == (made["commission"], made["net"])
        assert shown.terms.schedule_id == kept.id
        assert made["fee_schedule"]["id"] == str(kept.id)
        # What is spelled out ends in the same sum.
        assert shown.steps[-1] == f"net: {shown.amount} - {shown.commission} = {shown.net}"
    assert findings(engine) == []


@pytest.mark.parametrize("off_by", [-1, 1])
def test_the_database_refuses_a_commission_beside_the_rule(
    engine: Engine, merchant: TestUser, superuser: Engine, off_by: int
) -> None:
    schedule(engine, merchant, "0.029", 300, 500, 900)
    made = make_transaction(engine, merchant)
    with superuser.connect() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        with pytest.raises(IntegrityError) as caught:
            connection.execute(
                text("UPDATE transactions SET commission = commission + :off WHERE id = :id"),
                {"off": off_by, "id": made["id"]},
            )
    assert constraint_name(caught.value) == "ck_transactions_commission_rule"


def test_json_of_a_fee_has_the_digits_of_its_currency(engine: Engine, merchant: TestUser) -> None:
    wanted = {
        "JPY": ("1000", "32", "3", "5", "900"),
        "KWD": ("1.000", "0.032", "0.003", "0.005", "0.900"),
        "USDT": ("1.000000", "0.000900", "0.000003", "0.000005", "0.000900"),
        "BTC": ("0.00001000", "0.00000032", "0.00000003", "0.00000005", "0.00000900"),
        "TON": ("1.000000000", "0.000000900", "0.000000003", "0.000000005", "0.000000900"),
    }
    for currency, (amount, taken, fixed, minimum, maximum) in wanted.items():
        kept = schedule(engine, merchant, "0.029", 3, 5, 900, currency=currency)
        made = make_transaction(engine, merchant, amount=amount, currency=currency)
        assert made["commission"] == taken
        assert json.dumps(made["fee_schedule"]) == json.dumps(
            {
                "id": str(kept.id),
                "rate": "0.029",
                "fixed": fixed,
                "minimum": minimum,
                "maximum": maximum,
            }
        )
