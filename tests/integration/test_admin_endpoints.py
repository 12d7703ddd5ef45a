"""Endpoints in the panel: their pages and forms, for admins and for the merchants they are of."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.admin import endpoint_checks, findings, messages
from standart.clock import new_id
from standart.encryption import Keyring
from standart.services import webhook_service
from standart.services.endpoint_rules import PATTERNS
from standart.services.webhook_work import AttemptResult
from standart.webhooks import checkup
from tests.builders import PASSWORD, TestUser, make_endpoint, make_user
from tests.integration.hooks import GoodReceiver, serving
from tests.integration.panel import Panel, kept_rows

URL = "https://hooks.example.com/standart"
NASTY = '"><script>alert(1)</script>'
FORM: dict[str, Any] = {"url": URL, "event_types": ["payout.*"], "rate_limit": "", "headers": ""}


@pytest.fixture(params=["admin", "owner"])
def panel(request: pytest.FixtureRequest, client: FlaskClient, shop: TestUser) -> Panel:
    """An admin, or the merchant itself: both may do all of it."""
    made = Panel(client)
    made.log_in(shop if request.param == "owner" else request.getfixturevalue("admin"))
    return made


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, name="shop", webhook_url=URL, password=PASSWORD)


def _rows(connection: Connection, owner: TestUser) -> list[Any]:
    query = text(
        "SELECT * FROM webhook_endpoints WHERE user_id = :id AND id <> :id ORDER BY created_at"
    )
    return list(connection.execute(query, {"id": owner.id}))


def _actions(connection: Connection) -> list[str]:
    query = text(
        "SELECT action FROM audit_log WHERE channel = 'panel' AND action <> 'session.opened'"
        " ORDER BY id"
    )
    return list(connection.scalars(query))


def _secret(page: str) -> str:
    return html.unescape(re.findall(r'<code class="whole secret">([^<]+)</code>', page)[0])


def test_an_endpoint_from_its_beginning_to_its_end(
    panel: Panel, shop: TestUser, connection: Connection
) -> None:
    account = panel.get(f"/admin/users/{shop.id}").text
    assert f'href="/admin/webhooks/endpoints/new/{shop.id}"' in account
    assert f'href="/admin/webhooks/endpoints/{shop.id}"' in account, "the default one"

    made = panel.post(
        f"/admin/webhooks/endpoints/new/{shop.id}",
        {
            **FORM,
            "event_types": ["payout.*", "refund.created"],
            "description": f"Till {NASTY}",
            "headers": "Authorization: Bearer s3cret\r\n\r\nX-Shop: a: b",
            "rate_limit": "25",
            "ordered": "y",
        },
    )
    assert made.status_code == 201
    secret = _secret(made.text)
    (row,) = _rows(connection, shop)
    assert (row.url, row.event_types, row.rate_limit, row.ordered) == (
        URL,
        ["payout.*", "refund.created"],
        25,
        True,
    )
    address = f"/admin/webhooks/endpoints/{row.id}"
    page = panel.get(address).text
    assert "Authorization" in page
    assert "X-Shop" in page
    assert "s3cret" not in page
    assert secret not in page
    assert "<script>alert" not in page
    assert "All about payouts" in page
    assert _secret(panel.post(f"{address}/secret").text) == secret

    assert "Rotate" in panel.get(f"{address}/secret/ask").text
    assert _rows(connection, shop)[0].previous_secret is None, "asking changes nothing"
    fresh = _secret(panel.post(f"{address}/secret/rotate").text)
    assert fresh != secret
    assert "The former one signs as well until" in panel.get(address).text

    for act, state in (("disable", "owner"), ("enable", None)):
        assert f'action="{address}/{act}"' in panel.get(f"{address}/ask/{act}").text
        assert f"endpoint is {act}d." in panel.follow(panel.post(f"{address}/{act}"))
        assert _rows(connection, shop)[0].disabled_reason == state

    assert f'action="{address}/delete"' in panel.get(f"{address}/ask/delete").text
    assert "The endpoint is deleted." in panel.follow(panel.post(f"{address}/delete"))
    assert panel.get(address).status_code == 404
    assert panel.post(f"{address}/ping").status_code == 404
    assert _actions(connection) == [
        "endpoint.created",
        "endpoint.secret_shown",
        "endpoint.secret_rotated",
        "endpoint.updated",
        "endpoint.updated",
        "endpoint.deleted",
    ]


def test_editing_keeps_what_is_not_changed(
    panel: Panel, shop: TestUser, connection: Connection
) -> None:
    panel.post(
        f"/admin/webhooks/endpoints/new/{shop.id}", {**FORM, "headers": "X-Key: one\nX-Two: two"}
    )
    (before,) = _rows(connection, shop)
    address = f"/admin/webhooks/endpoints/{before.id}"
    form = panel.get(f"{address}/edit").text
    assert "X-Key: ***\nX-Two: ***</textarea>" in form
    assert re.findall(r'checked[^>]*value="([^"]+)"', form) == ["payout.*"]

    panel.post(f"{address}/edit", {**FORM, "headers": "X-Key: ***\nX-Two: ***"})
    assert _rows(connection, shop)[0].headers == before.headers
    assert "endpoint.updated" not in _actions(connection)
    page = panel.follow(
        panel.post(
            f"{address}/edit", {**FORM, "headers": "X-Key: ***", "event_types": ["*"], "url": URL}
        )
    )

    assert "Saved." in page
    assert "Everything" in page
    row = _rows(connection, shop)[0]
    assert (row.header_names, row.event_types) == (["X-Key"], ["*"])
    changed = text("SELECT after FROM audit_log WHERE action = 'endpoint.updated'")
    assert "one" not in json.dumps(connection.scalar(changed))


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"url": ""}, "url", "Only the default endpoint may be without a URL."),
        ({"url": "http://10.0.0.1/"}, "url", "must"),
        ({"url": "https://x.example/#" + NASTY}, "url", "must not contain a fragment"),
        ({"event_types": []}, "event_types", "must have 1 to 50 entries"),
        ({"event_types": ["nonsense"]}, "event_types", "not a valid choice"),
        ({"description": "x" * 501}, "description", "at most 500 characters"),
        ({"description": "nul\0"}, "description", "must not hold control characters"),
        ({"description": "4111 1111 1111 1111"}, "description", "must not hold a card number"),
        ({"headers": "no colon"}, "headers", "of the form Name: value"),
        ({"headers": "webhook-id: 1"}, "headers", "must not set webhook-id, which is ours"),
        ({"headers": "X-A: 1\nX-A: 2"}, "headers", "must not name a header twice"),
        ({"headers": "X-A: 1\nx-a: 2"}, "headers", "must not name a header twice"),
        ({"headers": "X A: 1"}, "headers", "must have names of"),
        ({"headers": "X-A: ü"}, "headers", "must have values of"),
        ({"headers": "X-A: ***"}, "headers", "stands for one that is set already"),
        ({"rate_limit": "fast"}, "rate_limit", "must be a whole number"),
        ({"rate_limit": "0"}, "rate_limit", "must be from 1 to 10000"),
        ({"rate_limit": "10001"}, "rate_limit", "must be from 1 to 10000"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_lost(
    panel: Panel,
    shop: TestUser,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    wrong: dict[str, Any],
    field: str,
    said: str,
) -> None:
    endpoint = make_endpoint(engine, keyring, shop, url=URL)
    sent = {**FORM, "description": "my till", "headers": "X-Kept: 1", **wrong}
    panel.token()
    before = kept_rows(connection), _rows(connection, shop)

    for path in (f"new/{shop.id}", f"{endpoint.id}/edit"):
        answer = panel.post(f"/admin/webhooks/endpoints/{path}", sent)
        assert answer.status_code == 422
        page = html.unescape(answer.text)
        assert re.search(rf'id="{field}-error">[^<]*{re.escape(said)}', answer.text) or said in page
        assert f'id="{field}-error"' in answer.text
        for kept in ("description", "headers", "rate_limit"):
            assert str(sent[kept]).replace("\n", "\r\n") in page or str(sent[kept]) in page
        assert "<script>alert" not in answer.text
    assert (kept_rows(connection), _rows(connection, shop)) == before


def test_the_twenty_first_is_refused_in_words(
    panel: Panel, shop: TestUser, engine: Engine, keyring: Keyring
) -> None:
    for _ in range(19):
        make_endpoint(engine, keyring, shop, url=URL)

    answer = panel.post(f"/admin/webhooks/endpoints/new/{shop.id}", {**FORM, "description": "one"})

    assert answer.status_code == 409
    assert "A user may have 20 webhook endpoints at most" in answer.text
    assert 'value="one"' in answer.text


def test_the_default_one_stays_and_may_lose_its_url(
    panel: Panel, shop: TestUser, connection: Connection
) -> None:
    address = f"/admin/webhooks/endpoints/{shop.id}"
    assert f"{address}/ask/delete" not in panel.get(address).text

    assert "The default endpoint stays" in panel.follow(panel.post(f"{address}/delete"))
    page = panel.follow(panel.post(f"{address}/edit", {**FORM, "url": ""}))
    assert "It has no URL" in page
    assert "No endpoint may be called" in panel.follow(panel.post(f"{address}/ping"))
    assert _secret(panel.post(f"{address}/secret").text) == shop.webhook_secret
    assert _actions(connection)[-1] == "user.webhook_secret_shown"


def test_a_ping_leads_to_its_event(
    panel: Panel, app: Flask, shop: TestUser, connection: Connection
) -> None:
    nudges: list[int] = []
    app.extensions["standart.nudge"] = lambda: nudges.append(1)

    page = panel.follow(panel.post(f"/admin/webhooks/endpoints/{shop.id}/ping"))

    assert "Test message" in page
    assert "Waiting" in page
    assert nudges == [1]
    assert connection.scalar(text("SELECT type FROM events")) == "ping"


def test_a_good_receiver_passes_its_check_up_and_a_careless_one_is_told(
    panel: Panel, shop: TestUser, engine: Engine, keyring: Keyring, connection: Connection
) -> None:
    good = GoodReceiver("")
    with serving(good) as url, serving(lambda headers, body: 200) as careless:
        first = make_endpoint(engine, keyring, shop, url=url)
        good.secret = first.secret
        second = make_endpoint(engine, keyring, shop, url=careless)
        passed = panel.post(f"/admin/webhooks/endpoints/{first.id}/check")
        failed = panel.post(f"/admin/webhooks/endpoints/{second.id}/check")

    assert passed.status_code == failed.status_code == 200
    assert "The receiver does all of it right." in passed.text
    assert passed.text.count('data-label="Verdict"') == len(findings.SCENARIOS)
    assert "4 things to mend" in failed.text
    assert "anybody can send it events" in failed.text
    assert "accepted_stale" in failed.text
    assert _actions(connection) == ["endpoint.checked"] * 2


def test_a_check_up_ends_with_its_time_and_at_a_dead_receiver(
    panel: Panel,
    shop: TestUser,
    engine: Engine,
    keyring: Keyring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = make_endpoint(engine, keyring, shop, url="http://127.0.0.1:9/hook")
    page = panel.post(f"/admin/webhooks/endpoints/{dead.id}/check").text
    assert page.count('data-label="Verdict"') == 1
    assert "It cannot be reached." in page
    assert "The other messages were not sent" in page

    monkeypatch.setattr("standart.webhooks.sender.DEADLINE", 0.0)
    with serving(lambda headers, body: 204) as url:
        slow = make_endpoint(engine, keyring, shop, url=url)
        page = panel.post(f"/admin/webhooks/endpoints/{slow.id}/check").text
    assert page.count('data-label="Verdict"') == 1
    assert "Nothing is wrong with what was sent." in page


def test_few_check_ups_run_at_once(panel: Panel, shop: TestUser, connection: Connection) -> None:
    places = endpoint_checks._check_ups
    taken = [places.acquire(blocking=False) for _ in range(2)]
    try:
        answer = panel.post(f"/admin/webhooks/endpoints/{shop.id}/check")
    finally:
        for _ in taken:
            places.release()

    assert taken == [True, True]
    assert "Other check-ups are running" in panel.follow(answer)
    assert _actions(connection) == []


def test_a_span_is_sent_anew_with_its_progress(
    panel: Panel, app: Flask, shop: TestUser, connection: Connection
) -> None:
    nudges: list[int] = []
    app.extensions["standart.replay_nudge"] = lambda: nudges.append(1)
    panel.client.set_cookie("standart_zone", "Asia/Kabul")
    address = f"/admin/webhooks/endpoints/{shop.id}"
    form = panel.get(address).text
    assert re.search(r'name="since"[^>]*required[^>]*type="datetime-local"', form)
    span = {"since": "2026-01-01T00:00", "until": "2026-01-02T00:00:30", "scope": "dead"}

    page = panel.follow(panel.post(f"{address}/replay", span))

    row = connection.execute(text("SELECT * FROM webhook_replays")).one()
    assert row.since.isoformat() == "2025-12-31T19:30:00+00:00", "Kabul is at +04:30"
    assert row.until.isoformat() == "2026-01-01T19:30:30+00:00"
    assert row.scope == "dead"
    assert nudges == [1]
    assert "<progress" in page
    assert "0 of 0" in page
    other = panel.post(f"{address}/replay", {**span, "scope": "all"})
    assert other.status_code == 409
    assert "Another replay of this endpoint is still running" in other.text
    connection.execute(text("UPDATE webhook_replays SET finished_at = clock_timestamp()"))
    assert "<progress" not in panel.get(address).text
    assert "endpoint.replay_started" in _actions(connection)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"since": ""}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "0001-01-01T00:00"}, "since"),
        ({"until": "9999-12-31T23:59"}, "until"),
        ({"until": "2026-01-01T00:00"}, "until"),
        ({"scope": "everything"}, "scope"),
    ],
)
def test_a_span_that_does_not_fit_is_refused_and_not_lost(
    panel: Panel, shop: TestUser, connection: Connection, wrong: dict[str, str], field: str
) -> None:
    span = {"since": "2026-01-01T00:00", "until": "2026-01-02T00:00", "scope": "all", **wrong}
    before = kept_rows(connection)

    answer = panel.post(f"/admin/webhooks/endpoints/{shop.id}/replay", span)

    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    for name in ("since", "until"):
        assert f'value="{span[name]}"' in answer.text
    assert kept_rows(connection) == before


def test_how_an_endpoint_does_is_on_its_page(
    panel: Panel, shop: TestUser, connection: Connection, keyring: Keyring
) -> None:
    panel.post(f"/admin/webhooks/endpoints/{shop.id}/ping")
    (claimed,) = webhook_service.claim_due(connection, keyring).deliveries
    result = AttemptResult("refused", None, "", "the connection failed", 4)
    webhook_service.record_attempts(connection, [(claimed, result)], schedule=(600,))

    page = panel.get(f"/admin/webhooks/endpoints/{shop.id}").text
    tab = panel.get("/admin/webhooks/").text

    assert "Fails since" in page
    assert "Receivers in trouble" in tab
    assert f'href="/admin/webhooks/endpoints/{shop.id}"' in tab


def test_an_unknown_act_and_an_unknown_endpoint_are_not_found(panel: Panel, shop: TestUser) -> None:
    assert panel.get(f"/admin/webhooks/endpoints/{shop.id}/ask/explode").status_code == 404
    for path in ("", "/edit", "/ask/delete", "/secret/ask"):
        assert panel.get(f"/admin/webhooks/endpoints/{new_id()}{path}").status_code == 404
    for path in ("secret", "secret/rotate", "ping", "check", "replay", "delete", "edit", "enable"):
        answer = panel.post(f"/admin/webhooks/endpoints/{new_id()}/{path}", FORM)
        assert answer.status_code == 404, path


def test_every_code_has_words() -> None:
    assert set(messages.SUBSCRIPTIONS) >= set(PATTERNS)
    made = checkup.scenarios(URL, ["whsec_MTIzNDU2"], new_id=new_id, timestamp=1, extra_headers={})
    assert set(findings.SCENARIOS) == {scenario.name for scenario in made}
    codes = {scenario.code for scenario in made} | {
        code for code, _ in checkup._UNANSWERED.values()
    }
    others = {"failed_instead_of_refusing", "slow", "answer_incomplete", "redirect", "no_http"}
    assert set(findings.FINDINGS) == codes | others
