"""Retention: old events that everybody got may go, by one function and no other way.

Also the one change of a payout's destination that is none: the same fields in a box of a
newer key. Both run as the owner of the tables; the application's role may only call them.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

PURGED = ("events", "deliveries", "attempts")

# Behind which event the purge goes on.
PLACE = (
    ("purge_user", sa.Uuid()),
    ("purge_at", sa.DateTime(timezone=True)),
    ("purge_id", sa.Uuid()),
)

# Volatile, so that they see what was committed while the statement that asks waited. What is
# dead at a deleted endpoint can never be sent again, so it is done as well.
PURGEABLE = """
CREATE FUNCTION standart_delivery_is_done(d public.deliveries) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT d.state = 'delivered' OR d.state = 'dead' AND EXISTS (
        SELECT FROM public.webhook_endpoints w
        WHERE w.user_id = d.user_id AND w.id = d.endpoint_id AND w.deleted_at IS NOT NULL
    )
$$;
CREATE FUNCTION standart_event_is_done(owner uuid, event uuid) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM public.events v, public.event_clock c
        WHERE v.user_id = owner AND v.id = event AND v.created_at < c.purged_before
    ) AND NOT EXISTS (
        SELECT FROM public.deliveries d
        WHERE d.user_id = owner AND d.event_id = event
          AND NOT public.standart_delivery_is_done(d)
    )
$$
"""

# What may be deleted follows from the rows alone: no setting of a session says otherwise.
KEPT = """
CREATE FUNCTION standart_check_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    event uuid;
BEGIN
    IF TG_TABLE_NAME = 'events' THEN
        event := OLD.id;
    ELSIF TG_TABLE_NAME = 'deliveries' THEN
        event := OLD.event_id;
    ELSE
        SELECT d.event_id INTO event FROM public.deliveries d
        WHERE d.user_id = OLD.user_id AND d.id = OLD.delivery_id;
    END IF;
    IF NOT public.standart_event_is_done(OLD.user_id, event) THEN
        RAISE EXCEPTION 'DELETE of % is not allowed: history is kept', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$
"""

# Whoever writes a row that came out of a dump makes it this server's own; positions do not
# change by that, since the gap that was added for such a row is now in its base.
CLOCK = """
CREATE FUNCTION standart_check_clock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF public.standart_event_clock_is_restored() THEN
        NEW.base := NEW.base + (1::bigint << 52);
        NEW.server := (SELECT s.system_identifier FROM pg_control_system() AS s);
    END IF;
    NEW.written_by := pg_current_xact_id()::text::bigint;
    IF NEW.base < OLD.base
      OR NEW.purged_before IS NULL AND OLD.purged_before IS NOT NULL
      OR NEW.purged_before < OLD.purged_before
    THEN
        RAISE EXCEPTION 'the clock of events never goes back'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'clock_goes_on';
    END IF;
    IF NEW.purged_before IS DISTINCT FROM OLD.purged_before
      AND NEW.purged_before > clock_timestamp() - interval '1 day'
    THEN
        RAISE EXCEPTION 'events of the last day are kept'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'last_day_is_kept';
    END IF;
    RETURN NEW;
