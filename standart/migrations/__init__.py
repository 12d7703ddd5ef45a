"""Bring the schema up to date and give the application's role exactly what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, make_url, text

from standart.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

HERE = Path(__file__).parent

MINIMUM_SERVER = 15

# An arbitrary number that no other user of the database is likely to lock.
ADVISORY_LOCK = 7_310_579_641

_READ_AND_ADD = (
    "users",
    "api_keys",
    "fee_schedules",
    "limits",
    "limit_sums",
    "transactions",
    "notes",
    "refunds",
    "refund_totals",
    "payouts",
    "adjustments",
    "approvals",
    "accounts",
    "balance_deltas",
    "journals",
    "entries",
    "events",
    "deliveries",
    "attempts",
    "idempotency_keys",
    "audit_log",
    "panel_sessions",
    "login_failures",
    "heartbeats",
)
_CHANGE = (
    "users",
    "api_keys",
    "limits",
    "limit_sums",
    "transactions",
    "refund_totals",
    "payouts",
    "adjustments",
    "accounts",
    "deliveries",
    "idempotency_keys",
    "panel_sessions",
    "heartbeats",
)
_DELETE = (
    "users",
    "api_keys",
    "limits",
    "limit_sums",
    "accounts",
    "balance_deltas",
    "idempotency_keys",
    "panel_sessions",
    "login_failures",
)


def config_for(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration for the migrations inside this package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """Return the revision that this version of the service needs.

    The number leads the name of its file, so asking needs no Alembic: its import would
    cost every serving process some 15 MB.
    """
    return max(path.name.partition("_")[0] for path in (HERE / "versions").glob("[0-9]*_*.py"))


_CURRENT = text("SELECT version_num FROM alembic_version")


def current(connection: Connection) -> str | None:
    """Return the revision that the database is at, ``None`` before the first migration."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision: str | None = connection.scalar(_CURRENT)
    return revision


def check_server(connection: Connection) -> None:
    """Refuse a PostgreSQL that is too old.

    Raises:
        ConfigurationError: names the version found and the one needed.
    """
    version = connection.scalar(text("SELECT current_setting('server_version_num')::int")) // 10_000
    if version < MINIMUM_SERVER:
        raise ConfigurationError(
            "DATABASE_URL",
            f"the server is PostgreSQL {version}",
            f"Standart needs {MINIMUM_SERVER} or newer; point it at a newer server.",
        )


def upgrade(engine: Engine, application_url: str, revision: str = "head") -> None:
    """Run ``alembic upgrade`` under an advisory lock, then grant the application's role.

    ``engine`` belongs to the owner role; ``application_url`` names the role that serves.
    Several hosts may start at once: the second waits and finds nothing left to do.

    Raises:
        ConfigurationError: the server is older than PostgreSQL 15.
    """
    from alembic import command

    with engine.begin() as connection:
        check_server(connection)
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        # Waiting for the lock of a busy table would make every later reader wait behind us.
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        command.upgrade(config_for(connection), revision)
        role = make_url(application_url).username
        if role and role != connection.scalar(text("SELECT current_user")):
            grant(connection, role)


def downgrade(engine: Engine, revision: str) -> None:
    """Run ``alembic downgrade`` to ``revision`` (``base`` for an empty schema)."""
    from alembic import command

    with engine.begin() as connection:
        command.downgrade(config_for(connection), revision)


def grant(connection: Connection, role: str) -> None:
    """Give ``role`` the service's rights: history can be added to, never changed or deleted."""
    quoted = connection.dialect.identifier_preparer.quote(role)
    statements = [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {quoted}",
        f"GRANT USAGE ON SCHEMA public TO {quoted}",
        f"GRANT SELECT ON alembic_version, account_balances TO {quoted}",
        f"GRANT SELECT, INSERT ON {', '.join(_READ_AND_ADD)} TO {quoted}",
        f"GRANT UPDATE ON {', '.join(_CHANGE)} TO {quoted}",
        f"GRANT DELETE ON {', '.join(_DELETE)} TO {quoted}",
        # Folding locks deltas, which needs the right to update some column: this one is
        # generated always and takes no value.
        f"GRANT UPDATE (id) ON balance_deltas TO {quoted}",
    ]
    for statement in statements:
        connection.execute(text(statement))
