"""`standart listen` beside the real service: late commits, restarts, forwarding, strangers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session
from werkzeug.serving import make_server

from standart.cli.event_stream import NOW, EventStream, StreamedEvent, StreamRefused
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models import ApiKey
from standart.services import key_service, outbox
from standart.services.access import SYSTEM
from standart.webhooks import signing
from tests.builders import TestUser, make_transaction, make_user
from tests.integration.concurrency import uncommitted
from tests.integration.hooks import GoodReceiver, serving
from tests.integration.test_listen import listening
from tests.ports import free_port

SECRET = signing.new_secret()


@contextmanager
def served(app: Flask, port: int = 0) -> Iterator[str]:
    """Serve ``app`` on the loopback; yields its URL."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def stream(url: str, user: TestUser, cursor: str = NOW) -> EventStream:
    """One that never waits."""
    return EventStream(url, user.key, cursor=cursor, pause=lambda _: None, wait=0)


def tell(connection: Connection, user: TestUser) -> str:
    """Write an event as the service's acts do."""
    body = json.dumps({"id": str(user.id), "status": "disabled"})
    return str(
        outbox.tell(
            connection, user.id, outbox.ENDPOINT, user.id, "webhook_endpoint.disabled", body
        )
    )


def heard(pages: Iterator[list[StreamedEvent]], count: int) -> list[str]:
    """The ids of the next ``count`` events."""
    ids: list[str] = []
    while len(ids) < count:
        ids += [event.id for event in next(pages)]
    return ids


def test_an_event_that_commits_late_is_not_skipped(
    app: Flask, engine: Engine, merchant: TestUser
) -> None:
    with served(app) as url, uncommitted(engine) as held:
        listener = stream(url, merchant)
        listener.start()
        polls = []
        asked = threading.Event()

        def count(seconds: float) -> None:
            polls.append(seconds)
            asked.set()

        listener.pause = count
        late = tell(held, merchant)
        with autocommit(engine) as connection:
            early = [tell(connection, merchant) for _ in range(3)]
        found: list[str] = []

        def follow() -> None:
            found.extend(heard(listener.pages(), 4))

        thread = threading.Thread(target=follow)
        thread.start()
        # It has asked after the others committed, and the late one is still under way.
        assert asked.wait(20)
        assert found == []
        held.commit()
        thread.join(20)
        assert not thread.is_alive()
    assert found == [late, *early]


def test_one_that_is_rolled_back_holds_up_nothing(
    app: Flask, engine: Engine, merchant: TestUser
) -> None:
    with served(app) as url:
        listener = stream(url, merchant)
        listener.start()
        with uncommitted(engine) as held:
            tell(held, merchant)
            with autocommit(engine) as connection:
                wanted = tell(connection, merchant)
            held.rollback()
        assert heard(listener.pages(), 1) == [wanted]


def test_many_writers_at_once_are_heard_once_each(
    app: Flask, engine: Engine, merchant: TestUser
) -> None:
    written: list[str] = []

    def write() -> None:
        for _ in range(10):
            with Session(engine) as session, transaction(session):
                written.append(tell(session.connection(), merchant))

    with served(app) as url:
        listener = stream(url, merchant)
        listener.start()
        writers = [threading.Thread(target=write) for _ in range(6)]
        for writer in writers:
            writer.start()
        ids = heard(listener.pages(), 60)
        for writer in writers:
            writer.join()
    assert sorted(ids) == sorted(written)


def test_the_cursor_outlives_the_server(
    make_app: Callable[..., Flask], engine: Engine, merchant: TestUser
) -> None:
    def write() -> str:
        with autocommit(engine) as connection:
            return tell(connection, merchant)

    with served(make_app(), free_port()) as url:  # to be had again
        listener = stream(url, merchant)
        listener.start()
        pages = listener.pages()
        wanted = write()
        assert heard(pages, 1) == [wanted]
        # Handed on and done with: the next poll moves the cursor behind it.
        wanted = write()
        assert heard(pages, 1) == [wanted]
    wanted = write()
    told: list[str] = []
    with ExitStack() as stack:

        def come_back(seconds: float) -> None:
            if len(told) == 1:
                told.append("back")
                stack.enter_context(served(make_app(), int(url.rpartition(":")[2])))

        listener.tell, listener.pause = told.append, come_back
        assert heard(pages, 1) == [wanted]
    assert told[0].endswith("; trying again")
    assert told[-1] == "the server answers again"


def test_nobody_hears_of_others_and_a_revoked_key_hears_no_more(
    app: Flask, engine: Engine, keyring: Keyring, merchant: TestUser
) -> None:
    stranger = make_user(engine, keyring)
    with served(app) as url:
        listener = stream(url, merchant)
        listener.start()
        pages = listener.pages()
        with autocommit(engine) as connection:
            tell(connection, stranger)
            wanted = tell(connection, merchant)
        assert heard(pages, 1) == [wanted]
        with Session(engine) as session, transaction(session):
            key = session.query(ApiKey).filter_by(user_id=merchant.id).one()
            key_service.revoke_key(session, SYSTEM, key.prefix)
        with pytest.raises(StreamRefused, match="401"):
            next(pages)


def test_an_admin_says_whose_events(
    app: Flask, engine: Engine, admin: TestUser, merchant: TestUser
) -> None:
    with served(app) as url, pytest.raises(StreamRefused, match="user_id"):
        stream(url, admin).start()
    with served(app) as url:
        listener = stream(url, admin)
        listener.user_id = merchant.id
        listener.start()
        with autocommit(engine) as connection:
            wanted = tell(connection, merchant)
        assert heard(listener.pages(), 1) == [wanted]


def test_the_command_forwards_what_a_webhook_would_be(
    app: Flask,
    engine: Engine,
    keyring: Keyring,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    good = GoodReceiver(SECRET)
    shop = make_user(engine, keyring)
    with served(app) as url, serving(good) as hook:
        arguments = ("--url", url, "--user", shop.name, "--forward-to", hook, "--secret", SECRET)
        with listening(tmp_path, environment, *arguments) as command:
            ids = []
            for _ in range(3):
                made = make_transaction(engine, shop, reference="Чай № 1")
                answer = app.test_client().post(
                    "/cancel_transaction", json={"id": made["id"]}, headers=shop.headers
                )
                ids.append(answer.get_json()["id"])
            command.wait_for(lambda: len(good.accepted) == 3)
    with engine.connect() as connection:
        kept = connection.execute(
            text("SELECT id::text, payload FROM events ORDER BY position")
        ).all()
    assert [(each, body.decode()) for each, body in good.accepted] == [tuple(row) for row in kept]
    assert [json.loads(body)["id"] for _, body in good.accepted] == ids
