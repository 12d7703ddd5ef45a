"""How a reconciliation is shown: sums first, then what somebody must look at."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TextIO
from uuid import UUID

import click
from sqlalchemy import Connection, text

from standart import money
from standart.cli.base import OPERATOR, show_table
from standart.documents.csv import MARK
from standart.models import Outcome
from standart.services import reconciliation_list
from standart.services.reconciliation_csv import HEADER, cells
from standart.services.reconciliation_list import Row, Run

MOST_SHOWN: Final = 1000
"""Rows that a terminal gets; a file gets all of them."""

_PAGE: Final = 1000
_LONGEST_CELL: Final = 40

_WORDS: Final = {
    Outcome.DIFFERING: "differing",
    Outcome.MISSING_HERE: "missing here",
    Outcome.MISSING_THERE: "missing there",
    Outcome.MATCHED: "matched",
}


class Names:
    """What merchants are called, asked once each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[UUID, str] = {}

    def of(self, user_id: UUID | None) -> str:
        """Return a merchant's name, nothing for nobody."""
        if user_id is None:
            return ""
        if user_id not in self._known:
            query = text("SELECT name FROM users WHERE id = :id")
            self._known[user_id] = str(self._connection.scalar(query, {"id": user_id}))
        return self._known[user_id]


def all_rows(connection: Connection, run: Run, outcome: Outcome | None) -> Iterator[Row]:
    """Yield the rows of ``run``, or those of ``outcome``, a page in memory at a time."""
    after = 0
    while page := reconciliation_list.rows(
        connection, OPERATOR, run, outcome=outcome, after=after, limit=_PAGE
    ):
        yield from page
        after = page[-1].number


def list_runs(runs: Sequence[Run], *, as_json: bool) -> None:
    """Print kept reconciliations, one in a line."""
    if as_json:
        click.echo(json.dumps({"data": [_run(run) for run in runs]}, ensure_ascii=False))
        return
    header = ("NUMBER", "CREATED", "FILE", "SPAN", "MATCHED")
    show_table(
        (*header, "MISSING HERE", "MISSING THERE", "DIFFERING"),
        [
            (
                str(run.number),
                run.created_at.isoformat(timespec="seconds"),
                run.file_name,
                _span(run),
                *(str(run.count_of(each)) for each in reversed(_IN_LISTS)),
            )
            for run in runs
        ],
    )


_IN_LISTS: Final = (
    Outcome.DIFFERING,
    Outcome.MISSING_THERE,
    Outcome.MISSING_HERE,
    Outcome.MATCHED,
)


def _span(run: Run) -> str:
    return f"{run.starts_on} to {run.ends_before}"


def show(run: Run, rows: Iterable[Row], count: int, names: Names) -> None:
    """Print the sums of a run, then ``count`` rows."""
    whose = f", books of {names.of(run.user_id)}" if run.user_id else ""
    click.echo(f"reconciliation {run.number}: {run.file_name}, {run.lines} payments{whose}")
    click.echo(f"sha256 {run.file_digest.hex()}")
    click.echo(f"from {_span(run)}, {run.zone}; the last day is not within")
    if run.skipped:
        click.echo(f"{run.skipped} payments of the file lie outside and were left out")
    for warning in run.warnings:
        click.echo(f"warning: {warning}")
    click.echo()
    _show_totals(run)
    if count == 0:
        return
    click.echo()
    header = ("OUTCOME", "WHAT", "LINE", "DATE", "AMOUNT", "OUR DATE", "OUR AMOUNT", "STATUS")
    shown = list(islice(rows, MOST_SHOWN))
    show_table((*header, "NAMED", "OURS"), [_cells(row) for row in shown])
    if count > len(shown):
        click.echo(f"… and {count - len(shown)} more; --output writes all of them")


def _show_totals(run: Run) -> None:
    order = list(Outcome)
    totals = sorted(run.totals, key=lambda each: -order.index(Outcome(each["outcome"])))
    table = [
        (
            _WORDS[Outcome(each["outcome"])],
            each["direction"],
            each["currency"],
            str(each["count"]),
            money.format_minor(each["amount"], each["currency"]),
            str(each["our_count"]),
            money.format_minor(each["our_amount"], each["currency"]),
        )
        for each in totals
    ]
    table += [
        (_WORDS[outcome], "", "", "0", "", "0", "")
        for outcome in order
        if run.count_of(outcome) == 0
    ]
    header = ("OUTCOME", "DIRECTION", "CURRENCY", "IN FILE", "SUM", "OURS", "OUR SUM")
    show_table(header, table)


def _cells(row: Row) -> tuple[str, ...]:
    found = row.transaction_id or row.refund_id or row.payout_id
    return (
        _WORDS[row.outcome],
        ", ".join(row.fields),
        _shown(row.line),
        _shown(row.date),
        _sum(row.amount, row.currency),
        _shown(row.our_date),
        _sum(row.our_amount, row.our_currency),
        row.our_status or "",
        _cut(row.reference or row.purpose or row.our_reference or ""),
        _shown(found),
    )


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _sum(amount: int | None, currency: str | None) -> str:
    if amount is None or currency is None:
        return ""
    return f"{money.format_minor(amount, currency)} {currency}"


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST_CELL else f"{words[: _LONGEST_CELL - 1]}…"


def write_csv(file: TextIO, run: Run, rows: Iterable[Row], names: Names) -> None:
    """Write rows as CSV: each column may be summed, and no cell is taken for a formula."""
    file.write(MARK)
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(HEADER)
    for row in rows:
        writer.writerow(cells(run, row, names.of(row.user_id)))


def show_json(run: Run, rows: Iterable[Row]) -> None:
    """Print the run and its rows as one JSON object, row by row."""
    head = json.dumps(_run(run), ensure_ascii=False)
    click.echo(head.removesuffix("}") + ', "rows": [', nl=False)
    sign = ""
    for row in rows:
        click.echo(sign + json.dumps(_json(row), ensure_ascii=False), nl=False)
        sign = ", "
    click.echo("]}")


def _run(run: Run) -> dict[str, Any]:
    plain = _plain(dataclasses.asdict(run))
    plain["file_digest"] = run.file_digest.hex()
    plain["totals"] = [
        each
        | {
            name: money.format_minor(each[name], each["currency"])
            for name in ("amount", "fee", "our_amount")
        }
        for each in run.totals
    ]
    return plain


def _json(row: Row) -> dict[str, Any]:
    written = _plain(dataclasses.asdict(row))
    for name, currency in (
        ("amount", row.currency),
        ("fee", row.currency),
        ("our_amount", row.our_currency),
    ):
        if written[name] is not None and currency is not None:
            written[name] = money.format_minor(written[name], currency)
    return written


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them: numbers, texts, lists; all else as ISO writes it."""
    return {name: _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, list, dict)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
