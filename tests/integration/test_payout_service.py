"""Payouts: what each act does to the money, the status, the events and the audit log."""

from __future__ import annotations

import dataclasses
import itertools
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from standart.clock import new_id
from standart.encryption import Keyring
from standart.errors import (
    Forbidden,
    InsufficientBalance,
    InsufficientScope,
    InvalidInput,
    NotFound,
    PayoutState,
    SecondPersonRequired,
)
from standart.models import Role, Scope
from standart.services import payout_list, payout_service
from standart.services.access import Origin, operator
from standart.services.key_service import KeyDigest
from standart.services.payout_service import NewPayout
from standart.states import PAYOUT_TRANSITIONS, PayoutAction, PayoutStatus, payout_target
from tests.builders import ORIGIN, TestUser, make_user, row_counts
from tests.integration.books import findings
from tests.integration.payouts import (
    WAYS,
    act,
    balances,
    create,
    created,
    credit,
    payer_of,
    wire,
)

PAIRS = list(itertools.product(PayoutStatus, PayoutAction))
ALONE = {"RUB": 500}


@pytest.fixture
def payer(engine: Engine, merchant: TestUser, admin: TestUser) -> KeyDigest:
    """The key of a merchant with 97.00 available."""
    credit(engine, admin, merchant)
    return payer_of(engine, merchant)


def events(connection: Connection, payout_id: UUID) -> list[str]:
    rows = connection.execute(
        text("SELECT type FROM events WHERE payout_id = :id ORDER BY created_at, id"),
        {"id": payout_id},
    )
    return [row.type for row in rows]


def audited(connection: Connection, payout_id: UUID) -> list[tuple[str, str | None]]:
    rows = connection.execute(
        text("SELECT action, actor_name FROM audit_log WHERE object_id = :id ORDER BY id"),
        {"id": str(payout_id)},
    )
    return [(row.action, row.actor_name) for row in rows]


def test_a_new_payout_is_pending_and_reserves_its_money(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    payer: KeyDigest,
) -> None:
    answer = create(
        connection, keyring, payer, "10.50", reference="week 47", destination={"iban": "DE99"}
    )

    body = wire(answer)
    payout_id = UUID(body["id"])
    created_at = datetime.fromisoformat(body["created_at"])
    assert (answer.status, list(body)) == (
        201,
        [
            *("id", "user_id", "amount", "currency", "status", "destination", "reference"),
            *("reason", "approvals", "created_at", "approved_at", "finished_at"),
        ],
    )
    assert created_at.tzinfo == UTC
    assert body | {"id": None, "created_at": None} == {
        "id": None,
        "user_id": str(merchant.id),
        "amount": "10.50",
        "currency": "RUB",
        "status": "pending",
        "destination": {"iban": "****"},
        "reference": "week 47",
        "reason": None,
        "approvals": 0,
        "created_at": None,
        "approved_at": None,
        "finished_at": None,
    }
    assert balances(connection, merchant.id) == {
        "available": 8650,
        "pending_payout": 1050,
        "clearing": -10000,
        "commission": 300,
    }
    assert events(connection, payout_id) == ["payout.created"]
    assert audited(connection, payout_id) == [("payout.created", merchant.name)]
    assert findings(engine) == []


def test_what_an_event_tells_is_what_the_answer_said(
    connection: Connection, keyring: Keyring, admin: TestUser, payer: KeyDigest
) -> None:
    made = create(connection, keyring, payer)
    payout_id = UUID(wire(made)["id"])
    way = WAYS[PayoutStatus.PAID]
    told = [made, *(act(connection, admin.digest, payout_id, action) for action in way)]

    payloads = connection.scalars(
        text("SELECT payload FROM events WHERE payout_id = :id ORDER BY created_at, id"),
        {"id": payout_id},
    ).all()
    assert [json.loads(payload)["data"] for payload in payloads] == [wire(each) for each in told]
    assert (
        connection.scalar(
            text(
                "SELECT count(*) FROM deliveries JOIN events e ON e.id = event_id"
                " WHERE e.payout_id = :id"
            ),
            {"id": payout_id},
        )
        == 0
    )


