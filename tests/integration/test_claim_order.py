"""Ordered endpoints: an object's next event waits for the former one's success or death."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.services import endpoint_acts, transaction_service, webhook_service, webhook_sql
from standart.services.webhook_work import ClaimedDelivery
from standart.states import PayoutAction
from tests.builders import ORIGIN, TestUser, make_transaction
from tests.integration import payouts
from tests.integration.concurrency import blocked, uncommitted
from tests.integration.mail import BAD, GOOD, SCHEDULE, Mail, by_endpoint


@pytest.fixture
def shop(mail: Mail) -> TestUser:
    return mail.shop(url=None)


@pytest.fixture
def ordered(mail: Mail, shop: TestUser) -> UUID:
    return mail.endpoint(shop, ordered=True)


def told(deliveries: Sequence[ClaimedDelivery]) -> list[tuple[str, str]]:
    """The object and type of each, sorted."""
    events = [json.loads(each.body) for each in deliveries]
    return sorted((each["id"], each["type"]) for each in events)


def paid_in(engine: Engine, admin: TestUser, shop: TestUser, connection: Connection) -> str:
    """A transaction that was created and confirmed; return its id."""
    made = make_transaction(engine, shop)
    transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))
    return str(made["id"])


def test_a_transactions_ending_waits_for_its_beginning(
    mail: Mail,
    shop: TestUser,
    ordered: UUID,
    engine: Engine,
    admin: TestUser,
    connection: Connection,
) -> None:
    free = mail.endpoint(shop)
    first, second = (paid_in(engine, admin, shop, connection) for _ in range(2))
    created = [(each, "transaction.created") for each in (first, second)]
    confirmed = [(each, "transaction.confirmed") for each in (first, second)]

    claimed = mail.claimed()
    mine = [each for each in claimed if each.endpoint_id == ordered]
    assert told(mine) == sorted(created)
    others = [each for each in claimed if each.endpoint_id == free]
    assert told(others) == sorted(created + confirmed), "an endpoint that asks for no order"
    assert mail.claimed() == [], "it waits while the former one is under way"

    # One fails and will be tried again; the other transaction goes on.
    by_object = {json.loads(each.body)["id"]: each for each in mine}
    mail.record((by_object[first], BAD), (by_object[second], GOOD))
    assert told(mail.claimed()) == [(second, "transaction.confirmed")]
    assert mail.claimed() == []

    mail.pass_time(10)
    [retry] = mail.claimed()
    assert told([retry]) == [(first, "transaction.created")]
    mail.answer([retry], GOOD)
    assert told(mail.claimed()) == [(first, "transaction.confirmed")]


def test_death_lets_the_next_one_go_as_well(
    mail: Mail,
    shop: TestUser,
    ordered: UUID,
    engine: Engine,
    admin: TestUser,
    connection: Connection,
) -> None:
    paid = paid_in(engine, admin, shop, connection)
    for _ in range(len(SCHEDULE) + 1):
        [delivery] = mail.claimed()
        assert told([delivery]) == [(paid, "transaction.created")]
        mail.answer([delivery], BAD)
        mail.pass_time(3600)
    assert mail.states(ordered) == {"waiting": 1, "dead": 1}
    assert told(mail.claimed()) == [(paid, "transaction.confirmed")]


def test_a_payouts_events_come_one_after_the_other(
    mail: Mail,
    shop: TestUser,
    engine: Engine,
    admin: TestUser,
    connection: Connection,
    merchant: TestUser,
) -> None:
    payouts.credit(engine, admin, shop)
    mail.endpoint(shop, "payout.*", ordered=True)
    payer = payouts.payer_of(engine, shop)
    paid = payouts.created(connection, mail.keyring, payer)
    other = payouts.created(connection, mail.keyring, payer)
    for action in (PayoutAction.APPROVE, PayoutAction.PAY):
        payouts.act(connection, admin.digest, paid, action)

    rounds = []
    while claimed := mail.claimed():
        rounds.append(told(claimed))
        mail.answer(claimed, GOOD)

    assert rounds == [
        sorted([(str(paid), "payout.created"), (str(other), "payout.created")]),
        [(str(paid), "payout.approved")],
        [(str(paid), "payout.paid")],
    ]


def test_an_event_that_waits_for_its_turn_is_not_our_delay(
    mail: Mail,
    shop: TestUser,
    ordered: UUID,
    engine: Engine,
    admin: TestUser,
    connection: Connection,
) -> None:
    paid_in(engine, admin, shop, connection)
    mail.do("UPDATE deliveries SET next_attempt_at = next_attempt_at - interval '1 hour'")
    assert webhook_service.oldest_due_seconds(connection) >= 3600

    mail.answer(mail.claimed(), BAD)

    assert mail.states(ordered) == {"waiting": 2}
    assert webhook_service.oldest_due_seconds(connection) == 0
    # While one that nothing stands before waits for us.
    paid_in(engine, admin, shop, connection)
    mail.do(
        "UPDATE deliveries SET next_attempt_at = next_attempt_at - interval '1 minute'"
        " WHERE attempt_count = 0"
    )
    assert 60 <= webhook_service.oldest_due_seconds(connection) < 600


def test_what_goes_wrong_with_one_endpoint_takes_no_other_along(
    mail: Mail,
    shop: TestUser,
    engine: Engine,
    admin: TestUser,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, sound = (mail.endpoint(shop, ordered=True) for _ in range(2))
    free = mail.endpoint(shop)
    paid_in(engine, admin, shop, connection)
    fault = f"WITH fault AS MATERIALIZED (SELECT 1 / (CASE WHEN '{broken}' = ANY"
    fault += " (CAST(:endpoint_ids AS uuid[])) THEN 0 ELSE 1 END) AS n), lane AS MATERIALIZED ("
    statement = webhook_sql.CLAIM_ORDERED.text.replace("WITH lane AS MATERIALIZED (", fault, 1)
    statement = statement.replace("FROM (SELECT) AS always", "FROM fault AS always", 1)
    monkeypatch.setattr(webhook_sql, "CLAIM_ORDERED", text(statement))

    assert by_endpoint(mail.claimed()) == {sound: 1, free: 2}

    assert mail.states(broken) == {"waiting": 2}


def test_what_is_recorded_while_a_claim_moves_the_next_event_lets_it_go(
    mail: Mail,
    shop: TestUser,
    ordered: UUID,
    engine: Engine,
    superuser: Engine,
    admin: TestUser,
    connection: Connection,
) -> None:
    paid = paid_in(engine, admin, shop, connection)
    [created] = mail.claimed()
    with uncommitted(engine) as other:
        assert webhook_service.claim_due(other, mail.keyring).deliveries == []
        with blocked(superuser, lambda: mail.answer([created], GOOD)) as recording:
            other.commit()
            recording.result()
    assert told(mail.claimed()) == [(paid, "transaction.confirmed")]


def test_without_order_nothing_waits_for_its_turn_any_more(
    mail: Mail,
    shop: TestUser,
    ordered: UUID,
    engine: Engine,
    admin: TestUser,
    connection: Connection,
) -> None:
    paid = paid_in(engine, admin, shop, connection)
    mail.answer(mail.claimed(), BAD)
    assert mail.claimed() == []

    changes = endpoint_acts.Changes(ordered=False)
    endpoint_acts.update(connection, shop.actor, ORIGIN, mail.keyring, ordered, changes)

    assert told(mail.claimed()) == [(paid, "transaction.confirmed")]
