"""The audit log in the panel: filters, pages both ways, what differs, the export."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event, text

from standart.clock import new_id
from standart.models import Role
from standart.services import audit_list, audit_service
from standart.services.access import Actor, Origin
from standart.services.access import operator as acting
from tests.builders import TestUser
from tests.integration.panel import Panel

PATH = "/admin/audit/"
NASTY = '=HYPERLINK("https://evil.example")'


@pytest.fixture
def panel(client: FlaskClient, admin: TestUser) -> Panel:
    made = Panel(client)
    made.log_in(admin)
    return made


@pytest.fixture
def reader(admin: TestUser) -> Actor:
    return acting(admin.id, admin.name, Role.ADMIN, Origin("panel"))


def _write(
    connection: Connection,
    name: str,
    action: str,
    object_type: str,
    object_id: object,
    **sides: Any,
) -> None:
    by = Actor(None, name, Role.ADMIN, frozenset(), Origin("panel", str(new_id()), "192.0.2.7"))
    audit_service.record(connection, by, action, object_type, str(object_id), **sides)


def _rows(page: str) -> list[str]:
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    return [html.unescape(row) for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)]


def _shown(panel: Panel, **query: str) -> int:
    return panel.get(PATH, query_string=query).text.count('data-label="Before → after"')


def test_every_filter_narrows_the_list_and_all_of_them_together(
    panel: Panel, connection: Connection
) -> None:
    payout, refund = new_id(), new_id()
    _write(connection, "Ann", "payout.approved", "payout", payout)
    _write(connection, "Bob", "payout.approved", "payout", new_id())
    _write(connection, "Ann", "payout.paid", "payout", payout)
    _write(connection, "Ann", "refund.created", "refund", refund)
    day = datetime.now(UTC).date()

    for query, rows in (
        ({"actor": "aNN"}, 3),
        ({"actor": "An"}, 0),
        ({"action": "payout.approved"}, 2),
        ({"object_type": "payout"}, 3),
        ({"object_id": str(payout).upper()}, 2),
        ({"object_type": "refund", "object_id": str(payout)}, 0),
        ({"object_type": "refund", "action": "payout.paid"}, 0),
        ({"actor": "ann", "action": "payout.approved"}, 1),
        ({"actor": "ann", "object_type": "payout"}, 2),
        ({"actor": "ann", "object_id": str(payout), "action": "payout.paid"}, 1),
        ({"actor": "ann", "created_from": str(day)}, 3),
        ({"actor": "ann", "created_from": str(day + timedelta(days=1))}, 0),
        ({"actor": "ann", "created_to": str(day)}, 3),
        ({"actor": "ann", "created_to": str(day - timedelta(days=1))}, 0),
        ({"action": "no.such"}, 0),
        ({"object_type": "nonsense"}, 0),
        ({"created_from": "nonsense"}, 0),
        ({"created_to": "9999-12-31"}, 0),
    ):
        assert _shown(panel, **query) == rows, query


def test_filters_are_chips_that_can_be_dropped(panel: Panel, connection: Connection) -> None:
    _write(connection, "Ann", "payout.paid", "payout", new_id())

    page = panel.get(f"{PATH}?actor=Ann&action=payout.paid&after=x").text

    chips = page.split('class="chips"')[1].split("</ul>")[0]
    assert 'href="/admin/audit/?action=payout.paid"' in chips
    assert 'href="/admin/audit/?actor=Ann"' in chips
    assert 'class="reset" href="/admin/audit/"' in chips
    assert "Payout paid" in chips
    wrong = panel.get(f"{PATH}?created_from=never").text
    assert "never (unknown)" in wrong
    assert "Drop a filter" in wrong


def test_pages_go_both_ways_and_lose_nothing(panel: Panel, connection: Connection) -> None:
    wanted = [new_id() for _ in range(60)]
    for number, each in enumerate(wanted):
        _write(connection, "Ann", ("payout.paid", "payout.approved")[number % 2], "payout", each)

    def ids(page: str) -> list[str]:
        return re.findall(
            r'title="([0-9a-f-]{36})">[^<]*</(?:a|span)></span></td>\s*<td data-label="Before', page
        )

    pages = [panel.get(f"{PATH}?actor=ann").text]
    while found := re.search(r'rel="next" href="([^"]+)"', pages[-1]):
        pages.append(panel.get(html.unescape(found[1])).text)
    down = [ids(page) for page in pages]
    up = [down[-1]]
    page = pages[-1]
    while found := re.search(r'rel="prev" href="([^"]+)"', page):
        page = panel.get(html.unescape(found[1])).text
        up.append(ids(page))

    assert [len(each) for each in down] == [25, 25, 10]
    assert [one for each in down for one in each] == [str(one) for one in reversed(wanted)]
    assert up == down[::-1]


def test_a_record_tells_what_differs_and_no_secret(panel: Panel, connection: Connection) -> None:
    _write(
        connection,
        "Ann",
        "user.updated",
        "user",
        new_id(),
        before={
            "name": "old",
            "currency": "RUB",
            "webhook_secret": "whsec_AAAA",
            "limit": {"a": 1},
        },
        after={
            "name": "<b>new</b>",
            "currency": "RUB",
            "webhook_secret": "whsec_BBBB",
            "password_changed": True,
            "webhook_url": "https://me:hunter2@example.com/?token=T0ken",
            "limit": {"a": 2},
        },
    )

    (row,) = _rows(panel.get(f"{PATH}?actor=ann").text)
    page = panel.get(f"{PATH}?actor=ann").text

    assert "<del><bdi>old</bdi></del> → <ins><bdi><b>new</b>" in row
    assert "<b>new</b>" not in page
    assert "RUB" not in row
    assert "Password changed: <ins><bdi>yes" in re.sub(r"\s+", " ", row)
    for secret in ("whsec_AAAA", "whsec_BBBB", "hunter2", "T0ken"):
        assert secret not in page
    assert "192.0.2.7" in row
    assert "a: <del><bdi>1</bdi></del> → <ins><bdi>2" in row


def test_rates_are_per_cent_and_what_is_no_user_has_words(
    panel: Panel, connection: Connection
) -> None:
    sides = {"before": {"commission_rate": "0.029"}, "after": {"commission_rate": "0.0315"}}
    _write(connection, "command line", "user.updated", "user", new_id(), **sides)
    terms = {"tiers": {"rate": "0.005"}}
    _write(connection, "system", "fee_schedule.set", "user", new_id(), after=terms)
    panel.defaults["headers"] = {"Accept-Language": "ru"}

    (updated,) = _rows(panel.get(f"{PATH}?action=user.updated&actor=Командная строка").text)
    (terms_set,) = _rows(panel.get(f"{PATH}?action=fee_schedule.set&actor=Сам сервис").text)

    assert "<del><bdi>2,9\N{NO-BREAK SPACE}%</bdi></del> → <ins><bdi>3,15" in updated
    assert "<bdi>командная строка</bdi>" in updated
    assert "<ins><bdi>0,5\N{NO-BREAK SPACE}%</bdi>" in terms_set
    assert "<bdi>сам сервис</bdi>" in terms_set
    assert len(_rows(panel.get(f"{PATH}?action=fee_schedule.set&actor=system").text)) == 1, (
        "the kept name finds it too"
    )


def test_ids_lead_to_what_they_are_of(
    panel: Panel, connection: Connection, merchant: TestUser
) -> None:
    known = new_id()
    for action, kind, object_id, link in (
        ("transaction.confirmed", "transaction", known, f"/admin/transactions/{known}"),
        ("user.updated", "user", merchant.id, f"/admin/users/{merchant.id}"),
        ("user.deleted", "user", merchant.id, None),
        ("event.replayed", "event", known, f"/admin/webhooks/{known}"),
        ("endpoint.updated", "webhook_endpoint", known, f"/admin/webhooks/endpoints/{known}"),
        ("endpoint.deleted", "webhook_endpoint", known, None),
        ("period.closed", "period", "2026-01", None),
        ("user.updated", "user", "no id", None),
    ):
        connection.execute(text("SELECT 1"))
        _write(connection, f"who {action} {object_id}", action, kind, object_id)
        (row,) = _rows(panel.get(PATH, query_string={"actor": f"who {action} {object_id}"}).text)
        assert (f'href="{link}"' in row) is (link is not None), action
        assert str(object_id) in row


def test_the_export_has_what_the_filter_shows_and_is_written_down(
    panel: Panel, connection: Connection, admin: TestUser
) -> None:
    _write(connection, "Ann", "payout.paid", "payout", NASTY, after={"webhook_secret": "whsec_X"})
    _write(connection, "Bob", "payout.paid", "payout", new_id())

    answer = panel.post(f"{PATH}export?actor=ann")

    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="audit-')
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.get_data().decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(body))
    assert row["actor_name"] == "Ann"
    assert row["object_id"] == f"'{NASTY}"
    assert row["after"] == '{"webhook_secret":"********"}'
    assert datetime.fromisoformat(row["created_at"]).utcoffset() == timedelta(0)
    assert row["created_at"].endswith("Z")
    noted = connection.execute(
        text("SELECT actor_id, after FROM audit_log WHERE action = 'audit.exported'")
    ).one()
    assert noted == (admin.id, {"form": "csv", "actor": "ann"})


def test_an_export_of_nonsense_is_refused(panel: Panel, connection: Connection) -> None:
    count = text("SELECT count(*) FROM audit_log")
    before = connection.scalar(count)

    assert panel.post(f"{PATH}export?created_from=never").status_code == 422
    assert panel.post(f"{PATH}export", csrf_token=None).status_code == 400
    assert connection.scalar(count) == before


def test_batches_of_the_export_join_without_a_gap(
    engine: Engine, connection: Connection, reader: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_list, "BATCH", 3)
    for number in range(10):
        _write(connection, "Ann", ("payout.paid", "refund.created")[number % 2], "payout", number)

    found = [
        row.object_id for row in audit_list.rows(engine, reader, audit_list.Wanted(actor="ann"))
    ]

    assert found == [str(number) for number in reversed(range(10))]


def test_nobody_can_change_it_by_any_route(app: Flask, connection: Connection) -> None:
    """Nothing below the log's address takes more than reading, but for the export."""
    ways = {
        (str(rule), method)
        for rule in app.url_map.iter_rules()
        if str(rule).startswith(PATH)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert ways == {(PATH, "GET"), (f"{PATH}export", "POST")}
    rights = connection.execute(
        text(
            "SELECT has_table_privilege('audit_log', 'UPDATE'),"
            " has_table_privilege('audit_log', 'DELETE'),"
            " has_table_privilege('audit_log', 'TRUNCATE')"
        )
    ).one()
    assert rights == (False, False, False)


def test_an_action_is_always_about_one_kind_of_object(connection: Connection) -> None:
    """The list of kinds takes the first record of an action for all of them."""
    for number in range(3):
        _write(connection, "Ann", "payout.paid", "payout", number)
    _write(connection, "Ann", "note.created", "note", 1)

    assert {(kind.action, kind.object_type) for kind in audit_list.kinds(connection)} == {
        ("payout.paid", "payout"),
        ("note.created", "note"),
    }


def test_the_number_of_queries_does_not_grow(
    panel: Panel, connection: Connection, engine: Engine
) -> None:
    def queries(query: str) -> int:
        seen: list[str] = []

        def note(*given: Any) -> None:
            seen.append(given[2])

        event.listen(Engine, "before_cursor_execute", note)
        try:
            assert panel.get(f"{PATH}?{query}").status_code == 200
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return len(seen)

    _write(connection, "Ann", "payout.paid", "payout", 1)
    few = queries("limit=100")
    for number in range(80):
        _write(connection, "Ann", "payout.paid", "payout", number)

    assert queries("limit=100") == few <= 12
    assert queries("limit=100&actor=ann&object_type=payout") == few