@pytest.mark.parametrize(("status", "action"), PAIRS)
def test_every_pair_moves_stays_or_is_refused(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    payer: KeyDigest,
    status: PayoutStatus,
    action: PayoutAction,
) -> None:
    payout_id = created(connection, keyring, payer)
    for step in WAYS[status]:
        act(connection, admin.digest, payout_id, step)
    before = row_counts(connection)
    was = payout_service.check(connection, payer, ORIGIN, payout_id)
    assert wire(was)["status"] == status

    if (status, action) in PAYOUT_TRANSITIONS:
        answer = act(connection, admin.digest, payout_id, action)
        target = PAYOUT_TRANSITIONS[status, action]
        assert (answer.status, wire(answer)["status"]) == (200, target)
        assert events(connection, payout_id)[-1] == f"payout.{target}"
        assert audited(connection, payout_id)[-1] == (f"payout.{target}", admin.name)
    elif WAYS[status][-1:] == (action,):
        assert act(connection, admin.digest, payout_id, action) == was
        assert row_counts(connection) == before
    else:
        with pytest.raises(PayoutState) as refused:
            act(connection, admin.digest, payout_id, action)
        assert refused.value.members == {"payout_status": status.value}
        assert row_counts(connection) == before

    now = wire(payout_service.check(connection, payer, ORIGIN, payout_id))
    assert (now["approved_at"] is not None) == (now["status"] in ("approved", "paid", "failed"))
    assert (now["finished_at"] is None) == (now["status"] in ("pending", "approved"))
    reserved = 1000 if now["status"] in ("pending", "approved") else 0
    paid = 1000 if now["status"] == "paid" else 0
    expected = {
        "available": 9700 - reserved - paid,
        "pending_payout": reserved,
        "clearing": -10000 + paid,
        "commission": 300,
    }
    assert balances(connection, merchant.id) == {k: v for k, v in expected.items() if v}
    assert findings(engine) == []


def test_the_table_of_the_tests_covers_every_status_and_action() -> None:
    assert set(WAYS) == set(PayoutStatus)
    assert {action for way in WAYS.values() for action in way} == set(PayoutAction)
    for status, way in WAYS.items():
        reached = PayoutStatus.PENDING
        for action in way:
            reached = payout_target(reached, action)
        assert reached is status


def test_reasons_are_kept(
    connection: Connection, keyring: Keyring, admin: TestUser, payer: KeyDigest
) -> None:
    rejected, failed = created(connection, keyring, payer), created(connection, keyring, payer)
    act(connection, admin.digest, rejected, PayoutAction.REJECT)
    act(connection, admin.digest, failed, PayoutAction.APPROVE)
    act(connection, admin.digest, failed, PayoutAction.FAIL, reason="The account is closed.")

    for payout_id, reason in ((rejected, "No."), (failed, "The account is closed.")):
        body = wire(payout_service.check(connection, payer, ORIGIN, payout_id))
        assert body["reason"] == reason


def test_more_than_is_available_is_refused_and_nothing_written(
    connection: Connection, keyring: Keyring, payer: KeyDigest
) -> None:
    create(connection, keyring, payer, "97.00")
    before = row_counts(connection)
    with pytest.raises(InsufficientBalance) as refused:
        create(connection, keyring, payer, "0.01")

    assert refused.value.members == {"currency": "RUB", "available": "0.00"}
    assert row_counts(connection) == before


@pytest.mark.parametrize("ending", [PayoutStatus.REJECTED, PayoutStatus.CANCELED, "failed"])
def test_what_was_given_back_can_be_paid_out_again(
    connection: Connection,
    keyring: Keyring,
    admin: TestUser,
    payer: KeyDigest,
    ending: PayoutStatus,
) -> None:
    payout_id = created(connection, keyring, payer, amount="97.00")
    for action in WAYS[PayoutStatus(ending)]:
        act(connection, admin.digest, payout_id, action)
    assert create(connection, keyring, payer, "97.00").status == 201


def test_other_currencies_are_paid_from_their_own_balance(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    payer: KeyDigest,
) -> None:
    credit(engine, admin, merchant, "1000", currency="JPY")
    with pytest.raises(InsufficientBalance) as refused:
        create(connection, keyring, payer, "971", currency="JPY")
    assert refused.value.members == {"currency": "JPY", "available": "970"}
    with pytest.raises(InvalidInput):
        create(connection, keyring, payer, "9.70", currency="JPY")

    body = wire(create(connection, keyring, payer, "970", currency="JPY"))

    assert (body["amount"], body["currency"]) == ("970", "JPY")
    assert balances(connection, merchant.id)["available"] == 9700
    assert balances(connection, merchant.id, "JPY")["pending_payout"] == 970


