"""Events in the panel: filters and pages of the list, every attempt in full, sending again."""

from __future__ import annotations

import html
import re
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text

from standart.clock import new_id
from standart.encryption import Keyring
from standart.services import transaction_service, webhook_service
from standart.services.webhook_work import AttemptResult
from tests.builders import (
    ORIGIN,
    PASSWORD,
    TestEndpoint,
    TestUser,
    make_endpoint,
    make_transaction,
    make_user,
)
from tests.integration.panel import Panel, kept_rows

NASTY = "<script>alert(1)</script>"
URL = f"https://hooks.example.com/?q={NASTY}"
ANSWER = AttemptResult(
    "http_503",
    503,
    f"{NASTY} & more",
    "",
    1234,
    request_headers={"webhook-id": "msg", "X-Key": "***"},
    response_headers={"Server": NASTY},
    dns_ms=11,
    connect_ms=22,
    tls_ms=33,
    first_byte_ms=444,
)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, name="shop", webhook_url=URL, password=PASSWORD)


@pytest.fixture
def second(engine: Engine, keyring: Keyring, shop: TestUser) -> TestEndpoint:
    """Another endpoint of the shop, which gets everything."""
    return make_endpoint(engine, keyring, shop, url="https://second.example.com/")


@pytest.fixture(params=["admin", "owner"])
def panel(request: pytest.FixtureRequest, client: FlaskClient, shop: TestUser) -> Panel:
    made = Panel(client)
    made.log_in(shop if request.param == "owner" else request.getfixturevalue("admin"))
    return made


def _ended(connection: Connection, engine: Engine, owner: TestUser) -> UUID:
    made = make_transaction(engine, owner)
    transaction_service.cancel(connection, owner.digest, ORIGIN, UUID(made["id"]))
    query = text(
        "SELECT id FROM events WHERE transaction_id = :id AND type = 'transaction.canceled'"
    )
    event_id = connection.scalar(query, {"id": made["id"]})
    assert isinstance(event_id, UUID)
    return event_id


def _try_all(
    connection: Connection, keyring: Keyring, *, dead: bool = False, only: UUID | None = None
) -> None:
    claimed = webhook_service.claim_due(connection, keyring).deliveries
    results = [
        (
            one,
            ANSWER
            if only in (None, one.endpoint_id)
            else AttemptResult("delivered", 200, "", "", 5),
        )
        for one in claimed
    ]
    webhook_service.record_attempts(connection, results, schedule=() if dead else (600,) * 60)


def _listed(panel: Panel, **query: str) -> int:
    return panel.get("/admin/webhooks/", query_string=query).text.count('data-label="Event"')


def test_the_list_filters_by_endpoint_and_state(
    panel: Panel,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    shop: TestUser,
    second: TestEndpoint,
) -> None:
    _ended(connection, engine, shop)
    _try_all(connection, keyring, dead=True, only=second.id)

    for query, rows in (
        ({}, 2),
        ({"state": "dead"}, 2),
        ({"state": "delivered"}, 1),
        ({"state": "waiting"}, 0),
        ({"state": "nonsense"}, 0),
        ({"endpoint": str(second.id)}, 2),
        ({"endpoint": str(shop.id)}, 1),
        ({"endpoint": str(shop.id), "state": "dead"}, 0),
        ({"endpoint": str(new_id())}, 0),
        ({"endpoint": "nonsense"}, 0),
        ({"endpoint": str(second.id), "type": "transaction.created"}, 1),
    ):
        assert _listed(panel, **query) == rows, query
    page = panel.get("/admin/webhooks/?state=dead&type=transaction.canceled").text
    assert "Given up: 1" in page
    assert "Delivered: 1" in page
    assert 'href="/admin/webhooks/?type=transaction.canceled"' in page, "a chip drops its filter"


def test_pages_go_by_key_and_keep_the_filters(
    panel: Panel, engine: Engine, connection: Connection, shop: TestUser
) -> None:
    wanted = {str(_ended(connection, engine, shop)) for _ in range(26)}

    first = panel.get("/admin/webhooks/?state=waiting").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    assert "state=waiting" in older[1]
    rest = panel.get(html.unescape(older[1])).text

    shown = re.findall(r'href="/admin/webhooks/([0-9a-f-]{36})"', first + rest)
    assert len(shown) == 26
    assert set(shown) == wanted


