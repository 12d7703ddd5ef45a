"""The objects of Flask's extensions, and how the edges reach database and settings.

Only the edge imports this: services get a connection or a session and never know where
it came from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import celery
from flask import Flask, current_app
from flask_babel import Babel
from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from standart.config import Settings
from standart.db import (
    Base,
    autocommit,
    engine_options,
    is_worth_repeating,
    limit_silence,
    make_autocommit_engine,
    transaction,
    watch,
)
from standart.encryption import Keyring
from standart.observability import bind

db = SQLAlchemy(metadata=Base.metadata, disable_autonaming=True)
login = LoginManager()
babel = Babel()
csrf = CSRFProtect()

Result = TypeVar("Result")


def init_database(app: Flask, settings: Settings) -> None:
    """Give ``app`` the engine of ``settings`` with the service's options."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(
        settings.database_pool_size, plan_anew=True
    )
    db.init_app(app)
    with app.app_context():
        watch(db.engine)
        limit_silence(db.engine)
    app.extensions["standart.settings"] = settings
    app.extensions["standart.engine"] = make_autocommit_engine(
        settings.database_url, settings.database_pool_size
    )
    app.extensions["standart.keyring"] = Keyring.parse(settings.encryption_keys)


def settings() -> Settings:
    """Return the settings of the current app."""
    return cast("Settings", current_app.extensions["standart.settings"])


def engine() -> Engine:
    """Return the engine of single statements; its connections are in autocommit mode.

    Units of work of several statements go through ``in_transaction`` and the engine of
    Flask-SQLAlchemy.
    """
    return cast("Engine", current_app.extensions["standart.engine"])


def keyring() -> Keyring:
    """Return the key ring that seals secrets at rest."""
    return cast("Keyring", current_app.extensions["standart.keyring"])


def on_connection(work: Callable[[Connection], Result]) -> Result:
    """Run ``work`` on an autocommit connection, once more if the first one died under it.

    ``work`` must be repeatable: guarded statements with ids chosen beforehand are, since
    the second run finds what the first one may have committed.
    """
    try:
        with autocommit(engine()) as connection:
            return work(connection)
    except Exception as error:
        if not is_worth_repeating(error):
            raise
    with autocommit(engine()) as connection:
        return work(connection)


def in_transaction(work: Callable[[Session], Result]) -> Result:
    """Run ``work`` in one unit of work on the session of the current app context."""
    with transaction(db.session()) as session:
        return work(session)


def nudge() -> None:
    """Ask the worker to look for due webhooks now; best effort, after the commit only."""
    current_app.extensions["standart.nudge"]()


def nudge_replay() -> None:
    """Ask the worker to go on with replays now; best effort, after the commit only."""
    current_app.extensions["standart.replay_nudge"]()


def make_celery(app: Flask) -> celery.Celery[Any]:
    """Return the Celery app whose tasks run inside the context of ``app``.

    The broker is a hint: no result backend, bounded time-outs, and a worker never gives up
    reconnecting. What must happen is found in the database by the next sweep.
    """

    class ContextTask(celery.Task[Any, Any]):
        """A task that has the Flask app's context, and a clean session after it."""

        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context(), bind(task_id=str(self.request.id)):
                return self.run(*args, **kwargs)

    configured = settings_of(app)
    queue: celery.Celery[Any] = celery.Celery("standart", task_cls=ContextTask)
    queue.conf.update(
        broker_url=configured.broker_url,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_queue="standart",
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_max_tasks_per_child=10_000,
        worker_max_memory_per_child=400_000,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": 5,
            "socket_connect_timeout": 1,
            # Acknowledging over a connection that died meanwhile ends the whole worker by an
            # AttributeError inside kombu. A message that a dying worker takes along is found
            # again in the database, so nothing is kept in Redis until it is acknowledged.
            "ack_emulation": False,
            "retry_policy": {"max_retries": 0},
        },
        task_publish_retry=False,
        accept_content=["json"],
        task_serializer="json",
        timezone="UTC",
        enable_utc=True,
    )
    queue.set_default()
    app.extensions["celery"] = queue
    return queue


def settings_of(app: Flask) -> Settings:
    """Return the settings that ``app`` was made with."""
    return cast("Settings", app.extensions["standart.settings"])
