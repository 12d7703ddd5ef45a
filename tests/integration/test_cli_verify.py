"""`standart verify`: a report people and programs can read, and files that can't be read."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, text

from standart.cli.verify import LONGEST_LINE
from standart.db import autocommit
from standart.services import (
    close_service,
    ledger_service,
    seal_service,
    transaction_service,
    verify_service,
)
from standart.services.proof import queries, report, schema
from tests import movements
from tests.builders import ORIGIN, TestUser, make_transaction
from tests.integration.chain_attacks import behind, change_everywhere
from tests.integration.chain_attacks import run as run_sql
from tests.integration.commands import Run
from tests.integration.movements import refund, refund_key

HASH = "ab" * 32
UTC_ZONE = ZoneInfo("UTC")


def test_the_report_says_what_was_covered(
    run: Run, connection: Connection, merchant: TestUser
) -> None:
    mover = movements.Mover(connection, merchant.id)
    mover.adjust(1_000)
    mover.adjust(2_000)
    seal_service.seal(connection)
    mover.adjust(500)
    head = json.loads(run("verify", "--json").stdout)["covered"]["chain_head"]

    done = run("verify", "--expect-head", f"1:{head['hash']}", "--expect-head", head["hash"])

    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert [line.split() for line in lines[1 : 1 + len(verify_service.INVARIANTS)]] == [
        [name, "ok"] for name in verify_service.INVARIANTS
    ]
    assert "covered 0 transactions, 3 journals, 6 entries, 0 closes" in lines
    assert "not sealed yet 1 journals" in lines
    assert f"head of the chain 1:{head['hash']}" in lines
    assert "compared with 2 heads kept outside" in lines
    assert lines[-1] == "the books are right"


def test_json_says_the_same_in_one_object(
    run: Run, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    adjustment = movements.Mover(connection, merchant.id).adjust(1_000)
    ledger_service.fold_deltas(connection)
    seal_service.seal(connection)
    with behind(superuser) as attacking:
        change_everywhere(attacking, shop=merchant.id, adjustment=adjustment)

    done = run("verify", "--json")

    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (said["right"], said["broken"]) == (False, 1)
    assert said["covered"]["sealed_journals"] == 1
    assert said["covered"]["unsealed_journals"] == 0
    assert [each["name"] for each in said["invariants"]] == list(verify_service.INVARIANTS)
    (broken,) = [each for each in said["invariants"] if each["broken"]]
    assert broken["name"] == "sealed_journals_are_unchanged"
    assert str(merchant.id) in broken["findings"][0]["subject"]


def test_the_report_says_since_when_no_event_may_be_missing(run: Run, superuser: Engine) -> None:
    """Whoever raises the watermark to hide a missing event shows it to everybody."""
    assert json.loads(run("verify", "--json").stdout)["covered"]["events_from"] is None
    with behind(superuser) as attacking:
        run_sql(attacking, "UPDATE event_clock SET purged_before = '2026-11-01T00:00:00Z'")
    told = "2026-11-01T00:00:00.000000Z"
    assert json.loads(run("verify", "--json").stdout)["covered"]["events_from"] == told
    assert f"events are kept from {told} on" in run("verify").stdout.splitlines()


def test_too_much_to_name_is_counted(
    run: Run, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    mover = movements.Mover(connection, merchant.id)
    total = queries.NAMED + 5
    for _ in range(total):
        mover.adjust(10)
    with behind(superuser) as attacking:
        run_sql(attacking, "DELETE FROM audit_log WHERE action = 'adjustment.posted'")

    done = run("verify")

    assert done.exit_code == 1
    named = [line for line in done.stdout.splitlines() if line.startswith("act_has_audit_row: ")]
    assert len(named) == report.SHOWN + 1
    assert named[-1] == f"act_has_audit_row: {total - report.SHOWN} more"
    assert f"{total} broken: the books are not right" in done.stderr


def test_an_export_is_compared_seal_by_seal(
    run: Run, connection: Connection, superuser: Engine, merchant: TestUser, tmp_path: Path
) -> None:
    mover = movements.Mover(connection, merchant.id)
    for amount in (10, 20, 30):
        mover.adjust(amount)
        assert run("seal", "--export", "kept.jsonl").exit_code == 0
    right = run("verify", "--expect-export", "kept.jsonl")
    assert right.exit_code == 0
    assert "compared with 3 heads kept outside" in right.stdout

    with behind(superuser) as attacking:
        run_sql(attacking, "DELETE FROM seals WHERE number = 3")
    wrong = run("verify", "--expect-export", "kept.jsonl")
    assert wrong.exit_code == 1
    assert "the chain was cut: it ends with seal 2" in wrong.stdout


BROKEN_LINES = {
    "no JSON": b"seal 1",
    "half a line": b'{"number": 1, "ha',
    "no object": b"[1]",
    "no hash": b'{"number": 1}',
    "a short hash": b'{"number": 1, "hash": "ab"}',
    "number nought": b'{"number": 0, "hash": "%s"}' % HASH.encode(),
    "a number of letters": b'{"number": "1", "hash": "%s"}' % HASH.encode(),
    "a broken number": b'{"number": 1.5, "hash": "%s"}' % HASH.encode(),
    "a huge number": b'{"number": 1%s, "hash": "%s"}' % (b"0" * 400, HASH.encode()),
    "other bytes": b'{"number": 1, "hash": "\xff"}',
    "another encoding": '{"number": 1}'.encode("utf-16"),
    "deep": b"[" * 50_000,
}


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_a_broken_file_is_one_error_with_its_line(run: Run, tmp_path: Path, line: str) -> None:
    right = json.dumps({"number": 1, "hash": HASH}).encode()
    (tmp_path / "kept.jsonl").write_bytes(right + b"\n\n" + BROKEN_LINES[line] + b"\n")

    done = run("verify", "--expect-export", "kept.jsonl")

    assert (done.exit_code, done.stdout) == (2, "")
    assert "line 3 is no seal" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_line_without_an_end_is_not_read_to_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_bytes(b" " * (LONGEST_LINE + 1))
    done = run("verify", "--expect-export", "kept.jsonl")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "line 1 is too long" in done.stderr


@pytest.mark.parametrize("head", ["", "1:", HASH[:-1], f"x:{HASH}", f"-1:{HASH}"])
def test_a_head_that_is_none_is_refused(run: Run, head: str) -> None:
    done = run("verify", "--expect-head", head)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--expect-head must be HASH or NUMBER:HASH" in done.stderr


def test_a_writer_never_waits_for_a_proof(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    """The whole proof holds no lock but those of reading, and the writer's work is done beside."""
    made = UUID(make_transaction(engine, merchant)["id"])
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as reading:
        assert list(verify_service.verify(reading)) == []
        modes = reading.scalars(
            text("SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND granted")
        )
        assert set(modes) <= {"AccessShareLock", "ExclusiveLock"}
        with autocommit(engine) as writing:
            writing.execute(text("SET lock_timeout = '1ms'"))
            answer = transaction_service.confirm(writing, admin.digest, ORIGIN, made)
            assert seal_service.seal(writing) == 1
            writing.execute(text("SET lock_timeout = '5s'"))
        assert answer.status == 200
        # The snapshot is still that of before.
        assert report.coverage(reading).journals == 0
    assert report.coverage(connection).journals == 1


