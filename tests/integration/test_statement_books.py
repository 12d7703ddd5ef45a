"""Statements over random histories: they join, they add up, and they equal the ledger."""

from __future__ import annotations

import hashlib
import random
from dataclasses import astuple
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.documents.statement import Foot, Head, Movement, Totals
from standart.encryption import Keyring
from standart.services import statement_opening, statement_service
from standart.services.access import SYSTEM
from standart.services.canonical import LINE
from standart.services.statement_span import Asked
from tests.integration.books_model import DIGITS
from tests.integration.test_books_machine import MERCHANTS, SHORT, Books, walk

# What there was before a moment: forward from nothing, over each entry.
LEDGER = text(
    """
    SELECT coalesce(sum(e.amount) FILTER (WHERE e.kind = 'available'), 0)::bigint,
        coalesce(sum(e.amount) FILTER (WHERE e.kind = 'pending_payout'), 0)::bigint
    FROM journals j JOIN entries e ON (e.user_id, e.journal_id) = (j.user_id, j.id)
    WHERE j.user_id = :user_id AND e.currency = :currency AND j.created_at < :at
    """
)
LINES = text(
    f"""
    SELECT {LINE} FROM journals j
    WHERE j.user_id = :user_id AND j.created_at >= :start AND j.created_at < :end
      AND EXISTS (SELECT FROM entries e WHERE e.journal_id = j.id AND e.currency = :currency)
    ORDER BY j.created_at, j.id
    """
)
MOMENTS = text("SELECT created_at FROM journals ORDER BY created_at")

Read = tuple[Head, list[Movement], Foot]


def read(
    connection: Connection, user_id: UUID, currency: str, start: datetime, end: datetime | None
) -> Read:
    statement = statement_service.open_statement(
        connection, SYSTEM, user_id=user_id, currency=currency, asked=Asked(start, end)
    )
    movements = list(statement.movements(lambda work: work(connection)))
    return statement.head, movements, statement.foot()


def added(movements: list[Movement]) -> Totals:
    names = ("gross", "commission", "refunded", "commission_returned", "paid_out", "adjusted")
    names += ("net", "reserved")
    columns = [(1, *(getattr(each, name) for name in names)) for each in movements]
    return Totals(*(sum(column) for column in zip(*columns, strict=True)))


def prove(connection: Connection, found: Read) -> None:
    """What one statement says is right in itself, and as the ledger has it."""
    head, movements, foot = found
    of = {"user_id": head.merchant_id, "currency": head.currency}
    assert (head.available, head.reserved) == connection.execute(
        LEDGER, {**of, "at": head.start}
    ).one()
    assert (foot.available, foot.reserved) == connection.execute(
        LEDGER, {**of, "at": head.end}
    ).one()
    balance = head.available
    for number, each in enumerate(movements, 1):
        balance += each.net
        assert (each.number, each.balance) == (number, balance)
        assert head.start <= each.at < head.end
        earned = each.gross - each.commission - each.refunded + each.commission_returned
        assert earned - each.paid_out + each.adjusted == each.net
    assert foot.available == balance
    assert foot.reserved == head.reserved + sum(each.reserved for each in movements)
    assert foot.totals == added(movements)
    assert foot.by_kind == {
        kind: added([each for each in movements if each.kind == kind])
        for kind in {each.kind for each in movements}
    }
    lines = connection.scalars(LINES, {**of, "start": head.start, "end": head.end})
    assert (
        foot.digest == hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    )


class Statements(Books):
    """The books' own machine; what it has done is told in statements at the end."""

    def teardown(self) -> None:
        try:
            if hasattr(self, "counts"):
                with autocommit(self.engine) as connection:
                    self.tell(connection)
        finally:
            super().teardown()

    def tell(self, connection: Connection) -> None:
        moments = list(connection.scalars(MOMENTS))
        start = moments[0] - timedelta(days=1)
        chance = random.Random(len(moments))
        # Also at a journal's very moment: it belongs to what begins there.
        cuts = sorted({*chance.sample(moments, min(3, len(moments))), moments[-1]})
        for owner in range(MERCHANTS):
            for currency in DIGITS:
                user_id = self.desk.merchants[owner].id
                whole = read(connection, user_id, currency, start, None)
                prove(connection, whole)
                self.compare(owner, currency, whole)
                parts = self.parts(connection, user_id, currency, [start, *cuts])
                assert [astuple(each)[1:-1] for _, part, _ in parts for each in part] == [
                    astuple(each)[1:-1] for each in whole[1]
                ]

    def parts(
        self, connection: Connection, user_id: UUID, currency: str, cuts: list[datetime]
    ) -> list[Read]:
        parts = [
            read(connection, user_id, currency, start, end)
            for start, end in zip(cuts, [*cuts[1:], None], strict=True)
        ]
        for part in parts:
            prove(connection, part)
        for (_, _, foot), (head, _, _) in pairwise(parts):
            assert (foot.available, foot.reserved) == (head.available, head.reserved)
        return parts

    def compare(self, owner: int, currency: str, whole: Read) -> None:
        """The whole history comes to what the model has."""

        def mine(all_: Any) -> list[Any]:
            return [e for e in all_ if (e.owner, e.currency) == (owner, currency)]

        model, (_, _, foot) = self.model, whole
        paid = [each for each in mine(model.payments.values()) if each.status == "confirmed"]
        refunds = [refund for refund in model.refunds.values() if mine([model.payments[refund[0]]])]
        out = [
            each.amount
            for each in mine(model.payouts.values())
            if each.status in ("pending", "approved", "paid")
        ]
        totals = foot.totals
        assert totals.gross == sum(each.amount for each in paid)
        assert totals.commission == sum(each.commission for each in paid)
        assert totals.refunded == sum(amount for _, amount, _ in refunds)
        assert totals.commission_returned == sum(part for _, _, part in refunds)
        assert totals.paid_out == sum(out)
        assert totals.adjusted == sum(
            each.amount for each in mine(model.adjustments.values()) if each.status == "posted"
        )
        assert foot.available == model.available(owner, currency)
        assert foot.reserved == model.accounts[owner, currency, "pending_payout"]


@pytest.fixture
def statements(
    engine: Engine, superuser: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> type[Statements]:
    monkeypatch.setattr(statement_service, "FIRST_BATCH", 1)
    monkeypatch.setattr(statement_service, "LARGEST_BATCH", 3)
    monkeypatch.setattr(statement_opening, "PAGE", 4)
    monkeypatch.setattr(statement_opening, "FIRST_LOOK", 2)

    class Machine(Statements):
        pass

    Machine.engine, Machine.superuser, Machine.keyring = engine, superuser, keyring
    return Machine


# A run costs more than the machine's own: each tells some forty statements at its end.
FEW = settings(SHORT, max_examples=3, stateful_step_count=50)


@pytest.mark.timeout(600)
def test_statements_equal_the_ledger(statements: type[Statements]) -> None:
    walk(statements, 60, FEW)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_statements_equal_the_ledger_for_long(statements: type[Statements]) -> None:
    walk(statements, 10_000)
