"""The invariants of refunds, payouts, adjustments and late payments, held by the database.

As in 0002: whoever bypasses every line of Python is refused here. A journal says exactly
what its source says; a refund, a payout and an adjustment have exactly the journals and
the events that their status demands; what ended is final; history is append-only.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

APPEND_ONLY = ("refunds", "notes", "approvals", "fee_schedules")
KEPT = (*APPEND_ONLY, "refund_totals", "payouts", "adjustments")

TRANSACTION_FINAL = """
CREATE TRIGGER transactions_final BEFORE UPDATE ON transactions FOR EACH ROW
WHEN (
    OLD.status <> 'pending'
    OR (NEW.user_id, NEW.id, NEW.amount, NEW.commission, NEW.commission_rate, NEW.currency,
        NEW.created_at, NEW.expires_at, NEW.metadata, NEW.unique_reference)
       IS DISTINCT FROM
       (OLD.user_id, OLD.id, OLD.amount, OLD.commission, OLD.commission_rate, OLD.currency,
        OLD.created_at, OLD.expires_at, OLD.metadata, OLD.unique_reference)
    OR (NEW.reference, NEW.description, NEW.late_for, NEW.fee_schedule_id, NEW.fee_fixed,
        NEW.fee_minimum, NEW.fee_maximum)
       IS DISTINCT FROM
       (OLD.reference, OLD.description, OLD.late_for, OLD.fee_schedule_id, OLD.fee_fixed,
        OLD.fee_minimum, OLD.fee_maximum)
)
EXECUTE FUNCTION standart_refuse('a terminal status and the terms of a transaction are final')
"""

# What each source says that its journal must hold; zero lines are not written.
EXPECTED_ENTRIES = """
CREATE FUNCTION standart_expected_entries(journal public.journals)
RETURNS TABLE (kind text, currency text, amount bigint) LANGUAGE sql STABLE AS $$
    SELECT l.kind, s.currency, l.amount
    FROM (
        SELECT r.currency, r.amount AS gross, r.commission_returned AS part
        FROM public.refunds r
        WHERE journal.kind = 'refund'
          AND r.user_id = journal.user_id AND r.id = journal.refund_id
        UNION ALL
        SELECT p.currency, p.amount, 0
        FROM public.payouts p
        WHERE p.user_id = journal.user_id AND p.id = journal.payout_id
          AND CASE journal.kind WHEN 'payout_paid' THEN p.status = 'paid'
              WHEN 'payout_returned' THEN p.status IN ('failed', 'rejected', 'canceled')
              ELSE true END
        UNION ALL
        SELECT a.currency, a.amount, 0
        FROM public.adjustments a
        WHERE a.user_id = journal.user_id AND a.id = journal.adjustment_id
          AND a.kind = journal.kind AND a.status = 'posted'
    ) AS s,
    LATERAL (VALUES
        ('refund', 'available', s.part - s.gross),
        ('refund', 'commission', -s.part),
        ('refund', 'clearing', s.gross),
        ('payout_reserved', 'available', -s.gross),
        ('payout_reserved', 'pending_payout', s.gross),
        ('payout_returned', 'pending_payout', -s.gross),
        ('payout_returned', 'available', s.gross),
        ('payout_paid', 'pending_payout', -s.gross),
        ('payout_paid', 'clearing', s.gross),
        ('adjustment', 'available', s.gross),
        ('adjustment', 'adjustment', -s.gross),
        ('opening_balance', 'available', s.gross),
        ('opening_balance', 'clearing', -s.gross)
    ) AS l (journal, kind, amount)
    WHERE l.journal = journal.kind AND l.amount <> 0
$$
"""

# The hot kind first: a settlement pays for none of the others.
JOURNAL_MATCHES = """
CREATE OR REPLACE FUNCTION standart_check_journal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    journal uuid := NEW.id;
BEGIN
    IF (SELECT count(*) FROM public.entries
        WHERE user_id = NEW.user_id AND journal_id = journal) <> NEW.entry_count
    THEN
        RAISE EXCEPTION 'journal % lacks entries', journal
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_has_entries';
    END IF;
    IF NEW.kind = 'settlement' THEN
        IF NOT EXISTS (
            SELECT FROM public.transactions t
            WHERE t.user_id = NEW.user_id AND t.id = NEW.transaction_id AND t.status = 'confirmed'
              AND (t.amount, t.net, t.commission) = (
                  SELECT -coalesce(sum(amount) FILTER (WHERE kind = 'clearing'), 0),
                         coalesce(sum(amount) FILTER (WHERE kind = 'available'), 0),
                         coalesce(sum(amount) FILTER (WHERE kind = 'commission'), 0)
                  FROM public.entries e
                  WHERE e.user_id = NEW.user_id AND e.journal_id = journal
                    AND e.currency = t.currency)
        ) THEN
            RAISE EXCEPTION 'settlement % does not match its transaction', journal
                USING ERRCODE = 'check_violation', CONSTRAINT = 'settlement_matches_transaction';
        END IF;
    ELSIF (SELECT count(*) FROM public.standart_expected_entries(NEW)) <> NEW.entry_count
        OR EXISTS (
            SELECT kind, currency, amount FROM public.standart_expected_entries(NEW)
            EXCEPT
            SELECT kind, currency, amount FROM public.entries e
            WHERE e.user_id = NEW.user_id AND e.journal_id = journal)
    THEN
        RAISE EXCEPTION '% % does not match its source', NEW.kind, journal
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_matches_source';
    END IF;
    RETURN NULL;
