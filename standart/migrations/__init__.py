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

_READ = (
    "alembic_version",
    "account_balances",
    "event_clock",
    "book_clock",
    "particulars",
    "sums_mark",
)
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
    "seals",
    "closes",
    "signing_keys",
    "reconciliations",
    "reconciliation_rows",
    "events",
    "webhook_endpoints",
    "webhook_lanes",
    "webhook_replays",
    "deliveries",
    "attempts",
    "idempotency_keys",
    "audit_log",
    "panel_sessions",
    "pending_logins",
    "second_factors",
    "recovery_codes",
    "panel_preferences",
    "login_failures",
    "heartbeats",
    "hourly_sums",
    "merchant_hourly_sums",
    "merchant_sums",
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
    "book_clock",
    "webhook_endpoints",
    "webhook_lanes",
    "webhook_replays",
    "deliveries",
    "idempotency_keys",
    "panel_sessions",
    "second_factors",
    "panel_preferences",
    "heartbeats",
    "hourly_sums",
    "merchant_hourly_sums",
    "merchant_sums",
    "sums_mark",
)
_DELETE = (
    "users",
    "api_keys",
    "limits",
    "limit_sums",
    "accounts",
    "balance_deltas",
    # Their lanes go with them, which is the owner's doing.
    "webhook_endpoints",
    "idempotency_keys",
    "panel_sessions",
    "pending_logins",
    "second_factors",
    "recovery_codes",
    "panel_preferences",
    "login_failures",
    "merchant_hourly_sums",
)
# What the owner of the tables does on behalf of the service.
_CALL = ("standart_purge_events", "standart_reseal_destinations")


# The database, if the role that migrates may say who does what in it.
_OUR_DATABASE = text(
    """
    SELECT datname FROM pg_database
    WHERE datname = current_database() AND pg_has_role(datdba, 'USAGE')
    """
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
    return max(revisions())


def revisions() -> set[str]:
    """Return every revision that this version of the service knows."""
    return {path.name.partition("_")[0] for path in (HERE / "versions").glob("[0-9]*_*.py")}


_CURRENT = text("SELECT version_num FROM alembic_version")


def current(connection: Connection) -> str | None:
    """Return the revision that the database is at, ``None`` before the first migration."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    return revision(connection)


def revision(connection: Connection) -> str | None:
    """Return what a database that has ever been migrated is at."""
    found: str | None = connection.scalar(_CURRENT)
    return found


def check_server(connection: Connection) -> None:
    """Refuse a PostgreSQL that is too old.

    Raises:
        ConfigurationError: names the version found and the one needed.
    """
    version = int((connection.dialect.server_version_info or (0,))[0])
    if version < MINIMUM_SERVER:
        raise ConfigurationError(
            "DATABASE_URL",
            f"the server is PostgreSQL {version}",
            f"Standart needs {MINIMUM_SERVER} or newer; point it at a newer server.",
        )


def upgrade(engine: Engine, application_url: str, revision: str = "head") -> None:
    """Run ``alembic upgrade`` under an advisory lock, then grant the application's role.

    ``engine`` belongs to the owner role; ``application_url`` names the role that serves.
    Several hosts may start at once: the second waits and finds nothing left to do. Where a
    dump was restored, the clock of events is set right as well.

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
        keep_events_in_order(connection)
        role = make_url(application_url).username
        # The rights are those of the newest schema; an older one has not all that they name.
        newest = current(connection) == head()
        if newest and role and role != connection.scalar(text("SELECT current_user")):
            grant(connection, role)


# A clock that another server wrote, or one that lags behind a stored position: the last one of
# each user, by its index.
_IN_ORDER = text(
    """
    SELECT c.server = s.system_identifier AND NOT standart_event_clock_is_restored()
        AND NOT EXISTS (
            SELECT FROM users u CROSS JOIN LATERAL (
                SELECT v.position FROM events v WHERE v.user_id = u.id
                ORDER BY v.position DESC LIMIT 1
            ) AS last
            WHERE last.position >= standart_event_base()
                + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        )
    FROM event_clock c, pg_control_system() AS s
    """
)

_HOLD_CLOCK = text("SELECT FROM event_clock FOR UPDATE")

# What the numbers of another server, its timelines and its transactions, never reach.
_LEAP = text(
    """
    UPDATE event_clock SET base = base + (1::bigint << 52), server = s.system_identifier
    FROM pg_control_system() AS s
    """
)

_MAKE_OURS = text("UPDATE event_clock SET base = base WHERE standart_event_clock_is_restored()")


def events_in_order(connection: Connection) -> bool:
    """Whether the clock of events is this server's own and lies above all that it gave out.

    The schema must be at its head.
    """
    return bool(connection.scalar(_IN_ORDER))


def keep_events_in_order(connection: Connection) -> None:
    """Let the positions of new events lie above all cursors, whatever server this is now.

    They are made of transaction numbers, which are lower in the server that a dump was
    restored into. New events would get positions below cursors that were given out, and who
    follows them would never see those.
    """
    if current(connection) != head() or events_in_order(connection):
        return
    # The purge holds the row first and writes events then, so it is the same here.
    connection.execute(_HOLD_CLOCK)
    # Whoever is just writing events finishes first, and who comes later uses the new base.
    connection.execute(text("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(_MAKE_OURS)
    if not events_in_order(connection):
        connection.execute(_LEAP)


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
        f"GRANT SELECT ON {', '.join(_READ)} TO {quoted}",
        f"GRANT SELECT, INSERT ON {', '.join(_READ_AND_ADD)} TO {quoted}",
        f"GRANT UPDATE ON {', '.join(_CHANGE)} TO {quoted}",
        f"GRANT DELETE ON {', '.join(_DELETE)} TO {quoted}",
        # Folding locks deltas, which needs the right to update some column: this one is
        # generated always and takes no value.
        f"GRANT UPDATE (id) ON balance_deltas TO {quoted}",
        f"GRANT UPDATE (private_key, retired_at) ON signing_keys TO {quoted}",
        f"GRANT EXECUTE ON FUNCTION {', '.join(_CALL)} TO {quoted}",
    ]
    for statement in statements:
        connection.execute(text(statement))
    database = connection.scalar(_OUR_DATABASE)
    if database is not None:
        # A reconciliation works in tables that end with its transaction.
        name = connection.dialect.identifier_preparer.quote(database)
        connection.execute(text(f"GRANT TEMPORARY ON DATABASE {name} TO {quoted}"))
