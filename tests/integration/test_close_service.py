"""Closing days and months: what is over, sealed and digested; once, whoever asks."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import autocommit
from standart.errors import (
    Forbidden,
    InsufficientScope,
    InvalidInput,
    NotOver,
    Unauthenticated,
    Unavailable,
)
from standart.models import Scope
from standart.services import audit_service, chain, close_service, periods, seal_service, writers
from standart.services.idempotency_service import Answer
from standart.services.key_service import KeyDigest, digest_of
from tests import movements
from tests.builders import ORIGIN, TestUser, make_key, row_counts
from tests.integration.concurrency import together, uncommitted, wait_until
from tests.integration.test_seals import breaches

UTC_ZONE = ZoneInfo("UTC")
MOSCOW = ZoneInfo("Europe/Moscow")


def close(
    connection: Connection, admin: TestUser, period: str, zone: ZoneInfo = UTC_ZONE
) -> Answer:
    return close_service.close(connection, admin.digest, ORIGIN, period=period, zone=zone)


@pytest.fixture
def yesterday(connection: Connection) -> date:
    present: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return present.astimezone(UTC).date() - timedelta(days=1)


def post_on(superuser: Engine, connection: Connection, merchant: TestUser, at: str) -> None:
    """Post a journal, and date it back behind the guards: no test can wait for a day's end."""
    movements.Mover(connection, merchant.id).adjust(1_000)
    with superuser.begin() as behind:
        behind.execute(text("SET LOCAL session_replication_role = replica"))
        behind.execute(
            text(
                "UPDATE journals SET created_at = :at WHERE id = (SELECT id FROM journals"
                " ORDER BY created_at DESC LIMIT 1)"
            ),
            {"at": at},
        )


def lines_between(connection: Connection, start: str, end: str) -> list[Any]:
    return list(
        connection.execute(
            text("SELECT * FROM journals WHERE created_at >= :start AND created_at < :end"),
            {"start": start, "end": end},
        )
    )


def test_a_closed_day_has_its_journals_digest_and_head(
    connection: Connection,
    superuser: Engine,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    yesterday: date,
) -> None:
    for clock in ("00:00:00", "23:59:59.999999"):
        post_on(superuser, connection, merchant, f"{yesterday} {clock}Z")
    movements.Mover(connection, merchant.id).adjust(5)

    answer = close(connection, admin, str(yesterday))

    closed = json.loads(answer.body)
    head = chain.last(connection)
    assert head is not None
    assert answer.status == 201
    assert closed["period"] == str(yesterday)
    assert closed["zone"] == "UTC"
    assert closed["from"] == f"{yesterday}T00:00:00.000000Z"
    assert closed["to"] == f"{yesterday + timedelta(days=1)}T00:00:00.000000Z"
    assert closed["journals"] == 2
    assert closed["chain_head"] == {"number": head.number, "hash": head.hash.hex()}
    assert closed["closed_by"] == admin.name
    assert head.total == 3
    assert breaches(engine) == []
    with Session(engine) as session:
        (record,) = audit_service.history(session, "period", str(yesterday))
    assert (record.action, record.after) == ("period.closed", closed)


def test_closing_again_answers_the_same_and_adds_nothing(
    connection: Connection, merchant: TestUser, admin: TestUser, yesterday: date
) -> None:
    first = close(connection, admin, str(yesterday))
    movements.Mover(connection, merchant.id).adjust(5)
    before = row_counts(connection)
    again = close(connection, admin, str(yesterday))
    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    assert row_counts(connection) == before


def test_a_close_of_nothing_has_the_digest_of_nothing_and_no_head(
    connection: Connection, engine: Engine, admin: TestUser
) -> None:
    closed = json.loads(close(connection, admin, "2026-02").body)
    assert closed["journals"] == 0
    assert closed["digest"] == hashlib.sha256().hexdigest()
    assert closed["chain_head"] is None
    assert breaches(engine) == []


def test_periods_are_those_of_the_zone(connection: Connection, admin: TestUser) -> None:
    closed = json.loads(close(connection, admin, "2026-03", MOSCOW).body)
    assert closed["zone"] == "Europe/Moscow"
    assert closed["from"] == "2026-02-28T21:00:00.000000Z"
    assert closed["to"] == "2026-03-31T21:00:00.000000Z"


def test_what_is_not_over_cannot_be_closed(connection: Connection, admin: TestUser) -> None:
    today = connection.execute(text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)
    before = row_counts(connection)
    for period in (f"{today:%Y-%m-%d}", f"{today:%Y-%m}", "9998-12", "2999-01-01"):
        with pytest.raises(NotOver) as refused:
            close(connection, admin, period)
        assert refused.value.members["period"] == period
    assert row_counts(connection) == before


