"""Сверки: files of banks and providers held against the books, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from flask import redirect, request, url_for
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from standart import money
from standart.admin import downloads, formats, listing, messages, queries
from standart.admin.base import Page, actor, page
from standart.admin.language import gettext
from standart.admin.movement_forms import merchant_of
from standart.admin.queries import Sum
from standart.admin.reconciliation_forms import UploadForm
from standart.admin.statements import Statements
from standart.db import autocommit
from standart.errors import DomainError, InvalidInput
from standart.extensions import engine, in_transaction, on_connection
from standart.models import Outcome, User
from standart.services import reconciliation_list, reconciliation_service
from standart.services.access import Actor
from standart.services.reconciliation_csv import HEADER, cells
from standart.services.reconciliation_list import Row, Run
from standart.services.reconciliation_spool import spool

_OFFERED_NAMES: Final = 100
_PAGE: Final = 1000
_LONGEST_NAME: Final = 255
_LAST_ROW: Final = 2**31 - 1


class Reconciliations(Statements):
    """The tab of proof: closes, statements, receipts and reconciliations."""

    @page("/runs/")
    def runs(self) -> Page:
        """List what files were held against the books, newest first."""

        def read(session: Session) -> dict[str, Any]:
            found = reconciliation_list.list_runs(
                session.connection(),
                actor(),
                before=listing.after_number(),
                limit=listing.page_size() + 1,
            )
            names = queries.names_of(session, [each.user_id for each in found if each.user_id])
            return {
                "listing": listing.listing(found, [str(each.number) for each in found], []),
                "names": names,
            }

        return self.render("runs.html", **in_transaction(read))

    @page("/runs/new", methods=["GET", "POST"])
    def new_run(self) -> Page:
        """Take a file, read all of it, then hold it against the books; a bad one leaves nothing."""
        form = UploadForm()
        if not form.is_submitted():
            return self._hand_over(form)
        good, user = form.validate(), None
        if (form.user.data or "").strip():
            user = merchant_of(form.user)
            good = good and user is not None
        if not good:
            return self._hand_over(form), HTTPStatus.UNPROCESSABLE_ENTITY
        try:
            run_id = _run(form, user, actor())
        except InvalidInput as error:
            form.take_file(error)
            return self._hand_over(form), error.status
        except DomainError as error:
            form.take(error)
            return self._hand_over(form), error.status
        return redirect(url_for(".run", run_id=run_id), HTTPStatus.SEE_OTHER)

    def _hand_over(self, form: UploadForm) -> str:
        names = in_transaction(lambda session: queries.first_names(session, _OFFERED_NAMES))
        return self.render("run_form.html", form=form, names=names)

    @page("/runs/<uuid:run_id>")
    def run(self, run_id: UUID) -> Page:
        """Show what came of one file, row by row."""
        return self.render("run.html", **in_transaction(lambda session: _details(session, run_id)))

    @page("/runs/<uuid:run_id>/report")
    def report(self, run_id: UUID) -> Page:
        """Send all rows, or those of one outcome, as CSV."""
        by, outcome = actor(), _outcome()
        run = on_connection(lambda connection: reconciliation_list.get_run(connection, by, run_id))
        # What others wrote in it is made harmless already.
        pieces = downloads.csv_pieces(HEADER, _report(by, run, outcome), free=())
        return downloads.download(f"reconciliation-{run.number}.csv", downloads.CSV, pieces)


def _outcome() -> Outcome | None:
    with suppress(ValueError):
        return Outcome(request.args.get("outcome", ""))
    return None


def _run(form: UploadForm, user: User | None, by: Actor) -> UUID:
    """Read the file, hold it against the books, return the id of the result.

    The file is read to its end before the database hears of it; an act that lost its
    connection is not run again, since whether it was kept is seen in the list.
    """
    handed = form.file.data
    shown = "".join(each if each.isprintable() else "?" for each in handed.filename)
    with (
        spool(handed.stream, shown[-_LONGEST_NAME:], form.layout(user), form.written_as()) as file,
        autocommit(engine()) as connection,
    ):
        return reconciliation_service.run(connection, by, file, form.question(user))


def _details(session: Session, run_id: UUID) -> dict[str, Any]:
    connection, by, outcome = session.connection(), actor(), _outcome()
    run = reconciliation_list.get_run(connection, by, run_id)
    rows = reconciliation_list.rows(
        connection,
        by,
        run,
        outcome=outcome,
        after=min(listing.after_number() or 0, _LAST_ROW),
        limit=listing.page_size() + 1,
    )
    ids = {each.user_id for each in rows if each.user_id} | (
        {run.user_id} if run.user_id else set()
    )
    label = messages.label(messages.MATCHES, outcome.value) if outcome else ""
    return {
        "run": run,
        "outcome": outcome.value if outcome else "",
        "pages": listing.tabs(
            outcome.value if outcome else "",
            {"": gettext("All"), **{each.value: _counted(run, each) for each in Outcome}},
            lambda code: url_for(".run", run_id=run.id, outcome=code),
        ),
        "names": queries.names_of(session, ids),
        "totals": [_total(each) for each in run.totals],
        "listing": listing.listing(
            [_shown(each) for each in rows],
            [str(each.number) for each in rows],
            listing.chips({"outcome": (gettext("Outcome"), label)}),
        ),
    }


def _sum(amount: int | None, currency: str | None) -> Sum | None:
    return None if amount is None or currency is None else queries.as_sum(amount, currency)


def _shown(row: Row) -> dict[str, Any]:
    return {
        "row": row,
        "theirs": _sum(row.amount, row.currency),
        "ours": _sum(row.our_amount, row.our_currency),
    }


def _total(total: dict[str, Any]) -> dict[str, Any]:
    currency = total["currency"]
    return {
        **total,
        "theirs": money.format_minor(total["amount"], currency),
        "ours": money.format_minor(total["our_amount"], currency),
    }


_NAMES: Final = text("SELECT id, name FROM users WHERE id = ANY (:ids)")


def _counted(run: Run, outcome: Outcome) -> str:
    return (
        f"{messages.label(messages.MATCHES, outcome.value)}: {formats.count(run.count_of(outcome))}"
    )


def _report(by: Actor, run: Run, outcome: Outcome | None) -> Iterator[list[str]]:
    """Yield the rows of the report; no connection is held between two pages of them."""
    after, names = 0, dict[UUID, str]()

    def read(connection: Connection) -> list[Row]:
        rows = reconciliation_list.rows(
            connection, by, run, outcome=outcome, after=after, limit=_PAGE
        )
        missing = list({each.user_id for each in rows if each.user_id} - names.keys())
        if missing:
            found = connection.execute(_NAMES, {"ids": missing})
            names.update({each.id: each.name for each in found})
        return rows

    while rows := on_connection(read):
        for row in rows:
            yield cells(run, row, names.get(row.user_id, "") if row.user_id else "")
        after = rows[-1].number
