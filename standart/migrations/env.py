"""Alembic's entry: migrations run on the connection that ``standart.migrations`` hands over."""

from __future__ import annotations

from typing import Any

from alembic import context

from standart import models


def include_object(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
    """Leave views to hand-written migrations: autogenerate knows tables only."""
    return not (kind == "table" and item.info.get("is_view"))


def run(connection: Any) -> None:
    """Run the migrations that the command asked for on ``connection``."""
    context.configure(
        connection=connection,
        target_metadata=models.Transaction.metadata,
        include_object=include_object,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    # Only the bare `alembic` command comes here; the service hands its connection over.
    from standart.config import Settings
    from standart.db import make_engine

    settings = Settings.from_env(require_secrets=False)
    engine = make_engine(settings.migration_database_url, pool_size=1)
    with engine.connect() as own_connection:
        run(own_connection)
    engine.dispose()
