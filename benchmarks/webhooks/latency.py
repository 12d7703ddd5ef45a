"""Latency: from the commit of a confirm to the receiver, idle and beside one that hangs."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from benchmarks.rounds import Distorted
from benchmarks.webhooks import books
from benchmarks.webhooks.scene import AT_ONCE, HANGING, Receiver
from benchmarks.webhooks.senders import Standart
from standart import tasks
from standart.config import Settings
from standart.extensions import in_transaction, nudge, on_connection
from standart.models import Role, User
from standart.services import key_service, transaction_service
from standart.services.access import SYSTEM, Actor, Origin, operator
from standart.services.key_service import KeyDigest
from standart.services.transaction_request import NewTransaction

ORIGIN = Origin("benchmark")

# Between two confirms: sometimes the worker still looks for more, sometimes it rests.
LONGEST_GAP = 2.0
ARRIVAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from commit to arrival of each confirm, in their order."""

    milliseconds: list[float]

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.milliseconds)

    @property
    def p95(self) -> float:
        """What nineteen of twenty do not exceed."""
        return statistics.quantiles(self.milliseconds, n=20, method="inclusive")[-1]


def measure(standart: Standart, receiver: Receiver, *, samples: int, queued: int) -> list[Latency]:
    """Measure without and with ``queued`` deliveries for a receiver that hangs.

    A real worker with its timetable runs; the confirms are made by the services, as the API's
    are, and wake it by the same nudge.

    Raises:
        Distorted: a message did not come.
    """
    shop = _Shop(standart, receiver)
    hanging = standart.owners(HANGING)[:1]
    with books.superuser(standart.stage) as connection:
        with standart.workers(1, "--beat"):
            shop.confirm_all(2, "warm-up")
            idle = shop.confirm_all(samples, "idle")
            books.pile_up(connection, hanging, queued)
            connection.commit()
            standart.nudge()
            beside = shop.confirm_all(samples, "beside a hanging receiver")
        books.bury(connection, hanging)
    return [idle, beside]


class _Shop:
    """A merchant that creates, an admin that confirms, and the app that both go through."""

    def __init__(self, standart: Standart, receiver: Receiver) -> None:
        self._receiver = receiver
        self._merchant = standart.owners(AT_ONCE)[0]
        self.app: Flask = tasks.worker_app(Settings.from_env(standart.environment()))
        with self.app.app_context():
            self._key, self._admin = in_transaction(self._make_people)

    def _make_people(self, session: Session) -> tuple[KeyDigest, Actor]:
        merchant = session.get_one(User, self._merchant)
        admin = session.scalars(select(User).where(User.role == Role.ADMIN)).first()
        assert admin is not None
        _, key = key_service.create_key(session, SYSTEM, merchant)
        actor = operator(admin.id, admin.name, admin.role, ORIGIN)
        return key_service.digest_of(key), actor

    def confirm_all(self, samples: int, what: str) -> Latency:
        """Confirm one transaction after the other, with gaps; return how long each took."""
        self._receiver.reset()
        committed = {}
        chance = random.Random(what)  # the same gaps in each run
        with self.app.app_context():
            for _ in range(samples):
                time.sleep(chance.uniform(0, LONGEST_GAP))
                made = self._create()
                self._confirm(made)
                committed[made] = time.time()
                nudge()
            events = self._events(list(committed))
        arrivals = self._arrivals(what, set(events))
        took = [1000 * (arrivals[event] - committed[made]) for event, made in events.items()]
        result = Latency(took)
        print(f"latency, {what}: p50 {result.p50:.0f} ms, p95 {result.p95:.0f} ms", flush=True)
        return result

    def _create(self) -> UUID:
        new = NewTransaction(amount="100.00")
        on_connection(
            lambda connection: transaction_service.create(
                connection, self._key, ORIGIN, new, ttl_seconds=900
            )
        )
        return new.fresh_id

    def _confirm(self, made: UUID) -> None:
        on_connection(
            lambda connection: transaction_service.confirm(connection, self._admin, ORIGIN, made)
        )

    def _events(self, made: Sequence[UUID]) -> dict[str, UUID]:
        """Return the transactions by the ids of the events that tell of their end."""
        query = text(
            "SELECT id, transaction_id FROM events"
            " WHERE transaction_id = ANY(:ids) AND type = 'transaction.confirmed'"
        )
        rows = on_connection(lambda connection: connection.execute(query, {"ids": made}).all())
        return {str(row.id): row.transaction_id for row in rows}

    def _arrivals(self, what: str, events: set[str]) -> dict[str, float]:
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while time.monotonic() < deadline:
            seen = self._receiver.report()
            if events <= seen.arrivals.keys():
                return seen.arrivals
            time.sleep(0.1)
        raise Distorted(f"latency, {what}: some messages have not come")
