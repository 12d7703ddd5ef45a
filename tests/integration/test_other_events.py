"""Events of refunds, payouts and adjustments: read like others, sent where asked for."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.api import schemas
from standart.db import transaction
from standart.encryption import Keyring
from standart.errors import Conflict
from standart.models import User
from standart.services import event_search, replay_service, transaction_service, webhook_service
from standart.services.access import SYSTEM, Actor
from standart.services.event_search import Wanted
from tests import movements
from tests.builders import ORIGIN, TestUser, make_endpoint, make_transaction, make_user
from tests.integration.panel import Panel

TOLD = {
    "refund": ["refund.created"],
    "waiting": [],
    "credit": ["balance.adjusted"],
    "reserved": ["payout.created"],
    "approved": ["payout.approved", "payout.created"],
    "payout_paid": ["payout.paid", "payout.approved", "payout.created"],
    "payout_failed": ["payout.failed", "payout.approved", "payout.created"],
    "payout_rejected": ["payout.rejected", "payout.created"],
    "payout_canceled": ["payout.canceled", "payout.created"],
    "confirmed": ["transaction.confirmed"],
}
SEQUENCES = {name: list(range(len(types), 0, -1)) for name, types in TOLD.items()}
SEQUENCES["confirmed"] = [2]  # nobody asked for its creation
KINDS = {"waiting": "adjustment", "credit": "adjustment", "refund": "refund"}


@pytest.fixture
def moved(connection: Connection, names: dict[str, Any]) -> dict[str, Any]:
    return names | movements.every_kind(connection, names["shop"], names["confirmed"])


def told(connection: Connection, actor: Actor, **filters: Any) -> list[dict[str, Any]]:
    page = event_search.page(connection, actor, Wanted(**filters), limit=100)
    return [json.loads(body) for body, _, _ in page.rows]


@pytest.mark.parametrize("name", TOLD)
def test_each_object_has_its_events_under_its_id(
    connection: Connection, moved: dict[str, Any], admin: TestUser, merchant: TestUser, name: str
) -> None:
    events = told(connection, admin.actor, object_id=moved[name])

    assert [each["type"] for each in events] == TOLD[name]
    assert [each["sequence"] for each in events] == SEQUENCES[name]
    assert [each["payload"].get("sequence") for each in events] == SEQUENCES[name]
    usual = "transaction" if name == "confirmed" else "payout"
    for each in events:
        assert each["object_id"] == each["payload"]["id"] == str(moved[name])
        assert each["object_type"] == KINDS.get(name, usual)
        assert each["transaction_id"] == (str(moved[name]) if name == "confirmed" else None)
    assert told(connection, admin.actor, object_id=moved[name], type="refund.none") == []
    # A stranger asks in vain.
    assert told(connection, merchant.actor, object_id=moved[name]) == []


def test_an_endpoint_that_wants_endings_only_gets_nothing_of_it(
    connection: Connection, engine: Engine, keyring: Keyring, moved: dict[str, Any], admin: TestUser
) -> None:
    undelivered = connection.execute(
        text(
            "SELECT count(*) FILTER (WHERE d.id IS NOT NULL) AS delivered, count(*) AS written"
            " FROM events v LEFT JOIN deliveries d ON d.event_id = v.id"
            " WHERE v.transaction_id IS NULL"
        )
    ).one()
    assert (undelivered.delivered, undelivered.written) == (0, 18)

    [event] = told(connection, admin.actor, object_id=moved["refund"])
    with Session(engine) as session, transaction(session):
        assert session.get_one(User, moved["shop"]).webhook_url
        with pytest.raises(Conflict, match="wants this event"):
            replay_service.replay(session, SYSTEM, UUID(event["id"]))
    assert webhook_service.claim_due(connection, keyring).deliveries == []


def test_an_endpoint_that_asks_for_them_gets_them(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    shop = make_user(engine, keyring)
    made = make_transaction(engine, shop)
    transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))
    make_endpoint(engine, keyring, shop, "payout.*", "refund.created", url="https://b.example/")
    ids = movements.every_kind(connection, shop.id, UUID(made["id"]))

    for name in set(TOLD) & set(ids):
        events = told(connection, shop.actor, object_id=ids[name])
        assert [each["type"] for each in events] == TOLD[name]
        sent = [each["type"] for each in events if each["deliveries"]]
        assert sent == [kind for kind in TOLD[name] if kind != "balance.adjusted"]
    claimed = webhook_service.claim_due(connection, keyring).deliveries
    assert claimed, "and they are sent"


def test_the_api_lists_them_as_its_schema_says(
    client: FlaskClient, moved: dict[str, Any], admin: TestUser
) -> None:
    listed = client.get("/events?limit=100", headers=admin.headers)
    page = msgspec.json.decode(listed.data, type=schemas.EventPage)
    assert len(page.data) == 21
    assert {each.object_type for each in page.data} == {
        "transaction",
        "refund",
        "payout",
        "adjustment",
    }
    one = client.get(f"/events?object_id={str(moved['refund']).upper()}", headers=admin.headers)
    [refunded] = one.json["data"]
    assert client.get(f"/events/{refunded['id']}", headers=admin.headers).json == refunded
    nothing = client.get(f"/events?object_id={moved['shop']}", headers=admin.headers)
    assert nothing.json == {"data": [], "next_cursor": None}


def test_the_panel_shows_them_too(
    connection: Connection, client: FlaskClient, moved: dict[str, Any], admin: TestUser
) -> None:
    panel = Panel(client)
    panel.log_in(admin)
    listed = panel.get("/admin/webhooks/?page_size=100")
    assert listed.status_code == 200
    for event in told(connection, admin.actor, object_id=moved["payout_paid"]):
        assert event["id"] in listed.text
        assert panel.get(f"/admin/webhooks/{event['id']}").status_code == 200
