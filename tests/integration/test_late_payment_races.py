"""Late payments from many threads, beside sweeps and confirms: one each, or none."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import IdempotencyKeyInFlight, NotLate, NotPending, SecondPersonRequired
from standart.models import Role
from standart.services import late_payment_service, transaction_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.late_payment_service import LatePayment
from tests.builders import ORIGIN, SHORT, TestUser, make_transaction, make_user, overdue
from tests.integration.books import findings
from tests.integration.concurrency import (
    PATIENCE,
    blocked,
    outcome,
    together,
    uncommitted,
    wait_until,
)
from tests.integration.movements import balance, body, late
from tests.integration.test_races import ALMOST_OVERDUE

CROWD = 24
ABOVE_FIFTY = {"RUB": 50_00}


def told(outcomes: list[Any]) -> Counter[Any]:
    """How often which status or error came."""
    return Counter(each.status if isinstance(each, Answer) else type(each) for each in outcomes)


def lates(connection: Connection) -> int:
    query = text("SELECT count(*) FROM transactions WHERE late_for IS NOT NULL")
    return int(connection.execute(query).scalar_one())


def ended(
    connection: Connection, engine: Engine, superuser: Engine, owner: TestUser, state: str
) -> UUID:
    made = UUID(make_transaction(engine, owner)["id"])
    if state == "canceled":
        transaction_service.cancel(connection, owner.digest, ORIGIN, made)
    else:
        overdue(superuser, str(made))
    return made


def sweeping(engine: Engine) -> Callable[[], int]:
    def run() -> int:
        with autocommit(engine) as own:
            return transaction_service.expire_overdue(own)

    return run


@pytest.mark.parametrize("state", ["canceled", "overdue"])
def test_a_crowd_records_one(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    state: str,
) -> None:
    old_id = ended(connection, engine, superuser, merchant, state)
    outcomes = together([late(engine, admin.digest, old_id) for _ in range(CROWD)])
    assert told(outcomes) == {201: 1, 200: CROWD - 1}
    assert len({each.body for each in outcomes}) == 1
    assert lates(connection) == 1
    assert balance(connection, merchant) == 9700
    assert findings(engine) == []


def test_sweeps_and_late_payments_end_each_old_one_once(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_ids = [ended(connection, engine, superuser, merchant, "overdue") for _ in range(12)]
    acts = [late(engine, admin.digest, id_) for id_ in old_ids] + [sweeping(engine)] * 12
    outcomes = together(acts)
    assert told(outcomes[:12]) == {201: 12}
    assert lates(connection) == 12
    events = connection.execute(text("SELECT type, count(*) FROM events GROUP BY type"))
    assert {row.type: row.count for row in events} == {
        "transaction.expired": 12,
        "transaction.confirmed": 12,
    }
    assert balance(connection, merchant) == 12 * 9700
    assert findings(engine) == []


def test_a_payment_is_in_time_or_late_and_never_both(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
) -> None:
    """Confirms and late payments at the moment of the expiry: the clock decides for all."""
    rounds = 120
    made = [UUID(make_transaction(engine, merchant)["id"]) for _ in range(rounds)]
    barrier = threading.Barrier(6)

    def left(number: int) -> float:
        """Seconds; every ninth is overdue from the start, every ninth has all the time."""
        return 5.0 if number % 9 == 8 else 0.001 * (number % 9)

    def racer(act: Callable[[Connection, UUID], Any]) -> list[Any]:
        seen = []
        with autocommit(engine) as own:
            for number, id_ in enumerate(made):
                if barrier.wait(PATIENCE) == 0:
                    with superuser.begin() as other:
                        other.execute(text("SET LOCAL session_replication_role = replica"))
                        other.execute(ALMOST_OVERDUE, {"id": id_, "seconds": left(number)})
                barrier.wait(PATIENCE)
                seen.append(outcome(lambda id_=id_: act(own, id_)))
        return seen

    def confirming(own: Connection, id_: UUID) -> Answer:
        return transaction_service.confirm(own, admin.digest, ORIGIN, id_)

    def recording(own: Connection, id_: UUID) -> Answer:
        payment = LatePayment(transaction_id=id_)
        return late_payment_service.record_late_payment(own, admin.digest, ORIGIN, payment)

    acts = [confirming, recording] * 3
    with ThreadPoolExecutor(len(acts)) as pool:
        seen = list(pool.map(racer, acts))
    transaction_service.expire_overdue(connection)

    for number, id_ in enumerate(made):
        kept = json.loads(transaction_service.check(connection, admin.digest, ORIGIN, id_).body)
        confirms = [shares[number] for shares in seen[::2]]
        records = [shares[number] for shares in seen[1::2]]
        if kept["status"] == "confirmed":
            # Whoever confirmed before the expiry is told so by every later confirm as well.
            assert {type(each) for each in confirms} == {Answer}
            assert {type(each) for each in records} == {NotLate}
        else:
            assert kept["status"] == "expired"
            assert {type(each) for each in confirms} == {NotPending}
            assert {type(each) for each in records} <= {Answer, NotLate}
            statuses = [each.status for each in records if isinstance(each, Answer)]
            assert statuses.count(201) == (1 if statuses else 0)
    states = Counter(
        dict(
            connection.execute(
                text(
                    "SELECT CASE WHEN late_for IS NULL THEN status ELSE 'late' END, count(*)"
                    " FROM transactions GROUP BY 1"
                )
            ).all()
        )
    )
    assert states["confirmed"] + states["expired"] == rounds
    assert min(states["confirmed"], states["late"]) >= rounds // 9
    assert balance(connection, merchant) == 9700 * (states["confirmed"] + states["late"])
    assert findings(engine) == []


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
def test_who_waits_for_a_confirm_learns_whether_it_was_in_time(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    commits: bool,
) -> None:
    """The confirm came in time and commits after the expiry: the money is not counted twice."""
    made = UUID(make_transaction(engine, merchant, ttl=SHORT)["id"])
    is_overdue = text("SELECT expires_at <= clock_timestamp() FROM transactions")
    with uncommitted(engine) as rival:
        transaction_service.confirm(rival, admin.digest, ORIGIN, made)
        wait_until(lambda: bool(connection.scalar(is_overdue)))
        with blocked(superuser, late(engine, admin.digest, made)) as waiting:
            rival.commit() if commits else rival.rollback()
    result = waiting.result()
    if commits:
        assert isinstance(result, NotLate)
        assert result.members == {"transaction_status": "confirmed"}
    else:
        assert (result.status, body(result)["late_for"]) == (201, str(made))
    assert balance(connection, merchant) == 9700
    assert findings(engine) == []


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
def test_a_confirm_that_waits_for_a_late_payment_comes_too_late_in_any_case(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    commits: bool,
) -> None:
    old_id = ended(connection, engine, superuser, merchant, "overdue")

    def confirm() -> Answer:
        with autocommit(engine) as own:
            return transaction_service.confirm(own, admin.digest, ORIGIN, old_id)

    with uncommitted(engine) as rival:
        payment = LatePayment(transaction_id=old_id)
        late_payment_service.record_late_payment(rival, admin.digest, ORIGIN, payment)
        with blocked(superuser, confirm) as waiting:
            rival.commit() if commits else rival.rollback()
    result = waiting.result()
    assert isinstance(result, NotPending)
    assert result.members == {"transaction_status": "expired"}
    assert lates(connection) == commits
    assert findings(engine) == []


@pytest.mark.parametrize("state", ["canceled", "overdue"])
def test_of_many_admins_the_second_one_records(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    merchant: TestUser,
    state: str,
) -> None:
    admins = [make_user(engine, keyring, role=Role.ADMIN) for _ in range(8)]
    old_id = ended(connection, engine, superuser, merchant, state)
    outcomes = together([late(engine, each.digest, old_id, alone=ABOVE_FIFTY) for each in admins])
    assert told(outcomes) == {202: 1, 201: 1, 200: 6}
    assert connection.scalar(text("SELECT count(*) FROM approvals")) == 2
    assert lates(connection) == 1
    assert findings(engine) == []


def test_one_admin_in_a_hurry_is_still_one_person(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_id = ended(connection, engine, superuser, merchant, "canceled")
    acts = [late(engine, admin.digest, old_id, alone=ABOVE_FIFTY) for _ in range(CROWD)]
    assert told(together(acts)) == {202: 1, SecondPersonRequired: CROWD - 1}
    assert lates(connection) == 0


def test_a_crowd_with_one_key_hears_one_answer(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    old_id = ended(connection, engine, superuser, merchant, "canceled")
    claim = IdempotencyClaim.of("/record_late_payment", "k", b"{}")
    outcomes = together([late(engine, admin.digest, old_id, claim=claim) for _ in range(CROWD)])
    answers = [each for each in outcomes if isinstance(each, Answer)]
    assert {type(each) for each in outcomes} <= {Answer, IdempotencyKeyInFlight}
    assert {(each.status, each.body) for each in answers} == {(201, answers[0].body)}
    assert lates(connection) == 1


def test_a_request_that_runs_many_times_is_one_late_payment(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    """As when a connection dies while its commit is still on the way."""
    request = late(engine, admin.digest, ended(connection, engine, superuser, merchant, "canceled"))
    outcomes = together([request] * CROWD)
    assert set(outcomes) == {Answer(201, outcomes[0].body)}
    assert lates(connection) == 1
