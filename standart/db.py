"""The database's foundation: naming, types, engine options and the one unit of work.

PostgreSQL 15 or newer over psycopg 3 is the only dialect.
"""

from __future__ import annotations

import select as poll_module
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import (
    DateTime,
    Engine,
    Enum,
    MetaData,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect, ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# The server ends a session with these, or answers with them after a failover has turned
# the old primary read-only: the connection will never write again, so the pool drops it.
_DEAD_SESSION_STATES = frozenset({"57P01", "57P02", "57P03", "25006"})

# What a caller may see as "try again": lost connections, a full server, a full disk, a
# cancelled or deadlocked statement. Nothing was acknowledged in any of these cases.
_TRANSIENT_CLASSES = ("08", "53", "57")
_TRANSIENT_STATES = frozenset({"25006", "40001", "40P01", "55P03", "58030"})


# Seconds; the server's own limit for a statement, and how long a caller waits for any answer.
# The first does not run while a commit waits for a lost standby, or while the server itself
# stands still; its kernel then goes on to answer for it, so that keepalives notice nothing.
STATEMENT_SECONDS = 10
SILENCE_SECONDS = 12

_TIMED_OUT = frozenset({"57014", "55P03"})

# Marks an engine whose connections need no switch to autocommit mode.
_AUTOCOMMITS = "standart_autocommits"


Result = TypeVar("Result")


class Base(DeclarativeBase):
    """Parent of every table; names all constraints, so that migrations can find them."""

    metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """``timestamptz`` that refuses naive datetimes and always answers in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime: its zone would be a guess."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC, whatever zone the session has."""
        return None if value is None else value.astimezone(UTC)


def text_enum(kind: type[StrEnum], name: str) -> Enum:
    """Return a column type that stores the values as text behind a CHECK.

    A CHECK can be replaced in a migration without a table rewrite, a native enum cannot
    lose a value.
    """
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


def engine_options(pool_size: int = 8, *, plan_anew: bool = False) -> dict[str, Any]:
    """Return the options every engine of the service is made with.

    With ``plan_anew`` each statement is planned for the very values it has: one merchant may have
    a thousand times what another has, and a plan that is kept for all suits the average.

    Time-outs are in seconds, those of the server in milliseconds. A dead network ends a
    connection attempt within 2 s and a silent peer within about 8 s.
    """
    return {
        # Bound values are people's data; they have no place in an error's text.
        "hide_parameters": True,
        "pool_size": pool_size,
        "max_overflow": 2,
        "pool_timeout": 2,
        "pool_use_lifo": True,
        "pool_recycle": 1800,
        "connect_args": {
            "connect_timeout": 2,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 8000,
            "application_name": "standart",
            "options": f"-c timezone=UTC -c statement_timeout={STATEMENT_SECONDS}s"
            " -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s"
            + (" -c plan_cache_mode=force_custom_plan" if plan_anew else ""),
        },
    }


def make_engine(url: str, pool_size: int = 8) -> Engine:
    """Return an engine for ``url`` with the service's options and failover handling."""
    engine = create_engine(url, **engine_options(pool_size))
    watch(engine)
    return engine


def make_autocommit_engine(url: str, pool_size: int = 8) -> Engine:
    """Return an engine whose connections are in autocommit mode from the start.

    Switching a pooled connection to and fro costs each request more than its statement.
    """
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        execution_options={_AUTOCOMMITS: True},
        **engine_options(pool_size),
    )
    watch(engine)
    limit_silence(engine)
    return engine


class _ImpatientConnection(psycopg.Connection[Any]):
    """A connection that is given up when the server says nothing for ``SILENCE_SECONDS``."""

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        """Wait for the server as the driver does, but not for ever.

        Raises:
            OperationalError: it has not answered; nobody knows whether it will have done
                what it was asked, and the connection is closed.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, SILENCE_SECONDS)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def limit_silence(engine: Engine) -> None:
    """Let no statement of ``engine`` wait longer than ``SILENCE_SECONDS`` for its answer.

    Not for migrations and proofs of the books, which may rightly take longer.
    """
    event.listen(engine, "do_connect", _connect_impatiently)


def _connect_impatiently(
    dialect: Dialect,
    record: ConnectionPoolEntry,
    positional: tuple[Any, ...],
    parameters: dict[str, Any],
) -> DBAPIConnection:
    return cast("DBAPIConnection", _ImpatientConnection.connect(*positional, **parameters))


def watch(engine: Engine) -> None:
    """Make ``engine`` notice dead sessions by itself.

    A pre-ping would cost each request a round trip. A server that ended the session has
    written to the socket or closed it, so an idle connection that is readable is not
    fit for use: one system call tells.
    """
    event.listen(engine, "checkout", _refuse_dead_socket)
    event.listen(engine, "handle_error", _mark_dead_session)


def _refuse_dead_socket(
    connection: DBAPIConnection,
    record: ConnectionPoolEntry,
    proxy: PoolProxiedConnection,
) -> None:
    poller = poll_module.poll()
    poller.register(connection.fileno(), poll_module.POLLIN)
    if poller.poll(0):
        raise DisconnectionError("the server closed this connection while it was idle")


def _mark_dead_session(context: ExceptionContext) -> None:
    if sqlstate(context.original_exception) in _DEAD_SESSION_STATES:
        context.is_disconnect = True


def sqlstate(error: BaseException | None) -> str:
    """Return the SQLSTATE of a database error, ``""`` where the server gave none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None) or ""


