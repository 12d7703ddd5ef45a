"""Users, their keys and secrets in the panel: create, edit, delete or deactivate."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.models import Role
from tests.builders import PASSWORD, TestUser, make_transaction, make_user
from tests.integration.panel import Panel, kept_rows

NEW = {
    "name": "Coffee & Co",
    "role": "regular",
    "commission_rate": "0.03",
    "currency": "rub",
    "webhook_url": "https://example.com/hook",
    "password": "",
}


@pytest.fixture
def panel(client: FlaskClient, admin: TestUser) -> Panel:
    made = Panel(client)
    made.log_in(admin)
    return made


def _user(connection: Connection, name: str) -> Any:
    return connection.execute(text("SELECT * FROM users WHERE name = :name"), {"name": name}).one()


def _endpoint(connection: Connection, name: str) -> Any:
    """The default endpoint of a user."""
    query = "SELECT w.* FROM webhook_endpoints w JOIN users u ON u.id = w.id WHERE u.name = :name"
    return connection.execute(text(query), {"name": name}).one()


def _secrets(page: str) -> list[str]:
    return re.findall(r'class="whole secret">([^<]+)<', page)


def test_create_shows_the_made_password_once_and_it_opens_the_panel(
    panel: Panel, app: Flask, connection: Connection
) -> None:
    answer = panel.post("/admin/users/new", NEW)

    assert answer.status_code == 201
    password, secret = _secrets(answer.text)
    assert secret.startswith("whsec_")
    assert len(password) >= 20
    user = _user(connection, "Coffee & Co")
    assert (user.role, user.currency, str(user.commission_rate)) == ("regular", "RUB", "0.030000")
    page = panel.get(f"/admin/users/{user.id}").text
    assert "Coffee &amp; Co" in page
    assert password not in page
    assert secret not in page
    stranger = Panel(app.test_client())
    data = {"name": "coffee & co", "password": password}
    assert stranger.post("/login", data).status_code == 303
    record = connection.execute(
        text("SELECT * FROM audit_log WHERE action = 'user.created' AND object_id = :id"),
        {"id": str(user.id)},
    ).one()
    assert record.channel == "panel"
    assert record.ip == "127.0.0.1"
    assert record.request_id == answer.headers["X-Request-Id"]
    assert password not in str(record)


def test_a_typed_password_is_kept_and_not_shown(panel: Panel, app: Flask) -> None:
    answer = panel.post("/admin/users/new", {**NEW, "password": "a password of mine"})

    assert len(_secrets(answer.text)) == 1
    assert "a password of mine" not in answer.text
    data = {"name": NEW["name"], "password": "a password of mine"}
    assert Panel(app.test_client()).post("/login", data).status_code == 303


@pytest.mark.parametrize(
    ("field", "value", "status", "said"),
    [
        ("name", "", 422, "must have 1 to 128 printable characters"),
        ("name", "a\0b", 422, "must have 1 to 128 printable characters"),
        ("name", "a\u200fb", 422, "must have 1 to 128 printable characters"),
        ("name", "x" * 129, 422, "must have 1 to 128 printable characters"),
        ("name", "TAKEN", 409, "A user of this name exists already."),
        ("role", "root", 422, "Not a valid choice"),
        ("commission_rate", "NaN", 422, "must be per cent such as 2.9%"),
        ("commission_rate", "", 422, "must be per cent such as 2.9%"),
        ("commission_rate", "%", 422, "must be per cent such as 2.9%"),
        ("commission_rate", "3 %%", 422, "must be per cent such as 2.9%"),
        ("commission_rate", "-3%", 422, "must be per cent such as 2.9%"),
        ("commission_rate", "100.0001%", 422, "must be at most 100%"),
        # Half a per cent or a half? A share without the sign is below a fifth.
        ("commission_rate", "0.5", 422, "needs the per cent sign, such as 2.9%"),
        ("commission_rate", "0.2", 422, "needs the per cent sign, such as 2.9%"),
        ("commission_rate", "1", 422, "needs the per cent sign, such as 2.9%"),
        ("commission_rate", "2,9", 422, "needs the per cent sign, such as 2.9%"),
        ("commission_rate", "0.0000001", 422, "has more than 6 fractional digits"),
        ("commission_rate", "0.00001%", 422, "has more than 4 fractional digits"),
        ("currency", "XXX", 422, "is not a known currency code"),
        ("timezone", "Europe/Atlantis", 422, "Not a valid choice"),
        ("timezone", "../../etc/passwd", 422, "Not a valid choice"),
        ("webhook_url", "javascript:alert(1)", 422, "must be an absolute URL"),
        ("webhook_url", "https://a@10.0.0.1/", 422, "must not contain a user name"),
        ("webhook_url", "https://10.0.0.1/", 422, "must have a public address"),
        ("password", "short", 422, "must have 12 to 1024 characters"),
    ],
)
def test_what_does_not_fit_is_said_beside_its_field_and_nothing_is_written(
    panel: Panel,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    field: str,
    value: str,
    status: int,
    said: str,
) -> None:
    make_user(engine, keyring, name="taken")
    before = kept_rows(connection)

    answer = panel.post("/admin/users/new", {**NEW, field: value})

    assert answer.status_code == status
    place = re.search(rf'id="{field}-error">(?:<svg.*?</svg>)?([^<]*)<', answer.text)
    assert place
    assert said in place[1]
    assert kept_rows(connection) == before
    if field != "name":
        assert 'value="Coffee &amp; Co"' in answer.text, "what was typed is not lost"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2.9%", "0.029000"),
        ("2,9\u00a0%", "0.029000"),
        (" 0.5 % ", "0.005000"),
        ("0,0001%", "0.000001"),
        ("100%", "1.000000"),
        ("0%", "0.000000"),
        ("0", "0.000000"),
        ("0.029", "0.029000"),
        ("0,199999", "0.199999"),
    ],
)
def test_a_rate_is_read_as_per_cent_or_as_the_share_of_the_api(
    panel: Panel, connection: Connection, text: str, kept: str
) -> None:
    assert panel.post("/admin/users/new", {**NEW, "commission_rate": text}).status_code == 201
    user = _user(connection, NEW["name"])
    assert str(user.commission_rate) == kept
    # What the form shows is read as the same, in either language.
    address = f"/admin/users/{user.id}/edit"
    for language in ("en", "ru"):
        panel.post("/language", {"language": language, "next": "/admin/"})
        sent = _filled(panel.get(address).text)
        assert panel.post(address, sent).status_code == 303
        assert str(_user(connection, NEW["name"]).commission_rate) == kept


def test_edit_changes_what_was_changed_and_writes_it_down(
    panel: Panel, merchant: TestUser, connection: Connection
) -> None:
    address = f"/admin/users/{merchant.id}/edit"
    form = panel.get(address).text
    assert f'value="{merchant.name}"' in form
    assert 'value="3%"' in form

    answer = panel.post(
        address, {**NEW, "name": merchant.name, "commission_rate": "0.05", "currency": "RUB"}
    )

    assert "Saved." in panel.follow(answer)
    user = _user(connection, merchant.name)
    assert str(user.commission_rate) == "0.050000"
    assert _endpoint(connection, merchant.name).url == "https://example.com/hook"
    changed = connection.execute(
        text("SELECT before, after FROM audit_log WHERE action = 'user.updated'")
    ).one()
    assert (changed.before["commission_rate"], changed.after["commission_rate"]) == ("0.03", "0.05")
    assert "<del><bdi>3%</bdi></del>" in panel.get(f"/admin/users/{merchant.id}").text


def test_the_time_zone_is_offered_kept_and_written_down(
    app: Flask, admin: TestUser, panel: Panel, engine: Engine, connection: Connection
) -> None:
    panel.post("/admin/users/new", {**NEW, "timezone": "Asia/Vladivostok"})
    user = _user(connection, NEW["name"])
    assert user.timezone == "Asia/Vladivostok"
    address = f"/admin/users/{user.id}/edit"
    with engine.begin() as unit:
        unit.execute(
            text("UPDATE users SET timezone = 'Etc/GMT-3' WHERE id = :id"), {"id": user.id}
        )

    form = panel.get(address).text
    assert '<option selected value="Etc/GMT-3">' in form, "what was set elsewhere is not lost"
    panel.post(address, {**NEW, "timezone": "Etc/GMT-3"})
    assert _user(connection, NEW["name"]).timezone == "Etc/GMT-3"
    page = panel.follow(panel.post(address, {**NEW, "timezone": "Europe/Moscow"}))

    assert _user(connection, NEW["name"]).timezone == "Europe/Moscow"
    assert "<dt>Time zone</dt><dd>Europe/Moscow</dd>" in page
    changes = text(
        "SELECT before ->> 'timezone', after ->> 'timezone' FROM audit_log"
        " WHERE action = 'user.updated'"
    )
    assert connection.execute(changes).all() == [("Etc/GMT-3", "Europe/Moscow")]


def test_saving_without_a_change_writes_nothing(
    panel: Panel, merchant: TestUser, connection: Connection
) -> None:
    before = kept_rows(connection)

    panel.post(
        f"/admin/users/{merchant.id}/edit",
        {**NEW, "name": merchant.name, "currency": "RUB", "webhook_url": ""},
    )

    assert kept_rows(connection) == before


def test_a_form_from_before_does_not_give_back_what_was_taken_meanwhile(
    panel: Panel, app: Flask, engine: Engine, keyring: Keyring, connection: Connection
) -> None:
    operator = make_user(engine, keyring, role=Role.OPERATOR, password=PASSWORD)
    second = make_user(engine, keyring, role=Role.ADMIN, password=PASSWORD)
    address = f"/admin/users/{operator.id}/edit"
    other = Panel(app.test_client())
    other.log_in(second)
    forms = [(each, _filled(each.get(address).text)) for each in (panel, other)]
    first, late = ({**form, "currency": "RUB"} for _, form in forms)

    taken = panel.post(address, {**first, "role": "viewer", "timezone": "Asia/Vladivostok"})
    refused = other.post(address, {**late, "commission_rate": "50%"})

    assert taken.status_code == 303
    assert refused.status_code == 409
    assert "was changed meanwhile" in refused.text
    for now in ("viewer", "Asia/Vladivostok"):
        assert f'<option selected value="{now}">' in refused.text, "what is true now is shown"
    user = _user(connection, operator.name)
    assert (user.role, str(user.commission_rate)) == ("viewer", "0.030000")
    again = {**_filled(refused.text), "commission_rate": "50%"}
    assert "Saved." in other.follow(other.post(address, again))
    assert _user(connection, operator.name).role == "viewer"


def _filled(page: str) -> dict[str, str]:
    """What a browser would send of a user's form as it stands."""
    typed = r'<input[^>]* name="(\w+)"[^>]* type="(?:text|hidden)" value="([^"]*)"'
    inputs = re.findall(typed, page)
    chosen = re.search(r'<option selected value="(\w+)">', page)
    assert chosen
    sent = {name: html.unescape(value) for name, value in inputs if name != "csrf_token"}
    assert sent.keys() >= {"name", "commission_rate", "seen"}
    return {**sent, "role": chosen[1]}


