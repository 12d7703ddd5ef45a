"""Which pages of the panel, and lists of the API, are asked for: first, last, common and rare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus
from uuid import UUID

from sqlalchemy import Connection, Row, text

from benchmarks.fill.people import name_of

ADMIN: Final = "admin"
MERCHANT: Final = "big merchant"
OPERATOR: Final = "operator"
VIEWER: Final = "viewer"
API: Final = "api"

_STAFF_ONLY: Final = (ADMIN,)
_BOTH: Final = (ADMIN, MERCHANT)
_ALL: Final = (ADMIN, MERCHANT, OPERATOR, VIEWER)

LIST: Final = "/admin/transactions/"


@dataclass(frozen=True, slots=True)
class Asked:
    """A page: whose it is, and what is sent where it is asked for by a form."""

    name: str
    path: str
    who: tuple[str, ...] = _STAFF_ONLY
    form: dict[str, str] | None = None


class Samples:
    """Rows to ask for, found in the database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.big, self.middle, self.small = name_of(1), name_of(2), name_of(150)
        payment = self.one(
            """
            SELECT id, reference, created_at, user_id, amount FROM transactions
            WHERE user_id = (SELECT id FROM users WHERE name = :name) AND reference IS NOT NULL
                AND status = 'confirmed'
            ORDER BY created_at DESC LIMIT 1 OFFSET 2000
            """,
            name=self.big,
        )
        self.payment, self.reference, self.owner = payment.id, payment.reference, payment.user_id
        self.day = payment.created_at.date().isoformat()
        self.main_units = payment.amount // 100
        self.last_names = self.one(
            "SELECT name FROM users ORDER BY lower(name) DESC OFFSET 26 LIMIT 1"
        ).name

    def one(self, statement: str, **values: object) -> Row[tuple[object, ...]]:
        """Return one row."""
        return self._connection.execute(text(statement), values).one()

    def scalar(self, statement: str, **values: object) -> int:
        """Return one number."""
        return int(self._connection.scalar(text(statement), values) or 0)

    def id_of(self, table: str, where: str = "true") -> str:
        """Return the id of a newest row."""
        return str(
            self.one(f"SELECT id FROM {table} WHERE {where} ORDER BY created_at DESC LIMIT 1").id
        )

    def last_place(self, table: str, where: str = "true") -> str:
        """Return the place in the URL behind which the last page of a list begins."""
        row = self.one(
            f"SELECT created_at, id FROM {table} WHERE {where}"
            " ORDER BY created_at, id OFFSET 26 LIMIT 1"
        )
        return f"{row.created_at.isoformat()}_{row.id}".replace("+", "%2B")


def pages(connection: Connection) -> list[Asked]:
    """Return all pages to ask for."""
    # What is only looked up to be asked for may take long.
    connection.execute(text("SET statement_timeout = 0"))
    found = Samples(connection)
    asked = [
        *_overview(found),
        *_transactions(found),
        *_one_transaction(found),
        *_search(found),
        *_users(found),
        *_movements(found),
        *_webhooks(found),
        *_audit(found),
        *_proof(found),
        *_rest(),
        *_api(found),
    ]
    connection.execute(text("RESET statement_timeout"))
    return asked


def _overview(found: Samples) -> list[Asked]:
    return [
        Asked("dashboard", "/admin/", _ALL),
        Asked("dashboard, changing part", "/admin/live", _BOTH),
        Asked("chart, 24 hours", "/admin/chart?period=24h", _BOTH),
        Asked("chart, 7 days", "/admin/chart?period=7d", _BOTH),
        Asked("chart, 30 days", "/admin/chart?period=30d&currency=RUB", _BOTH),
    ]


