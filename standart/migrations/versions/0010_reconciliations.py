"""Reconciliations: files of banks and providers held against the books, and what came of it.

A reconciliation is written whole, with all its rows, or not at all; nothing is added to it
later, and nothing in it changes.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("reconciliations", "reconciliation_rows")

CHECKS = {
    "reconciliations": {
        "file_name_length": "char_length(file_name) BETWEEN 1 AND 255",
        "file_digest_is_sha256": "octet_length(file_digest) = 32",
        "file_not_empty": "file_size > 0",
        "span_not_empty": "starts_on < ends_before",
        "date_tolerance_range": "date_tolerance BETWEEN 0 AND 31",
        "counts_add_up": "least(skipped, matched, missing_here, missing_there, differing) >= 0"
        " AND lines = skipped + matched + missing_here + differing",
    },
    "reconciliation_rows": {
        "line_of_the_file": "(line IS NULL) = (outcome = 'missing_there')",
        "one_of_ours": "num_nonnulls(transaction_id, refund_id, payout_id)"
        " = CASE outcome WHEN 'missing_here' THEN 0 ELSE 1 END"
        " AND (user_id IS NULL) = (outcome = 'missing_here')",
        "fields_that_differ": "(cardinality(fields) > 0) = (outcome = 'differing')"
        " AND fields <@ ARRAY['amount', 'currency', 'date', 'status', 'reference', 'duplicate']",
        "matched_by_something": "(matched_by IS NOT NULL) = (outcome IN ('matched', 'differing'))",
    },
}

# The rows are those that the counts name, numbered without a gap.
WHOLE = """
CREATE FUNCTION standart_reconciliation_is_whole(r public.reconciliations) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT (r.differing, r.missing_here, r.missing_there, r.matched) = (
            count(*) FILTER (WHERE w.outcome = 'differing'),
            count(*) FILTER (WHERE w.outcome = 'missing_here'),
            count(*) FILTER (WHERE w.outcome = 'missing_there'),
            count(*) FILTER (WHERE w.outcome = 'matched'))
        AND coalesce(min(w.number), 1) = 1 AND coalesce(max(w.number), 0) = count(*)
    FROM public.reconciliation_rows w WHERE w.reconciliation_id = r.id
$$
"""

CHECK_ROWS = """
CREATE FUNCTION standart_check_reconciliation_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.reconciliations r
        WHERE r.id IN (SELECT w.reconciliation_id FROM written w)
          AND NOT public.standart_reconciliation_is_whole(r)
    ) THEN
        RAISE EXCEPTION 'the rows of a reconciliation are not those that it counts'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reconciliation_is_whole';
    END IF;
    RETURN NULL;
END $$
"""

CHECK_WHOLE = """
CREATE FUNCTION standart_check_reconciliation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT public.standart_reconciliation_is_whole(NEW) THEN
        RAISE EXCEPTION 'reconciliation % lacks rows', NEW.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reconciliation_is_whole';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Create both tables, then what holds them together."""
    _create_reconciliations()
    _create_rows()
    for function in (WHOLE, CHECK_ROWS, CHECK_WHOLE):
        op.execute(function)
    op.execute(
        "CREATE TRIGGER reconciliation_rows_whole AFTER INSERT ON reconciliation_rows"
        " REFERENCING NEW TABLE AS written FOR EACH STATEMENT"
        " EXECUTE FUNCTION standart_check_reconciliation_rows()"
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER reconciliations_whole AFTER INSERT ON reconciliations"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        " EXECUTE FUNCTION standart_check_reconciliation()"
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE ON {table} FOR EACH ROW"
            " EXECUTE FUNCTION standart_refuse('history is append-only')"
        )
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            " EXECUTE FUNCTION standart_refuse('history is kept')"
        )


def _create_reconciliations() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("file_digest", sa.LargeBinary(), nullable=False),
        sa.Column("file_size", sa.BigInteger(), nullable=False),
        sa.Column("format", _words("format", "csv", "1c"), nullable=False),
        sa.Column("options", postgresql.JSONB(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_before", sa.Date(), nullable=False),
        sa.Column("date_tolerance", sa.SmallInteger(), nullable=False),
        sa.Column("warnings", sa.ARRAY(sa.Text()), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in (
                "lines",
                "skipped",
                "matched",
                "missing_here",
                "missing_there",
                "differing",
            )
        ),
        sa.Column("totals", postgresql.JSONB(), nullable=False),
        *_checks("reconciliations"),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_reconciliations_users"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliations")),
        sa.UniqueConstraint("number", name=op.f("uq_reconciliations_number")),
    )


def _create_rows() -> None:
    op.create_table(
        "reconciliation_rows",
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "outcome",
            _words("outcome", "differing", "missing_here", "missing_there", "matched"),
            nullable=False,
        ),
        sa.Column("fields", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("matched_by", _words("matched_by", "id", "reference", "amount"), nullable=True),
        sa.Column("direction", _words("direction", "in", "out"), nullable=False),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("date", sa.Date(), nullable=True),
        sa.Column("time", sa.Time(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("paid", sa.Boolean(), nullable=True),
        sa.Column("fee", sa.BigInteger(), nullable=True),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("reference", "purpose", "counterparty", "document")
        ),
        *(
            sa.Column(name, sa.Uuid(), nullable=True)
            for name in ("user_id", "transaction_id", "refund_id", "payout_id")
        ),
        sa.Column("our_date", sa.Date(), nullable=True),
        sa.Column("our_amount", sa.BigInteger(), nullable=True),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("our_currency", "our_status", "our_reference")
        ),
        *_checks("reconciliation_rows"),
        sa.ForeignKeyConstraint(
            ["reconciliation_id"],
            ["reconciliations.id"],
            name=op.f("fk_reconciliation_rows_reconciliations"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("reconciliation_id", "number", name=op.f("pk_reconciliation_rows")),
        sa.UniqueConstraint(
            "reconciliation_id", "line", name=op.f("uq_reconciliation_rows_reconciliation_id_line")
        ),
    )


def _checks(table: str) -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))
        for name, rule in CHECKS[table].items()
    ]


def _words(name: str, *words: str) -> sa.Enum:
    """Return a column type of text behind a CHECK, as the models have it."""
    return sa.Enum(*words, name=name, native_enum=False, create_constraint=True, length=32)


def downgrade() -> None:
    """Take both tables away; the files themselves were never kept."""
    op.drop_table("reconciliation_rows")
    op.execute("DROP TRIGGER reconciliations_whole ON reconciliations")
    op.execute("DROP FUNCTION standart_check_reconciliation()")
    op.execute("DROP FUNCTION standart_check_reconciliation_rows()")
    op.execute("DROP FUNCTION standart_reconciliation_is_whole(reconciliations)")
    op.drop_table("reconciliations")
