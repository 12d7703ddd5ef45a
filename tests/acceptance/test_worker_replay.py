"""A span is replayed by the processes that do it in life: a worker, and a beat that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from standart.clock import now
from standart.config import Settings
from standart.encryption import Keyring
from standart.models import ReplayScope
from standart.services import span_replay_service, transaction_service
from standart.services.span_replay_service import NewReplay
from tests.acceptance.processes import Commands, commands, until
from tests.builders import ORIGIN, make_endpoint, make_transaction, make_user
from tests.integration.hooks import GoodReceiver, serving


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Commands]:
    with commands(tmp_path) as starter:
        yield starter


def test_a_live_worker_replays_a_span_to_a_later_receiver(
    started: Commands,
    settings: Settings,
    engine: Engine,
    connection: Connection,
    keyring: Keyring,
) -> None:
    shop = make_user(engine, keyring)
    made = [UUID(make_transaction(engine, shop)["id"]) for _ in range(7)]
    for transaction_id in made:
        transaction_service.cancel(connection, shop.digest, ORIGIN, transaction_id)
    events = set(connection.scalars(text("SELECT id::text FROM events")))
    assert len(events) == len(made)
    receiver = GoodReceiver("")
    with serving(receiver) as url:
        endpoint = make_endpoint(engine, keyring, shop, url=url)
        receiver.secret = endpoint.secret
        span = NewReplay(
            endpoint_id=endpoint.id,
            since=now() - timedelta(days=1),
            until=now() + timedelta(days=1),
            scope=ReplayScope.ALL,
        )
        span_replay_service.start(connection, shop.digest, ORIGIN, span)
        variables = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "SECRET_KEY": settings.secret_key,
            "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
            "STANDART_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        }
        running = [started.start([name], variables) for name in ("worker", "beat")]
        until(lambda: {each for each, _ in receiver.accepted} == events, "every event of the span")
        finished = text("SELECT finished_at IS NOT NULL AND requeued = 7 FROM webhook_replays")
        until(lambda: connection.scalar(finished), "the end of the replay")
        assert [each.stop() for each in running] == [0, 0]
