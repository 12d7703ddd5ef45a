"""A service with something on every page, and the addresses of all pages that can be asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from flask import Flask
from sqlalchemy import Connection, Engine, text
from werkzeug.routing import AnyConverter, Rule

from standart import admin as panel_module
from standart.bank_files.layout import Layout
from standart.clock import now
from standart.db import autocommit
from standart.delivery import Deliverer
from standart.encryption import Keyring
from standart.services import (
    adjustment_service,
    close_service,
    payout_service,
    reconciliation_service,
    seal_service,
    transaction_service,
)
from standart.services.access import SYSTEM
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.services.payout_service import NewPayout
from standart.services.reconciliation_service import Question
from standart.services.reconciliation_spool import spool
from tests.builders import (
    ORIGIN,
    PASSWORD,
    TestUser,
    make_endpoint,
    make_transaction,
    make_user,
)
from tests.integration.hooks import Answer, serving
from tests.integration.panel_scene import TOO_LARGE, BusyMerchant, busy_merchant

NOTE = "Paid by card at the till; the receipt is <b>in the drawer</b>."

# What a page is not: files, fragments, answers for a script, and what only leads elsewhere.
NO_PAGES = frozenset(
    {
        "panel.static",
        "panel.home",
        "panel.login",
        # Seen by those who have shown a password, or must show it once more: see stops.py.
        "panel.code",
        "profile.prove",
        "admin.live",
        "reconciliation.download",
        "reconciliation.receipt",
        "reconciliation.report",
        "admin.static",
        "admin.chart",
        "transactions.as_json",
        "transactions.export",
    }
)


@dataclass(frozen=True)
class Scene:
    """Who is there, and a value for every name in the panel's rules.

    ``own`` has those of pages that need others than the rest, by the page's name.
    """

    app: Flask
    engine: Engine
    admin: TestUser
    newcomer: TestUser
    busy: BusyMerchant
    values: dict[str, Any]
    own: dict[str, dict[str, Any]]

    def pages(self) -> dict[str, str]:
        """Return the address of each page by a name: its endpoint and what it asks about."""
        found: dict[str, str] = {}
        for rule in sorted(self.app.url_map.iter_rules(), key=str):
            if _is_page(rule):
                found.update(self._addresses(rule))
        return found

    def _addresses(self, rule: Rule) -> Iterator[tuple[str, str]]:
        choices = {
            name: sorted(converter.items)
            for name, converter in rule._converters.items()
            if isinstance(converter, AnyConverter)
        }
        for chosen in product(*choices.values()):
            name = "-".join([rule.endpoint, *chosen])
            known = self.values | self.own.get(rule.endpoint, {}) | self.own.get(name, {})
            values = {
                **{name: known[name] for name in rule.arguments - choices.keys()},
                **dict(zip(choices, chosen, strict=True)),
            }
            built = rule.build(values, append_unknown=False)
            assert built is not None, rule
            yield name, built[1] + known.get("query", "")


def _is_page(rule: Rule) -> bool:
    return (
        panel_module.owns(rule.rule)
        and "GET" in (rule.methods or set())
        and rule.endpoint not in NO_PAGES
    )


def deliver(app: Flask) -> None:
    """Send what is due, beside this thread: here the browser's event loop may run."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(Deliverer(app).run, linger=0).result()


class _Moody:
    """A receiver that takes everything but the first message about a refund."""

    def __init__(self) -> None:
        self.refused = False

    def __call__(self, headers: dict[str, str], body: bytes) -> Answer:
        if b"refund.created" in body and not self.refused:
            self.refused = True
            return 503, {"Retry-After": "30"}, b'{"error": "closed for lunch"}'
        return 200, {"Content-Type": "application/json"}, b'{"ok": true}'


@contextmanager
def full_scene(
    app: Flask, engine: Engine, keyring: Keyring, admin: TestUser, *, merchant: str = "busy"
) -> Iterator[Scene]:
    """Fill the database; a receiver listens while the scene lives."""
    app.extensions["standart.nudge"] = app.extensions["standart.replay_nudge"] = lambda: None
    busy = busy_merchant(engine, keyring, admin, NOTE, merchant)
    with serving(_Moody()) as url:
        endpoint = make_endpoint(engine, keyring, busy.owner, url=url, description="Till")
        pending = make_transaction(engine, busy.owner, amount="1234.50", reference="order-1042")
        _some_transactions(engine, admin, busy)
        waiting = _waiting_money(engine, keyring, admin, busy)
        _close_the_books(engine, admin)
        newcomer = make_user(engine, keyring, name="newcomer", password=PASSWORD)
        for _ in range(3):  # what a probe has to open first goes with the next round
            deliver(app)
        with engine.connect() as connection:
            values = {
                "transaction_id": UUID(pending["id"]),
                "user_id": busy.owner.id,
                "endpoint_id": endpoint.id,
                "event_id": connection.scalar(
                    text(
                        "SELECT event_id FROM deliveries WHERE endpoint_id = :id"
                        " ORDER BY created_at DESC LIMIT 1"
                    ),
                    {"id": endpoint.id},
                ),
                "key_id": _key_of(connection, busy.owner),
                **_movements(engine, connection),
            }
            own = {
                **waiting,
                "profile.ask_revoke": {"key_id": _key_of(connection, admin)},
                "users.ask-delete": {"user_id": newcomer.id},
                "refunds.new": {"transaction_id": busy.paid},
                "refunds.ask_late": {"transaction_id": _canceled(connection)},
                "reconciliation.close": {"query": f"?period={_month(1)}"},
                "search.index": {"query": "?q=order-10"},
            }
        yield Scene(app, engine, admin, newcomer, busy, values, own)