END $$
"""

REFUND_SUM = """
CREATE FUNCTION standart_check_refunds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public.refund_totals s
        JOIN public.transactions t ON t.user_id = s.user_id AND t.id = s.transaction_id
        WHERE s.user_id = NEW.user_id AND s.transaction_id = NEW.transaction_id
          AND t.status = 'confirmed' AND t.amount = s.amount
          AND s.refunded = (
              SELECT sum(r.amount) FROM public.refunds r
              WHERE r.user_id = s.user_id AND r.transaction_id = s.transaction_id
                AND r.currency = t.currency)
          AND t.commission >= (
              SELECT sum(r.commission_returned) FROM public.refunds r
              WHERE r.user_id = s.user_id AND r.transaction_id = s.transaction_id)
    ) THEN
        RAISE EXCEPTION 'the refunds of transaction % do not add up', NEW.transaction_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_add_up';
    END IF;
    RETURN NULL;
END $$
"""

REFUND_BOOKED = """
CREATE FUNCTION standart_check_refund_booked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.journals
        WHERE user_id = NEW.user_id AND refund_id = NEW.id AND kind = 'refund')
      OR NOT EXISTS (SELECT FROM public.events
        WHERE user_id = NEW.user_id AND refund_id = NEW.id AND type = 'refund.created')
    THEN
        RAISE EXCEPTION 'refund % lacks its journal or its event', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refund_is_booked';
    END IF;
    RETURN NULL;
END $$
"""

PAYOUT_FINAL = """
CREATE FUNCTION standart_check_payout_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.user_id, NEW.id, NEW.amount, NEW.currency, NEW.reference, NEW.destination,
        NEW.destination_shown, NEW.created_at)
       IS DISTINCT FROM
       (OLD.user_id, OLD.id, OLD.amount, OLD.currency, OLD.reference, OLD.destination,
        OLD.destination_shown, OLD.created_at)
      OR (OLD.status, NEW.status) NOT IN (
        ('pending', 'approved'), ('pending', 'rejected'), ('pending', 'canceled'),
        ('approved', 'paid'), ('approved', 'failed'))
    THEN
        RAISE EXCEPTION 'payout % cannot go from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_goes_on';
    END IF;
    RETURN NEW;
END $$
"""

PAYOUT_BOOKED = """
CREATE FUNCTION standart_check_payout_booked() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    booked text[] := ARRAY(SELECT kind::text FROM public.journals
        WHERE user_id = NEW.user_id AND payout_id = NEW.id ORDER BY kind);
BEGIN
    IF booked <> (CASE
            WHEN NEW.status IN ('pending', 'approved') THEN ARRAY['payout_reserved']
            WHEN NEW.status = 'paid' THEN ARRAY['payout_paid', 'payout_reserved']
            ELSE ARRAY['payout_reserved', 'payout_returned'] END)
      OR NOT EXISTS (SELECT FROM public.events
        WHERE user_id = NEW.user_id AND payout_id = NEW.id
          AND type = 'payout.' || CASE NEW.status WHEN 'pending' THEN 'created'
              ELSE NEW.status END)
    THEN
        RAISE EXCEPTION 'payout % is % without its journals or its event', NEW.id, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_is_booked';
    END IF;
    RETURN NULL;
END $$
"""

ADJUSTMENT_FINAL = """
CREATE FUNCTION standart_check_adjustment_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> 'pending'
      OR (NEW.user_id, NEW.id, NEW.kind, NEW.amount, NEW.currency, NEW.reason, NEW.created_at)
         IS DISTINCT FROM
         (OLD.user_id, OLD.id, OLD.kind, OLD.amount, OLD.currency, OLD.reason, OLD.created_at)
    THEN
        RAISE EXCEPTION 'adjustment % is final', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'adjustment_is_final';
    END IF;
    RETURN NEW;
END $$
"""

ADJUSTMENT_BOOKED = """
CREATE FUNCTION standart_check_adjustment_booked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.status = 'posted') <> EXISTS (SELECT FROM public.journals
            WHERE user_id = NEW.user_id AND adjustment_id = NEW.id)
      OR (NEW.status = 'posted') <> EXISTS (SELECT FROM public.events
            WHERE user_id = NEW.user_id AND adjustment_id = NEW.id AND type = 'balance.adjusted')
    THEN
        RAISE EXCEPTION 'adjustment % is % without its journal or its event', NEW.id, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'adjustment_is_booked';
    END IF;
    RETURN NULL;
