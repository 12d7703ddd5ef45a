"""Money that comes after all: a payment seen when its transaction had ended unpaid.

A terminal status never changes, so the old transaction stays as it is. The money becomes a
transaction of its own, confirmed from the start, which names the old one in ``late_for`` and
has its amount, currency, rate, fee and reference. An old one has one late payment at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from standart.clock import new_id
from standart.errors import NotFound, NotLate
from standart.models import ApprovalOf, Scope
from standart.money import Money
from standart.services import acts, approval_service, audit_service
from standart.services import transaction_sql as sql
from standart.services.access import Actor, Origin
from standart.services.approval_service import NOBODY_ELSE, Thresholds
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.wire import CLOCK, VISIBLE, transaction_json, unit
from standart.states import TransactionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class LatePayment:
    """Which ended transaction was paid after all.

    By ``fresh_id`` a second run of the same request (the connection died after the commit)
    finds what the first one did.
    """

    transaction_id: UUID
    fresh_id: UUID = field(default_factory=new_id)


# The clock is read after the lock: whoever waited for a confirm judges what it left.
_LOCK = text(
    """
    WITH target AS MATERIALIZED (SELECT t.* FROM transactions t WHERE t.id = :id FOR UPDATE)
    SELECT t.user_id, t.id, t.amount, t.currency, t.status, t.expires_at <= clock_timestamp()
        AS past
    FROM target t
    """
)

_OF_THE_OLD_ONE = text(
    f"""
    SELECT {transaction_json("v")}::text AS body, v.id
    FROM (
        SELECT {VISIBLE} FROM transactions t CROSS JOIN {CLOCK} AS clock
        WHERE t.user_id = :user_id AND t.late_for = :late_for
    ) AS v
    """
)

# It lives as long as the old one did, though nobody waits for its end: ``expires_at`` is
# behind ``finished_at`` for whatever was paid.
_RECORD = text(
    f"""
    WITH judged AS MATERIALIZED (
        SELECT t.*, clock_timestamp() AS at FROM transactions t
        WHERE t.user_id = :user_id AND t.id = :late_for AND t.status IN ('canceled', 'expired')
    ),
    bare AS MATERIALIZED (
        SELECT j.user_id, CAST(:id AS uuid) AS id, j.amount, j.commission, j.commission_rate,
            j.currency, {unit("j.currency")} AS unit, 'confirmed' AS status, j.reference,
            j.description, j.metadata, CAST(NULL AS text) AS reason, j.at AS created_at,
            j.at + (j.expires_at - j.created_at) AS expires_at, j.at AS finished_at,
            CAST(:event_id AS uuid) AS event_id,
            j.fee_schedule_id, j.fee_fixed, j.fee_minimum, j.fee_maximum, j.id AS late_for,
            0 AS refunded, (SELECT count(*) FROM approvals a WHERE a.user_id = j.user_id
                AND a.object_type = 'late_payment' AND a.object_id = j.id) AS approvals
        FROM judged j
    ),
    ended AS MATERIALIZED (SELECT b.*, {transaction_json("b")} AS body FROM bare b),
    settled AS (
        INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
            status, reference, description, metadata, created_at, expires_at, finished_at,
            fee_schedule_id, fee_fixed, fee_minimum, fee_maximum, late_for)
        SELECT e.user_id, e.id, e.amount, e.commission, e.commission_rate, e.currency,
            e.status, e.reference, e.description, e.metadata, e.created_at, e.expires_at,
            e.finished_at, e.fee_schedule_id, e.fee_fixed, e.fee_minimum, e.fee_maximum,
            e.late_for
        FROM ended e
        RETURNING user_id, id
    ),
    {sql.POST}
    {sql.TELL}
    SELECT e.body::text AS body FROM ended e JOIN settled USING (user_id, id)
    """
)


def record_late_payment(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    late: LatePayment,
    *,
    claim: IdempotencyClaim | None = None,
    alone: Thresholds = NOBODY_ELSE,
) -> Answer:
    """Make the confirmed transaction of a payment that came late; for admins.

    Answers 201 with the late transaction, 200 if it was made before, and 202 with the old
    one when a second admin must agree: ``alone`` has the sums up to which one suffices. An
    overdue transaction that no sweep has reached is expired first.

    Raises:
        NotFound: the transaction is unknown.
        NotLate: it can still be paid or was; carries ``transaction_status``.
        SecondPersonRequired: see ``approval_service``.
    """

    def work(actor: Actor) -> Answer:
        acts.require_settler(actor)
        old = _ended(connection, actor, late.transaction_id)
        of_old = {"user_id": old.user_id, "late_for": old.id}
        made = connection.execute(_OF_THE_OLD_ONE, of_old).one_or_none()
        if made is not None:
            return Answer(201 if made.id == late.fresh_id else 200, made.body)
        amount = Money(old.amount, old.currency)
        if approval_service.needs_two(amount, alone) and not approval_service.approve(
            connection,
            actor,
            ApprovalOf.LATE_PAYMENT,
            old.user_id,
            old.id,
            late.fresh_id,
            told_as="late_payment.approved",
        ):
            return Answer(202, connection.execute(sql.READ_ONE, {"id": old.id}).one().body)
        return Answer(201, _record(connection, actor, old, late.fresh_id))

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def _ended(connection: Connection, actor: Actor, transaction_id: UUID) -> Row[Any]:
    """Lock a transaction that ended unpaid; end it if only the sweep has not come yet."""
    row = connection.execute(_LOCK, {"id": transaction_id}).one_or_none()
    if row is None:
        raise NotFound
    if row.status == TransactionStatus.CONFIRMED or (
        row.status == TransactionStatus.PENDING and not row.past
    ):
        raise NotLate(transaction_status=row.status)
    if row.status == TransactionStatus.PENDING:
        sweep = {
            "id": row.id,
            "event_ids": [new_id()],
            "channel": actor.origin.channel,
            "request_id": actor.origin.request_id,
            "ip": actor.origin.ip,
        }
        connection.execute(sql.EXPIRE_ONE, sweep)
    return row


def _record(connection: Connection, actor: Actor, old: Row[Any], late_id: UUID) -> str:
    made = {
        "user_id": old.user_id,
        "late_for": old.id,
        "id": late_id,
        "journal_id": new_id(),
        "event_id": new_id(),
    }
    body = str(connection.execute(_RECORD, made).scalar_one())
    audit_service.record(
        connection,
        actor,
        "transaction.confirmed",
        "transaction",
        late_id,
        after={"status": TransactionStatus.CONFIRMED.value, "late_for": str(old.id)},
    )
    return body
