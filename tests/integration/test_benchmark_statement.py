"""The benchmark's pgbench script runs the create statement as it stands today."""

import subprocess

from sqlalchemy import make_url, text

from benchmarks.contenders import create_script
from benchmarks.stage import Prepared, pgbench_environment, postgres_program


def test_the_script_creates_a_transaction_and_keeps_its_answer_each_time(
    engine, connection, merchant, migrated, tmp_path
):
    url = make_url(migrated.app_url)
    script, options = create_script(Prepared(url, make_url(migrated.owner_url), merchant.key))
    path = tmp_path / "create.sql"
    path.write_text(script)

    subprocess.run(
        [
            *[postgres_program("pgbench"), "--no-vacuum", "--protocol=prepared", "--client=2"],
            *["--transactions=10", f"--file={path}", *options],
        ],
        env=pgbench_environment(url),
        capture_output=True,
        check=True,
    )

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