def test_what_is_in_trouble_comes_first(
    panel: Panel,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    shop: TestUser,
    second: TestEndpoint,
) -> None:
    stranger = make_user(engine, keyring, name="stranger", webhook_url="https://other.example/")
    assert "Receivers in trouble" not in panel.get("/admin/webhooks/").text
    _ended(connection, engine, shop)
    _ended(connection, engine, stranger)
    _try_all(connection, keyring)
    connection.execute(
        text("UPDATE webhook_lanes SET failures = 9 WHERE endpoint_id = :id"), {"id": second.id}
    )
    connection.execute(
        text(
            "UPDATE webhook_endpoints SET disabled_at = clock_timestamp(),"
            " disabled_reason = 'gone' WHERE id = :id"
        ),
        {"id": shop.id},
    )

    page = panel.get("/admin/webhooks/").text
    table = page.split("Receivers in trouble")[1].split("</table>")[0]

    links = re.findall(r'href="/admin/webhooks/endpoints/([0-9a-f-]{36})"', table)
    mine = "stranger" not in table
    expected = [second.id, shop.id] if mine else [second.id, stranger.id, shop.id]
    assert links == [str(each) for each in expected]
    assert "the receiver answered 410" in table
    assert "<script>" not in table
    assert mine is ("Oldest due webhook" not in page), "the health of all is for admins"


def test_the_health_line_turns_red_after_a_minute(
    client: FlaskClient,
    admin: TestUser,
    engine: Engine,
    connection: Connection,
    shop: TestUser,
) -> None:
    panel = Panel(client)
    panel.log_in(admin)
    _ended(connection, engine, shop)
    for age, state in ((30, "ok"), (90, "late")):
        connection.execute(
            text(
                "UPDATE deliveries SET next_attempt_at = clock_timestamp()"
                " - make_interval(secs => :age)"
            ),
            {"age": age},
        )
        for path in ("/admin/webhooks/", "/admin/"):
            page = panel.get(path).text
            (line,) = re.findall(r'<li class="(\w+)">(?:(?!</li>).)*Oldest due', page, re.DOTALL)
            assert line == state, path


def test_every_attempt_is_shown_in_full_and_escaped(
    panel: Panel,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    shop: TestUser,
    second: TestEndpoint,
) -> None:
    event_id = _ended(connection, engine, shop)
    _try_all(connection, keyring, only=shop.id)

    page = panel.get(f"/admin/webhooks/{event_id}").text

    for shown in (
        "HTTP 503",
        "11 ms",
        "22 ms",
        "33 ms",
        "444 ms",
        "1234 ms",
        "<code>X-Key</code></dt><dd><code>***</code>",
        f"<code>{html.escape(NASTY)}</code>",
        f"<pre>{html.escape(NASTY)} &amp; more</pre>",
        f'href="/admin/webhooks/endpoints/{shop.id}"',
        f'href="/admin/webhooks/endpoints/{second.id}"',
        f'href="/admin/webhooks/{event_id}/ask?endpoint={second.id}"',
    ):
        assert shown in page
    assert "<script>alert" not in page
    connection.execute(
        text(
            "UPDATE webhook_endpoints SET deleted_at = clock_timestamp(), disabled_reason ="
            " 'owner', disabled_at = clock_timestamp() WHERE id = :id"
        ),
        {"id": second.id},
    )
    page = panel.get(f"/admin/webhooks/{event_id}").text
    assert f"/admin/webhooks/endpoints/{second.id}" not in page, "a deleted one has no page"
    assert "https://second.example.com/" in page


def test_many_attempts_come_in_pages(
    panel: Panel, engine: Engine, keyring: Keyring, connection: Connection, shop: TestUser
) -> None:
    event_id = _ended(connection, engine, shop)
    for _ in range(51):
        connection.execute(text("UPDATE deliveries SET next_attempt_at = clock_timestamp()"))
        connection.execute(text("UPDATE webhook_lanes SET open_until = NULL"))
        _try_all(connection, keyring)

    first = panel.get(f"/admin/webhooks/{event_id}").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    rest = panel.get(html.unescape(older[1])).text

    numbers = re.findall(r"<summary>№ (\d+)", first + rest)
    assert numbers == [str(number) for number in range(51, 0, -1)]
    assert "To the newest attempts" in rest