def constraint_name(error: DBAPIError) -> str:
    """Return the name of the constraint that refused a statement, or ``""``."""
    diagnostics = getattr(error.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None) or ""


def is_worth_repeating(error: Exception) -> bool:
    """Tell whether the same work shall run again at once, within the same request.

    Not after a time-out of a statement or a lock: who waited so long shall hear of it.
    """
    return is_transient(error) and sqlstate(error) not in _TIMED_OUT


def is_transient(error: Exception) -> bool:
    """Tell whether the same work may succeed when it is tried again a moment later."""
    if isinstance(error, (PoolTimeoutError, DisconnectionError)):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate(error)
    return (
        error.connection_invalidated
        or state in _TRANSIENT_STATES
        or state.startswith(_TRANSIENT_CLASSES)
        or (not state and type(error).__name__ == "OperationalError")
    )


DIALECT: Dialect = make_url("postgresql+psycopg://").get_dialect()()
"""How the driver wants to be spoken to, for what is compiled without a connection."""


class HotStatement:
    """A statement that runs on the driver's own cursor.

    SQLAlchemy keeps the pool, the dialect and the error types; its execution and result
    objects would cost a create twice what the driver needs. The SQL has named parameters
    (``:name``) as ``sqlalchemy.text`` reads them.
    """

    __slots__ = ("_driver_sql", "text")

    def __init__(self, sql: str) -> None:
        """``sql`` loses its indentation: the driver remembers the parts of short texts only."""
        self.text = " ".join(sql.split())
        # The dialect doubles percent signs and turns :name into what the driver reads.
        self._driver_sql = str(text(self.text).compile(dialect=DIALECT))

    def __str__(self) -> str:
        return self.text

    def first(self, connection: Connection, parameters: Mapping[str, Any]) -> Any:
        """Run on ``connection``; return the first row as a tuple, ``None`` without one.

        Raises:
            DBAPIError: as SQLAlchemy would raise it; a dead connection leaves the pool.
        """
        raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        if not raw.autocommit and not connection.in_transaction():
            connection.begin()  # what SQLAlchemy does by itself for statements of its own
        try:
            return raw.execute(self._driver_sql, parameters).fetchone()
        except psycopg.Error as error:
            raise _wrapped(connection, self.text, error) from error


def _wrapped(connection: Connection, sql: str, error: psycopg.Error) -> Exception:
    """Return a driver's error as SQLAlchemy's; drop the connection if it is dead.

    What ends one session ends all that are as old, as a rule: the pool makes new ones.
    """
    dialect = connection.dialect
    raw = connection.connection
    dead = sqlstate(error) in _DEAD_SESSION_STATES or dialect.is_disconnect(
        cast("Any", error), raw.dbapi_connection, None
    )
    if dead:
        # The pool has no public method for what SQLAlchemy itself does after each such error.
        connection.engine.pool._invalidate(raw, error)  # noqa: SLF001
        connection.invalidate(error)
    return DBAPIError.instance(
        sql,
        None,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=dead,
        dialect=dialect,
    )


@contextmanager
def transaction(session: Session) -> Iterator[Session]:
    """Hold one unit of work: commit when the block ends, roll back when it raises.

    This, ``unit`` and ``autocommit`` are the only places of the service where work becomes
    durable.
    """
    try:
        yield session
        session.commit()
    except BaseException:
        session.rollback()
        raise


@contextmanager
def autocommit(engine: Engine) -> Iterator[Connection]:
    """Hold a connection on which each statement is its own transaction.

    A write of one statement needs no BEGIN and no COMMIT round trip.
    """
    with engine.connect() as connection:
        if not engine.get_execution_options().get(_AUTOCOMMITS):
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Hold a part of a transaction, also of ``unit``'s: an error undoes that part alone."""
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with raw.transaction():
        yield


def copy_in(connection: Connection, target: str, chunks: Iterable[bytes]) -> None:
    """Fill ``target``, a table with its columns, from CSV in UTF-8 as it comes in ``chunks``.

    Raises:
        DBAPIError: as SQLAlchemy would raise it.
    """
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    statement = f"COPY {target} FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            for chunk in chunks:
                copy.write(chunk)
    except psycopg.Error as error:
        raise _wrapped(connection, statement, error) from error


@contextmanager
def unit(connection: Connection) -> Iterator[None]:
    """Hold one transaction on a connection in autocommit mode: all of the block or nothing.

    For acts that lock first and look then: each statement sees what was committed before
    it began. On a connection that holds somebody's unit of work the block is part of that.

    Raises:
        DBAPIError: as SQLAlchemy would raise it, also for the commit itself.
    """
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    if not raw.autocommit:
        yield
        return
    try:
        with raw.transaction():
            yield
    except psycopg.Error as error:
        raise _wrapped(connection, "COMMIT", error) from error
