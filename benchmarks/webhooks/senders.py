"""Who sends: Standart's workers, one Celery task a webhook, and a bare client.

Each prepares a pile of messages that nobody touches yet, and lets it go at one moment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

import celery
from sqlalchemy import Connection, create_engine, text

from benchmarks.contenders import NAIVE_DATABASE, naive_database
from benchmarks.rounds import Distorted
from benchmarks.stage import HERE, Prepared, Stage, reference_python, shown
from benchmarks.webhooks import books
from benchmarks.webhooks.messages import messages
from benchmarks.webhooks.scene import OURS, Receiver, program
from standart.embedded.process import launch
from standart.webhooks import window

ONE, TWO = "Standart, 1 worker", "Standart, 2 workers"
NAIVE_2, NAIVE_8 = "Celery task each, prefork 2", "Celery task each, prefork 8"
BARE = "bare client"

NAIVE_FOLDER = HERE / "references" / "webhooks"
MERCHANTS = 10

_RESULTS = """
    CREATE TABLE IF NOT EXISTS results (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id uuid NOT NULL,
        attempt int NOT NULL, status int, excerpt text NOT NULL, duration float8 NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp())
"""


@dataclass
class Pile:
    """Messages that wait for the moment when they are let go."""

    ids: set[str]
    let_go: Callable[[], None]
    last_done: Callable[[], float | None]
    """The moment at which the last of them was sent and recorded, None while some are not."""
    tick: Callable[[], None] = lambda: None
    """What the service around does again and again meanwhile."""


class Crew(Protocol):
    """Processes that run and send what they are told to."""

    pids: list[int]

    def pile(self, path: str, count: int) -> Pile:
        """Prepare ``count`` messages for ``path`` of the receiver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A contender: its name, and how its processes are started and ended."""

    name: str
    at_work: Callable[[], Any]
    """A context manager that holds a ``Crew``."""


def answering(queue: celery.Celery, count: int) -> Callable[[], bool]:
    """Return a test whether ``count`` workers answer."""
    return lambda: len(queue.control.ping(timeout=0.5) or ()) >= count


# Standart.


class Standart:
    """Real ``standart worker`` processes on a database of the stage."""

    def __init__(self, stage: Stage, receiver: Receiver) -> None:
        self.stage, self.receiver = stage, receiver
        self.prepared: Prepared = stage.prepare(books.DATABASE)
        self.queue = celery.Celery("standart", broker=stage.valkey.url)
        self.queue.conf.task_default_queue = "standart"
        self._owners: dict[str, list[UUID]] = {}

    def environment(self) -> dict[str, str]:
        """Return the environment of a worker; loopback receivers are allowed."""
        return self.stage.environment(
            self.prepared.url,
            self.prepared.owner_url,
            STANDART_WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8",
            STANDART_WEBHOOK_ALLOW_HTTP="true",
        )

    def nudge(self) -> None:
        """Wake a worker, as the API does after a commit."""
        self.queue.send_task("standart.deliver")

    @contextmanager
    def workers(self, count: int, *more: str) -> Iterator[list[int]]:
        """Run workers while the block runs; return their process ids."""
        command = [sys.executable, "-P", "-m", "standart", "worker", *more]
        with ExitStack() as running:
            pids = []
            for number in range(1, count + 1):
                process = running.enter_context(
                    self.stage.running(
                        f"worker-{number}",
                        command,
                        self.environment(),
                        answering(self.queue, number),
                    )
                )
                pids.append(process.pid)
            yield pids

    def owners(self, path: str) -> list[UUID]:
        """Return the merchants whose endpoints are below ``path``, made on the first call."""
        if path not in self._owners:
            urls = [self.receiver.url(f"{path}/{number}") for number in range(MERCHANTS)]
            self._owners[path] = books.add_merchants(
                self.stage, self.prepared, urls, secret=self.receiver.secret
            )
        return self._owners[path]

    def sender(self, name: str, workers: int) -> Sender:
        """Return the contender with so many workers."""

        @contextmanager
        def at_work() -> Iterator[_StandartCrew]:
            with self.workers(workers) as pids, books.superuser(self.stage) as connection:
                yield _StandartCrew(self, connection, pids)

        return Sender(name=name, at_work=at_work)


@dataclass
class _StandartCrew:
    standart: Standart
    connection: Connection
    pids: list[int]

    def pile(self, path: str, count: int) -> Pile:
        """Write events and deliveries; committing them is what lets them go."""
        ids = books.pile_up(self.connection, self.standart.owners(path), count)

        def let_go() -> None:
            self.connection.commit()
            self.standart.nudge()

        return Pile(ids, let_go, lambda: self._last_done(ids), self.standart.nudge)

    def _last_done(self, ids: set[str]) -> float | None:
        row = self.connection.execute(
            text(
                "SELECT count(*) AS done, extract(epoch FROM max(delivered_at)) AS last"
                " FROM deliveries WHERE state = 'delivered' AND event_id = ANY(:ids)"
            ),
            {"ids": [UUID(each) for each in ids]},
        ).one()
        self.connection.commit()
        return float(row.last) if row.done == len(ids) else None


# One Celery task for each webhook.


class Naive:
    """The reference's worker on a database of the stage."""

    def __init__(self, stage: Stage, receiver: Receiver) -> None:
        self.stage, self.receiver = stage, receiver
        self.url = naive_database(stage)
        stage.execute(_RESULTS, NAIVE_DATABASE)
        stage.execute("ALTER TABLE results OWNER TO naive", NAIVE_DATABASE)
        self.queue = celery.Celery("naive", broker=stage.valkey.url)

    def sender(self, name: str, processes: int) -> Sender:
        """Return the contender with so many processes."""

        @contextmanager
        def at_work() -> Iterator[_NaiveCrew]:
            command = [str(reference_python()), "-m", "celery", "--workdir", str(NAIVE_FOLDER)]
            options = ["-A", "tasks", "worker", "--pool", "prefork", "-c", str(processes)]
            # The queue of a round is joined at the moment when it begins.
            more = ["-Q", "idle", "--without-gossip", "--without-mingle", "-l", "WARNING"]
            environment = {
                **self.stage.surroundings(),
                "BROKER_URL": self.stage.valkey.url,
                "DATABASE_URL": shown(self.url),
                "WEBHOOK_SECRET": self.receiver.secret,
                # As an operator who runs it as root says that it is meant.
                "C_FORCE_ROOT": "1",
            }
            ready = answering(self.queue, 1)
            engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
            with (
                self.stage.running(
                    "naive-webhooks", [*command, *options, *more], environment, ready
                ) as process,
                engine.connect() as connection,
            ):
                yield _NaiveCrew(self, connection, [process.pid])
            engine.dispose()

        return Sender(name=name, at_work=at_work)


