"""The statements of the hot paths.

Each act is one guarded statement on an autocommit connection: it finds the caller, claims
the idempotency key, guards, writes the change with its journal, event, delivery and audit
row, and returns the answer that it stored. No row means that nothing was written; the
service then asks why in a second statement. One statement is one round trip and one
transaction, so nothing can be half-written and no lock is held while Python thinks.
"""

from __future__ import annotations

from sqlalchemy import TextClause, text

from standart.db import HotStatement
from standart.models import MAX_AMOUNT
from standart.services import fee_sql
from standart.services.outbox import DELIVER, subscribed
from standart.services.wire import (
    CLOCK,
    VISIBLE,
    event_json,
    rfc3339,
    transaction_json,
    unit,
)

KEPT_FOR = "interval '24 hours'"

# The caller, by the digest of the API key. The scope and everything that revokes are part
# of the same look-up: a revoked key counts with the next request.
BY_KEY = """
    caller AS MATERIALIZED (
        SELECT u.id, u.name, u.role
        FROM api_keys k JOIN users u ON u.id = k.user_id
        WHERE k.digest = :digest AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
          AND u.active AND :scope = ANY (k.scopes)
    )"""

# The caller behind a panel session: only who settles changes money there.
BY_SETTLER = """
    caller AS MATERIALIZED (
        SELECT u.id, u.name, u.role FROM users u
        WHERE u.id = :caller_id AND u.active AND u.role IN ('admin', 'operator')
    )"""

IDEMPOTENCY_LOCK = (
    "hashtextextended(concat_ws(' ', {user_id}, CAST(:path AS text), CAST(:key AS text)), 0)"
)

# ON CONFLICT waits for a writer that is still running; the advisory lock sees it first.
# A kept answer older than its day counts as absent, purged or not.
_CLAIM = f"""
    door AS MATERIALIZED (
        SELECT pg_try_advisory_xact_lock({IDEMPOTENCY_LOCK.format(user_id="c.id")}) AS open
        FROM caller c
    ),
    claim AS (
        INSERT INTO idempotency_keys AS k (user_id, path, key, fingerprint, status, body)
        SELECT c.id, :path, :key, :fingerprint, :answer_status, r.body::text
        FROM {{source}} AS r, caller c, door WHERE door.open
        ON CONFLICT (user_id, path, key) DO UPDATE
            SET fingerprint = excluded.fingerprint, status = excluded.status,
                body = excluded.body, created_at = excluded.created_at
            WHERE k.created_at <= clock_timestamp() - {KEPT_FOR}
        RETURNING body
    ),"""


# Few want to hear of it, so the event is written only where an endpoint asks for it.
_TELL_OF_BIRTH = f"""
    event AS (
        INSERT INTO events (user_id, id, transaction_id, type, sequence, payload, created_at)
        SELECT b.user_id, CAST(:event_id AS uuid), b.id, 'transaction.created', 1,
            {event_json("b", "1", "created_at")}, b.created_at
        FROM born b, made
        WHERE EXISTS (
            SELECT FROM webhook_endpoints w
            WHERE w.user_id = b.user_id AND {subscribed("'transaction.created'")})
        RETURNING user_id, id, type
    ),
    {DELIVER}"""


