"""Everything that a run kills and heals: two engines, API, two kinds of worker, beat, receivers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, make_url, text

from standart import encryption, migrations
from standart.db import make_engine
from standart.embedded import start_postgres
from standart.encryption import Keyring
from standart.models import Role
from tests import builders
from tests.acceptance.chaos.lives import Inside, Lives, Shop
from tests.acceptance.chaos.sinks import DOWN, GONE, MOODY, STEADY, Sinks, start_sinks
from tests.acceptance.faults.conftest import Api, Broker, Parts
from tests.acceptance.faults.test_database import Database
from tests.acceptance.processes import Commands, Running, commands, until
from tests.builders import TestUser

TRIES = 60
"""The retry schedule: so many seconds, one after the other; nothing dies of a mood."""

RATE_LIMIT = 100
SECRET_KEY = "a secret of a run, never of a server"


@dataclass(frozen=True)
class Place:
    """One endpoint: what it asks for, by the contract's rule, and how its receiver behaves.

    Without types it is its merchant's default one, which gets the endings.
    """

    name: str
    temper: str
    types: tuple[str, ...] = ()
    ordered: bool = False
    rate_limit: int | None = None


# Each merchant has one that asks for all, so each transaction is told of twice.
PLACES = (
    (
        Place("plain-0", MOODY),
        Place("all-0", STEADY, ("*",)),
        Place("down-0", DOWN, ("*",)),
    ),
    (
        Place("plain-1", STEADY),
        Place("ordered-1", MOODY, ("*",), ordered=True),
    ),
    (
        Place("plain-2", MOODY),
        Place("all-2", STEADY, ("*",)),
        Place("gone-2", GONE, ("transaction.*",)),
    ),
    (
        Place("plain-3", STEADY),
        Place("paced-3", MOODY, ("*",), rate_limit=RATE_LIMIT),
        Place("expired-3", MOODY, ("transaction.expired",)),
    ),
)
ENDINGS = ("transaction.confirmed", "transaction.canceled", "transaction.expired")


@dataclass(frozen=True)
class Endpoint:
    """A place as it was opened."""

    place: Place
    id: UUID
    user_id: UUID

    def asks_for(self, kind: str) -> bool:
        """The contract's rule, written a second time."""
        types = self.place.types or ENDINGS
        return "*" in types or kind in types or kind.split(".")[0] + ".*" in types


@dataclass
class Scene:
    """The parts that run now, and what was in the hands of those that were killed."""

    database: Database
    broker: Broker
    parts: Parts
    sinks: Sinks
    books: Engine
    endpoints: list[Endpoint]
    lives: Lives
    api: Api
    worker: Running
    prefork: Running
    beat: Running
    in_hand: set[tuple[UUID, int]] = field(default_factory=set)
    """Deliveries with the number of their attempt, leased at the moment of a kill."""

    def restart_worker(self) -> None:
        self.worker = self.parts.worker()

    def restart_all_workers(self) -> None:
        self.prefork = start_prefork(self.parts)
        self.restart_beat()
        self.restart_worker()

    def restart_beat(self) -> None:
        self.beat = self.parts.beat()

    def leases(self) -> set[tuple[UUID, int]]:
        query = text("SELECT id, attempt_count FROM deliveries WHERE lease IS NOT NULL")
        with self.books.connect() as connection:
            return {(row.id, row.attempt_count) for row in connection.execute(query)}

    def gets_busy(self) -> None:
        """Wait until webhooks are under way: a kill now comes inside of a batch."""
        until(self.leases, "webhooks are under way")

    def note_in_hand(self) -> None:
        self.in_hand |= self.leases()

    @property
    def superuser_url(self) -> str:
        """The role that may do anything, on the service's database."""
        server = self.database.server
        database = make_url(server.app_url).database
        url = make_url(server.superuser_url).set(database=database)
        return url.render_as_string(hide_password=False)

    @property
    def secrets(self) -> list[str]:
        """What must not stand in a log."""
        users = [user for shop in self.lives.shops for user in _users(shop)]
        return [*self.parts.secrets, *(user.key for user in users)]

    @property
    def logs(self) -> list[Path]:
        return [*self.parts.starter.logs, self.database.folder / "postgres" / "log"]