def test_a_new_password_ends_the_logins_of_the_user(
    panel: Panel, app: Flask, merchant: TestUser
) -> None:
    theirs = Panel(app.test_client())
    theirs.log_in(merchant)

    panel.post(
        f"/admin/users/{merchant.id}/edit",
        {**NEW, "name": merchant.name, "password": "another good password"},
    )

    assert theirs.get("/admin/").status_code == 303
    theirs.log_in(merchant, "another good password")


def test_the_last_admin_cannot_lose_its_rights(
    panel: Panel, admin: TestUser, connection: Connection
) -> None:
    demoted = panel.post(f"/admin/users/{admin.id}/edit", {**NEW, "name": admin.name})

    assert demoted.status_code == 422
    assert "The last active admin must stay one." in demoted.text
    for act in ("deactivate", "delete"):
        answer = panel.post(f"/admin/users/{admin.id}/{act}")
        assert "The last active admin must stay one." in panel.follow(answer)
    assert _user(connection, admin.name).active


def test_a_user_without_money_can_be_deleted_with_one_question(
    panel: Panel, merchant: TestUser, connection: Connection
) -> None:
    question = panel.get(f"/admin/users/{merchant.id}/ask/delete").text
    assert f'action="/admin/users/{merchant.id}/delete"' in question
    assert merchant.name in question

    said = panel.follow(panel.post(f"/admin/users/{merchant.id}/delete"))

    assert "The user is deleted." in said
    assert panel.get(f"/admin/users/{merchant.id}").status_code == 404
    assert panel.post(f"/admin/users/{merchant.id}/delete").status_code == 404
    audit = panel.get("/admin/audit/").text
    assert merchant.name in audit


