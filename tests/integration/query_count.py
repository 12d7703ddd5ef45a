"""How many statements are sent to the database, and which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from flask import Flask
from sqlalchemy import Engine, event

from standart.extensions import db


@contextmanager
def hearing(engine: Engine) -> Iterator[list[str]]:
    """The statements that ``engine`` sends while the block runs."""
    heard: list[str] = []

    def hear(*told: object) -> None:
        heard.append(str(told[2]))

    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(engine, "before_cursor_execute", hear)


def counted(app: Flask, work: Callable[[], object]) -> int:
    """Run ``work``; return how many statements it sent, over whichever connection."""
    with app.app_context():
        engines = [db.engine, app.extensions["standart.engine"]]
    with ExitStack() as stack:
        heard = [stack.enter_context(hearing(each)) for each in engines]
        work()
    return sum(map(len, heard))
