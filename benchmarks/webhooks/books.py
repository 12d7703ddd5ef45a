"""Standart's side of the database: merchants with an endpoint each, and piles that are due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.orm import Session

from benchmarks.ledger import pending
from benchmarks.stage import Prepared, Stage, shown
from standart.clock import new_id
from standart.db import make_engine, transaction
from standart.encryption import Keyring
from standart.services import endpoint_service, user_service
from standart.services.access import SYSTEM
from standart.services.wire import CLOCK, VISIBLE, event_json, transaction_json

DATABASE: Final = "webhooks"

# Of pending transactions, so that money need not move: their events are those of their creation,
# with the very text that the product writes.
_EVENTS = f"""
    INSERT INTO events (user_id, id, transaction_id, type, sequence, payload)
    SELECT b.user_id, uuidv7(), b.id, 'transaction.created', 1, {event_json("b", "1", "created_at")}
    FROM (
        SELECT v.*, {transaction_json("v")} AS body FROM (
            SELECT {VISIBLE} FROM transactions t CROSS JOIN {CLOCK} AS clock
            WHERE t.description = :label
        ) AS v
    ) AS b
"""
_DELIVERIES = """
    INSERT INTO deliveries (user_id, id, event_id, endpoint_id)
    SELECT v.user_id, gen_random_uuid(), v.id, v.user_id
    FROM events v JOIN transactions t ON t.user_id = v.user_id AND t.id = v.transaction_id
    WHERE t.description = :label
    RETURNING event_id
"""


def add_merchants(
    stage: Stage, prepared: Prepared, urls: Sequence[str], *, secret: str
) -> list[UUID]:
    """Make a merchant for each URL, all with the receiver's secret; return their ids."""
    keyring = Keyring.parse(stage.encryption_keys)
    engine = make_engine(shown(prepared.owner_url), pool_size=1)
    ids = []
    with Session(engine) as session, transaction(session):
        for url in urls:
            name = f"merchant-{new_id()}"
            user, _ = user_service.create_user(
                session, SYSTEM, keyring, name=name, currency="RUB", webhook_url=url
            )
            session.flush()
            user.endpoint.secret = endpoint_service.seal_secret(keyring, user.id, secret)
            ids.append(user.id)
    engine.dispose()
    return ids


def pile_up(connection: Connection, owners: Sequence[UUID], count: int) -> set[str]:
    """Make ``count`` deliveries due, in turn for the owners; return the ids of their events."""
    label = {"label": str(new_id())}
    insert, *_ = pending(label["label"], [str(each) for each in owners], count)
    connection.execute(text(insert))
    connection.execute(text("ANALYZE transactions"))
    connection.execute(text(_EVENTS), label)
    made = connection.execute(text(_DELIVERIES), label).scalars()
    return {str(event) for event in made}


def bury(connection: Connection, owners: Sequence[UUID]) -> None:
    """Let nothing of these owners be due any more."""
    connection.execute(
        text(
            "UPDATE deliveries SET state = 'dead', next_attempt_at = NULL, lease = NULL"
            " WHERE user_id = ANY(:owners) AND state = 'waiting'"
        ),
        {"owners": list(owners)},
    )
    connection.commit()


@contextmanager
def superuser(stage: Stage) -> Iterator[Connection]:
    """Hold an open transaction as the one who may do everything, on Standart's database."""
    engine = create_engine(stage.superuser(DATABASE))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
