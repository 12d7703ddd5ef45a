"""The order of it: rules off, indexes away, rows in, indexes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from benchmarks.fill import movements, outbox, payments, people, records
from benchmarks.fill.options import Options
from standart.encryption import Keyring

Tell = Callable[[str], None]

_LOADED = (
    "transactions",
    "journals",
    "entries",
    "audit_log",
    "refunds",
    "events",
    "deliveries",
    "attempts",
    "payouts",
    "adjustments",
)

# Not those of constraints: others lean on them, and rows come in nearly in their order.
_SECONDARY = text(
    """
    SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
    FROM pg_index i
    WHERE i.indrelid = ANY (CAST(:tables AS regclass[]))
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
    ORDER BY 1
    """
)

_OPERATOR = text("SELECT id FROM users WHERE role = 'admin' ORDER BY created_at LIMIT 1")
_FILLED = text("SELECT EXISTS (SELECT FROM users WHERE name = :name)")

# What is filled in lies before the mark, perhaps; the sweep begins at the first row then.
_SUM_ANEW = (
    "DELETE FROM hourly_sums",
    "DELETE FROM merchant_hourly_sums",
    "DELETE FROM merchant_sums",
    "UPDATE sums_mark SET upto = '2000-01-01T00:00:00Z'",
)


class AlreadyFilled(Exception):
    """The database was filled before; a second filling would need other names."""


def fill(
    superuser: Engine, keyring: Keyring, options: Options, tell: Tell = lambda _: None
) -> None:
    """Fill a migrated database with the rows that ``options`` ask for.

    ``superuser`` is of the role that may switch triggers off; ``tell`` hears how it goes on.

    Raises:
        AlreadyFilled: it was filled before.
    """
    with superuser.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        # What is set here must not come back to the pool, whatever happens.
        connection.detach()
        if connection.scalar(_FILLED, {"name": people.name_of(1)}):
            raise AlreadyFilled
        for setting in (
            "session_replication_role = replica",
            "statement_timeout = 0",
            "maintenance_work_mem = '512MB'",
            "work_mem = '256MB'",
            "jit = off",
        ):
            connection.execute(text(f"SET {setting}"))
        merchants = people.add_merchants(connection, keyring, options)
        payments.name_merchants(connection, merchants)
        operator = connection.scalar(_OPERATOR)
        with _without_indexes(connection, tell):
            payments.add_payments(connection, options, str(operator) if operator else None, tell)
            for name, statement in {**movements.STEPS, **outbox.STEPS, **records.STEPS}.items():
                movements.run_step(connection, statement, options)
                tell(name)
        for statement in _SUM_ANEW:
            connection.execute(text(statement))
        connection.execute(text("VACUUM (ANALYZE)"))
        tell("vacuum")


@contextmanager
def _without_indexes(connection: Connection, tell: Tell) -> Iterator[None]:
    """Take the secondary indexes away while the block runs; put them back in any case."""
    indexes = connection.execute(_SECONDARY, {"tables": list(_LOADED)}).all()
    for index in indexes:
        connection.execute(text(f"DROP INDEX {index.name}"))
    try:
        yield
    finally:
        for index in indexes:
            connection.exec_driver_sql(index.definition)
            tell(index.name)
