"""Statements: what they say, whose they are, and that what is closed never changes by a byte."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.clock import new_id
from standart.db import autocommit, transaction
from standart.documents.formats import FORMATS
from standart.documents.statement import Head, Movement
from standart.encryption import Keyring
from standart.errors import InvalidInput, Unavailable
from standart.models import User
from standart.services import (
    chain,
    close_service,
    seal_service,
    statement_opening,
    statement_service,
    statement_stream,
    user_service,
    writers,
)
from standart.services.access import SYSTEM
from standart.services.statement_service import Statement
from standart.services.statement_span import Asked
from tests import movements
from tests.builders import ORIGIN, TestUser, make_user
from tests.integration.concurrency import uncommitted, wait_until
from tests.many import fill

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def present(connection: Connection) -> datetime:
    found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return found


def opened(connection: Connection, owner: TestUser, **asked: Any) -> Statement:
    currency = asked.pop("currency", None)
    return statement_service.open_statement(
        connection, owner.actor, currency=currency, asked=Asked(**asked)
    )


def read(connection: Connection, statement: Statement) -> list[Movement]:
    return list(statement.movements(lambda work: work(connection)))


def date_all(superuser: Engine, at: datetime) -> None:
    """Date all journals alike, behind the guards."""
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE journals SET created_at = :at"), {"at": at})


def test_each_kind_of_movement_stands_in_its_columns(
    connection: Connection, names: dict[str, Any]
) -> None:
    ids = movements.every_kind(connection, names["shop"], names["confirmed"])
    statement = statement_service.open_statement(
        connection, SYSTEM, user_id=names["shop"], asked=Asked(period="7d")
    )
    found = read(connection, statement)

    def told(each: Movement) -> dict[str, int]:
        columns = ("gross", "commission", "refunded", "commission_returned", "paid_out")
        columns += ("adjusted", "net", "reserved")
        return {name: getattr(each, name) for name in columns if getattr(each, name)}

    by_source = {(each.kind, each.source_id): each for each in found}
    assert len(by_source) == len(found) == 16
    payment = names["confirmed"]
    expected: dict[tuple[str, UUID], dict[str, int]] = {
        ("settlement", payment): {"gross": 10_000, "commission": 300, "net": 9_700},
        ("opening_balance", ids["opening"]): {"adjusted": 100_000, "net": 100_000},
        ("adjustment", ids["debit"]): {"adjusted": -400, "net": -400},
        ("refund", ids["refund"]): {"refunded": 3_333, "commission_returned": 100, "net": -3_233},
        ("refund", ids["second_refund"]): {"refunded": 2_000, "net": -2_000},
        ("payout_reserved", ids["reserved"]): {"paid_out": 5_000, "net": -5_000, "reserved": 5_000},
        ("payout_paid", ids["payout_paid"]): {"reserved": -1_500},
        ("payout_returned", ids["payout_failed"]): {
            "paid_out": -1_500,
            "net": 1_500,
            "reserved": -1_500,
        },
    }
    assert {key: told(by_source[key]) for key in expected} == expected
    for kind, source in (("settlement", payment), ("refund", ids["refund"])):
        each = by_source[kind, source]
        assert (each.transaction_id, each.reference) == (payment, "r")
    assert by_source["payout_paid", ids["payout_paid"]].transaction_id is None
    foot = statement.foot()
    after = movements.AFTER_EVERY_KIND
    assert (foot.available, foot.reserved) == (after["available"], after["pending_payout"])


def test_journals_of_one_moment_are_all_read_whatever_the_page(
    connection: Connection,
    superuser: Engine,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statement_service, "FIRST_BATCH", 2)
    monkeypatch.setattr(statement_service, "LARGEST_BATCH", 3)
    monkeypatch.setattr(statement_opening, "PAGE", 2)
    mover = movements.Mover(connection, merchant.id)
    for amount in range(1, 12):
        mover.adjust(amount)
    at = present(connection) - DAY
    date_all(superuser, at)

    whole = opened(connection, merchant, start=at)
    assert sorted(each.net for each in read(connection, whole)) == list(range(1, 12))
    assert whole.head.available == 0
    before = opened(connection, merchant, start=at - DAY, end=at)
    assert (read(connection, before), before.foot().available) == ([], 0)
    behind = opened(connection, merchant, start=at + timedelta(microseconds=1))
    assert (read(connection, behind), behind.head.available) == ([], 66)


def test_the_opening_is_the_same_from_either_end(
    connection: Connection, superuser: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = movements.Mover(connection, merchant.id)
    cuts = []
    for amount in (500, 40, 3):
        mover.adjust(amount)
        cuts.append(present(connection))
    mover.finish(mover.reserve(100), "paid", 100)
    mover.reserve(9)
    cuts.append(present(connection))
    movements.Mover(connection, merchant.id, "USD").adjust(7)
    for cut, expected in zip(cuts, [(500, 0), (540, 0), (543, 0), (434, 9)], strict=True):
        found = []
        for nearer in (True, False):
            monkeypatch.setattr(statement_opening, "_beginning_is_nearer", lambda *_, n=nearer: n)
            head = opened(connection, merchant, start=cut).head
            found.append((head.available, head.reserved))
        assert found == [expected, expected]


def test_a_currency_that_was_never_used_is_empty(
    connection: Connection, merchant: TestUser
) -> None:
    movements.Mover(connection, merchant.id).adjust(500)
    statement = opened(connection, merchant, currency="JPY")
    assert (read(connection, statement), statement.head.available) == ([], 0)
    assert statement.foot().by_kind == {}


def test_the_span_ends_at_the_present(connection: Connection, merchant: TestUser) -> None:
    begun = present(connection)
    head = opened(connection, merchant, start=begun, end=begun + 30 * DAY).head
    assert begun < head.end < present(connection)
    assert opened(connection, merchant, start=begun - DAY, end=begun).head.end == begun


def test_the_number_follows_from_merchant_currency_and_span(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    end = present(connection)
    span = {"start": end - DAY, "end": end}
    number = opened(connection, merchant, **span).head.number
    assert number.startswith("RUB-")
    assert opened(connection, merchant, **span).head.number == number
    other = make_user(engine, keyring)
    assert (
        len(
            {
                number,
                opened(connection, other, **span).head.number,
                opened(connection, merchant, currency="USD", **span).head.number,
                opened(connection, merchant, start=end - DAY, end=end - MINUTE).head.number,
            }
        )
        == 4
    )


def test_who_writes_since_before_is_waited_for(
    engine: Engine, superuser: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "PAUSES", (0.02,) * 1000)

    def asleep() -> bool:
        query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')"
        with superuser.connect() as connection:
            return bool(connection.scalar(text(query)))

    def ask() -> list[int]:
        with autocommit(engine) as own:
            return [each.net for each in read(own, opened(own, merchant, period="today"))]

    with uncommitted(engine) as writing, ThreadPoolExecutor(1) as pool:
        movements.Mover(writing, merchant.id).adjust(500)
        answer = pool.submit(ask)
        wait_until(asleep)
        writing.commit()
        assert answer.result() == [500]


def test_who_writes_too_long_is_not_waited_for(
    engine: Engine, connection: Connection, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "PAUSES", (0.001, 0.001))
    with uncommitted(engine) as writing:
        movements.Mover(writing, merchant.id).adjust(500)
        with pytest.raises(Unavailable):
            opened(connection, merchant)


def test_a_statement_is_read_once_and_to_its_end(
    connection: Connection, merchant: TestUser
) -> None:
    mover = movements.Mover(connection, merchant.id)
    mover.adjust(1)
    mover.adjust(2)
    statement = opened(connection, merchant)
    moves = statement.movements(lambda work: work(connection))
    next(moves)
    with pytest.raises(RuntimeError, match="after the last"):
        statement.foot()
    with pytest.raises(RuntimeError, match="once"):
        statement.movements(lambda work: work(connection))


def documents(
    connection: Connection, owner: TestUser, lang: Any = "ru", **asked: Any
) -> list[bytes]:
    return [
        b"".join(
            statement_stream.document(
                opened(connection, owner, **asked), form, "ru", lambda work: work(connection)
            )
        )
        for form in FORMATS.values()
    ]


def test_what_is_closed_never_changes_by_a_byte(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    names: dict[str, Any],
    keyring: Keyring,
    admin: TestUser,
) -> None:
    shop = make_user(engine, keyring, name="Лавка")
    with Session(engine) as session, transaction(session):
        user_service.update_user(
            session, SYSTEM, session.get_one(User, shop.id), timezone="Europe/Moscow"
        )
    mover = movements.Mover(connection, shop.id)
    mover.adjust(5_000)
    mover.finish(mover.reserve(700), "paid", 700)
    zone = ZoneInfo("Europe/Moscow")
    today = present(connection).astimezone(zone).date()
    day = today - timedelta(days=2)
    date_all(superuser, datetime(day.year, day.month, day.day, 12, tzinfo=zone))
    seal_service.seal(connection)
    head = chain.last(connection)
    assert head is not None

    before = opened(connection, shop, period=str(day)).head
    assert (before.closed, before.anchor) == (False, head.anchor)
    close_service.close(connection, admin.digest, ORIGIN, period=str(day), zone=zone)
    first = documents(connection, shop, period=str(day))
    assert first == documents(connection, shop, period=str(day))

    with Session(engine) as session, transaction(session):
        user_service.update_user(
            session,
            SYSTEM,
            session.get_one(User, shop.id),
            name="Another shop",
            timezone="Asia/Tokyo",
        )
    movements.Mover(connection, shop.id).adjust(99)
    seal_service.seal(connection)
    following = str(day + timedelta(days=1))
    close_service.close(connection, admin.digest, ORIGIN, period=following, zone=zone)
    assert chain.last(connection) != head
    span = {"start": before.start, "end": before.end}
    assert documents(connection, shop, **span) == first
    # Nor does the day by its name: it is the one that the calendar had when it was closed.
    assert documents(connection, shop, period=str(day)) == first

    closed = opened(connection, shop, **span).head
    assert (closed.closed, closed.anchor, closed.merchant) == (True, head.anchor, "Лавка")
    assert closed.zone == "Europe/Moscow"
    # A part of what is closed is closed, what goes on behind it is not.
    assert opened(connection, shop, start=before.start, end=before.end - MINUTE).head.closed
    later = opened(connection, shop, start=before.start).head
    assert (later.closed, later.merchant, later.zone) == (False, "Another shop", "Asia/Tokyo")


def peak(pieces: Iterator[bytes]) -> tuple[int, int]:
    """The size of a document, and how much memory was held at most while it was read."""
    tracemalloc.start()
    try:
        size = sum(map(len, pieces))
        return size, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["csv", "json"])
def test_memory_does_not_grow_with_the_movements(
    connection: Connection,
    superuser: Engine,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    """What is held is some batches, however long the document."""
    monkeypatch.setattr(statement_service, "LARGEST_BATCH", 400)
    fill(superuser, merchant, 16_000)
    statement = opened(connection, merchant, start=present(connection) - 30 * DAY)
    pieces = statement_stream.document(
        statement, FORMATS[form], "en", lambda work: work(connection)
    )
    size, held = peak(pieces)
    assert statement.foot().totals.count == 16_000
    assert size > 3_000_000
    assert held < 1_500_000, held


def test_what_a_format_cannot_hold_is_refused_before_its_first_byte(
    connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    fill(superuser, merchant, 5_001)
    start = present(connection) - 30 * DAY
    with pytest.raises(InvalidInput) as refused:
        statement_stream.document(
            opened(connection, merchant, start=start),
            FORMATS["pdf"],
            "en",
            lambda work: work(connection),
        )
    (error,) = refused.value.errors
    assert error.field == "format"
    assert "csv" in error.message


def test_nobody_reads_the_statement_of_another(
    connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    for actor, user_id in (
        (merchant.actor, merchant.id),
        (merchant.actor, admin.id),
        (admin.actor, None),
        (admin.actor, new_id()),
    ):
        with pytest.raises(InvalidInput) as refused:
            statement_service.open_statement(connection, actor, user_id=user_id, asked=Asked())
        assert [each.field for each in refused.value.errors] == ["user_id"]
    head: Head = statement_service.open_statement(
        connection, admin.actor, user_id=merchant.id, asked=Asked()
    ).head
    assert (head.merchant_id, head.start.tzinfo) == (merchant.id, UTC)