def _waiting_money(
    engine: Engine, keyring: Keyring, admin: TestUser, busy: BusyMerchant
) -> dict[str, dict[str, Any]]:
    """Leave an approved payout, and an adjustment that waits for a second admin."""
    with autocommit(engine) as connection:
        asked = payout_service.create(
            connection,
            admin.digest,
            ORIGIN,
            keyring,
            NewPayout(
                amount="120.50",
                destination={"iban": "DE89370400440532013000", "name": "Ada Lovelace"},
                reference="week-48",
                user_id=busy.owner.id,
            ),
        )
        payout_id = UUID(json.loads(asked.body)["id"])
        payout_service.approve(connection, admin.digest, ORIGIN, payout_id)
        adjusted = adjustment_service.create(
            connection,
            busy.second.digest,
            ORIGIN,
            NewAdjustment(
                user_id=busy.owner.id,
                amount="60000.00",
                direction=Direction.CREDIT,
                reason="a bonus for November",
            ),
            alone=TOO_LARGE,
        )
    adjustment_id = UUID(json.loads(adjusted.body)["id"])
    approved = {"payout_id": payout_id}
    pending = {"adjustment_id": adjustment_id}
    return {
        "payouts.ask-fail": approved,
        "payouts.ask-pay": approved,
        "refunds.ask_adjustment-approve": pending,
        "refunds.ask_adjustment-cancel": pending,
    }


def _close_the_books(engine: Engine, admin: TestUser) -> None:
    with autocommit(engine) as connection:
        seal_service.seal(connection)
        close_service.close(
            connection, admin.digest, ORIGIN, period=_month(2), zone=ZoneInfo("UTC")
        )


def _month(ago: int) -> str:
    """Return the calendar month that lies so many behind the present one."""
    today = now()
    year, month = divmod(today.year * 12 + today.month - 1 - ago, 12)
    return f"{year:04}-{month + 1:02}"


def _canceled(connection: Connection) -> UUID:
    """Return a canceled transaction that nobody has paid late."""
    query = text(
        "SELECT t.id FROM transactions t WHERE t.status = 'canceled'"
        " AND NOT EXISTS (SELECT FROM transactions l WHERE l.late_for = t.id) LIMIT 1"
    )
    found: UUID = connection.scalars(query).one()
    return found


def _key_of(connection: Connection, user: TestUser) -> UUID:
    keys = text("SELECT id FROM api_keys WHERE user_id = :id")
    found: UUID = connection.scalars(keys, {"id": user.id}).one()
    return found


def _movements(engine: Engine, connection: Connection) -> dict[str, Any]:
    """Name a payout, a refund and an adjustment, and hold a small file against the books."""
    read_as = Layout(currency="RUB", columns={"reference": "Order", "amount": "Sum", "date": "Day"})
    body = b"Order,Sum,Day\norder-1045,411.03,2026-11-02\norder-9,12.00,2026-11-03\n"
    with spool(io.BytesIO(body), "november.csv", read_as) as file, autocommit(engine) as unit:
        run_id = reconciliation_service.run(unit, SYSTEM, file, Question())
    found = {
        f"{name}_id": connection.scalar(text(f"SELECT id FROM {name}s ORDER BY created_at LIMIT 1"))
        for name in ("payout", "refund", "adjustment")
    }
    return {**found, "run_id": run_id}


def _some_transactions(engine: Engine, admin: TestUser, busy: BusyMerchant) -> None:
    for number in range(1, 13):
        made = make_transaction(
            engine,
            busy.owner,
            amount=f"{number * 137 * 10 ** (number % 3)}.{number:02}",
            reference=f"order-{1042 + number}",
            ttl=1 if number % 7 == 4 else 900,  # those that nobody settles
        )
        with autocommit(engine) as connection:
            if number % 3 == 0:
                transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))
            elif number % 5 == 0:
                transaction_service.cancel(
                    connection, busy.owner.digest, ORIGIN, UUID(made["id"]), reason="changed mind"
                )


def with_extremes(scene: Scene, keyring: Keyring) -> Scene:
    """Add a merchant with the longest name, references and sums that there may be.

    The pages are about it then: its account, and one transaction.
    """
    name = ("Общество с ограниченной ответственностью «Ромашка и сыновья» " * 3)[:127].strip()
    url = f"https://hooks.example.com/{'a' * 200}"
    owner = make_user(scene.engine, keyring, name=name, webhook_url=url, password=PASSWORD)
    made = [
        make_transaction(scene.engine, owner, amount="4999999999999.99", reference=reference)
        for reference in ("R" * 128, "заказ-" * 21)
    ]
    with autocommit(scene.engine) as connection:
        for each in made:
            found = UUID(each["id"])
            for admin in (scene.admin, scene.busy.second):
                transaction_service.confirm(
                    connection, admin.digest, ORIGIN, found, alone=TOO_LARGE
                )
    with scene.engine.connect() as connection:
        key_id = _key_of(connection, owner)
    about = {
        "user_id": owner.id,
        "transaction_id": UUID(made[0]["id"]),
        "key_id": key_id,
    }
    pending = make_transaction(scene.engine, owner, amount="9999999999999.99", reference="Q" * 128)
    asks = {"transactions.ask": {"transaction_id": UUID(pending["id"])}}
    return replace(scene, values={**scene.values, **about}, own={**scene.own, **asks})
