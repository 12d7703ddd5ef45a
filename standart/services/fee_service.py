"""Fee schedules of merchants, and what a commission would be.

A schedule is never changed: a new one takes its place from its start on, so what was in
force at any moment stays readable. A transaction keeps the terms it was created by, and a
later schedule leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, case, func, select, text
from sqlalchemy.orm import Session

from standart import money
from standart.clock import new_id
from standart.errors import FieldError, InvalidInput
from standart.models import FeeSchedule, Scope, User
from standart.money import MAX_MINOR, RATE_DIGITS, Money
from standart.services import acts, audit_service, fee_sql, merchants
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest

RULE: Final = "fee-1"
"""The version of the fee rule; another rule would get another one."""

ROUNDING: Final = "half-up"


class ScheduleState(StrEnum):
    """What a schedule is now; ``REPLACED`` by one with a later start, or written later."""

    PLANNED = "planned"
    IN_FORCE = "in_force"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class ListedSchedule:
    """A fee schedule and what it is at the moment, by the database's clock."""

    schedule: FeeSchedule
    state: ScheduleState


def set_schedule(
    session: Session,
    actor: Actor,
    user: User,
    *,
    currency: str,
    rate: Decimal | None,
    fixed: int = 0,
    minimum: int = 0,
    maximum: int | None = None,
    starts_at: datetime | None = None,
) -> FeeSchedule:
    """Let a fee be in force from ``starts_at`` on, or from now; sums in minor units.

    Without a ``rate`` the merchant's plain commission rate is in force again. Of two with
    the same start the one that is set later counts. Transactions that exist keep theirs.

    Raises:
        InvalidInput: names every part that makes no sense, such as a start that is past by
            the database's clock.
    """
    # One after the other: whoever is set later has the later ``created_at``.
    lock = func.pg_advisory_xact_lock(func.hashtextextended(f"fees {user.id}", 0))
    session.execute(select(lock))
    now = session.scalars(select(func.clock_timestamp())).one().astimezone(UTC)
    start = now if starts_at is None else _start(starts_at, now)
    money.digits_of(currency)
    _require_sound(rate, fixed, minimum, maximum)
    before = _newest(session, user.id, currency, start)
    schedule = FeeSchedule(
        user_id=user.id,
        id=new_id(),
        currency=currency,
        rate=rate,
        fixed=fixed,
        minimum=minimum,
        maximum=maximum,
        starts_at=start,
    )
    session.add(schedule)
    session.flush()
    audit_service.record(
        session,
        actor,
        "fee_schedule.set",
        "user",
        user.id,
        before=None if before is None else describe(before),
        after={"id": str(schedule.id), **describe(schedule)},
    )
    return schedule


def list_schedules(session: Session, user_id: UUID) -> list[ListedSchedule]:
    """Return a merchant's schedules by currency, the latest start first."""
    clock = select(func.clock_timestamp().label("now")).cte("clock").prefix_with("MATERIALIZED")
    started = FeeSchedule.starts_at <= clock.c.now
    latest = (FeeSchedule.starts_at.desc(), FeeSchedule.created_at.desc())
    # Of those that have started only the newest counts, of planned ones each start's newest.
    place = func.row_number().over(
        partition_by=(FeeSchedule.currency, case((~started, FeeSchedule.starts_at))),
        order_by=latest,
    )
    state = case(
        (place > 1, ScheduleState.REPLACED.value),
        (started, ScheduleState.IN_FORCE.value),
        else_=ScheduleState.PLANNED.value,
    )
    query = (
        select(FeeSchedule, state)
        .join(clock, FeeSchedule.user_id == user_id)
        .order_by(FeeSchedule.currency, *latest)
    )
    return [ListedSchedule(found, ScheduleState(text)) for found, text in session.execute(query)]


def describe(schedule: FeeSchedule) -> dict[str, Any]:
    """What people and the audit log see of a schedule; ``rate`` is null for the plain rate."""

    def shown(minor: int | None) -> str | None:
        return None if minor is None else money.format_minor(minor, schedule.currency)

    return {
        "currency": schedule.currency,
        "rate": None if schedule.rate is None else money.format_rate(Decimal(schedule.rate)),
        "fixed": shown(schedule.fixed),
        "minimum": shown(schedule.minimum),
        "maximum": shown(schedule.maximum),
        "starts_at": schedule.starts_at.isoformat(),
    }


