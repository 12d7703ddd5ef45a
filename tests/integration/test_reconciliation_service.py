"""Reconciliation: every outcome, from one snapshot, the same again, and no money moved."""

from __future__ import annotations

import io
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.bank_files import layout as layouts
from standart.bank_files.layout import Layout
from standart.clock import now
from standart.encryption import Keyring
from standart.errors import ConfigurationError, Forbidden, InvalidInput, NotFound
from standart.models import Outcome
from standart.services import (
    reconciliation_list,
    reconciliation_service,
    reconciliation_sql,
    transaction_service,
)
from standart.services.access import SYSTEM
from standart.services.proof import reconciliations as proof
from standart.services.reconciliation_list import Row, Run
from standart.services.reconciliation_service import Kind, Question
from standart.services.reconciliation_spool import spool
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, overdue, row_counts
from tests.integration.books import findings
from tests.integration.concurrency import waiters
from tests.movements import Mover
from tests.world import contents

COLUMNS = "reference,amount,date,currency,direction,status,fee,purpose"
MAP = layouts.columns([",".join(f"{name}={name}" for name in COLUMNS.split(","))])


def today(days: int = 0) -> str:
    return (now() + timedelta(days=days)).date().isoformat()


def line(reference: str = "", amount: str = "100.00", **changes: str) -> str:
    """A line of a file; the direction, the status and the day are those of a payment today."""
    usual = {"reference": reference, "amount": amount, "date": today(), "direction": "in"}
    cells = usual | {"status": "paid"} | changes
    return ",".join(cells.get(name, "") for name in COLUMNS.split(","))


def kept(
    connection: Connection, *lines: str, question: Question | None = None, **layout: Any
) -> Run:
    """Reconcile a file of these lines."""
    content = "\n".join([COLUMNS, *lines]).encode()
    read = Layout(**({"currency": "RUB", "columns": MAP} | layout))
    with spool(io.BytesIO(content), "provider.csv", read) as file:
        found = reconciliation_service.run(connection, SYSTEM, file, question or Question())
    assert list(proof.check(connection)) == []
    return reconciliation_list.get_run(connection, SYSTEM, found)


def rows(connection: Connection, run: Run, outcome: Outcome | None = None) -> list[Row]:
    return reconciliation_list.rows(connection, SYSTEM, run, outcome=outcome, limit=10_000)


def told(connection: Connection, run: Run) -> list[tuple[Any, ...]]:
    """What each row says in short, in order."""
    return [
        (row.outcome.value, row.line, tuple(row.fields), row.matched_by)
        for row in rows(connection, run)
    ]


def counts(run: Run) -> dict[str, int]:
    return {each.value: run.count_of(each) for each in Outcome if run.count_of(each)}


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring)


class Books:
    """Makes transactions of a shop."""

    def __init__(self, engine: Engine, connection: Connection, admin: TestUser) -> None:
        self.engine, self.connection, self.admin = engine, connection, admin

    def pending(self, shop: TestUser, reference: str | None = None, **fields: Any) -> UUID:
        if reference is not None:
            fields["reference"] = reference
        return UUID(make_transaction(self.engine, shop, **fields)["id"])

    def paid(self, shop: TestUser, reference: str | None = None, **fields: Any) -> UUID:
        made = self.pending(shop, reference, **fields)
        self.confirm(made)
        return made

    def confirm(self, made: UUID) -> None:
        transaction_service.confirm(self.connection, self.admin.digest, ORIGIN, made)

    def canceled(self, shop: TestUser, reference: str) -> UUID:
        made = self.pending(shop, reference)
        transaction_service.cancel(self.connection, self.admin.digest, ORIGIN, made)
        return made


@pytest.fixture
def books(engine: Engine, connection: Connection, admin: TestUser) -> Books:
    return Books(engine, connection, admin)


