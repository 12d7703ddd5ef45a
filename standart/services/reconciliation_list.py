"""Kept reconciliations and their rows: keyset paging over numbers, never an OFFSET."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from standart.bank_files.records import Direction, FileFormat
from standart.errors import NotFound
from standart.models import Outcome, Reconciliation, ReconciliationRow
from standart.services import acts
from standart.services.access import Actor


@dataclass(frozen=True, slots=True)
class Run:
    """A kept reconciliation; see ``models.Reconciliation`` for what its fields are."""

    id: UUID
    number: int
    created_at: dt.datetime
    actor_name: str
    user_id: UUID | None
    file_name: str
    file_digest: bytes
    file_size: int
    format: FileFormat
    options: dict[str, Any]
    zone: str
    starts_on: dt.date
    ends_before: dt.date
    date_tolerance: int
    warnings: list[str]
    lines: int
    skipped: int
    matched: int
    missing_here: int
    missing_there: int
    differing: int
    totals: list[dict[str, Any]]

    @property
    def is_clean(self) -> bool:
        """Whether both sides say the same."""
        return self.differing == self.missing_here == self.missing_there == 0

    def count_of(self, outcome: Outcome) -> int:
        """Return how many rows have ``outcome``."""
        count: int = getattr(self, outcome.value)
        return count


_RUN = select(*(getattr(Reconciliation, name) for name in Run.__dataclass_fields__))


def list_runs(
    connection: Connection, actor: Actor, *, before: int | None = None, limit: int = 20
) -> list[Run]:
    """Return kept reconciliations, newest first; ``before`` is the last number already seen.

    Raises:
        Forbidden: the actor is no admin.
    """
    acts.require_admin(actor)
    query = _RUN.order_by(Reconciliation.number.desc()).limit(limit)
    if before is not None:
        query = query.where(Reconciliation.number < before)
    return [Run(**row) for row in connection.execute(query).mappings()]


def get_run(connection: Connection, actor: Actor, which: UUID | int) -> Run:
    """Return the reconciliation of this id or number.

    Raises:
        Forbidden: the actor is no admin.
        NotFound: there is none.
    """
    acts.require_admin(actor)
    column = Reconciliation.id if isinstance(which, UUID) else Reconciliation.number
    row = connection.execute(_RUN.where(column == which)).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such reconciliation.")
    return Run(**row)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a reconciliation; see ``models.ReconciliationRow`` for what its fields are."""

    number: int
    outcome: Outcome
    fields: list[str]
    matched_by: str | None
    direction: Direction
    line: int | None
    date: dt.date | None
    time: dt.time | None
    amount: int | None
    currency: str | None
    paid: bool | None
    fee: int | None
    reference: str | None
    purpose: str | None
    counterparty: str | None
    document: str | None
    user_id: UUID | None
    transaction_id: UUID | None
    refund_id: UUID | None
    payout_id: UUID | None
    our_date: dt.date | None
    our_amount: int | None
    our_currency: str | None
    our_status: str | None
    our_reference: str | None


_ROW = select(*(getattr(ReconciliationRow, name) for name in Row.__dataclass_fields__))


def rows(
    connection: Connection,
    actor: Actor,
    run: Run,
    *,
    outcome: Outcome | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Row]:
    """Return rows of ``run`` in their order; ``after`` is the last number already seen.

    Raises:
        Forbidden: the actor is no admin.
    """
    acts.require_admin(actor)
    query = _ROW.where(
        ReconciliationRow.reconciliation_id == run.id, ReconciliationRow.number > after
    )
    if outcome is not None:
        # The numbers go by outcome, so the rows of one stand together: no index beyond the key.
        order = list(Outcome)
        first = sum(run.count_of(each) for each in order[: order.index(outcome)])
        query = query.where(
            ReconciliationRow.number > first,
            ReconciliationRow.number <= first + run.count_of(outcome),
        )
    query = query.order_by(ReconciliationRow.number).limit(limit)
    return [Row(**row) for row in connection.execute(query).mappings()]
