"""Every route of the app has a rule about who may use it, and keeps it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.routing import AnyConverter, Rule
from werkzeug.test import TestResponse

from standart.api.operations import OPERATIONS
from standart.db import autocommit
from standart.encryption import Keyring
from standart.models import Scope
from tests.world import World, contents, make_world

# Endpoint → the scope that its key needs. A new route without an entry fails the suite.
KEYED = {
    "api.create_transaction": Scope.WRITE,
    "api.cancel_transaction": Scope.WRITE,
    "api.confirm_transaction": Scope.CONFIRM,
    "api.check_transaction": Scope.READ,
    "api.transactions": Scope.READ,
    "api.preview_commission": Scope.READ,
    "api.record_late_payment": Scope.CONFIRM,
    "api.create_refund": Scope.REFUND,
    "api.check_refund": Scope.READ,
    "api.refunds": Scope.READ,
    "api.create_payout": Scope.PAYOUT,
    "api.approve_payout": Scope.CONFIRM,
    "api.reject_payout": Scope.CONFIRM,
    "api.cancel_payout": Scope.PAYOUT,
    "api.complete_payout": Scope.CONFIRM,
    "api.check_payout": Scope.READ,
    "api.payouts": Scope.READ,
    "api.payout_destination": Scope.CONFIRM,
    "api.create_adjustment": Scope.CONFIRM,
    "api.approve_adjustment": Scope.CONFIRM,
    "api.cancel_adjustment": Scope.CONFIRM,
    "api.check_adjustment": Scope.READ,
    "api.adjustments": Scope.READ,
    "api.create_note": Scope.WRITE,
    "api.notes": Scope.READ,
    "api.balance": Scope.READ,
    "api.statement": Scope.READ,
    "api.receipt": Scope.READ,
    "api.close_period": Scope.CONFIRM,
    "api.closes": Scope.READ,
    "api.chain_head": Scope.READ,
    "api.events": Scope.READ,
    "api.event": Scope.READ,
    "api.attempts": Scope.READ,
    "api.replay_event": Scope.WRITE,
    "api.create_webhook_endpoint": Scope.WRITE,
    "api.webhook_endpoints": Scope.READ,
    "api.webhook_endpoint": Scope.READ,
    "api.update_webhook_endpoint": Scope.WRITE,
    "api.delete_webhook_endpoint": Scope.WRITE,
    "api.rotate_webhook_secret": Scope.WRITE,
    "api.test_webhook_endpoint": Scope.WRITE,
    "api.replay_webhook_endpoint": Scope.WRITE,
    "api.webhook_replays": Scope.READ,
    "api.webhook_replay": Scope.READ,
}
PUBLIC = {
    "api.healthz",
    "api.readyz",
    "api.receipt_keys",
    "flasgger.apidocs",
    "flasgger.apispec",
    "flasgger.static",
    "panel.static",
    "panel.home",
    "panel.login",
    "panel.code",
    "panel.logout",
    "panel.switch_language",
    "panel.switch_theme",
    "panel.switch_refresh",
}
# Blueprints whose every other route needs a login of the panel.
PANEL = {
    "admin",
    "profile",
    "users",
    "transactions",
    "search",
    "payouts",
    "refunds",
    "reconciliation",
    "webhooks",
    "audit",
    "settings",
}

BRACES = str.maketrans("<>", "{}")

UNKNOWN = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"

Send = Callable[[FlaskClient, dict[str, str], World], TestResponse]


def rules(app: Flask) -> list[Rule]:
    return sorted(app.url_map.iter_rules(), key=lambda rule: str(rule))


def test_every_route_has_exactly_one_rule(app: Flask) -> None:
    for rule in rules(app):
        known = [
            rule.endpoint in KEYED,
            rule.endpoint in PUBLIC,
            rule.endpoint.partition(".")[0] in PANEL and rule.endpoint not in PUBLIC,
        ]
        assert sum(known) == 1, f"{rule} ({rule.endpoint}) has no rule about who may use it"


def test_no_rule_is_left_over(app: Flask) -> None:
    assert {rule.endpoint for rule in rules(app)} >= KEYED.keys() | PUBLIC


def test_the_documentation_tells_the_same_scopes(app: Flask) -> None:
    told = {(each.method, each.path): each.scope for each in OPERATIONS}
    kept = {
        (method.lower(), re.sub("<(?:event|endpoint)_id>", "{id}", str(rule)).translate(BRACES)): (
            KEYED.get(rule.endpoint)
        )
        for rule in rules(app)
        if rule.endpoint.startswith("api.")
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert kept == told


def filled(rule: Rule) -> str:
    """The rule's path with an unknown id wherever it takes one."""
    values: dict[str, Any] = {
        name: min(converter.items) if isinstance(converter, AnyConverter) else UNKNOWN
        for name, converter in rule._converters.items()
    }
    built = rule.build(values, append_unknown=False)
    assert built is not None
    return built[1]


