"""Two consents are two people's: one that another has a hand in, or no right to, is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.orm import Session

from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.errors import SecondPersonRequired
from standart.models import PanelSession, Role, Scope, User
from standart.services import (
    adjustment_service,
    key_service,
    late_payment_service,
    login_service,
    payout_service,
    session_service,
    transaction_service,
    user_service,
)
from standart.services.access import SYSTEM, Actor
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.services.idempotency_service import Answer
from standart.services.key_service import KeyDigest, digest_of
from standart.services.late_payment_service import LatePayment
from tests.builders import ORIGIN, PASSWORD, TestUser, make_transaction, make_user
from tests.integration.books import findings
from tests.integration.commands import Run
from tests.integration.concurrency import blocked, uncommitted
from tests.integration.panel import Panel
from tests.integration.payouts import created, credit, payer_of
from tests.world import contents

ALONE = {"RUB": 0}
OTHER_PASSWORD = "another good password"

Consent = Callable[[KeyDigest | Actor], Answer]


@pytest.fixture
def other(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, role=Role.ADMIN, password=PASSWORD)


@pytest.fixture
def third(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, role=Role.ADMIN, password=PASSWORD)


def key_made_by(engine: Engine, maker: Actor, owner: TestUser) -> KeyDigest:
    with Session(engine) as session, transaction(session):
        user = session.get_one(User, owner.id)
        _, plain = key_service.create_key(session, maker, user, scopes=list(Scope))
    return digest_of(plain)


def change(engine: Engine, maker: Actor, user: TestUser, **changes: object) -> None:
    with Session(engine) as session, transaction(session):
        row = session.get_one(User, user.id)
        user_service.update_user(session, maker, row, **changes)  # type: ignore[arg-type]


def acting_by(digest: KeyDigest, connection: Connection) -> Actor:
    """Who acts by a key, with all whose hands may hold it."""
    return key_service.authenticate(connection, digest, ORIGIN)


@pytest.fixture(params=["confirm", "late payment", "payout", "adjustment"])
def consent(
    request: pytest.FixtureRequest,
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
) -> Consent:
    """Agree to one movement of money, of each kind; an adjustment is made by the first."""
    if request.param == "payout":
        credit(engine, admin, merchant)
        payout = created(connection, keyring, payer_of(engine, merchant))
        return lambda caller: payout_service.approve(
            connection, caller, ORIGIN, payout, alone=ALONE
        )
    if request.param == "adjustment":
        new = NewAdjustment(
            user_id=merchant.id, amount="1.00", direction=Direction.CREDIT, reason="Counted anew"
        )
        made: list[UUID] = []

        def adjust(caller: KeyDigest | Actor) -> Answer:
            if made:
                return adjustment_service.approve(connection, caller, ORIGIN, made[0], alone=ALONE)
            made.append(new.fresh_id)
            return adjustment_service.create(connection, caller, ORIGIN, new, alone=ALONE)

        return adjust
    paid = UUID(make_transaction(engine, merchant)["id"])
    if request.param == "confirm":
        return lambda caller: transaction_service.confirm(
            connection, caller, ORIGIN, paid, alone=ALONE
        )
    transaction_service.cancel(connection, merchant.digest, ORIGIN, paid)
    return lambda caller: late_payment_service.record_late_payment(
        connection, caller, ORIGIN, LatePayment(transaction_id=paid), alone=ALONE
    )


def told(answer: Answer) -> tuple[int, int]:
    return answer.status, json.loads(answer.body)["approvals"]


@pytest.mark.parametrize("maker_first", [True, False])
def test_a_key_that_the_other_approver_made_is_no_second_person(
    connection: Connection,
    engine: Engine,
    admin: TestUser,
    other: TestUser,
    third: TestUser,
    consent: Consent,
    maker_first: bool,
) -> None:
    borrowed = key_made_by(engine, admin.actor, other)
    first, second = (admin.digest, borrowed) if maker_first else (borrowed, admin.digest)
    assert told(consent(first)) == (202, 1)
    before = contents(connection)

    with pytest.raises(SecondPersonRequired, match="key or the password"):
        consent(second)

    assert contents(connection) == before
    done = consent(third.digest)
    assert done.status in (200, 201)
    assert told(done)[1] == 2
    assert findings(engine) == []


def test_a_key_of_ones_own_is_a_second_person(
    connection: Connection, engine: Engine, admin: TestUser, other: TestUser, consent: Consent
) -> None:
    assert consent(key_made_by(engine, admin.actor, admin)).status == 202
    own = key_made_by(engine, acting_by(other.digest, connection), other)
    assert consent(own).status in (200, 201)
    assert findings(engine) == []


def test_two_keys_from_one_hand_are_one_person(
    engine: Engine, admin: TestUser, other: TestUser, third: TestUser, consent: Consent
) -> None:
    assert consent(key_made_by(engine, admin.actor, other)).status == 202
    with pytest.raises(SecondPersonRequired):
        consent(key_made_by(engine, admin.actor, third))


def test_a_key_made_by_a_borrowed_key_is_borrowed_as_well(
    connection: Connection, engine: Engine, admin: TestUser, other: TestUser, third: TestUser
) -> None:
    borrowed = acting_by(key_made_by(engine, admin.actor, other), connection)
    for owner in (other, third):
        again = acting_by(key_made_by(engine, borrowed, owner), connection)
        assert again.hands == {owner.id, other.id, admin.id}


@pytest.mark.parametrize("lost", [{"active": False}, {"role": Role.REGULAR}])
def test_only_consents_of_active_admins_count(
    connection: Connection,
    engine: Engine,
    admin: TestUser,
    other: TestUser,
    third: TestUser,
    consent: Consent,
    lost: dict[str, object],
) -> None:
    assert told(consent(other.digest)) == (202, 1)
    change(engine, SYSTEM, other, **lost)

    assert told(consent(admin.digest)) == (202, 1)
    with pytest.raises(SecondPersonRequired):
        consent(admin.digest)
    assert consent(third.digest).status in (200, 201)
    assert findings(engine) == []


def test_one_who_gets_the_rights_back_has_agreed_already(
    engine: Engine, admin: TestUser, other: TestUser, consent: Consent
) -> None:
    assert consent(other.digest).status == 202
    change(engine, SYSTEM, other, active=False)
    change(engine, SYSTEM, other, active=True)
    with pytest.raises(SecondPersonRequired):
        consent(other.digest)
    assert consent(admin.digest).status in (200, 201)


def test_who_loses_the_rights_meanwhile_is_waited_for(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    other: TestUser,
) -> None:
    made = UUID(make_transaction(engine, merchant)["id"])
    transaction_service.confirm(connection, other.digest, ORIGIN, made, alone=ALONE)

    def second() -> Answer:
        with autocommit(engine) as own:
            return transaction_service.confirm(own, admin.digest, ORIGIN, made, alone=ALONE)

    with uncommitted(engine) as holder:
        holder.execute(text("UPDATE users SET active = false WHERE id = :id"), {"id": other.id})
        with blocked(superuser, second) as waiting:
            holder.commit()
    assert told(waiting.result()) == (202, 1)


# -- in the panel


def panel_of(app: Flask, user: TestUser, password: str = PASSWORD) -> Panel:
    panel = Panel(app.test_client())
    panel.log_in(user, password)
    return panel


def status_of(connection: Connection, made: UUID) -> str:
    found = connection.execute(text("SELECT status FROM transactions WHERE id = :id"), {"id": made})
    return str(found.scalar_one())


@pytest.fixture
def careful(make_app: Callable[..., Flask]) -> Flask:
    return make_app(four_eyes_above=ALONE)


@pytest.fixture
def boss(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, role=Role.ADMIN, password=PASSWORD)


def confirm(panel: Panel, made: UUID) -> str:
    return panel.follow(panel.post(f"/admin/transactions/{made}/confirm"))


@pytest.mark.parametrize("changes_it", [False, True], ids=["as set", "changed in that login"])
def test_a_login_whose_password_the_other_has_set_is_no_second_person(
    careful: Flask,
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    boss: TestUser,
    other: TestUser,
    third: TestUser,
    changes_it: bool,
) -> None:
    """Also a password that was changed in a login that the other one could open."""
    made = UUID(make_transaction(engine, merchant)["id"])
    mine = panel_of(careful, boss)
    form = {"name": other.name, "role": "admin", "currency": "RUB", "commission_rate": "0"}
    saved = mine.post(f"/admin/users/{other.id}/edit", {**form, "password": OTHER_PASSWORD})
    assert saved.status_code == 303
    theirs = panel_of(careful, other, OTHER_PASSWORD)
    if changes_it:
        theirs.post(f"/admin/users/{other.id}/edit", {**form, "password": PASSWORD})
        theirs = panel_of(careful, other)

    assert "A second admin must confirm as well." in confirm(mine, made)
    assert "come from one hand" in confirm(theirs, made)
    assert status_of(connection, made) == "pending"
    assert "The transaction is confirmed." in confirm(panel_of(careful, third), made)


def test_an_admin_that_the_other_has_made_is_no_second_person(
    careful: Flask, connection: Connection, engine: Engine, merchant: TestUser, boss: TestUser
) -> None:
    made = UUID(make_transaction(engine, merchant)["id"])
    mine = panel_of(careful, boss)
    form = {"role": "admin", "currency": "RUB", "commission_rate": "0"}
    password = {"password": OTHER_PASSWORD}
    mine.post("/admin/users/new", {**form, **password, "name": "puppet"})
    puppet = Panel(careful.test_client())
    named = {"name": "puppet", "password": OTHER_PASSWORD}
    assert puppet.post("/login", named).status_code == 303
    # A puppet's puppet hangs on the same strings, and so does a key that one of them makes.
    puppet.post("/admin/users/new", {**form, **password, "name": "puppet's puppet"})
    strings = Panel(careful.test_client())
    assert strings.post("/login", {**named, "name": "puppet's puppet"}).status_code == 303
    with Session(engine) as session:
        user = user_service.find_user(session, "puppet")
        assert user is not None
        user_id = user.id
    asked = {"scopes": ["read", "confirm"], "expires_in": ""}
    page = strings.post(f"/admin/users/{user_id}/keys", asked)
    found = re.search(r"sk_live_\w{49}", page.text)
    assert found

    assert "A second admin must confirm as well." in confirm(mine, made)
    for panel in (puppet, strings):
        assert "come from one hand" in confirm(panel, made)
    with pytest.raises(SecondPersonRequired):
        transaction_service.confirm(connection, digest_of(found[0]), ORIGIN, made, alone=ALONE)
    assert status_of(connection, made) == "pending"


def test_a_password_that_one_changes_oneself_stays_ones_own(
    careful: Flask,
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    boss: TestUser,
    other: TestUser,
) -> None:
    made = UUID(make_transaction(engine, merchant)["id"])
    form = {"name": other.name, "role": "admin", "currency": "RUB", "commission_rate": "0"}
    own = {**form, "password": OTHER_PASSWORD}
    panel_of(careful, other).post(f"/admin/users/{other.id}/edit", own)

    confirm(panel_of(careful, boss), made)
    assert "is confirmed" in confirm(panel_of(careful, other, OTHER_PASSWORD), made)


def test_a_password_from_the_command_line_is_ones_own_again(
    run: Run,
    careful: Flask,
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    boss: TestUser,
    other: TestUser,
) -> None:
    made = UUID(make_transaction(engine, merchant)["id"])
    change(engine, boss.actor, other, password=OTHER_PASSWORD)
    old = panel_of(careful, other, OTHER_PASSWORD)

    done = run("update-user", other.name, "--password-stdin", typed=f"{PASSWORD}\n")

    assert done.stdout == f'updated user {other.name}: {{"password": "changed"}}\n'
    assert old.get("/admin/").status_code == 303, "that login has ended"
    confirm(panel_of(careful, boss), made)
    assert "is confirmed" in confirm(panel_of(careful, other), made)


def test_a_password_changes_after_the_login_that_it_opens_and_ends_it(
    connection: Connection, engine: Engine, superuser: Engine, boss: TestUser, other: TestUser
) -> None:
    """No login of the old password is left behind, and until then it counts as of its maker."""
    resume = partial(session_service.resume, connection, idle_seconds=60, lifetime_seconds=60)
    change(engine, boss.actor, other, password=OTHER_PASSWORD)
    with Session(engine) as session:
        user = login_service.log_in(session, name=other.name, password=OTHER_PASSWORD, ip="::1")
        with blocked(
            superuser, lambda: change(engine, SYSTEM, other, password=PASSWORD)
        ) as changing:
            token = session_service.open_session(session, user, ip=None, user_agent=None)
            made_by = session.scalar(select(PanelSession.made_by).filter_by(user_id=other.id))
            session.commit()
            assert changing.result() is None
    assert made_by == [boss.id]
    assert resume(token) is None
