"""Commands for webhook endpoints: what the API's calls do, for whoever is on the host."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import click

from standart.cli.base import (
    OPERATOR,
    Database,
    ServiceCommand,
    database,
    json_option,
    named_user,
    show_json,
    show_table,
    webhook_rules,
)
from standart.clock import new_id
from standart.errors import InvalidInput
from standart.models.webhooks import ENDINGS
from standart.services import endpoint_acts, endpoint_list, ping_service
from standart.services.endpoint_acts import Changes, NewEndpoint
from standart.webhooks import signing
from standart.webhooks.addresses import parse_url

Command = TypeVar("Command", bound=Callable[..., Any])

endpoint_argument = click.argument("endpoint_id", type=click.UUID)

_SETTINGS = (
    click.option(
        "--event-type",
        "event_types",
        multiple=True,
        help="A name, a prefix such as payout.*, or *; repeatable. By default the three endings.",
    ),
    click.option("--description", help="For people."),
    click.option(
        "--header", "headers", multiple=True, help="'Name: value' for each request; repeatable."
    ),
    click.option(
        "--headers-stdin", is_flag=True, help="Read such lines from standard input instead."
    ),
    click.option("--rate-limit", type=int, help="Requests a second at most."),
    click.option(
        "--ordered/--unordered",
        default=None,
        help="Whether an object's next event waits for the former one.",
    ),
    click.option("--enabled/--disabled", default=None, help="Whether it is called at all."),
    json_option,
)


def _settings(command: Command) -> Command:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.command("list-endpoints", cls=ServiceCommand)
@click.argument("name")
@json_option
def list_endpoints(name: str, as_json: bool) -> None:
    """List the webhook endpoints of NAME, newest first."""
    with database(require_secrets=False) as base, base.transaction() as session:
        user = named_user(session, name)
        rows = endpoint_list.list_endpoints(
            session.connection(), OPERATOR, user_id=user.id, limit=endpoint_acts.MOST_ENDPOINTS
        )
    bodies = [body for body, _, _ in rows]
    if as_json:
        show_json(*bodies, listed=True)
    else:
        show_table(("ID", "STATUS", "LANE", "EVENTS", "URL"), [_row(body) for body in bodies])


def _row(body: str) -> tuple[str, ...]:
    shown = json.loads(body)
    reason = shown["disabled_reason"]
    return (
        shown["id"],
        shown["status"] + (f" ({reason})" if reason else ""),
        shown["lane"],
        ",".join(shown["event_types"]),
        shown["url"] or "-",
    )


@click.command("create-endpoint", cls=ServiceCommand)
@click.argument("name")
@click.argument("url")
@_settings
def create_endpoint(
    name: str,
    url: str,
    event_types: Sequence[str],
    description: str | None,
    headers: Sequence[str],
    headers_stdin: bool,
    rate_limit: int | None,
    ordered: bool | None,
    enabled: bool | None,
    as_json: bool,
) -> None:
    """Add a webhook endpoint of NAME at URL; shows its secret, this once."""
    with database() as base, base.transaction() as session:
        new = NewEndpoint(
            url=_canonical(url, base),
            event_types=event_types or ENDINGS,
            description=description,
            headers=_headers(headers, from_stdin=headers_stdin),
            rate_limit=rate_limit,
            ordered=bool(ordered),
            enabled=enabled is not False,
            user_id=named_user(session, name).id,
        )
        answer = endpoint_acts.create(
            session.connection(), OPERATOR, OPERATOR.origin, base.keyring, new
        )
    _show(answer.body, "created", as_json=as_json)


@click.command("update-endpoint", cls=ServiceCommand)
@endpoint_argument
@click.option("--url", help="Where it is; empty, of the default one: nowhere.")
@click.option("--no-headers", is_flag=True, help="Take its headers away.")
@click.option("--no-rate-limit", is_flag=True, help="Let it be called as fast as it bears.")
@_settings
def update_endpoint(
    endpoint_id: UUID,
    url: str | None,
    no_headers: bool,
    no_rate_limit: bool,
    event_types: Sequence[str],
    description: str | None,
    headers: Sequence[str],
    headers_stdin: bool,
    rate_limit: int | None,
    ordered: bool | None,
    enabled: bool | None,
    as_json: bool,
) -> None:
    """Change the given settings of a webhook endpoint; an empty description takes it away."""
    given: dict[str, Any] = {
        "event_types": event_types or None,
        "headers": _headers(headers, from_stdin=headers_stdin) or None,
        "rate_limit": rate_limit,
        "ordered": ordered,
        "enabled": enabled,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    if description is not None:
        wanted["description"] = description or None
    if no_headers:
        wanted["headers"] = {}
    if no_rate_limit:
        wanted["rate_limit"] = None
    with database() as base, base.transaction() as session:
        if url is not None:
            wanted["url"] = _canonical(url, base) if url else None
        if not wanted:
            raise InvalidInput.of("update-endpoint", "needs something to change")
        answer = endpoint_acts.update(
            session.connection(),
            OPERATOR,
            OPERATOR.origin,
            base.keyring,
            endpoint_id,
            Changes(**wanted),
        )
    _show(answer.body, "updated", as_json=as_json)


@click.command("delete-endpoint", cls=ServiceCommand)
@endpoint_argument
@json_option
def delete_endpoint(endpoint_id: UUID, as_json: bool) -> None:
    """Delete a webhook endpoint; its events and attempts stay."""
    with database(require_secrets=False) as base, base.transaction() as session:
        answer = endpoint_acts.delete(session.connection(), OPERATOR, OPERATOR.origin, endpoint_id)
    _show(answer.body, "deleted", as_json=as_json)


@click.command("rotate-secret", cls=ServiceCommand)
@endpoint_argument
@json_option
def rotate_secret(endpoint_id: UUID, as_json: bool) -> None:
    """Give a webhook endpoint another secret; for 24 hours the former one signs as well."""
    with database() as base, base.transaction() as session:
        answer = endpoint_acts.rotate_secret(
            session.connection(),
            OPERATOR,
            OPERATOR.origin,
            base.keyring,
            endpoint_id,
            fresh_secret=signing.new_secret(),
        )
    _show(answer.body, "rotated the secret of", as_json=as_json)


@click.command("ping", cls=ServiceCommand)
@endpoint_argument
@json_option
def ping(endpoint_id: UUID, as_json: bool) -> None:
    """Send a webhook endpoint a ping, whatever it asks for; `show-event` tells what came of it."""
    with database(require_secrets=False) as base, base.transaction() as session:
        answer = ping_service.ping(
            session.connection(), OPERATOR, OPERATOR.origin, endpoint_id, event_id=new_id()
        )
    if as_json:
        show_json(answer.body)
    else:
        click.echo(f"due now: event {json.loads(answer.body)['id']}")


def _canonical(url: str, base: Database) -> str:
    return parse_url(url, webhook_rules(base.settings), field="url").url


def _headers(given: Sequence[str], *, from_stdin: bool) -> dict[str, str]:
    """Return the headers of lines, those of the command line or of standard input.

    Raises:
        InvalidInput: a line is none, or names a header twice.
    """
    lines = [line for line in sys.stdin.read().splitlines() if line] if from_stdin else given
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name in found:
            raise InvalidInput.of("--header", "must be 'Name: value', each name once")
        found[name] = value.strip()
    return found


def _show(body: str, done: str, *, as_json: bool) -> None:
    if as_json:
        show_json(body)
        return
    shown = json.loads(body)
    click.echo(f"{done} endpoint {shown['id']}")
    if "secret" in shown:
        click.echo(f"secret (shown this once): {shown['secret']}")
