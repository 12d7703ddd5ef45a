"""Login, logout, cookies, throttle, ``next`` and the language switch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text
from werkzeug.test import TestResponse

from standart.encryption import Keyring
from tests.builders import PASSWORD, TestUser, make_user
from tests.integration.panel import Panel

HTTPS = {"base_url": "https://localhost", "headers": {"Referer": "https://localhost/login"}}


def _cookie(answer: TestResponse, name: str) -> str:
    found = [
        cookie for cookie in answer.headers.getlist("Set-Cookie") if cookie.startswith(f"{name}=")
    ]
    assert len(found) == 1, answer.headers
    return found[0]


def test_the_cookie_holds_a_random_token_only(
    client: FlaskClient, admin: TestUser, connection: Connection
) -> None:
    cookie = _cookie(Panel(client).log_in(admin), "standart_session")

    token = cookie.split(";")[0].partition("=")[2]
    assert len(token) == 43
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    assert "Domain" not in cookie
    digests = connection.scalars(text("SELECT digest FROM panel_sessions")).all()
    assert len(digests) == 1
    assert token.encode() not in bytes(digests[0])


def test_who_came_in_is_written_down(
    app: Flask, admin: TestUser, merchant: TestUser, connection: Connection
) -> None:
    panel = Panel(app.test_client(), environ_base={"REMOTE_ADDR": "192.0.2.7"})
    _attempt(panel, admin.name, "a wrong password")
    panel.log_in(admin)

    (told,) = connection.execute(text("SELECT * FROM audit_log WHERE action = 'session.opened'"))
    assert (told.actor_id, told.object_id, told.ip) == (admin.id, str(admin.id), "192.0.2.7")
    assert told.request_id
    assert told.channel == "panel"
    assert "Logged in" in panel.get("/admin/audit/").text


def test_over_https_the_cookies_belong_to_this_host_alone(app: Flask, admin: TestUser) -> None:
    panel = Panel(app.test_client(), **HTTPS)
    first = panel.get("/login")
    answer = panel.log_in(admin)

    for cookie in (
        _cookie(first, "__Host-standart_form"),
        _cookie(answer, "__Host-standart_session"),
    ):
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
        assert "HttpOnly" in cookie
    assert panel.get("/admin/").status_code == 200
    token = _cookie(answer, "__Host-standart_session").split(";")[0].partition("=")[2]
    planted = app.test_client(use_cookies=False).get(
        "/admin/", base_url="https://localhost", headers={"Cookie": f"standart_session={token}"}
    )
    assert planted.headers["Location"].startswith("/login"), "the plain name counts on http only"


def test_over_https_a_form_must_come_from_here(client: FlaskClient, admin: TestUser) -> None:
    panel = Panel(client, **HTTPS)
    data = {"name": admin.name, "password": PASSWORD}

    refused = panel.post(
        "/login", data, base_url="https://localhost", headers={"Referer": "https://evil.example/"}
    )

    assert refused.status_code == 400


def test_an_old_cookie_opens_nothing_after_logout(app: Flask, admin: TestUser) -> None:
    panel = Panel(app.test_client())
    token = _cookie(panel.log_in(admin), "standart_session").split(";")[0]
    other = app.test_client(use_cookies=False)
    assert other.get("/admin/", headers={"Cookie": token}).status_code == 200

    answer = panel.post("/logout")

    assert answer.headers["Location"] == "/login"
    assert "Max-Age=0" in _cookie(answer, "standart_session")
    assert other.get("/admin/", headers={"Cookie": token}).status_code == 303
    assert panel.get("/admin/").status_code == 303


def test_a_new_login_in_the_same_browser_ends_the_former_one(
    app: Flask, admin: TestUser, connection: Connection
) -> None:
    panel = Panel(app.test_client())
    former = _cookie(panel.log_in(admin), "standart_session").split(";")[0]
    later = _cookie(panel.log_in(admin), "standart_session").split(";")[0]

    assert former != later
    other = app.test_client(use_cookies=False)
    assert other.get("/admin/", headers={"Cookie": former}).status_code == 303
    assert other.get("/admin/", headers={"Cookie": later}).status_code == 200


@pytest.mark.parametrize("change", ["idle", "lifetime"])
def test_a_login_ends_by_itself(
    make_app: Callable[..., Flask], admin: TestUser, superuser: Engine, change: str
) -> None:
    panel = Panel(make_app(session_idle_seconds=900, session_lifetime_seconds=7200).test_client())
    panel.log_in(admin)
    with superuser.begin() as connection:
        ages = {
            "idle": "last_seen_at = last_seen_at - interval '16 minutes'",
            "lifetime": "created_at = created_at - interval '3 hours'",
        }
        connection.execute(text(f"UPDATE panel_sessions SET {ages[change]}"))

    assert panel.get("/admin/").headers["Location"].startswith("/login")


@pytest.mark.parametrize("path", ["/admin/live", "/admin/chart", "/admin/?refresh=10"])
def test_a_dashboard_that_renews_itself_keeps_nobody_logged_in(
    app: Flask, admin: TestUser, superuser: Engine, path: str
) -> None:
    panel = Panel(app.test_client())
    panel.log_in(admin)
    for _ in range(2):
        with superuser.begin() as connection:
            connection.execute(
                text("UPDATE panel_sessions SET last_seen_at = last_seen_at - interval '10 min'")
            )
        last = panel.get(path)

    assert last.headers["Location"].startswith("/login")


@pytest.mark.parametrize("path", ["/admin/", "/admin/?refresh=0", "/admin/transactions/"])
def test_who_looks_at_pages_stays_logged_in(
    app: Flask, admin: TestUser, superuser: Engine, path: str
) -> None:
    panel = Panel(app.test_client())
    panel.log_in(admin)
    for _ in range(2):
        with superuser.begin() as connection:
            connection.execute(
                text("UPDATE panel_sessions SET last_seen_at = last_seen_at - interval '10 min'")
            )
        last = panel.get(path)

    assert last.status_code == 200


@pytest.mark.parametrize("token", ["", "x", "é" * 40, "0" * 5000, "\udcff"])
def test_a_made_up_token_opens_nothing(app: Flask, token: str, admin: TestUser) -> None:
    header = f"standart_session={token}".encode("utf-8", "surrogateescape").decode("latin-1")

    answer = app.test_client(use_cookies=False).get("/admin/", headers={"Cookie": header})

    assert answer.status_code == 303


def _attempt(panel: Panel, name: str, password: str) -> TestResponse:
    return panel.post("/login", {"name": name, "password": password})


def _words(answer: TestResponse) -> list[str]:
    lines = answer.text.splitlines()
    return [line for line in lines if "nonce" not in line and "csrf_token" not in line]


def test_wrong_password_unknown_and_deactivated_user_get_one_answer(
    client: FlaskClient, engine: Engine, keyring: Keyring, admin: TestUser, connection: Connection
) -> None:
    gone = make_user(engine, keyring, password=PASSWORD)
    without_password = make_user(engine, keyring)
    connection.execute(text("UPDATE users SET active = false WHERE id = :id"), {"id": gone.id})
    panel = Panel(client)

    answers = [
        _attempt(panel, admin.name, "wrong password"),
        _attempt(panel, "nobody", PASSWORD),
        _attempt(panel, gone.name, PASSWORD),
        _attempt(panel, without_password.name, ""),
        _attempt(panel, "a\0b" * 100, "\0"),
    ]

    assert [answer.status_code for answer in answers] == [401] * 5
    shown = {
        "\n".join(_words(answer)).replace(f'value="{name}"', "")
        for answer, name in zip(
            answers,
            [admin.name, "nobody", gone.name, without_password.name, "a\0b" * 100],
            strict=True,
        )
    }
    assert len(shown) == 1, "the same page but for the name that was typed"
    assert "Wrong name or password." in answers[0].text
    assert not any(PASSWORD in answer.text for answer in answers)


def test_the_eleventh_try_is_refused_even_with_the_right_password(
    app: Flask, admin: TestUser, merchant: TestUser, connection: Connection
) -> None:
    panel = Panel(app.test_client())
    for _ in range(10):
        assert _attempt(panel, admin.name, "wrong password").status_code == 401
    assert connection.scalar(text("SELECT count(*) FROM login_failures")) == 10

    refused = _attempt(panel, admin.name, PASSWORD)

    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1800"
    assert _attempt(panel, merchant.name, PASSWORD).status_code == 303, "another name is let in"
    elsewhere = Panel(app.test_client(), environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert _attempt(elsewhere, admin.name, PASSWORD).status_code == 303, "and another address"


def test_a_password_of_a_megabyte_is_refused(client: FlaskClient, admin: TestUser) -> None:
    answer = _attempt(Panel(client), admin.name, "x" * 1_000_000)

    assert answer.status_code == 413
    assert answer.mimetype == "text/html"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "/admin/\\evil.example",
        "https://evil.example/admin/",
        "javascript:alert(1)",
        "data:text/html,x",
        "\t//evil.example",
        "/admin/\r\nSet-Cookie: a=b",
        "/admin/\t/evil",
        "admin.evil.example/",
        "/logout",
        "@evil.example",
        "",
    ],
)
def test_next_leads_nowhere_but_into_the_panel(
    client: FlaskClient, admin: TestUser, target: str
) -> None:
    panel = Panel(client)

    answer = panel.log_in(admin, next=target)

    assert answer.headers["Location"] == "/admin/"
    again = panel.get("/login", query_string={"next": target})
    assert again.headers["Location"] == "/admin/"


def test_next_leads_back_to_the_page_that_was_asked_for(
    client: FlaskClient, admin: TestUser
) -> None:
    panel = Panel(client)
    wanted = "/admin/transactions/?status=pending&user=a%20b"

    way = panel.get(wanted).headers["Location"]
    form = panel.get(way)
    answer = panel.log_in(admin, next=wanted)

    assert way.startswith("/login?next=")
    assert "/admin/transactions/?status=pending&amp;user=a%20b" in form.text
    assert answer.headers["Location"] == wanted


def test_a_form_sent_after_the_login_has_ended_says_so_and_leads_back_to_its_page(
    client: FlaskClient, admin: TestUser, connection: Connection
) -> None:
    panel = Panel(client)
    panel.log_in(admin)
    page, english = "/admin/users/?name=a%20b", {"Accept-Language": "en"}
    connection.execute(text("DELETE FROM panel_sessions"))

    def sent_from(referrer: str) -> str:
        answer = panel.post("/admin/profile/password", headers={**english, "Referer": referrer})
        assert answer.status_code == 303
        return answer.headers["Location"]

    way = sent_from(f"http://localhost{page}")
    form = panel.get(way).text

    assert way.startswith("/login?next=")
    assert "Your login has ended and nothing was changed." in form
    assert f'name="next" value="{page}"' in form
    elsewhere = ("https://evil.example/admin/", "http://localhost/admin/profile/password", "")
    assert [sent_from(each) for each in elsewhere] == ["/login"] * 3, "no page to be asked for"


def test_a_login_form_from_before_another_login_leads_on(
    client: FlaskClient, admin: TestUser
) -> None:
    panel = Panel(client, headers={"Referer": "http://localhost/login?next=/admin/users/"})
    panel.get("/admin/users/")
    old = panel.token()
    panel.log_in(admin)

    form = {"name": admin.name, "password": PASSWORD, "next": "/admin/users/"}
    late = panel.post("/login", form, csrf_token=old)
    stranger = Panel(client.application.test_client()).post("/login", form, csrf_token=old)

    assert (late.status_code, stranger.status_code) == (400, 400)
    assert '<a class="button" href="/admin/users/">' in late.text
    assert '<a class="button" href="/login' in stranger.text


def test_the_language_is_the_browsers_until_it_is_switched(client: FlaskClient) -> None:
    def shown(**headers: str) -> str:
        return client.get("/login", headers=headers).text

    assert '<html lang="ru"' in shown(), "the setting's"
    assert '<html lang="en"' in shown(**{"Accept-Language": "en-GB,en;q=0.9,ru;q=0.5"})
    assert '<html lang="ru"' in shown(**{"Accept-Language": "de, ru;q=0.3"})
    assert '<html lang="ru"' in shown(**{"Accept-Language": "fr"})
    panel = Panel(client)
    answer = panel.post("/language", {"language": "ru", "next": "/login?next=/admin/users/"})

    assert answer.headers["Location"] == "/login?next=/admin/users/"
    assert '<html lang="ru"' in shown(**{"Accept-Language": "en"})
    assert "Вход" in shown(**{"Accept-Language": "en"})
    assert panel.post("/language", {"language": "xx"}).status_code == 400
    evil = panel.post("/language", {"language": "en", "next": "//evil.example"})
    assert evil.headers["Location"] == "/admin/"


def test_the_settings_language_is_the_last_resort(make_app: Callable[..., Flask]) -> None:
    client = make_app(default_locale="en").test_client()

    assert '<html lang="en"' in client.get("/login").text


def test_the_bare_address_leads_to_the_panel(client: FlaskClient) -> None:
    assert client.get("/").headers["Location"] == "/admin/"


def test_an_untrusted_host_gets_no_page(client: FlaskClient) -> None:
    answer = client.get("/login", headers={"Host": "evil.example"})

    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"
    assert "evil.example" not in answer.text
