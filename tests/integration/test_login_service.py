"""Logins of the panel: passwords, throttle, sessions that end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import transaction
from standart.encryption import Keyring
from standart.errors import TooManyRequests, Unauthenticated
from standart.models import Role, User
from standart.services import login_service, passwords, session_service, user_service
from standart.services.access import SYSTEM
from standart.services.session_service import Visitor
from tests.builders import PASSWORD, TestUser, make_user, row_counts
from tests.integration.concurrency import together

IDLE, LIFETIME = 900, 43_200
HERE = "192.0.2.1"


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def log_in(session: Session, name: str, password: str = PASSWORD, ip: str = HERE) -> User:
    try:
        return login_service.log_in(session, name=name, password=password, ip=ip)
    finally:
        session.commit()


def fail(session: Session, name: str, times: int = 1, ip: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            log_in(session, name, "a wrong password", ip)


def age(superuser: Engine, table: str, column: str, interval: str) -> None:
    with superuser.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET {column} = {column} - interval '{interval}'"))


def resume(connection: Connection, token: str) -> Visitor | None:
    return session_service.resume(connection, token, idle_seconds=IDLE, lifetime_seconds=LIFETIME)


def open_for(session: Session, user: TestUser, **options: Any) -> str:
    row = user_service.get_user(session, user.id)
    token = session_service.open_session(
        session, row, **{"ip": HERE, "user_agent": "browser", **options}
    )
    session.commit()
    return token


def test_the_right_password_opens_in_whatever_case_the_name_is(
    session: Session, merchant: TestUser
) -> None:
    assert log_in(session, merchant.name.upper()).id == merchant.id


@pytest.mark.parametrize("password", ["🔑" * 12, "x" * 1024, "           !", "a\0b" * 4])
def test_any_long_text_may_be_a_password(
    session: Session, engine: Engine, keyring: Keyring, password: str
) -> None:
    user = make_user(engine, keyring, password=password)
    assert log_in(session, user.name, password).id == user.id
    fail(session, user.name)


def test_every_refusal_sounds_the_same(
    session: Session, engine: Engine, keyring: Keyring, merchant: TestUser, admin: TestUser
) -> None:
    silent = make_user(engine, keyring)
    idle = make_user(engine, keyring, password=PASSWORD)
    with transaction(session):
        row = user_service.get_user(session, idle.id)
        user_service.update_user(session, SYSTEM, row, active=False)
    said = set()
    for name, password in [
        (merchant.name, "a wrong password"),
        (merchant.name, "x" * 2000),
        (merchant.name, "\ud800 is no text at all"),
        ("nobody", PASSWORD),
        ("nobody" * 50, PASSWORD),
        ("no\0body", PASSWORD),
        (silent.name, PASSWORD),
        (idle.name, PASSWORD),
    ]:
        with pytest.raises(Unauthenticated) as refused:
            log_in(session, name, password)
        said.add((refused.value.detail, str(refused.value.members)))

    assert len(said) == 1


def test_failures_are_logged_without_what_was_typed(
    session: Session, merchant: TestUser, caplog: pytest.LogCaptureFixture
) -> None:
    typed = "a password in the field for the name"
    with caplog.at_level(logging.WARNING, "standart.services.login_service"):
        fail(session, merchant.name)
        fail(session, typed)
        fail(session, merchant.name, times=login_service.FAILURES_PER_NAME - 1)
        with pytest.raises(TooManyRequests):
            log_in(session, merchant.name)

    first, second, *_, last = [vars(record) for record in caplog.records]
    known = {"user_id": str(merchant.id), "ip": HERE, "step": "password"}
    assert {name: first[name] for name in known} == known
    assert (second["user_id"], second["ip"]) == (None, HERE)
    assert (last["message"], last["ip"]) == ("a login was refused after too many failures", HERE)
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert typed not in logged
    assert "a wrong password" not in logged


def test_a_damaged_hash_opens_nothing(
    session: Session, superuser: Engine, merchant: TestUser
) -> None:
    with superuser.begin() as connection:
        connection.execute(text("UPDATE users SET password_hash = 'plain'"))
    fail(session, merchant.name)


@pytest.mark.usefixtures("real_passwords")
def test_a_hash_of_weaker_parameters_is_renewed(
    session: Session, superuser: Engine, merchant: TestUser
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with superuser.begin() as connection:
        connection.execute(text("UPDATE users SET password_hash = :hash"), {"hash": weak})

    user = log_in(session, merchant.name)

    assert user.password_hash is not None
    assert "m=19456,t=2,p=1" in user.password_hash
    assert log_in(session, merchant.name).id == merchant.id


def test_ten_failures_close_the_door_for_this_name_from_this_address(
    session: Session, connection: Connection, merchant: TestUser, admin: TestUser
) -> None:
    fail(session, merchant.name.upper(), times=login_service.FAILURES_PER_NAME)

    with pytest.raises(TooManyRequests) as refused:
        log_in(session, merchant.name)
    assert refused.value.retry_after == 1800
    assert row_counts(connection)["login_failures"] == login_service.FAILURES_PER_NAME
    assert log_in(session, merchant.name, ip="192.0.2.2").id == merchant.id
    assert log_in(session, admin.name).id == admin.id


def test_tries_at_the_same_time_count_like_tries_in_a_row(
    engine: Engine, merchant: TestUser
) -> None:
    def guess() -> User:
        with Session(engine) as own:
            return log_in(own, merchant.name, "a wrong password")

    refusals = [type(refusal) for refusal in together([guess] * 16)]

    assert refusals.count(Unauthenticated) == login_service.FAILURES_PER_NAME
    assert refusals.count(TooManyRequests) == 16 - login_service.FAILURES_PER_NAME


def test_a_success_forgets_the_failures_of_the_name(session: Session, merchant: TestUser) -> None:
    for _ in range(2):
        fail(session, merchant.name, times=login_service.FAILURES_PER_NAME - 1)
        assert log_in(session, merchant.name).id == merchant.id


def test_an_address_that_tries_many_names_is_closed_out(
    session: Session, superuser: Engine, admin: TestUser
) -> None:
    with superuser.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO login_failures (name, ip)"
                " SELECT 'guess-' || n, :ip FROM generate_series(1, :n) AS n"
            ),
            {"ip": HERE, "n": login_service.FAILURES_PER_ADDRESS - 1},
        )
    fail(session, "one more")

    with pytest.raises(TooManyRequests):
        log_in(session, admin.name)
    assert log_in(session, admin.name, ip="192.0.2.2").id == admin.id


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        # A network of IPv6 is what one customer has: 2^64 addresses to try from.
        ([f"2001:db8:1:2::{n:x}" for n in range(1, 99)], "2001:db8:1:3::1"),
        # IPv4 as a socket for both sees it.
        (["::ffff:192.0.2.1", "192.0.2.1"], "::ffff:192.0.2.2"),
    ],
)
def test_whoever_has_many_addresses_has_no_more_tries(
    session: Session, merchant: TestUser, addresses: list[str], other: str
) -> None:
    for _, address in zip(range(login_service.FAILURES_PER_NAME), cycle(addresses), strict=False):
        fail(session, merchant.name, ip=address)

    for address in addresses:
        with pytest.raises(TooManyRequests):
            log_in(session, merchant.name, ip=address)
    assert log_in(session, merchant.name, ip=other).id == merchant.id


def test_a_login_that_lost_its_user_is_refused(
    session: Session, engine: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    matches = passwords.matches

    def and_gone(known: str, password: str) -> bool:
        with Session(engine) as other, transaction(other):
            user_service.delete_user(other, SYSTEM, user_service.get_user(other, merchant.id))
        return matches(known, password)

    monkeypatch.setattr(passwords, "matches", and_gone)

    with pytest.raises(Unauthenticated):
        log_in(session, merchant.name)


def test_failures_count_for_half_an_hour(
    session: Session, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    fail(session, merchant.name, times=login_service.FAILURES_PER_NAME)
    assert login_service.purge(session) == 0
    age(superuser, "login_failures", "created_at", "30 minutes")

    assert log_in(session, merchant.name).id == merchant.id


def test_failures_that_count_no_more_are_forgotten(
    session: Session, connection: Connection, superuser: Engine
) -> None:
    fail(session, "nobody", times=3)
    age(superuser, "login_failures", "created_at", "30 minutes")
    fail(session, "nobody")

    assert login_service.purge(session) == 3
    session.commit()
    assert row_counts(connection)["login_failures"] == 1


def test_a_login_is_behind_its_token_alone(
    session: Session, connection: Connection, admin: TestUser
) -> None:
    token = open_for(session, admin, user_agent="x" * 1000)

    row = connection.execute(text("SELECT * FROM panel_sessions")).one()
    assert resume(connection, token) == Visitor(
        admin.id, admin.name, Role.ADMIN, token, session_id=row.id
    )
    assert token.encode() not in row.digest
    assert (row.ip, row.user_agent) == (HERE, "x" * 300)
    for guess in ("", token[:-1], token + "x", "\ud800", "\0"):
        assert resume(connection, guess) is None


def test_a_visitor_is_who_the_database_says_right_now(
    session: Session, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    token = open_for(session, merchant, ip=None, user_agent=None)
    with superuser.begin() as other:
        other.execute(text("UPDATE users SET name = 'renamed'"))

    found = resume(connection, token)
    assert found is not None
    assert (found.user_id, found.name, found.role) == (merchant.id, "renamed", Role.REGULAR)
    with superuser.begin() as other:
        other.execute(text("UPDATE users SET active = false"))
    assert resume(connection, token) is None


def test_log_out_ends_this_login_only(
    session: Session, connection: Connection, merchant: TestUser
) -> None:
    here, there = open_for(session, merchant), open_for(session, merchant)
    session_service.close_session(session, here)
    session.commit()

    assert resume(connection, here) is None
    assert resume(connection, there) is not None


def test_an_idle_login_ends(
    session: Session, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    token = open_for(session, merchant)
    age(superuser, "panel_sessions", "last_seen_at", "14 minutes")
    assert resume(connection, token) is not None  # and was seen just now
    age(superuser, "panel_sessions", "last_seen_at", "14 minutes")
    assert resume(connection, token) is not None
    age(superuser, "panel_sessions", "last_seen_at", "15 minutes")
    assert resume(connection, token) is None


def test_a_page_view_writes_at_most_once_a_minute(
    session: Session, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    token = open_for(session, merchant)
    seen = text("SELECT last_seen_at FROM panel_sessions")
    first = connection.scalar(seen)
    resume(connection, token)

    assert connection.scalar(seen) == first
    age(superuser, "panel_sessions", "last_seen_at", "61 seconds")
    resume(connection, token)
    assert connection.scalar(seen) >= first


def test_a_page_that_renews_itself_keeps_nobody_logged_in(
    session: Session, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    token = open_for(session, merchant)
    age(superuser, "panel_sessions", "last_seen_at", "10 minutes")

    seen = session_service.resume(
        connection, token, idle_seconds=IDLE, lifetime_seconds=LIFETIME, touch=False
    )

    assert seen is not None
    age(superuser, "panel_sessions", "last_seen_at", "6 minutes")
    assert resume(connection, token) is None


def test_the_longest_login_ends_and_is_forgotten(
    session: Session, connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    token = open_for(session, merchant)
    age(superuser, "panel_sessions", "created_at", "12 hours")
    fresh = open_for(session, merchant)

    assert resume(connection, token) is None
    assert session_service.purge_sessions(session, lifetime_seconds=LIFETIME) == 1
    session.commit()
    assert resume(connection, fresh) is not None
