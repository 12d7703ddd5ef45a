"""Adjustments: what an admin corrects by hand, with a reason, and opening balances.

An adjustment is posted at once, or it waits for a second admin where the four-eyes rule
asks for one. While it waits, nothing is reserved: a debit that is not covered any more is
refused when it is approved.

The acts expect an autocommit connection and open a transaction of their own on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart import money
from standart.clock import new_id
from standart.errors import InvalidInput, NotFound
from standart.models import AccountKind, AdjustmentKind, ApprovalOf, JournalKind, Scope
from standart.services import acts, approval_service, audit_service, outbox, posting
from standart.services.access import Actor, Origin
from standart.services.approval_service import NOBODY_ELSE, Thresholds
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.wire import approvals, rfc3339, unit
from standart.states import AdjustmentStatus, adjustment_target

OPENING_REASON: Final = "Opening balance"


class Direction(StrEnum):
    """Whether the merchant gets the money or gives it."""

    CREDIT = "credit"
    DEBIT = "debit"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAdjustment:
    """What an admin asks for; ``amount`` is exact decimal text, always above zero.

    By ``fresh_id`` a second run of the same request (the connection died after the commit)
    finds what the first one did.
    """

    user_id: UUID
    amount: str
    direction: Direction
    reason: str
    currency: str | None = None
    fresh_id: UUID = field(default_factory=new_id)


def adjustment_json(row: str) -> str:
    """SQL: the wire form of ``row``, an alias of ``adjustments``, as text."""
    return f"""(SELECT row_to_json(w)::text FROM (SELECT
        {row}.id, {row}.user_id, {row}.kind,
        CASE WHEN {row}.amount > 0 THEN 'credit' ELSE 'debit' END AS direction,
        (abs({row}.amount) * {unit(f"{row}.currency")})::text AS amount,
        {row}.currency, {row}.reason, {row}.status,
        {approvals(f"{row}.user_id", "'adjustment'", f"{row}.id", f"{row}.status = 'pending'")}
            AS approvals,
        {rfc3339(f"{row}.created_at")} AS created_at,
        {rfc3339(f"{row}.finished_at")} AS finished_at
    ) AS w)"""


# Locked as its foreign key would lock it anyway: a user that is found stays until the commit.
_OWNER = text("SELECT currency FROM users WHERE id = :user_id FOR KEY SHARE")

# No row: the first run of the same request did it and only its answer was lost. No key is named:
# of two runs in one moment the second may meet the first at any of the table's unique keys.
_INSERT = text(
    """
    INSERT INTO adjustments (user_id, id, kind, amount, currency, reason, status,
        created_at, finished_at)
    SELECT :user_id, :id, :kind, :amount, :currency, :reason, CAST(:status AS text), c.now,
        CASE WHEN CAST(:status AS text) = 'posted' THEN c.now END
    FROM (SELECT clock_timestamp() AS now) AS c
    ON CONFLICT DO NOTHING
    """
)

_HOLD = text(
    """
    SELECT user_id, id, kind, amount, currency, status FROM adjustments
    WHERE id = :id FOR UPDATE
    """
)

_END = text(
    """
    UPDATE adjustments SET status = :status, finished_at = clock_timestamp()
    WHERE user_id = :user_id AND id = :id
    """
)

_READ = text(
    f"""
    SELECT a.user_id, a.status, {adjustment_json("a")} AS body FROM adjustments a
    WHERE a.id = :id
    """
)


def create(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    new: NewAdjustment,
    *,
    claim: IdempotencyClaim | None = None,
    alone: Thresholds = NOBODY_ELSE,
) -> Answer:
    """Adjust what is available to a merchant and answer 201.

    Above the sums in ``alone`` (``approval_service``) it is kept pending with the consent of
    its author, and the answer is 202.

    Raises:
        Forbidden, InsufficientScope: the caller is no admin or has not the scope.
        InvalidInput: there is no such user, or the amount does not fit the currency.
        InsufficientBalance: a debit is not covered; nothing was written.
    """

    def work(actor: Actor) -> Answer:
        acts.require_admin(actor)
        amount = _signed(connection, new)
        waits = approval_service.needs_two(amount, alone)
        made = _Made(new.fresh_id, new.user_id, AdjustmentKind.ADJUSTMENT, amount)
        status = AdjustmentStatus.PENDING if waits else AdjustmentStatus.POSTED
        if not made.insert(connection, new.reason, status):
            found = connection.execute(_READ, {"id": new.fresh_id}).one()
            waits = found.status == AdjustmentStatus.PENDING.value
            return Answer(202 if waits else 201, found.body)
        if waits:
            made.approve(connection, actor, new.fresh_id)
            made.log(connection, actor, "created", after=made.told(new.reason, status))
            return Answer(202, _read(connection, actor, new.fresh_id))
        body = made.post(connection)
        made.log(connection, actor, "posted", after=made.told(new.reason, status))
        return Answer(201, body)

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def approve(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    adjustment_id: UUID,
    *,
    claim: IdempotencyClaim | None = None,
    alone: Thresholds = NOBODY_ELSE,
    act_id: UUID | None = None,
) -> Answer:
    """Post an adjustment that waits for a second admin; answers 200, also when repeated.

    ``alone`` and ``act_id`` are as in ``approval_service``. Answers 202, still pending, when
    its author's consent does not count any more and this one is the first.

    Raises:
        NotFound: it is unknown.
        AdjustmentState: it was canceled.
        SecondPersonRequired: the caller made it; see ``approval_service``.
        InsufficientBalance: a debit is not covered; it stays pending.
    """

    def work(actor: Actor) -> Answer:
        held, status = _hold(connection, actor, adjustment_id)
        if adjustment_target(status, AdjustmentStatus.POSTED) is status:
            return Answer(200, _read(connection, actor, adjustment_id))
        if approval_service.needs_two(held.amount, alone) and not held.approve(
            connection, actor, act_id or new_id(), told_as="adjustment.approved"
        ):
            return Answer(202, _read(connection, actor, adjustment_id))
        held.end(connection, actor, AdjustmentStatus.POSTED)
        return Answer(200, held.post(connection))

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def cancel(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    adjustment_id: UUID,
    *,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Drop an adjustment that waits for a second admin; answers 200, also when repeated.

    Raises:
        NotFound: it is unknown.
        AdjustmentState: it was posted.
    """

    def work(actor: Actor) -> Answer:
        held, status = _hold(connection, actor, adjustment_id)
        if adjustment_target(status, AdjustmentStatus.CANCELED) is status:
            return Answer(200, _read(connection, actor, adjustment_id))
        held.end(connection, actor, AdjustmentStatus.CANCELED)
        return Answer(200, _read(connection, actor, adjustment_id))

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def check(
    connection: Connection, caller: KeyDigest | Actor, origin: Origin, adjustment_id: UUID
) -> Answer:
    """Return one adjustment as its owner or an admin sees it.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
    """

    def work(actor: Actor) -> Answer:
        return Answer(200, _read(connection, actor, adjustment_id))

    return acts.perform(connection, caller, origin, Scope.READ, work)