@dataclass
class _NaiveCrew:
    naive: Naive
    connection: Connection
    pids: list[int]

    def pile(self, path: str, count: int) -> Pile:
        """Put the tasks into a queue that nobody reads yet: putting them costs nobody's time."""
        queue, name = self.naive.queue, f"pile-{uuid4()}"
        made = list(messages(count))
        url = self.naive.receiver.url(path)
        with queue.producer_or_acquire() as producer:
            for each in made:
                arguments = (each.id, url, each.body.decode())
                queue.send_task("send_webhook", arguments, queue=name, producer=producer)
        ids = {each.id for each in made}

        def let_go() -> None:
            queue.control.add_consumer(name)

        return Pile(ids, let_go, lambda: self._last_done(ids))

    def _last_done(self, ids: set[str]) -> float | None:
        row = self.connection.execute(
            text(
                "SELECT count(DISTINCT event_id) AS done,"
                " extract(epoch FROM max(recorded_at)) AS last FROM results"
                " WHERE status = 200 AND event_id = ANY(:ids)"
            ),
            {"ids": [UUID(each) for each in ids]},
        ).one()
        return float(row.last) if row.done == len(ids) else None


# The bare client.


class Bare:
    """The bare client, with as many requests in flight as Standart has at most."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def sender(self) -> Sender:
        """Return the contender."""

        @contextmanager
        def at_work() -> Iterator[_BareCrew]:
            with ExitStack() as running:
                yield _BareCrew(self.receiver, running)

        return Sender(name=BARE, at_work=at_work)


@dataclass
class _BareCrew:
    receiver: Receiver
    running: ExitStack
    pids: list[int] = field(default_factory=list)

    def pile(self, path: str, count: int) -> Pile:
        """Start a client that signs everything and then waits for a line."""
        about = [self.receiver.port, path, count, window.SIZE, self.receiver.secret]
        process = launch(
            [*program("bare"), *map(str, about)],
            death_signal=signal.SIGKILL,
            environment={**os.environ, **OURS},
            stdin=subprocess.PIPE,
            log=subprocess.PIPE,
        )
        self.running.callback(_end, process)
        self.pids[:] = [process.pid]
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        told = stdout.readline()
        if not told:
            raise Distorted("the bare client ended")

        def let_go() -> None:
            stdin.write(b"go\n")
            stdin.flush()

        return Pile(set(json.loads(told)), let_go, lambda: float(stdout.readline() or "nan"))


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.kill()


def contenders(stage: Stage, receiver: Receiver, standart: Standart) -> Sequence[Sender]:
    """Return whom to compare."""
    naive = Naive(stage, receiver)
    return (
        standart.sender(ONE, 1),
        standart.sender(TWO, 2),
        naive.sender(NAIVE_2, 2),
        naive.sender(NAIVE_8, 8),
        Bare(receiver).sender(),
    )
