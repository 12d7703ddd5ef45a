"""Who reaches which page, by what; a page that the table does not name fails the suite."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart import admin as panel_module
from standart.admin.matrix import RULES
from standart.bank_files.layout import Layout
from standart.db import Base, autocommit, transaction
from standart.encryption import Keyring
from standart.models import Role, User
from standart.services import (
    adjustment_service,
    reconciliation_service,
    refund_service,
    session_service,
    transaction_service,
)
from standart.services.access import SYSTEM
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.services.reconciliation_service import Question
from standart.services.reconciliation_spool import spool
from standart.services.refund_service import NewRefund
from tests.builders import (
    ORIGIN,
    PASSWORD,
    TestUser,
    make_endpoint,
    make_transaction,
    make_user,
)
from tests.integration.panel import Panel, kept_rows
from tests.integration.payouts import DESTINATION, created

# (endpoint, method) → status for nobody, for a merchant, for an admin. The objects belong to
# another merchant. 303 for nobody is the way to the login.
MATRIX: dict[tuple[str, str], tuple[int, int, int]] = {
    ("panel.static", "GET"): (200, 200, 200),
    ("panel.home", "GET"): (303, 303, 303),
    ("panel.login", "GET"): (200, 303, 303),
    ("panel.login", "POST"): (401, 401, 401),
    ("panel.code", "GET"): (303, 303, 303),
    ("panel.code", "POST"): (303, 303, 303),
    ("panel.logout", "POST"): (303, 303, 303),
    ("panel.switch_language", "POST"): (303, 303, 303),
    ("panel.switch_theme", "POST"): (303, 303, 303),
    ("panel.switch_refresh", "POST"): (303, 303, 303),
    ("admin.index", "GET"): (303, 200, 200),
    ("admin.live", "GET"): (303, 200, 200),
    ("admin.chart", "GET"): (303, 200, 200),
    ("search.index", "GET"): (303, 200, 200),
    ("profile.index", "GET"): (303, 200, 200),
    ("profile.prove", "GET"): (303, 303, 303),
    ("profile.prove", "POST"): (303, 401, 401),
    ("profile.save_preferences", "POST"): (303, 303, 303),
    ("profile.change_password", "POST"): (303, 422, 422),
    ("profile.end_session", "POST"): (303, 404, 404),
    ("profile.end_others", "POST"): (303, 303, 303),
    ("profile.create_key", "POST"): (303, 201, 201),
    ("profile.ask_revoke", "GET"): (303, 404, 404),
    ("profile.revoke_key", "POST"): (303, 404, 404),
    ("profile.second_factor", "GET"): (303, 200, 200),
    ("profile.begin_factor", "POST"): (303, 200, 200),
    ("profile.confirm_factor", "POST"): (303, 409, 409),
    ("profile.ask_factor", "GET"): (303, 200, 200),
    ("profile.remove_factor", "POST"): (303, 303, 303),
    ("profile.renew_codes", "POST"): (303, 303, 303),
    ("users.index", "GET"): (303, 403, 200),
    ("users.new", "GET"): (303, 403, 200),
    ("users.new", "POST"): (303, 403, 422),
    ("users.detail", "GET"): (303, 404, 200),
    ("users.edit", "GET"): (303, 403, 200),
    ("users.edit", "POST"): (303, 403, 422),
    ("users.ask", "GET"): (303, 403, 200),
    ("users.delete", "POST"): (303, 403, 303),
    ("users.deactivate", "POST"): (303, 403, 303),
    ("users.activate", "POST"): (303, 403, 303),
    ("users.create_key", "POST"): (303, 403, 201),
    ("users.ask_revoke", "GET"): (303, 403, 200),
    ("users.revoke_key", "POST"): (303, 403, 303),
    ("users.show_secret", "POST"): (303, 403, 200),
    ("users.ask_rotate", "GET"): (303, 403, 200),
    ("users.rotate_secret", "POST"): (303, 403, 200),
    ("users.ask_reset", "GET"): (303, 403, 200),
    ("users.reset_factor", "POST"): (303, 403, 303),
    ("users.end_session", "POST"): (303, 403, 303),
    ("users.end_sessions", "POST"): (303, 403, 303),
    ("transactions.index", "GET"): (303, 200, 200),
    ("transactions.detail", "GET"): (303, 404, 200),
    ("transactions.as_json", "GET"): (303, 404, 200),
    ("transactions.ask_export", "GET"): (303, 200, 200),
    ("transactions.export", "POST"): (303, 200, 200),
    # Nothing is chosen, so there is nothing to ask about and nothing to do.
    ("transactions.bulk_ask", "POST"): (303, 403, 303),
    ("transactions.bulk", "POST"): (303, 403, 422),
    ("transactions.ask", "GET"): (303, 403, 200),
    ("transactions.confirm", "POST"): (303, 403, 303),
    ("transactions.cancel", "POST"): (303, 403, 303),
    ("transactions.write_note", "POST"): (303, 403, 303),
    ("payouts.index", "GET"): (303, 200, 200),
    ("payouts.detail", "GET"): (303, 404, 200),
    ("payouts.destination", "POST"): (303, 403, 200),
    ("payouts.ask", "GET"): (303, 403, 200),
    ("payouts.approve", "POST"): (303, 403, 303),
    ("payouts.reject", "POST"): (303, 403, 303),
    ("payouts.paid", "POST"): (303, 403, 303),
    ("payouts.failed", "POST"): (303, 403, 303),
    ("payouts.cancel", "POST"): (303, 403, 303),
    ("payouts.new", "GET"): (303, 403, 200),
    ("payouts.new", "POST"): (303, 403, 200),
    ("payouts.create", "POST"): (303, 403, 303),
    ("refunds.index", "GET"): (303, 200, 200),
    ("refunds.detail", "GET"): (303, 404, 200),
    ("refunds.new", "GET"): (303, 403, 303),
    ("refunds.new", "POST"): (303, 403, 303),
    ("refunds.create", "POST"): (303, 403, 409),
    ("refunds.ask_late", "GET"): (303, 403, 303),
    ("refunds.record_late", "POST"): (303, 403, 303),
    ("refunds.adjustments", "GET"): (303, 200, 200),
    ("refunds.adjustment", "GET"): (303, 404, 200),
    ("refunds.new_adjustment", "GET"): (303, 403, 200),
    ("refunds.new_adjustment", "POST"): (303, 403, 200),
    ("refunds.create_adjustment", "POST"): (303, 403, 303),
    ("refunds.ask_adjustment", "GET"): (303, 403, 200),
    ("refunds.approve_adjustment", "POST"): (303, 403, 303),
    ("refunds.cancel_adjustment", "POST"): (303, 403, 303),
    ("reconciliation.index", "GET"): (303, 200, 200),
    ("reconciliation.close", "GET"): (303, 403, 303),
    ("reconciliation.close", "POST"): (303, 403, 303),
    ("reconciliation.statement", "GET"): (303, 200, 200),
    ("reconciliation.download", "GET"): (303, 200, 422),
    ("reconciliation.receipt", "GET"): (303, 404, 303),
    ("reconciliation.runs", "GET"): (303, 403, 200),
    ("reconciliation.new_run", "GET"): (303, 403, 200),
    ("reconciliation.new_run", "POST"): (303, 403, 422),
    ("reconciliation.run", "GET"): (303, 403, 200),
    ("reconciliation.report", "GET"): (303, 403, 200),
    ("webhooks.index", "GET"): (303, 200, 200),
    ("webhooks.detail", "GET"): (303, 404, 200),
    ("webhooks.ask_replay", "GET"): (303, 404, 200),
    ("webhooks.replay", "POST"): (303, 404, 303),
    ("webhooks.ask_replay_set", "GET"): (303, 200, 200),
    ("webhooks.replay_set", "POST"): (303, 303, 303),
    ("webhooks.one_endpoint", "GET"): (303, 404, 200),
    ("webhooks.new_endpoint", "GET"): (303, 404, 200),
    ("webhooks.new_endpoint", "POST"): (303, 404, 201),
    ("webhooks.edit_endpoint", "GET"): (303, 404, 200),
    ("webhooks.edit_endpoint", "POST"): (303, 404, 303),
    ("webhooks.ask_endpoint", "GET"): (303, 404, 200),
    ("webhooks.delete_endpoint", "POST"): (303, 404, 303),
    ("webhooks.disable_endpoint", "POST"): (303, 404, 303),
    ("webhooks.enable_endpoint", "POST"): (303, 404, 303),
    ("webhooks.endpoint_secret", "POST"): (303, 404, 200),
    ("webhooks.ask_rotate_endpoint", "GET"): (303, 404, 200),
    ("webhooks.rotate_endpoint", "POST"): (303, 404, 200),
    ("webhooks.ping", "POST"): (303, 404, 303),
    ("webhooks.check", "POST"): (303, 404, 200),
    ("webhooks.replay_span", "POST"): (303, 404, 303),
    ("audit.index", "GET"): (303, 403, 200),
    ("audit.export", "POST"): (303, 403, 200),
    ("settings.index", "GET"): (303, 403, 200),
    ("settings.health", "GET"): (303, 403, 200),
}
# Said once more, apart from the table that the panel is driven by.
OWN = {endpoint for endpoint in RULES if endpoint.startswith("profile.")}
CHANGED_BY = {
    Role.ADMIN: set(RULES),
    Role.OPERATOR: OWN
    | {
        "transactions.confirm",
        "transactions.cancel",
        "transactions.write_note",
        "transactions.bulk_ask",
        "transactions.bulk",
        "transactions.export",
        "payouts.destination",
        "payouts.approve",
        "payouts.reject",
        "payouts.paid",
        "payouts.failed",
        "refunds.new",
        "refunds.create",
        "refunds.record_late",
        "webhooks.replay",
        "webhooks.ping",
        "webhooks.check",
        "webhooks.replay_span",
        "webhooks.replay_set",
        "audit.export",
    },
    Role.VIEWER: OWN | {"transactions.export", "audit.export"},
    Role.REGULAR: OWN
    | {"transactions.export"}
    | {endpoint for endpoint in RULES if endpoint.startswith("webhooks.")},
}
# What an owner gets that an admin, to whom the objects do not belong, does not.
OWN_ROWS = {
    "profile.end_session": 303,
    "profile.ask_revoke": 200,
    "profile.revoke_key": 303,
    "reconciliation.download": 200,
}
POSTS = sorted(endpoint for endpoint, method in MATRIX if method == "POST")
# A form's own address shows it; every other address that changes something only takes POST.
FORMS = {endpoint for endpoint in POSTS if (endpoint, "GET") in MATRIX}

ONCE = {"once": "00000000-0000-7000-8000-0000000000aa"}
PAYOUT = {"user": "owner", "amount": "1.00", **ONCE}
ADJUSTMENT = {**PAYOUT, "direction": "credit", "reason": "Counted anew."}

LAYOUT = Layout(currency="RUB", columns={"amount": "amount", "date": "date"})

# On a port of the loopback where nobody listens, so a check-up ends at once.
ENDPOINT = {"url": "http://127.0.0.1:9/hook", "event_types": ["payout.*"]}

KEY = {"scopes": ["read"], "expires_in": ""}
DATA: dict[str, dict[str, Any]] = {
    "profile.create_key": KEY,
    "profile.save_preferences": {"locale": "en", "timezone": "", "theme": "dark"},
    "transactions.write_note": {"text": "call back"},
    "payouts.reject": {"reason": "No."},
    "payouts.new": PAYOUT,
    "payouts.create": PAYOUT,
    "refunds.create": {"amount": "1.00", **ONCE},
    "refunds.new_adjustment": ADJUSTMENT,
    "refunds.create_adjustment": ADJUSTMENT,
    "panel.switch_language": {"language": "en"},
    "panel.switch_theme": {"theme": "dark"},
    "panel.switch_refresh": {"refresh": "15"},
    "users.create_key": KEY,
    "webhooks.replay": {"endpoint": ""},
    "webhooks.replay_set": {"at": "2026-01-01T00:00:00+00:00"},
    "webhooks.new_endpoint": ENDPOINT,
    "webhooks.edit_endpoint": ENDPOINT,
    "webhooks.replay_span": {
        "since": "2026-01-01T00:00",
        "until": "2026-02-01T00:00",
        "scope": "all",
    },
}
ACTS = {
    "transactions.ask": "confirm",
    "payouts.ask": "approve",
    "refunds.ask_adjustment": "approve",
    "transactions.bulk_ask": "confirm",
    "transactions.bulk": "confirm",
    "profile.ask_factor": "renew",
    "webhooks.ask_endpoint": "disable",
}
# What a merchant may do as well, and what is told of in the audit log.
TOLD = {"transactions.export"}
# What a merchant changes for itself, or sends again of its own, outside its profile.
ITS_OWN = {
    "panel.switch_theme",
    "panel.switch_language",
    "panel.switch_refresh",
    "webhooks.replay_set",
}


@dataclass(frozen=True)
class Scene:
    """A merchant with a pending transaction, an event and a key; ``url`` leads to them."""

    app: Flask
    owner: TestUser
    values: dict[str, Any]

    def url(self, endpoint: str) -> str:
        with self.app.test_request_context():
            rule = next(self.app.url_map.iter_rules(endpoint))
            act = ACTS.get(endpoint, "deactivate")
            values = {**self.values, "act": act, "form": "csv", "filename": "panel.css"}
            return self.app.url_for(
                endpoint, **{name: values[name] for name in rule.arguments}
            ).removeprefix("http://localhost")


@pytest.fixture
def scene(app: Flask, engine: Engine, keyring: Keyring, admin: TestUser) -> Scene:
    owner = make_user(
        engine, keyring, name="owner", webhook_url="https://example.com/hook", password=PASSWORD
    )
    pending = make_transaction(engine, owner)
    ended = make_transaction(engine, owner)
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, ended["id"])
        refund = NewRefund(transaction_id=UUID(ended["id"]), amount="1.00")
        refund_service.create_refund(connection, admin.digest, ORIGIN, refund)
        adjustment = NewAdjustment(
            user_id=owner.id, amount="1.00", direction=Direction.CREDIT, reason="Counted anew"
        )
        adjustment_service.create(connection, admin.digest, ORIGIN, adjustment, alone={"RUB": 0})
        with spool(io.BytesIO(b"amount,date\n1.00,2026-11-02\n"), "bank.csv", LAYOUT) as file:
            run_id = reconciliation_service.run(connection, SYSTEM, file, Question())
        payout_id = created(
            connection, keyring, admin.digest, user_id=owner.id, destination=DESTINATION
        )
        values = {
            "run_id": run_id,
            "payout_id": payout_id,
            "refund_id": refund.fresh_id,
            "adjustment_id": adjustment.fresh_id,
            "user_id": owner.id,
            "transaction_id": pending["id"],
            "event_id": connection.scalar(text("SELECT id FROM events")),
            "endpoint_id": make_endpoint(engine, keyring, owner, url=ENDPOINT["url"]).id,
            "session_id": open_login(engine, owner),
            "key_id": connection.scalar(
                text("SELECT id FROM api_keys WHERE user_id = :id"), {"id": owner.id}
            ),
        }
    return Scene(app, owner, values)


def open_login(engine: Engine, user: TestUser) -> UUID:
    """Let a user be logged in somewhere else; return by what that login is named."""
    with Session(engine) as session, transaction(session):
        row = session.get_one(User, user.id)
        token = session_service.open_session(session, row, ip="192.0.2.9", user_agent="phone")
    with autocommit(engine) as connection:
        found = session_service.resume(connection, token, idle_seconds=900, lifetime_seconds=7200)
    assert found is not None
    assert found.session_id is not None
    return found.session_id


def test_every_page_is_in_the_matrix(app: Flask) -> None:
    pages = {
        (rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        if panel_module.owns(rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert pages == set(MATRIX)


def test_the_panel_names_every_page_of_its_tabs_and_no_other() -> None:
    pages = {endpoint for endpoint, _ in MATRIX if not endpoint.startswith("panel.")}

    assert set(RULES) == pages


@pytest.mark.parametrize("role", list(Role))
def test_who_may_change_what(role: Role) -> None:
    changing = {endpoint for endpoint in POSTS if not endpoint.startswith("panel.")}

    assert {each for each in changing if role in RULES[each].roles} == (CHANGED_BY[role] & changing)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
@pytest.mark.parametrize(("endpoint", "method"), sorted(MATRIX))
def test_operators_and_viewers_get_what_admins_get_or_nothing(
    scene: Scene,
    engine: Engine,
    keyring: Keyring,
    endpoint: str,
    method: str,
    role: Role,
    connection: Connection,
) -> None:
    panel = Panel(scene.app.test_client())
    panel.log_in(make_user(engine, keyring, role=role, password=PASSWORD))
    before = kept_rows(connection)
    url = scene.url(endpoint)

    ask = panel.get if method == "GET" else panel.post
    answer = ask(url, data=DATA.get(endpoint)) if method == "POST" else ask(url)

    allowed = endpoint.startswith("panel.") or role in RULES[endpoint].roles
    assert answer.status_code == (MATRIX[endpoint, method][2] if allowed else 403), answer.text
    if not allowed:
        assert kept_rows(connection) == before


@pytest.mark.parametrize(
    ("endpoint", "method"), sorted(each for each in MATRIX if not each[0].startswith("panel."))
)
def test_a_merchant_reaches_its_own_rows_where_the_matrix_lets_it(
    scene: Scene, endpoint: str, method: str
) -> None:
    panel = Panel(scene.app.test_client())
    panel.log_in(scene.owner)

    url = scene.url(endpoint)
    ask = panel.get if method == "GET" else panel.post
    answer = ask(url, data=DATA.get(endpoint)) if method == "POST" else ask(url)

    allowed = Role.REGULAR in RULES[endpoint].roles
    reached = OWN_ROWS.get(endpoint, MATRIX[endpoint, method][2])
    assert answer.status_code == (reached if allowed else 403), answer.text


@pytest.mark.parametrize(("endpoint", "method"), sorted(MATRIX))
def test_each_role_gets_what_the_matrix_says(
    scene: Scene,
    endpoint: str,
    method: str,
    connection: Connection,
    merchant: TestUser,
    admin: TestUser,
) -> None:
    url = scene.url(endpoint)
    before = kept_rows(connection)
    expected = MATRIX[endpoint, method]
    for somebody, status in zip((None, merchant, admin), expected, strict=True):
        panel = Panel(scene.app.test_client())
        if somebody:
            panel.log_in(somebody)
        # What is everybody's own a merchant has changed for itself by now.
        if somebody is admin and endpoint not in OWN | TOLD | ITS_OWN:
            assert kept_rows(connection) == before
        ask = panel.get if method == "GET" else panel.post
        answer = ask(url, data=DATA.get(endpoint)) if method == "POST" else ask(url)

        assert answer.status_code == status, answer.text
        if somebody is None and status == 303 and not endpoint.startswith("panel."):
            assert answer.headers["Location"].startswith("/login")


# Logins come and go; what is exported, or sent anew of one's own, is told in the audit log.
_LOGINS = ("panel_sessions", "pending_logins", "login_failures")
_NOT_OTHERS = OWN | TOLD | ITS_OWN | {"audit.export"}


def contents(connection: Connection) -> dict[str, str]:
    """All that is kept, to the byte, but for logins."""
    return {
        table.name: connection.scalar(
            text(
                "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), ''))"
                f" FROM {table.name} t"
            )
        )
        for table in Base.metadata.sorted_tables
        if table.name not in _LOGINS
    }


@pytest.mark.parametrize("role", [None, Role.VIEWER, Role.REGULAR])
def test_who_may_change_nothing_of_others_changes_not_a_byte(
    scene: Scene, engine: Engine, keyring: Keyring, connection: Connection, role: Role | None
) -> None:
    panel = Panel(scene.app.test_client())
    if role is not None:
        panel.log_in(make_user(engine, keyring, role=role, password=PASSWORD))
    before = contents(connection)

    for endpoint in POSTS:
        if endpoint in _NOT_OTHERS or endpoint.startswith("panel."):
            continue
        answer = panel.post(scene.url(endpoint), DATA.get(endpoint))
        assert answer.status_code in ((303,) if role is None else (403, 404)), endpoint

    assert contents(connection) == before


def test_to_read_changes_not_a_byte(scene: Scene, connection: Connection, admin: TestUser) -> None:
    panels = [Panel(scene.app.test_client()) for _ in range(2)]
    for panel, user in zip(panels, (admin, scene.owner), strict=True):
        panel.log_in(user)
    before = contents(connection)

    for panel in panels:
        for endpoint, method in MATRIX:
            if method == "GET":
                assert panel.get(scene.url(endpoint)).status_code < 500, endpoint

    assert contents(connection) == before


@pytest.mark.parametrize("endpoint", POSTS)
def test_a_form_without_the_token_of_its_own_session_changes_nothing(
    scene: Scene, endpoint: str, connection: Connection, admin: TestUser
) -> None:
    stranger = Panel(scene.app.test_client())
    stranger.log_in(admin)
    panel = Panel(scene.app.test_client())
    panel.log_in(admin)
    old = panel.token()
    before = kept_rows(connection)
    url, data = scene.url(endpoint), DATA.get(endpoint)

    for token in (None, "", "nonsense", stranger.token()):
        answer = panel.post(url, data, csrf_token=token)
        assert answer.status_code == 400
        assert answer.mimetype == "text/html"

    assert kept_rows(connection) == before
    assert panel.get("/admin/").status_code == 200, "not even the login has ended"
    panel.log_in(admin)
    assert panel.post(url, data, csrf_token=old).status_code == 400, "a login makes a new token"


@pytest.mark.parametrize("endpoint", sorted(set(POSTS) - FORMS))
def test_reading_an_address_that_changes_something_is_refused(
    scene: Scene, endpoint: str, connection: Connection, admin: TestUser
) -> None:
    panel = Panel(scene.app.test_client())
    panel.log_in(admin)
    before = kept_rows(connection)

    answer = panel.get(scene.url(endpoint))

    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.mimetype == "text/html"
    assert kept_rows(connection) == before


@pytest.mark.parametrize(
    "path",
    [
        "/admin/users/ajax/update/",
        "/admin/transactions/ajax/update/",
        "/admin/transactions/new/",
        "/admin/transactions/edit/",
        "/admin/transactions/delete/",
        "/admin/transactions/action/",
        "/admin/webhooks/new/",
        "/admin/webhooks/edit/",
        "/admin/audit/delete/",
        "/admin/users/1%20OR%201=1",
        "/admin/users/%00",
        "/admin/static/bootstrap/bootstrap4/css/bootstrap.min.css",
    ],
)
def test_there_is_no_back_door_of_the_framework(app: Flask, path: str, admin: TestUser) -> None:
    panel = Panel(app.test_client())
    panel.log_in(admin)

    assert panel.get(path).status_code == 404
    assert panel.post(path).status_code == 404


def _checked(answer: Any) -> None:
    headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Request-Id"]


def test_every_answer_has_the_security_headers(scene: Scene, admin: TestUser) -> None:
    panel = Panel(scene.app.test_client())
    stranger = Panel(scene.app.test_client())
    panel.log_in(admin)
    answers = [panel.get(scene.url(endpoint)) for endpoint, method in MATRIX if method == "GET"] + [
        stranger.get("/login"),
        stranger.get("/admin/"),
        panel.get("/admin/nothing"),
        panel.get(scene.url("users.delete")),
        panel.post(scene.url("users.delete"), csrf_token=None),
    ]

    for answer in answers:
        _checked(answer)
        if not answer.request.path.startswith("/admin/assets/"):
            assert answer.headers["Cache-Control"] == "no-store"
        assert "Strict-Transport-Security" not in answer.headers
    nonces = {answer.headers["Content-Security-Policy"] for answer in answers}
    assert len(nonces) == len(answers), "a nonce is used once"
    secure = stranger.get("/login", base_url="https://localhost")
    assert secure.headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_pages_have_nothing_inline(scene: Scene, admin: TestUser) -> None:
    panel = Panel(scene.app.test_client())
    panel.log_in(admin)

    for endpoint, method in MATRIX:
        if method == "GET" and endpoint not in ("panel.static", "panel.home", "panel.login"):
            page = panel.get(scene.url(endpoint)).text
            for forbidden in (
                " onclick",
                " onload",
                " onsubmit",
                " style=",
                "javascript:",
                "//cdn",
            ):
                assert forbidden not in page


def test_a_merchant_sees_its_own_rows_and_nothing_of_others(
    scene: Scene, engine: Engine, merchant: TestUser, admin: TestUser
) -> None:
    mine = make_transaction(engine, merchant, reference="mine-1")
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, mine["id"])
    panel = Panel(scene.app.test_client())
    panel.log_in(merchant)

    for path in (
        "/admin/",
        "/admin/live",
        "/admin/transactions/",
        "/admin/transactions/?user=owner",
        f"/admin/transactions/?id={scene.values['transaction_id']}",
        "/admin/reconciliation/",
        "/admin/reconciliation/statement?user=owner",
        "/admin/payouts/",
        "/admin/refunds/?user=owner",
        "/admin/refunds/adjustments/?user=owner",
        "/admin/payouts/?user=owner",
        "/admin/webhooks/",
        f"/admin/webhooks/?transaction={scene.values['transaction_id']}",
        f"/admin/webhooks/?endpoint={scene.values['endpoint_id']}",
        f"/admin/transactions/{mine['id']}",
        f"/admin/users/{merchant.id}",
    ):
        page = panel.get(path)
        assert page.status_code == 200
        assert ">owner<" not in page.text
        assert str(scene.owner.id) not in page.text
        assert f"/admin/transactions/{scene.values['transaction_id']}" not in page.text
    own = panel.get(f"/admin/users/{merchant.id}").text
    assert "97.00" in own
    assert merchant.key[:16] in own
    assert "Revoke" not in own
    assert "/secret" not in own
    transaction = panel.get(f"/admin/transactions/{mine['id']}").text
    assert admin.name not in transaction
    assert "mine-1" in panel.get("/admin/transactions/").text


def test_unknown_and_foreign_objects_look_the_same(scene: Scene, merchant: TestUser) -> None:
    panel = Panel(scene.app.test_client())
    panel.log_in(merchant)
    unknown = "00000000-0000-7000-8000-000000000000"

    for kind, name in (
        ("users", "user_id"),
        ("transactions", "transaction_id"),
        ("payouts", "payout_id"),
        ("refunds", "refund_id"),
        ("refunds/adjustments", "adjustment_id"),
        ("webhooks", "event_id"),
        ("webhooks/endpoints", "endpoint_id"),
        ("webhooks/endpoints/new", "user_id"),
    ):
        foreign = panel.get(f"/admin/{kind}/{scene.values[name]}")
        missing = panel.get(f"/admin/{kind}/{unknown}")
        assert foreign.status_code == missing.status_code == 404
        assert _plain(foreign.text, str(scene.values[name])) == _plain(missing.text, unknown)


@pytest.mark.parametrize("kind", ["transaction_id", "user_id", "payout_id", "endpoint_id"])
def test_the_search_does_not_tell_foreign_ids_from_unknown_ones(
    scene: Scene, engine: Engine, merchant: TestUser, kind: str
) -> None:
    unknown, foreign = "00000000-0000-7000-8000-000000000000", str(scene.values[kind])
    # A merchant chooses its references, so an id may be one.
    mine = [make_transaction(engine, merchant, reference=each)["id"] for each in (unknown, foreign)]
    panel = Panel(scene.app.test_client())
    panel.log_in(merchant)

    found = [panel.get(f"/admin/search/?q={each}") for each in (unknown, foreign)]

    assert [each.headers.get("Location") for each in found] == [
        f"/admin/transactions/{each}" for each in mine
    ]


def _plain(page: str, address: str) -> str:
    """A page without what differs from request to request."""
    lines = page.replace(address, "ID").splitlines()
    return "\n".join(line for line in lines if "nonce=" not in line and "csrf_token" not in line)


def test_lost_rights_count_with_the_next_request(
    scene: Scene, engine: Engine, keyring: Keyring, admin: TestUser
) -> None:
    second = make_user(engine, keyring, role=Role.ADMIN, password=PASSWORD)
    first, other = Panel(scene.app.test_client()), Panel(scene.app.test_client())
    first.log_in(admin)
    other.log_in(second)

    first.post(f"/admin/users/{second.id}/deactivate")

    assert other.get("/admin/users/").headers["Location"].startswith("/login")
    refused = other.post("/login", {"name": second.name, "password": PASSWORD})
    assert refused.status_code == 401


def test_the_api_stays_as_it_was(
    make_app: Callable[..., Flask], merchant: TestUser, engine: Engine
) -> None:
    client = make_app().test_client()

    made = client.post("/create_transaction", json={"amount": "1.00"}, headers=merchant.headers)

    assert made.status_code == 201, "no CSRF token is asked of a key"
    assert "Set-Cookie" not in made.headers
    assert "Cookie" not in made.headers.get("Vary", "")
    assert client.get("/nothing").mimetype == "application/problem+json"
