"""Payouts over HTTP: a life from create to paid, repeats, pages, and who reads what."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.api import schemas
from standart.encryption import Keyring, generate_key
from standart.errors import ConfigurationError
from standart.models import Role, Scope
from standart.services import payout_destination
from tests.builders import ORIGIN, TABLES, TestUser, make_key, make_user, row_counts
from tests.conftest import ENCRYPTION_KEYS
from tests.integration.payouts import DESTINATION, created, credit, payer_of

Post = Callable[..., Any]

SHOWN = {
    "account": "****4312",
    "bank": "****mara",
    "bic": "****",
    "holder": "****enko",
}


@pytest.fixture
def payer(engine: Engine, admin: TestUser, merchant: TestUser) -> str:
    """A key of the merchant, who has 97.00, that may read and pay out."""
    credit(engine, admin, merchant)
    return make_key(engine, merchant, Scope.READ, Scope.PAYOUT)


@pytest.fixture
def post(client: FlaskClient) -> Post:
    def send(path: str, key: str, *, idempotency_key: str = "", **members: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return client.post(path, json=members, headers=headers)

    return send


def get(client: FlaskClient, path: str, key: str) -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {key}"})


def test_a_payout_lives_from_create_to_paid(
    client: FlaskClient, post: Post, payer: str, merchant: TestUser, admin: TestUser
) -> None:
    made = post("/create_payout", payer, amount="40.00", destination=DESTINATION, reference="w47")
    assert made.status_code == 201
    body = made.json
    assert body["destination"] == SHOWN
    assert (body["user_id"], body["status"], body["reference"]) == (
        str(merchant.id),
        "pending",
        "w47",
    )
    (balance,) = get(client, "/balance", payer).json["balances"]
    assert (balance["balance"], balance["pending_payout"]) == ("57.00", "40.00")

    approved = post("/approve_payout", admin.key, id=body["id"].upper())
    paid = post("/complete_payout", admin.key, id=body["id"], result="paid", reason="Order 7")

    assert (approved.status_code, approved.json["status"]) == (200, "approved")
    assert (paid.status_code, paid.json["status"], paid.json["reason"]) == (200, "paid", "Order 7")
    assert paid.json["approved_at"] == approved.json["approved_at"] < paid.json["finished_at"]
    assert get(client, f"/check_payout?id={body['id']}", payer).data == paid.data
    assert get(client, "/payouts", payer).json == {"data": [paid.json], "next_cursor": None}
    (balance,) = get(client, "/balance", payer).json["balances"]
    assert (balance["balance"], balance["pending_payout"]) == ("57.00", "0.00")
    for reply in (made, approved, paid):
        shaped = msgspec.convert(reply.json, schemas.Payout)
        assert msgspec.to_builtins(shaped) == reply.json


def test_amounts_are_read_exactly(client: FlaskClient, payer: str) -> None:
    for literal, amount in (("0.29", "0.29"), ("1", "1.00"), ('"1.10"', "1.10")):
        reply = client.post(
            "/create_payout",
            data=b'{"amount": %s}' % literal.encode(),
            content_type="application/json",
            headers={"Authorization": f"Bearer {payer}"},
        )
        assert (reply.status_code, reply.json["amount"]) == (201, amount)


def test_absent_null_and_both_reads_of_no_destination_agree(
    client: FlaskClient, post: Post, payer: str, admin: TestUser
) -> None:
    absent = post("/create_payout", payer, amount="1")
    null = post("/create_payout", payer, amount="1", destination=None, currency=None)
    for reply in (absent, null):
        assert (reply.json["destination"], reply.json["currency"]) == (None, "RUB")
        given = reply.json["id"]
        plain = get(client, f"/payout_destination?id={given}", admin.key)
        assert plain.json == {"id": given, "destination": None}


def steps(post: Post, payer: str, admin: TestUser) -> list[tuple[str, str, dict[str, Any]]]:
    """Each call that writes, with a key that may and a body that will do."""
    ids = [post("/create_payout", payer, amount="1").json["id"] for _ in range(4)]
    post("/approve_payout", admin.key, id=ids[3])
    return [
        ("/create_payout", payer, {"amount": "2.00", "destination": DESTINATION}),
        ("/approve_payout", admin.key, {"id": ids[0]}),
        ("/reject_payout", admin.key, {"id": ids[1], "reason": "No."}),
        ("/cancel_payout", payer, {"id": ids[2]}),
        ("/complete_payout", admin.key, {"id": ids[3], "result": "failed"}),
    ]


def test_each_step_of_a_payout_wakes_the_worker_once(
    app: Flask, client: FlaskClient, post: Post, payer: str, admin: TestUser
) -> None:
    acts = steps(post, payer, admin)
    woken: list[str] = []
    app.extensions["standart.nudge"] = lambda: woken.append("now")
    for number, (path, key, body) in enumerate(acts, 1):
        for _ in range(2):
            assert post(path, key, idempotency_key="k", **body).status_code < 300
        assert len(woken) == number, path
    get(client, f"/check_payout?id={acts[1][2]['id']}", payer)
    assert len(woken) == len(acts), "reading tells nobody"


def test_an_idempotency_key_replays_the_same_bytes(
    connection: Connection, post: Post, payer: str, admin: TestUser
) -> None:
    for path, key, body in steps(post, payer, admin):
        first = post(path, key, idempotency_key="k", **body)
        before = row_counts(connection)
        again = post(path, key, idempotency_key="k", **body)
        other = dict(reversed(body.items()))

        assert first.status_code in (200, 201)
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (again.status_code, again.data) == (first.status_code, first.data)
        assert post(path, key, idempotency_key="k", **other).data == first.data
        assert row_counts(connection) == before


def test_an_idempotency_key_with_another_body_is_422(
    connection: Connection, post: Post, payer: str, admin: TestUser
) -> None:
    other_account = {**DESTINATION, "account": "40817810099910004313"}
    others = {
        "/create_payout": [
            {"amount": "3.00", "destination": DESTINATION},
            {"amount": "2.00"},
            {"amount": "2.00", "destination": other_account},
            {"amount": "2.00", "destination": {**DESTINATION, "note": "x"}},
        ],
        "/reject_payout": [{"reason": "Never."}],
        "/complete_payout": [{"result": "paid"}, {"reason": "x"}],
    }
    for path, key, body in steps(post, payer, admin):
        assert post(path, key, idempotency_key="k", **body).status_code in (200, 201)
        before = row_counts(connection)
        wanted = others.get(path, [{"id": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"}])
        for members in wanted:
            changed = members if path == "/create_payout" else {**body, **members}
            reply = post(path, key, idempotency_key="k", **changed)
            assert (reply.status_code, reply.json["code"]) == (422, "idempotency_key_reused")
        assert row_counts(connection) == before


def test_a_key_in_flight_is_409_and_does_nothing(
    connection: Connection, engine: Engine, post: Post, payer: str, merchant: TestUser
) -> None:
    before = row_counts(connection)
    with engine.begin() as running:
        running.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"{merchant.id} /create_payout k"},
        )
        busy = post("/create_payout", payer, idempotency_key="k", amount="1")
        assert (busy.status_code, busy.json["code"]) == (409, "idempotency_key_in_flight")
        assert busy.headers["Retry-After"] == "1"
        assert row_counts(connection) == before
    assert post("/create_payout", payer, idempotency_key="k", amount="1").status_code == 201


def test_an_error_is_not_kept(
    engine: Engine, post: Post, payer: str, merchant: TestUser, admin: TestUser
) -> None:
    wanted = {"amount": "97.01", "idempotency_key": "k"}
    refused = post("/create_payout", payer, **wanted)
    assert (refused.status_code, refused.json["code"]) == (409, "insufficient_balance")
    assert (refused.json["available"], refused.json["currency"]) == ("97.00", "RUB")
    credit(engine, admin, merchant)
    assert post("/create_payout", payer, **wanted).status_code == 201


def test_above_the_sum_of_the_setting_two_admins_must_approve(
    make_app: Callable[..., Flask],
    engine: Engine,
    keyring: Keyring,
    payer: str,
    admin: TestUser,
) -> None:
    client = make_app(four_eyes_above={"RUB": 500}).test_client()
    second = make_user(engine, keyring, role=Role.ADMIN)

    def send(path: str, key: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
        sent = {"Authorization": f"Bearer {key}", **(headers or {})}
        return client.post(path, json=body, headers=sent)

    small = send("/create_payout", payer, amount="5.00").json["id"]
    large = send("/create_payout", payer, amount="5.01").json["id"]
    assert send("/approve_payout", admin.key, id=small).status_code == 200

    once = {"Idempotency-Key": "k"}
    first = send("/approve_payout", admin.key, once, id=large)
    again = send("/approve_payout", admin.key, once, id=large)
    assert (first.status_code, first.json["status"], first.json["approvals"]) == (202, "pending", 1)
    assert (again.status_code, again.data) == (202, first.data)
    alone = send("/approve_payout", admin.key, id=large)
    assert (alone.status_code, alone.json["code"]) == (403, "second_person_required")
    early = send("/complete_payout", admin.key, id=large, result="paid")
    assert (early.status_code, early.json["payout_status"]) == (409, "pending")
    both = send("/approve_payout", second.key, id=large)
    assert (both.status_code, both.json["status"], both.json["approvals"]) == (200, "approved", 2)


def test_pages_follow_each_other_without_gap_or_repeat(
    client: FlaskClient, post: Post, payer: str, merchant: TestUser, admin: TestUser
) -> None:
    made = [post("/create_payout", payer, amount="1").json["id"] for _ in range(7)]
    for who in (payer, admin.key):
        seen: list[str] = []
        cursor = ""
        while True:
            page = get(client, f"/payouts?user_id={merchant.id}&limit=3{cursor}", who).json
            seen += [row["id"] for row in page["data"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == made[::-1]
    post("/cancel_payout", payer, id=made[2])
    listed = get(client, "/payouts?status=canceled&currency=RUB", payer).json["data"]
    assert [row["id"] for row in listed] == [made[2]]


def test_whoever_pays_reads_the_destination_and_each_look_is_recorded(
    client: FlaskClient, connection: Connection, post: Post, payer: str, admin: TestUser
) -> None:
    given = post("/create_payout", payer, amount="1", destination=DESTINATION).json["id"]
    for _ in range(2):
        reply = get(client, f"/payout_destination?id={given}", admin.key)
        assert (reply.status_code, reply.json) == (
            200,
            {"id": given, "destination": DESTINATION},
        )
        assert reply.headers["Cache-Control"] == "no-store"
    looks = connection.execute(
        text("SELECT * FROM audit_log WHERE action = 'payout.destination_read' ORDER BY id")
    ).all()
    assert [(look.actor_id, look.channel, look.object_id) for look in looks] == [
        (admin.id, "api", given),
        (admin.id, "api", given),
    ]
    assert looks[-1].request_id == reply.headers["X-Request-Id"]


def forms(value: str) -> Iterator[str]:
    """How a plain value could stand in a dump or a log."""
    yield value
    yield value.encode().hex()
    yield json.dumps(value)[1:-1]


def dump(superuser: Engine) -> str:
    with superuser.connect() as connection:
        tables = connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).all()
        assert set(tables) >= set(TABLES)
        rows = [
            str(row)
            for table in tables
            for row in connection.scalars(text(f"SELECT t::text FROM {table} t"))
        ]
    return "\n".join(rows)


def test_no_plain_destination_is_in_any_table_log_event_or_answer(
    client: FlaskClient,
    superuser: Engine,
    post: Post,
    payer: str,
    admin: TestUser,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    wanted = {"amount": "5.00", "destination": DESTINATION, "idempotency_key": "k"}
    replies = [post("/create_payout", payer, **wanted) for _ in range(2)]
    given = replies[0].json["id"]
    assert [reply.status_code for reply in replies] == [201, 201]
    replies += [
        post("/create_payout", payer, **{**wanted, "amount": "900.00", "idempotency_key": "l"}),
        post("/create_payout", payer, **{**wanted, "amount": "6.00"}),
        post("/create_payout", payer, amount="x", destination=DESTINATION),
        post("/create_payout", payer, amount="1", destination={**DESTINATION, "more": "a\nb"}),
        post("/create_payout", payer, amount="1", destination={**DESTINATION, "more": 5}),
        post("/create_payout", admin.key, amount="1", destination=DESTINATION),
        post("/approve_payout", admin.key, id=given),
        post("/complete_payout", admin.key, id=given, result="paid"),
        get(client, f"/check_payout?id={given}", payer),
        get(client, "/payouts", admin.key),
        get(client, "/events", admin.key),
    ]
    plain = get(client, f"/payout_destination?id={given}", admin.key)
    assert plain.json["destination"] == DESTINATION

    kept = dump(superuser)
    assert given in kept
    assert SHOWN["account"] in kept
    seen = "\n".join([kept, caplog.text, *(reply.text for reply in replies)])
    for value in DESTINATION.values():
        # What is shown of a longer value are its last four characters.
        hidden = value[:-4] if len(value) > 8 else value
        for form in forms(hidden):
            assert form not in seen, form
    assert "destination" in seen


def test_what_is_kept_of_a_request_does_not_help_to_guess_its_destination(
    connection: Connection, post: Post, payer: str
) -> None:
    post("/create_payout", payer, idempotency_key="k", amount="5.00", destination=DESTINATION)
    asked = schemas.CreatePayout(amount="5.00", destination=DESTINATION)
    guess = hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).digest()
    fingerprints = connection.scalars(text("SELECT fingerprint FROM idempotency_keys")).all()
    assert len(fingerprints) == 1
    assert guess not in fingerprints


def test_a_sealed_destination_opens_at_its_own_payout_only(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    merchant: TestUser,
    admin: TestUser,
    payer: str,
) -> None:
    caller = payer_of(engine, merchant)
    mine, other = (created(connection, keyring, caller, destination=DESTINATION) for _ in range(2))
    with superuser.begin() as forger:
        forger.execute(text("SET LOCAL session_replication_role = replica"))
        forger.execute(
            text(
                "UPDATE payouts SET destination = (SELECT destination FROM payouts"
                " WHERE id = :mine) WHERE id = :other"
            ),
            {"mine": mine, "other": other},
        )
    asked = (connection, admin.digest, ORIGIN, keyring)
    before = row_counts(connection)
    with pytest.raises(ConfigurationError):
        payout_destination.read(*asked, other)
    assert row_counts(connection) == before
    assert json.loads(payout_destination.read(*asked, mine).body)["destination"] == DESTINATION


def test_a_new_key_of_the_ring_opens_what_the_old_one_sealed(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, payer: str
) -> None:
    caller = payer_of(engine, merchant)
    old = Keyring.parse(ENCRYPTION_KEYS)
    given = created(connection, old, caller, destination=DESTINATION)
    ring = Keyring.parse(f"{generate_key('k2')},{ENCRYPTION_KEYS}")
    answer = payout_destination.read(connection, admin.digest, ORIGIN, ring, given)
    assert json.loads(answer.body)["destination"] == DESTINATION
    with pytest.raises(ConfigurationError):
        payout_destination.read(
            connection, admin.digest, ORIGIN, Keyring.parse(generate_key("k3")), given
        )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1", "****"),
        ("12345678", "****"),
        ("123456789", "****6789"),
        ("Ж" * 200, "****ЖЖЖЖ"),
    ],
)
def test_a_mask_shows_four_characters_of_long_values_only(value: str, shown: str) -> None:
    assert payout_destination.masked({"a": value}) == {"a": shown}
