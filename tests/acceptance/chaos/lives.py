"""Lives of transactions, in the threads of clients that never give up and repeat by key."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from standart.db import autocommit
from standart.errors import NotPending
from standart.services import transaction_service
from standart.services.transaction_request import NewTransaction
from tests.acceptance.client import Client, Reply
from tests.acceptance.load import AMOUNTS, CANCEL, CONFIRM, CREATE, Act, ClientLog
from tests.acceptance.processes import until
from tests.builders import ORIGIN, TestUser

# An outage that lasts longer than this is no fault of the schedule any more.
PATIENCE = 180.0
PAUSE = 0.1

FATES = (None, CANCEL, CONFIRM)
"""None lives until it expires: the sweep tells of it."""


@dataclass(frozen=True)
class Inside:
    """A client without HTTP: it calls the services themselves, and repeats by its own id."""

    books: Engine
    user: TestUser
    ttl_seconds: int

    def post(self, path: str, body: dict[str, Any], key: str) -> Reply:
        """Do what a POST would do.

        Raises:
            ConnectionError: the database is away; the outcome is unknown.
        """
        try:
            with autocommit(self.books) as connection:
                if path == CREATE:
                    new = NewTransaction(**body, id=uuid.uuid5(uuid.NAMESPACE_OID, key))
                    answer = transaction_service.create(
                        connection, self.user.digest, ORIGIN, new, ttl_seconds=self.ttl_seconds
                    )
                else:
                    settle = {
                        CONFIRM: transaction_service.confirm,
                        CANCEL: transaction_service.cancel,
                    }[path]
                    answer = settle(connection, self.user.digest, ORIGIN, uuid.UUID(body["id"]))
        except NotPending as refusal:
            return Reply(refusal.status, {}, json.dumps({"code": refusal.code}).encode())
        except (DBAPIError, DisconnectionError, PoolTimeoutError) as error:
            raise ConnectionError from error
        return Reply(answer.status, {}, answer.body.encode())


@dataclass(frozen=True)
class Shop:
    """A merchant's two ways to create and cancel, and an operator's two to confirm."""

    outside: tuple[Client, Client]
    inside: tuple[Inside, Inside]


@dataclass
class Lives:
    """Threads that live as many lives as were allowed; each is the same in every run of a seed."""

    shops: list[Shop]
    seed: int
    outside: float
    """The share of lives that go over HTTP."""
    log: ClientLog = field(default_factory=ClientLog)
    counted: Counter[str] = field(default_factory=Counter)
    threads: int = 8
    done: int = 0
    allowed: int = 0
    _next: int = 0
    _stopped: bool = False
    _failures: list[BaseException] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def running(self) -> Iterator[Lives]:
        workers = [threading.Thread(target=self._work) for _ in range(self.threads)]
        for worker in workers:
            worker.start()
        try:
            yield self
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            for worker in workers:
                worker.join()

    def allow(self, more: int) -> None:
        with self._changed:
            self.allowed += more
            self._changed.notify_all()

    def pass_on(self, number: int) -> None:
        """Wait until so many more lives are done, or all that are allowed."""
        wanted = min(self.done + number, self.allowed)
        until(lambda: self.done >= wanted or self._failures, f"{wanted} lives", PATIENCE)
        assert not self._failures, self._failures

    def _work(self) -> None:
        try:
            while (number := self._take()) is not None:
                self._live(number)
                with self._changed:
                    self.done += 1
        except BaseException as error:  # a thread's failure is the run's
            self._failures.append(error)

    def _take(self) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._next < self.allowed)
            if self._stopped:
                return None
            self._next += 1
            return self._next

    def _live(self, number: int) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        shop = chance.choice(self.shops)
        over_http = chance.random() < self.outside
        merchant, operator = shop.outside if over_http else shop.inside
        self._count("over HTTP" if over_http else "inside")
        name = f"{self.seed}-{number}"
        currency = chance.choice(list(AMOUNTS))
        body = {"amount": chance.choice(AMOUNTS[currency]), "currency": currency}
        made = self._insist(Act(merchant, CREATE, name, {**body, "reference": name}))
        fate = chance.choice(FATES)
        if fate and made.status < 300:
            client = operator if fate == CONFIRM else merchant
            self._insist(Act(client, fate, f"{name}-end", {"id": made.json["id"]}))

    def _insist(self, act: Act) -> Reply:
        """Send ``act`` until it has an answer, as a client would."""
        self.log.add(act)
        reply = until(lambda: self._try(act), f"an answer to {act.key}", PATIENCE)
        act.reply = reply
        self.log.judge(reply)
        self._count("answers kept for a repeated request", reply.replayed)
        return reply

    def _try(self, act: Act) -> Reply | None:
        if self._stopped:
            raise InterruptedError
        reply = act.send()
        if reply is None:
            self._count("answers lost")
        elif reply.tells_to_wait:
            self._count("answers 503")
        elif reply.status != 409 or reply.json["code"] != "idempotency_key_in_flight":
            return reply
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, PAUSE)
        return None

    def _count(self, what: str, number: int = 1) -> None:
        with self._changed:
            self.counted[what] += number