NONE = (
    "",
    "2026",
    "2026-13",
    "2026-02-30",
    "0000-01",
    "9999-12",
    "2026-1",
    "２０２６-01",
    "2026-01\n",
    "2026-01-01T00:00:00Z",
    "today",
    "-1-01",
)


@pytest.mark.parametrize("period", NONE)
def test_a_period_that_is_none_is_refused(
    connection: Connection, admin: TestUser, period: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        close(connection, admin, period, ZoneInfo("Pacific/Honolulu"))
    assert [each.field for each in refused.value.errors] == ["period"]


def test_only_admins_close(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    reader = digest_of(make_key(engine, admin, Scope.READ))
    before = row_counts(connection)
    for caller, error in (
        (merchant.digest, InsufficientScope),
        (merchant.actor, InsufficientScope),
        (reader, InsufficientScope),
        (KeyDigest(bytes(32)), Unauthenticated),
    ):
        with pytest.raises((error, Forbidden)):
            close_service.close(connection, caller, ORIGIN, period="2026-01", zone=UTC_ZONE)
    assert row_counts(connection) == before


def test_a_close_waits_for_who_is_posting(
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
    yesterday: date,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writers, "PAUSES", (0.02,) * 1000)
    with uncommitted(engine) as writing, ThreadPoolExecutor(1) as pool:
        movements.Mover(writing, merchant.id).adjust(500, opening=True)

        def work() -> Answer:
            with autocommit(engine) as own:
                return close(own, admin, str(yesterday))

        closing = pool.submit(work)
        raised = text("SELECT dated_from > '1970-01-02' FROM book_clock")
        wait_until(lambda: bool(connection.scalar(raised)))
        assert connection.scalar(text("SELECT count(*) FROM closes")) == 0
        writing.commit()
        closed = json.loads(closing.result().body)
    assert closed["chain_head"]["number"] == 1


def test_a_close_does_not_wait_for_ever(
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
    yesterday: date,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writers, "PAUSES", (0.001,))
    with uncommitted(engine) as writing:
        movements.Mover(writing, merchant.id).adjust(500, opening=True)
        with pytest.raises(Unavailable) as refused:
            close(connection, admin, str(yesterday))
        assert refused.value.retry_after == 1
        assert connection.scalar(text("SELECT count(*) FROM closes")) == 0


def test_many_who_close_at_once_close_once(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser, yesterday: date
) -> None:
    movements.Mover(connection, merchant.id).adjust(500)

    def work() -> Answer:
        with autocommit(engine) as own:
            return close(own, admin, str(yesterday))

    answers = together([work] * 6)
    assert all(isinstance(each, Answer) for each in answers), answers
    assert sorted(each.status for each in answers) == [200] * 5 + [201]
    assert len({each.body for each in answers}) == 1
    assert breaches(engine) == []


def test_closes_and_sweeps_and_postings_at_once_leave_a_whole_chain(
    engine: Engine, connection: Connection, merchant: TestUser, admin: TestUser, yesterday: date
) -> None:
    days = [str(yesterday - timedelta(days=back)) for back in range(5)]

    def closing() -> list[int]:
        with autocommit(engine) as own:
            return [close(own, admin, day).status for day in days]

    def sealing() -> int:
        with autocommit(engine) as own:
            return sum(seal_service.seal(own, batch=3) for _ in range(10))

    def posting() -> None:
        with autocommit(engine) as own:
            for _ in range(20):
                movements.Mover(own, merchant.id).adjust(7)

    outcomes = together([closing, closing, sealing, posting])
    assert not [each for each in outcomes if isinstance(each, Exception)]
    seal_service.seal(connection)
    assert connection.scalar(text("SELECT sum(journals) FROM seals")) == 20
    assert connection.scalar(text("SELECT count(*) FROM closes")) == 5
    assert breaches(engine) == []


def test_days_begin_where_the_clock_does() -> None:
    """Brazil once put its clocks forward at midnight: the day began at one."""
    start, end = periods.bounds("2017-10-15", ZoneInfo("America/Sao_Paulo"))
    assert start == datetime(2017, 10, 15, 3, tzinfo=UTC)
    assert end - start == timedelta(hours=23)
    start, end = periods.bounds("2024-02", UTC_ZONE)
    assert end - start == timedelta(days=29)


def test_closes_are_listed_the_last_first(connection: Connection, admin: TestUser) -> None:
    for month in ("2026-02", "2026-01", "2026-03"):
        close(connection, admin, month)
    listed = close_service.list_closes(connection, admin.actor)
    assert [json.loads(body)["period"] for body, _ in listed] == ["2026-03", "2026-01", "2026-02"]
    (first, *_), number = listed, listed[0][1]
    assert first
    behind = close_service.list_closes(connection, admin.actor, before=number, limit=1)
    assert [json.loads(body)["period"] for body, _ in behind] == ["2026-01"]