def _transactions(found: Samples) -> list[Asked]:
    day = f"created_from={found.day}&created_to={found.day}"
    last, own = found.last_place("transactions"), f"user_id = '{found.owner}'"
    own_last = found.last_place("transactions", own)
    filters = {
        "pending": "status=pending",
        "expired": "status=expired",
        "one currency": "currency=KZT",
        "a currency of few": "currency=JPY",
        "a currency of none": "currency=BTC",
        "one day": day,
        "amounts of a day": f"amount_from=15000&{day}",
        "common amounts": "amount_from=100&amount_to=200",
        "rare amounts": "amount_from=150000&amount_to=200000",
        "one amount": f"amount_from={found.main_units}&amount_to={found.main_units}.99",
        "amounts of none": "amount_from=0.01&amount_to=0.02",
        "expired, some amounts": "status=expired&amount_from=5000&amount_to=5100",
        "some amounts in a currency": "currency=USD&amount_from=30000",
        "reference": f"reference={found.reference}",
        "reference of none": "reference=nothing",
    }
    return [
        Asked("transactions, first page", LIST, _ALL),
        Asked("transactions, last page", f"{LIST}?after={last}"),
        Asked("transactions, last page", f"{LIST}?after={own_last}", (MERCHANT,)),
        Asked("transactions, back from it", f"{LIST}?before={last}", _BOTH),
        *(Asked(f"transactions, {name}", f"{LIST}?{it}", _BOTH) for name, it in filters.items()),
        *(
            Asked(f"transactions of {whose}, {name}", f"{LIST}?user={user}&{it}")
            for whose, user in (("the big merchant", found.big), ("a small one", found.small))
            for name, it in (
                ("first page", ""),
                ("expired", "status=expired"),
                ("canceled", "status=canceled"),
                ("common amounts", "amount_from=100&amount_to=200"),
                ("rare amounts", "amount_from=150000&amount_to=200000"),
                ("one currency", "currency=USD"),
                ("a currency of none", "currency=JPY"),
                ("reference and amounts", f"reference={found.reference}&amount_from=1"),
            )
        ),
        Asked("transactions of nobody", f"{LIST}?user=nobody"),
        Asked("export, asked for", f"{LIST}export", _BOTH),
        Asked("export of a status, asked for", f"{LIST}export?status=confirmed", _BOTH),
        Asked("export of a few, asked for", f"{LIST}export?status=expired&{day}", _BOTH),
        Asked(
            "bulk, preview of 1,000",
            f"{LIST}bulk/confirm/ask?status=pending",
            (ADMIN, OPERATOR),
            form={"all": "1"},
        ),
    ]


def _one_transaction(found: Samples) -> list[Asked]:
    refunded = found.one("SELECT transaction_id AS id FROM refunds LIMIT 1").id
    unpaid = found.id_of("transactions", "status = 'canceled'")
    pending = found.id_of("transactions", "status = 'pending' AND expires_at > now()")
    return [
        Asked("one transaction", f"{LIST}{found.payment}", _ALL),
        Asked("one transaction as JSON", f"{LIST}{found.payment}/json", _BOTH),
        Asked("one transaction, refunded", f"{LIST}{refunded}"),
        Asked("one transaction, confirm?", f"{LIST}{pending}/ask/confirm", (ADMIN, OPERATOR)),
        Asked("one transaction, refund?", f"/admin/refunds/new/{found.payment}"),
        Asked("one transaction, paid late?", f"/admin/refunds/late/{unpaid}/ask"),
    ]


def _search(found: Samples) -> list[Asked]:
    ids = {
        "id of a transaction": found.payment,
        "id of a refund": found.id_of("refunds"),
        "id of a payout": found.id_of("payouts"),
        "id of an event": found.id_of("events"),
        "id of nothing": UUID(int=1),
        "reference": found.reference,
        "name": "merchant-001",
    }
    return [Asked(f"search, {name}", f"/admin/search/?q={it}", _BOTH) for name, it in ids.items()]