def test_a_proof_may_take_longer_than_a_request(engine: Engine) -> None:
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as reading:
        reading.execute(text("SET LOCAL statement_timeout = 1"))
        reading.execute(text("SET LOCAL idle_in_transaction_session_timeout = 1000"))
        queries.prepare(reading)
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert reading.scalar(text(f"SHOW {name}")) == "0"
        reading.rollback()
        assert reading.scalar(text("SHOW statement_timeout")) == "10s"


def test_the_models_name_every_rule_of_the_schema(connection: Connection) -> None:
    """What the proof takes from the models is all that the database has."""
    named = connection.execute(
        text(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE contype IN ('c', 'f', 'u', 'p') AND connamespace = 'public'::regnamespace"
            " UNION SELECT indrelid::regclass::text, relname FROM pg_index"
            " JOIN pg_class ON oid = indexrelid WHERE indisunique"
            " AND relnamespace = 'public'::regnamespace"
        )
    )
    known = {(table.name, rule) for table in schema.tables() for rule in schema.rules(table)}
    assert {tuple(row) for row in named} - known == {("alembic_version", "alembic_version_pkc")}


def test_verify_finds_nothing_while_all_goes_on(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    """Eight threads move money, fold, seal and close; each proof meanwhile is of one moment."""
    over = threading.Event()
    refunder = refund_key(engine, merchant)
    proofs = 0

    def trade() -> int:
        done = 0
        with autocommit(engine) as own:
            while not over.is_set():
                made = UUID(make_transaction(engine, merchant)["id"])
                act = (transaction_service.cancel, transaction_service.confirm)[done % 3 > 0]
                act(own, admin.digest, ORIGIN, made)
                if done % 3 > 0:
                    refund(engine, refunder, made, "10.00")()
                done += 1
        return done

    def keep() -> int:
        kept = 0
        with autocommit(engine) as own:
            while not over.is_set():
                ledger_service.fold_deltas(own)
                seal_service.seal(own, batch=5)
                year, month = divmod(kept, 12)
                close_service.close(
                    own, admin.digest, ORIGIN, period=f"{2000 + year}-{month + 1:02}", zone=UTC_ZONE
                )
                kept += 1
        return kept

    with ThreadPoolExecutor(8) as pool:
        going = [pool.submit(trade) for _ in range(6)] + [pool.submit(keep) for _ in range(2)]
        snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
        try:
            while proofs < 4:
                with snapshot.connect() as reading:
                    assert list(verify_service.verify(reading)) == []
                    proofs += 1
        finally:
            over.set()
        assert all(each.result() > 0 for each in going)
    seal_service.seal(connection)
    with snapshot.connect() as reading:
        assert list(verify_service.verify(reading)) == []
