"""What is kept beside the money: answers for a day, the audit log, signs of life."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from standart.errors import IdempotencyKeyReused
from standart.services import audit_service, heartbeat_service, idempotency_service
from standart.services.access import SYSTEM, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from tests.builders import TestUser, row_counts

CLAIM = IdempotencyClaim.of("/create_transaction", "k", b"{}")
ANSWER = Answer(201, '{"a": 1}')


def age_answers(superuser: Engine, interval: str) -> None:
    with superuser.begin() as connection:
        connection.execute(
            text("UPDATE idempotency_keys SET created_at = created_at - CAST(:by AS interval)"),
            {"by": interval},
        )


def test_a_kept_answer_is_replayed_byte_for_byte(
    connection: Connection, merchant: TestUser
) -> None:
    assert idempotency_service.replay(connection, merchant.id, CLAIM) is None
    assert idempotency_service.keep(connection, merchant.id, CLAIM, ANSWER)

    replayed = idempotency_service.replay(connection, merchant.id, CLAIM)

    assert replayed == Answer(201, ANSWER.body, replayed=True)
    other = IdempotencyClaim.of(CLAIM.path, CLAIM.key, b"[]")
    with pytest.raises(IdempotencyKeyReused):
        idempotency_service.replay(connection, merchant.id, other)


def test_the_first_answer_stays_for_its_day(
    connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    second = Answer(200, json.dumps({"b": 2}))
    idempotency_service.keep(connection, merchant.id, CLAIM, ANSWER)

    assert not idempotency_service.keep(connection, merchant.id, CLAIM, second)
    age_answers(superuser, "24 hours")
    assert idempotency_service.replay(connection, merchant.id, CLAIM) is None
    assert idempotency_service.keep(connection, merchant.id, CLAIM, second)

    replayed = idempotency_service.replay(connection, merchant.id, CLAIM)
    assert replayed is not None
    assert (replayed.status, replayed.body) == (200, second.body)


def test_answers_are_purged_after_their_day_in_batches(
    connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    for number in range(5):
        claim = IdempotencyClaim.of("/create_transaction", f"old-{number}", b"")
        idempotency_service.keep(connection, merchant.id, claim, ANSWER)
    age_answers(superuser, "24 hours")
    idempotency_service.keep(connection, merchant.id, CLAIM, ANSWER)

    assert [idempotency_service.purge(connection, batch=2) for _ in range(4)] == [2, 2, 1, 0]

    assert idempotency_service.replay(connection, merchant.id, CLAIM) is not None
    assert row_counts(connection)["idempotency_keys"] == 1


def test_two_purges_share_the_work(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    for number in range(4):
        claim = IdempotencyClaim.of("/create_transaction", f"old-{number}", b"")
        idempotency_service.keep(connection, merchant.id, claim, ANSWER)
    age_answers(superuser, "25 hours")

    with engine.begin() as other:
        assert idempotency_service.purge(other, batch=3) == 3
        assert idempotency_service.purge(connection, batch=3) == 1

    assert row_counts(connection)["idempotency_keys"] == 0


def test_the_audit_log_says_who_did_what_from_where(
    engine: Engine, connection: Connection, admin: TestUser
) -> None:
    actor = admin.actor.at(Origin("panel", "req-7", "192.0.2.7"))
    with Session(engine) as session:
        audit_service.record(session, actor, "thing.made", "thing", "t-1", after={"n": 1})
        audit_service.record(
            session, SYSTEM, "thing.changed", "thing", "t-1", before={"n": 1}, after={"n": 2}
        )
        audit_service.record(session, SYSTEM, "thing.made", "thing", "t-2")
        session.commit()
        made, changed = audit_service.history(session, "thing", "t-1")

    assert (made.actor_id, made.actor_name, made.channel) == (admin.id, admin.name, "panel")
    assert (made.request_id, made.ip, made.before) == ("req-7", "192.0.2.7", None)
    assert (changed.actor_id, changed.actor_name, changed.channel) == (None, "system", "system")
    assert (changed.before, changed.after) == ({"n": 1}, {"n": 2})
    nothing = text("SELECT before IS NULL AND after IS NULL FROM audit_log WHERE object_id = 't-2'")
    assert connection.scalar(nothing) is True


def test_an_audit_record_lives_and_dies_with_its_unit_of_work(
    engine: Engine, connection: Connection
) -> None:
    with Session(engine) as session:
        audit_service.record(session, SYSTEM, "thing.made", "thing", "t-1")
        session.rollback()

    assert row_counts(connection)["audit_log"] == 0


def test_a_heartbeat_is_as_old_as_its_last_beat(connection: Connection, superuser: Engine) -> None:
    assert heartbeat_service.ages(connection) == {}
    heartbeat_service.beat(connection, "sweep")
    heartbeat_service.beat(connection, "delivery")
    with superuser.begin() as other:
        other.execute(text("UPDATE heartbeats SET seen_at = seen_at - interval '1 hour'"))
    heartbeat_service.beat(connection, "sweep")

    ages = heartbeat_service.ages(connection)

    assert set(ages) == {"sweep", "delivery"}
    assert 0 <= ages["sweep"] < 3600 <= ages["delivery"]


def test_a_heartbeat_cannot_be_forgotten_by_the_service(connection: Connection) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text("DELETE FROM heartbeats"))