def _create(keyed: bool, free: bool) -> HotStatement:
    """Build the statement that creates a transaction by the fee in force (``fee_sql``).

    ``free`` is for merchants without limits, and creates nothing for others: those are
    checked in the same transaction before, under a lock of their own.
    """
    unlimited = "AND NOT EXISTS (SELECT FROM limits l WHERE l.user_id = u.id)"
    return HotStatement(
        f"""
    WITH {BY_KEY},
    terms AS MATERIALIZED (
        SELECT u.id AS user_id, {fee_sql.terms("u", "f")}, clock_timestamp() AS at, m.currency,
            CAST(:amount AS numeric) AS amount,
            u.unique_reference AND CAST(:reference AS text) IS NOT NULL AS unique_reference
        FROM caller c JOIN users u ON u.id = coalesce(CAST(:user_id AS uuid), c.id) AND u.active
        CROSS JOIN LATERAL (SELECT coalesce(:currency, u.currency) AS currency) AS m
        LEFT JOIN LATERAL {fee_sql.in_force("u.id", "m.currency")} AS f ON true
        WHERE c.role = CASE WHEN CAST(:user_id AS uuid) IS NULL THEN 'regular' ELSE 'admin' END
        {unlimited if free else ""}
    ),
    exact AS MATERIALIZED (
        SELECT t.*, t.amount / t.unit AS minor
        FROM (SELECT *, {unit("currency")} AS unit FROM terms) AS t
        WHERE scale(t.amount) <= scale(t.unit)
          AND NOT (t.unique_reference AND EXISTS (
              SELECT FROM transactions r WHERE r.user_id = t.user_id AND r.reference = :reference))
    ),
    bare AS MATERIALIZED (
        SELECT x.user_id, CAST(:id AS uuid) AS id, x.minor::bigint AS amount,
            {fee_sql.commission("x.minor", "x")} AS commission,
            x.commission_rate, x.currency, x.unit, 'pending' AS status,
            CAST(:reference AS text) AS reference, CAST(:description AS text) AS description,
            CAST(:metadata AS jsonb) AS metadata, CAST(NULL AS text) AS reason, x.at AS created_at,
            x.at + make_interval(secs => :ttl) AS expires_at,
            CAST(NULL AS timestamptz) AS finished_at,
            x.fee_schedule_id, x.fee_fixed, x.fee_minimum, x.fee_maximum,
            CAST(NULL AS uuid) AS late_for, 0 AS refunded, 0 AS approvals, x.unique_reference
        FROM exact x WHERE x.minor BETWEEN 1 AND {MAX_AMOUNT}
    ),
    born AS MATERIALIZED (SELECT b.*, {transaction_json("b")} AS body FROM bare b),
    {_CLAIM.format(source="born") if keyed else ""}
    made AS (
        INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
            reference, description, metadata, created_at, expires_at, fee_schedule_id, fee_fixed,
            fee_minimum, fee_maximum, unique_reference)
        SELECT b.user_id, b.id, b.amount, b.commission, b.commission_rate, b.currency,
            b.reference, b.description, b.metadata, b.created_at, b.expires_at,
            b.fee_schedule_id, b.fee_fixed, b.fee_minimum, b.fee_maximum, b.unique_reference
        FROM born b{", claim" if keyed else ""}
        RETURNING 1
    ),
    {_TELL_OF_BIRTH}
    SELECT b.body::text AS body, EXISTS (SELECT FROM delivery) AS told FROM born b, made
    """
    )


CREATE = {keyed: _create(keyed, free=True) for keyed in (False, True)}
CREATE_WITHIN_LIMITS = {keyed: _create(keyed, free=False) for keyed in (False, True)}

# What every ending writes besides the status, from the rows named ``ended`` and those of
# them that were ``settled``. Ids come from the caller: one of each for each row.
# A late payment is confirmed from the start, so that is its first change.
_ENDING = "CASE WHEN e.late_for IS NULL THEN 2 ELSE 1 END"
TELL = f"""
    event AS (
        INSERT INTO events (user_id, id, transaction_id, type, sequence, payload, created_at)
        SELECT e.user_id, e.event_id, e.id, 'transaction.' || e.status, {_ENDING},
            {event_json("e", _ENDING)}, clock_timestamp()
        FROM ended e JOIN settled USING (user_id, id)
        RETURNING user_id, id, type
    ),
    {DELIVER}"""

# Who ended what was pending.
_AUDIT = """
    audit AS (
        INSERT INTO audit_log (actor_id, actor_name, channel, action, object_type, object_id,
            before, after, request_id, ip)
        SELECT e.actor_id, e.actor_name, :channel, 'transaction.' || e.status, 'transaction',
            e.id::text, jsonb_build_object('status', 'pending'),
            jsonb_strip_nulls(jsonb_build_object('status', e.status, 'reason', e.reason)),
            :request_id, :ip
        FROM ended e JOIN settled USING (user_id, id)
    )"""

# Credits only ever insert: a delta per entry, folded into the account's row by a sweep.
POST = """
    journal AS (
        INSERT INTO journals (user_id, id, kind, transaction_id, entry_count)
        SELECT e.user_id, CAST(:journal_id AS uuid), 'settlement', e.id,
            1 + (e.amount > e.commission)::int + (e.commission > 0)::int
        FROM ended e JOIN settled USING (user_id, id)
    ),
    entry AS (
        INSERT INTO entries (user_id, journal_id, line, currency, kind, amount)
        SELECT e.user_id, CAST(:journal_id AS uuid), l.line, e.currency, l.kind, l.amount
        FROM ended e JOIN settled USING (user_id, id)
        CROSS JOIN LATERAL (VALUES
            (1, 'clearing', -e.amount),
            (2, 'available', e.amount - e.commission),
            (3, 'commission', e.commission)
        ) AS l (line, kind, amount)
        WHERE l.amount <> 0
        RETURNING user_id, currency, kind, amount
    ),
    delta AS (
        INSERT INTO balance_deltas (user_id, currency, kind, amount)
        SELECT user_id, currency, kind, amount FROM entry
    ),"""