def test_running_a_request_again_makes_one_payout(
    connection: Connection, keyring: Keyring, merchant: TestUser, payer: KeyDigest
) -> None:
    new = NewPayout(amount="60.00", destination={"iban": "DE991234567890"})
    first = payout_service.create(connection, payer, ORIGIN, keyring, new)
    before = row_counts(connection)
    again = payout_service.create(connection, payer, ORIGIN, keyring, new)

    assert again == first
    assert row_counts(connection) == before
    assert balances(connection, merchant.id)["available"] == 3700


def test_an_admin_names_the_merchant_and_a_merchant_must_not(
    connection: Connection,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    payer: KeyDigest,
) -> None:
    before = row_counts(connection)
    for caller, user_id in ((admin.digest, None), (payer, merchant.id), (admin.digest, new_id())):
        with pytest.raises(InvalidInput) as refused:
            create(connection, keyring, caller, user_id=user_id)
        assert [each.field for each in refused.value.errors] == ["user_id"]
    assert row_counts(connection) == before

    body = wire(create(connection, keyring, admin.digest, user_id=merchant.id))
    assert body["user_id"] == str(merchant.id)


def test_what_a_deactivated_merchant_is_owed_can_be_paid_out(
    connection: Connection,
    superuser: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    payer: KeyDigest,
) -> None:
    with superuser.begin() as other:
        other.execute(text("UPDATE users SET active = false WHERE id = :id"), {"id": merchant.id})
    payout_id = created(connection, keyring, admin.digest, amount="97.00", user_id=merchant.id)
    for action in WAYS[PayoutStatus.PAID]:
        act(connection, admin.digest, payout_id, action)
    assert "available" not in balances(connection, merchant.id)


@pytest.mark.parametrize("action", PayoutAction)
def test_strangers_find_nothing_and_merchants_only_cancel(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    payer: KeyDigest,
    action: PayoutAction,
) -> None:
    payout_id = created(connection, keyring, payer)
    stranger = payer_of(engine, make_user(engine, keyring))
    before = row_counts(connection)

    for caller in (stranger,) if action is PayoutAction.CANCEL else (stranger, payer):
        wanted = NotFound if action is PayoutAction.CANCEL else InsufficientScope
        with pytest.raises(wanted):
            act(connection, caller, payout_id, action)
    with pytest.raises(NotFound):
        act(connection, admin.digest, new_id(), action)
    with pytest.raises(NotFound):
        payout_service.check(connection, stranger, ORIGIN, payout_id)
    assert row_counts(connection) == before


def test_the_default_scopes_do_not_pay_out(
    connection: Connection, keyring: Keyring, merchant: TestUser, payer: KeyDigest
) -> None:
    payout_id = created(connection, keyring, payer)
    with pytest.raises(InsufficientScope):
        create(connection, keyring, merchant.digest)
    with pytest.raises(InsufficientScope):
        act(connection, merchant.digest, payout_id, PayoutAction.CANCEL)
    assert payout_service.check(connection, merchant.digest, ORIGIN, payout_id).status == 200


def test_a_login_of_the_panel_acts_like_a_key_and_a_regular_one_does_not(
    connection: Connection,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    payer: KeyDigest,
) -> None:
    payout_id = created(connection, keyring, payer)
    regular = operator(merchant.id, merchant.name, Role.REGULAR, ORIGIN)
    with pytest.raises(InsufficientScope):
        payout_service.cancel(connection, regular, ORIGIN, payout_id)
    # Whatever scopes somebody may have got: no admin, no approval.
    generous = dataclasses.replace(regular, scopes=frozenset(Scope))
    with pytest.raises(Forbidden):
        payout_service.approve(connection, generous, ORIGIN, payout_id)

    chief = operator(admin.id, admin.name, Role.ADMIN, ORIGIN)
    assert payout_service.approve(connection, chief, ORIGIN, payout_id).status == 200