def test_every_outcome_of_a_file(
    books: Books, connection: Connection, shop: TestUser, superuser: Engine
) -> None:
    ids = {name: books.paid(shop, name) for name in ("same", "amount", "currency", "date", "ours")}
    ids["pending"] = books.pending(shop, "pending")
    ids["canceled"] = books.canceled(shop, "canceled")
    ids["overdue"] = books.pending(shop, "overdue")
    overdue(superuser, str(ids["overdue"]))
    run = kept(
        connection,
        line("same", fee="1.50"),
        line("amount", "99.00"),
        line("currency", currency="USD"),
        line("date", date=today(-5)),
        line("pending"),
        line("canceled"),
        line("overdue"),
        line("same"),
        line("theirs", "1.00"),
    )

    assert told(connection, run) == [
        ("differing", 3, ("amount",), "reference"),
        ("differing", 4, ("currency",), "reference"),
        ("differing", 5, ("date",), "reference"),
        ("differing", 6, ("status",), "reference"),
        ("differing", 7, ("status",), "reference"),
        ("differing", 8, ("status",), "reference"),
        ("differing", 9, ("duplicate",), "reference"),
        ("missing_here", 10, (), None),
        ("missing_there", None, (), None),
        ("matched", 2, (), "reference"),
    ]
    found = rows(connection, run)
    assert [row.our_status for row in found[3:6]] == ["pending", "canceled", "expired"]
    assert found[8].transaction_id == ids["ours"]
    assert (found[8].our_amount, found[8].our_currency) == (10_000, "RUB")
    assert (found[0].amount, found[0].our_amount) == (9_900, 10_000)
    assert found[9].user_id == shop.id
    assert (run.lines, run.skipped) == (9, 0)
    assert run.starts_on == date.fromisoformat(today(-5))
    assert run.ends_before == date.fromisoformat(today(1))
    assert not run.is_clean
    sums = {(each["outcome"], each["currency"]): each for each in run.totals}
    assert sums["matched", "RUB"] == {
        "outcome": "matched",
        "direction": "in",
        "currency": "RUB",
        "count": 1,
        "amount": 10_000,
        "fee": 150,
        "our_count": 1,
        "our_amount": 10_000,
    }
    assert (sums["missing_here", "RUB"]["amount"], sums["missing_here", "RUB"]["our_count"]) == (
        100,
        0,
    )
    assert sums["missing_there", "RUB"]["our_amount"] == 10_000
    assert sums["differing", "USD"]["amount"] == 10_000
    # Money that moved by our word: neither what is unpaid nor one of ours a second time.
    differing = sums["differing", "RUB"]
    assert (differing["our_count"], differing["our_amount"]) == (6, 30_000)
    assert (differing["count"], differing["amount"]) == (6, 59_900)


def test_a_clean_file(books: Books, connection: Connection, shop: TestUser) -> None:
    made = [books.paid(shop, f"r{number}") for number in range(3)]
    run = kept(connection, *(line(f"r{number}") for number in range(3)))
    assert run.is_clean
    assert [row.transaction_id for row in rows(connection, run)] == made


def test_it_never_moves_money_and_leaves_a_trace(
    books: Books, engine: Engine, connection: Connection, shop: TestUser
) -> None:
    books.paid(shop, "a")
    books.pending(shop, "b")
    before = contents(connection)

    run = kept(connection, line("a", "1.00"), line("b"), line("c"))

    after = contents(connection)
    changed = {table for table in after if after[table] != before[table]}
    assert changed == {"reconciliations", "reconciliation_rows", "audit_log"}
    record = connection.execute(text("SELECT * FROM audit_log ORDER BY id DESC LIMIT 1")).one()
    assert (record.action, record.object_id) == ("reconciliation.run", str(run.id))
    assert record.after["sha256"] == run.file_digest.hex()
    assert findings(engine) == []


