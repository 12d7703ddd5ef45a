"""Reconciliations: what a bank's or provider's file says beside what our books say."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from standart.bank_files.records import Direction, FileFormat
from standart.db import Base, text_enum
from standart.models.columns import written_at
from standart.models.kinds import MatchedBy, Outcome


class Reconciliation(Base):
    """One file held against the books of one moment. Append-only.

    ``starts_on`` is the first day of the span, ``ends_before`` the day behind the last one, in
    ``zone``. ``lines`` are the file's payments; ``skipped`` of them lie outside the span.
    ``totals`` has the count and the sums in minor units for each outcome, direction and
    currency; ``options`` is how the file was understood.
    """

    __tablename__ = "reconciliations"
    __table_args__ = (
        PrimaryKeyConstraint("id"),
        UniqueConstraint("number"),
        CheckConstraint("char_length(file_name) BETWEEN 1 AND 255", name="file_name_length"),
        CheckConstraint("octet_length(file_digest) = 32", name="file_digest_is_sha256"),
        CheckConstraint("file_size > 0", name="file_not_empty"),
        CheckConstraint("starts_on < ends_before", name="span_not_empty"),
        CheckConstraint("date_tolerance BETWEEN 0 AND 31", name="date_tolerance_range"),
        CheckConstraint(
            "least(skipped, matched, missing_here, missing_there, differing) >= 0"
            " AND lines = skipped + matched + missing_here + differing",
            name="counts_add_up",
        ),
    )

    id: Mapped[UUID] = mapped_column()
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    created_at: Mapped[dt.datetime] = written_at()
    # Who ran it, as the audit log has it: no foreign key, since what they did outlives them.
    actor_id: Mapped[UUID | None] = mapped_column()
    actor_name: Mapped[str] = mapped_column(Text)
    # The merchant whose books alone were asked.
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    file_name: Mapped[str] = mapped_column(Text)
    file_digest: Mapped[bytes] = mapped_column(LargeBinary)
    file_size: Mapped[int] = mapped_column(BigInteger)
    format: Mapped[FileFormat] = mapped_column(text_enum(FileFormat, "format"))
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    zone: Mapped[str] = mapped_column(Text)
    starts_on: Mapped[dt.date] = mapped_column()
    ends_before: Mapped[dt.date] = mapped_column()
    date_tolerance: Mapped[int] = mapped_column(SmallInteger)
    warnings: Mapped[list[str]] = mapped_column(ARRAY(Text))
    lines: Mapped[int] = mapped_column()
    skipped: Mapped[int] = mapped_column()
    matched: Mapped[int] = mapped_column()
    missing_here: Mapped[int] = mapped_column()
    missing_there: Mapped[int] = mapped_column()
    differing: Mapped[int] = mapped_column()
    totals: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)


class ReconciliationRow(Base):
    """A payment of the file and what was found for it, or one of ours that the file lacks.

    The columns that begin with ``our_`` are ours as they were, the others the file's; amounts
    are in minor units. ``number`` goes by outcome: differing, missing here, missing there,
    matched, each in the order of the file or of our dates. No foreign keys to what was found:
    nothing of that is ever deleted, and a million checks would lock a million transactions.
    """

    __tablename__ = "reconciliation_rows"
    __table_args__ = (
        PrimaryKeyConstraint("reconciliation_id", "number"),
        ForeignKeyConstraint(["reconciliation_id"], ["reconciliations.id"], ondelete="RESTRICT"),
        UniqueConstraint("reconciliation_id", "line"),
        CheckConstraint("(line IS NULL) = (outcome = 'missing_there')", name="line_of_the_file"),
        CheckConstraint(
            "num_nonnulls(transaction_id, refund_id, payout_id)"
            " = CASE outcome WHEN 'missing_here' THEN 0 ELSE 1 END"
            " AND (user_id IS NULL) = (outcome = 'missing_here')",
            name="one_of_ours",
        ),
        CheckConstraint(
            "(cardinality(fields) > 0) = (outcome = 'differing') AND fields <@ ARRAY['amount',"
            " 'currency', 'date', 'status', 'reference', 'duplicate']",
            name="fields_that_differ",
        ),
        CheckConstraint(
            "(matched_by IS NOT NULL) = (outcome IN ('matched', 'differing'))",
            name="matched_by_something",
        ),
    )

    reconciliation_id: Mapped[UUID] = mapped_column()
    number: Mapped[int] = mapped_column()
    outcome: Mapped[Outcome] = mapped_column(text_enum(Outcome, "outcome"))
    fields: Mapped[list[str]] = mapped_column(ARRAY(Text))
    matched_by: Mapped[MatchedBy | None] = mapped_column(text_enum(MatchedBy, "matched_by"))
    direction: Mapped[Direction] = mapped_column(text_enum(Direction, "direction"))
    line: Mapped[int | None] = mapped_column()
    date: Mapped[dt.date | None] = mapped_column()
    time: Mapped[dt.time | None] = mapped_column()
    amount: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(Text)
    paid: Mapped[bool | None] = mapped_column()
    fee: Mapped[int | None] = mapped_column(BigInteger)
    reference: Mapped[str | None] = mapped_column(Text)
    purpose: Mapped[str | None] = mapped_column(Text)
    counterparty: Mapped[str | None] = mapped_column(Text)
    document: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[UUID | None] = mapped_column()
    transaction_id: Mapped[UUID | None] = mapped_column()
    refund_id: Mapped[UUID | None] = mapped_column()
    payout_id: Mapped[UUID | None] = mapped_column()
    our_date: Mapped[dt.date | None] = mapped_column()
    our_amount: Mapped[int | None] = mapped_column(BigInteger)
    our_currency: Mapped[str | None] = mapped_column(Text)
    our_status: Mapped[str | None] = mapped_column(Text)
    our_reference: Mapped[str | None] = mapped_column(Text)
