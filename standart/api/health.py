"""Is it alive, is it ready: for load balancers and supervisors, without a key.

Ready means database and migrations, nothing else: a dead worker or Redis must not drain
the API.
"""

from __future__ import annotations

from functools import cache

import msgspec
from flask import Response
from sqlalchemy import Connection

from standart.api import query, responses, schemas
from standart.api.restful import Resource
from standart.errors import Unavailable
from standart.extensions import on_connection

_OK = msgspec.json.encode(schemas.Health(status="ok"))


def _is_current(connection: Connection) -> bool:
    """Whether the database has the schema of this version."""
    # Alembic costs a quarter of a second; only the process that is asked loads it.
    from standart import migrations

    return migrations.current(connection) == _needed()


@cache
def _needed() -> str:
    """The revision that this version needs; read from the files once."""
    from standart import migrations

    return migrations.head()


class Alive(Resource):
    """``GET /healthz``."""

    def get(self) -> Response:
        """Say that the process answers; asks nothing else."""
        query.refuse()
        return responses.ready(_OK)


class ReadyToServe(Resource):
    """``GET /readyz``."""

    def get(self) -> Response:
        """Say that the database answers and has the schema of this version."""
        query.refuse()
        if not on_connection(_is_current):
            raise Unavailable("The database is not at the migration that this version needs.")
        return responses.ready(_OK)
