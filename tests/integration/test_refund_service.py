"""Refunds: what is given back, from which account, and what is refused without a trace."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.errors import (
    InsufficientBalance,
    InsufficientScope,
    InvalidInput,
    NotConfirmed,
    NotFound,
    RefundTooLarge,
)
from standart.models import Scope
from standart.services import posting, refund_service, transaction_service
from standart.services.idempotency_service import IdempotencyClaim
from standart.services.key_service import KeyDigest, digest_of
from tests.builders import ORIGIN, TestUser, make_key, make_transaction, make_user, overdue
from tests.integration.books import findings
from tests.integration.concurrency import outcome
from tests.integration.movements import balance, body, paid, refund, refund_key
from tests.world import contents


@pytest.fixture
def key(engine: Engine, merchant: TestUser) -> KeyDigest:
    return refund_key(engine, merchant)


def entries(connection: Connection, refund_id: str) -> dict[str, int]:
    rows = connection.execute(
        text(
            "SELECT e.kind, e.amount FROM entries e JOIN journals j"
            " ON j.user_id = e.user_id AND j.id = e.journal_id WHERE j.refund_id = :id"
        ),
        {"id": refund_id},
    )
    return {row.kind: row.amount for row in rows}


def seen(connection: Connection, admin: TestUser, transaction_id: UUID) -> dict[str, Any]:
    answer = transaction_service.check(connection, admin.digest, ORIGIN, transaction_id)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def test_a_refund_keeps_the_commission_and_the_status(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    paid(engine, admin, merchant)
    made = paid(engine, admin, merchant, reference="order-1")
    before = seen(connection, admin, made)

    answer = refund(engine, key, made, "40.00", reason="Не подошло")()

    told = body(answer)
    assert answer.status == 201
    assert list(told) == [
        *("id", "transaction_id", "user_id", "status", "amount", "currency"),
        *("refund_commission", "commission_returned", "debited", "reason", "created_at"),
    ]
    assert {name: told[name] for name in told if name not in ("id", "created_at")} == {
        "transaction_id": str(made),
        "user_id": str(merchant.id),
        "status": "posted",
        "amount": "40.00",
        "currency": "RUB",
        "refund_commission": False,
        "commission_returned": "0.00",
        "debited": "40.00",
        "reason": "Не подошло",
    }
    assert entries(connection, told["id"]) == {"available": -4000, "clearing": 4000}
    assert balance(connection, merchant) == 2 * 9700 - 4000
    assert seen(connection, admin, made) == {**before, "refunded_amount": "40.00"}
    assert findings(engine) == []


def test_a_refund_may_give_back_the_commissions_share(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    made = paid(engine, admin, merchant)
    told = body(refund(engine, key, made, refund_commission=True)())
    shown = ("amount", "refund_commission", "commission_returned", "debited")
    assert [told[name] for name in shown] == ["100.00", True, "3.00", "97.00"]
    assert entries(connection, told["id"]) == {
        "available": -9700,
        "commission": -300,
        "clearing": 10000,
    }
    for kind in ("available", "commission", "clearing"):
        assert balance(connection, merchant, kind) == 0
    assert findings(engine) == []


@pytest.mark.parametrize(("rate", "lines"), [("0", 2), ("0.5", 3), ("1", 2)])
def test_a_line_of_zero_is_not_written(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    rate: str,
    lines: int,
) -> None:
    shop = make_user(engine, keyring, rate=rate)
    made = paid(engine, admin, shop)
    told = body(refund(engine, admin.digest, made, refund_commission=True)())
    assert len(entries(connection, told["id"])) == lines
    assert balance(connection, shop) == balance(connection, shop, "commission") == 0
    assert findings(engine) == []


def test_the_shares_of_all_parts_make_up_the_commission(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    """0.99 at 3 % is 0.03 commission: thirty-three parts cannot have a share each."""
    made = paid(engine, admin, merchant, amount="0.99")
    parts = ["0.03"] * 33
    shares = [
        body(refund(engine, key, made, part, refund_commission=True)())["commission_returned"]
        for part in parts
    ]
    assert sorted(shares) == ["0.00"] * 30 + ["0.01"] * 3
    assert balance(connection, merchant, "commission") == 0
    assert balance(connection, merchant) == 0
    assert findings(engine) == []


def test_a_part_that_kept_its_share_counts_for_the_next_one(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    paid(engine, admin, merchant)
    made = paid(engine, admin, merchant)
    assert body(refund(engine, key, made, "50.00")())["commission_returned"] == "0.00"
    rest = body(refund(engine, key, made, refund_commission=True)())
    assert (rest["amount"], rest["commission_returned"], rest["debited"]) == (
        "50.00",
        "1.50",
        "48.50",
    )
    assert balance(connection, merchant, "commission") == 300 + 150
    assert findings(engine) == []


@pytest.mark.parametrize(
    ("currency", "amount", "part"), [("JPY", "100", "1"), ("KWD", "5.000", "0.001")]
)
def test_a_refund_has_the_digits_of_its_transaction(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    currency: str,
    amount: str,
    part: str,
) -> None:
    made = paid(engine, admin, merchant, amount=amount, currency=currency)
    told = body(refund(engine, key, made, part)())
    assert (told["amount"], told["currency"]) == (part, currency)
    with pytest.raises(InvalidInput) as error:
        refund(engine, key, made, f"{part}{'0' if '.' in part else '.0'}")()
    assert [each.field for each in error.value.errors] == ["amount"]
    assert findings(engine) == []


def test_an_event_and_an_audit_record_tell_of_it(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    told = body(refund(engine, key, paid(engine, admin, merchant), "10.00")())
    event = connection.execute(
        text("SELECT id, refund_id, transaction_id, payload FROM events WHERE type LIKE 'refund%'")
    ).one()
    payload = json.loads(event.payload)
    assert (str(event.refund_id), event.transaction_id) == (told["id"], None)
    assert payload.pop("timestamp").endswith("Z")
    assert payload == {
        "type": "refund.created",
        "id": told["id"],
        "status": "posted",
        "sequence": 1,
        "data": told,
    }
    audit = connection.execute(
        text("SELECT actor_name, object_id, after FROM audit_log WHERE action = 'refund.created'")
    ).one()
    assert tuple(audit) == (merchant.name, told["id"], told)
    # The merchant's webhook URL gets the endings of transactions only.
    assert connection.scalar(text("SELECT count(*) FROM deliveries")) == 0


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        (None, None, "0.00"),
        (None, "0.01", "0.00"),
        ("60.00", "40.01", "40.00"),
        ("60.00", "100.00", "40.00"),
        (None, "9999999999999.99", "0.00"),
    ],
)
def test_more_than_is_left_is_refused(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    first: str | None,
    second: str | None,
    left: str,
) -> None:
    paid(engine, admin, merchant, amount="1000.00")
    made = paid(engine, admin, merchant)
    refund(engine, key, made, first)()
    before = contents(connection)
    with pytest.raises(RefundTooLarge) as error:
        refund(engine, key, made, second)()
    assert error.value.members == {"refundable": left, "currency": "RUB"}
    assert contents(connection) == before


def test_more_than_the_whole_is_refused_at_first(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    paid(engine, admin, merchant, amount="1000.00")
    made = paid(engine, admin, merchant)
    with pytest.raises(RefundTooLarge) as error:
        refund(engine, key, made, "100.01")()
    assert error.value.members["refundable"] == "100.00"
    assert connection.scalar(text("SELECT count(*) FROM refund_totals")) == 0


@pytest.mark.parametrize("folded", [False, True])
def test_what_is_not_available_is_not_refunded(
    connection: Connection,
    engine: Engine,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    folded: bool,
) -> None:
    made = paid(engine, admin, merchant)
    if folded:
        assert posting.fold(connection, batch=100) == 3
    before = contents(connection)
    with pytest.raises(InsufficientBalance) as error:
        refund(engine, key, made)()
    assert error.value.members == {"currency": "RUB", "available": "97.00"}
    assert contents(connection) == before
    # What is there can be given back to the last minor unit.
    refund(engine, key, made, "97.00")()
    assert balance(connection, merchant) == 0
    assert findings(engine) == []


def test_money_of_another_currency_does_not_help(
    engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    paid(engine, admin, merchant, amount="1000.00", currency="USD")
    with pytest.raises(InsufficientBalance) as error:
        refund(engine, key, paid(engine, admin, merchant))()
    assert error.value.members["currency"] == "RUB"


@pytest.mark.parametrize("state", ["pending", "canceled", "expired", "overdue"])
def test_only_what_was_paid_is_refunded(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
    state: str,
) -> None:
    paid(engine, admin, merchant, amount="1000.00")
    made = make_transaction(engine, merchant)["id"]
    if state == "canceled":
        transaction_service.cancel(connection, merchant.digest, ORIGIN, UUID(made))
    elif state != "pending":
        overdue(superuser, made)
    if state == "expired":
        assert transaction_service.expire_overdue(connection) == 1
    before = contents(connection)
    with pytest.raises(NotConfirmed) as error:
        refund(engine, key, UUID(made), "1.00")()
    shown = "expired" if state == "overdue" else state
    assert error.value.members == {"transaction_status": shown}
    assert contents(connection) == before


def test_strangers_learn_nothing_and_admins_refund_for_all(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
) -> None:
    stranger = refund_key(engine, make_user(engine, keyring))
    made = paid(engine, admin, merchant)
    mine = body(refund(engine, key, made, "10.00")())
    before = contents(connection)
    foreign, unknown = (outcome(refund(engine, stranger, id_, "x")) for id_ in (made, uuid4()))
    assert type(foreign) is type(unknown) is NotFound
    assert (foreign.detail, foreign.members) == (unknown.detail, unknown.members)
    other = make_user(engine, keyring)
    for id_ in (UUID(mine["id"]), uuid4()):
        with pytest.raises(NotFound):
            refund_service.check_refund(connection, other.actor, id_)
    assert contents(connection)["refunds"] == before["refunds"]
    by_admin = body(refund(engine, admin.digest, made, "10.00")())
    assert by_admin["user_id"] == str(merchant.id)
    for actor in (merchant.actor, admin.actor):
        found = refund_service.check_refund(connection, actor, UUID(mine["id"]))
        assert json.loads(found) == mine


@pytest.mark.parametrize("scopes", [(Scope.READ, Scope.WRITE), (Scope.PAYOUT,)])
def test_it_needs_the_scope(
    engine: Engine, merchant: TestUser, admin: TestUser, scopes: tuple[Scope, ...]
) -> None:
    made = paid(engine, admin, merchant)
    lacking = digest_of(make_key(engine, merchant, *scopes))
    with pytest.raises(InsufficientScope) as error:
        refund(engine, lacking, made, "1.00")()
    assert error.value.members == {"required_scope": "refund"}


def test_a_second_run_of_the_same_request_finds_the_first(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    """As when the connection dies after the commit; also where nothing is left by now."""
    made = paid(engine, admin, merchant)
    paid(engine, admin, merchant)
    request = refund(engine, key, made)
    first = request()
    before = contents(connection)
    assert request() == first
    assert contents(connection) == before


def test_a_key_replays_its_answer(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, key: KeyDigest
) -> None:
    made = paid(engine, admin, merchant)
    claim = IdempotencyClaim.of("/create_refund", "k", b"{}")
    first = refund(engine, key, made, "30.00", claimed=claim)()
    again = refund(engine, key, made, "30.00", claimed=claim)()
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.status, again.body) == (201, first.body)
    assert seen(connection, admin, made)["refunded_amount"] == "30.00"


def test_lists_are_the_callers_own_newest_first_and_narrowed(
    connection: Connection,
    engine: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    key: KeyDigest,
) -> None:
    other = make_user(engine, keyring)
    of_other = paid(engine, admin, other)
    first, second = paid(engine, admin, merchant), paid(engine, admin, merchant, currency="USD")
    made = [
        body(refund(engine, admin.digest, id_, "1.00")())
        for id_ in (first, second, of_other, first)
    ]

    def listed(actor: Any, **filters: Any) -> list[Any]:
        rows = refund_service.list_refunds(connection, actor, **filters)
        return [json.loads(text_) for text_, _, _ in rows]

    own = [made[3], made[1], made[0]]
    assert listed(merchant.actor) == own
    assert listed(merchant.actor, user_id=other.id) == []
    assert listed(merchant.actor, transaction_id=of_other) == []
    assert listed(admin.actor) == made[::-1]
    assert listed(admin.actor, user_id=other.id) == [made[2]]
    assert listed(merchant.actor, transaction_id=first) == [made[3], made[0]]
    assert listed(admin.actor, transaction_id=first) == [made[3], made[0]]
    assert listed(admin.actor, transaction_id=uuid4()) == []
    assert listed(merchant.actor, currency="USD") == [made[1]]
    rows = refund_service.list_refunds(connection, merchant.actor, limit=1)
    assert listed(merchant.actor, after=rows[0][1:]) == own[1:]
    moment = refund_service.list_refunds(connection, merchant.actor)[1][1]
    assert listed(merchant.actor, created_from=moment) == own[:2]
    assert listed(merchant.actor, created_to=moment) == own[2:]


def test_a_deactivated_merchants_payment_can_still_be_refunded_by_an_admin(
    engine: Engine, superuser: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = paid(engine, admin, merchant)
    with superuser.begin() as other:
        other.execute(text("UPDATE users SET active = false WHERE id = :id"), {"id": merchant.id})
    assert refund(engine, admin.digest, made, "1.00")().status == 201
