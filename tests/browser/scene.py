"""A service with something on every page, and the addresses of all pages that can be asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import Connection, Engine, text
from werkzeug.routing import AnyConverter, Rule

from standart import admin as panel_module
from standart.bank_files.layout import Layout
from standart.db import autocommit
from standart.delivery import Deliverer
from standart.encryption import Keyring
from standart.services import reconciliation_service, transaction_service
from standart.services.access import SYSTEM
from standart.services.reconciliation_service import Question
from standart.services.reconciliation_spool import spool
from tests.builders import ORIGIN, TestUser, make_endpoint, make_transaction
from tests.integration.hooks import Answer, serving
from tests.integration.panel_scene import BusyMerchant, busy_merchant

NOTE = "Paid by card at the till; the receipt is <b>in the drawer</b>."

# What a page is not: files, fragments, answers for a script, and what only leads elsewhere.
NO_PAGES = frozenset(
    {
        "panel.static",
        "panel.home",
        "panel.login",
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

    ``own`` has those of endpoints that are about the admin, who walks through the pages.
    """

    app: Flask
    admin: TestUser
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
            known = self.values | self.own.get(rule.endpoint, {})
            values = {
                **{name: known[name] for name in rule.arguments - choices.keys()},
                **dict(zip(choices, chosen, strict=True)),
            }
            built = rule.build(values, append_unknown=False)
            assert built is not None, rule
            yield "-".join([rule.endpoint, *chosen]), built[1]


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
def full_scene(app: Flask, engine: Engine, keyring: Keyring, admin: TestUser) -> Iterator[Scene]:
    """Fill the database; a receiver listens while the scene lives."""
    app.extensions["standart.nudge"] = app.extensions["standart.replay_nudge"] = lambda: None
    busy = busy_merchant(engine, keyring, admin, NOTE)
    with serving(_Moody()) as url:
        endpoint = make_endpoint(engine, keyring, busy.owner, url=url, description="Till")
        pending = make_transaction(engine, busy.owner, amount="1234.50", reference="order-1042")
        _some_transactions(engine, admin, busy)
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
            own = {"profile.ask_revoke": {"key_id": _key_of(connection, admin)}}
        yield Scene(app, admin, busy, values, own)


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
            ttl=1 if number % 7 == 3 else 900,
        )
        with autocommit(engine) as connection:
            if number % 3 == 0:
                transaction_service.confirm(connection, admin.digest, ORIGIN, UUID(made["id"]))
            elif number % 5 == 0:
                transaction_service.cancel(
                    connection, busy.owner.digest, ORIGIN, UUID(made["id"]), reason="changed mind"
                )
