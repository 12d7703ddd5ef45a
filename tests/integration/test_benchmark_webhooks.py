"""The webhook benchmark piles up what the engine really claims."""

import json

from sqlalchemy import text

from benchmarks.webhooks import books
from benchmarks.webhooks.fairness import claim_plans
from standart.services import webhook_service
from tests.builders import make_user


def test_a_pile_is_due_in_turn_for_its_owners_with_the_products_own_bodies(
    engine, superuser, connection, keyring
):
    owners = [make_user(engine, keyring, webhook_url="https://shop.example/").id for _ in range(2)]
    with superuser.connect() as preparing:
        ids = books.pile_up(preparing, owners, 6)
        assert webhook_service.claim_due(connection, keyring).deliveries == []
        preparing.commit()

    claimed = webhook_service.claim_due(connection, keyring).deliveries

    assert {str(each.event_id) for each in claimed} == ids
    assert sorted(each.endpoint_id for each in claimed) == sorted(owners * 3)
    bodies = [json.loads(each.body) for each in claimed]
    assert {body["type"] for body in bodies} == {"transaction.created"}
    assert {body["data"]["user_id"] for body in bodies} == {str(owner) for owner in owners}


def test_the_plans_of_a_claim_leave_everything_due(engine, superuser, connection, keyring):
    owner = make_user(engine, keyring, webhook_url="https://shop.example/").id
    with superuser.connect() as preparing:
        books.pile_up(preparing, [owner], 3)
        plans = claim_plans(preparing)
        preparing.commit()

    assert plans.keys() == {"hold_lanes", "claim"}
    left = text("SELECT count(*) FROM deliveries WHERE lease IS NULL AND attempt_count = 0")
    assert connection.scalar(left) == 3