def test_a_user_with_transactions_is_deactivated_instead(
    panel: Panel, app: Flask, merchant: TestUser, engine: Engine, connection: Connection
) -> None:
    make_transaction(engine, merchant)

    question = panel.follow(panel.get(f"/admin/users/{merchant.id}/ask/delete"))
    assert "This user has transactions, so it is not deleted." in question
    refused = panel.follow(panel.post(f"/admin/users/{merchant.id}/delete"))
    assert "cannot be deleted; deactivate it instead" in refused
    assert _user(connection, merchant.name).active
    done = panel.follow(panel.post(f"/admin/users/{merchant.id}/deactivate"))

    assert "The user is deactivated." in done
    assert not _user(connection, merchant.name).active
    key = app.test_client().get("/balance", headers=merchant.headers)
    assert key.status_code == 401
    panel.post(f"/admin/users/{merchant.id}/activate")
    assert app.test_client().get("/balance", headers=merchant.headers).status_code == 200


def test_a_key_is_shown_once_works_and_can_be_revoked(
    panel: Panel, app: Flask, merchant: TestUser, connection: Connection
) -> None:
    answer = panel.post(
        f"/admin/users/{merchant.id}/keys", {"scopes": ["read"], "expires_in": "30"}
    )

    assert answer.status_code == 201
    (key,) = _secrets(answer.text)
    page = panel.get(f"/admin/users/{merchant.id}").text
    assert key not in page
    assert key[:16] in page
    headers = {"Authorization": f"Bearer {key}"}
    assert app.test_client().get("/balance", headers=headers).status_code == 200
    row = connection.execute(
        text("SELECT * FROM api_keys WHERE prefix = :prefix"), {"prefix": key[:16]}
    ).one()
    assert row.scopes == ["read"]
    assert (row.expires_at - row.created_at).days in (29, 30)
    address = f"/admin/users/{merchant.id}/keys/{row.id}"
    assert f"Revoke the key {key[:16]}" in panel.get(f"{address}/ask").text

    assert "The key is revoked." in panel.follow(panel.post(f"{address}/revoke"))

    assert app.test_client().get("/balance", headers=headers).status_code == 401


