"""Real engines for the tests: each worker process has a PostgreSQL and a Valkey of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, create_engine, make_url

from standart import encryption, migrations
from standart.config import Settings
from standart.db import autocommit, make_engine
from standart.embedded import Postgres, Valkey, start_postgres, start_valkey
from standart.encryption import Keyring
from standart.models import Role
from standart.services import passwords
from tests import builders
from tests.builders import TestUser

if TYPE_CHECKING:
    from tests.apps import Shelf

SECRET_KEY = "a secret of the tests, never of a server"
ENCRYPTION_KEYS = encryption.generate_key()

_HASHER = passwords._HASHER

# How long an example takes, or takes to be made up, is the machine's affair.
hypothesis.settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Hash passwords the quickest way: every user of every test has one, and logs in by it."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", quick)
        yield


@pytest.fixture
def real_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords as the service does, for what is said about the hashes themselves."""
    monkeypatch.setattr(passwords, "_HASHER", _HASHER)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = start_postgres(tmp_path_factory.mktemp("pg"), durable=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = start_valkey(tmp_path_factory.mktemp("vk"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> Postgres:
    """The server, its database built by the migrations as the owner role."""
    owner = make_engine(postgres.owner_url, pool_size=1)
    migrations.upgrade(owner, postgres.app_url)
    owner.dispose()
    return postgres


@pytest.fixture(scope="session")
def superuser(migrated: Postgres) -> Iterator[Engine]:
    """The all-powerful role on the application's database: to break what nobody may break."""
    database = make_url(migrated.app_url).database
    engine = create_engine(make_url(migrated.superuser_url).set(database=database))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def _app_engine(migrated: Postgres) -> Iterator[Engine]:
    engine = make_engine(migrated.app_url, pool_size=60)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(_app_engine: Engine, superuser: Engine) -> Iterator[Engine]:
    """The application's role on an empty, migrated database."""
    yield _app_engine
    builders.empty(superuser)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """An autocommit connection, as the API's services get one."""
    with autocommit(engine) as connection:
        yield connection


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return Keyring.parse(ENCRYPTION_KEYS)


@pytest.fixture(scope="session")
def settings(migrated: Postgres, valkey: Valkey) -> Settings:
    """Settings of a service beside the real engines; webhooks may reach the loopback."""
    return Settings(
        database_url=migrated.app_url,
        migration_database_url=migrated.owner_url,
        redis_url=valkey.url,
        secret_key=SECRET_KEY,
        encryption_keys=ENCRYPTION_KEYS,
        webhook_allowed_networks=(ip_network("127.0.0.0/8"),),
        webhook_allow_http=True,
    )


@pytest.fixture(scope="session")
def _shelf(settings: Settings) -> Iterator[Shelf]:
    from tests.apps import Compiled, Shelf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": Compiled()})
        shelf = Shelf(settings)
        yield shelf
        shelf.close()


@pytest.fixture
def make_app(settings: Settings, engine: Engine, _shelf: Shelf) -> Iterator[Callable[..., Flask]]:
    """Make an app with some settings changed: ``make_app(rate_limit=…)``."""
    from tests import apps

    lent: list[Flask] = []
    made: list[Flask] = []

    def make(**changes: Any) -> Flask:
        if changes:
            made.append(apps.special(settings, **changes))
            return made[-1]
        lent.append(_shelf.take())
        return lent[-1]

    yield make
    for app in lent:
        _shelf.give_back(app)
    for app in made:
        apps.dispose(app)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def merchant(engine: Engine, keyring: Keyring) -> TestUser:
    return builders.make_user(engine, keyring, password=builders.PASSWORD)


@pytest.fixture
def admin(engine: Engine, keyring: Keyring) -> TestUser:
    return builders.make_user(engine, keyring, role=Role.ADMIN, password=builders.PASSWORD)


@pytest.fixture
def merchant_key(merchant: TestUser) -> str:
    return merchant.key


@pytest.fixture
def admin_key(admin: TestUser) -> str:
    return admin.key
