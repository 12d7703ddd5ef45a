"""Commands that hold a bank's or provider's file against the books, and show what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import mkstemp
from typing import Any, BinaryIO, Final, TextIO
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from sqlalchemy import Connection

from standart.bank_files import layout as layouts
from standart.bank_files.layout import Layout
from standart.bank_files.lines import ENCODINGS
from standart.bank_files.records import FileFormat
from standart.bank_files.values import DECIMAL_MARKS
from standart.cli import reconciliation_report as report
from standart.cli.base import (
    OPERATOR,
    Database,
    Failure,
    ServiceCommand,
    database,
    json_option,
    named_user,
    real_place,
)
from standart.db import autocommit
from standart.errors import InvalidInput, NotFound
from standart.models import Outcome
from standart.services import reconciliation_list, reconciliation_service
from standart.services.reconciliation_service import MAX_TOLERANCE, Kind, Question
from standart.services.reconciliation_spool import spool

DIFFERENCES: Final = 1
"""The exit code of a reconciliation in which the sides don't say the same."""

_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t"}

output_option = click.option(
    "--output",
    type=click.Path(dir_okay=False),
    help="Write all rows into this CSV file; spreadsheets take none of it for a formula.",
)


def _day(option: str, written: str | None) -> date | None:
    try:
        return None if written is None else date.fromisoformat(written)
    except ValueError:
        raise InvalidInput.of(option, "must be a day such as 2026-11-01") from None


def _zone(written: str | None) -> ZoneInfo | None:
    try:
        return None if written is None else ZoneInfo(written)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput.of("--zone", "must be a time zone such as Europe/Moscow") from None


