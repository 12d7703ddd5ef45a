"""Databases that migrations are run in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text

from standart.db import make_engine
from standart.embedded import Postgres


@pytest.fixture
def make_database(postgres: Postgres) -> Iterator[Callable[[str], URL]]:
    """Make an empty database that the owner role owns; return the owner's URL of it."""
    admin = create_engine(postgres.superuser_url, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make(name: str) -> URL:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} OWNER standart_owner"))
            made.append(name)
        return make_url(postgres.owner_url).set(database=name)

    yield make
    with admin.connect() as connection:
        for name in made:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def fresh(make_database: Callable[[str], URL]) -> Iterator[Engine]:
    """The owner role on an empty database of its own."""
    engine = make_engine(make_database("fresh").render_as_string(hide_password=False), 4)
    yield engine
    engine.dispose()