@dataclass(frozen=True, slots=True)
class Terms:
    """What a commission is computed by: a schedule's, or the plain rate without an id."""

    schedule_id: UUID | None
    rate: Decimal
    fixed: int
    minimum: int
    maximum: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What the commission on ``amount`` would be now, and how it comes about."""

    amount: Money
    commission: Money
    terms: Terms
    steps: tuple[str, ...]

    @property
    def net(self) -> Money:
        """What would be left for the merchant."""
        return Money(self.amount.amount - self.commission.amount, self.amount.currency)


# The same expressions as in the statement that creates a transaction.
_PREVIEW = text(
    f"""
    SELECT x.*, {fee_sql.commission("CAST(:amount AS numeric)", "x")} AS commission
    FROM (
        SELECT {fee_sql.terms("u", "f")}
        FROM users u
        LEFT JOIN LATERAL {fee_sql.in_force("u.id", "CAST(:currency AS text)")} AS f ON true
        WHERE u.id = :user_id
    ) AS x
    """
)


def tell_preview(
    connection: Connection,
    digest: KeyDigest,
    origin: Origin,
    tell: Callable[[Preview], str],
    *,
    amount: str,
    currency: str | None = None,
    user_id: UUID | None = None,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Answer with what ``tell`` makes of a preview; nothing but the answer to a key is kept.

    Raises:
        Unauthenticated, InsufficientScope: the key does not allow this.
        InvalidInput: see ``preview``.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """

    def work(actor: Actor) -> Answer:
        found = preview(connection, actor, amount=amount, currency=currency, user_id=user_id)
        return Answer(200, tell(found))

    return acts.perform(connection, digest, origin, Scope.READ, work, claim=claim)


def preview(
    connection: Connection,
    actor: Actor,
    *,
    amount: str,
    currency: str | None = None,
    user_id: UUID | None = None,
) -> Preview:
    """Return what a transaction created now would cost its merchant; writes nothing.

    Raises:
        InvalidInput: exactly where creating a transaction would raise it.
    """
    merchant = merchants.meant_by(connection, actor, user_id)
    exact = money.parse_amount(amount, currency or merchant.currency)
    row = connection.execute(
        _PREVIEW,
        {"user_id": merchant.id, "amount": exact.amount, "currency": exact.currency},
    ).one()
    terms = Terms(
        schedule_id=row.fee_schedule_id,
        rate=row.commission_rate,
        fixed=row.fee_fixed or 0,
        minimum=row.fee_minimum or 0,
        maximum=row.fee_maximum,
    )
    return Preview(exact, Money(row.commission, exact.currency), terms, steps(exact, terms))


def steps(amount: Money, terms: Terms) -> tuple[str, ...]:
    """Spell the fee rule out for one amount, in the order in which it is applied."""

    def shown(minor: int) -> str:
        return money.format_minor(minor, amount.currency)

    # At most 16 and 7 digits: their product is exact in the 28 digits of a Decimal.
    product = money.format_rate(Decimal(str(amount)) * terms.rate)
    taken = money.commission(amount.amount, terms.rate)
    told = [
        f"{amount} × {money.format_rate(terms.rate)} = {product}, rounded half-up: {shown(taken)}"
    ]
    if terms.fixed:
        told.append(f"{shown(taken)} + {shown(terms.fixed)} fixed = {shown(taken + terms.fixed)}")
        taken += terms.fixed
    if terms.maximum is not None:
        taken = min(taken, terms.maximum)
        told.append(f"at most {shown(terms.maximum)}: {shown(taken)}")
    if terms.minimum:
        taken = max(taken, terms.minimum)
        told.append(f"at least {shown(terms.minimum)}: {shown(taken)}")
    if taken > amount.amount:
        taken = amount.amount
        told.append(f"never above the amount: {shown(taken)}")
    told.append(f"net: {amount} - {shown(taken)} = {shown(amount.amount - taken)}")
    return tuple(told)


def _start(asked: datetime, now: datetime) -> datetime:
    """Return a start that is not past, in UTC.

    Raises:
        InvalidInput: it is past, has no zone, or is no moment that the calendar has in UTC.
    """
    if asked.tzinfo is None:
        raise InvalidInput.of("starts_at", "must have a time zone")
    try:
        start = asked.astimezone(UTC)
    except OverflowError:
        raise InvalidInput.of("starts_at", "must be within the years 1 to 9999") from None
    if start < now:
        raise InvalidInput.of("starts_at", "must not be in the past")
    return start


def _require_sound(rate: Decimal | None, fixed: int, minimum: int, maximum: int | None) -> None:
    problems = []
    # The column would round further digits away.
    if rate is not None and not (
        rate.is_finite() and 0 <= rate <= 1 and rate == round(rate, RATE_DIGITS)
    ):
        problems.append(
            FieldError("rate", f"must be from 0 to 1, with at most {RATE_DIGITS} digits")
        )
    sums = {"fixed": fixed, "minimum": minimum, "maximum": maximum}
    for name, minor in sums.items():
        if minor is not None and not 0 <= minor <= MAX_MINOR:
            problems.append(FieldError(name, f"must be from 0 to {MAX_MINOR} minor units"))
    if maximum is not None and maximum < minimum:
        problems.append(FieldError("maximum", "must not be below the minimum"))
    if rate is None and (fixed or minimum or maximum is not None):
        problems.append(FieldError("rate", "is required with a fixed part, minimum or maximum"))
    if problems:
        raise InvalidInput(problems)


def _newest(session: Session, user_id: UUID, currency: str, at: datetime) -> FeeSchedule | None:
    """Return the schedule that was to be in force at a moment."""
    query = (
        select(FeeSchedule)
        .where(
            FeeSchedule.user_id == user_id,
            FeeSchedule.currency == currency,
            FeeSchedule.starts_at <= at,
        )
        .order_by(FeeSchedule.starts_at.desc(), FeeSchedule.created_at.desc())
        .limit(1)
    )
    return session.scalar(query)