def _settle(caller: str, keyed: bool, posting: bool) -> HotStatement:
    """Build the statement that confirms (``posting``) or cancels a pending transaction.

    The row is locked first and the clock is read after that: whoever waited for the lock
    past the expiry comes too late. Only who settles confirms, whatever scopes a key may have,
    and above the sum that ``alone`` names for the currency not alone.
    """
    alone = "j.amount <= coalesce((CAST(:alone AS jsonb) ->> j.currency)::bigint, j.amount)"
    approvals = """(SELECT count(*) FROM approvals a WHERE a.user_id = j.user_id
        AND a.object_type = 'transaction' AND a.object_id = j.id)"""
    settles = "c.role IN ('admin', 'operator')"
    allowed = settles if posting else f"({settles} OR c.role = 'regular' AND t.user_id = c.id)"
    return HotStatement(
        f"""
    WITH {caller},
    target AS MATERIALIZED (
        SELECT t.*, c.id AS actor_id, c.name AS actor_name
        FROM transactions t, caller c
        WHERE t.id = CAST(:id AS uuid) AND t.status = 'pending'
          AND {allowed}
        FOR UPDATE OF t
    ),
    judged AS MATERIALIZED (SELECT t.*, clock_timestamp() AS at FROM target t),
    bare AS MATERIALIZED (
        SELECT j.user_id, j.id, j.amount, j.commission, j.commission_rate, j.currency,
            {unit("j.currency")} AS unit, CAST(:status AS text) AS status, j.reference,
            j.description, j.metadata, CAST(:reason AS text) AS reason, j.created_at,
            j.expires_at, j.at AS finished_at, j.actor_id, j.actor_name,
            CAST(:event_id AS uuid) AS event_id,
            j.fee_schedule_id, j.fee_fixed, j.fee_minimum, j.fee_maximum, j.late_for,
            0 AS refunded, {approvals if posting else "0"} AS approvals
        FROM judged j WHERE j.at < j.expires_at {f"AND {alone}" if posting else ""}
    ),
    ended AS MATERIALIZED (SELECT b.*, {transaction_json("b")} AS body FROM bare b),
    {_CLAIM.format(source="ended") if keyed else ""}
    settled AS (
        UPDATE transactions t
        SET status = e.status, reason = e.reason, finished_at = e.finished_at
        FROM ended e{", claim" if keyed else ""}
        WHERE t.user_id = e.user_id AND t.id = e.id AND t.status = 'pending'
        RETURNING t.user_id, t.id
    ),
    {POST if posting else ""}
    {TELL},
    {_AUDIT}
    SELECT e.body::text AS body FROM ended e JOIN settled USING (user_id, id)
    """
    )


SETTLE_BY_KEY = {
    (posting, keyed): _settle(BY_KEY, keyed, posting)
    for posting in (False, True)
    for keyed in (False, True)
}
SETTLE_BY_SETTLER = {posting: _settle(BY_SETTLER, False, posting) for posting in (False, True)}


def _expire(which: str) -> TextClause:
    """Build the statement that ends overdue transactions; ``which`` picks and locks them."""
    return text(
        f"""
    WITH due AS MATERIALIZED (
        SELECT t.* FROM transactions t
        WHERE t.status = 'pending' AND t.expires_at <= clock_timestamp() {which}
    ),
    numbered AS MATERIALIZED (SELECT d.*, row_number() OVER () AS n FROM due d),
    bare AS MATERIALIZED (
        SELECT d.user_id, d.id, d.amount, d.commission, d.commission_rate, d.currency,
            {unit("d.currency")} AS unit, 'expired' AS status, d.reference, d.description,
            d.metadata, d.reason, d.created_at, d.expires_at, d.expires_at AS finished_at,
            CAST(NULL AS uuid) AS actor_id, 'system' AS actor_name,
            ids.event_id, d.fee_schedule_id, d.fee_fixed, d.fee_minimum,
            d.fee_maximum, d.late_for, 0 AS refunded, 0 AS approvals
        FROM numbered d
        JOIN unnest(CAST(:event_ids AS uuid[])) WITH ORDINALITY AS ids (event_id, n) USING (n)
    ),
    ended AS MATERIALIZED (SELECT b.*, {transaction_json("b")} AS body FROM bare b),
    settled AS (
        UPDATE transactions t SET status = e.status, finished_at = e.finished_at
        FROM ended e
        WHERE t.user_id = e.user_id AND t.id = e.id AND t.status = 'pending'
        RETURNING t.user_id, t.id
    ),
    {TELL},
    {_AUDIT}
    SELECT count(*) FROM settled
    """
    )