def _users(found: Samples) -> list[Asked]:
    small = found.one("SELECT id FROM users WHERE name = :name", name=found.small).id
    of_staff = found.id_of("users", "role = 'admin'")
    users = "/admin/users/"
    return [
        Asked("users, first page", users, (ADMIN, OPERATOR, VIEWER)),
        Asked("users, last page", f"{users}?after={found.last_names}"),
        Asked("users, common part of a name", f"{users}?name=merchant"),
        Asked("users, rare part of a name", f"{users}?name={found.small[-4:]}"),
        Asked("users, name of none", f"{users}?name=zzz"),
        Asked("one user, the big merchant", f"{users}{found.owner}", _ALL),
        Asked("one user, a small merchant", f"{users}{small}"),
        Asked("one user, of the staff", f"{users}{of_staff}"),
        Asked("one user, change", f"{users}{small}/edit"),
        Asked("one user, deactivate?", f"{users}{small}/ask/deactivate"),
    ]


def _movements(found: Samples) -> list[Asked]:
    asked = []
    filters = {
        "first page": "",
        "of the big merchant": f"user={found.big}",
        "of a small one": f"user={found.small}",
        "a common currency": "currency=RUB",
        "a currency of none": "currency=BTC",
        "one day": f"created_from={found.day}&created_to={found.day}",
    }
    lists = (
        ("payouts", "/admin/payouts/", "payouts"),
        ("refunds", "/admin/refunds/", "refunds"),
        ("adjustments", "/admin/refunds/adjustments/", "adjustments"),
    )
    for name, path, table in lists:
        mine = f"user_id = '{found.owner}'"
        asked += [
            *(Asked(f"{name}, {each}", f"{path}?{it}", _BOTH) for each, it in filters.items()),
            Asked(f"{name}, last page", f"{path}?after={found.last_place(table)}"),
            Asked(f"one of {name}", f"{path}{found.id_of(table)}"),
            Asked(
                f"one of {name}",
                f"{path}{found.id_of(table, mine)}",
                (MERCHANT,),
            ),
        ]
    common = found.one("SELECT reference FROM payouts ORDER BY created_at LIMIT 1").reference
    payouts = {
        **{f"status {each}": f"status={each}" for each in ("open", "paid", "failed", "canceled")},
        "status rejected": "status=rejected",
        "common reference": f"reference={quote_plus(common)}",
        "reference of none": "reference=nothing",
        "failed, a small merchant": f"status=failed&user={found.small}",
    }
    return [
        *asked,
        *(Asked(f"payouts, {it}", f"/admin/payouts/?{q}", _BOTH) for it, q in payouts.items()),
        Asked("payouts, a new one", "/admin/payouts/new"),
        Asked("refunds of one transaction", f"/admin/refunds/?transaction={found.payment}"),
        Asked("adjustments, pending", "/admin/refunds/adjustments/?status=pending"),
        Asked("adjustments, a new one", "/admin/refunds/adjustments/new"),
    ]


def _webhooks(found: Samples) -> list[Asked]:
    path = "/admin/webhooks/"
    failing = found.one(
        "SELECT endpoint_id AS id FROM webhook_lanes ORDER BY failures DESC LIMIT 1"
    ).id
    dead = found.one("SELECT event_id AS id FROM deliveries WHERE state = 'dead' LIMIT 1").id
    own = found.id_of("events", f"user_id = '{found.owner}'")
    filters = {
        "first page": "",
        "last page": f"after={found.last_place('events')}",
        **{f"state {each}": f"state={each}" for each in ("waiting", "delivered", "dead")},
        **{f"answer {each}": f"answer={each}" for each in ("2xx", "3xx", "4xx", "5xx", "none")},
        "common type": "type=transaction.confirmed",
        "rare type": "type=payout.canceled",
        "type of none": "type=endpoint.disabled",
        "endpoint of the big merchant": f"endpoint={found.owner}",
        "dead of its endpoint": f"endpoint={found.owner}&state=dead",
        "3xx of its endpoint": f"endpoint={found.owner}&answer=3xx",
        "failing endpoint": f"endpoint={failing}",
        "waiting of a failing endpoint": f"endpoint={failing}&state=waiting",
        "one transaction": f"transaction={found.payment}",
        "one day": f"created_from={found.day}&created_to={found.day}",
        "dead of a day": f"state=dead&created_from={found.day}&created_to={found.day}",
        "4xx of a day": f"answer=4xx&created_from={found.day}&created_to={found.day}",
        "dead of a merchant": f"state=dead&user={found.middle}",
    }
    return [
        *(Asked(f"events, {each}", f"{path}?{it}", _BOTH) for each, it in filters.items()),
        Asked("events, first page", path, (OPERATOR, VIEWER)),
        Asked("one event", f"{path}{own}", _BOTH),
        Asked("one event, given up", f"{path}{dead}"),
        Asked("one event, send again?", f"{path}{own}/ask", _BOTH),
        Asked("dead events, send again?", f"{path}replay/ask?state=dead"),
        Asked("one endpoint", f"{path}endpoints/{found.owner}", _BOTH),
        Asked("one endpoint, failing", f"{path}endpoints/{failing}"),
        Asked("one endpoint, change", f"{path}endpoints/{found.owner}/edit", _BOTH),
    ]


