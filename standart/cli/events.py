"""Commands for events: what happened, how it was told, and telling it once more."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID

import click
from sqlalchemy import Connection

from standart.cli.base import (
    OPERATOR,
    ServiceCommand,
    database,
    json_option,
    moment,
    named_user,
    show_json,
    show_table,
)
from standart.cli.endpoints import endpoint_argument
from standart.clock import now
from standart.models import DeliveryState, ReplayScope
from standart.services import (
    attempt_list,
    event_list,
    event_search,
    replay_service,
    span_replay_service,
)
from standart.services.event_search import Wanted
from standart.services.span_replay_service import NewReplay

_PAGE = 100


@click.command("list-events", cls=ServiceCommand)
@click.argument("name", required=False)
@click.option("--type", help="Such as refund.created.")
@click.option("--endpoint", "endpoint_id", type=click.UUID, help="Those sent to this endpoint.")
@click.option(
    "--state",
    type=click.Choice([state.value for state in DeliveryState]),
    help="Those with such a delivery.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def list_events(
    name: str | None,
    type: str | None,
    endpoint_id: UUID | None,
    state: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the events of NAME, or of everybody, newest first."""
    with database(require_secrets=False) as base, base.transaction() as session:
        wanted = Wanted(
            user_id=None if name is None else named_user(session, name).id,
            type=type,
            endpoint_id=endpoint_id,
            state=DeliveryState(state) if state else None,
        )
        found = event_search.page(
            session.connection(), OPERATOR, wanted, limit=limit, seconds=math.inf
        )
    bodies = [body for body, _, _ in found.rows]
    if as_json:
        show_json(*bodies, listed=True)
    else:
        header = ("ID", "TYPE", "OBJECT", "DELIVERIES", "CREATED")
        show_table(header, [_row(json.loads(body)) for body in bodies])


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    states = Counter(each["state"] for each in event["deliveries"])
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return event["id"], event["type"], event["object_id"], told or "-", event["created_at"]


@click.command("show-event", cls=ServiceCommand)
@click.argument("event_id", type=click.UUID)
@json_option
def show_event(event_id: UUID, as_json: bool) -> None:
    """Show an event, how its deliveries stand, and each attempt in all its details."""
    with database(require_secrets=False) as base, base.transaction() as session:
        connection = session.connection()
        event = json.loads(event_list.get_event(connection, OPERATOR, event_id))
        attempts = _attempts(connection, event_id)
    if as_json:
        click.echo(json.dumps({**event, "attempts": attempts}, ensure_ascii=False))
        return
    click.echo(f"{event['type']} {event['id']} {event['created_at']}")
    click.echo(json.dumps(event["payload"], ensure_ascii=False))
    for delivery in event["deliveries"]:
        due = delivery["next_attempt_at"]
        click.echo(
            f"to {delivery['endpoint_id']}: {delivery['state']}" + (f", due {due}" if due else "")
        )
        for attempt in attempts:
            if attempt["delivery_id"] == delivery["id"]:
                _show_attempt(attempt)


def _attempts(connection: Connection, event_id: UUID) -> list[dict[str, Any]]:
    """Return all attempts of an event, newest first."""
    found: list[dict[str, Any]] = []
    after: tuple[datetime, UUID] | None = None
    while rows := attempt_list.list_attempts(
        connection, OPERATOR, event_id, after=after, limit=_PAGE
    ):
        found += [json.loads(body) for body, _, _ in rows]
        after = rows[-1][1:]
    return found


def _show_attempt(attempt: dict[str, Any]) -> None:
    response, parts = attempt["response"], attempt["timing"]
    status = f" HTTP {response['status_code']}" if response else ""
    said = f": {attempt['error']}" if attempt["error"] else ""
    spent = ", ".join(
        f"{name.removesuffix('_ms')} {value}" for name, value in parts.items() if value is not None
    )
    click.echo(f"  {attempt['number']}. {attempt['created_at']} {attempt['outcome']}{status}{said}")
    click.echo(f"     {attempt['request']['url']} ({spent} ms)")
    if response and response["body"]:
        click.echo(f"     {json.dumps(response['body'], ensure_ascii=False)}")


@click.command(cls=ServiceCommand)
@click.argument("event_id", type=click.UUID)
@click.option(
    "--endpoint", "endpoint_id", type=click.UUID, help="This one alone, whatever it asks for."
)
@json_option
def replay(event_id: UUID, endpoint_id: UUID | None, as_json: bool) -> None:
    """Send an event's webhook once more, with the same id and body."""
    with database(require_secrets=False) as base, base.transaction() as session:
        answer = replay_service.replay_event(
            session.connection(), OPERATOR, OPERATOR.origin, event_id, endpoint_id=endpoint_id
        )
    if as_json:
        show_json(answer.body)
    else:
        click.echo("due now")


@click.command("replay-endpoint", cls=ServiceCommand)
@endpoint_argument
@click.option("--since", required=True, help="RFC 3339, such as 2027-01-01T00:00:00Z.")
@click.option("--until", help="The end of the span, not within it; by default now.")
@click.option(
    "--status",
    type=click.Choice([scope.value for scope in ReplayScope]),
    default=ReplayScope.DEAD.value,
    show_default=True,
    help="What the endpoint never took, or everything that it got or asks for.",
)
@json_option
def replay_endpoint(
    endpoint_id: UUID, since: str, until: str | None, status: str, as_json: bool
) -> None:
    """Send a span of an endpoint's events anew; the worker does it, `list-replays` shows how far.

    At most 100,000 events at once, and one span of an endpoint at a time.
    """
    new = NewReplay(
        endpoint_id=endpoint_id,
        since=moment(since, "--since"),
        until=now() if until is None else moment(until, "--until"),
        scope=ReplayScope(status),
    )
    with database(require_secrets=False) as base, base.transaction() as session:
        answer = span_replay_service.start(session.connection(), OPERATOR, OPERATOR.origin, new)
    if as_json:
        show_json(answer.body)
    else:
        begun = json.loads(answer.body)
        click.echo(f"replay {begun['id']} of {begun['total']} events")


@click.command("list-replays", cls=ServiceCommand)
@endpoint_argument
@json_option
def list_replays(endpoint_id: UUID, as_json: bool) -> None:
    """List the latest replays of an endpoint, with how far each has come."""
    with database(require_secrets=False) as base, base.transaction() as session:
        rows = span_replay_service.list_replays(session.connection(), OPERATOR, endpoint_id)
    bodies = [body for body, _, _ in rows]
    if as_json:
        show_json(*bodies, listed=True)
        return
    shown = [json.loads(body) for body in bodies]
    show_table(
        ("ID", "STATE", "STATUS", "EXAMINED", "SENT ANEW", "SINCE", "UNTIL"),
        [
            (
                each["id"],
                each["state"],
                each["status"],
                f"{each['examined']}/{each['total']}",
                str(each["requeued"]),
                each["since"],
                each["until"],
            )
            for each in shown
        ],
    )
