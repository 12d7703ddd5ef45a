"""Create again: kept answers, keys in flight, ids of the client's own choice."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.errors import (
    IdConflict,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InvalidInput,
)
from standart.services import guarded, transaction_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from tests.builders import ORIGIN, TestUser, make_user, row_counts
from tests.integration.calls import PATH, claim, create, wrong_fields


def test_the_same_key_and_body_replay_the_first_answer(
    connection: Connection, merchant: TestUser
) -> None:
    first = create(connection, merchant, claimed=claim())
    counts = row_counts(connection)

    again = create(connection, merchant, claimed=claim())

    assert again == Answer(201, first.body, replayed=True)
    assert row_counts(connection) == counts


def test_a_replay_is_the_kept_text_even_after_the_transaction_ended(
    connection: Connection, merchant: TestUser
) -> None:
    first = create(connection, merchant, claimed=claim())
    transaction_service.cancel(
        connection, merchant.digest, ORIGIN, UUID(json.loads(first.body)["id"])
    )

    assert create(connection, merchant, claimed=claim()).body == first.body


def test_the_same_key_with_another_body_is_refused(
    connection: Connection, merchant: TestUser
) -> None:
    create(connection, merchant, claimed=claim(body=b"one"))
    counts = row_counts(connection)

    with pytest.raises(IdempotencyKeyReused) as refused:
        create(connection, merchant, claimed=claim(body=b"two"))

    assert wrong_fields(refused) == ["Idempotency-Key"]
    assert row_counts(connection) == counts


def test_a_key_counts_for_its_user_and_path_alone(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    other = make_user(engine, keyring)
    mine = create(connection, merchant, claimed=claim(body=b"mine"))

    theirs = create(connection, other, claimed=claim(body=b"theirs"))
    elsewhere = create(
        connection, merchant, claimed=IdempotencyClaim.of("/other", "order-1", b"other")
    )

    assert not theirs.replayed
    assert not elsewhere.replayed
    assert len({mine.body, theirs.body, elsewhere.body}) == 3


def test_a_key_is_free_again_after_its_day(
    connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    first = create(connection, merchant, claimed=claim(body=b"one"))
    with superuser.begin() as other:
        other.execute(
            text("UPDATE idempotency_keys SET created_at = created_at - interval '24 hours'")
        )

    second = create(connection, merchant, claimed=claim(body=b"two"))

    assert second.body != first.body
    assert not second.replayed
    assert create(connection, merchant, claimed=claim(body=b"two")).body == second.body
    assert row_counts(connection)["idempotency_keys"] == 1


def test_a_key_lasts_its_whole_day(
    connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    first = create(connection, merchant, claimed=claim())
    with superuser.begin() as other:
        other.execute(
            text(
                "UPDATE idempotency_keys SET created_at = created_at - interval '23 h 59 min 50 s'"
            )
        )

    assert create(connection, merchant, claimed=claim()) == Answer(201, first.body, replayed=True)


def test_a_key_in_flight_is_refused_at_once(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    counts = row_counts(connection)
    with engine.begin() as running:
        running.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"{merchant.id} {PATH} order-1"},
        )

        with pytest.raises(IdempotencyKeyInFlight) as refused:
            create(connection, merchant, claimed=claim())
        assert refused.value.retry_after == 1
        assert row_counts(connection) == counts

    assert create(connection, merchant, claimed=claim()).status == 201


def test_a_refused_request_leaves_its_key_free(connection: Connection, merchant: TestUser) -> None:
    with pytest.raises(InvalidInput):
        create(connection, merchant, amount="0", claimed=claim())

    assert create(connection, merchant, claimed=claim(body=b"corrected")).status == 201


def test_repeating_the_clients_id_answers_the_same_transaction(
    connection: Connection, merchant: TestUser
) -> None:
    content = {"id": uuid4(), "reference": "r", "description": "d", "metadata": {"a": "b"}}
    first = create(connection, merchant, **content)
    counts = row_counts(connection)

    again = create(connection, merchant, amount="100", currency="RUB", **content)

    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    assert row_counts(connection) == counts


def test_repeating_the_clients_id_shows_how_it_ended(
    connection: Connection, merchant: TestUser
) -> None:
    chosen = uuid4()
    create(connection, merchant, id=chosen)
    transaction_service.cancel(connection, merchant.digest, ORIGIN, chosen)

    again = create(connection, merchant, id=chosen)

    assert (again.status, json.loads(again.body)["status"]) == (200, "canceled")


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "100.01"},
        {"currency": "USD"},
        {"reference": "other"},
        {"description": "other"},
        {"metadata": {"a": "c"}},
        {"metadata": {}},
    ],
)
def test_the_clients_id_with_other_content_is_a_conflict(
    connection: Connection, merchant: TestUser, change: dict[str, Any]
) -> None:
    content: dict[str, Any] = {"id": uuid4(), "reference": "r", "metadata": {"a": "b"}}
    create(connection, merchant, **content)

    with pytest.raises(IdConflict) as refused:
        create(connection, merchant, **{**content, **change})

    assert refused.value.members == {}


def test_somebody_elses_id_is_a_conflict_that_shows_nothing(
    connection: Connection, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    chosen = uuid4()
    create(connection, merchant, id=chosen, reference="secret")

    with pytest.raises(IdConflict) as refused:
        create(connection, make_user(engine, keyring), id=chosen, reference="secret")

    assert "secret" not in refused.value.detail
    assert refused.value.members == {}


def test_a_repeated_id_under_a_new_key_is_kept_for_that_key(
    connection: Connection, merchant: TestUser
) -> None:
    chosen = uuid4()
    create(connection, merchant, id=chosen)

    found = create(connection, merchant, id=chosen, claimed=claim())
    transaction_service.cancel(connection, merchant.digest, ORIGIN, chosen)

    assert found.status == 200
    assert create(connection, merchant, id=chosen, claimed=claim()) == Answer(
        200, found.body, replayed=True
    )


def test_an_answer_that_was_kept_meanwhile_wins(
    connection: Connection, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = uuid4()
    create(connection, merchant, id=chosen)
    real = guarded.idempotency_service.keep

    def overtaken(*arguments: Any) -> bool:
        monkeypatch.setattr(guarded.idempotency_service, "keep", real)
        assert real(*arguments)  # another request keeps its answer first
        return real(*arguments)

    monkeypatch.setattr(guarded.idempotency_service, "keep", overtaken)

    answer = create(connection, merchant, id=chosen, claimed=claim())

    assert (answer.status, answer.replayed) == (200, True)
