"""The invariants that the database holds by itself.

A wrong statement by anybody, the operator with psql included, is refused here even when
every line of Python is bypassed: history is append-only, a terminal status is final, a
journal balances, and a confirmed transaction has exactly its settlement.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("journals", "entries", "events", "attempts", "audit_log")
NEVER_DELETED = ("transactions", *APPEND_ONLY)

REFUSE = """
CREATE FUNCTION standart_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is not allowed: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""

# Only the end of a pending transaction may be written; the WHEN keeps the usual update
# free of any function call.
TRANSACTION_FINAL = """
CREATE TRIGGER transactions_final BEFORE UPDATE ON transactions FOR EACH ROW
WHEN (
    OLD.status <> 'pending'
    OR (NEW.user_id, NEW.id, NEW.amount, NEW.commission, NEW.commission_rate, NEW.currency,
        NEW.created_at, NEW.expires_at, NEW.metadata)
       IS DISTINCT FROM
       (OLD.user_id, OLD.id, OLD.amount, OLD.commission, OLD.commission_rate, OLD.currency,
        OLD.created_at, OLD.expires_at, OLD.metadata)
    OR (NEW.reference, NEW.description) IS DISTINCT FROM (OLD.reference, OLD.description)
)
EXECUTE FUNCTION standart_refuse('a terminal status and the terms of a transaction are final')
"""

# Tables are named with their schema: nobody's temporary table can stand in for them.
JOURNAL_BALANCED = """
CREATE FUNCTION standart_check_journal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    journal uuid := NEW.id;
BEGIN
    IF (SELECT count(*) FROM public.entries
        WHERE user_id = NEW.user_id AND journal_id = journal) <> NEW.entry_count
    THEN
        RAISE EXCEPTION 'journal % lacks entries', journal
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_has_entries';
    END IF;
    IF NEW.kind = 'settlement' AND NOT EXISTS (
        SELECT FROM public.transactions t
        WHERE t.user_id = NEW.user_id AND t.id = NEW.transaction_id AND t.status = 'confirmed'
          AND (t.amount, t.net, t.commission) = (
              SELECT -coalesce(sum(amount) FILTER (WHERE kind = 'clearing'), 0),
                     coalesce(sum(amount) FILTER (WHERE kind = 'available'), 0),
                     coalesce(sum(amount) FILTER (WHERE kind = 'commission'), 0)
              FROM public.entries e
              WHERE e.user_id = NEW.user_id AND e.journal_id = journal AND e.currency = t.currency)
    ) THEN
        RAISE EXCEPTION 'settlement % does not match its transaction', journal
            USING ERRCODE = 'check_violation', CONSTRAINT = 'settlement_matches_transaction';
    END IF;
    RETURN NULL;
END $$
"""

ENTRIES_BALANCED = """
CREATE FUNCTION standart_check_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.entries
        WHERE user_id = NEW.user_id AND journal_id = NEW.journal_id
        GROUP BY currency HAVING sum(amount) <> 0
    ) THEN
        RAISE EXCEPTION 'the entries of journal % do not sum to zero', NEW.journal_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_sums_to_zero';
    END IF;
    -- A line that comes later than its journal would change what was settled.
    IF (SELECT count(*) FROM public.entries
        WHERE user_id = NEW.user_id AND journal_id = NEW.journal_id)
       <> (SELECT entry_count FROM public.journals
           WHERE user_id = NEW.user_id AND id = NEW.journal_id)
    THEN
        RAISE EXCEPTION 'journal % was written whole before', NEW.journal_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_is_whole';
    END IF;
    RETURN NULL;
END $$
"""

CONFIRMED_IS_SETTLED = """
CREATE FUNCTION standart_check_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public.journals
        WHERE user_id = NEW.user_id AND transaction_id = NEW.id AND kind = 'settlement'
    ) THEN
        RAISE EXCEPTION 'confirmed transaction % has no settlement', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'confirmed_is_settled';
    END IF;
    RETURN NULL;
END $$
"""

ENDING_HAS_EVENT = """
CREATE FUNCTION standart_check_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public.events
        WHERE user_id = NEW.user_id AND transaction_id = NEW.id
          AND type = 'transaction.' || NEW.status
    ) THEN
        RAISE EXCEPTION 'transaction % ended as % without an event', NEW.id, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ending_has_event';
    END IF;
    RETURN NULL;
END $$
"""

BALANCES = """
CREATE VIEW account_balances AS
SELECT user_id, currency, kind, sum(amount)::bigint AS balance
FROM (
    SELECT user_id, currency, kind::text AS kind, balance AS amount FROM accounts
    UNION ALL
    SELECT user_id, currency, kind::text, amount FROM balance_deltas
) AS parts
GROUP BY user_id, currency, kind
"""


def upgrade() -> None:
    op.execute(REFUSE)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE ON {table} FOR EACH ROW"
            " EXECUTE FUNCTION standart_refuse('history is append-only')"
        )
    for table in NEVER_DELETED:
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            " EXECUTE FUNCTION standart_refuse('history is kept')"
        )
    op.execute(TRANSACTION_FINAL)
    op.execute(JOURNAL_BALANCED)
    op.execute(
        "CREATE CONSTRAINT TRIGGER journals_complete AFTER INSERT ON journals"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION standart_check_journal()"
    )
    op.execute(ENTRIES_BALANCED)
    op.execute(
        "CREATE CONSTRAINT TRIGGER entries_balanced AFTER INSERT ON entries"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION standart_check_entries()"
    )
    op.execute(CONFIRMED_IS_SETTLED)
    op.execute(
        "CREATE CONSTRAINT TRIGGER transactions_settled AFTER INSERT OR UPDATE ON transactions"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status = 'confirmed')"
        " EXECUTE FUNCTION standart_check_settled()"
    )
    op.execute(ENDING_HAS_EVENT)
    op.execute(
        "CREATE CONSTRAINT TRIGGER transactions_told AFTER INSERT OR UPDATE ON transactions"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status <> 'pending')"
        " EXECUTE FUNCTION standart_check_event()"
    )
    op.execute(BALANCES)


def downgrade() -> None:
    op.execute("DROP VIEW account_balances")
    for trigger, table in (
        ("transactions_told", "transactions"),
        ("transactions_settled", "transactions"),
        ("entries_balanced", "entries"),
        ("journals_complete", "journals"),
        ("transactions_final", "transactions"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for table in NEVER_DELETED:
        op.execute(f"DROP TRIGGER {table}_kept ON {table}")
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
    for function in ("event", "settled", "entries", "journal"):
        op.execute(f"DROP FUNCTION standart_check_{function}()")
    op.execute("DROP FUNCTION standart_refuse()")
