"""How many statements a page of the panel asks the database."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from sqlalchemy import event

from standart.extensions import db


def counted(app: Flask, work: Callable[[], object]) -> int:
    """Run ``work``; return how many statements it sent, over whichever connection."""
    heard: list[str] = []

    def hear(*told: object) -> None:
        heard.append(str(told[2]))

    with app.app_context():
        engines = [db.engine, app.extensions["standart.engine"]]
    for each in engines:
        event.listen(each, "before_cursor_execute", hear)
    try:
        work()
    finally:
        for each in engines:
            event.remove(each, "before_cursor_execute", hear)
    return len(heard)
