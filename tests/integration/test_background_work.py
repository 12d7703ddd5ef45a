"""The tasks of the worker: one odd row holds up nobody else's work."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text

from standart import tasks
from standart.encryption import Keyring
from standart.services import (
    heartbeat_service,
    seal_service,
    transaction_service,
    webhook_service,
    writers,
)
from tests import movements
from tests.builders import ORIGIN, TestUser, make_transaction, make_user
from tests.integration.concurrency import uncommitted, wait_until

# Nothing listens there: each try ends at once, as a failure that is written down.
NOBODY = "http://127.0.0.1:9/"


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> Callable[[], TestUser]:
    return lambda: make_user(engine, keyring, webhook_url=NOBODY)


@pytest.fixture
def end(connection: Connection, engine: Engine) -> Callable[[TestUser], None]:
    """End a transaction of a merchant, so that a webhook is due."""

    def end(owner: TestUser) -> None:
        made = make_transaction(engine, owner)
        transaction_service.cancel(connection, owner.digest, ORIGIN, UUID(made["id"]))

    return end


def outcomes(connection: Connection, user: TestUser) -> list[str]:
    query = text("SELECT outcome FROM attempts WHERE user_id = :id")
    return list(connection.scalars(query, {"id": user.id}))


def test_a_secret_that_does_not_open_holds_up_no_other_merchant(
    app: Flask,
    shop: Callable[[], TestUser],
    end: Callable[[TestUser], None],
    connection: Connection,
    superuser: Engine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, sound = shop(), shop()
    end(broken)
    end(sound)
    with superuser.begin() as all_powerful:
        all_powerful.execute(
            text("UPDATE webhook_endpoints SET secret = 'damaged' WHERE id = :id"),
            {"id": broken.id},
        )

    with app.app_context(), caplog.at_level(logging.ERROR):
        assert tasks.deliver_now() == 2

    assert outcomes(connection, sound) == ["refused"]
    assert outcomes(connection, broken) == ["unsigned"]
    assert str(broken.id) in caplog.text
    states = connection.execute(text("SELECT state, lease FROM deliveries")).all()
    assert [tuple(row) for row in states] == [("waiting", None)] * 2


def test_a_stopped_receivers_pile_holds_up_no_other_merchant(
    app: Flask,
    shop: Callable[[], TestUser],
    end: Callable[[TestUser], None],
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_service, "WALK", 2)
    stopped, sound = shop(), shop()
    for _ in range(5):
        end(stopped)
    end(sound)
    connection.execute(
        text(
            "UPDATE webhook_endpoints SET disabled_at = clock_timestamp(),"
            " disabled_reason = 'gone' WHERE id = :id"
        ),
        {"id": stopped.id},
    )

    with app.app_context():
        assert tasks.deliver_now() == 1

    assert outcomes(connection, sound) == ["refused"]
    assert outcomes(connection, stopped) == []
    states = text("SELECT state FROM deliveries WHERE user_id = :id")
    assert list(connection.scalars(states, {"id": stopped.id})) == ["dead"] * 5


def test_receivers_that_hang_hold_one_thread_only_and_the_others_are_for_the_sweeps(
    app: Flask,
    engine: Engine,
    keyring: Keyring,
    end: Callable[[TestUser], None],
    connection: Connection,
) -> None:
    def deliver() -> int:
        with app.app_context():
            return int(tasks.deliver.run())

    def leased() -> int:
        return int(
            connection.scalar(text("SELECT count(*) FROM deliveries WHERE lease IS NOT NULL")) or 0
        )

    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        hanging = make_user(
            engine, keyring, webhook_url=f"http://127.0.0.1:{silent.getsockname()[1]}/"
        )
        for _ in range(2):
            end(hanging)
        stuck = pool.submit(deliver)
        wait_until(lambda: leased() == 2)

        assert deliver() == 0, "another thread is at it already"
        assert not stuck.done()
        end(hanging)
        assert deliver() == 0
        wait_until(lambda: leased() == 3)
        assert not stuck.done()
        silent.close()

    assert stuck.result() >= 3
    assert len(outcomes(connection, hanging)) == stuck.result()


def test_the_sweep_seals_and_leaves_the_head_at_the_place_of_the_settings(
    app: Flask,
    connection: Connection,
    merchant: TestUser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = tmp_path / "anchor.jsonl"
    configured = replace(app.extensions["standart.settings"], seal_anchor=str(place))
    monkeypatch.setitem(app.extensions, "standart.settings", configured)
    with app.app_context():
        assert tasks.seal() == 0
        assert not place.exists()
        for amount in (5, 7):
            movements.Mover(connection, merchant.id).adjust(amount)
            assert tasks.seal() == 1
            assert tasks.seal() == 0
        assert seal_service.lags(connection).anchoring == 0
        kept = [json.loads(line)["number"] for line in place.read_text().splitlines()]
        assert kept == [1, 2]

        place.write_text("something else\n")
        movements.Mover(connection, merchant.id).adjust(9)
        with caplog.at_level(logging.ERROR):
            assert tasks.seal() == 1
        assert str(place) in caplog.text
        assert seal_service.lags(connection).anchoring > 0
    assert place.read_text() == "something else\n"


def test_a_sweep_that_finds_somebody_posting_for_long_comes_again(
    app: Flask,
    engine: Engine,
    connection: Connection,
    merchant: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writers, "PAUSES", (0.001,))
    with app.app_context(), uncommitted(engine) as writing:
        movements.Mover(writing, merchant.id).adjust(5)
        assert tasks.seal() == 0
        assert "seal" not in heartbeat_service.ages(connection)
        writing.commit()
        assert tasks.seal() == 1
        assert "seal" in heartbeat_service.ages(connection)