@pytest.mark.parametrize("to_one", [True, False])
def test_an_event_is_sent_again_after_a_question(
    panel: Panel,
    app: Flask,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    shop: TestUser,
    second: TestEndpoint,
    to_one: bool,
) -> None:
    nudges: list[int] = []
    app.extensions["standart.nudge"] = lambda: nudges.append(1)
    event_id = _ended(connection, engine, shop)
    _try_all(connection, keyring, dead=True)
    address = f"/admin/webhooks/{event_id}"
    chosen = str(second.id) if to_one else ""

    question = panel.get(f"{address}/ask?endpoint={chosen}").text
    assert re.findall(r'<option selected value="([^"]*)"', question) == [chosen]
    assert f'action="{address}/replay"' in question
    assert "<script>alert" not in question
    assert nudges == [], "asking sends nothing"
    page = panel.follow(panel.post(f"{address}/replay", {"endpoint": chosen}))

    assert "It is sent anew" in page
    assert nudges == [1]
    waiting = text("SELECT endpoint_id FROM deliveries WHERE event_id = :id AND state = 'waiting'")
    sent = set(connection.scalars(waiting, {"id": event_id}))
    assert sent == ({second.id} if to_one else {shop.id, second.id})
    after = text("SELECT after FROM audit_log WHERE action = 'event.replayed'")
    assert connection.scalars(after).all() == [{"endpoint_id": chosen} if to_one else None]


@pytest.mark.parametrize("endpoint", ["nonsense", "00000000-0000-7000-8000-000000000000"])
def test_nothing_is_sent_to_whom_it_must_not_go(
    panel: Panel,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    shop: TestUser,
    endpoint: str,
) -> None:
    stranger = make_user(engine, keyring, webhook_url="https://other.example/")
    event_id = _ended(connection, engine, shop)
    before = kept_rows(connection)

    for wrong in (endpoint, str(stranger.id)):
        answer = panel.post(f"/admin/webhooks/{event_id}/replay", {"endpoint": wrong})
        assert answer.status_code == 422
        assert 'id="endpoint-error"' in answer.text
    assert kept_rows(connection) == before


def test_where_nobody_may_be_called_it_is_said(
    panel: Panel, engine: Engine, connection: Connection, shop: TestUser
) -> None:
    event_id = _ended(connection, engine, shop)
    panel.post(f"/admin/webhooks/endpoints/{shop.id}/disable")

    page = panel.follow(panel.post(f"/admin/webhooks/{event_id}/replay", {"endpoint": ""}))

    assert "No endpoint may be called" in page


def test_the_audit_log_names_and_links_it(
    client: FlaskClient, admin: TestUser, engine: Engine, connection: Connection, shop: TestUser
) -> None:
    panel = Panel(client)
    panel.log_in(admin)
    event_id = _ended(connection, engine, shop)
    address = f"/admin/webhooks/endpoints/{shop.id}"
    panel.post(f"/admin/webhooks/{event_id}/replay", {"endpoint": str(shop.id)})
    panel.post(f"{address}/ping")
    panel.post(
        f"{address}/replay",
        {"since": "2026-01-01T00:00", "until": "2026-01-02T00:00", "scope": "dead"},
    )
    panel.post(f"{address}/edit", {"url": URL, "event_types": ["payout.*"], "headers": "A: b"})

    page = html.unescape(panel.get("/admin/audit/?limit=100").text)

    for told in (
        "Webhook sent again",
        "Test event sent",
        "A span of webhooks sent again",
        "Webhook endpoint changed",
        "All about payouts",
        "Values of headers changed",
        "Status: <ins><bdi>Given up",
        f'href="/admin/webhooks/{event_id}"',
        f'href="{address}"',
    ):
        assert told in page, told
    assert not re.search(r"\b[a-z]+_[a-z]+: ", re.sub(r"<[^>]+>", "", page)), "fields have names"
