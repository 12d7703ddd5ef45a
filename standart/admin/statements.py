"""Отчёты: settlement statements as documents, and signed receipts."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from flask import Response, flash, redirect, request, url_for
from flask_babel import lazy_gettext
from sqlalchemy import Connection
from wtforms import DateField, SelectField, StringField
from wtforms.validators import Optional

from standart.admin import downloads, language, messages, queries
from standart.admin.base import Page, actor, origin, page, query_text
from standart.admin.choices import SelectChoice
from standart.admin.closes import Closes
from standart.admin.forms import PanelForm
from standart.admin.language import gettext
from standart.admin.movement_forms import merchant_of
from standart.documents.formats import FORMATS, file_name
from standart.errors import InvalidInput, NotFinished, Unavailable
from standart.extensions import in_transaction, keyring, on_connection
from standart.services import receipt_service, statement_service, statement_stream
from standart.services.statement_service import Statement
from standart.services.statement_span import Asked

_OFFERED_NAMES: Final = 100

# The service's names of what was asked → the form's.
_FIELDS: Final = {"from": "start", "to": "end", "period": "named", "user_id": "user"}


class StatementForm(PanelForm):
    """Which statement; it changes nothing, so it comes by the URL."""

    user = StringField(lazy_gettext("User"))
    period = SelectField(
        lazy_gettext("Period"),
        choices=[
            SelectChoice("last_month", lazy_gettext("last month")),
            SelectChoice("month", lazy_gettext("this month")),
            SelectChoice("7d", lazy_gettext("the last 7 days")),
            SelectChoice("yesterday", lazy_gettext("yesterday")),
            SelectChoice("today", lazy_gettext("today")),
        ],
        default="last_month",
        description=lazy_gettext("In the merchant's time zone."),
    )
    named = StringField(
        lazy_gettext("Or a month or a day"), description=lazy_gettext("Such as 2026-11.")
    )
    start = DateField(lazy_gettext("Or from"), validators=[Optional()])
    end = DateField(
        lazy_gettext("Up to this day"),
        validators=[Optional()],
        description=lazy_gettext("In your time zone."),
    )
    currency = StringField(
        lazy_gettext("Currency"), description=lazy_gettext("Blank for the merchant's own.")
    )
    format = SelectField(
        lazy_gettext("Format"),
        choices=[
            SelectChoice("pdf", lazy_gettext("PDF, to print and sign")),
            SelectChoice("xlsx", lazy_gettext("Excel")),
            SelectChoice("csv", lazy_gettext("CSV, for programs")),
            SelectChoice("json", lazy_gettext("JSON, for programs")),
        ],
        default="pdf",
    )

    def asked(self) -> Asked:
        """Return the span; the form must have been found valid."""
        start, end = self.start.data, self.end.data
        if start or end:
            return Asked(_midnight(start), _midnight(end, days=1))
        return Asked(period=(self.named.data or "").strip() or self.period.data)

    def take_span(self, error: InvalidInput) -> None:
        """Show what the service refused beside the field it is about."""
        for wrong in error.errors:
            message = messages.field_message(wrong.message)
            if wrong.field == "period":
                message = gettext("must be a day or a month such as 2026-11-28 or 2026-11")
            if wrong.field == "format":
                message = gettext("holds not as many movements; choose CSV")
            self._refuse(_FIELDS.get(wrong.field, wrong.field), message)


def _midnight(day: date | None, days: int = 0) -> datetime | None:
    if day is None:
        return None
    try:
        local = datetime.combine(day + timedelta(days=days), time())
        return language.from_wall_clock(local, language.viewer_zone()[1])
    except OverflowError:
        raise InvalidInput.of("to", "must be in the years 1 to 9999 of UTC") from None


class Statements(Closes):
    """The pages of statements and receipts, beside those of closes."""

    @page("/statement")
    def statement(self) -> Page:
        """Ask which statement is wanted."""
        form = StatementForm(formdata=None, meta={"csrf": False})
        form.user.data = query_text("user")
        return self._choose(form)

    def _choose(self, form: StatementForm) -> str:
        names = []
        if actor().sees_all:
            names = in_transaction(lambda session: queries.first_names(session, _OFFERED_NAMES))
        return self.render("statement_form.html", form=form, names=names)

    @page("/statement/download")
    def download(self) -> Page:
        """Send a statement as a document, as it is read."""
        form = StatementForm(formdata=request.args, meta={"csrf": False})
        try:
            statement = _open(form)
            if statement is None:
                return self._choose(form), HTTPStatus.UNPROCESSABLE_ENTITY
            made = FORMATS[form.format.data or "pdf"]
            lang = made.language(None, language.language())
            pieces = statement_stream.document(statement, made, lang, on_connection)
            name = file_name(statement.head, made)
            return downloads.download(name, made.mimetype, pieces)
        except InvalidInput as error:
            form.take_span(error)
            return self._choose(form), error.status
        except Unavailable as error:
            form.take(error)
            return self._choose(form), error.status

    @page("/receipts/<uuid:transaction_id>")
    def receipt(self, transaction_id: UUID) -> Page:
        """Send the signed receipt of a finished transaction."""
        ring = keyring()
        try:
            body = on_connection(
                lambda connection: receipt_service.issue(
                    connection, actor(), origin(), ring, transaction_id
                )
            )
        except NotFinished as error:
            flash(messages.describe(error), "error")
            back = url_for("transactions.detail", transaction_id=transaction_id)
            return redirect(back, HTTPStatus.SEE_OTHER)
        answer = Response(body, mimetype="application/json")
        answer.headers["Content-Disposition"] = (
            f'attachment; filename="receipt-{transaction_id}.json"'
        )
        return answer


def _open(form: StatementForm) -> Statement | None:
    """Return the statement that is asked for, ``None`` with errors in the form for none."""
    good, by = form.validate(), actor()
    user = merchant_of(form.user) if by.sees_all else None
    if not good or (by.sees_all and user is None):
        return None
    asked: dict[str, Any] = {
        "user_id": user.id if user else None,
        "currency": (form.currency.data or "").strip().upper() or None,
        "asked": form.asked(),
    }

    def find(connection: Connection) -> Statement:
        return statement_service.open_statement(connection, by, **asked)

    return on_connection(find)