def open_balance(connection: Connection, actor: Actor, user_id: UUID, amount: money.Money) -> None:
    """Post what a merchant brought along, in the transaction of ``connection``."""
    made = _Made(new_id(), user_id, AdjustmentKind.OPENING_BALANCE, amount)
    made.insert(connection, OPENING_REASON, AdjustmentStatus.POSTED)
    made.post(connection)
    made.log(connection, actor, "posted", after=made.told(OPENING_REASON, AdjustmentStatus.POSTED))


_POSTINGS: Final = {
    AdjustmentKind.ADJUSTMENT: (JournalKind.ADJUSTMENT, AccountKind.ADJUSTMENT),
    AdjustmentKind.OPENING_BALANCE: (JournalKind.OPENING_BALANCE, AccountKind.CLEARING),
}


@dataclass(frozen=True, slots=True)
class _Made:
    """An adjustment that this transaction wrote or holds the lock of; ``amount`` is signed."""

    id: UUID
    user_id: UUID
    kind: AdjustmentKind
    amount: money.Money

    def insert(self, connection: Connection, reason: str, status: AdjustmentStatus) -> bool:
        row = {
            "user_id": self.user_id,
            "id": self.id,
            "kind": self.kind.value,
            "amount": self.amount.amount,
            "currency": self.amount.currency,
            "reason": reason,
            "status": status.value,
        }
        return connection.execute(_INSERT, row).rowcount == 1

    def end(self, connection: Connection, actor: Actor, status: AdjustmentStatus) -> None:
        ended = {"user_id": self.user_id, "id": self.id, "status": status.value}
        connection.execute(_END, ended)
        before = {"status": AdjustmentStatus.PENDING.value}
        self.log(connection, actor, status.value, before=before, after={"status": status.value})

    def approve(
        self, connection: Connection, actor: Actor, act_id: UUID, *, told_as: str | None = None
    ) -> bool:
        about = ApprovalOf.ADJUSTMENT
        return approval_service.approve(
            connection, actor, about, self.user_id, self.id, act_id, told_as=told_as
        )

    def post(self, connection: Connection) -> str:
        """Move the money and tell it; return the wire form that was told."""
        kind, other = _POSTINGS[self.kind]
        amount, currency = self.amount.amount, self.amount.currency
        lines = [(AccountKind.AVAILABLE, amount), (other, -amount)]
        posting.post(connection, self.user_id, kind, currency, lines, adjustment_id=self.id)
        body = str(connection.execute(_READ, {"id": self.id}).one().body)
        outbox.tell(connection, self.user_id, outbox.ADJUSTMENT, self.id, "balance.adjusted", body)
        return body

    def told(self, reason: str, status: AdjustmentStatus) -> dict[str, Any]:
        return {
            "user_id": str(self.user_id),
            "kind": self.kind.value,
            "amount": str(self.amount),
            "currency": self.amount.currency,
            "reason": reason,
            "status": status.value,
        }

    def log(self, connection: Connection, actor: Actor, what: str, **change: Any) -> None:
        action = f"adjustment.{what}"
        audit_service.record(connection, actor, action, "adjustment", self.id, **change)


def _signed(connection: Connection, new: NewAdjustment) -> money.Money:
    owner = connection.execute(_OWNER, {"user_id": new.user_id}).one_or_none()
    if owner is None:
        raise InvalidInput.of("user_id", "There is no such user.")
    amount = money.parse_amount(new.amount, new.currency or owner.currency)
    sign = 1 if Direction(new.direction) is Direction.CREDIT else -1
    return money.Money(sign * amount.amount, amount.currency)


def _hold(
    connection: Connection, actor: Actor, adjustment_id: UUID
) -> tuple[_Made, AdjustmentStatus]:
    acts.require_admin(actor)
    row = connection.execute(_HOLD, {"id": adjustment_id}).one_or_none()
    if row is None:
        raise NotFound
    amount = money.Money(row.amount, row.currency)
    held = _Made(row.id, row.user_id, AdjustmentKind(row.kind), amount)
    return held, AdjustmentStatus(row.status)


def _read(connection: Connection, actor: Actor, adjustment_id: UUID) -> str:
    row = connection.execute(_READ, {"id": adjustment_id}).one_or_none()
    if row is None:
        raise NotFound
    actor.require_owner(row.user_id)
    return str(row.body)
