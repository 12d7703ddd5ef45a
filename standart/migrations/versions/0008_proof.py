"""The chain of seals, closed periods, and what users were called in them.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEPT = ("seals", "closes", "book_clock")
APPEND_ONLY = ("seals", "closes", "particulars")

NOW = sa.text("clock_timestamp()")
MOMENT = sa.DateTime(timezone=True)

# Raised before what lies below it is sealed. Whoever writes a journal holds the table's lock
# before this looks, so the sealer either waits for it or is seen. No row, no journal; and no
# date but the present one, whatever was asked for. A frozen snapshot would not see the clock.
DATED = """
CREATE FUNCTION standart_date_journal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a journal is written at read committed, or it would not see the clock'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_sees_the_clock';
    END IF;
    NEW.created_at := (SELECT greatest(clock_timestamp(), c.dated_from) FROM public.book_clock c);
    RETURN NEW;
END $$
"""

CLOCK = """
CREATE FUNCTION standart_check_book_clock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.dated_from < OLD.dated_from
      OR NEW.dated_from > greatest(OLD.dated_from, clock_timestamp())
    THEN
        RAISE EXCEPTION 'the clock of the books goes on, and never beyond the present'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'book_clock_goes_on';
    END IF;
    RETURN NEW;
END $$
"""

# A seal can never be taken back, so the database makes it a second time: a wrong one would
# be found for ever. The lines are those of services/canonical.py.
MOMENT_SHOWN = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""
SEAL = f"""
CREATE FUNCTION standart_check_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last public.seals;
    found record;
BEGIN
    SELECT * INTO last FROM public.seals ORDER BY number DESC LIMIT 1;
    IF NEW.number <> coalesce(last.number, 0) + 1
      OR NEW.total <> coalesce(last.total, 0) + NEW.journals
      OR NEW.previous <> coalesce(last.hash, decode(repeat('00', 32), 'hex'))
      OR NEW.before <= last.before
      OR NEW.before > (SELECT c.dated_from FROM public.book_clock c)
    THEN
        RAISE EXCEPTION 'seal % does not go on from the one before', NEW.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'seal_goes_on';
    END IF;
    SELECT count(*) AS journals,
        sha256(convert_to(string_agg(l.line, E'\\n' ORDER BY l.created_at, l.user_id, l.id)
            || E'\\n', 'UTF8')) AS content
    INTO found
    FROM (
        SELECT j.created_at, j.user_id, j.id, concat_ws('|', j.user_id, j.id, j.kind,
            coalesce(j.transaction_id, j.refund_id, j.payout_id, j.adjustment_id),
            to_char(j.created_at AT TIME ZONE 'UTC', {MOMENT_SHOWN}),
            (SELECT string_agg(concat_ws(':', e.line, e.currency, e.kind, e.amount), ','
                ORDER BY e.line)
             FROM public.entries e WHERE e.user_id = j.user_id AND e.journal_id = j.id)) AS line
        FROM public.journals j
        WHERE j.created_at >= coalesce(last.before, '-infinity') AND j.created_at < NEW.before
    ) AS l;
    IF (NEW.journals, NEW.content) IS DISTINCT FROM (found.journals, found.content)
      OR NEW.hash <> sha256(convert_to(concat_ws('|', 'standart-seal-1', NEW.number,
          to_char(NEW.before AT TIME ZONE 'UTC', {MOMENT_SHOWN}), NEW.journals, NEW.total,
          encode(NEW.previous, 'hex'), encode(NEW.content, 'hex')), 'UTF8'))
    THEN
        RAISE EXCEPTION 'seal % is not what its journals make', NEW.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'seal_is_of_its_journals';
    END IF;
    RETURN NEW;
END $$
"""

CLOSE = """
CREATE FUNCTION standart_check_close() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.number <> coalesce((SELECT max(c.number) FROM public.closes c), 0) + 1
      OR NEW.ends_at > (SELECT c.dated_from FROM public.book_clock c)
      OR NEW.closed_at < NEW.ends_at OR NEW.closed_at > clock_timestamp()
      OR NEW.seal_hash IS DISTINCT FROM (
          SELECT s.hash FROM public.seals s ORDER BY s.number DESC LIMIT 1)
      OR NEW.seal_number IS DISTINCT FROM (SELECT max(s.number) FROM public.seals s)
      OR EXISTS (
          SELECT FROM public.journals j WHERE j.created_at < NEW.ends_at AND j.created_at >= (
              SELECT coalesce(max(s.before), '-infinity') FROM public.seals s))
      OR NEW.journals <> (
          SELECT count(*) FROM public.journals j
          WHERE j.created_at >= NEW.starts_at AND j.created_at < NEW.ends_at)
    THEN
        RAISE EXCEPTION '% cannot be closed: it is not over or not sealed', NEW.period
            USING ERRCODE = 'check_violation', CONSTRAINT = 'closed_is_sealed';
    END IF;
    RETURN NEW;
END $$
"""

# As the owner: the service reads this history, it does not write it.
PARTICULARS = """
CREATE FUNCTION standart_note_particulars() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.particulars (user_id, name, timezone)
    VALUES (NEW.id, NEW.name, NEW.timezone);
    RETURN NULL;
