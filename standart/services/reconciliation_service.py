"""Reconciliation: a bank's or provider's file held against the books, and the result kept.

It reads one snapshot of the books and writes what it found beside them; it never moves money,
and nothing that it says is ever changed. Records are found by the reference or id that they
name, then by amount, currency and day where only one of each can be meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, text

from standart.bank_files.records import Direction
from standart.bank_files.values import FIRST_YEAR, LAST_YEAR
from standart.clock import new_id
from standart.db import copy_in, unit
from standart.errors import ConfigurationError, InvalidInput
from standart.models import Reconciliation
from standart.services import acts, audit_service
from standart.services import reconciliation_sql as sql
from standart.services.access import Actor
from standart.services.reconciliation_spool import COLUMNS_OF_LINES, COLUMNS_OF_TOKENS, Spooled

MAX_TOLERANCE = 31
"""Days."""

_RUN_TWICE = 2


class Kind(StrEnum):
    """What of ours a file can be held against."""

    PAYMENT = "payment"
    REFUND = "refund"
    PAYOUT = "payout"


@dataclass(frozen=True, slots=True)
class Question:
    """What a file is asked.

    ``user_id``: the books of one merchant, else of all. The span is half-open and by default
    the file's own; its days begin in the file's zone. ``kinds`` are by default all whose
    direction the file can hold.
    """

    user_id: UUID | None = None
    starts_on: date | None = None
    ends_before: date | None = None
    date_tolerance: int = 1
    kinds: frozenset[Kind] = frozenset()


def run(connection: Connection, actor: Actor, file: Spooled, question: Question) -> UUID:
    """Hold ``file`` against the books of this moment; keep the result and return its id.

    ``connection`` is in autocommit mode: it takes a transaction of its own, with one snapshot.

    Raises:
        Forbidden: the actor is no admin.
        InvalidInput: the span is empty, or the tolerance is out of range.
        ConfigurationError: the database lets us make no temporary tables.
    """
    acts.require_admin(actor)
    starts_on, ends_before = _span(file, question)
    with unit(connection):
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        # A file of a million lines takes longer than one request may.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        _require_room(connection)
        _load(connection, file)
        _read_books(connection, file, question, starts_on, ends_before)
        _pair(connection, question)
        span = {"starts_on": starts_on, "ends_before": ends_before}
        connection.execute(text(sql.CREATE_RESULT), {**span, "tolerance": question.date_tolerance})
        return _keep(connection, actor, file, question, span)


def _span(file: Spooled, question: Question) -> tuple[date, date]:
    if not 0 <= question.date_tolerance <= MAX_TOLERANCE:
        raise InvalidInput.of("date_tolerance", f"must be between 0 and {MAX_TOLERANCE} days")
    starts_on = question.starts_on or file.first_day
    ends_before = question.ends_before or file.ends_before
    for field, day in (("from", question.starts_on), ("to", question.ends_before)):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            message = f"must be in the years {FIRST_YEAR} to {LAST_YEAR}"
            raise InvalidInput.of(field, message)
    if starts_on >= ends_before:
        raise InvalidInput.of("to", f"must be after the span's start, {starts_on}")
    return starts_on, ends_before


def _require_room(connection: Connection) -> None:
    may = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"
    if not connection.scalar(text(may)):
        raise ConfigurationError(
            "DATABASE_URL",
            "its role may make no temporary tables",
            "Run `standart migrate` as the database's owner, or GRANT TEMPORARY to the role.",
        )


def _execute(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))


def _load(connection: Connection, file: Spooled) -> None:
    _execute(connection, *sql.CREATE_FILE)
    copy_in(connection, f"file_lines ({COLUMNS_OF_LINES})", file.lines())
    copy_in(connection, f"file_tokens ({COLUMNS_OF_TOKENS})", file.tokens())
    _execute(connection, *sql.ANALYZE_FILE)


def _read_books(
    connection: Connection, file: Spooled, question: Question, starts_on: date, ends_before: date
) -> None:
    zone = file.layout.zone
    # What a line at the edge of the span may be paired with lies this much further out.
    reach = timedelta(days=question.date_tolerance)
    connection.execute(
        text(sql.CREATE_BOOKS),
        {
            "kinds": _asked(file, question),
            "user_id": question.user_id,
            "since": _midnight(starts_on - reach, zone),
            "until": _midnight(ends_before + reach, zone),
            "zone": zone.key,
        },
    )
    _execute(connection, sql.CREATE_NAMES, *sql.ANALYZE_BOOKS)


def _asked(file: Spooled, question: Question) -> list[str]:
    """What of ours the file is held against: by default all that it could hold."""
    both = Direction.OUT in file.facts.directions
    kinds = question.kinds or (frozenset(Kind) if both else {Kind.PAYMENT})
    return sorted(kind.value for kind in kinds)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _pair(connection: Connection, question: Question) -> None:
    """Pair by name, the surest first; then what names nothing by amount and day."""
    for agreeing, same_amount in ((True, True), (False, True), (True, False), (False, False)):
        statement = sql.pair_by_name(same_amount=same_amount, agreeing=agreeing)
        # A line with two names may lose one of them to another line; it then gets the other.
        for _ in range(_RUN_TWICE):
            _execute(connection, statement, sql.ANALYZE_PAIRS)
    _execute(connection, sql.PAIR_REPEATS)
    connection.execute(text(sql.PAIR_BY_AMOUNT), {"tolerance": question.date_tolerance})


def _keep(
    connection: Connection,
    actor: Actor,
    file: Spooled,
    question: Question,
    span: dict[str, date],
) -> UUID:
    counts = dict(connection.execute(text(sql.COUNTS)).mappings().one())
    here = counts["matched"] + counts["missing_here"] + counts["differing"]
    run_id = new_id()
    connection.execute(
        insert(Reconciliation).values(
            id=run_id,
            actor_id=actor.user_id,
            actor_name=actor.name,
            user_id=question.user_id,
            file_name=file.name[-255:],
            file_digest=file.digest,
            file_size=file.size,
            format=file.facts.format,
            options={**file.options, "kinds": _asked(file, question)},
            zone=file.layout.zone.key,
            date_tolerance=question.date_tolerance,
            warnings=file.facts.warnings,
            lines=file.count,
            skipped=file.count - here,
            totals=_totals(connection),
            **span,
            **counts,
        )
    )
    connection.execute(text(sql.KEEP_ROWS), {"id": run_id})
    audit_service.record(
        connection,
        actor,
        "reconciliation.run",
        "reconciliation",
        run_id,
        after={"file": file.name, "sha256": file.digest.hex(), **counts},
    )
    return run_id


def _totals(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(text(sql.TOTALS)).mappings()
    sums = ("count", "amount", "fee", "our_count", "our_amount")
    return [{**row, **{name: int(row[name]) for name in sums}} for row in rows]
