"""Codes of an app and of last resort: right once, counted when wrong, sealed at rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart import clock
from standart.clock import new_id
from standart.config import Settings
from standart.db import autocommit, transaction
from standart.encryption import Keyring, generate_key
from standart.errors import Conflict, InvalidInput, TooManyRequests, Unauthenticated
from standart.models import Role, User
from standart.services import (
    audit_service,
    login_service,
    sealing_service,
    second_factor_service,
    session_service,
    user_service,
)
from standart.services.access import SYSTEM
from tests.builders import PASSWORD, TestUser, make_user
from tests.integration.concurrency import blocked, together
from tests.integration.factors import code_of, drawn, enrol, forget_steps

HERE, THERE = "192.0.2.1", "192.0.2.2"
WRONG = "000000"


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def half_open(engine: Engine, user: TestUser, ip: str = HERE) -> str:
    """Show the right password; return the token under which the code may follow."""
    with Session(engine) as session, transaction(session):
        found = login_service.log_in(session, name=user.name, password=PASSWORD, ip=ip)
        return login_service.ask_for_code(session, found)


def enter(engine: Engine, keyring: Keyring, token: str, code: str, ip: str = HERE) -> str:
    """Show a code, and keep the count of a wrong one as the panel does."""
    with Session(engine) as session:
        try:
            return login_service.enter_code(
                session, keyring, token, code, ip=ip, user_agent="browser"
            )
        finally:
            session.commit()


def refused(engine: Engine, keyring: Keyring, token: str, code: str, ip: str = HERE) -> None:
    with pytest.raises(Unauthenticated):
        enter(engine, keyring, token, code, ip)


def opens(connection: Connection, token: str) -> bool:
    found = session_service.resume(connection, token, idle_seconds=900, lifetime_seconds=7200)
    return found is not None


def wrong_for(secret: bytes) -> str:
    """Six digits that are no code of these minutes."""
    near = {code_of(secret, ahead) for ahead in range(-3, 4)}
    return next(f"{number:06}" for number in range(10) if f"{number:06}" not in near)


def test_the_code_opens_what_the_password_began(
    engine: Engine, keyring: Keyring, admin: TestUser, connection: Connection
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    token = half_open(engine, admin)
    assert not opens(connection, token)

    login = enter(engine, keyring, token, code_of(secret))

    found = session_service.resume(connection, login, idle_seconds=900, lifetime_seconds=7200)
    assert found is not None
    assert found.user_id == admin.id
    assert found.second_factor
    refused(engine, keyring, token, code_of(secret, 1))


@pytest.mark.parametrize("ahead", [-1, 0, 1])
def test_a_clock_may_be_one_step_off(
    engine: Engine, keyring: Keyring, admin: TestUser, ahead: int
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)

    # Where a step begins in between, one that is behind is one step more behind by then.
    assert any(
        _passes(engine, keyring, half_open(engine, admin), code_of(secret, ahead)) for _ in range(2)
    )


def _passes(engine: Engine, keyring: Keyring, token: str, code: str) -> bool:
    try:
        return bool(enter(engine, keyring, token, code))
    except Unauthenticated:
        return False


@pytest.mark.parametrize("ahead", [-3, 3])
def test_no_more_than_one_step(
    engine: Engine, keyring: Keyring, admin: TestUser, ahead: int
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)

    code = code_of(secret, ahead)
    if code not in {code_of(secret, near) for near in (-2, -1, 0, 1, 2)}:
        refused(engine, keyring, half_open(engine, admin), code)


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "１２３４５６", "abcdef", "\0" * 6, "-" * 99]
)
def test_what_is_no_code_opens_nothing(
    engine: Engine, keyring: Keyring, admin: TestUser, code: str
) -> None:
    enrol(engine, keyring, admin.id)

    refused(engine, keyring, half_open(engine, admin), code)


def test_a_code_counts_once_and_those_before_it_no_more(
    engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    used = code_of(secret, 1)
    enter(engine, keyring, half_open(engine, admin), used)

    refused(engine, keyring, half_open(engine, admin), used)
    refused(engine, keyring, half_open(engine, admin), code_of(secret, -1))


def test_the_code_that_set_it_up_is_used_as_well(
    engine: Engine, keyring: Keyring, admin: TestUser, session: Session
) -> None:
    secret = drawn(keyring, admin.id)
    code = code_of(secret)
    user = session.get_one(User, admin.id)
    second_factor_service.confirm(session, SYSTEM, keyring, user, secret, code)
    session.commit()

    refused(engine, keyring, half_open(engine, admin), code)


def test_a_drawn_secret_is_for_the_login_that_drew_it_and_for_some_minutes(
    keyring: Keyring, admin: TestUser, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    login_id = new_id()
    sealed = second_factor_service.draw(keyring, admin.id, login_id)

    assert second_factor_service.drawn_secret(keyring, admin.id, login_id, sealed)
    for user_id, other, text_ in (
        (admin.id, new_id(), sealed),
        (merchant.id, login_id, sealed),
        (admin.id, login_id, ""),
        (admin.id, login_id, "é" + sealed),
        (admin.id, login_id, "A" * len(sealed)),
        (admin.id, login_id, "nonsense\n"),
        (admin.id, login_id, sealed[:-8] + "AAAAAAAA"),
    ):
        assert second_factor_service.drawn_secret(keyring, user_id, other, text_) is None
    later = clock.now() + timedelta(seconds=second_factor_service.DRAWN_SECONDS + 2)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert second_factor_service.drawn_secret(keyring, admin.id, login_id, sealed) is None


def test_of_two_logins_with_one_code_one_wins(
    engine: Engine, keyring: Keyring, admin: TestUser, connection: Connection
) -> None:
    secret, recovery = enrol(engine, keyring, admin.id)

    for code in (code_of(secret), recovery[0]):
        tokens = [half_open(engine, admin, ip) for ip in (HERE, THERE)]
        done = together(
            [
                lambda token=token, ip=ip, code=code: enter(engine, keyring, token, code, ip)
                for token, ip in zip(tokens, (HERE, THERE), strict=True)
            ]
        )

        assert sorted(type(each).__name__ for each in done) == ["Unauthenticated", "str"]
    assert connection.scalar(text("SELECT count(*) FROM panel_sessions")) == 2


def test_one_half_open_login_opens_once(
    engine: Engine, keyring: Keyring, admin: TestUser, connection: Connection
) -> None:
    secret, recovery = enrol(engine, keyring, admin.id)
    token = half_open(engine, admin)

    done = together(
        [
            lambda code=code: enter(engine, keyring, token, code)
            for code in (code_of(secret), recovery[0], recovery[1])
        ]
    )

    assert sum(isinstance(each, str) for each in done) == 1
    assert connection.scalar(text("SELECT count(*) FROM panel_sessions")) == 1


def test_a_recovery_code_opens_once_in_whatever_form_it_is_typed(
    engine: Engine, keyring: Keyring, admin: TestUser, session: Session
) -> None:
    _, codes = enrol(engine, keyring, admin.id)
    assert len(set(codes)) == second_factor_service.RECOVERY_CODES == 10

    typed = codes[0].lower().replace("-", " ")
    enter(engine, keyring, half_open(engine, admin), typed)

    refused(engine, keyring, half_open(engine, admin), codes[0])
    assert second_factor_service.count_codes(session, admin.id) == 9
    enter(engine, keyring, half_open(engine, admin), codes[1])


def test_new_recovery_codes_end_the_old_ones(
    engine: Engine, keyring: Keyring, admin: TestUser, session: Session
) -> None:
    _, old = enrol(engine, keyring, admin.id)
    new = second_factor_service.renew_codes(session, SYSTEM, session.get_one(User, admin.id))
    session.commit()

    refused(engine, keyring, half_open(engine, admin), old[0])
    enter(engine, keyring, half_open(engine, admin), new[0])


def test_nothing_in_the_database_is_a_code_or_a_secret(
    engine: Engine, keyring: Keyring, admin: TestUser, connection: Connection
) -> None:
    secret, codes = enrol(engine, keyring, admin.id)

    kept = connection.execute(
        text("SELECT secret AS box FROM second_factors UNION ALL SELECT digest FROM recovery_codes")
    ).scalars()
    for box in map(bytes, kept):
        assert secret not in box
        assert not any(code.replace("-", "").encode() in box for code in codes)
    token = half_open(engine, admin)
    digests = connection.scalars(text("SELECT digest FROM pending_logins"))
    assert all(token.encode() not in bytes(each) for each in digests)


def test_wrong_codes_close_the_door_as_wrong_passwords_do(
    engine: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    wrong = wrong_for(secret)
    # A right password in between does not begin the count anew.
    for _ in range(login_service.FAILURES_PER_NAME):
        refused(engine, keyring, half_open(engine, admin), wrong)

    with pytest.raises(TooManyRequests):
        half_open(engine, admin)
    elsewhere = half_open(engine, admin, THERE)
    assert enter(engine, keyring, elsewhere, code_of(secret), THERE)
    half_open(engine, merchant)


def test_codes_guessed_at_the_same_time_count_like_guesses_in_a_row(
    engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    token, wrong = half_open(engine, admin), wrong_for(secret)

    done = together([lambda: enter(engine, keyring, token, wrong)] * 14)

    kinds = [type(each) for each in done]
    assert kinds.count(Unauthenticated) == login_service.FAILURES_PER_NAME
    assert kinds.count(TooManyRequests) == 14 - login_service.FAILURES_PER_NAME


def test_guesses_from_everywhere_close_the_six_digits_and_leave_the_owner_a_way(
    engine: Engine, keyring: Keyring, admin: TestUser, connection: Connection
) -> None:
    secret, recovery = enrol(engine, keyring, admin.id)
    connection.execute(
        text(
            "INSERT INTO login_failures (name, ip, step) SELECT :name, '203.0.113.' || n, 'code'"
            " FROM generate_series(1, :n) AS n"
        ),
        {"name": admin.name, "n": login_service.CODE_FAILURES_PER_NAME},
    )

    refused(engine, keyring, half_open(engine, admin), code_of(secret))
    enter(engine, keyring, half_open(engine, admin), recovery[0])


def test_guesses_of_a_whole_day_count_until_the_password_is_another_one(
    engine: Engine, keyring: Keyring, admin: TestUser, superuser: Engine, session: Session
) -> None:
    secret, recovery = enrol(engine, keyring, admin.id)
    with superuser.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO login_failures (name, ip, step, created_at)"
                " SELECT :name, '203.0.113.' || n, 'code', clock_timestamp() - interval '23 hours'"
                " FROM generate_series(1, :n) AS n"
            ),
            {"name": admin.name.lower(), "n": login_service.CODE_FAILURES_PER_NAME},
        )
    assert login_service.purge(session) == 0
    session.commit()

    # Neither the time since then nor the owner's way in opens the six digits again.
    refused(engine, keyring, half_open(engine, admin), code_of(secret))
    enter(engine, keyring, half_open(engine, admin), recovery[0])
    refused(engine, keyring, half_open(engine, admin), code_of(secret))
    user = session.get_one(User, admin.id)
    user_service.update_user(session, SYSTEM, user, password=PASSWORD)
    session.commit()
    enter(engine, keyring, half_open(engine, admin), code_of(secret))


def test_guesses_are_forgotten_after_a_day(
    engine: Engine, keyring: Keyring, admin: TestUser, superuser: Engine, session: Session
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    with superuser.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO login_failures (name, ip, step, created_at)"
                " SELECT :name, '203.0.113.' || n, 'code', clock_timestamp() - interval '24 hours'"
                " FROM generate_series(1, :n) AS n"
            ),
            {"name": admin.name.lower(), "n": login_service.CODE_FAILURES_PER_NAME},
        )

    enter(engine, keyring, half_open(engine, admin), code_of(secret))
    assert login_service.purge(session) == login_service.CODE_FAILURES_PER_NAME


def test_a_recovery_code_that_is_used_is_written_down(
    engine: Engine, keyring: Keyring, admin: TestUser, session: Session
) -> None:
    _, recovery = enrol(engine, keyring, admin.id)

    enter(engine, keyring, half_open(engine, admin), recovery[0])

    last = audit_service.history(session, "user", admin.id)[-1]
    assert (last.action, last.actor_id, last.ip) == ("recovery_code.used", admin.id, HERE)
    assert last.after == {"codes_left": 9}


def test_a_half_open_login_lives_for_minutes(
    engine: Engine, keyring: Keyring, admin: TestUser, superuser: Engine, session: Session
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    token = half_open(engine, admin)
    with superuser.begin() as connection:
        connection.execute(
            text("UPDATE pending_logins SET created_at = created_at - interval '6 minutes'")
        )

    refused(engine, keyring, token, code_of(secret))
    assert login_service.purge(session) == 1


@pytest.mark.parametrize("change", ["password", "role", "active"])
def test_whatever_changes_ends_a_half_open_login(
    engine: Engine, keyring: Keyring, session: Session, change: str
) -> None:
    admin = make_user(engine, keyring, role=Role.OPERATOR, password=PASSWORD)
    secret, _ = enrol(engine, keyring, admin.id)
    token = half_open(engine, admin)
    values = {"password": "another password", "role": Role.VIEWER, "active": False}
    user = session.get_one(User, admin.id)
    user_service.update_user(session, SYSTEM, user, **{change: values[change]})
    session.commit()

    refused(engine, keyring, token, code_of(secret))


def test_a_password_that_changes_at_the_same_moment_leaves_no_login_behind(
    engine: Engine, keyring: Keyring, admin: TestUser, connection: Connection
) -> None:
    def change() -> None:
        with Session(engine) as session, transaction(session):
            user = session.get_one(User, admin.id)
            user_service.update_user(session, SYSTEM, user, password="another password")

    def come_in() -> str:
        with Session(engine) as session, transaction(session):
            user = login_service.log_in(session, name=admin.name, password=PASSWORD, ip=HERE)
            return session_service.open_session(session, user, ip=HERE, user_agent=None)

    together([come_in, change, come_in])

    assert connection.scalar(text("SELECT count(*) FROM panel_sessions")) == 0


def test_to_set_it_up_ends_the_other_logins(
    engine: Engine, keyring: Keyring, admin: TestUser, session: Session, connection: Connection
) -> None:
    user = session.get_one(User, admin.id)
    mine, other = (
        session_service.open_session(session, user, ip=HERE, user_agent=None) for _ in range(2)
    )
    secret = drawn(keyring, user.id)
    session.commit()
    for wrong in (wrong_for(secret), ""):
        with pytest.raises(InvalidInput):
            second_factor_service.confirm(session, SYSTEM, keyring, user, secret, wrong)
    with pytest.raises(Conflict):
        second_factor_service.confirm(session, SYSTEM, keyring, user, None, code_of(secret))
    assert not second_factor_service.is_enrolled(session, user.id)

    code = code_of(secret)
    second_factor_service.confirm(session, SYSTEM, keyring, user, secret, code, keep=mine)
    session.commit()

    assert opens(connection, mine)
    assert not opens(connection, other)
    with pytest.raises(Conflict):
        second_factor_service.confirm(session, SYSTEM, keyring, user, secret, code_of(secret, 1))


def test_whoever_comes_in_while_it_is_set_up_is_asked_for_a_code(
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    session: Session,
    superuser: Engine,
    connection: Connection,
) -> None:
    def come_in() -> bool:
        with Session(engine) as own, transaction(own):
            user = login_service.log_in(own, name=admin.name, password=PASSWORD, ip=HERE)
            return second_factor_service.is_enrolled(own, user.id)

    def once_more() -> list[str]:
        with Session(engine) as own, transaction(own):
            user, secret = own.get_one(User, admin.id), drawn(keyring, admin.id)
            return second_factor_service.confirm(
                own, SYSTEM, keyring, user, secret, code_of(secret)
            )

    for act in (come_in, once_more):
        secret, user = drawn(keyring, admin.id), session.get_one(User, admin.id)
        second_factor_service.confirm(session, SYSTEM, keyring, user, secret, code_of(secret))
        with blocked(superuser, act) as other:
            session.commit()
        assert other.result() is True or isinstance(other.result(), Conflict)
        assert second_factor_service.is_enrolled(session, admin.id)
        second_factor_service.remove(session, SYSTEM, session.get_one(User, admin.id))
        session.commit()


def test_to_take_it_away_ends_all_logins_and_is_written_down(
    engine: Engine, keyring: Keyring, admin: TestUser, session: Session, connection: Connection
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    login = enter(engine, keyring, half_open(engine, admin), code_of(secret))
    user = session.get_one(User, admin.id)

    second_factor_service.remove(session, SYSTEM, user)
    second_factor_service.remove(session, SYSTEM, user)
    session.commit()

    assert not opens(connection, login)
    assert not second_factor_service.is_enrolled(session, admin.id)
    assert second_factor_service.count_codes(session, admin.id) == 0
    told = [row.action for row in audit_service.history(session, "user", admin.id)]
    assert told[-2:] == ["second_factor.added", "second_factor.removed"]


def test_a_new_key_seals_the_secret_anew_and_the_codes_stay_right(
    engine: Engine, admin: TestUser, keyring: Keyring, settings: Settings
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    rotated = Keyring.parse(f"{generate_key('fresh')},{settings.encryption_keys}")

    with autocommit(engine) as connection:
        moved = sealing_service.reseal(connection, SYSTEM, rotated)

    assert moved["second factors"] == 1
    assert enter(engine, rotated, half_open(engine, admin), code_of(secret))


def test_a_proof_needs_password_and_code(
    engine: Engine, keyring: Keyring, admin: TestUser, session: Session
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    user = session.get_one(User, admin.id)

    def prove(password: str, code: str) -> None:
        try:
            login_service.prove(session, keyring, user, password=password, code=code, ip=HERE)
        finally:
            session.commit()

    for password, code in (
        ("a wrong password", code_of(secret)),
        (PASSWORD, ""),
        (PASSWORD, wrong_for(secret)),
    ):
        with pytest.raises(Unauthenticated) as refusal:
            prove(password, code)
        assert refusal.value.detail == "Wrong password or code."
    prove(PASSWORD, code_of(secret))
    with pytest.raises(Unauthenticated):
        prove(PASSWORD, code_of(secret))
    forget_steps(engine, admin.id)
    prove(PASSWORD, code_of(secret))