END $$
"""

# A period that was closed stays closed; the audit log would say so for ever.
KEEPS_CLOSES = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM public.closes) THEN
        RAISE EXCEPTION 'periods are closed, which would be lost'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
END $$
"""

FUNCTIONS = (DATED, CLOCK, SEAL, CLOSE, PARTICULARS)

# Name, moment with table, condition, and the function without its prefix.
TRIGGERS = (
    ("journals_dated", "BEFORE INSERT ON journals", "", "date_journal"),
    ("book_clock_step", "BEFORE UPDATE ON book_clock", "", "check_book_clock"),
    ("seals_step", "BEFORE INSERT ON seals", "", "check_seal"),
    ("closes_step", "BEFORE INSERT ON closes", "", "check_close"),
    ("users_born", "AFTER INSERT ON users", "", "note_particulars"),
    (
        "users_renamed",
        "AFTER UPDATE ON users",
        "WHEN ((NEW.name, NEW.timezone) IS DISTINCT FROM (OLD.name, OLD.timezone))",
        "note_particulars",
    ),
)


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("timezone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_users_timezone_name"), "users", "timezone ~ '^[A-Za-z0-9_+/-]{1,64}$'"
    )
    op.create_index(
        "ix_journals_user_created", "journals", ["user_id", "created_at", "id"], unique=False
    )
    _create_book_clock()
    _create_seals()
    _create_closes()
    _create_particulars()
    for function in FUNCTIONS:
        op.execute(function)
    # Everybody may call a new function, and this one has the rights of the owner.
    op.execute("REVOKE ALL ON FUNCTION standart_note_particulars() FROM PUBLIC")
    for name, moment, condition, function in TRIGGERS:
        op.execute(
            f"CREATE TRIGGER {name} {moment} FOR EACH ROW {condition}"
            f" EXECUTE FUNCTION standart_{function}()"
        )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE ON {table} FOR EACH ROW"
            " EXECUTE FUNCTION standart_refuse('history is append-only')"
        )
    for table in KEPT:
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            " EXECUTE FUNCTION standart_refuse('history is kept')"
        )


def _create_book_clock() -> None:
    op.create_table(
        "book_clock",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "dated_from",
            MOMENT,
            server_default=sa.text("'1970-01-01T00:00:00Z'"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_book_clock")),
        sa.CheckConstraint("single", name=op.f("ck_book_clock_one_row")),
    )
    op.execute("INSERT INTO book_clock DEFAULT VALUES")


def _create_seals() -> None:
    op.create_table(
        "seals",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("before", MOMENT, nullable=False),
        sa.Column("journals", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", MOMENT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_seals")),
        sa.UniqueConstraint("before", name=op.f("uq_seals_before")),
        sa.CheckConstraint("number > 0 AND journals > 0", name=op.f("ck_seals_counts_positive")),
        sa.CheckConstraint(
            "octet_length(previous) = 32 AND octet_length(content) = 32"
            " AND octet_length(hash) = 32",
            name=op.f("ck_seals_hashes_are_sha256"),
        ),
        sa.CheckConstraint(
            "octet_length(marks) = 8 * journals", name=op.f("ck_seals_mark_for_each")
        ),
    )


def _create_closes() -> None:
    op.create_table(
        "closes",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("journals", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("seal_number", sa.BigInteger(), nullable=True),
        sa.Column("seal_hash", sa.LargeBinary(), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.Column("closed_at", MOMENT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_closes")),
        sa.UniqueConstraint("period", name=op.f("uq_closes_period")),
        sa.ForeignKeyConstraint(
            ["seal_number"], ["seals.number"], name=op.f("fk_closes_seals"), ondelete="RESTRICT"
        ),
        sa.CheckConstraint(
            "period ~ '^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$'", name=op.f("ck_closes_period_name")
        ),
        sa.CheckConstraint("zone ~ '^[A-Za-z0-9_+/-]{1,64}$'", name=op.f("ck_closes_zone_name")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_closes_starts_before_end")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_closes_digest_is_sha256")),
        sa.CheckConstraint(
            "(seal_number IS NULL) = (seal_hash IS NULL)", name=op.f("ck_closes_whole_anchor")
        ),
    )
    op.create_index("ix_closes_ends_at", "closes", ["ends_at"], unique=False)


def _create_particulars() -> None:
    op.create_table(
        "particulars",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "number", name=op.f("pk_particulars")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_particulars_users"), ondelete="CASCADE"
        ),
    )
    op.execute(
        "INSERT INTO particulars (user_id, name, timezone, since)"
        " SELECT id, name, timezone, created_at FROM users"
    )


def downgrade() -> None:
    op.execute(KEEPS_CLOSES)
    for name, moment, _, _ in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON {moment.rpartition(' ')[2]}")
    for table in ("particulars", "closes", "seals", "book_clock"):
        op.drop_table(table)
    for function in dict.fromkeys(trigger[-1] for trigger in TRIGGERS):
        op.execute(f"DROP FUNCTION standart_{function}()")
    op.drop_index("ix_journals_user_created", table_name="journals")
    op.drop_constraint(op.f("ck_users_timezone_name"), "users", type_="check")
    op.drop_column("users", "timezone")