def test_a_key_is_revoked_only_under_its_own_user(
    panel: Panel, merchant: TestUser, admin: TestUser, connection: Connection
) -> None:
    key_id = connection.scalar(
        text("SELECT id FROM api_keys WHERE user_id = :id"), {"id": merchant.id}
    )

    assert panel.post(f"/admin/users/{admin.id}/keys/{key_id}/revoke").status_code == 404
    assert connection.scalar(text("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL")) == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"scopes": ["confirm"], "expires_in": ""}, "for keys of admins and operators only"),
        ({"scopes": [], "expires_in": ""}, "Name at least one scope."),
        ({"scopes": ["everything"], "expires_in": ""}, "The key was not made"),
        ({"scopes": ["read"], "expires_in": "-1"}, "The key was not made"),
    ],
)
def test_a_key_that_may_not_be_is_not_made(
    panel: Panel, merchant: TestUser, connection: Connection, data: dict[str, Any], said: str
) -> None:
    before = kept_rows(connection)

    answer = panel.post(f"/admin/users/{merchant.id}/keys", data)

    assert said in panel.follow(answer)
    assert kept_rows(connection) == before


def test_the_webhook_secret_is_shown_on_demand_and_rotated(
    panel: Panel, merchant: TestUser, connection: Connection
) -> None:
    shown = panel.post(f"/admin/users/{merchant.id}/secret")
    question = panel.get(f"/admin/users/{merchant.id}/secret/ask")
    rotated = panel.post(f"/admin/users/{merchant.id}/secret/rotate")

    assert _secrets(shown.text) == [merchant.webhook_secret]
    assert "For 24 hours both secrets sign" in question.text
    (new,) = _secrets(rotated.text)
    assert new != merchant.webhook_secret
    actions = connection.scalars(text("SELECT action FROM audit_log ORDER BY id")).all()
    assert actions[-2:] == ["user.webhook_secret_shown", "user.webhook_secret_rotated"]
    endpoint = _endpoint(connection, merchant.name)
    assert endpoint.previous_secret_until is not None
    for sealed in (endpoint.secret, endpoint.previous_secret):
        assert merchant.webhook_secret.encode() not in bytes(sealed)
        assert new.encode() not in bytes(sealed)


