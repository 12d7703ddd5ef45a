"""What several modules attack or read."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme
from click.testing import CliRunner, Result
from sqlalchemy import Connection, Engine, create_engine, text

from standart.__main__ import create_app
from standart.cli import command_line
from standart.clock import new_id
from standart.config import Settings
from standart.embedded import Postgres
from standart.encryption import Keyring
from standart.services import ledger_service, transaction_service, webhook_service
from standart.services.webhook_work import AttemptResult
from tests import movements
from tests.builders import ORIGIN, TestUser, make_transaction, make_user, overdue
from tests.integration.commands import Run
from tests.integration.mail import Mail


@pytest.fixture
def names(
    connection: Connection, engine: Engine, superuser: Engine, keyring: Keyring, admin: TestUser
) -> dict[str, Any]:
    """A shop with one transaction of each kind and a webhook that was tried once."""
    shop = make_user(engine, keyring, webhook_url="https://shop.example/")
    made = {
        name: UUID(make_transaction(engine, shop, reference="r")["id"])
        for name in ("pending", "confirmed", "canceled", "expired")
    }
    transaction_service.confirm(connection, admin.digest, ORIGIN, made["confirmed"])
    transaction_service.cancel(connection, admin.digest, ORIGIN, made["canceled"])
    overdue(superuser, str(made["expired"]))
    assert transaction_service.expire_overdue(connection, batch=10) == 1
    result = AttemptResult("delivered", 200, "", "", 1)
    claimed = webhook_service.claim_due(connection, keyring).deliveries
    webhook_service.record_attempts(connection, [(each, result) for each in claimed], schedule=())
    return {
        **made,
        "shop": shop.id,
        "other": make_user(engine, keyring).id,
        "journal": connection.scalar(text("SELECT id FROM journals")),
        "event": connection.scalar(text("SELECT id FROM events LIMIT 1")),
        "delivery": connection.scalar(text("SELECT id FROM deliveries LIMIT 1")),
        "new": new_id(),
        "new_event": new_id(),
    }


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """What a shell would export for the service of this test."""
    return {
        "DATABASE_URL": settings.database_url,
        "STANDART_MIGRATION_DATABASE_URL": settings.migration_database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key,
        "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
        "STANDART_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Commands configure logging for the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def run(
    environment: dict[str, str],
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logging_as_before: None,
) -> Run:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STANDART_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, typed: str | None = None, **changes: str) -> Result:
        return CliRunner().invoke(
            command_line(create_app), arguments, input=typed, env=environment | changes
        )

    return run


@pytest.fixture
def books(connection: Connection, names: dict[str, Any]) -> dict[str, Any]:
    """The shop with its money moved in every way, most of it folded; and a row of all else."""
    mover = movements.Mover(connection, names["shop"])
    ids = movements.every_kind(connection, names["shop"], names["confirmed"])
    ledger_service.fold_deltas(connection)
    # Some balances stay deltas, as in life.
    ids["late"] = mover.pay_late(names["canceled"])
    return names | ids | mover.write_the_rest(names["confirmed"], ids["waiting"], names["other"])


@pytest.fixture(scope="session")
def owner(migrated: Postgres) -> Iterator[Engine]:
    engine = create_engine(migrated.owner_url)
    yield engine
    engine.dispose()


@pytest.fixture
def roles(engine: Engine, owner: Engine, superuser: Engine) -> dict[str, Engine]:
    return {"application": engine, "owner": owner, "superuser": superuser}


@pytest.fixture
def mail(engine: Engine, keyring: Keyring) -> Mail:
    return Mail(engine, keyring)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates of the webhooks' receivers."""
    return trustme.CA()


@pytest.fixture(scope="session")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Our own settings, with that authority in the place of the system's."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
