"""Commands that prove the books to somebody else: `seal`, `close`, `list-closes`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import click
from sqlalchemy import Connection, text

from standart import anchoring
from standart.anchoring import AnchorFailed
from standart.cli.base import (
    OPERATOR,
    Failure,
    ServiceCommand,
    database,
    json_option,
    real_place,
    show_json,
    show_table,
)
from standart.clock import monotonic
from standart.db import autocommit
from standart.errors import InvalidInput, Unavailable
from standart.services import chain, close_service, seal_service
from standart.services.chain import Link

PATIENCE_SECONDS: Final = 60.0
"""For how long a command waits for somebody who is posting."""

PAGE: Final = 1000
"""How many closes are read at once."""

Done = TypeVar("Done")

# What reads millions of journals takes longer than a statement of a request may.
_UNHURRIED: Final = text("SET statement_timeout = 0")


@click.command(cls=ServiceCommand)
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write all seals as JSON lines.",
)
@json_option
def seal(export: Path | None, as_json: bool) -> None:
    """Seal what has been posted, and print the head of the chain.

    Keep the head, or the file of --export, where the database's owner cannot change it:
    `standart verify --expect-head` and `--expect-export` compare with it.
    """
    with database(require_secrets=False) as base, autocommit(base.engine) as connection:
        connection.execute(_UNHURRIED)
        sealed = _patiently(lambda: seal_service.seal(connection))
        head = chain.last(connection)
        if head and base.settings.seal_anchor:
            _leave(connection, base.settings.seal_anchor, head)
        if export:
            with _opened(export) as file:
                for link in chain.links_after(connection, 0):
                    file.write(anchoring.line_of(link))
    if as_json:
        click.echo(json.dumps({"sealed": sealed, "head": head.wire() if head else None}))
    elif head is None:
        click.echo("nothing has been posted yet, so there is no chain")
    else:
        click.echo(f"sealed {sealed} journals; {head.total} are sealed in all")
        click.echo(f"head {head.anchor}")


@click.command(cls=ServiceCommand)
@click.argument("period")
@json_option
def close(period: str, as_json: bool) -> None:
    """Close PERIOD, a day such as 2026-11-28 or a month such as 2026-11.

    From then on nothing can be posted in it, and its statements never change. Closing again
    prints the same. The calendar is that of STANDART_TIMEZONE.
    """
    with database(require_secrets=False) as base, autocommit(base.engine) as connection:
        connection.execute(_UNHURRIED)
        zone = base.settings.timezone
        answer = _patiently(
            lambda: close_service.close(
                connection, OPERATOR, OPERATOR.origin, period=period, zone=zone
            )
        )
        if as_json:
            show_json(answer.body)
            return
        closed = json.loads(answer.body)
        again = "" if answer.status == HTTPStatus.CREATED else " (closed before)"
        click.echo(f"closed {closed['period']}{again}: {closed['from']} to {closed['to']}")
        click.echo(f"{closed['journals']} journals, digest {closed['digest']}")
        click.echo(f"head {_head(closed)}")


@click.command("list-closes", cls=ServiceCommand)
@json_option
def list_closes(as_json: bool) -> None:
    """List the closed periods, the last one first."""
    with database(require_secrets=False) as base, autocommit(base.engine) as connection:
        bodies = list(_closes(connection))
    if as_json:
        show_json(*bodies, listed=True)
        return
    rows = [
        (each["period"], each["zone"], str(each["journals"]), each["digest"], _head(each))
        for each in map(json.loads, bodies)
    ]
    show_table(("PERIOD", "ZONE", "JOURNALS", "DIGEST", "HEAD"), rows)


def _closes(connection: Connection) -> Iterator[str]:
    before: int | None = None
    while page := close_service.list_closes(connection, OPERATOR, before=before, limit=PAGE):
        yield from (body for body, _ in page)
        before = page[-1][1]


def _head(closed: dict[str, Any]) -> str:
    head = closed["chain_head"]
    return f"{head['number']}:{head['hash']}" if head else "none: nothing had been posted"


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open what the chain is written to: a file is there whole, or not at all."""
    place, replaceable = (path, False) if path == Path("-") else real_place(path)
    try:
        with click.open_file(str(place), "wb", atomic=replaceable) as file:
            yield file
    except OSError as error:
        raise InvalidInput.of("--export", f"cannot be written: {error.strerror}") from None


def _leave(connection: Connection, place: str, head: Link) -> None:
    try:
        anchoring.leave(place, head, lambda number: chain.links_after(connection, number))
    except AnchorFailed as error:
        raise Failure(f"sealed, but the head could not be left at {error}") from None


def _patiently(act: Callable[[], Done]) -> Done:
    """Do something again while somebody is posting for long, up to a minute."""
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return act()
        except Unavailable as error:
            if monotonic() > deadline:
                raise Failure(f"{error.detail} Try again later.") from None
