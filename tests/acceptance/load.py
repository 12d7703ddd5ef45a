"""Clients under load, and what they remember: the only proof of what was acknowledged."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.acceptance.client import LOST, Client, Reply
from tests.acceptance.processes import until

# Currencies of two, none and three digits, with amounts whose commission must be rounded.
AMOUNTS = {
    "RUB": ["0.01", "0.17", "100.00", "16.50", "999999.99"],
    "JPY": ["1", "17", "50", "123457"],
    "KWD": ["0.001", "1.017", "16.500", "99.999"],
}

CREATE, CANCEL, CONFIRM, CHECK = (
    "/create_transaction",
    "/cancel_transaction",
    "/confirm_transaction",
    "/check_transaction",
)
REFUSALS = ("not_pending", "idempotency_key_in_flight")


@dataclass
class Act:
    """One POST with its own idempotency key; without a reply its outcome is unknown."""

    client: Client
    path: str
    key: str
    body: dict[str, Any]
    reply: Reply | None = None

    @property
    def acknowledged(self) -> bool:
        return self.reply is not None and self.reply.status < 300

    def send(self) -> Reply | None:
        """Send it, for the first time or again, with the same key and body."""
        try:
            return self.client.post(self.path, self.body, self.key)
        except LOST:
            return None


@dataclass
class ClientLog:
    """What clients have sent and heard."""

    acts: list[Act] = field(default_factory=list)
    surprises: list[Reply] = field(default_factory=list)
    checks: int = 0
    _changed: threading.Lock = field(default_factory=threading.Lock)

    def add(self, act: Act) -> None:
        with self._changed:
            self.acts.append(act)

    def judge(self, reply: Reply | None) -> None:
        """Keep an answer that nobody should ever hear, fault or none."""
        if reply is None or reply.status < 300 or reply.tells_to_wait:
            return
        if reply.status == 409 and reply.json["code"] in REFUSALS:
            return
        with self._changed:
            self.surprises.append(reply)

    @property
    def acknowledged(self) -> list[Act]:
        return [act for act in self.acts if act.acknowledged]

    @property
    def unknown(self) -> list[Act]:
        return [act for act in self.acts if act.reply is None]

    @property
    def refused(self) -> list[Act]:
        return [act for act in self.acts if act.reply and act.reply.tells_to_wait]

    def created(self) -> list[dict[str, Any]]:
        """The transactions as their 201 answers showed them."""
        return [act.reply.json for act in self.acknowledged if act.reply and act.path == CREATE]

    def replay(self) -> int:
        """Ask for every acknowledged answer again: equal to the byte, and marked as kept."""
        for act in self.acknowledged:
            again = act.send()
            assert again is not None, act
            assert act.reply is not None
            assert (again.status, again.body) == (act.reply.status, act.reply.body), act
            assert again.replayed, act
        return len(self.acknowledged)

    def settle(self) -> int:
        """Repeat what is unknown or was put off, as a client would, until it has an answer."""
        open_acts = [*self.unknown, *self.refused]
        for act in open_acts:
            act.reply = until(partial(_final, act), f"an answer to {act.key}")
            self.judge(act.reply)
        return len(open_acts)


def _final(act: Act) -> Reply | None:
    """The answer to ``act`` sent again, unless it only says that it is too early to ask."""
    reply = act.send()
    if reply is None or reply.tells_to_wait:
        return None
    in_flight = reply.status == 409 and reply.json["code"] == "idempotency_key_in_flight"
    return None if in_flight else reply


@dataclass
class Load:
    """Threads that create transactions and settle most of them, until they are stopped."""

    merchant: Client
    operator: Client | None
    log: ClientLog
    seed: int | str
    threads: int = 4
    _stop: threading.Event = field(default_factory=threading.Event)
    _failures: list[BaseException] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Load]:
        workers = [
            threading.Thread(target=self._work, args=(number,)) for number in range(self.threads)
        ]
        for worker in workers:
            worker.start()
        try:
            yield self
        finally:
            self._stop.set()
            for worker in workers:
                worker.join()
        assert not self._failures, self._failures

    def has_acknowledged(self, more: int) -> None:
        """Wait until so many more acts than now are acknowledged."""
        wanted = len(self.log.acknowledged) + more
        self.comes(lambda: len(self.log.acknowledged) >= wanted, f"{wanted} acknowledged acts")

    def comes(self, condition: Callable[[], bool], what: str) -> None:
        until(lambda: condition() or self._failures, what)
        assert not self._failures, self._failures

    def _work(self, number: int) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        turn = 0
        try:
            while not self._stop.is_set():
                turn += 1
                self._life(chance, f"{self.seed}-{number}-{turn}")
                # Leaves some of the processors to what is being tested.
                self._stop.wait(0.02)
        except BaseException as error:  # a thread's failure is the test's
            self._failures.append(error)

    def _life(self, chance: random.Random, name: str) -> None:
        currency = chance.choice(list(AMOUNTS))
        amount = chance.choice(AMOUNTS[currency])
        body = {"amount": amount, "currency": currency, "reference": name, "metadata": {"n": name}}
        made = self._act(self.merchant, CREATE, name, body)
        if made is None or made.status != 201:
            return
        made_id = made.json["id"]
        fate = chance.choice([None, CANCEL, CONFIRM, CONFIRM])
        client = self.operator if fate == CONFIRM else self.merchant
        if fate and client:
            self._act(client, fate, f"{name}-end", {"id": made_id})
        self._check(made_id)

    def _act(self, client: Client, path: str, key: str, body: dict[str, Any]) -> Reply | None:
        act = Act(client, path, key, body)
        act.reply = act.send()
        self.log.add(act)
        self.log.judge(act.reply)
        return act.reply

    def _check(self, transaction_id: str) -> None:
        try:
            reply = self.merchant.get(CHECK, id=transaction_id)
        except LOST:
            return
        self.log.judge(reply)
        self.log.checks += reply.status == 200