@contextmanager
def _whole(path: str | None) -> Iterator[TextIO | None]:
    """Hold a file that stands at ``path`` once the block has ended well, and only then.

    It is its owner's alone: it holds names of people.
    """
    if path is None:
        yield None
        return
    place, replaceable = real_place(Path(path))
    if not replaceable:
        with place.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    try:
        descriptor, name = mkstemp(dir=place.parent)
    except OSError as error:
        raise InvalidInput.of("--output", f"cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@click.command(cls=ServiceCommand)
@click.argument("file", type=click.File("rb"))
@click.option(
    "--format",
    "format_",
    type=click.Choice([each.value for each in FileFormat]),
    help="By default the file's first line tells.",
)
@click.option(
    "--map",
    "columns",
    multiple=True,
    help="What the columns of a CSV file are, such as reference=Order,amount=Sum,date=Date."
    f" Known are {', '.join(layouts.COLUMNS)}.",
)
@click.option("--user", "name", help="The books of this merchant alone.")
@click.option("--from", "starts_on", help="First day; by default the file's own.")
@click.option("--to", "ends_before", help="The day behind the last one.")
@click.option(
    "--date-tolerance",
    type=click.IntRange(0, MAX_TOLERANCE),
    default=1,
    show_default=True,
    help="Days by which the file's and our date may differ.",
)
@click.option(
    "--kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in Kind]),
    help="What of ours the file is held against; by default all that it can hold.",
)
@click.option("--currency", help="Where the file has none; by default the merchant's or RUB.")
@click.option("--zone", help="Where its days begin; by default as the merchant's.")
@click.option("--encoding", type=click.Choice(ENCODINGS), help="By default found and proven.")
@click.option("--delimiter", type=click.Choice(list(_DELIMITERS)), help="By default found.")
@click.option("--decimal-mark", type=click.Choice(DECIMAL_MARKS), help="By default unambiguous.")
@click.option("--date-format", help="Such as DD/MM/YYYY; by default YYYY-MM-DD or DD.MM.YYYY.")
@json_option
@output_option
def reconcile(
    file: BinaryIO,
    format_: str | None,
    columns: tuple[str, ...],
    name: str | None,
    starts_on: str | None,
    ends_before: str | None,
    date_tolerance: int,
    kinds: tuple[str, ...],
    as_json: bool,
    output: str | None,
    **layout: Any,
) -> None:
    """Hold FILE (- for standard input), a bank's or provider's, against the books.

    It reads CSV and 1CClientBankExchange, keeps what it found and changes no money. Payments
    are found by reference or id, then by amount, currency and date. Exit code 0: both sides
    say the same; 1: there are differences; 2: the file or an option is wrong, nothing is kept.
    """
    with database(require_secrets=False) as base, _whole(output) as whole:
        user_id, defaults = _merchant(base, name)
        layout["zone"] = _zone(layout["zone"])
        layout["delimiter"] = _DELIMITERS.get(layout["delimiter"])
        given = {key: value for key, value in layout.items() if value is not None}
        read_as = Layout(
            **{**defaults, **given, "columns": layouts.columns(columns) if columns else {}}
        )
        question = Question(
            user_id=user_id,
            starts_on=_day("--from", starts_on),
            ends_before=_day("--to", ends_before),
            date_tolerance=date_tolerance,
            kinds=frozenset(Kind(kind) for kind in kinds),
        )
        run_id = _run(base, file, read_as, format_, question)
        with autocommit(base.engine) as connection:
            clean = _show(connection, run_id, None, as_json, whole, differences_only=True)
    if not clean:
        click.get_current_context().exit(DIFFERENCES)


def _merchant(base: Database, name: str | None) -> tuple[UUID | None, dict[str, Any]]:
    """Return whose books are asked, and what that says of the file."""
    if name is None:
        return None, {"currency": base.settings.default_currency}
    with base.transaction() as session:
        user = named_user(session, name)
        return user.id, {"currency": user.currency, "zone": ZoneInfo(user.timezone)}


def _run(
    base: Database, file: BinaryIO, layout: Layout, format_: str | None, question: Question
) -> UUID:
    path = getattr(file, "name", "-")
    name = "standard input" if path in ("-", "<stdin>") else Path(path).name
    written_as = None if format_ is None else FileFormat(format_)
    try:
        with (
            spool(file, _text(name), layout, written_as) as spooled,
            autocommit(base.engine) as connection,
        ):
            return reconciliation_service.run(connection, OPERATOR, spooled, question)
    except OSError as error:
        raise Failure(f"the file cannot be read: {error.strerror}", 2) from None


def _text(name: str) -> str:
    """Return a file's name without bytes that are no text, and without control characters."""
    shown = name.encode(errors="replace").decode()
    return "".join(each if each.isprintable() else "?" for each in shown)


@click.command("list-reconciliations", cls=ServiceCommand)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def list_reconciliations(limit: int, as_json: bool) -> None:
    """List what files were held against the books, newest first."""
    with database(require_secrets=False) as base, autocommit(base.engine) as connection:
        runs = reconciliation_list.list_runs(connection, OPERATOR, limit=limit)
    report.list_runs(runs, as_json=as_json)


@click.command("show-reconciliation", cls=ServiceCommand)
@click.argument("which", metavar="ID")
@click.option("--outcome", type=click.Choice([each.value for each in Outcome]))
@json_option
@output_option
def show_reconciliation(which: str, outcome: str | None, as_json: bool, output: str | None) -> None:
    """Show a reconciliation, by its number or id, with its rows or those of one outcome."""
    wanted = None if outcome is None else Outcome(outcome)
    with (
        database(require_secrets=False) as base,
        _whole(output) as whole,
        autocommit(base.engine) as connection,
    ):
        _show(connection, _identified(which), wanted, as_json, whole)


def _identified(which: str) -> UUID | int:
    if which.isascii() and which.isdecimal() and len(which) < 18:
        return int(which)
    try:
        return UUID(which)
    except ValueError:
        raise NotFound("There is no such reconciliation.") from None


def _show(
    connection: Connection,
    which: UUID | int,
    outcome: Outcome | None,
    as_json: bool,
    output: TextIO | None,
    *,
    differences_only: bool = False,
) -> bool:
    """Print a run and its rows; return whether both sides say the same."""
    run = reconciliation_list.get_run(connection, OPERATOR, which)
    names = report.Names(connection)
    if output is not None:
        report.write_csv(output, run, report.all_rows(connection, run, outcome), names)
    shown: Sequence[Outcome] = [outcome] if outcome else list(Outcome)
    if differences_only:
        shown = [each for each in Outcome if each is not Outcome.MATCHED]
    chosen = (row for each in shown for row in report.all_rows(connection, run, each))
    if as_json:
        report.show_json(run, chosen)
    else:
        report.show(run, chosen, sum(map(run.count_of, shown)), names)
    return run.is_clean
