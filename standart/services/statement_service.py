"""Settlement statements: what a merchant had, every movement since, and what that came to.

A statement is of one merchant, one currency and a half-open span of time; a movement has the
moment of its journal. What it says never changes: it is answered once nobody can post a
journal of its span any more. ``docs/statements.md`` goes through every column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, TextClause

from standart import money
from standart.documents.statement import Anchor, Foot, Head, Movement
from standart.errors import InvalidInput
from standart.services import chain, ledger_service, statement_opening, statement_span, writers
from standart.services.access import Actor
from standart.services.canonical import Digest
from standart.services.statement_span import Asked, Span
from standart.services.statement_sql import (
    CLOSE,
    COUNT,
    MOVEMENTS,
    NO_ID,
    OWNER,
    PRESENT,
    THEN,
    ZONES,
)
from standart.services.statement_sums import Sums

FIRST_BATCH: Final = 200
"""Journals that are read before the first row is shown; each batch after it is larger."""

LARGEST_BATCH: Final = 4000

_PAYOUTS: Final = ("payout_reserved", "payout_paid", "payout_returned")
_CORRECTIONS: Final = ("adjustment", "opening_balance")

Run = Callable[[Callable[[Connection], list[Row[Any]]]], list[Row[Any]]]
"""Runs work on an autocommit connection and gives the connection back."""


class Statement:
    """A statement that is open: its head, then its movements once, then its foot."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._sums = Sums()
        self._digest = Digest()
        self._begun = self._read = False

    def movements(self, run: Run) -> Iterator[Movement]:
        """Yield each movement in order; ``run`` is called for each batch of them.

        Between two batches no connection is held, so a reader may take its time.

        Raises:
            RuntimeError: they were read before; a statement is read once.
        """
        if self._begun:
            raise RuntimeError("a statement is read once")
        self._begun = True
        return self._movements(run)

    def journals(self, run: Run, most: int) -> int:
        """Return how many journals the span has in all currencies; it counts up to ``most``."""
        head = self.head
        span = {"user_id": head.merchant_id, "start": head.start, "end": head.end}
        (row,) = run(partial(_read, COUNT, {**span, "most": most}))
        return int(row.journals)

    def foot(self) -> Foot:
        """Return what the movements came to.

        Raises:
            RuntimeError: they were not read to their end.
        """
        if not self._read:
            raise RuntimeError("the foot comes after the last movement")
        total = self._sums.total()
        return Foot(
            totals=total,
            by_kind=self._sums.by_kind(),
            available=self.head.available + total.net,
            reserved=self.head.reserved + total.reserved,
            digest=self._digest.value().hex(),
        )

    def _movements(self, run: Run) -> Iterator[Movement]:
        balance = self.head.available
        for number, row in enumerate(self._rows(run), 1):
            self._digest.add(row.line)
            balance += row.available
            movement = _movement(row, number, balance)
            self._sums.add(movement)
            yield movement
        self._read = True

    def _rows(self, run: Run) -> Iterator[Row[Any]]:
        """Yield the journals that moved the head's currency."""
        head = self.head
        place = {"at": head.start, "id": NO_ID}
        asked = {"user_id": head.merchant_id, "currency": head.currency, "end": head.end}
        batch = FIRST_BATCH
        while True:
            values = {**asked, **place, "batch": batch}
            rows = run(partial(_read, MOVEMENTS, values))
            for row in rows:
                if row.line is not None:
                    yield row
            if len(rows) < batch:
                return
            place = {"at": rows[-1].at, "id": rows[-1].id}
            batch = min(2 * batch, LARGEST_BATCH)


def open_statement(
    connection: Connection,
    actor: Actor,
    *,
    user_id: UUID | None = None,
    currency: str | None = None,
    asked: Asked,
    present: datetime | None = None,
) -> Statement:
    """Return the statement of a merchant in ``currency``, else in its own, for a span.

    ``connection`` is in autocommit mode. An admin names the user; a regular actor has its own
    only. The span ends at the ``present`` at the latest, which is a moment that ``settled``
    has returned, else that of now.

    Raises:
        InvalidInput: the span makes no sense or lies ahead, the currency is unknown, or
            ``user_id`` is missing, unknown, or not the actor's to name.
        Unavailable: somebody has been writing a journal for too long.
    """
    owner_id = ledger_service.owner_of(actor, user_id)
    statement_span.check(asked)
    if currency is not None:
        money.digits_of(currency)
    owner = connection.execute(OWNER, {"user_id": owner_id}).one_or_none()
    if owner is None:
        raise InvalidInput.of("user_id", "There is no such user.")
    present = present or settled(connection)
    span = _span(connection, owner_id, owner, asked, present)
    return Statement(_head(connection, owner_id, owner, currency or owner.currency, span, present))


