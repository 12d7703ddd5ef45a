"""A small world for requests to fail in: users, keys of every kind, transactions of every fate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.clock import now
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models import ReplayScope, Role, Scope, User
from standart.services import (
    adjustment_service,
    key_service,
    payout_service,
    refund_service,
    seal_service,
    span_replay_service,
    transaction_service,
)
from standart.services.access import SYSTEM
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.services.key_service import digest_of
from standart.services.payout_service import NewPayout
from standart.services.refund_service import NewRefund
from standart.services.span_replay_service import NewReplay
from tests import builders
from tests.builders import (
    ORIGIN,
    TestUser,
    make_endpoint,
    make_key,
    make_transaction,
    make_user,
)


@dataclass(frozen=True)
class World:
    """Users, keys by name, and ids of the shop's transactions by what became of them."""

    shop: TestUser
    stranger: TestUser
    admin: TestUser
    keys: dict[str, str]
    ids: dict[str, str]


def make_world(engine: Engine, superuser: Engine, keyring: Keyring) -> World:
    shop, stranger = make_user(engine, keyring), make_user(engine, keyring)
    admin = make_user(engine, keyring, role=Role.ADMIN)
    left = make_user(engine, keyring)
    ids = {
        name: make_transaction(engine, shop, reference=name)["id"]
        for name in ("pending", "confirmed", "canceled", "overdue")
    }
    ids["foreign"] = make_transaction(engine, stranger)["id"]
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, ids["confirmed"])
        transaction_service.cancel(connection, admin.digest, ORIGIN, ids["canceled"])
        ids["event"] = str(connection.scalar(text("SELECT id FROM events LIMIT 1")))
    builders.overdue(superuser, ids["overdue"])
    trusted = {
        f"trusted {name}": make_key(engine, user, Scope.READ, Scope.REFUND, Scope.PAYOUT)
        for name, user in (("shop", shop), ("stranger", stranger))
    }
    with autocommit(engine) as connection:
        payout = NewPayout(amount="1.00", destination={"iban": "DE89370400440532013000"})
        payout_service.create(
            connection, digest_of(trusted["trusted shop"]), ORIGIN, keyring, payout
        )
        ids["payout"] = str(payout.fresh_id)
        refund = NewRefund(transaction_id=UUID(ids["confirmed"]), amount="1.00")
        refund_service.create_refund(connection, digest_of(trusted["trusted shop"]), ORIGIN, refund)
        ids["refund"] = str(refund.fresh_id)
        adjustment = NewAdjustment(
            user_id=shop.id, amount="1.00", direction=Direction.CREDIT, reason="Counted anew"
        )
        adjustment_service.create(connection, admin.digest, ORIGIN, adjustment, alone={"RUB": 0})
        ids["endpoint"] = str(make_endpoint(engine, keyring, shop, url="https://shop.example/2").id)
        replay = NewReplay(
            endpoint_id=UUID(ids["endpoint"]),
            since=now() - timedelta(days=1),
            until=now(),
            scope=ReplayScope.DEAD,
        )
        span_replay_service.start(connection, shop.digest, ORIGIN, replay)
        while span_replay_service.step(connection) is not None:
            pass
        ids["replay"] = str(replay.fresh_id)
        seal_service.seal(connection)
        ids["adjustment"], ids["user"] = str(adjustment.fresh_id), str(shop.id)
    with Session(engine) as session, transaction(session):
        owner = session.get_one(User, shop.id)
        _, reader = key_service.create_key(session, SYSTEM, owner, scopes=[Scope.READ])
        _, writer = key_service.create_key(session, SYSTEM, owner, scopes=[Scope.WRITE])
        row, revoked = key_service.create_key(session, SYSTEM, owner)
        key_service.revoke_key(session, SYSTEM, row.prefix)
        late, expired = key_service.create_key(session, SYSTEM, owner, lifetime=timedelta(days=1))
        late_id = late.id
        session.get_one(User, left.id).active = False
    with superuser.begin() as connection:
        connection.execute(
            text("UPDATE api_keys SET expires_at = clock_timestamp() WHERE id = :id"),
            {"id": late_id},
        )
    return World(
        shop=shop,
        stranger=stranger,
        admin=admin,
        ids=ids,
        keys={
            "shop": shop.key,
            "stranger": stranger.key,
            "admin": admin.key,
            "operator": make_user(engine, keyring, role=Role.OPERATOR).key,
            "viewer": make_user(engine, keyring, role=Role.VIEWER).key,
            "reader": reader,
            "writer": writer,
            "revoked": revoked,
            "expired": expired,
            "deactivated": left.key,
            "unknown": key_service.generate(),
            **trusted,
        },
    )


def contents(connection: Connection) -> dict[str, Any]:
    """Count and digest the rows of every table that a request could write to."""
    query = " UNION ALL ".join(
        f"SELECT '{table}', count(*), md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), ''))"
        f" FROM {table} t"
        for table in builders.TABLES
    )
    return {table: (count, digest) for table, count, digest in connection.execute(text(query))}
