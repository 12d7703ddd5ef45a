"""The form by which a bank's or provider's file is handed over."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask_babel import lazy_gettext
from flask_wtf.file import FileField
from wtforms import DateField, IntegerField, SelectField, StringField, ValidationError
from wtforms.validators import InputRequired, NumberRange, Optional

from standart.admin import messages
from standart.admin.choices import SelectChoice
from standart.admin.forms import PanelForm
from standart.admin.language import gettext
from standart.bank_files import layout as layouts
from standart.bank_files.layout import Layout
from standart.bank_files.lines import ENCODINGS
from standart.bank_files.records import FileFormat
from standart.errors import FieldError, InvalidInput
from standart.extensions import settings
from standart.models import User
from standart.services.reconciliation_service import MAX_TOLERANCE, Question

_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t"}
_LINE: Final = re.compile(r"line ([0-9]+):")

# How the reader of files names what it refuses → the form's fields.
_FIELDS: Final = {
    "--delimiter": "delimiter",
    "--encoding": "encoding",
    "--decimal-mark": "decimal_mark",
    "--date-format": "date_format",
    "to": "ends_on",
}

_BY_ITSELF: Final = SelectChoice("", lazy_gettext("as the file tells"))


class UploadForm(PanelForm):
    """A file, how it is to be read, and what it is held against."""

    file = FileField(
        lazy_gettext("File"),
        description=lazy_gettext("CSV, or what a bank writes for 1C (1CClientBankExchange)."),
    )
    format = SelectField(
        lazy_gettext("Format"),
        choices=[
            _BY_ITSELF,
            SelectChoice(FileFormat.CSV.value, "CSV"),
            SelectChoice(FileFormat.EXCHANGE.value, "1CClientBankExchange"),
        ],
        default="",
    )
    user = StringField(
        lazy_gettext("User"), description=lazy_gettext("Blank for the books of all merchants.")
    )
    starts_on = DateField(lazy_gettext("First day"), validators=[Optional()])
    ends_on = DateField(
        lazy_gettext("Last day"),
        validators=[Optional()],
        description=lazy_gettext("Blank for the days of the file."),
    )
    date_tolerance = IntegerField(
        lazy_gettext("Days by which dates may differ"),
        default=1,
        validators=[InputRequired(), NumberRange(0, MAX_TOLERANCE)],
    )
    currency = StringField(
        lazy_gettext("Currency"), description=lazy_gettext("Where the file has none of its own.")
    )
    delimiter = SelectField(
        lazy_gettext("Delimiter"),
        choices=[
            _BY_ITSELF,
            SelectChoice("comma", lazy_gettext("comma")),
            SelectChoice("semicolon", lazy_gettext("semicolon")),
            SelectChoice("tab", lazy_gettext("tab")),
        ],
        default="",
    )
    decimal_mark = SelectField(
        lazy_gettext("Decimal mark"),
        choices=[
            _BY_ITSELF,
            SelectChoice(",", lazy_gettext("comma")),
            SelectChoice(".", lazy_gettext("point")),
        ],
        default="",
    )
    date_format = StringField(
        lazy_gettext("Date format"),
        description=lazy_gettext("Such as DD/MM/YYYY; blank for YYYY-MM-DD or DD.MM.YYYY."),
    )
    encoding = SelectField(
        lazy_gettext("Encoding"),
        choices=[_BY_ITSELF, *(SelectChoice(each, each) for each in ENCODINGS)],
        default="",
    )

    def validate_file(self, field: FileField) -> None:
        """Refuse a form without a file."""
        if field.data is None or not field.data.filename:
            raise ValidationError(gettext("Choose a file."))

    def columns(self) -> list[Any]:
        """Return the fields that say what a column is called in the file."""
        return [self[f"map_{kind}"] for kind in layouts.COLUMNS]

    def layout(self, user: User | None) -> Layout:
        """Return how the file is to be read.

        Raises:
            InvalidInput: names the option that makes no sense.
        """
        named = {
            kind: (self[f"map_{kind}"].data or "").strip()
            for kind in layouts.COLUMNS
            if (self[f"map_{kind}"].data or "").strip()
        }
        _check_columns(named)
        usual = user.currency if user else settings().default_currency
        return Layout(
            currency=(self.currency.data or "").strip().upper() or usual,
            columns=named,
            delimiter=_DELIMITERS.get(self.delimiter.data or ""),
            encoding=self.encoding.data or None,
            date_format=(self.date_format.data or "").strip() or None,
            decimal_mark=self.decimal_mark.data or None,
            zone=ZoneInfo(user.timezone) if user else settings().timezone,
        )

    def question(self, user: User | None) -> Question:
        """Return what the file is held against."""
        last = self.ends_on.data
        return Question(
            user_id=user.id if user else None,
            starts_on=self.starts_on.data,
            ends_before=last + timedelta(days=1) if last else None,
            date_tolerance=self.date_tolerance.data or 0,
        )

    def written_as(self) -> FileFormat | None:
        """Return the format, ``None`` where the file tells."""
        return FileFormat(self.format.data) if self.format.data else None

    def take_file(self, error: InvalidInput) -> None:
        """Show what is wrong with the file, by the number of its line, or with an option."""
        for wrong in error.errors:
            message = messages.field_message(wrong.message)
            if found := _LINE.fullmatch(wrong.field):
                line = gettext("Line %(number)s of the file", number=found[1])
                self.form_errors.append(f"{line}: {message}")
            else:
                self._refuse(_FIELDS.get(wrong.field, wrong.field), message)


def _check_columns(named: dict[str, str]) -> None:
    """Refuse a mapping that is not whole; none at all is for files that name their own."""
    names = list(named.values())
    wrong = [
        FieldError(f"map_{kind}", gettext("This column is named twice."))
        for kind, name in named.items()
        if names.count(name) > 1
    ]
    if named:
        wrong += [
            FieldError(f"map_{kind}", gettext("This column is needed."))
            for kind in ("amount", "date")
            if kind not in named
        ]
    if wrong:
        raise InvalidInput(wrong)


for _kind in layouts.COLUMNS:
    setattr(UploadForm, f"map_{_kind}", StringField(messages.COLUMNS[_kind]))
