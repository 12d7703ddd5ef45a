"""The main job from end to end: `standart up`, four endings, webhooks, a crash, and the books."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from standart.db import autocommit
from standart.services import ledger_service, transaction_service
from tests.acceptance.checker import check
from tests.acceptance.load import ClientLog, Load
from tests.acceptance.processes import until
from tests.acceptance.receiver import Receiver, receiver
from tests.acceptance.trees import Tree, planted

ENOUGH_ACTS = 60

# The others wait until the leases of the killed worker end by themselves.
QUICK_SEEDS = (1, 2)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with planted(tmp_path) as tree:
        yield tree


@pytest.fixture
def sink() -> Iterator[Receiver]:
    with receiver() as sink:
        yield sink


@pytest.mark.timeout(300)
def test_fifty_transactions_through_all_four_endings(tree: Tree, sink: Receiver) -> None:
    tree.start(STANDART_TRANSACTION_TTL_SECONDS="2")
    sink.secret = tree.open_shop(sink.url).webhook_secret
    expiring = [tree.merchant.create(f"{number}.37") for number in range(1, 14)]
    ends = {each["id"]: "expired" for each in expiring}
    until(lambda: set(sink.ids) >= ends.keys(), "webhooks of the expired ones")
    tree.stop()
    tree.start(STANDART_TRANSACTION_TTL_SECONDS="900")
    made = [tree.merchant.create(f"{number}.91", reference=f"n{number}") for number in range(37)]
    confirmed, canceled, pending = made[:15], made[15:28], made[28:]
    for each in confirmed:
        assert (
            _status(tree.operator.post("/confirm_transaction", {"id": each["id"]})) == "confirmed"
        )
    for each in canceled:
        assert _status(tree.merchant.post("/cancel_transaction", {"id": each["id"]})) == "canceled"
    ends |= {each["id"]: "confirmed" for each in confirmed}
    ends |= {each["id"]: "canceled" for each in canceled}
    until(lambda: set(sink.ids) >= ends.keys(), "webhooks of the settled ones")

    assert sorted(sink.ids) == sorted(ends), "each ending is told once, and nothing else"
    for received in sink.seen():
        _expect_right(received.json, ends)
    states = ends | {each["id"]: "pending" for each in pending}
    assert len(states) == 50
    for transaction_id, status in states.items():
        assert _status(tree.merchant.get("/check_transaction", id=transaction_id)) == status
    assert _balance(tree) == sum(Decimal(each["net"]) for each in confirmed)
    _expect_right_books(tree, sink)
    tree.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "seed", [*QUICK_SEEDS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 21))]
)
def test_killing_everything_under_load_loses_nothing(seed: int, tree: Tree, sink: Receiver) -> None:
    chance = random.Random(seed)
    short_lives = {"STANDART_TRANSACTION_TTL_SECONDS": "3"}
    tree.start(**short_lives)
    sink.secret = tree.open_shop(sink.url).webhook_secret
    log = ClientLog()
    with Load(tree.merchant, tree.operator, log, seed).running() as load:
        load.has_acknowledged(ENOUGH_ACTS + chance.randrange(ENOUGH_ACTS))
        killed = tree.kill(chance)
        load.comes(lambda: len(log.unknown) > 0, "a request whose outcome is unknown")
    assert killed >= 8, "supervisor, watchdog, engines with their children, API and worker"
    tree.start(**short_lives)
    assert log.replay() >= ENOUGH_ACTS
    with tree.database() as database:
        check(database, clients=log)  # unknown outcomes: there once, or not at all
        log.settle()
        if seed in QUICK_SEEDS:
            _end_leases(database)
        _wait_for_quiet(database)
        assert _sweeps_change_nothing(database)
    _expect_right_books(tree, sink, log)
    tree.stop()


def _status(reply: Any) -> str:
    assert reply.status == 200, reply
    return str(reply.json["status"])


def _expect_right(told: dict[str, Any], ends: dict[str, str]) -> None:
    status = ends[told["id"]]
    assert told["status"] == status
    assert told["type"] == f"transaction.{status}"
    assert told["data"]["id"] == told["id"]
    assert told["data"]["status"] == status
    assert told["data"]["finished_at"] == told["timestamp"]


def _balance(tree: Tree) -> Decimal:
    reply = tree.merchant.get("/balance")
    assert reply.status == 200
    [balance] = reply.json["balances"]
    assert balance["currency"] == "RUB"
    return Decimal(balance["balance"])


def _expect_right_books(tree: Tree, sink: Receiver, log: ClientLog | None = None) -> None:
    """The checker from outside, and the product's own proof (exit code 0)."""
    with tree.database() as database:
        check(
            database,
            clients=log,
            receiver=sink,
            user_id=tree.shop.id,
            swept=log is not None,
            logs=tree.logs,
            secrets=tree.secrets,
        )
    tree.command("verify")


def _end_leases(database: Engine) -> None:
    """Let the time of the killed worker's leases run out without waiting for it."""
    with autocommit(database) as connection:
        connection.execute(
            text(
                "UPDATE deliveries SET next_attempt_at = clock_timestamp()"
                " WHERE lease IS NOT NULL AND next_attempt_at > clock_timestamp()"
            )
        )


def _wait_for_quiet(database: Engine) -> None:
    """Until nothing is due any more: all expired, all webhooks told, all deltas folded."""
    waiting = text(
        "SELECT (SELECT count(*) FROM transactions WHERE status = 'pending')"
        " + (SELECT count(*) FROM deliveries WHERE state = 'waiting')"
        " + (SELECT count(*) FROM balance_deltas)"
    )

    def quiet() -> bool:
        with autocommit(database) as connection:
            return not connection.scalar(waiting)

    until(quiet, "everything is swept, sent and folded", patience=90)


def _sweeps_change_nothing(database: Engine) -> bool:
    """Sweep twice by hand; when all was done before, neither finds anything."""
    with autocommit(database) as connection:
        done = [
            sweep(connection)
            for _ in range(2)
            for sweep in (transaction_service.expire_overdue, ledger_service.fold_deltas)
        ]
    return done == [0, 0, 0, 0]
