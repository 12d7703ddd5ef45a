"""What a balance was at a moment: exact, of both accounts, and never another one later."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import InsufficientBalance, InvalidInput, Unavailable
from standart.services import ledger_service, transaction_service, writers
from standart.services.ledger_service import Balance
from tests import movements
from tests.builders import ORIGIN, TestUser, make_transaction, make_user
from tests.integration.concurrency import uncommitted, wait_until

# The same by going forward from nothing, over each entry; the service goes backward.
FORWARD = text(
    """
    SELECT e.currency, coalesce(sum(e.amount) FILTER (WHERE e.kind = 'available'), 0)::bigint,
        coalesce(sum(e.amount) FILTER (WHERE e.kind = 'pending_payout'), 0)::bigint
    FROM journals j JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
    WHERE j.user_id = :user_id AND j.created_at <= :at AND e.kind IN ('available', 'pending_payout')
    GROUP BY 1 ORDER BY 1
    """
)


def now(connection: Connection) -> datetime:
    moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment


def at(connection: Connection, owner: TestUser, moment: datetime) -> list[Balance]:
    return ledger_service.holdings(connection, owner.actor, at=moment)


def test_both_accounts_are_told_now_and_at_every_posting_before(
    connection: Connection, names: dict[str, Any], admin: TestUser
) -> None:
    shop = names["shop"]
    movements.every_kind(connection, shop, names["confirmed"])
    after = movements.AFTER_EVERY_KIND
    present = Balance("RUB", after["available"], after["pending_payout"])

    assert ledger_service.holdings(connection, admin.actor, user_id=shop) == [present]
    assert ledger_service.balances(connection, admin.actor, user_id=shop) == [
        ("RUB", after["available"])
    ]

    moments = list(connection.scalars(text("SELECT created_at FROM journals ORDER BY created_at")))
    assert len(moments) == 16
    told = []
    for moment in [*moments, now(connection)]:
        found = ledger_service.holdings(connection, admin.actor, user_id=shop, at=moment)
        rows = connection.execute(FORWARD, {"user_id": shop, "at": moment}).all()
        assert found == [Balance(*row) for row in rows]
        told.append(found[0])
    assert told[0] == Balance("RUB", 9_700, 0)
    assert told[1] == Balance("RUB", 109_700, 0)
    assert told[-1] == told[-2] == present

    ledger_service.fold_deltas(connection)
    assert told == [
        *(
            ledger_service.holdings(connection, admin.actor, user_id=shop, at=moment)[0]
            for moment in moments
        ),
        present,
    ]


def test_a_posting_counts_from_its_own_moment_on(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    movements.Mover(connection, merchant.id).adjust(500, opening=True)
    moment = connection.execute(text("SELECT created_at FROM journals")).scalar_one()

    assert at(connection, merchant, moment) == [Balance("RUB", 500, 0)]
    assert at(connection, merchant, moment - timedelta(microseconds=1)) == [Balance("RUB", 0, 0)]


def test_a_currency_that_came_later_is_not_in_an_older_answer(
    connection: Connection, merchant: TestUser
) -> None:
    movements.Mover(connection, merchant.id, "KWD").adjust(1_000, opening=True)
    between = now(connection)
    before = at(connection, merchant, between)
    movements.Mover(connection, merchant.id, "JPY").adjust(7, opening=True)

    assert before == [Balance("KWD", 1_000, 0)] == at(connection, merchant, between)
    assert at(connection, merchant, now(connection)) == [
        Balance("JPY", 7, 0),
        Balance("KWD", 1_000, 0),
    ]


def test_one_merchants_past_is_not_the_others(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    other = make_user(engine, keyring)
    movements.Mover(connection, other.id).adjust(1_000)

    assert at(connection, merchant, now(connection)) == [Balance("RUB", 0, 0)]
    with pytest.raises(InvalidInput):
        ledger_service.holdings(
            connection, merchant.actor, user_id=other.id, at=datetime(2026, 1, 1, tzinfo=UTC)
        )


def test_what_is_to_come_is_refused(connection: Connection, merchant: TestUser) -> None:
    with pytest.raises(InvalidInput) as refused:
        at(connection, merchant, now(connection) + timedelta(seconds=30))
    assert [each.field for each in refused.value.errors] == ["at"]


def sleeping(superuser: Engine) -> bool:
    with superuser.connect() as connection:
        asleep = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')"
        return bool(connection.scalar(text(asleep)))


def test_who_writes_since_before_is_waited_for(
    engine: Engine, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    """The posting has its moment, its commit comes after the question."""
    with uncommitted(engine) as writing, ThreadPoolExecutor(1) as pool:
        movements.Mover(writing, merchant.id).adjust(500, opening=True)
        moment = now(connection)

        def ask() -> list[Balance]:
            with autocommit(engine) as own:
                return at(own, merchant, moment)

        answer = pool.submit(ask)
        wait_until(lambda: sleeping(superuser))
        writing.commit()
        assert answer.result() == [Balance("RUB", 500, 0)]


def test_who_writes_too_long_is_not_waited_for(
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writers, "PAUSES", (0.001, 0.001))
    with uncommitted(engine) as writing:
        movements.Mover(writing, merchant.id).adjust(500, opening=True)

        with pytest.raises(Unavailable) as refused:
            at(connection, merchant, now(connection))
        assert refused.value.retry_after == 1
        query = {"at": now(connection).isoformat()}
        answer = client.get("/balance", query_string=query, headers=merchant.headers)
        assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        # Now is another question.
        assert ledger_service.balances(connection, merchant.actor) == [("RUB", 0)]


def test_work_that_posts_nothing_is_not_waited_for(
    engine: Engine, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    """A long transaction elsewhere, with an id of its own: nothing to wait for."""
    with uncommitted(engine) as busy, superuser.connect() as reading:
        busy.execute(text("UPDATE users SET name = name"))
        reading.execute(text("SELECT count(*) FROM journals"))
        assert at(connection, merchant, now(connection)) == [Balance("RUB", 0, 0)]
        reading.rollback()
        busy.rollback()


def test_an_answer_given_among_writers_never_changes(
    engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = [UUID(make_transaction(engine, merchant)["id"]) for _ in range(80)]
    done = threading.Event()

    def confirm(own: list[UUID]) -> None:
        with autocommit(engine) as connection:
            for each in own:
                transaction_service.confirm(connection, admin.digest, ORIGIN, each)

    def pay_out() -> None:
        with autocommit(engine) as connection:
            mover = movements.Mover(connection, merchant.id)
            while not done.is_set():
                try:
                    mover.finish(mover.reserve(5_000), "paid", 5_000)
                except InsufficientBalance:
                    ledger_service.fold_deltas(connection, batch=7)

    def ask() -> dict[datetime, list[Balance]]:
        answers = {}
        with autocommit(engine) as connection:
            while not done.is_set():
                moment = now(connection)
                answers[moment] = at(connection, merchant, moment)
        return answers

    with ThreadPoolExecutor(5) as pool:
        askers = [pool.submit(ask) for _ in range(2)]
        payer = pool.submit(pay_out)
        for each in [pool.submit(confirm, made[part::2]) for part in range(2)]:
            each.result()
        done.set()
        payer.result()
        answers: dict[datetime, list[Balance]] = {}
        for asker in askers:
            answers |= asker.result()

    assert len({str(each) for each in answers.values()}) > 5
    with autocommit(engine) as connection:
        for moment, answer in answers.items():
            assert at(connection, merchant, moment) == answer
