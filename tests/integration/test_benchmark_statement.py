"""The benchmarks' pgbench scripts run the product's statements as they stand today."""

import subprocess

import pytest
from sqlalchemy import make_url, text

from benchmarks.contenders import create_script
from benchmarks.ledger import confirm_script, pending, without_balances
from benchmarks.stage import Prepared, pgbench_environment, postgres_program
from standart.services.transaction_sql import SETTLE_BY_KEY
from tests.integration.books import findings


def pgbench(url, path, options):
    subprocess.run(
        [
            *[postgres_program("pgbench"), "--no-vacuum", "--protocol=prepared", "--client=2"],
            *["--transactions=10", f"--file={path}", *options],
        ],
        env=pgbench_environment(url),
        capture_output=True,
        check=True,
    )


def test_the_script_creates_a_transaction_and_keeps_its_answer_each_time(
    engine, connection, merchant, migrated, tmp_path
):
    url = make_url(migrated.app_url)
    script, options = create_script(Prepared(url, make_url(migrated.owner_url), merchant.key))
    path = tmp_path / "create.sql"
    path.write_text(script)

    pgbench(url, path, options)

    made = connection.execute(text("SELECT user_id, status, currency, amount FROM transactions"))
    rows = made.all()
    assert len(rows) == 20
    assert {(row.user_id, row.status, row.currency) for row in rows} == {
        (merchant.id, "pending", "RUB")
    }
    assert all(100 <= row.amount <= 500_000 for row in rows)
    kept = connection.execute(
        text(
            "SELECT count(*) FROM idempotency_keys k JOIN transactions t"
            " ON t.id = CAST(CAST(k.body AS json) ->> 'id' AS uuid) WHERE k.status = 201"
        )
    )
    assert kept.scalar_one() == 20


@pytest.fixture
def confirmed_by_script(superuser, merchant, admin, migrated, tmp_path):
    """Let pgbench confirm 20 prepared transactions by a statement; return nothing."""

    def confirm(statement):
        with superuser.begin() as prepared:
            for sql in pending("bench", [str(merchant.id)], 20):
                prepared.execute(text(sql))
        script, options = confirm_script("bench", admin.key, statement)
        path = tmp_path / "confirm.sql"
        path.write_text(script)
        pgbench(make_url(migrated.app_url), path, options)

    yield confirm
    with superuser.begin() as prepared:
        prepared.execute(text("DROP SEQUENCE next_bench"))


COUNTS = text(
    """
    SELECT (SELECT count(*) FROM transactions WHERE status = 'confirmed'),
        (SELECT count(*) FROM journals), (SELECT count(*) FROM entries),
        (SELECT count(*) FROM events),
        (SELECT count(*) FROM audit_log WHERE action = 'transaction.confirmed'),
        (SELECT count(*) FROM balance_deltas)
    """
)


def test_the_confirm_script_confirms_one_transaction_each_time(
    connection, engine, confirmed_by_script
):
    confirmed_by_script(SETTLE_BY_KEY[True, False])

    assert tuple(connection.execute(COUNTS).one()) == (20, 20, 60, 20, 20, 60)
    assert findings(engine) == []


def test_the_statement_without_balances_differs_in_nothing_else(connection, confirmed_by_script):
    confirmed_by_script(without_balances(SETTLE_BY_KEY[True, False]))

    assert tuple(connection.execute(COUNTS).one()) == (20, 20, 60, 20, 20, 0)
