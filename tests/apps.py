"""What is made once per process and lent from test to test: apps, and their templates' code."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import Any

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from standart import tasks
from standart.app import create_app
from standart.config import Settings
from standart.extensions import db


class Shelf:
    """Apps of ``settings``; making one takes longer than most tests take to use it.

    Tests change ``app.extensions`` alone, and what a test left there never reaches the next.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._as_made: dict[Flask, dict[str, Any]] = {}
        self._free = [self._new()]

    def take(self) -> Flask:
        """Return an app as ``create_app`` would, that nobody else has now."""
        app = self._free.pop() if self._free else self._new()
        app.extensions.clear()
        app.extensions.update(self._as_made[app])
        # A deliverer that nobody has stopped, and nudges that nobody has given yet.
        tasks.init_app(app)
        # Tasks run in the app whose queue was made last.
        app.extensions["celery"].set_default()
        app.extensions["celery"].set_current()
        for engine in _engines(app):
            _drop_dead(engine)
        return app

    def give_back(self, app: Flask) -> None:
        """Keep ``app`` for the next test that wants one."""
        with app.app_context():
            db.session.remove()
        self._free.append(app)

    def close(self) -> None:
        for app in self._free:
            dispose(app)

    def _new(self) -> Flask:
        app = create_app(self._settings)
        self._as_made[app] = dict(app.extensions)
        return app


def special(settings: Settings, **changes: Any) -> Flask:
    """Return an app of its own, with some settings changed."""
    return create_app(dataclasses.replace(settings, **changes))


def dispose(app: Flask) -> None:
    """Close the connections of ``app``."""
    with app.app_context():
        db.session.remove()
    for engine in _engines(app):
        engine.dispose()


def _engines(app: Flask) -> tuple[Engine, Engine]:
    with app.app_context():
        return db.engine, app.extensions["standart.engine"]


def _drop_dead(engine: Engine) -> None:
    """Forget the idle connections if some test has ended one of their sessions."""
    with ExitStack() as stack:
        try:
            for _ in range(engine.pool.checkedin()):  # type: ignore[attr-defined]  # a QueuePool
                stack.enter_context(engine.connect()).exec_driver_sql("SELECT 1")
        except DBAPIError:
            engine.dispose()


class Compiled(BytecodeCache):
    """The code of templates, kept for all apps of the process while their source is the same."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()