def test_the_panel_knows_nobody_without_a_login(
    app: Flask, engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    world = make_world(engine, superuser, keyring)
    client = app.test_client()
    with autocommit(engine) as connection:
        before = contents(connection)
        for rule in rules(app):
            if rule.endpoint.partition(".")[0] not in PANEL or rule.endpoint in PUBLIC:
                continue
            for method in (rule.methods or set()) - {"OPTIONS"}:
                for headers in ({}, world.admin.headers):
                    reply = client.open(filled(rule), method=method, headers=headers)
                    # A post without a token is refused before anybody is asked for.
                    allowed = {400} if method == "POST" else {302, 303, 401}
                    assert reply.status_code in allowed, (rule, method, reply.status_code)
        assert contents(connection) == before


def test_public_routes_answer_without_a_key(app: Flask) -> None:
    client = app.test_client()
    for path in ("/healthz", "/readyz", "/receipt_keys", "/apidocs/", "/apispec.json", "/login"):
        assert client.get(path).status_code == 200, path


class Case(NamedTuple):
    """How to call a route about the shop's ``pending`` transaction, and what each caller gets."""

    endpoint: str
    send: Send
    owner: int
    stranger: int
    admin: int


def post(path: str, **members: str) -> Send:
    def send(client: FlaskClient, headers: dict[str, str], world: World) -> TestResponse:
        body = {key: world.ids.get(value, value) for key, value in members.items()}
        return client.post(path, json=body, headers=headers)

    return send


def get(path: str, subject: str = "") -> Send:
    def send(client: FlaskClient, headers: dict[str, str], world: World) -> TestResponse:
        return client.get(path + world.ids.get(subject, ""), headers=headers)

    return send


def about(method: str, path: str, **members: Any) -> Send:
    """Call ``path``, which has the name of its subject in braces."""

    def send(client: FlaskClient, headers: dict[str, str], world: World) -> TestResponse:
        place = path.format_map(world.ids)
        return client.open(place, method=method, json=members or None, headers=headers)

    return send


HOOK = "https://warehouse.example/hook"
ENDPOINT = "/webhook_endpoints/{endpoint}"
EARLIER, LATER = "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"

MATRIX = [
    Case("api.create_transaction", post("/create_transaction", amount="1.00"), 201, 201, 422),
    Case("api.cancel_transaction", post("/cancel_transaction", id="pending"), 200, 404, 200),
    Case("api.confirm_transaction", post("/confirm_transaction", id="pending"), 403, 403, 200),
    Case("api.check_transaction", get("/check_transaction?id=", "pending"), 200, 404, 200),
    Case("api.transactions", get("/transactions"), 200, 200, 200),
    Case("api.preview_commission", post("/preview_commission", amount="1.00"), 200, 200, 422),
    Case("api.record_late_payment", post("/record_late_payment", id="canceled"), 403, 403, 201),
    Case("api.create_refund", post("/create_refund", id="confirmed", amount="1.00"), 201, 404, 201),
    Case("api.check_refund", get("/check_refund?id=", "refund"), 200, 404, 200),
    Case("api.refunds", get("/refunds"), 200, 200, 200),
    Case("api.create_payout", post("/create_payout", amount="1.00"), 201, 409, 422),
    Case("api.approve_payout", post("/approve_payout", id="payout"), 403, 403, 200),
    Case("api.reject_payout", post("/reject_payout", id="payout", reason="No."), 403, 403, 200),
    Case("api.cancel_payout", post("/cancel_payout", id="payout"), 200, 404, 200),
    Case(
        "api.complete_payout", post("/complete_payout", id="payout", result="paid"), 403, 403, 409
    ),
    Case("api.check_payout", get("/check_payout?id=", "payout"), 200, 404, 200),
    Case("api.payouts", get("/payouts"), 200, 200, 200),
    Case("api.payout_destination", get("/payout_destination?id=", "payout"), 403, 403, 200),
    Case(
        "api.create_adjustment",
        post(
            "/create_adjustment", user_id="user", amount="1.00", direction="credit", reason="Error"
        ),
        403,
        403,
        201,
    ),
    Case("api.approve_adjustment", post("/approve_adjustment", id="adjustment"), 403, 403, 200),
    Case("api.cancel_adjustment", post("/cancel_adjustment", id="adjustment"), 403, 403, 200),
    Case("api.check_adjustment", get("/check_adjustment?id=", "adjustment"), 200, 404, 200),
    Case("api.adjustments", get("/adjustments"), 200, 200, 200),
    Case("api.create_note", post("/create_note", id="pending", text="Call back"), 201, 404, 201),
    Case("api.notes", get("/notes?id=", "pending"), 200, 404, 200),
    Case("api.balance", get("/balance"), 200, 200, 422),
    Case("api.statement", get("/statement"), 200, 200, 422),
    Case("api.receipt", get("/receipt?id=", "confirmed"), 200, 404, 200),
    Case("api.close_period", post("/close_period", period="2026-01"), 403, 403, 201),
    Case("api.closes", get("/closes"), 200, 200, 200),
    Case("api.chain_head", get("/chain_head"), 200, 200, 200),
    Case("api.events", get("/events"), 200, 200, 200),
    Case("api.event", get("/events/", "event"), 200, 404, 200),
    Case("api.attempts", about("GET", "/events/{event}/attempts"), 200, 404, 200),
    Case("api.replay_event", about("POST", "/events/{event}/replay"), 202, 404, 202),
    Case("api.create_webhook_endpoint", post("/webhook_endpoints", url=HOOK), 201, 201, 422),
    Case("api.webhook_endpoints", get("/webhook_endpoints"), 200, 200, 200),
    Case("api.webhook_endpoint", about("GET", ENDPOINT), 200, 404, 200),
    Case("api.update_webhook_endpoint", about("PATCH", ENDPOINT, ordered=True), 200, 404, 200),
    Case("api.delete_webhook_endpoint", about("DELETE", ENDPOINT), 200, 404, 404),
    Case("api.rotate_webhook_secret", about("POST", f"{ENDPOINT}/rotate_secret"), 200, 404, 200),
    Case("api.test_webhook_endpoint", about("POST", f"{ENDPOINT}/test"), 202, 404, 202),
    Case(
        "api.replay_webhook_endpoint",
        about("POST", f"{ENDPOINT}/replay", since=EARLIER, until=LATER, status="all"),
        202,
        404,
        202,
    ),
    Case("api.webhook_replays", about("GET", f"{ENDPOINT}/replays"), 200, 404, 200),
    Case("api.webhook_replay", about("GET", f"{ENDPOINT}/replays/{{replay}}"), 200, 404, 200),
]


def test_the_matrix_has_every_route() -> None:
    assert [case.endpoint for case in MATRIX] == list(KEYED)


@pytest.mark.parametrize("case", MATRIX, ids=[case.endpoint for case in MATRIX])
def test_owner_stranger_admin_and_nobody(
    case: Case, client: FlaskClient, engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    world = make_world(engine, superuser, keyring)

    def status(name: str | None) -> int:
        headers = {"Authorization": f"Bearer {world.keys[name]}"} if name else {}
        return case.send(client, headers, world).status_code

    with autocommit(engine) as connection:
        before = contents(connection)
        assert status(None) == 401
        for name in ("revoked", "expired", "deactivated", "unknown"):
            assert status(name) == 401, name
        scope = KEYED[case.endpoint]
        lacking = {Scope.READ: "writer", Scope.WRITE: "reader"}.get(scope, "shop")
        assert status(lacking) == 403
        # To pay out and to refund is not among a key's default scopes.
        trusted = "trusted " if scope in (Scope.PAYOUT, Scope.REFUND) else ""
        if case.stranger in (403, 404):
            assert status(f"{trusted}stranger") == case.stranger
        assert contents(connection) == before
    assert status(f"{trusted}stranger") == case.stranger
    assert status(f"{trusted}shop") == case.owner
    assert status("admin") == case.admin


# What an operator's key is refused, beside what needs a scope that it cannot have: settings
# of merchants and money from nowhere are for admins. All else is as for an admin.
NOT_FOR_OPERATORS = {
    "api.close_period",
    "api.create_payout",
    "api.cancel_payout",
    "api.create_adjustment",
    "api.approve_adjustment",
    "api.cancel_adjustment",
    "api.update_webhook_endpoint",
    "api.delete_webhook_endpoint",
    "api.rotate_webhook_secret",
}


@pytest.mark.parametrize("case", MATRIX, ids=[case.endpoint for case in MATRIX])
def test_operator_and_viewer(
    case: Case, client: FlaskClient, engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    world = make_world(engine, superuser, keyring)

    def status(name: str) -> int:
        headers = {"Authorization": f"Bearer {world.keys[name]}"}
        return case.send(client, headers, world).status_code

    with autocommit(engine) as connection:
        before = contents(connection)
        reads = KEYED[case.endpoint] is Scope.READ
        assert status("viewer") == (case.admin if reads else 403)
        if not reads:
            assert contents(connection) == before
    refused = case.endpoint in NOT_FOR_OPERATORS
    assert status("operator") == (403 if refused else case.admin)


@pytest.mark.parametrize("name", ["operator", "viewer"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/create_transaction", {"amount": "1.00"}),
        ("/create_payout", {"amount": "1.00"}),
        ("/webhook_endpoints", {"url": HOOK}),
    ],
)
def test_only_an_admin_acts_on_behalf_of_a_merchant(
    client: FlaskClient,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    name: str,
    path: str,
    body: dict[str, str],
) -> None:
    world = make_world(engine, superuser, keyring)
    headers = {"Authorization": f"Bearer {world.keys[name]}"}
    with autocommit(engine) as connection:
        before = contents(connection)

        for named in ({}, {"user_id": str(world.shop.id)}):
            answer = client.post(path, json=body | named, headers=headers)
            assert answer.status_code == (403 if named or name == "viewer" else answer.status_code)
            assert answer.status_code in (403, 422)

        assert contents(connection) == before


def test_lists_hold_the_callers_own_rows_only(
    client: FlaskClient, engine: Engine, superuser: Engine, keyring: Keyring
) -> None:
    world = make_world(engine, superuser, keyring)
    for path in (
        "/transactions",
        "/refunds",
        "/payouts",
        "/adjustments",
        "/events",
        "/webhook_endpoints",
    ):
        for query in ("", f"?user_id={world.shop.id}"):
            rows = client.get(path + query, headers=world.stranger.headers).json["data"]
            assert {row["user_id"] for row in rows} <= {str(world.stranger.id)}
        everything = client.get(path, headers=world.admin.headers).json["data"]
        assert str(world.shop.id) in {row["user_id"] for row in everything}
        named = client.get(f"{path}?user_id={world.shop.id}", headers=world.admin.headers)
        assert {row["user_id"] for row in named.json["data"]} == {str(world.shop.id)}