@pytest.mark.parametrize(
    ("reason", "said", "goes_on"),
    [
        ("gone", "answered 410", True),
        ("failing", "failed for five days", True),
        ("owner", "switched off by its owner", False),
    ],
)
def test_a_stopped_receiver_is_shown_with_the_reason_and_goes_on_when_saved(
    panel: Panel,
    merchant: TestUser,
    connection: Connection,
    reason: str,
    said: str,
    goes_on: bool,
) -> None:
    address = f"/admin/users/{merchant.id}"
    assert "Stopped" not in panel.get(address).text
    connection.execute(
        text(
            "UPDATE webhook_endpoints SET url = :url, disabled_at = clock_timestamp(),"
            " disabled_reason = :reason WHERE id = :id"
        ),
        {"id": merchant.id, "reason": reason, "url": NEW["webhook_url"]},
    )

    page = panel.get(address).text
    assert "Stopped" in page
    assert said in page

    panel.post(f"{address}/edit", {**NEW, "name": merchant.name, "currency": "RUB"})
    assert (_endpoint(connection, merchant.name).disabled_at is None) is goes_on
    assert ("Stopped" not in panel.get(address).text) is goes_on


def test_the_list_has_balances_search_and_pages(
    panel: Panel, engine: Engine, keyring: Keyring
) -> None:
    for number in range(30):
        make_user(engine, keyring, name=f"shop {number:02} 100%_", currency="JPY")

    first = panel.get("/admin/users/").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = panel.get(older[1].replace("&amp;", "&")).text
    searched = panel.get("/admin/users/", query_string={"name": "HOP 07"}).text
    percent = panel.get("/admin/users/", query_string={"name": "%_"}).text
    nothing = panel.get("/admin/users/", query_string={"name": "x' OR 1=1"}).text

    shown = re.findall(r"shop \d\d", first + second)
    assert sorted(set(shown)) == [f"shop {number:02}" for number in range(30)]
    assert "0&nbsp;<abbr" in first
    assert re.findall(r"<bdi>(shop \d\d)", searched) == ["shop 07"]
    assert "admin-" not in percent.split("<main")[1], "a percent sign is no wildcard"
    assert "Nothing matches." in nothing


def test_the_limit_of_a_page_is_bounded(panel: Panel, engine: Engine, keyring: Keyring) -> None:
    for number in range(30):
        make_user(engine, keyring, name=f"shop {number:02}")

    for limit, rows in (("50", 31), ("100000", 25), ("-1", 25), ("x", 25)):
        page = panel.get("/admin/users/", query_string={"limit": limit}).text
        assert page.count('data-label="Balance"') == rows


def test_a_user_without_a_password_cannot_log_in(
    client: FlaskClient, engine: Engine, keyring: Keyring
) -> None:
    user = make_user(engine, keyring)

    data = {"name": user.name, "password": PASSWORD}

    assert Panel(client).post("/login", data).status_code == 401
