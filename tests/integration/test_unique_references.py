"""References that name one transaction only, where the merchant wants it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.errors import ReferenceTaken
from standart.services import transaction_service
from tests.builders import ORIGIN, TestUser, make_user, row_counts
from tests.integration.calls import claim, create
from tests.integration.limits import want_unique_references


def kept(connection: Connection, body: str) -> Any:
    query = text("SELECT unique_reference FROM transactions WHERE id = :id")
    return connection.scalar(query, {"id": json.loads(body)["id"]})


def test_without_the_setting_a_reference_may_repeat(
    connection: Connection, merchant: TestUser
) -> None:
    answers = [create(connection, merchant, reference="r") for _ in range(2)]

    assert [answer.status for answer in answers] == [201, 201]
    assert [kept(connection, answer.body) for answer in answers] == [False, False]


def test_a_second_one_is_refused_and_writes_nothing(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    want_unique_references(engine, merchant)
    first = create(connection, merchant, reference="r")
    counts = row_counts(connection)

    with pytest.raises(ReferenceTaken):
        create(connection, merchant, reference="r", claimed=claim())

    assert row_counts(connection) == counts
    assert kept(connection, first.body) is True


@pytest.mark.parametrize("how", ["canceled", "confirmed"])
def test_an_ended_transaction_keeps_its_reference(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, how: str
) -> None:
    want_unique_references(engine, merchant)
    id_ = UUID(json.loads(create(connection, merchant, reference="r").body)["id"])
    if how == "canceled":
        transaction_service.cancel(connection, merchant.digest, ORIGIN, id_)
    else:
        transaction_service.confirm(connection, admin.digest, ORIGIN, id_)

    with pytest.raises(ReferenceTaken):
        create(connection, merchant, reference="r")


def test_one_from_before_the_setting_counts_as_taken(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    for _ in range(2):
        create(connection, merchant, reference="r")
    want_unique_references(engine, merchant)

    with pytest.raises(ReferenceTaken):
        create(connection, merchant, reference="r")


def test_after_the_setting_is_off_references_may_repeat_again(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    want_unique_references(engine, merchant)
    create(connection, merchant, reference="r")
    want_unique_references(engine, merchant, wanted=False)

    assert create(connection, merchant, reference="r").status == 201


def test_references_are_unique_per_merchant_and_only_where_there_is_one(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser, keyring: Keyring
) -> None:
    other = make_user(engine, keyring)
    for user in (merchant, other):
        want_unique_references(engine, user)

    answers = [
        create(connection, merchant, reference="r"),
        create(connection, other, reference="r"),
        create(connection, merchant),
        create(connection, merchant),
        create(connection, merchant, reference="R"),
    ]

    assert [answer.status for answer in answers] == [201] * 5
    with pytest.raises(ReferenceTaken):
        create(connection, admin, user_id=other.id, reference="r")
