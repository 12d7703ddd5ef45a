"""The service against a plain model, step by step, on real PostgreSQL."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart import money
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.errors import IdConflict, IdempotencyKeyReused, NotFound, NotPending
from standart.models import Role
from standart.services import ledger_service, transaction_list, transaction_service, user_service
from standart.services.access import SYSTEM
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.transaction_request import NewTransaction
from standart.states import TransactionStatus
from tests.builders import ORIGIN, TestUser, empty, make_user, overdue, row_counts
from tests.integration.books import findings
from tests.integration.concurrency import outcome

MERCHANTS = 2
CURRENCIES = {"RUB": 2, "JPY": 0, "KWD": 3}


@dataclass
class Expected:
    """What the model knows of a transaction: amounts are in minor units."""

    owner: int
    amount: int
    currency: str
    rate: Decimal
    status: str = "pending"
    overdue: bool = False
    reason: str | None = None

    @property
    def commission(self) -> int:
        doubled = Decimal(self.amount) * self.rate * 2
        return (int(doubled) + 1) // 2  # half-up by whole halves

    @property
    def seen(self) -> str:
        return "expired" if self.overdue else self.status


amounts = st.one_of(
    st.integers(1, 200), st.integers(1, 10**15), st.sampled_from([1, 50, 150, 250, 10**15])
)
rates = st.sampled_from(["0", "0.03", "0.05", "0.005", "0.5", "0.333333", "1"])


class Books(RuleBasedStateMachine):
    """Create, confirm, cancel, expire, fold and repeat in every order."""

    engine: Engine
    superuser: Engine
    keyring: Keyring

    ids = Bundle("ids")
    requests = Bundle("requests")

    @initialize(chosen=st.lists(rates, min_size=MERCHANTS, max_size=MERCHANTS))
    def begin(self, chosen: list[str]) -> None:
        self.model: dict[UUID, Expected] = {}
        self.settled: dict[tuple[int, str], int] = defaultdict(int)
        self.endings = 0
        self.unfolded = 0
        self.entries = 0
        self.admin = make_user(self.engine, self.keyring, role=Role.ADMIN)
        self.merchants = [make_user(self.engine, self.keyring, rate=rate) for rate in chosen]
        self.rates = [Decimal(rate) for rate in chosen]

    def teardown(self) -> None:
        try:
            if hasattr(self, "model"):
                assert findings(self.engine) == []
                with autocommit(self.engine) as connection:
                    self.compare_rows(connection)
        finally:
            empty(self.superuser)

    # -- what a client does

    @rule(
        target=ids,
        owner=st.integers(0, MERCHANTS - 1),
        amount=amounts,
        currency=st.sampled_from([*CURRENCIES]),
        by_admin=st.booleans(),
    )
    def create(self, owner: int, amount: int, currency: str, by_admin: bool) -> UUID:
        chosen = uuid4()
        answer = self.ask_to_create(owner, amount, currency, chosen, by_admin)
        assert (answer.status, answer.replayed) == (201, False)
        self.remember(owner, amount, currency, answer, chosen)
        return chosen

    @rule(
        target=requests,
        owner=st.integers(0, MERCHANTS - 1),
        amount=amounts,
        currency=st.sampled_from([*CURRENCIES]),
    )
    def create_with_a_key(self, owner: int, amount: int, currency: str) -> Any:
        claim = IdempotencyClaim.of("/create_transaction", str(uuid4()), b"body")
        answer = self.ask_to_create(owner, amount, currency, None, False, claim)
        assert (answer.status, answer.replayed) == (201, False)
        self.remember(owner, amount, currency, answer)
        return owner, amount, currency, claim, answer.body

    @rule(request=requests)
    def repeat_with_the_key(self, request: Any) -> None:
        owner, amount, currency, claim, body = request
        answer = self.ask_to_create(owner, amount, currency, None, False, claim)
        assert answer == Answer(201, body, replayed=True)

    @rule(request=requests)
    def use_the_key_for_something_else(self, request: Any) -> None:
        owner, amount, currency, claim, _ = request
        other = IdempotencyClaim.of(claim.path, claim.key, b"other body")
        with pytest.raises(IdempotencyKeyReused):
            self.ask_to_create(owner, amount, currency, None, False, other)

    @rule(target=ids, request=consumes(requests))
    def go_on_with_a_keyed_one(self, request: Any) -> UUID:
        return UUID(json.loads(request[-1])["id"])

    @rule(id_=ids)
    def repeat_the_id(self, id_: UUID) -> None:
        known = self.model[id_]
        answer = self.ask_to_create(known.owner, known.amount, known.currency, id_, False)
        assert answer.status == 200
        assert json.loads(answer.body)["status"] == known.seen

    @rule(id_=ids, owner=st.integers(0, MERCHANTS - 1), more=st.integers(0, 1))
    def use_the_id_for_something_else(self, id_: UUID, owner: int, more: int) -> None:
        known = self.model[id_]
        if more == 0 and owner == known.owner:
            more = 1
        amount = known.amount + more if known.amount < money.MAX_MINOR else known.amount - more
        with pytest.raises(IdConflict):
            self.ask_to_create(owner, amount, known.currency, id_, False)

    @rule(id_=ids, keyed=st.booleans())
    def confirm(self, id_: UUID, keyed: bool) -> None:
        claim = IdempotencyClaim.of("/confirm_transaction", str(uuid4()), b"") if keyed else None
        before = self.model[id_].seen
        self.settle("confirmed", id_, transaction_service.confirm, self.admin, claim=claim)
        if before == "pending":
            known = self.model[id_]
            net = known.amount - known.commission
            self.settled[known.owner, known.currency] += net
            lines = 1 + (net > 0) + (known.commission > 0)
            self.unfolded += lines
            self.entries += lines

    @rule(id_=ids, by_admin=st.booleans(), reason=st.sampled_from([None, "so"]))
    def cancel(self, id_: UUID, by_admin: bool, reason: str | None) -> None:
        caller = self.admin if by_admin else self.merchants[self.model[id_].owner]
        if self.model[id_].seen == "pending":
            self.model[id_].reason = reason
        self.settle("canceled", id_, transaction_service.cancel, caller, reason=reason)

    @rule(id_=ids)
    def try_as_a_stranger(self, id_: UUID) -> None:
        stranger = self.merchants[1 - self.model[id_].owner]
        with autocommit(self.engine) as connection:
            for act in (transaction_service.check, transaction_service.cancel):
                with pytest.raises(NotFound):
                    act(connection, stranger.digest, ORIGIN, id_)

    @rule(owner=st.integers(0, MERCHANTS - 1), rate=rates)
    def change_the_rate(self, owner: int, rate: str) -> None:
        with Session(self.engine) as session, transaction(session):
            user = user_service.get_user(session, self.merchants[owner].id)
            user_service.update_user(session, SYSTEM, user, commission_rate=Decimal(rate))
        self.rates[owner] = Decimal(rate)

    # -- what time and the sweeps do

    @rule(some=st.lists(ids, min_size=1, max_size=4))
    def let_their_time_run_out(self, some: list[UUID]) -> None:
        for id_ in some:
            known = self.model[id_]
            if known.status == "pending" and not known.overdue:
                overdue(self.superuser, str(id_))
                known.overdue = True

    @rule(batch=st.integers(1, 3))
    def sweep(self, batch: int) -> None:
        due = [known for known in self.model.values() if known.overdue]
        with autocommit(self.engine) as connection:
            ended = transaction_service.expire_overdue(connection, batch=batch)
        assert ended == min(batch, len(due))
        if ended == len(due):
            for known in due:
                known.overdue, known.status = False, "expired"
            self.endings += ended
        else:
            self.find_out_which()

    @precondition(lambda self: self.unfolded)
    @rule(batch=st.integers(1, 9))
    def fold(self, batch: int) -> None:
        with autocommit(self.engine) as connection:
            folded = ledger_service.fold_deltas(connection, batch=batch)
        assert folded == min(batch, self.unfolded)
        self.unfolded -= folded

    # -- what must hold after every step

    @invariant()
    def balances_equal_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        with autocommit(self.engine) as connection:
            for number, merchant in enumerate(self.merchants):
                expected = {
                    currency: net
                    for (owner, currency), net in self.settled.items()
                    if owner == number
                }
                found = dict(ledger_service.balances(connection, merchant.actor))
                assert {c: n for c, n in found.items() if n} == {
                    c: n for c, n in expected.items() if n
                }
            counts = row_counts(connection)
        assert counts["transactions"] == len(self.model)
        assert counts["events"] == self.endings
        assert counts["entries"] == self.entries
        assert counts["balance_deltas"] == self.unfolded

    # -- helpers

    def ask_to_create(
        self,
        owner: int,
        amount: int,
        currency: str,
        chosen: UUID | None,
        by_admin: bool,
        claim: IdempotencyClaim | None = None,
    ) -> Answer:
        merchant = self.merchants[owner]
        new = NewTransaction(
            amount=money.format_minor(amount, currency),
            currency=currency,
            id=chosen,
            user_id=merchant.id if by_admin else None,
        )
        caller = self.admin if by_admin else merchant
        with autocommit(self.engine) as connection:
            return transaction_service.create(
                connection, caller.digest, ORIGIN, new, ttl_seconds=900, claim=claim
            )

    def remember(
        self, owner: int, amount: int, currency: str, answer: Answer, chosen: UUID | None = None
    ) -> None:
        body = json.loads(answer.body)
        id_ = UUID(body["id"])
        assert chosen in (None, id_)
        self.model[id_] = Expected(owner, amount, currency, self.rates[owner])
        self.compare(id_, body)

    def settle(self, ending: str, id_: UUID, act: Any, caller: TestUser, **options: Any) -> None:
        known = self.model[id_]
        if known.seen == "pending":
            known.status = ending
            self.endings += 1
        with autocommit(self.engine) as connection:
            answer = outcome(lambda: act(connection, caller.digest, ORIGIN, id_, **options))
        if known.seen == ending:
            assert answer.status == 200
            self.compare(id_, json.loads(answer.body))
        else:
            assert isinstance(answer, NotPending)
            assert answer.members == {"transaction_status": known.seen}

    def find_out_which(self) -> None:
        """A sweep of a part takes the longest overdue; the model does not know their times."""
        with autocommit(self.engine) as connection:
            swept = connection.scalars(text("SELECT id FROM transactions WHERE status = 'expired'"))
            for id_ in swept:
                known = self.model[id_]
                assert known.overdue or known.status == "expired"
                if known.overdue:
                    known.overdue, known.status = False, "expired"
                    self.endings += 1

    def compare(self, id_: UUID, body: dict[str, Any]) -> None:
        known = self.model[id_]
        net = known.amount - known.commission
        assert body["user_id"] == str(self.merchants[known.owner].id)
        assert body["amount"] == money.format_minor(known.amount, known.currency)
        assert body["commission"] == money.format_minor(known.commission, known.currency)
        assert body["net"] == money.format_minor(net, known.currency)
        assert body["status"] == known.seen
        assert body["reason"] == known.reason
        assert (body["finished_at"] is None) == (known.seen == "pending")
        assert known.seen != "expired" or body["finished_at"] == body["expires_at"]

    def compare_rows(self, connection: Connection) -> None:
        listed = transaction_list.list_transactions(
            connection, self.admin.actor, limit=len(self.model) + 1
        )
        assert {id_ for _, _, id_ in listed} == set(self.model)
        for body, _, id_ in listed:
            self.compare(id_, json.loads(body))
        for status in TransactionStatus:
            rows = transaction_list.list_transactions(
                connection, self.admin.actor, status=status, limit=len(self.model) + 1
            )
            wanted = {id_ for id_, known in self.model.items() if known.seen == status.value}
            assert {id_ for _, _, id_ in rows} == wanted


@pytest.fixture
def books(engine: Engine, superuser: Engine, keyring: Keyring) -> Iterator[type[Books]]:
    Books.engine, Books.superuser, Books.keyring = engine, superuser, keyring
    yield Books
    del Books.engine, Books.superuser, Books.keyring


SHORT = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    print_blob=True,
)


@pytest.mark.timeout(300)
def test_the_service_does_what_the_model_says(books: type[Books]) -> None:
    run_state_machine_as_test(books, settings=SHORT)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_service_does_what_the_model_says_for_long(books: type[Books]) -> None:
    long = settings(SHORT, max_examples=400, stateful_step_count=80, phases=tuple(Phase))
    run_state_machine_as_test(books, settings=long)
