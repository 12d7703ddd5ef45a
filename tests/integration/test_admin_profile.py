"""One's own profile: codes, password, logins, keys, look; and who is asked who it is again."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text
from werkzeug.test import TestResponse

from standart.encryption import Keyring
from standart.models import Role
from tests.builders import PASSWORD, TestUser, make_transaction, make_user
from tests.integration.factors import begin, code_of, enrol, forget_steps
from tests.integration.panel import Panel

_CODES = re.compile(r'<code class="secret">([A-Z2-7-]{29})</code>')
OTHER = "another long password"


def show_password(panel: Panel, user: TestUser, password: str = PASSWORD) -> TestResponse:
    return panel.post("/login", {"name": user.name, "password": password, "next": "/admin/users/"})


def grow_old(superuser: Engine) -> None:
    """Let the last proof of every login be too long ago."""
    with superuser.begin() as connection:
        connection.execute(
            text("UPDATE panel_sessions SET proven_at = proven_at - interval '6 minutes'")
        )


def test_it_is_set_up_and_asked_for(app: Flask, admin: TestUser, engine: Engine) -> None:
    panel, other = Panel(app.test_client()), Panel(app.test_client())
    panel.log_in(admin)
    other.log_in(admin)

    assert "Set it up" in panel.get("/admin/profile/second-factor").text
    secret, carried = begin(panel)
    address = "/admin/profile/second-factor/confirm"
    wrong = panel.post(address, {**carried, "code": "12345"})
    assert wrong.status_code == 422
    assert "not right" in wrong.text
    assert '<svg class="qr"' in wrong.text
    done = panel.post(address, {**carried, "code": code_of(secret)})

    codes = _CODES.findall(done.text)
    assert done.status_code == 201
    assert len(codes) == 10
    assert panel.get("/admin/").status_code == 200
    assert other.get("/admin/").status_code == 303, "other logins have ended"
    profile = panel.get("/admin/profile/").text
    assert "10 recovery codes are left." in profile
    assert codes[0] not in profile
    assert panel.get("/admin/profile/second-factor").status_code == 303, "never shown again"

    forget_steps(engine, admin.id)
    asked = show_password(other, admin)
    assert asked.headers["Location"] == "/login/code?next=/admin/users/"
    assert other.get("/admin/").headers["Location"].startswith("/login")
    assert "Six digits" in other.get(asked.headers["Location"]).text
    refused = other.post("/login/code", {"code": "abcdef"})
    assert refused.status_code == 401
    assert "not right" in refused.text
    let_in = other.post("/login/code", {"code": code_of(secret), "next": "/admin/users/"})
    assert let_in.headers["Location"] == "/admin/users/"
    assert other.get("/admin/users/").status_code == 200
    cookie = next(each for each in let_in.headers.getlist("Set-Cookie") if "_session=" in each)
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_nobody_confirms_a_secret_that_another_login_has_seen(
    app: Flask, admin: TestUser, connection: Connection
) -> None:
    stranger, owner = Panel(app.test_client()), Panel(app.test_client())
    for panel in (stranger, owner):
        panel.log_in(admin)
    address = "/admin/profile/second-factor/confirm"
    theirs, planted = begin(stranger)

    assert "Set it up" in owner.get("/admin/profile/second-factor").text
    assert 'class="qr"' not in owner.get("/admin/profile/second-factor").text
    refused = owner.post(address, {**planted, "code": code_of(theirs)})
    assert refused.status_code == 409
    secret, carried = begin(owner)
    begin(stranger)
    assert owner.post(address, {**carried, "code": code_of(secret)}).status_code == 201
    assert stranger.post(address, {**planted, "code": code_of(theirs)}).status_code == 303
    assert connection.scalar(text("SELECT count(*) FROM second_factors")) == 1


def test_the_code_page_is_nothing_without_a_password(app: Flask, admin: TestUser) -> None:
    panel = Panel(app.test_client())

    assert panel.get("/login/code").headers["Location"].startswith("/login")
    assert panel.post("/login/code", {"code": "123456"}).headers["Location"].startswith("/login")


def test_over_https_the_half_open_login_belongs_to_this_host(
    app: Flask, admin: TestUser, engine: Engine, keyring: Keyring
) -> None:
    enrol(engine, keyring, admin.id)
    https = {"base_url": "https://localhost", "headers": {"Referer": "https://localhost/login"}}
    panel = Panel(app.test_client(), **https)

    answer = show_password(panel, admin)

    cookies = answer.headers.getlist("Set-Cookie")
    pending = next(each for each in cookies if each.startswith("__Host-standart_pending="))
    assert "Secure" in pending
    assert "HttpOnly" in pending
    assert not any("_session=" in each for each in cookies)


def test_wrong_codes_throttle_and_a_recovery_code_lets_in(
    app: Flask, admin: TestUser, engine: Engine, keyring: Keyring
) -> None:
    _, codes = enrol(engine, keyring, admin.id)
    panel = Panel(app.test_client())
    show_password(panel, admin)
    for _ in range(10):
        assert panel.post("/login/code", {"code": "000 00"}).status_code == 401

    throttled = panel.post("/login/code", {"code": codes[0]})

    assert throttled.status_code == 429
    assert throttled.headers["Retry-After"] == "1800"
    elsewhere = Panel(app.test_client(), environ_base={"REMOTE_ADDR": "192.0.2.7"})
    show_password(elsewhere, admin)
    assert elsewhere.post("/login/code", {"code": codes[0]}).status_code == 303


@pytest.mark.parametrize(
    ("asked", "role", "must"),
    [
        ("none", Role.ADMIN, False),
        ("staff", Role.VIEWER, True),
        ("staff", Role.REGULAR, False),
        ("all", Role.REGULAR, True),
    ],
)
def test_who_must_have_one_reaches_nothing_before(
    make_app: Callable[..., Flask],
    engine: Engine,
    keyring: Keyring,
    asked: str,
    role: Role,
    must: bool,
) -> None:
    user = make_user(engine, keyring, role=role, password=PASSWORD)
    panel = Panel(make_app(require_totp=asked).test_client())
    panel.log_in(user)

    for path in ("/admin/", "/admin/profile/", "/admin/transactions/"):
        answer = panel.get(path)
        assert answer.status_code == (303 if must else 200)
    if must:
        assert answer.headers["Location"] == "/admin/profile/second-factor"
        assert panel.post("/admin/profile/keys", {"scopes": ["read"]}).status_code == 303
        secret, carried = begin(panel)
        panel.post("/admin/profile/second-factor/confirm", {**carried, "code": code_of(secret)})
        assert panel.get("/admin/").status_code == 200


def test_an_old_login_is_asked_who_it_is_before_the_form(
    app: Flask, admin: TestUser, superuser: Engine, engine: Engine, keyring: Keyring
) -> None:
    secret, _ = enrol(engine, keyring, admin.id)
    panel = Panel(app.test_client())
    show_password(panel, admin)
    panel.post("/login/code", {"code": code_of(secret)})
    forget_steps(engine, admin.id)
    grow_old(superuser)

    way = panel.get("/admin/users/new").headers["Location"]
    assert way == "/admin/profile/prove?next=/admin/users/new"
    assert "Is it you?" in panel.get(way).text
    alone = panel.post(way, {"proof_password": PASSWORD})
    assert alone.status_code == 401
    assert "Wrong password or code." in alone.text
    proven = panel.post(way, {"proof_password": PASSWORD, "proof_code": code_of(secret)})

    assert proven.headers["Location"] == "/admin/users/new"
    assert panel.get("/admin/users/new").status_code == 200
    assert panel.get("/admin/profile/prove?next=//evil.example").headers["Location"] == "/admin/"


def test_a_form_that_was_open_for_long_loses_nothing(
    app: Flask, admin: TestUser, merchant: TestUser, superuser: Engine, connection: Connection
) -> None:
    panel = Panel(app.test_client())
    panel.log_in(admin)
    grow_old(superuser)
    keys = text("SELECT count(*) FROM api_keys WHERE user_id = :id")
    before = connection.scalar(keys, {"id": merchant.id})
    path, data = f"/admin/users/{merchant.id}/keys", {"scopes": ["read", "write"], "expires_in": ""}

    asked = panel.post(path, data)
    wrong = panel.post(path, {**data, "proof_password": "a wrong password"})

    assert asked.status_code == 403
    assert '<input type="hidden" name="scopes" value="write">' in asked.text
    assert asked.text.count('name="csrf_token"') == asked.text.count('method="post"')
    assert wrong.status_code == 401
    assert '<input type="hidden" name="scopes" value="write">' in wrong.text
    assert "a wrong password" not in wrong.text
    assert connection.scalar(keys, {"id": merchant.id}) == before
    done = panel.post(path, {**data, "proof_password": PASSWORD})
    assert done.status_code == 201
    assert "sk_live_" in done.text
    assert panel.post(path, data).status_code == 201, "it counts for some minutes"


def test_a_large_confirm_is_asked_for_too(
    make_app: Callable[..., Flask],
    admin: TestUser,
    merchant: TestUser,
    superuser: Engine,
    engine: Engine,
) -> None:
    panel = Panel(make_app(four_eyes_above={"RUB": 1_000_00}).test_client())
    panel.log_in(admin)
    grow_old(superuser)
    small, large = (make_transaction(engine, merchant, amount=sum_) for sum_ in ("9.00", "5000.00"))

    assert panel.get(f"/admin/transactions/{small['id']}/ask/confirm").status_code == 200
    way = panel.get(f"/admin/transactions/{large['id']}/ask/confirm").headers["Location"]
    assert way.startswith("/admin/profile/prove")
    assert panel.post(f"/admin/transactions/{large['id']}/confirm").status_code == 403
    assert panel.post(f"/admin/transactions/{small['id']}/confirm").status_code == 303


def test_to_let_somebody_in_again_is_asked_for_too(
    app: Flask, admin: TestUser, merchant: TestUser, superuser: Engine, connection: Connection
) -> None:
    panel = Panel(app.test_client())
    panel.log_in(admin)
    grow_old(superuser)

    assert panel.post(f"/admin/users/{merchant.id}/deactivate").status_code == 303
    refused = panel.post(f"/admin/users/{merchant.id}/activate")

    active = text("SELECT active FROM users WHERE id = :id")
    assert refused.status_code == 403
    assert not connection.scalar(active, {"id": merchant.id})
    done = panel.post(f"/admin/users/{merchant.id}/activate", {"proof_password": PASSWORD})
    assert done.status_code == 303
    assert connection.scalar(active, {"id": merchant.id})


def test_large_sums_among_many_are_asked_for_too(
    make_app: Callable[..., Flask],
    admin: TestUser,
    merchant: TestUser,
    superuser: Engine,
    engine: Engine,
    connection: Connection,
) -> None:
    panel = Panel(make_app(four_eyes_above={"RUB": 1_000_00}).test_client())
    panel.log_in(admin)
    grow_old(superuser)
    small, large = (
        make_transaction(engine, merchant, amount=sum_)["id"] for sum_ in ("9.00", "5000.00")
    )
    act_id = "00000000-0000-7000-8000-0000000000aa"
    one = {"ids": small, "act_id": act_id}
    both = {"ids": f"{small},{large}", "act_id": act_id}

    question = panel.post("/admin/transactions/bulk/confirm/ask", {"id": [small, large]})
    refused = panel.post("/admin/transactions/bulk/confirm", both)

    assert [question.status_code, refused.status_code] == [403, 403]
    assert f'name="ids" value="{small},{large}"' in refused.text
    assert not connection.scalar(text("SELECT count(*) FROM approvals"))
    assert panel.post("/admin/transactions/bulk/cancel/ask", {"id": large}).status_code == 200
    assert panel.post("/admin/transactions/bulk/confirm", one).status_code == 200
    done = panel.post("/admin/transactions/bulk/confirm", {**both, "proof_password": PASSWORD})
    assert done.status_code == 200
    assert connection.scalar(text("SELECT count(*) FROM approvals")) == 1


def test_a_large_late_payment_and_every_adjustment_are_asked_for_too(
    make_app: Callable[..., Flask],
    admin: TestUser,
    merchant: TestUser,
    superuser: Engine,
    engine: Engine,
    connection: Connection,
) -> None:
    panel = Panel(make_app(four_eyes_above={"RUB": 1_000_00}).test_client())
    panel.log_in(admin)
    small, large = (
        make_transaction(engine, merchant, amount=sum_)["id"] for sum_ in ("9.00", "5000.00")
    )
    for each in (small, large):
        panel.post(f"/admin/transactions/{each}/cancel")
    once = {"once": "00000000-0000-7000-8000-0000000000bb"}
    new = {"user": merchant.name, "direction": "credit", "reason": "Counted anew."}
    kept = panel.post("/admin/refunds/adjustments/create", {**new, **once, "amount": "5000.00"})
    waits = kept.headers["Location"]
    grow_old(superuser)

    assert panel.get(f"/admin/refunds/late/{small}/ask").status_code == 200
    way = panel.get(f"/admin/refunds/late/{large}/ask").headers["Location"]
    assert way.startswith("/admin/profile/prove")
    refused = [
        panel.post(f"/admin/refunds/late/{large}"),
        panel.post("/admin/refunds/adjustments/new", {**new, "amount": "1.00"}),
        panel.post("/admin/refunds/adjustments/create", {**new, **once, "amount": "1.00"}),
        panel.post(f"{waits}/approve"),
    ]
    assert [each.status_code for each in refused] == [403] * 4
    assert connection.scalar(text("SELECT count(*) FROM approvals")) == 1, "that of its maker"
    assert panel.post(f"/admin/refunds/late/{small}").status_code == 303
    proven = panel.post(f"/admin/refunds/late/{large}", {"proof_password": PASSWORD})
    assert proven.status_code == 303
    assert connection.scalar(text("SELECT count(*) FROM approvals")) == 2


def test_ones_own_password_keeps_this_login_and_ends_the_others(
    app: Flask, merchant: TestUser, connection: Connection
) -> None:
    panel, other = Panel(app.test_client()), Panel(app.test_client())
    panel.log_in(merchant)
    other.log_in(merchant)
    data = {"current": PASSWORD, "password": OTHER, "again": OTHER}

    wrong = panel.post("/admin/profile/password", {**data, "current": "not the present one"})
    differs = panel.post("/admin/profile/password", {**data, "again": "something else"})
    short = panel.post("/admin/profile/password", {**data, "password": "x", "again": "x"})

    assert [each.status_code for each in (wrong, differs, short)] == [422] * 3
    assert "not your present password" in wrong.text
    assert "differ" in differs.text
    assert "12 to 1024" in short.text
    assert connection.scalar(text("SELECT count(*) FROM login_failures")) in (0, 1)
    assert other.get("/admin/").status_code == 200
    panel.follow(panel.post("/admin/profile/password", data))
    assert panel.get("/admin/").status_code == 200
    assert other.get("/admin/").status_code == 303
    other.log_in(merchant, OTHER)
    told = connection.execute(
        text("SELECT actor_name, after FROM audit_log WHERE action = 'user.updated'")
    ).one()
    assert told.actor_name == merchant.name
    assert told.after["password_changed"] is True


def test_logins_are_listed_and_ended(app: Flask, merchant: TestUser) -> None:
    here, there = Panel(app.test_client()), Panel(app.test_client())
    there.defaults["headers"] = {"Accept-Language": "en", "User-Agent": "Phone <b>"}
    here.log_in(merchant)
    there.log_in(merchant)

    page = here.get("/admin/profile/").text
    ends = re.findall(r'action="(/admin/profile/sessions/[0-9a-f-]{36}/end)"', page)
    assert len(ends) == 1
    assert "this one" in page
    assert "Phone &lt;b&gt;" in page
    here.follow(here.post(ends[0]))

    assert there.get("/admin/").status_code == 303
    assert here.post(ends[0]).status_code == 404
    there.log_in(merchant)
    here.follow(here.post("/admin/profile/sessions/end"))
    assert there.get("/admin/").status_code == 303
    assert here.get("/admin/").status_code == 200


def test_a_merchant_makes_and_revokes_its_own_keys(
    app: Flask, merchant: TestUser, admin: TestUser, connection: Connection
) -> None:
    panel = Panel(app.test_client())
    panel.log_in(merchant)

    page = panel.get("/admin/profile/").text
    assert 'value="refund"' in page
    assert 'value="confirm"' not in page
    forbidden = panel.post("/admin/profile/keys", {"scopes": ["confirm"], "expires_in": ""})
    assert "only" in panel.follow(forbidden)
    made = panel.post("/admin/profile/keys", {"scopes": ["read"], "expires_in": "30"})
    assert made.status_code == 201
    assert "sk_live_" in made.text
    theirs = connection.scalar(
        text("SELECT id FROM api_keys WHERE user_id = :id"), {"id": admin.id}
    )
    assert panel.post(f"/admin/profile/keys/{theirs}/revoke").status_code == 404
    ask = re.findall(r'href="(/admin/profile/keys/[0-9a-f-]{36}/ask)"', page)
    assert "Revoke the key" in panel.get(ask[0]).text
    assert "Revoked" in panel.follow(panel.post(ask[0].replace("/ask", "/revoke")))


def test_the_look_follows_its_owner_to_another_browser(app: Flask, merchant: TestUser) -> None:
    panel, other = Panel(app.test_client()), Panel(app.test_client())
    panel.log_in(merchant)
    chosen = {"locale": "ru", "timezone": "Asia/Novosibirsk", "theme": "dark"}

    page = panel.follow(panel.post("/admin/profile/preferences", chosen))
    other.log_in(merchant)

    for shown in (page, other.get("/admin/profile/").text):
        assert '<html lang="ru"' in shown
        assert "Asia/Novosibirsk" in shown
        assert '<option selected value="dark">' in shown
    cookies = other.client.get_cookie("standart_theme")
    assert cookies is not None
    assert cookies.value == "dark"
    blank = {"locale": "", "timezone": "", "theme": ""}
    assert '<html lang="en"' in panel.follow(panel.post("/admin/profile/preferences", blank))
    nonsense = panel.post("/admin/profile/preferences", {**chosen, "timezone": "Mars/Base"})
    assert "Nothing was kept" in panel.follow(nonsense)


def test_an_admin_ends_logins_and_takes_away_a_lost_second_factor(
    app: Flask, admin: TestUser, engine: Engine, keyring: Keyring, connection: Connection
) -> None:
    user = make_user(engine, keyring, role=Role.OPERATOR, password=PASSWORD)
    secret, _ = enrol(engine, keyring, user.id)
    theirs, panel = Panel(app.test_client()), Panel(app.test_client())
    show_password(theirs, user)
    theirs.post("/login/code", {"code": code_of(secret)})
    panel.log_in(admin)

    page = panel.get(f"/admin/users/{user.id}").text
    end = re.findall(rf'action="(/admin/users/{user.id}/sessions/[0-9a-f-]{{36}}/end)"', page)
    assert len(end) == 1
    assert theirs.get("/admin/").status_code == 200
    panel.follow(panel.post(end[0]))
    assert theirs.get("/admin/").status_code == 303
    assert "Take away" in panel.get(f"/admin/users/{user.id}/second-factor/ask").text
    panel.follow(panel.post(f"/admin/users/{user.id}/second-factor/reset"))

    theirs.log_in(user)
    told = connection.execute(
        text("SELECT actor_name, action FROM audit_log WHERE object_id = :id ORDER BY id"),
        {"id": str(user.id)},
    ).all()
    assert (admin.name, "session.ended") in told
    assert told[-2:] == [(admin.name, "second_factor.removed"), (user.name, "session.opened")]
