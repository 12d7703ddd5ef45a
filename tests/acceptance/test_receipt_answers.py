"""What the API answers about receipts: signed, stable, and what a file of it is worth."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text
from werkzeug.test import TestResponse

from standart.api import schemas
from standart.db import HotStatement, autocommit
from standart.encryption import Keyring, generate_key
from standart.errors import ConfigurationError, NotFound
from standart.receipts.keys import encoded, read_key, read_keys
from standart.receipts.verification import verify
from standart.services import (
    chain,
    receipt_service,
    seal_service,
    signing_key_service,
    transaction_service,
)
from standart.services.access import SYSTEM
from tests.builders import ORIGIN, SHORT, TestUser, make_transaction, make_user, overdue
from tests.integration.concurrency import blocked, together, uncommitted, wait_until
from tests.integration.movements import paid
from tests.integration.query_count import hearing
from tests.movements import Mover

Ask = Callable[..., TestResponse]

OVERDUE = text("SELECT expires_at <= clock_timestamp() FROM transactions WHERE id = :id")


@pytest.fixture
def ask(client: FlaskClient, merchant: TestUser) -> Ask:
    """Ask for the receipt of a transaction, as the merchant unless somebody else is named."""

    def send(transaction_id: object, who: TestUser = merchant) -> TestResponse:
        return client.get(f"/receipt?id={transaction_id}", headers=who.headers)

    return send


def is_right(client: FlaskClient, answer: TestResponse, seals: list[bytes] | None = None) -> bool:
    """Whether the answer, as it came, is right by the keys that the service lists."""
    assert answer.status_code == 200, answer.text
    known = read_keys(client.get("/receipt_keys").data)
    verdict = verify(answer.data, known, seals=seals)
    return verdict.is_right


def exported(connection: Connection) -> list[bytes]:
    """The chain as lines."""
    rows = connection.execute(text("SELECT * FROM seals ORDER BY number"))
    return [json.dumps(chain.link_of(row).wire()).encode() for row in rows]


def test_a_receipt_says_what_was_confirmed(
    client: FlaskClient, engine: Engine, admin: TestUser, merchant: TestUser, ask: Ask
) -> None:
    made = make_transaction(
        engine,
        merchant,
        reference='"заказ" \\ 17',
        description="Чай 🍵 \u2028",
        metadata={"receipt": '"receipt":', "Z": "1", "a": "2"},
    )
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, made["id"])

    answer = ask(made["id"].upper())

    told = msgspec.json.decode(answer.data, type=schemas.SignedReceipt)
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert is_right(client, answer)
    receipt = answer.get_json()["receipt"]
    checked = client.get(f"/check_transaction?id={made['id']}", headers=merchant.headers)
    assert receipt["transaction"] == checked.get_json()
    assert (receipt["seal"], receipt["chain_head"]) == (None, None)
    assert told.receipt.settlement is not None
    assert [msgspec.structs.astuple(each) for each in told.receipt.settlement.entries] == [
        ("clearing", "RUB", "-100.00"),
        ("available", "RUB", "97.00"),
        ("commission", "RUB", "3.00"),
    ]
    with engine.connect() as connection:
        journal = connection.execute(text("SELECT id, created_at FROM journals")).one()
    assert told.receipt.settlement.id == str(journal.id)
    assert told.receipt.settlement.created_at == journal.created_at.strftime(
        "%Y-%m-%dT%H:%M:%S.%fZ"
    )
    assert answer.data == ask(made["id"], admin).data


@pytest.mark.parametrize(
    ("rate", "currency", "amount"),
    [("0", "RUB", "0.01"), ("1", "JPY", "5"), ("0.5", "KWD", "1.001"), ("0.03", "TON", "0.1")],
)
def test_receipts_of_any_split_and_currency_are_right(
    client: FlaskClient,
    engine: Engine,
    keyring: Keyring,
    admin: TestUser,
    ask: Ask,
    rate: str,
    currency: str,
    amount: str,
) -> None:
    shop = make_user(engine, keyring, rate=rate)
    made = make_transaction(engine, shop, amount=amount, currency=currency)
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, made["id"])
    assert is_right(client, ask(made["id"], shop))


def test_what_ended_without_money_has_a_receipt_too(
    client: FlaskClient,
    engine: Engine,
    connection: Connection,
    superuser: Engine,
    merchant: TestUser,
    ask: Ask,
) -> None:
    canceled, swept, unswept = (make_transaction(engine, merchant)["id"] for _ in range(3))
    transaction_service.cancel(connection, merchant.digest, ORIGIN, canceled, reason="Нет")
    overdue(superuser, swept)
    assert transaction_service.expire_overdue(connection) == 1
    overdue(superuser, unswept)
    for transaction_id, status in (
        (canceled, "canceled"),
        (swept, "expired"),
        (unswept, "expired"),
    ):
        answer = ask(transaction_id)
        assert is_right(client, answer)
        receipt = answer.get_json()["receipt"]
        assert receipt["transaction"]["status"] == status
        assert receipt["settlement"] is None


def test_a_late_payment_has_a_receipt_of_its_own(
    client: FlaskClient,
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    ask: Ask,
) -> None:
    old = make_transaction(engine, merchant)["id"]
    transaction_service.cancel(connection, merchant.digest, ORIGIN, old)
    late = Mover(connection, merchant.id).pay_late(old)
    answer = ask(late)
    assert is_right(client, answer)
    assert answer.get_json()["receipt"]["transaction"]["late_for"] == old


def test_there_is_no_receipt_of_what_is_pending(
    engine: Engine, merchant: TestUser, ask: Ask
) -> None:
    answer = ask(make_transaction(engine, merchant)["id"])
    assert answer.status_code == 409
    told = answer.get_json()
    assert (told["code"], told["transaction_status"]) == ("not_finished", "pending")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM signing_keys")) == 0


def test_the_same_bytes_until_something_happens(
    client: FlaskClient,
    engine: Engine,
    connection: Connection,
    keyring: Keyring,
    admin: TestUser,
    merchant: TestUser,
    ask: Ask,
) -> None:
    made = paid(engine, admin, merchant)
    first = ask(made)
    assert first.data == ask(made).data

    seal_service.seal(connection)
    sealed = ask(made)
    assert sealed.data == ask(made).data
    anchor = sealed.get_json()["receipt"]["seal"]
    assert anchor == sealed.get_json()["receipt"]["chain_head"]
    with engine.connect() as reader:
        row = reader.execute(text("SELECT number, hash FROM seals")).one()
    assert anchor == {"number": row.number, "hash": row.hash.hex()}

    paid(engine, admin, merchant)
    assert sealed.data == ask(made).data
    seal_service.seal(connection)
    later = ask(made)
    assert later.get_json()["receipt"]["seal"] == anchor
    assert later.get_json()["receipt"]["chain_head"]["number"] == 2

    Mover(connection, merchant.id).refund(made, 1_000)
    refunded = ask(made)
    assert refunded.get_json()["receipt"]["transaction"]["refunded_amount"] == "10.00"

    signing_key_service.rotate(connection, SYSTEM, keyring)
    rotated = ask(made)
    assert (
        rotated.get_json()["receipt"]["transaction"]
        == (refunded.get_json()["receipt"]["transaction"])
    )
    answers = [first, sealed, later, refunded, rotated]
    assert len({answer.data for answer in answers}) == 5
    links = exported(connection)
    assert all(is_right(client, answer, links) for answer in answers)
    assert not is_right(client, later, links[:1])


def test_each_journal_is_told_the_seal_that_covers_it(
    client: FlaskClient,
    engine: Engine,
    connection: Connection,
    admin: TestUser,
    merchant: TestUser,
    ask: Ask,
) -> None:
    made = [paid(engine, admin, merchant) for _ in range(5)]
    assert seal_service.seal(connection, batch=2) == 5
    waiting = paid(engine, admin, merchant)
    told = [ask(each).get_json()["receipt"] for each in (*made, waiting)]
    covers = text(
        "SELECT min(s.number) FROM seals s, journals j"
        " WHERE j.transaction_id = :id AND j.created_at < s.before"
    )
    numbers = [connection.scalar(covers, {"id": each}) for each in made]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 3
    assert [each["seal"] and each["seal"]["number"] for each in told] == [*numbers, None]
    assert {each["chain_head"]["number"] for each in told} == {3}


def test_keys_are_listed_for_everybody_and_for_a_while(
    client: FlaskClient, connection: Connection, keyring: Keyring
) -> None:
    empty = client.get("/receipt_keys")
    assert (empty.status_code, empty.get_json()) == (200, {"keys": []})
    assert empty.headers.getlist("Cache-Control") == ["public, max-age=300"]
    first = signing_key_service.ensure(connection, keyring)
    second, former = signing_key_service.rotate(connection, SYSTEM, keyring)
    assert former == first
    answer = client.get("/receipt_keys")
    listed = msgspec.json.decode(answer.data, type=schemas.ReceiptKeys)
    assert [each.id for each in listed.keys] == [second, first]
    assert [each.retired_at is None for each in listed.keys] == [True, False]
    assert "private" not in answer.text
    assert set(read_keys(answer.data)) == {first, second}


def statements(monkeypatch: pytest.MonkeyPatch, app: Flask, act: Callable[[], Any]) -> list[str]:
    """What ``act`` asked the database."""
    asked: list[str] = []
    engine = app.extensions["standart.engine"]
    hot = HotStatement.first

    def first(self: HotStatement, connection: Connection, parameters: Any) -> Any:
        asked.append(self.text)
        return hot(self, connection, parameters)

    monkeypatch.setattr(HotStatement, "first", first)
    with hearing(engine) as heard:
        act()
    return asked + heard


def test_a_hundred_receipts_are_a_hundred_round_trips(
    monkeypatch: pytest.MonkeyPatch,
    app: Flask,
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    ask: Ask,
) -> None:
    made = [paid(engine, admin, merchant) for _ in range(10)]
    ask(made[0])
    asked = statements(monkeypatch, app, lambda: [ask(each) for each in made * 10])
    assert len(asked) == 100, "one statement each, the look-up of the API key included"


@pytest.mark.parametrize("committed", [True, False], ids=["commit", "rollback"])
def test_who_asks_while_a_confirm_commits_waits_for_it_and_sees_its_journal(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    admin: TestUser,
    merchant: TestUser,
    committed: bool,
) -> None:
    made = UUID(make_transaction(engine, merchant, ttl=SHORT)["id"])

    def receipt() -> bytes:
        with autocommit(engine) as own:
            return receipt_service.issue(own, merchant.digest, ORIGIN, keyring, made)

    with uncommitted(engine) as confirming:
        transaction_service.confirm(confirming, admin.digest, ORIGIN, made)
        wait_until(lambda: bool(connection.scalar(OVERDUE, {"id": made})))
        with blocked(superuser, receipt) as waiting:
            (confirming.commit if committed else confirming.rollback)()
    known = {
        each.id: read_key(encoded(each.public_key))
        for each in signing_key_service.list_keys(connection)
    }
    verdict = verify(waiting.result(), known)
    assert verdict.is_right
    assert verdict.envelope is not None
    told = verdict.envelope.receipt
    assert told.transaction.status == ("confirmed" if committed else "expired")
    assert (told.settlement is not None) == committed


def test_a_key_made_meanwhile_by_another_host_is_the_one(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    made = paid(engine, admin, merchant)

    def receipt() -> bytes:
        with autocommit(engine) as own:
            return receipt_service.issue(own, merchant.digest, ORIGIN, keyring, made)

    assert len(set(together([receipt] * 6))) == 1
    assert len(signing_key_service.list_keys(connection)) == 1


def test_a_panel_login_gets_its_own_receipts_only(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    made = paid(engine, admin, merchant)
    issue = receipt_service.issue
    own, all_ = merchant.actor, admin.actor
    assert issue(connection, own, ORIGIN, keyring, made) == issue(
        connection, all_, ORIGIN, keyring, made
    )
    stranger = make_user(engine, keyring)
    for caller in (stranger.actor, stranger.digest):
        with pytest.raises(NotFound):
            issue(connection, caller, ORIGIN, keyring, made)


def test_a_ring_without_the_key_signs_nothing(
    connection: Connection, engine: Engine, keyring: Keyring, admin: TestUser, merchant: TestUser
) -> None:
    made = paid(engine, admin, merchant)
    signing_key_service.ensure(connection, keyring)
    other = Keyring.parse(generate_key("other"))
    with pytest.raises(ConfigurationError, match="lacks the key 'k1'"):
        receipt_service.issue(connection, merchant.digest, ORIGIN, other, made)