def settled(connection: Connection) -> datetime:
    """Return the present moment, once everything up to it has been posted.

    Raises:
        Unavailable: somebody has been writing a journal for too long.
    """
    present: datetime = connection.execute(PRESENT).scalar_one()
    writers.let_finish(connection)
    return present


def number_of(user_id: UUID, currency: str, span: Span, zone: ZoneInfo) -> str:
    """Return the number of a statement: the same for the same merchant, currency and span.

    Its days are those of ``zone``, the second is the last one of the span.
    """
    first = span.start.astimezone(zone).date()
    last = (span.end - timedelta(microseconds=1)).astimezone(zone).date()
    known = f"{user_id} {currency} {span.start.isoformat()} {span.end.isoformat()}"
    sign = hashlib.sha256(known.encode()).hexdigest()[:10]
    return f"{currency}-{first:%Y%m%d}-{last:%Y%m%d}-{sign}"


def _span(
    connection: Connection, user_id: UUID, owner: Row[Any], asked: Asked, present: datetime
) -> Span:
    """Return the span that is asked for; a closed day or month does not move with the zone.

    It is that of the calendar in which it was closed first: none that comes later can be
    earlier than that.
    """
    if statement_span.is_dated(asked):
        zones = connection.execute(ZONES, {"user_id": user_id}).all()
        found = _first_closed(connection, zones, asked, present) if len(zones) > 1 else None
        if found is not None:
            return found
    return statement_span.resolve(asked, ZoneInfo(owner.timezone), present)


def _first_closed(
    connection: Connection, zones: Sequence[Row[Any]], asked: Asked, present: datetime
) -> Span | None:
    closed: list[tuple[datetime, Span]] = []
    for zone in zones:
        try:
            span = statement_span.resolve(asked, ZoneInfo(zone.timezone), present)
        except InvalidInput:
            # There it has not begun yet.
            continue
        close = connection.execute(CLOSE, {"end": span.end}).one_or_none()
        if close is not None:
            closed.append((max(close.closed_at, zone.since), span))
    return min(closed, key=itemgetter(0))[1] if closed else None


def _head(
    connection: Connection,
    user_id: UUID,
    owner: Row[Any],
    currency: str,
    span: Span,
    present: datetime,
) -> Head:
    available, reserved = statement_opening.held_before(
        connection, user_id, currency, span.start, present
    )
    close = connection.execute(CLOSE, {"end": span.end}).one_or_none()
    if close is None:
        link = chain.last(connection)
        anchor = None if link is None else link.anchor
    else:
        # As it was then: neither a new name nor a new zone changes what is closed.
        then = {"user_id": user_id, "at": close.closed_at}
        owner = connection.execute(THEN, then).one()
        anchor = close.seal_hash and Anchor(close.seal_number, close.seal_hash.hex())
    return Head(
        number=number_of(user_id, currency, span, ZoneInfo(owner.timezone)),
        merchant_id=user_id,
        merchant=owner.name,
        currency=currency,
        start=span.start,
        end=span.end,
        zone=owner.timezone,
        closed=close is not None,
        anchor=anchor,
        available=available,
        reserved=reserved,
    )


def _read(query: TextClause, values: dict[str, Any], connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(query, values))


def _movement(row: Row[Any], number: int, balance: int) -> Movement:
    """Return a journal as the columns have it; its entries sum to zero, so they agree."""
    kind = row.kind
    settlement, refund = kind == "settlement", kind == "refund"
    return Movement(
        number=number,
        at=row.at,
        kind=kind,
        journal_id=row.id,
        source_id=row.source_id,
        transaction_id=row.transaction_id,
        reference=row.reference,
        gross=-row.clearing if settlement else 0,
        commission=row.commission if settlement else 0,
        refunded=row.clearing if refund else 0,
        commission_returned=-row.commission if refund else 0,
        paid_out=-row.available if kind in _PAYOUTS else 0,
        adjusted=row.available if kind in _CORRECTIONS else 0,
        net=row.available,
        reserved=row.reserved,
        balance=balance,
    )
