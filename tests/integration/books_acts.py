"""Everything that moves money, each act on a connection of its own as the API's calls are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models import LimitKind, Role, Scope, User
from standart.money import Money
from standart.services import (
    adjustment_service,
    fee_service,
    import_service,
    key_service,
    late_payment_service,
    ledger_service,
    limit_service,
    payout_service,
    refund_service,
    transaction_service,
)
from standart.services.access import SYSTEM, Origin
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest, digest_of
from standart.services.late_payment_service import LatePayment
from standart.services.ledger_service import Balance
from standart.services.payout_service import NewPayout
from standart.services.refund_service import NewRefund
from standart.services.transaction_request import NewTransaction
from tests.builders import make_endpoint, make_key, make_user
from tests.integration.books_model import ALONE, LISTENER, ONE, Fee, shown
from tests.integration.concurrency import outcome

Claim = IdempotencyClaim | None
Act = Callable[[Connection, Claim], Answer]
"""One request: run again it is the same request, its fresh id included."""

OF_MERCHANTS: Final = (Scope.READ, Scope.WRITE, Scope.REFUND, Scope.PAYOUT)

# Pending ones only: what a confirm holds it has confirmed before this reads it.
_RUN_OUT = text(
    """
    UPDATE transactions SET expires_at = created_at + interval '1 microsecond'
    WHERE id = :id AND status = 'pending'
    """
)


@dataclass(frozen=True)
class Person:
    """A user and the key that it calls with."""

    id: UUID
    name: str
    digest: KeyDigest
    # Of the time before refunds and payouts: it reads and writes only.
    old: KeyDigest


def origin() -> Origin:
    return Origin("test", request_id=None, ip="127.0.0.1")


class Desk:
    """The services, as a crowd of merchants and admins calls them.

    The methods named for an act build it; ``run`` carries it out. A connection is taken from
    the pool for each.
    """

    alone: Mapping[str, int] = MappingProxyType(ALONE)

    def __init__(
        self, engine: Engine, superuser: Engine, keyring: Keyring, rates: list[int], admins: int
    ) -> None:
        self.engine, self.superuser, self.keyring = engine, superuser, keyring
        self.admins = [self._person(Role.ADMIN, 0) for _ in range(admins)]
        self.merchants = [
            self._person(Role.REGULAR, rate, listens=owner == LISTENER)
            for owner, rate in enumerate(rates)
        ]

    def _person(self, role: Role, rate: int, *, listens: bool = False) -> Person:
        user = make_user(self.engine, self.keyring, role=role, rate=f"{rate / ONE:.6f}")
        if listens:
            make_endpoint(self.engine, self.keyring, user, url="https://shop.example/")
        digest = user.digest
        if role is not Role.ADMIN:
            digest = digest_of(make_key(self.engine, user, *OF_MERCHANTS))
        return Person(user.id, user.name, digest, user.digest)

    def with_old_keys(self) -> Desk:
        """The same desk for the same people, who call with their old keys."""
        desk = copy(self)
        desk.merchants = [replace(each, digest=each.old) for each in self.merchants]
        return desk

    def run(self, act: Act, claim: Claim = None) -> Any:
        """The answer, or the domain error; everything else is raised."""
        with autocommit(self.engine) as connection:
            return outcome(lambda: act(connection, claim))

    # -- acts

    def create(
        self,
        owner: int,
        amount: int,
        currency: str,
        *,
        reference: str | None = None,
        id_: UUID | None = None,
        admin: int | None = None,
        ttl: int = 900,
    ) -> Act:
        new = NewTransaction(
            amount=shown(amount, currency),
            currency=currency,
            id=id_,
            reference=reference,
            user_id=None if admin is None else self.merchants[owner].id,
        )
        caller = self._caller(owner, admin)
        return lambda connection, claim: transaction_service.create(
            connection, caller, origin(), new, ttl_seconds=ttl, claim=claim
        )

    def confirm(self, id_: UUID, admin: int) -> Act:
        caller = self.admins[admin].digest
        return lambda connection, claim: transaction_service.confirm(
            connection, caller, origin(), id_, claim=claim, alone=self.alone
        )

    def cancel(
        self, id_: UUID, owner: int, *, admin: int | None = None, reason: str | None = None
    ) -> Act:
        caller = self._caller(owner, admin)
        return lambda connection, claim: transaction_service.cancel(
            connection, caller, origin(), id_, reason=reason, claim=claim
        )

    def check(self, id_: UUID, owner: int) -> Act:
        caller = self.merchants[owner].digest
        return lambda connection, _: transaction_service.check(connection, caller, origin(), id_)

    def record_late(self, id_: UUID, admin: int) -> Act:
        late = LatePayment(transaction_id=id_)
        caller = self.admins[admin].digest
        return lambda connection, claim: late_payment_service.record_late_payment(
            connection, caller, origin(), late, claim=claim, alone=self.alone
        )

    def refund(
        self,
        id_: UUID,
        amount: int | None,
        currency: str,
        owner: int,
        *,
        give_back: bool = False,
        admin: int | None = None,
    ) -> Act:
        new = NewRefund(
            transaction_id=id_,
            amount=None if amount is None else shown(amount, currency),
            refund_commission=give_back,
        )
        caller = self._caller(owner, admin)
        return lambda connection, claim: refund_service.create_refund(
            connection, caller, origin(), new, claim=claim
        )

    def pay_out(self, owner: int, amount: int, currency: str, *, admin: int | None = None) -> Act:
        new = NewPayout(
            amount=shown(amount, currency),
            currency=currency,
            destination={"account": "40817810099910004312"},
            user_id=None if admin is None else self.merchants[owner].id,
        )
        caller = self._caller(owner, admin)
        return lambda connection, claim: payout_service.create(
            connection, caller, origin(), self.keyring, new, claim=claim
        )

    def step(self, id_: UUID, action: str, owner: int, admin: int) -> Act:
        caller = self.admins[admin].digest
        act: Callable[..., Answer]
        options: dict[str, Any] = {}
        if action == "approve":
            act, options = payout_service.approve, {"alone": self.alone}
        elif action == "reject":
            act, options = payout_service.reject, {"reason": "no"}
        elif action == "cancel":
            act, caller = payout_service.cancel, self.merchants[owner].digest
        else:
            act, options = payout_service.complete, {"paid": action == "paid"}
        return lambda connection, claim: act(
            connection, caller, origin(), id_, claim=claim, **options
        )

    def adjust(self, owner: int, amount: int, currency: str, admin: int) -> Act:
        new = NewAdjustment(
            user_id=self.merchants[owner].id,
            amount=shown(abs(amount), currency),
            currency=currency,
            direction=Direction.CREDIT if amount > 0 else Direction.DEBIT,
            reason="because",
        )
        caller = self.admins[admin].digest
        return lambda connection, claim: adjustment_service.create(
            connection, caller, origin(), new, claim=claim, alone=self.alone
        )

    def approve_adjustment(self, id_: UUID, admin: int) -> Act:
        caller = self.admins[admin].digest
        return lambda connection, claim: adjustment_service.approve(
            connection, caller, origin(), id_, claim=claim, alone=self.alone
        )

    def cancel_adjustment(self, id_: UUID, admin: int) -> Act:
        caller = self.admins[admin].digest
        return lambda connection, claim: adjustment_service.cancel(
            connection, caller, origin(), id_, claim=claim
        )

    # -- what no client does

    def open_balances(self, opened: Iterable[tuple[int, str, int]]) -> Any:
        """Import (owner, currency, amount): how many there were, or the error."""
        lines = ["user,currency,balance"]
        for owner, currency, amount in opened:
            lines.append(f"{self.merchants[owner].name},{currency},{shown(amount, currency)}")
        file = BytesIO("\n".join(lines).encode())

        def post() -> int:
            with autocommit(self.engine) as own, Session(own) as reading:
                openings = import_service.read_balances(reading, file)
            with Session(self.engine) as session, transaction(session):
                import_service.import_balances(session, SYSTEM, openings)
            return len(openings)

        return outcome(post)

    def expire(self, batch: int) -> int:
        with autocommit(self.engine) as connection:
            return transaction_service.expire_overdue(connection, batch=batch)

    def fold(self, batch: int) -> int:
        with autocommit(self.engine) as connection:
            return ledger_service.fold_deltas(connection, batch=batch)

    def run_out(self, id_: UUID) -> None:
        """Let the time of a pending transaction be over; its creation stays where it was."""
        with self.superuser.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(_RUN_OUT, {"id": id_})

    def set_fee(self, owner: int, currency: str, fee: Fee | None) -> None:
        rate = None if fee is None else Decimal(fee.rate) / ONE
        parts = fee or Fee(0)
        with Session(self.engine) as session, transaction(session):
            fee_service.set_schedule(
                session,
                SYSTEM,
                session.get_one(User, self.merchants[owner].id),
                currency=currency,
                rate=rate,
                fixed=parts.fixed,
                minimum=parts.minimum,
                maximum=parts.maximum,
            )

    def set_limit(self, owner: int, kind: str, currency: str, value: int | None) -> None:
        """``currency`` is ``*`` for limits that count; without a value the limit goes."""
        with Session(self.engine) as session, transaction(session):
            user = session.get_one(User, self.merchants[owner].id)
            of = LimitKind(kind)
            if value is None:
                named = None if currency == "*" else currency
                limit_service.remove_limit(session, SYSTEM, user, of, named)
            else:
                limit = value if currency == "*" else Money(value, currency)
                limit_service.set_limit(session, SYSTEM, user, of, limit)

    def want_unique_references(self, owner: int) -> None:
        with Session(self.engine) as session, transaction(session):
            session.get_one(User, self.merchants[owner].id).unique_reference = True

    def look_back(self, owner: int) -> tuple[datetime, Any]:
        """The database's now, and what the merchant had then."""
        with autocommit(self.engine) as connection:
            at = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return at, outcome(lambda: self.held_at(owner, at))

    def held_at(self, owner: int, at: datetime) -> list[Balance]:
        with autocommit(self.engine) as connection:
            actor = key_service.authenticate(connection, self.merchants[owner].digest, origin())
            return ledger_service.holdings(connection, actor, at=at)

    def today(self) -> Any:
        """The UTC day by the database's clock."""
        with autocommit(self.engine) as connection:
            return connection.scalar(text("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date"))

    def _caller(self, owner: int, admin: int | None) -> KeyDigest:
        return self.merchants[owner].digest if admin is None else self.admins[admin].digest