def test_the_same_file_over_the_same_books_gives_the_same_rows(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    for reference in ("twice", "twice", "thrice", "thrice", "thrice", None, None):
        books.paid(shop, reference)
    lines = [line("twice"), line("thrice", "50.00"), line("thrice"), line("thrice"), line(), line()]
    first, second = kept(connection, *lines), kept(connection, *lines)

    assert rows(connection, first) == rows(connection, second)
    assert first.totals == second.totals
    assert second.number > first.number
    assert first.file_digest == second.file_digest


def test_several_of_one_reference_are_paired_one_by_one(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    for amount in ("10.00", "20.00", "20.00"):
        books.paid(shop, "sub", amount=amount)
    run = kept(connection, line("sub", "20.00"), line("sub", "30.00"), line("sub", "20.00"))
    assert told(connection, run) == [
        ("differing", 3, ("amount",), "reference"),
        ("matched", 2, (), "reference"),
        ("matched", 4, (), "reference"),
    ]
    run = kept(connection, *[line("sub", "20.00")] * 4)
    assert counts(run) == {"differing": 2, "matched": 2}
    assert [row.fields for row in rows(connection, run)[:2]] == [["amount"], ["duplicate"]]


def test_an_id_names_a_transaction_whatever_its_case(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    made = books.paid(shop, "ref")
    run = kept(connection, line(str(made).upper()))
    assert told(connection, run) == [("matched", 2, (), "id")]


def test_a_purpose_names_one_by_a_whole_word(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    books.paid(shop, "A-17", amount="17.00")
    books.paid(shop, "A-171", amount="171.00")
    run = kept(
        connection,
        line(amount="171.00", purpose="Оплата заказа №A-171 от 01.01.2026"),
        line(amount="18.00", purpose="За A-17; НДС нет"),
    )
    assert told(connection, run) == [
        ("differing", 3, ("amount",), "reference"),
        ("matched", 2, (), "reference"),
    ]


def test_a_short_number_in_a_purpose_needs_the_same_amount(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    books.paid(shop, "1204", amount="5.00")
    said = "счет 1204"
    run = kept(connection, line(amount="6.00", purpose=said), line(amount="5.00", purpose=said))
    assert told(connection, run) == [
        ("missing_here", 2, (), None),
        ("matched", 3, (), "reference"),
    ]


def test_a_line_with_two_names_gets_the_one_that_is_left(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    for reference in ("B-1", "B-2"):
        books.paid(shop, reference)
    run = kept(connection, line("B-1"), line(purpose="B-1 B-2"))
    assert counts(run) == {"matched": 2}


def test_what_names_nothing_is_found_by_amount_and_day(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    books.paid(shop, amount="11.00")
    books.paid(shop, "ours", amount="12.00")
    books.paid(shop, amount="13.00")
    books.paid(shop, amount="14.00")
    books.paid(shop, amount="14.00")
    books.paid(shop, amount="15.00")
    run = kept(
        connection,
        line(amount="11.00", date=today(-1)),
        line("theirs", amount="12.00"),
        line(amount="13.00", date=today(-2)),
        line(amount="14.00"),
        line(amount="15.00"),
        line(amount="15.00"),
    )
    assert told(connection, run) == [
        ("differing", 3, ("reference",), "amount"),
        ("missing_here", 4, (), None),
        ("missing_here", 5, (), None),
        ("missing_here", 6, (), None),
        ("missing_here", 7, (), None),
        *[("missing_there", None, (), None)] * 4,
        ("matched", 2, (), "amount"),
    ]


@pytest.mark.parametrize(("tolerance", "found"), [(0, False), (2, False), (3, True)])
def test_the_tolerance_of_days(
    books: Books, connection: Connection, shop: TestUser, tolerance: int, found: bool
) -> None:
    books.paid(shop, "r")
    books.paid(shop, amount="7.00")
    question = Question(date_tolerance=tolerance)
    run = kept(connection, line("r", date=today(-3)), line(amount="7.00", date=today(-3)),
               line("x", "1.00"), question=question)  # fmt: skip
    assert (run.matched == 2) is found
    assert (run.differing == 1) is not found


def test_payments_that_failed_agree_with_ours_that_did(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    books.canceled(shop, "no")
    books.paid(shop, "second try")
    books.paid(shop, "yes")
    run = kept(
        connection,
        line("no", status="failed"),
        line("second try", status="failed"),
        line("second try"),
        line("yes", status="declined"),
        line("unknown", status="canceled"),
    )
    assert told(connection, run) == [
        ("differing", 5, ("status",), "reference"),
        ("missing_here", 6, (), None),
        ("matched", 2, (), "reference"),
        ("matched", 3, (), "reference"),
        ("matched", 4, (), "reference"),
    ]


def test_money_that_went_out(books: Books, connection: Connection, shop: TestUser) -> None:
    bought = books.paid(shop, "r", amount="1000.00")
    mover = Mover(connection, shop.id)
    refund = mover.refund(bought, 5_000)
    paid, failed, waiting = (mover.reserve(amount) for amount in (1_000, 2_000, 3_000))
    mover.finish(paid, "paid", 1_000)
    mover.finish(failed, "failed", 2_000)
    run = kept(
        connection,
        line("r", "1000.00"),
        line("r", "50.00", direction="refund"),
        line(str(paid), "10.00", direction="out"),
        line(str(failed), "20.00", direction="out"),
        line(str(waiting), "30.00", direction="out"),
        line(str(paid), "10.00", direction="in"),
    )
    assert told(connection, run) == [
        ("differing", 5, ("status",), "id"),
        ("differing", 6, ("status",), "id"),
        ("missing_here", 7, (), None),
        ("matched", 2, (), "reference"),
        ("matched", 3, (), "reference"),
        ("matched", 4, (), "id"),
    ]
    found = rows(connection, run, Outcome.MATCHED)
    assert (found[1].refund_id, found[2].payout_id) == (refund, paid)

    only_payments = kept(
        connection, line("r", "1000.00"), question=Question(kinds=frozenset({Kind.PAYMENT}))
    )
    assert only_payments.is_clean
    all_kinds = kept(connection, line("r", "1000.00"))
    assert counts(all_kinds) == {"missing_there": 2, "matched": 1}


def test_a_file_of_one_direction_misses_nothing_of_the_other(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    mover = Mover(connection, shop.id)
    mover.refund(books.paid(shop, "r"), 100)
    columns = {name: column for name, column in MAP.items() if name != "direction"}
    assert kept(connection, line("r"), columns=columns).is_clean


def test_a_late_payment_goes_by_the_reference_of_the_first(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    late = Mover(connection, shop.id).pay_late(books.canceled(shop, "late"))
    run = kept(connection, line("late"))
    assert run.is_clean
    assert [row.transaction_id for row in rows(connection, run)] == [late]


def test_the_books_of_one_merchant(
    books: Books, connection: Connection, shop: TestUser, engine: Engine, keyring: Keyring
) -> None:
    other = make_user(engine, keyring)
    mine, theirs = books.paid(shop, "r"), books.paid(other, "r")
    run = kept(connection, line("r"), question=Question(user_id=other.id))
    assert run.is_clean
    assert run.user_id == other.id
    assert [row.transaction_id for row in rows(connection, run)] == [theirs]
    run = kept(connection, line("r"))
    assert counts(run) == {"missing_there": 1, "matched": 1}
    assert {row.transaction_id for row in rows(connection, run)} == {mine, theirs}


def test_a_span_leaves_out_the_rest_of_a_file_and_of_the_books(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    books.paid(shop, "edge")
    books.paid(shop, "ours")
    lines = [line("edge", date=today(1)), line("old", date=today(-9)), line("new", "3.00")]
    span = Question(starts_on=date.fromisoformat(today()), ends_before=date.fromisoformat(today(1)))
    run = kept(connection, *lines, question=span)
    assert (run.lines, run.skipped) == (3, 1)
    assert counts(run) == {"missing_here": 1, "missing_there": 1, "matched": 1}

    before = Question(ends_before=date.fromisoformat(today(-1)))
    run = kept(connection, *lines, question=before)
    assert (run.skipped, counts(run)) == (2, {"missing_here": 1})


def test_days_begin_in_the_zone_of_the_file(
    books: Books, connection: Connection, shop: TestUser, superuser: Engine
) -> None:
    from zoneinfo import ZoneInfo

    made = books.paid(shop, "r")
    with superuser.begin() as breaking:
        breaking.execute(text("SET LOCAL session_replication_role = replica"))
        breaking.execute(
            text(
                "UPDATE transactions SET created_at = '2026-01-31T21:00Z',"
                " finished_at = '2026-01-31T22:30Z', expires_at = '2026-02-01T00:00Z'"
                " WHERE id = :id"
            ),
            {"id": made},
        )
    exact = Question(date_tolerance=0)
    lines = [line("r", date="2026-02-01")]
    assert kept(connection, *lines, question=exact, zone=ZoneInfo("Europe/Moscow")).is_clean
    run = kept(connection, *lines, question=exact)
    assert [row.fields for row in rows(connection, run)] == [["date"]]


def test_a_confirm_meanwhile_is_not_seen_in_part(
    books: Books,
    connection: Connection,
    shop: TestUser,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of a run is one moment: what is confirmed while it works is pending in all of it."""
    made = [books.pending(shop, reference) for reference in ("a", "b")]
    load = reconciliation_service._load

    def confirm_then(*arguments: Any) -> None:
        load(*arguments)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            for each in made:
                transaction_service.confirm(other, books.admin.digest, ORIGIN, each)

    monkeypatch.setattr(reconciliation_service, "_load", confirm_then)
    run = kept(connection, line("a"))
    assert told(connection, run) == [("differing", 2, ("status",), "reference")]
    assert run.missing_there == 0

    monkeypatch.undo()
    run = kept(connection, line("a"))
    assert counts(run) == {"missing_there": 1, "matched": 1}


def test_a_run_holds_up_no_confirm_and_waits_for_none(
    books: Books, connection: Connection, shop: TestUser, engine: Engine, superuser: Engine
) -> None:
    made = books.pending(shop, "a")
    with engine.connect() as other:
        other.begin()
        other.execute(text("SELECT FROM transactions WHERE id = :id FOR UPDATE"), {"id": made})
        run = kept(connection, line("a"))
        assert waiters(superuser) == 0
        other.rollback()
    assert run.differing == 1


def test_only_admins_reconcile(connection: Connection, shop: TestUser, admin: TestUser) -> None:
    content = f"{COLUMNS}\n{line('a')}\n".encode()
    before = row_counts(connection)
    with spool(io.BytesIO(content), "f", Layout(currency="RUB", columns=MAP)) as file:
        with pytest.raises(Forbidden):
            reconciliation_service.run(connection, shop.actor, file, Question())
        assert row_counts(connection) == before
        made = reconciliation_service.run(connection, admin.actor, file, Question())
    run = reconciliation_list.get_run(connection, admin.actor, made)
    assert run.actor_name == admin.name
    for refused in (
        lambda: reconciliation_list.get_run(connection, shop.actor, made),
        lambda: reconciliation_list.list_runs(connection, shop.actor),
        lambda: reconciliation_list.rows(connection, shop.actor, run),
    ):
        with pytest.raises(Forbidden):
            refused()


def test_runs_and_rows_are_listed_page_by_page(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    for number in range(4):
        books.paid(shop, f"m{number}")
    lines = [line(f"m{number}") for number in range(3)]
    runs = [kept(connection, *lines, line("x", "2.00"), line("y", "3.00")) for _ in range(3)]

    first = reconciliation_list.list_runs(connection, SYSTEM, limit=2)
    assert [run.id for run in first] == [runs[2].id, runs[1].id]
    rest = reconciliation_list.list_runs(connection, SYSTEM, before=first[-1].number)
    assert [run.id for run in rest] == [runs[0].id]
    assert reconciliation_list.get_run(connection, SYSTEM, runs[0].number) == runs[0]
    with pytest.raises(NotFound):
        reconciliation_list.get_run(connection, SYSTEM, 10**9)

    whole = rows(connection, runs[0])
    assert [row.number for row in whole] == [1, 2, 3, 4, 5, 6]
    paged: list[Row] = []
    while page := reconciliation_list.rows(
        connection, SYSTEM, runs[0], after=paged[-1].number if paged else 0, limit=4
    ):
        paged += page
    assert paged == whole
    for outcome in Outcome:
        assert rows(connection, runs[0], outcome) == [
            row for row in whole if row.outcome is outcome
        ]


@pytest.mark.parametrize(
    "question",
    [
        Question(date_tolerance=-1),
        Question(date_tolerance=32),
        Question(starts_on=date(2026, 1, 2), ends_before=date(2026, 1, 2)),
        Question(ends_before=date(1999, 1, 1)),
    ],
    ids=["less than no tolerance", "tolerance of months", "empty span", "span that ends first"],
)
def test_a_question_that_makes_no_sense(connection: Connection, question: Question) -> None:
    before = row_counts(connection)
    with pytest.raises(InvalidInput):
        kept(connection, line("a"), question=question)
    assert row_counts(connection) == before


def test_what_breaks_on_the_way_leaves_nothing(
    books: Books, connection: Connection, shop: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.paid(shop, "a")
    before = row_counts(connection)
    monkeypatch.setattr(reconciliation_sql, "KEEP_ROWS", "SELECT 1 / 0 WHERE :id IS NOT NULL")
    with pytest.raises(Exception, match="division by zero"):
        kept(connection, line("a"))
    assert row_counts(connection) == before
    monkeypatch.undo()
    assert kept(connection, line("a")).is_clean


def test_a_role_without_temporary_tables_is_told_the_remedy(
    connection: Connection, superuser: Engine
) -> None:
    database = connection.scalar(text("SELECT current_database()"))
    with superuser.begin() as breaking:
        breaking.execute(text(f"REVOKE TEMPORARY ON DATABASE {database} FROM standart_app"))
    try:
        with pytest.raises(ConfigurationError, match="GRANT TEMPORARY"):
            kept(connection, line("a"))
    finally:
        with superuser.begin() as mending:
            mending.execute(text(f"GRANT TEMPORARY ON DATABASE {database} TO standart_app"))


def test_equal_amounts_by_the_thousand_are_no_work(
    books: Books, connection: Connection, shop: TestUser
) -> None:
    """Many equal payments without a name are compared day by day, not one by one."""
    books.paid(shop, amount="5.00")
    run = kept(connection, *[line(amount="5.00")] * 3_000)
    assert counts(run) == {"missing_here": 3_000, "missing_there": 1}
    run = kept(connection, *[line("same", amount="5.00")] * 3_000)
    assert counts(run) == {"missing_here": 3_000, "missing_there": 1}
