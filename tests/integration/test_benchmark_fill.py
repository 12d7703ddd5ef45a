"""The generator of large databases: what it makes must be as right as what the services make."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from benchmarks.fill import AlreadyFilled, Options, fill
from standart.encryption import Keyring
from standart.services import transaction_list
from standart.services.access import SYSTEM
from tests import builders
from tests.integration.books import findings


@pytest.fixture
def marked(superuser: Engine) -> Iterator[None]:
    """The filling moves the watermark of the purge; the next test finds it as it was."""
    yield
    with superuser.begin() as connection:
        connection.execute(text("UPDATE event_clock SET purged_before = NULL"))


def options(**changes: object) -> Options:
    return Options(
        **{
            "transactions": 900,
            "merchants": 12,
            "pending": 0.01,
            "refunds": 0.2,
            "batch": 400,
            "until": datetime.now(UTC).replace(microsecond=0),
            **changes,
        }
    )


# A condition that PostgreSQL reads for the second time has its casts in other places.
INDEXES = text(
    r"SELECT indexname, regexp_replace(indexdef, '\:\:(character varying|text)|[][()]', '', 'g')"
    " FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
)
BY_STATUS = text("SELECT status, count(*) FROM transactions GROUP BY 1")
BY_USER = text("SELECT count(*) FROM transactions GROUP BY user_id ORDER BY 1 DESC")


@pytest.mark.usefixtures("marked")
def test_what_is_filled_in_proves_right_and_looks_like_a_service(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring
):
    before = connection.execute(INDEXES).all()
    fill(superuser, keyring, options())
    assert findings(engine) == []
    assert connection.execute(INDEXES).all() == before
    counts = dict(connection.execute(BY_STATUS).all())
    assert counts.keys() == {"pending", "confirmed", "canceled", "expired"}
    assert counts["confirmed"] > 9 * counts["canceled"] > 0
    first, second, *_ = connection.scalars(BY_USER)
    assert first > 2 * second
    for table in (
        "refunds",
        "payouts",
        "events",
        "deliveries",
        "attempts",
        "adjustments",
        "reconciliations",
        "reconciliation_rows",
    ):
        assert connection.scalar(text(f"SELECT count(*) FROM {table}")) > 0, table
    assert len(transaction_list.list_transactions(connection, SYSTEM, limit=50)) == 50


@pytest.mark.usefixtures("marked")
def test_one_merchant_can_have_all_of_it_confirmed(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring
):
    fill(
        superuser,
        keyring,
        options(
            transactions=300,
            merchants=1,
            confirmed=1.0,
            canceled=0.0,
            pending=0.0,
            until=datetime.now(UTC) - timedelta(hours=1),
        ),
    )
    counts = dict(connection.execute(BY_STATUS).all())
    assert sum(counts.values()) == 300
    assert counts["confirmed"] >= 299
    assert findings(engine) == []


ALL_OF_IT = text("SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM transactions t")


@pytest.mark.usefixtures("marked")
def test_the_same_seed_makes_the_same_payments(
    connection: Connection, superuser: Engine, keyring: Keyring
):
    wanted = options(transactions=50, seed=7, until=datetime(2026, 5, 1, tzinfo=UTC))
    fill(superuser, keyring, wanted)
    made = connection.scalar(ALL_OF_IT)
    with pytest.raises(AlreadyFilled):
        fill(superuser, keyring, options())
    builders.empty(superuser)
    fill(superuser, keyring, wanted)
    assert connection.scalar(ALL_OF_IT) == made
