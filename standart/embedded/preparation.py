"""What `up` does once its database answers: migrate, first users, examples.

A program of its own (``python -m standart.embedded.preparation``), so that the supervisor
itself stays small: its imports are most of the memory of a Python process. Settings come
from the environment; the answer is one JSON object on standard output.
"""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict, dataclass
from decimal import Decimal

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from standart import migrations
from standart.config import Settings
from standart.db import autocommit, make_engine, transaction
from standart.embedded.demo import add_examples
from standart.encryption import Keyring
from standart.errors import ConfigurationError, DomainError, NameTaken
from standart.models import Role, User
from standart.services import key_service, signing_key_service, user_service
from standart.services.access import SYSTEM

ADMIN = "admin"
MERCHANT = "demo"
MERCHANT_RATE = Decimal("0.03")  # so that the first transaction shows a commission


@dataclass(frozen=True, slots=True)
class FirstUsers:
    """What is shown once: nobody can read it again."""

    admin: str
    password: str
    merchant: str
    api_key: str


def migrate(settings: Settings) -> None:
    """Bring the schema up to date as the owner role.

    Also makes the first key that signs receipts where there is a ring to seal it with, so that
    others can keep its public half before they need it.

    Raises:
        ConfigurationError: the server cannot be reached, or is too old.
    """
    engine = make_engine(settings.migration_database_url, pool_size=1)
    try:
        migrations.upgrade(engine, settings.database_url)
        if settings.encryption_keys:
            with autocommit(engine) as connection:
                signing_key_service.ensure(connection, Keyring.parse(settings.encryption_keys))
    except OperationalError as error:
        raise unreachable(error) from None
    finally:
        engine.dispose()


def unreachable(error: DBAPIError) -> ConfigurationError:
    """Return the database's refusal in one line, without the statement or the URL."""
    reason = str(error.orig or error).strip().splitlines()
    return ConfigurationError(
        "DATABASE_URL",
        f"the database cannot be used ({reason[0].strip() if reason else 'no reason given'})",
        "Is the server (or `standart up`) running, and are host, port, name and password right?",
    )


def make_first_users(engine: Engine, keyring: Keyring, settings: Settings) -> FirstUsers | None:
    """Create an admin and a merchant with an API key, ``None`` when there are users already."""
    password = secrets.token_urlsafe(15)
    with Session(engine) as session, transaction(session):
        if session.scalar(select(User.id).limit(1)) is not None:
            return None
        try:
            user_service.create_user(
                session,
                SYSTEM,
                keyring,
                name=ADMIN,
                role=Role.ADMIN,
                currency=settings.default_currency,
                timezone=settings.timezone.key,
                password=password,
            )
            merchant, _ = user_service.create_user(
                session,
                SYSTEM,
                keyring,
                name=MERCHANT,
                currency=settings.default_currency,
                timezone=settings.timezone.key,
                commission_rate=MERCHANT_RATE,
            )
        except NameTaken:
            # Somebody else prepares the same database at this moment, and was first.
            session.rollback()
            return None
        _, api_key = key_service.create_key(session, SYSTEM, merchant)
    return FirstUsers(ADMIN, password, MERCHANT, api_key)


def main(webhook_url: str | None = None) -> int:
    """Prepare the database that the environment names; return the exit code.

    With ``webhook_url`` the demo merchant gets examples and has its webhooks sent there.
    """
    try:
        settings = Settings.from_env()
        keyring = Keyring.parse(settings.encryption_keys)
        migrate(settings)
        engine = make_engine(settings.database_url, pool_size=1)
        first = make_first_users(engine, keyring, settings)
        secret = add_examples(engine, keyring, MERCHANT, webhook_url) if webhook_url else None
        engine.dispose()
    except OperationalError as error:
        sys.stderr.write(f"{unreachable(error).detail}\n")
        return 1
    except LookupError:
        sys.stderr.write(f"--demo needs an admin and a merchant called {MERCHANT}; create them\n")
        return 1
    except DomainError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2 if isinstance(error, ConfigurationError) else 1
    answer = {"first_users": asdict(first) if first else None, "webhook_secret": secret}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