END $$
"""

LATE_PAYMENT = """
CREATE FUNCTION standart_check_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public.transactions t
        WHERE t.user_id = NEW.user_id AND t.id = NEW.late_for
          AND t.status IN ('canceled', 'expired')
          AND (t.amount, t.currency, t.commission, t.commission_rate)
              = (NEW.amount, NEW.currency, NEW.commission, NEW.commission_rate)
          AND t.reference IS NOT DISTINCT FROM NEW.reference
    ) THEN
        RAISE EXCEPTION 'transaction % cannot be paid late by %', NEW.late_for, NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'late_matches_its_transaction';
    END IF;
    RETURN NULL;
END $$
"""

FEE_OF_SCHEDULE = """
CREATE FUNCTION standart_check_fee() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public.fee_schedules f
        WHERE f.user_id = NEW.user_id AND f.id = NEW.fee_schedule_id
          AND (f.currency, f.rate, f.fixed, f.minimum)
              = (NEW.currency, NEW.commission_rate, NEW.fee_fixed, NEW.fee_minimum)
          AND f.maximum IS NOT DISTINCT FROM NEW.fee_maximum
          AND f.starts_at <= NEW.created_at
    ) THEN
        RAISE EXCEPTION 'the fee of transaction % is not that of its schedule', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'fee_is_of_its_schedule';
    END IF;
    RETURN NULL;
END $$
"""

# A consent of somebody who may not give one any more counts for nothing, nor against another.
TWO_PAIRS_OF_HANDS = """
CREATE FUNCTION standart_check_hands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.approvals a
        JOIN public.users u ON u.id = a.approver_id AND u.active AND u.role = 'admin'
        WHERE a.user_id = NEW.user_id AND a.object_type = NEW.object_type
          AND a.object_id = NEW.object_id AND a.approver_id <> NEW.approver_id
          AND a.hands && NEW.hands
    ) THEN
        RAISE EXCEPTION 'two consents to % % come from one hand', NEW.object_type, NEW.object_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'two_pairs_of_hands';
    END IF;
    RETURN NULL;
END $$
"""

# (name, moment and table, condition, function); the deferred ones judge at the commit.
DEFERRED = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
TRIGGERS = (
    ("refunds_add_up", "CONSTRAINT", "AFTER INSERT ON refunds", DEFERRED, "refunds"),
    (
        "refund_totals_add_up",
        "CONSTRAINT",
        "AFTER INSERT OR UPDATE ON refund_totals",
        DEFERRED,
        "refunds",
    ),
    ("refunds_booked", "CONSTRAINT", "AFTER INSERT ON refunds", DEFERRED, "refund_booked"),
    ("payouts_step", "", "BEFORE UPDATE ON payouts", "FOR EACH ROW", "payout_step"),
    (
        "payouts_booked",
        "CONSTRAINT",
        "AFTER INSERT OR UPDATE ON payouts",
        DEFERRED,
        "payout_booked",
    ),
    ("adjustments_step", "", "BEFORE UPDATE ON adjustments", "FOR EACH ROW", "adjustment_step"),
    (
        "adjustments_booked",
        "CONSTRAINT",
        "AFTER INSERT OR UPDATE ON adjustments",
        DEFERRED,
        "adjustment_booked",
    ),
    (
        "transactions_late",
        "CONSTRAINT",
        "AFTER INSERT ON transactions",
        f"{DEFERRED} WHEN (NEW.late_for IS NOT NULL)",
        "late",
    ),
    (
        "transactions_fee",
        "CONSTRAINT",
        "AFTER INSERT ON transactions",
        f"{DEFERRED} WHEN (NEW.fee_schedule_id IS NOT NULL)",
        "fee",
    ),
    ("approvals_by_two", "CONSTRAINT", "AFTER INSERT ON approvals", DEFERRED, "hands"),
)
FUNCTIONS = (
    REFUND_SUM,
    REFUND_BOOKED,
    PAYOUT_FINAL,
    PAYOUT_BOOKED,
    ADJUSTMENT_FINAL,
    ADJUSTMENT_BOOKED,
    LATE_PAYMENT,
    FEE_OF_SCHEDULE,
    TWO_PAIRS_OF_HANDS,
)


def upgrade() -> None:
    op.execute("DROP TRIGGER transactions_final ON transactions")
    op.execute(TRANSACTION_FINAL)
    op.execute(EXPECTED_ENTRIES)
    op.execute(JOURNAL_MATCHES)
    for function in FUNCTIONS:
        op.execute(function)
    for name, kind, moment, how, function in TRIGGERS:
        op.execute(
            f"CREATE {kind} TRIGGER {name} {moment} {how}"
            f" EXECUTE FUNCTION standart_check_{function}()"
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


def downgrade() -> None:
    before = import_module("standart.migrations.versions.0002_guards")
    for table in KEPT:
        op.execute(f"DROP TRIGGER {table}_kept ON {table}")
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
    for name, _, moment, _, _ in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON {moment.rpartition(' ')[2]}")
    for function in dict.fromkeys(trigger[-1] for trigger in TRIGGERS):
        op.execute(f"DROP FUNCTION standart_check_{function}()")
    op.execute(before.JOURNAL_BALANCED.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute("DROP FUNCTION standart_expected_entries(journals)")
    op.execute("DROP TRIGGER transactions_final ON transactions")
    op.execute(before.TRANSACTION_FINAL)