def _audit(found: Samples) -> list[Asked]:
    path = "/admin/audit/"
    last = found.one(
        "SELECT created_at, id FROM audit_log ORDER BY created_at, id OFFSET 26 LIMIT 1"
    )
    place = f"{last.created_at.isoformat()}_{last.id}".replace("+", "%2B")
    filters = {
        "first page": "",
        "last page": f"after={place}",
        "back from it": f"before={place}",
        "common actor": "actor=operator",
        "one of many actors": "actor=operator-07",
        "actor of none": "actor=nobody",
        "common action": "action=transaction.confirmed",
        "rare action": "action=endpoint.disabled",
        "rare action of an actor": "action=endpoint.disabled&actor=operator-07",
        "kind of object": "object_type=transaction",
        "rare kind of object": "object_type=webhook_endpoint",
        "one object": f"object_id={found.payment}",
        "object of none": "object_id=nothing",
        "one day": f"created_from={found.day}&created_to={found.day}",
        "an actor's day": f"actor=operator&created_from={found.day}&created_to={found.day}",
    }
    return [
        *(Asked(f"audit log, {each}", f"{path}?{it}") for each, it in filters.items()),
        Asked("audit log, first page", path, (OPERATOR, VIEWER)),
    ]


def _proof(found: Samples) -> list[Asked]:
    path = "/admin/reconciliation/"
    run = found.one("SELECT id, lines FROM reconciliations ORDER BY lines DESC LIMIT 1")
    oldest = found.scalar("SELECT number FROM reconciliations ORDER BY number OFFSET 26 LIMIT 1")
    return [
        Asked("closes", path, _ALL),
        Asked("statement, asked for", f"{path}statement", _BOTH),
        Asked("reconciliations, first page", f"{path}runs/"),
        Asked("reconciliations, last page", f"{path}runs/?after={oldest}"),
        Asked("one reconciliation", f"{path}runs/{run.id}"),
        Asked("one reconciliation, last page", f"{path}runs/{run.id}?after={run.lines - 20}"),
        Asked("one reconciliation, differing", f"{path}runs/{run.id}?outcome=differing"),
        Asked("one reconciliation, matched", f"{path}runs/{run.id}?outcome=matched"),
        Asked("reconciliations, a new one", f"{path}runs/new"),
    ]


def _rest() -> list[Asked]:
    return [
        Asked("settings", "/admin/settings/"),
        Asked("settings, health", "/admin/settings/health"),
        Asked("profile", "/admin/profile/", _ALL),
        Asked("second factor", "/admin/profile/second-factor", _BOTH),
    ]


def _api(found: Samples) -> list[Asked]:
    paths = {
        "transactions": "/transactions",
        "transactions, expired": "/transactions?status=expired",
        "events": "/events",
        "events, dead": "/events?state=dead",
        "events, waiting": "/events?state=waiting",
        "events, delivered": "/events?state=delivered",
        "events, dead of an endpoint": f"/events?state=dead&endpoint_id={found.owner}",
        "events, rare type": "/events?type=payout.canceled",
        "payouts": "/payouts",
        "payouts, pending": "/payouts?status=pending",
        "refunds": "/refunds",
        "adjustments": "/adjustments",
    }
    return [Asked(f"API, {name}", path, (API,)) for name, path in paths.items()]
