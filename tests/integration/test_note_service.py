"""Notes on transactions: who writes, who reads, what is kept."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.clock import new_id
from standart.db import transaction
from standart.encryption import Keyring
from standart.errors import (
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InsufficientScope,
    InvalidInput,
    NotFound,
    Unauthenticated,
    UserHasHistory,
)
from standart.models import AuditRecord, Role, Scope, User
from standart.services import note_service, transaction_service, user_service
from standart.services.access import SYSTEM
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import digest_of
from standart.services.note_service import NewNote
from tests.builders import (
    ORIGIN,
    TestUser,
    make_key,
    make_transaction,
    make_user,
    overdue,
    row_counts,
)
from tests.integration.concurrency import together


@pytest.fixture
def about(engine: Engine, merchant: TestUser) -> UUID:
    """A transaction of the merchant."""
    return UUID(make_transaction(engine, merchant)["id"])


def write(connection: Connection, caller: TestUser, about: UUID, **fields: Any) -> Answer:
    claim = fields.pop("claim", None)
    new = NewNote(transaction_id=about, **{"text": "Call back", **fields})
    return note_service.create_note(connection, caller.digest, ORIGIN, new, claim=claim)


def seen(connection: Connection, caller: TestUser, about: UUID, **page: Any) -> list[str]:
    rows = note_service.list_notes(connection, caller.actor, about, **page)
    return [json.loads(body)["text"] for body, _, _ in rows]


def test_a_note_is_answered_as_it_is_listed(
    connection: Connection, merchant: TestUser, about: UUID
) -> None:
    answer = write(connection, merchant, about, text="Звонил: «после шести» ☎")
    note = json.loads(answer.body)

    assert answer.status == 201
    assert {key: note[key] for key in note if key not in ("id", "created_at")} == {
        "transaction_id": str(about),
        "user_id": str(merchant.id),
        "author": merchant.name,
        "internal": False,
        "text": "Звонил: «после шести» ☎",
    }
    assert list(note)[:1] == ["id"]
    [(body, _, id_)] = note_service.list_notes(connection, merchant.actor, about)
    assert (body, str(id_)) == (answer.body, note["id"])


def test_internal_notes_are_for_admins_alone(
    connection: Connection, merchant: TestUser, admin: TestUser, about: UUID
) -> None:
    write(connection, merchant, about, text="one")
    write(connection, admin, about, text="two", internal=True)
    write(connection, admin, about, text="three")

    assert seen(connection, merchant, about) == ["three", "one"]
    assert seen(connection, admin, about) == ["three", "two", "one"]
    counts = row_counts(connection)
    with pytest.raises(InvalidInput) as refused:
        write(connection, merchant, about, internal=True)
    assert [each.field for each in refused.value.errors] == ["internal"]
    assert row_counts(connection) == counts


def test_notes_of_others_are_as_unknown_as_those_of_nobody(
    connection: Connection, engine: Engine, keyring: Keyring, about: UUID
) -> None:
    stranger = make_user(engine, keyring)
    counts = row_counts(connection)
    words = set()
    for id_ in (about, new_id()):
        for act in (write, seen):
            with pytest.raises(NotFound) as refused:
                act(connection, stranger, id_)
            words.add(refused.value.detail)
    assert len(words) == 1
    assert row_counts(connection) == counts


@pytest.mark.parametrize("status", ["confirmed", "canceled", "expired"])
def test_an_ended_transaction_takes_notes_too(
    connection: Connection,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    about: UUID,
    status: str,
) -> None:
    if status == "confirmed":
        transaction_service.confirm(connection, admin.digest, ORIGIN, about)
    elif status == "canceled":
        transaction_service.cancel(connection, merchant.digest, ORIGIN, about)
    else:
        overdue(superuser, str(about))

    assert write(connection, merchant, about).status == 201


def test_the_scope_decides(
    connection: Connection, engine: Engine, merchant: TestUser, about: UUID
) -> None:
    new = NewNote(transaction_id=about, text="x")
    for scope in (Scope.READ, Scope.REFUND, Scope.PAYOUT):
        digest = digest_of(make_key(engine, merchant, scope))
        with pytest.raises(InsufficientScope):
            note_service.create_note(connection, digest, ORIGIN, new)
    assert row_counts(connection)["notes"] == 0


def test_a_login_of_the_panel_writes_while_it_is_active(
    connection: Connection, engine: Engine, keyring: Keyring, about: UUID
) -> None:
    admin = make_user(engine, keyring, role=Role.ADMIN)
    make_user(engine, keyring, role=Role.ADMIN)
    new = NewNote(transaction_id=about, text="from the panel")
    assert note_service.create_note(connection, admin.actor, ORIGIN, new).status == 201
    with Session(engine) as session, transaction(session):
        user_service.update_user(session, SYSTEM, session.get_one(User, admin.id), active=False)

    with pytest.raises(Unauthenticated):
        note_service.create_note(connection, admin.actor, ORIGIN, new)


def test_the_audit_log_names_who_wrote_and_not_what(
    connection: Connection, engine: Engine, admin: TestUser, about: UUID
) -> None:
    id_ = json.loads(write(connection, admin, about, text="secret words", internal=True).body)["id"]
    with Session(engine) as session:
        record = session.query(AuditRecord).filter_by(action="note.created").one()
        assert (record.actor_id, record.actor_name) == (admin.id, admin.name)
        assert (record.object_type, record.object_id) == ("note", id_)
        assert record.after == {"transaction_id": str(about), "internal": True}


def test_a_run_repeated_after_a_lost_connection_writes_once(
    connection: Connection, merchant: TestUser, about: UUID
) -> None:
    fresh = new_id()
    first = write(connection, merchant, about, fresh_id=fresh)
    counts = row_counts(connection)

    assert write(connection, merchant, about, fresh_id=fresh) == first
    assert row_counts(connection) == counts


def keyed(body: bytes = b"{}") -> IdempotencyClaim:
    return IdempotencyClaim.of("/create_note", "key", body)


def test_one_key_writes_one_note(connection: Connection, merchant: TestUser, about: UUID) -> None:
    first = write(connection, merchant, about, claim=keyed())
    counts = row_counts(connection)

    again = write(connection, merchant, about, claim=keyed())
    with pytest.raises(IdempotencyKeyReused):
        write(connection, merchant, about, text="else", claim=keyed(b"else"))

    assert again == Answer(201, first.body, replayed=True)
    assert row_counts(connection) == counts


def test_a_crowd_with_one_key_writes_one_note(
    engine: Engine, connection: Connection, merchant: TestUser, about: UUID
) -> None:
    def act() -> Answer:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as own:
            return write(own, merchant, about, claim=keyed())

    outcomes = together([act] * 24)

    answers = [each for each in outcomes if isinstance(each, Answer)]
    others = {type(each) for each in outcomes if not isinstance(each, Answer)}
    assert others <= {IdempotencyKeyInFlight}
    assert [each.replayed for each in answers].count(False) == 1
    assert {each.body for each in answers} == {answers[0].body}
    assert len(seen(connection, merchant, about)) == 1


def test_a_refused_note_keeps_no_answer(
    connection: Connection, merchant: TestUser, about: UUID
) -> None:
    with pytest.raises(NotFound):
        write(connection, merchant, new_id(), claim=keyed())
    assert row_counts(connection)["idempotency_keys"] == 0
    assert write(connection, merchant, about, claim=keyed()).status == 201


def test_pages_follow_one_another_to_the_end(
    client: FlaskClient, connection: Connection, merchant: TestUser, about: UUID
) -> None:
    for number in range(5):
        write(connection, merchant, about, text=str(number))
    other = make_transaction(connection.engine, merchant)["id"]
    texts: list[str] = []
    query = {"id": str(about), "limit": "2"}
    while True:
        page = client.get("/notes", query_string=query, headers=merchant.headers).json
        assert page is not None
        texts += [each["text"] for each in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
        borrowed = {"id": other, "cursor": page["next_cursor"]}
        reply = client.get("/notes", query_string=borrowed, headers=merchant.headers)
        assert reply.status_code == 422
    assert texts == ["4", "3", "2", "1", "0"]


def test_over_http_a_note_is_replayed_byte_by_byte(
    client: FlaskClient, merchant: TestUser, about: UUID
) -> None:
    headers = {**merchant.headers, "Idempotency-Key": "n-1"}
    replies = [
        client.post("/create_note", json={"id": str(about).upper(), "text": "x"}, headers=headers)
        for _ in range(2)
    ]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].data == replies[1].data
    assert "Idempotent-Replayed" not in replies[0].headers
    assert replies[1].headers["Idempotent-Replayed"] == "true"


def test_who_wrote_a_note_is_not_deleted(
    connection: Connection, engine: Engine, keyring: Keyring, about: UUID
) -> None:
    author = make_user(engine, keyring, role=Role.ADMIN)
    make_user(engine, keyring, role=Role.ADMIN)
    write(connection, author, about)

    with Session(engine) as session, pytest.raises(UserHasHistory), transaction(session):
        user_service.delete_user(session, SYSTEM, session.get_one(User, author.id))

    assert (
        connection.scalar(
            text("SELECT count(*) FROM api_keys WHERE user_id = :id"), {"id": author.id}
        )
        == 1
    )