def test_above_the_sum_two_admins_must_approve(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    payer: KeyDigest,
) -> None:
    payout_id = created(connection, keyring, payer, amount="5.01")
    second = make_user(engine, keyring, role=Role.ADMIN)

    def approve(who: TestUser) -> tuple[int, str, int]:
        answer = act(connection, who.digest, payout_id, PayoutAction.APPROVE, alone=ALONE)
        body = wire(answer)
        return answer.status, body["status"], body["approvals"]

    assert approve(admin) == (202, "pending", 1)
    before = row_counts(connection)
    with pytest.raises(SecondPersonRequired):
        approve(admin)
    assert row_counts(connection) == before
    assert events(connection, payout_id) == ["payout.created"]
    assert approve(second) == (200, "approved", 2)
    # Approved is approved: whoever repeats it is told so.
    assert approve(admin) == approve(second) == (200, "approved", 2)
    assert [action for action, _ in audited(connection, payout_id)] == [
        *("payout.created", "payout.approved_by_one", "payout.approved"),
    ]
    assert findings(engine) == []


def test_up_to_the_sum_one_admin_suffices(
    connection: Connection, keyring: Keyring, admin: TestUser, payer: KeyDigest
) -> None:
    payout_id = created(connection, keyring, payer, amount="5.00")
    answer = act(connection, admin.digest, payout_id, PayoutAction.APPROVE, alone=ALONE)
    assert (answer.status, wire(answer)["status"]) == (200, "approved")


def test_a_first_approval_does_not_hinder_the_other_acts(
    connection: Connection, keyring: Keyring, admin: TestUser, payer: KeyDigest
) -> None:
    for action, status in ((PayoutAction.REJECT, "rejected"), (PayoutAction.CANCEL, "canceled")):
        payout_id = created(connection, keyring, payer)
        act(connection, admin.digest, payout_id, PayoutAction.APPROVE, alone=ALONE)
        body = wire(act(connection, admin.digest, payout_id, action))
        assert (body["status"], body["approvals"]) == (status, 1)
        with pytest.raises(PayoutState):
            act(connection, admin.digest, payout_id, PayoutAction.APPROVE, alone=ALONE)


def test_an_approval_that_was_committed_unheard_is_answered_like_the_first_time(
    connection: Connection, keyring: Keyring, admin: TestUser, payer: KeyDigest
) -> None:
    payout_id = created(connection, keyring, payer)
    origin = Origin("api", "request-1")

    def approve(act_id: UUID) -> tuple[int, str]:
        answer = payout_service.approve(
            connection, admin.digest, origin, payout_id, alone=ALONE, act_id=act_id
        )
        return answer.status, answer.body

    act_id = uuid4()
    assert approve(act_id) == approve(act_id)
    with pytest.raises(SecondPersonRequired):
        approve(uuid4())


def test_lists_are_newest_first_and_hold_what_the_filters_say(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    payer: KeyDigest,
) -> None:
    made = [created(connection, keyring, payer) for _ in range(3)]
    act(connection, admin.digest, made[1], PayoutAction.CANCEL)
    other = make_user(engine, keyring)
    credit(engine, admin, other)
    foreign = created(connection, keyring, payer_of(engine, other))

    def listed(who: TestUser, **filters: object) -> list[UUID]:
        rows = payout_list.list_payouts(connection, who.actor, **filters)  # type: ignore[arg-type]
        return [id_ for _, _, id_ in rows]

    newest = made[::-1]
    assert listed(merchant) == newest
    assert listed(merchant, user_id=other.id) == []
    assert listed(admin) == [foreign, *newest]
    assert listed(admin, user_id=merchant.id) == newest
    assert listed(merchant, status=PayoutStatus.CANCELED) == [made[1]]
    assert listed(merchant, currency="USD") == []
    rows = payout_list.list_payouts(connection, merchant.actor, limit=2)
    assert [id_ for _, _, id_ in rows] == newest[:2]
    assert listed(merchant, after=rows[-1][1:]) == newest[2:]
    assert listed(merchant, created_from=rows[0][1]) == newest[:1]
    assert listed(merchant, created_to=rows[0][1]) == newest[1:]
    for body, created_at, id_ in rows:
        assert payout_service.check(connection, merchant.digest, ORIGIN, id_).body == body
        assert datetime.fromisoformat(json.loads(body)["created_at"]) == created_at