def _users(shop: Shop) -> list[TestUser]:
    return [each.user for each in shop.inside]


def start_prefork(parts: Parts) -> Running:
    """Start a worker whose tasks run in child processes, as `celery` itself starts one.

    It is not waited for: another worker that starts beside it is.
    """
    celery = [sys.executable, "-P", "-m", "celery", "-A", "standart.tasks", "worker"]
    options = ["--pool=prefork", "--concurrency=2", "--loglevel=INFO"]
    return parts.starter.launch([*celery, *options], parts.settings)


@contextmanager
def opened(folder: Path, *, seed: int, ttl_seconds: int, outside: float) -> Iterator[Scene]:
    """Start everything in ``folder``; on the way out all of it ends, however the block did."""
    with ExitStack() as stack:
        database = Database(folder / "pg", start_postgres(folder / "pg"))
        stack.callback(lambda: database.server.stop())
        broker = Broker(folder / "vk")
        stack.callback(lambda: broker.server.stop())
        _migrate(database)
        books = make_engine(database.server.app_url, pool_size=20)
        stack.callback(books.dispose)
        (folder / "logs").mkdir()
        starter = stack.enter_context(commands(folder / "logs"))
        yield _play(starter, database, broker, books, seed, ttl_seconds, outside)


def _migrate(database: Database) -> None:
    owner = make_engine(database.server.owner_url, pool_size=1)
    migrations.upgrade(owner, database.server.app_url)
    owner.dispose()


def _play(
    starter: Commands,
    database: Database,
    broker: Broker,
    books: Engine,
    seed: int,
    ttl_seconds: int,
    outside: float,
) -> Scene:
    keys = encryption.generate_key()
    settings = {
        "DATABASE_URL": database.server.app_url,
        "REDIS_URL": broker.url,
        "SECRET_KEY": SECRET_KEY,
        "STANDART_ENCRYPTION_KEYS": keys,
        "STANDART_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "STANDART_WEBHOOK_RETRY_SCHEDULE": ",".join(["1"] * TRIES),
        "STANDART_TRANSACTION_TTL_SECONDS": str(ttl_seconds),
        "STANDART_EXPIRY_SWEEP_SECONDS": "1",
        "STANDART_LOG_FORMAT": "json",
    }
    parts = Parts(starter, settings)
    sinks = start_sinks(starter)
    keyring = Keyring.parse(keys)
    operator = builders.make_user(books, keyring, role=Role.ADMIN)
    owners = [_open_shop(books, keyring, sinks, places) for places in PLACES]
    prefork, beat = start_prefork(parts), parts.beat()
    api = parts.serve(workers=2)
    shops = [
        Shop(
            outside=(api.client(owner), api.client(operator)),
            inside=(Inside(books, owner, ttl_seconds), Inside(books, operator, ttl_seconds)),
        )
        for owner, _ in owners
    ]
    return Scene(
        database=database,
        broker=broker,
        parts=parts,
        sinks=sinks,
        books=books,
        endpoints=[endpoint for _, endpoints in owners for endpoint in endpoints],
        lives=Lives(shops, seed, outside),
        api=api,
        worker=parts.worker(),
        prefork=prefork,
        beat=beat,
    )


def _open_shop(
    books: Engine, keyring: Keyring, sinks: Sinks, places: tuple[Place, ...]
) -> tuple[TestUser, list[Endpoint]]:
    """Open a merchant with its endpoints, and let their receivers know the secrets."""
    default, *more = places
    owner = builders.make_user(books, keyring, webhook_url=sinks.url(default.name))
    endpoints = [Endpoint(default, owner.id, owner.id)]
    secrets = {default.name: owner.webhook_secret}
    for place in more:
        made = builders.make_endpoint(
            books,
            keyring,
            owner,
            *place.types,
            url=sinks.url(place.name),
            ordered=place.ordered,
            rate_limit=place.rate_limit,
        )
        endpoints.append(Endpoint(place, made.id, owner.id))
        secrets[place.name] = made.secret
    sinks.tell(secrets)
    sinks.moody += [place.name for place in places if place.temper == MOODY]
    sinks.feel({place.name: DOWN for place in places if place.temper == DOWN})
    return owner, endpoints
