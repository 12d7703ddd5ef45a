"""Objects for tests, made by the same services that the product uses."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.clock import new_id
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models import Role, Scope, User, WebhookEndpoint, WebhookLane
from standart.services import (
    access,
    endpoint_service,
    key_service,
    transaction_service,
    user_service,
)
from standart.services.access import SYSTEM, Actor, Origin
from standart.services.key_service import KeyDigest, digest_of
from standart.services.transaction_request import NewTransaction
from standart.webhooks import signing

ORIGIN = Origin("test")
PASSWORD = "correct horse battery"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class TestUser:
    """A user with one API key that has all the scopes its role may have."""

    __test__ = False

    id: UUID
    name: str
    role: Role
    key: str
    webhook_secret: str

    @property
    def digest(self) -> KeyDigest:
        return digest_of(self.key)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def actor(self) -> Actor:
        scopes = access.SCOPES_OF[self.role]
        if self.role is Role.REGULAR:
            scopes = key_service.DEFAULT_SCOPES
        return Actor(self.id, self.name, self.role, scopes, ORIGIN)


@dataclass(frozen=True)
class TestEndpoint:
    """An endpoint with its secret in plain text."""

    __test__ = False

    id: UUID
    url: str
    secret: str


def make_user(
    engine: Engine,
    keyring: Keyring,
    *,
    name: str | None = None,
    role: Role = Role.REGULAR,
    currency: str = "RUB",
    rate: str = "0.03",
    webhook_url: str | None = None,
    password: str | None = None,
) -> TestUser:
    name = name or f"{role.value}-{next(_numbers)}"
    with Session(engine) as session, transaction(session):
        user, secret = user_service.create_user(
            session,
            SYSTEM,
            keyring,
            name=name,
            role=role,
            currency=currency,
            commission_rate=Decimal(rate),
            webhook_url=webhook_url,
            password=password,
        )
        scopes = access.SCOPES_OF[role]
        if role is Role.REGULAR:
            scopes = key_service.DEFAULT_SCOPES
        _, key = key_service.create_key(session, SYSTEM, user, scopes=scopes)
        return TestUser(user.id, user.name, user.role, key, secret)


def make_key(engine: Engine, user: TestUser, *scopes: Scope) -> str:
    """Another key of ``user`` with exactly these scopes."""
    with Session(engine) as session, transaction(session):
        _, key = key_service.create_key(
            session, SYSTEM, session.get_one(User, user.id), scopes=scopes
        )
    return key


def make_endpoint(
    engine: Engine, keyring: Keyring, owner: TestUser, *event_types: str, url: str, **settings: Any
) -> TestEndpoint:
    """Give ``owner`` an endpoint beside its default one; it gets all unless types are named."""
    endpoint_id, secret = new_id(), signing.new_secret()
    with Session(engine) as session, transaction(session):
        session.add(
            WebhookEndpoint(
                user_id=owner.id,
                id=endpoint_id,
                url=url,
                event_types=list(event_types or ("*",)),
                secret=endpoint_service.seal_secret(keyring, endpoint_id, secret),
                **settings,
            )
        )
        session.flush()
        session.add(WebhookLane(user_id=owner.id, endpoint_id=endpoint_id))
    return TestEndpoint(endpoint_id, url, secret)


SHORT = 3
"""Seconds that a transaction lives which must be settled in time and be overdue soon after.

A busy machine may take one of them from the creation to the statement that settles it.
"""


def make_transaction(
    engine: Engine, owner: TestUser, *, amount: str = "100.00", ttl: int = 900, **fields: Any
) -> dict[str, Any]:
    """Create a pending transaction of a merchant; return its wire form."""
    with autocommit(engine) as connection:
        answer = transaction_service.create(
            connection,
            owner.digest,
            ORIGIN,
            NewTransaction(amount=amount, **fields),
            ttl_seconds=ttl,
        )
    body: dict[str, Any] = json.loads(answer.body)
    return body


def overdue(superuser: Engine, transaction_id: str) -> None:
    """Let the time of a pending transaction run out without waiting for it."""
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        moved = connection.execute(
            text(
                "UPDATE transactions SET created_at = created_at - interval '1 day',"
                " expires_at = clock_timestamp() - interval '1 second' WHERE id = :id"
            ),
            {"id": transaction_id},
        )
        assert moved.rowcount == 1


TABLES = (
    "users",
    "particulars",
    "api_keys",
    "fee_schedules",
    "limits",
    "limit_sums",
    "transactions",
    "notes",
    "refunds",
    "refund_totals",
    "payouts",
    "adjustments",
    "approvals",
    "accounts",
    "balance_deltas",
    "journals",
    "entries",
    "seals",
    "closes",
    "signing_keys",
    "reconciliations",
    "reconciliation_rows",
    "events",
    "webhook_endpoints",
    "webhook_lanes",
    "webhook_replays",
    "deliveries",
    "attempts",
    "idempotency_keys",
    "audit_log",
    "panel_sessions",
    "pending_logins",
    "second_factors",
    "recovery_codes",
    "panel_preferences",
    "login_failures",
    "hourly_sums",
    "merchant_hourly_sums",
    "merchant_sums",
)


def row_counts(connection: Connection) -> dict[str, int]:
    """Count the rows of every table that a request could write to."""
    query = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in TABLES)
    return {row[0]: row[1] for row in connection.execute(text(query))}


# One statement for all: forty of them would take as long as many a test.
_EMPTY = "\n".join(
    (
        "DO $$ BEGIN",
        "SET LOCAL session_replication_role = replica;",
        *(f"DELETE FROM {table};" for table in (*TABLES, "heartbeats")),
        "UPDATE book_clock SET dated_from = '1970-01-01T00:00:00Z';",
        "UPDATE sums_mark SET upto = '2000-01-01T00:00:00Z';",
        "UPDATE event_clock SET base = 0, purged_before = NULL, purge_user = NULL,",
        "  purge_at = NULL, purge_id = NULL, server = s.system_identifier,",
        "  written_by = pg_current_xact_id()::text::bigint FROM pg_control_system() AS s;",
        "END $$",
    )
)


def empty(superuser: Engine) -> None:
    """Forget every row behind the guards; for a few rows ten times faster than TRUNCATE."""
    with superuser.begin() as connection:
        connection.exec_driver_sql(_EMPTY)
