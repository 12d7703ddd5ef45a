"""Many at once on one row, one key, one account: exactly one wins, nothing is lost."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.errors import IdempotencyKeyInFlight, NotPending
from standart.services import guarded, ledger_service, transaction_service, webhook_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.transaction_request import NewTransaction
from standart.services.webhook_work import AttemptResult
from tests.builders import (
    ORIGIN,
    SHORT,
    TestUser,
    make_transaction,
    make_user,
    overdue,
    row_counts,
)
from tests.integration.books import findings
from tests.integration.concurrency import (
    PATIENCE,
    blocked,
    outcome,
    together,
    uncommitted,
    wait_until,
)

CROWD = 50
ENDINGS = {"confirmed", "canceled", "expired"}


def with_connection(engine: Engine, act: Callable[[Connection], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with autocommit(engine) as connection:
            return act(connection)

    return run


def confirm(engine: Engine, admin: TestUser, id_: UUID, **options: Any) -> Callable[[], Answer]:
    return with_connection(
        engine,
        lambda own: transaction_service.confirm(own, admin.digest, ORIGIN, id_, **options),
    )


def cancel(engine: Engine, caller: TestUser, id_: UUID) -> Callable[[], Answer]:
    return with_connection(
        engine, lambda own: transaction_service.cancel(own, caller.digest, ORIGIN, id_)
    )


def expire(engine: Engine) -> Callable[[], int]:
    return with_connection(engine, transaction_service.expire_overdue)


def statuses(connection: Connection) -> Counter[str]:
    rows = connection.execute(text("SELECT status, count(*) FROM transactions GROUP BY 1"))
    return Counter({row.status: row.count for row in rows})


# Every second round is overdue a few microseconds into the race: expiry takes part for real.
ALMOST_OVERDUE = text(
    "UPDATE transactions SET created_at = created_at - interval '1 minute',"
    " expires_at = clock_timestamp() + make_interval(secs => :seconds) WHERE id = :id"
)


def test_of_confirms_cancel_and_sweeps_exactly_one_ends_a_transaction(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
) -> None:
    rounds = 200
    wins: Counter[str] = Counter()
    made = [UUID(make_transaction(engine, merchant)["id"]) for _ in range(rounds)]
    barrier = threading.Barrier(6)

    def racer(act: Callable[[Connection, UUID], Any]) -> list[Any]:
        seen = []
        with autocommit(engine) as own:
            for number, id_ in enumerate(made):
                if barrier.wait(PATIENCE) == 0 and number % 2:
                    with superuser.begin() as other:
                        other.execute(text("SET LOCAL session_replication_role = replica"))
                        other.execute(ALMOST_OVERDUE, {"id": id_, "seconds": 0.0005 * (number % 9)})
                barrier.wait(PATIENCE)
                seen.append(outcome(lambda id_=id_: act(own, id_)))
        return seen

    def confirming(own: Connection, id_: UUID) -> Answer:
        return transaction_service.confirm(own, admin.digest, ORIGIN, id_)

    def canceling(own: Connection, id_: UUID) -> Answer:
        return transaction_service.cancel(own, merchant.digest, ORIGIN, id_)

    def sweeping(own: Connection, id_: UUID) -> int:
        return transaction_service.expire_overdue(own)

    acts = [confirming, canceling, sweeping, confirming, canceling, sweeping]
    with ThreadPoolExecutor(len(acts)) as pool:
        seen = list(pool.map(racer, acts))
    transaction_service.expire_overdue(connection)

    for number, id_ in enumerate(made):
        kept = json.loads(transaction_service.check(connection, admin.digest, ORIGIN, id_).body)
        wins[kept["status"]] += 1
        assert kept["status"] in ENDINGS
        for answers, ending in zip(seen, ["confirmed", "canceled", None] * 2, strict=True):
            answer = answers[number]
            if isinstance(answer, Answer):
                assert json.loads(answer.body) == kept
                assert kept["status"] == ending
            elif ending:
                assert isinstance(answer, NotPending)
                assert answer.members == {"transaction_status": kept["status"]}

    counts = row_counts(connection)
    assert counts["events"] == rounds
    assert counts["journals"] == wins["confirmed"]
    assert ledger_service.balances(connection, merchant.actor) == [
        ("RUB", 9700 * wins["confirmed"])
    ]
    assert findings(engine) == []
    assert len(wins) > 1, "the race had the same winner each time: it was none"


@pytest.mark.parametrize("replays", [False, True], ids=["new", "kept"])
def test_one_key_has_one_effect_and_one_answer(
    connection: Connection, engine: Engine, merchant: TestUser, replays: bool
) -> None:
    claim = IdempotencyClaim.of("/create_transaction", "k", b"{}")

    def create(own: Connection) -> Answer:
        new = NewTransaction(amount="100.00")
        return transaction_service.create(
            own, merchant.digest, ORIGIN, new, ttl_seconds=900, claim=claim
        )

    if replays:
        create(connection)
    seen = together([with_connection(engine, create)] * CROWD)

    answers = [answer for answer in seen if isinstance(answer, Answer)]
    refused = [answer for answer in seen if not isinstance(answer, Answer)]
    assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    assert sum(not answer.replayed for answer in answers) == (0 if replays else 1)
    assert all(isinstance(error, IdempotencyKeyInFlight) for error in refused)
    assert not (replays and refused)
    counts = row_counts(connection)
    assert (counts["transactions"], counts["idempotency_keys"]) == (1, 1)


def test_one_key_confirms_once(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = UUID(make_transaction(engine, merchant)["id"])
    claim = IdempotencyClaim.of("/confirm_transaction", "k", b"{}")

    seen = together([confirm(engine, admin, made, claim=claim)] * CROWD)

    answers = [answer for answer in seen if isinstance(answer, Answer)]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert all(isinstance(answer, Answer | IdempotencyKeyInFlight) for answer in seen), Counter(
        type(answer) for answer in seen
    )
    assert row_counts(connection)["journals"] == 1
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9700)]


@pytest.mark.parametrize("keyed", [False, True])
def test_one_id_makes_one_transaction(
    connection: Connection, engine: Engine, merchant: TestUser, keyed: bool
) -> None:
    new = NewTransaction(amount="100.00", id=uuid4(), reference="r")

    def create(number: int) -> Callable[[], Answer]:
        claim = IdempotencyClaim.of("/create_transaction", f"k-{number}", b"{}")
        return with_connection(
            engine,
            lambda own: transaction_service.create(
                own,
                merchant.digest,
                ORIGIN,
                new,
                ttl_seconds=900,
                claim=claim if keyed else None,
            ),
        )

    seen = together([create(number) for number in range(CROWD)])

    assert Counter(answer.status for answer in seen) == {201: 1, 200: CROWD - 1}
    assert len({answer.body for answer in seen}) == 1
    counts = row_counts(connection)
    assert (counts["transactions"], counts["idempotency_keys"]) == (1, CROWD if keyed else 0)


def test_a_key_that_was_held_only_for_a_moment_is_tried_again(
    connection: Connection, engine: Engine, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = NewTransaction(amount="100.00", id=uuid4())
    claim = IdempotencyClaim.of("/create_transaction", "k", b"{}")
    authenticate = guarded.key_service.authenticate

    with uncommitted(engine) as other:
        other.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"{merchant.id} /create_transaction k"},
        )

        def let_go_first(*arguments: Any) -> Any:
            other.rollback()
            return authenticate(*arguments)

        monkeypatch.setattr(guarded.key_service, "authenticate", let_go_first)
        answer = transaction_service.create(
            connection, merchant.digest, ORIGIN, new, ttl_seconds=900, claim=claim
        )

    assert answer.status == 201


def test_a_storm_of_confirms_leaves_the_balance_exact(
    connection: Connection, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    made = [UUID(make_transaction(engine, merchant)["id"]) for _ in range(240)]
    parts = [made[part::24] for part in range(24)]
    done = threading.Event()

    def confirm_part(part: list[UUID]) -> list[Any]:
        with autocommit(engine) as own:
            return [
                outcome(lambda id_=id_: transaction_service.confirm(own, admin.digest, ORIGIN, id_))
                for id_ in part
            ]

    def fold_on() -> int:
        total = 0
        with autocommit(engine) as own:
            while not done.is_set():
                total += ledger_service.fold_deltas(own, batch=11)
        return total

    with ThreadPoolExecutor(len(parts) + 3) as pool:
        folders = [pool.submit(fold_on) for _ in range(3)]
        seen = [answer for part in pool.map(confirm_part, parts) for answer in part]
        done.set()
        folded = sum(folder.result() for folder in folders)

    assert [answer for answer in seen if not isinstance(answer, Answer)] == []
    balance = [("RUB", 9700 * len(made))]
    assert ledger_service.balances(connection, merchant.actor) == balance
    folded += ledger_service.fold_deltas(connection)
    assert folded == 3 * len(made)
    assert ledger_service.balances(connection, merchant.actor) == balance
    assert findings(engine) == []


def test_sweepers_share_the_work_and_double_nothing(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    shop = make_user(engine, keyring, webhook_url="https://shop.example/")
    made = [make_transaction(engine, shop)["id"] for _ in range(300)]
    with superuser.begin() as other:
        other.execute(text("SET LOCAL session_replication_role = replica"))
        other.execute(
            text(
                "UPDATE transactions SET created_at = created_at - interval '1 day',"
                " expires_at = clock_timestamp() - interval '1 second'"
            )
        )

    def sweep(own: Connection) -> int:
        total = 0
        for _ in made:
            ended = transaction_service.expire_overdue(own, batch=7)
            total += ended
            if ended == 0:
                break
        return total

    shares = together([with_connection(engine, sweep)] * 4)

    assert sum(shares) == len(made)
    assert statuses(connection) == {"expired": len(made)}
    counts = row_counts(connection)
    assert (counts["events"], counts["deliveries"]) == (len(made), len(made))
    assert findings(engine) == []


def test_dispatchers_lease_each_delivery_once(
    connection: Connection, engine: Engine, keyring: Keyring
) -> None:
    shop = make_user(engine, keyring, webhook_url="https://shop.example/")
    delivered = AttemptResult("delivered", 200, "", "", 1)
    for _ in range(60):
        made = make_transaction(engine, shop)
        transaction_service.cancel(connection, shop.digest, ORIGIN, UUID(made["id"]))

    def dispatch(own: Connection) -> list[UUID]:
        claimed = []
        while batch := webhook_service.claim_due(own, keyring, batch=5).deliveries:
            claimed += [delivery.id for delivery in batch]
            webhook_service.record_attempts(
                own, [(each, delivered) for each in batch], schedule=(5,)
            )
        return claimed

    shares = together([with_connection(engine, dispatch)] * 4)

    claimed = [id_ for share in shares for id_ in share]
    assert len(claimed) == len(set(claimed)) == 60


@pytest.mark.parametrize("rival", ["confirm", "cancel"])
def test_who_waits_for_a_rival_learns_its_outcome(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    rival: str,
) -> None:
    made = UUID(make_transaction(engine, merchant)["id"])
    second = cancel(engine, merchant, made) if rival == "confirm" else confirm(engine, admin, made)
    first = transaction_service.confirm if rival == "confirm" else transaction_service.cancel

    with uncommitted(engine) as holder:
        answer = first(holder, admin.digest, ORIGIN, made)
        with blocked(superuser, second) as waiting:
            holder.commit()

    refused = waiting.result()
    assert isinstance(refused, NotPending)
    assert refused.members == {"transaction_status": json.loads(answer.body)["status"]}
    assert row_counts(connection)["events"] == 1


def test_who_waits_for_a_rival_that_rolls_back_wins(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
) -> None:
    made = UUID(make_transaction(engine, merchant)["id"])
    with uncommitted(engine) as holder:
        transaction_service.cancel(holder, merchant.digest, ORIGIN, made)
        with blocked(superuser, confirm(engine, admin, made)) as waiting:
            holder.rollback()

    assert json.loads(waiting.result().body)["status"] == "confirmed"
    assert ledger_service.balances(connection, merchant.actor) == [("RUB", 9700)]
    assert findings(engine) == []


def test_a_sweep_leaves_a_row_that_is_just_being_settled(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
) -> None:
    made = make_transaction(engine, merchant)["id"]
    overdue(superuser, made)
    with uncommitted(engine) as first:
        assert transaction_service.expire_overdue(first) == 1
        assert expire(engine)() == 0
        first.rollback()

    assert expire(engine)() == 1
    assert row_counts(connection)["events"] == 1


def test_a_repeated_id_waits_for_a_confirm_that_began_meanwhile(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    merchant: TestUser,
    admin: TestUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new = NewTransaction(amount="100.00", id=uuid4())
    authenticate = guarded.key_service.authenticate
    is_overdue = text("SELECT expires_at <= clock_timestamp() FROM transactions")

    def create(own: Connection, ttl: int) -> Answer:
        return transaction_service.create(own, merchant.digest, ORIGIN, new, ttl_seconds=ttl)

    create(connection, SHORT)
    with uncommitted(engine) as confirming:

        def confirm_first(*arguments: Any) -> Any:
            transaction_service.confirm(confirming, admin.digest, ORIGIN, new.id)
            wait_until(lambda: bool(connection.scalar(is_overdue)))
            return authenticate(*arguments)

        monkeypatch.setattr(guarded.key_service, "authenticate", confirm_first)
        with blocked(superuser, with_connection(engine, lambda own: create(own, 900))) as waiting:
            confirming.commit()

    assert json.loads(waiting.result().body)["status"] == "confirmed"


def test_a_request_that_died_leaves_its_key_free(
    connection: Connection, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    claim = IdempotencyClaim.of("/create_transaction", "k", b"{}")

    def create(own: Connection) -> Answer:
        new = NewTransaction(amount="100.00")
        return transaction_service.create(
            own, merchant.digest, ORIGIN, new, ttl_seconds=900, claim=claim
        )

    with uncommitted(engine) as dying:
        lost = create(dying)
        assert isinstance(outcome(lambda: create(connection)), IdempotencyKeyInFlight)
        process = dying.scalar(text("SELECT pg_backend_pid()"))
        with superuser.begin() as other:
            other.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
        dying.invalidate()

    answer = create(connection)
    assert (answer.status, answer.replayed) == (201, False)
    assert answer.body != lost.body
    assert row_counts(connection)["transactions"] == 1