END $$
"""

# Looks at up to ``batch`` events older than ``before``, merchant by merchant, behind the
# place where the last call ended, and deletes those that are done. Events are locked before
# their deliveries are read: a replay that comes later waits and finds the event gone, one that
# came earlier holds a lock, so what it wants to send stays. The place stands in the clock, whose
# row is held, so one call runs at a time over all sessions: ``purged`` is NULL where another
# one is at it. ``finished`` tells that the next call begins anew.
PURGE = """
CREATE FUNCTION standart_purge_events(
    before timestamptz, batch integer, OUT purged integer, OUT finished boolean
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    after_user uuid;
    after_at timestamptz;
    after_id uuid;
    last_user uuid;
    last_at timestamptz;
    last_id uuid;
    owner uuid;
    room integer := batch;
    walked integer := 0;
    ids uuid[];
    moments timestamptz[];
    held uuid[];
    gone integer;
BEGIN
    IF before > clock_timestamp() - interval '1 day' OR before IS NULL THEN
        RAISE EXCEPTION 'events of the last day are kept'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF batch NOT BETWEEN 1 AND 10000 OR batch IS NULL THEN
        RAISE EXCEPTION 'a batch has 1 to 10000 events'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT c.purge_user, c.purge_at, c.purge_id INTO after_user, after_at, after_id
    FROM public.event_clock c FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        finished := false;
        RETURN;
    END IF;
    UPDATE public.event_clock SET purged_before = before
    WHERE purged_before IS NULL OR purged_before < before;
    purged := 0;
    FOR owner IN
        SELECT u.id FROM public.users u WHERE u.id >= after_user OR after_user IS NULL
        ORDER BY u.id LIMIT batch + 1
    LOOP
        walked := walked + 1;
        IF owner IS DISTINCT FROM after_user THEN
            after_at := '-infinity';
            after_id := '00000000-0000-0000-0000-000000000000';
        END IF;
        SELECT array_agg(w.id), array_agg(w.created_at) INTO ids, moments FROM (
            SELECT v.id, v.created_at FROM public.events v
            WHERE v.user_id = owner AND v.created_at >= after_at AND v.created_at < before
              AND (v.created_at, v.id) > (after_at, after_id)
            ORDER BY v.created_at, v.id LIMIT room
        ) AS w;
        last_user := owner;
        last_at := 'infinity';
        last_id := after_id;
        CONTINUE WHEN ids IS NULL;
        room := room - cardinality(ids);
        IF room = 0 THEN
            last_at := moments[cardinality(moments)];
            last_id := ids[cardinality(ids)];
        END IF;
        ids := ARRAY(
            SELECT v.id FROM public.events v
            WHERE v.user_id = owner AND v.id = ANY (ids) AND NOT EXISTS (
                SELECT FROM public.deliveries d
                WHERE d.user_id = owner AND d.event_id = v.id
                  AND NOT public.standart_delivery_is_done(d))
            FOR UPDATE OF v SKIP LOCKED);
        held := ARRAY(
            SELECT d.id FROM public.deliveries d
            WHERE d.user_id = owner AND d.event_id = ANY (ids)
              AND public.standart_delivery_is_done(d)
            FOR UPDATE SKIP LOCKED);
        ids := ARRAY(
            SELECT e.id FROM unnest(ids) AS e (id) WHERE NOT EXISTS (
                SELECT FROM public.deliveries d
                WHERE d.user_id = owner AND d.event_id = e.id AND d.id <> ALL (held)));
        DELETE FROM public.attempts a USING public.deliveries d
        WHERE d.user_id = owner AND d.event_id = ANY (ids)
          AND a.user_id = owner AND a.delivery_id = d.id;
        DELETE FROM public.deliveries d WHERE d.user_id = owner AND d.event_id = ANY (ids);
        DELETE FROM public.events v WHERE v.user_id = owner AND v.id = ANY (ids);
        GET DIAGNOSTICS gone = ROW_COUNT;
        purged := purged + gone;
        EXIT WHEN room = 0;
    END LOOP;
    IF room > 0 AND walked <= batch THEN
        last_user := NULL;
    END IF;
    finished := last_user IS NULL;
    UPDATE public.event_clock SET purge_user = last_user,
        purge_at = CASE WHEN finished THEN NULL ELSE last_at END,
        purge_id = CASE WHEN finished THEN NULL ELSE last_id END
    WHERE purge_user IS NOT NULL OR NOT finished;
END $$
"""

# Nothing but the box may differ, and it must be one of another key; only the owner may.
PAYOUT_STEP = """
CREATE OR REPLACE FUNCTION standart_check_payout_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    resealed public.payouts := OLD;
BEGIN
    IF NEW.destination <> OLD.destination AND length(OLD.destination) > 2
      AND length(NEW.destination) > 30 AND get_byte(NEW.destination, 0) = 1
      AND substr(NEW.destination, 1, 2 + get_byte(NEW.destination, 1))
          <> substr(OLD.destination, 1, 2 + get_byte(OLD.destination, 1))
      AND current_user = (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = TG_RELID)
    THEN
        resealed.destination := NEW.destination;
        IF NEW IS NOT DISTINCT FROM resealed THEN
            RETURN NEW;
        END IF;
    END IF;
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

# A payout that only got another box makes no new event, and its old one may have gone.
BOOKED_BEFORE = """
BEGIN
    IF booked <> ("""
BOOKED = """
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.status = OLD.status THEN
        RETURN NULL;
    END IF;
    IF booked <> ("""

RESEAL = """
CREATE FUNCTION standart_reseal_destinations(
    owners uuid[], payouts uuid[], stale bytea[], fresh bytea[], actor text, channel text
) RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH moved AS (
        UPDATE public.payouts p SET destination = n.fresh
        FROM unnest(owners, payouts, stale, fresh) AS n (user_id, id, stale, fresh)
        WHERE p.user_id = n.user_id AND p.id = n.id AND p.destination = n.stale
        RETURNING p.id, n.stale, n.fresh
    ),
    told AS (
        INSERT INTO public.audit_log (actor_name, channel, action, object_type, object_id,
            before, after)
        SELECT actor, channel, 'payout.destination_resealed', 'payout', m.id::text,
            jsonb_build_object('key',
                encode(substr(m.stale, 3, get_byte(m.stale, 1)), 'escape')),
            jsonb_build_object('key',
                encode(substr(m.fresh, 3, get_byte(m.fresh, 1)), 'escape'))
        FROM moved m
        RETURNING 1
    )
    SELECT count(*)::int FROM told
$$
"""

CALLABLE = (
    "standart_purge_events(timestamptz, integer)",
    "standart_reseal_destinations(uuid[], uuid[], bytea[], bytea[], text, text)",
)


def upgrade() -> None:
    op.create_index(
        "ix_deliveries_dead",
        "deliveries",
        ["user_id", "endpoint_id"],
        postgresql_where=sa.text("state = 'dead'"),
    )
    for name, kind in PLACE:
        op.add_column("event_clock", sa.Column(name, kind, nullable=True))
    op.execute(PURGEABLE)
    op.execute(KEPT)
    for table in ("events", "attempts"):
        op.execute(f"DROP TRIGGER {table}_kept ON {table}")
    for table in PURGED:
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE TRUNCATE ON {table} FOR EACH STATEMENT"
            " EXECUTE FUNCTION standart_refuse('history is kept')"
        )
        op.execute(
            f"CREATE TRIGGER {table}_purged BEFORE DELETE ON {table} FOR EACH ROW"
            " EXECUTE FUNCTION standart_check_kept()"
        )
    op.execute(CLOCK)
    op.execute(
        "CREATE TRIGGER event_clock_step BEFORE UPDATE ON event_clock FOR EACH ROW"
        " EXECUTE FUNCTION standart_check_clock()"
    )
    op.execute(
        "CREATE TRIGGER event_clock_kept BEFORE DELETE OR TRUNCATE ON event_clock"
        " FOR EACH STATEMENT EXECUTE FUNCTION standart_refuse('the clock of events is kept')"
    )
    op.execute(PURGE)
    guards = import_module("standart.migrations.versions.0005_book_guards")
    op.execute(PAYOUT_STEP)
    op.execute(_again(guards.PAYOUT_BOOKED).replace(BOOKED_BEFORE, BOOKED))
    op.execute(RESEAL)
    # Everybody may call a new function, and these have the rights of the owner.
    for function in CALLABLE:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")


def downgrade() -> None:
    guards = import_module("standart.migrations.versions.0005_book_guards")
    for function in CALLABLE:
        op.execute(f"DROP FUNCTION {function}")
    op.execute(_again(guards.PAYOUT_BOOKED))
    op.execute(_again(guards.PAYOUT_FINAL))
    for name in ("step", "kept"):
        op.execute(f"DROP TRIGGER event_clock_{name} ON event_clock")
    for table in PURGED:
        op.execute(f"DROP TRIGGER {table}_purged ON {table}")
        op.execute(f"DROP TRIGGER {table}_kept ON {table}")
    for table in ("events", "attempts"):
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT"
            " EXECUTE FUNCTION standart_refuse('history is kept')"
        )
    op.execute("DROP FUNCTION standart_check_kept(), standart_check_clock()")
    op.execute("DROP FUNCTION standart_event_is_done(uuid, uuid)")
    op.execute("DROP FUNCTION standart_delivery_is_done(deliveries)")
    for name, _ in PLACE:
        op.drop_column("event_clock", name)
    op.drop_index("ix_deliveries_dead", table_name="deliveries")


def _again(function: str) -> str:
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