# Overdue ones in batches; a row that a confirm is just committing is left to the next sweep.
EXPIRE = _expire("ORDER BY t.expires_at LIMIT :batch FOR UPDATE SKIP LOCKED")
EXPIRE_ONE = _expire("AND t.id = CAST(:id AS uuid) FOR UPDATE")

_ONE = f"""
    SELECT {transaction_json("v")}::text AS body, v.user_id,
        v.status = 'expired' AND v.kept_status = 'pending' AS unswept
    FROM (
        SELECT {VISIBLE}, t.status AS kept_status
        FROM transactions t CROSS JOIN {CLOCK} AS clock
        WHERE t.id = CAST(:id AS uuid) {{lock}}
    ) AS v"""

# A confirm that is just committing holds the row: FOR SHARE waits for it.
READ_ONE = text(_ONE.format(lock=""))
READ_ONE_SETTLED = text(_ONE.format(lock="FOR SHARE OF t"))

READ_ONE_BY_KEY = HotStatement(
    f"""
    WITH {BY_KEY}
    SELECT one.body, one.unswept FROM ({_ONE.format(lock="")}) AS one, caller c
    WHERE c.role IN ('admin', 'operator', 'viewer') OR one.user_id = c.id
    """
)


_PLAIN = f"""v.created_at, v.id AS place, v.id::text, {rfc3339("v.created_at")}, v.status,
    {rfc3339("v.finished_at")}, {rfc3339("v.expires_at")}, v.user_id::text, u.name,
    (v.amount * v.unit)::text, v.currency, (v.commission * v.unit)::text,
    ((v.amount - v.commission) * v.unit)::text, (v.refunded * v.unit)::text,
    v.reference, v.description, v.reason"""


def _taken(branches: list[list[str]], columns: str, order: str) -> str:
    """SQL: the rows ``t`` of a page, each branch by an index of its own; needs ``clock``."""
    ways = " UNION ALL ".join(
        f"""(SELECT {columns} FROM transactions t CROSS JOIN clock
        WHERE {" AND ".join(conditions) or "true"} ORDER BY {order} LIMIT :limit)"""
        for conditions in branches
    )
    if len(branches) == 1:
        return ways
    return f"(SELECT * FROM ({ways}) AS t ORDER BY {order} LIMIT :limit)"


_CLOCK = "WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)"
_NEWEST = "t.created_at DESC, t.id DESC"


def read_many(
    branches: list[list[str]], *, upwards: bool = False, plain: bool = False
) -> TextClause:
    """Build the statement that lists transactions, newest first by (created_at, id).

    Each branch has the conditions of one way to belong to the list, which no other way may
    meet: each follows an index of its own to its end of the page. ``upwards`` takes the page
    that ends where it is bounded, instead of the one that begins there. ``plain`` rows are
    the place and the texts of an export, others the place and the wire form.
    """
    # The rows first, what is read besides them only for those that are shown.
    taken = _taken(branches, "t.*", "t.created_at, t.id" if upwards else _NEWEST)
    columns = _PLAIN if plain else f"{transaction_json('v')}::text AS body, v.created_at, v.id"
    return text(
        f"""
    {_CLOCK}
    SELECT {columns}
    FROM (SELECT {VISIBLE} FROM {taken} AS t CROSS JOIN clock) AS v
    {"JOIN users u ON u.id = v.user_id" if plain else ""}
    ORDER BY v.created_at DESC, v.id DESC
    """
    )


def read_ids(branches: list[list[str]]) -> TextClause:
    """Build the statement that lists the ids alone of what ``read_many`` would list."""
    taken = _taken(branches, "t.created_at, t.id", _NEWEST)
    return text(f"{_CLOCK} SELECT t.id FROM {taken} AS t ORDER BY {_NEWEST}")


def count_many(branches: list[list[str]]) -> TextClause:
    """Build the statement that counts what ``read_many`` would list, up to ``:most``."""
    taken = " UNION ALL ".join(
        f"""SELECT 1 FROM transactions t CROSS JOIN {CLOCK} AS clock
        WHERE {" AND ".join(conditions) or "true"}"""
        for conditions in branches
    )
    return text(f"SELECT count(*) FROM (SELECT 1 FROM ({taken}) AS t LIMIT :most) AS t")
