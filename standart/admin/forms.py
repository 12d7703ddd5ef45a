"""The forms of the panel; what a value must be the services check, their errors come back here."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask_babel import lazy_gettext
from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    HiddenField,
    PasswordField,
    SelectField,
    SelectMultipleField,
    StringField,
    ValidationError,
)
from wtforms.widgets import CheckboxInput, ListWidget

from standart import money
from standart.admin import formats, messages, zones
from standart.admin.choices import SelectChoice
from standart.admin.language import gettext
from standart.card_numbers import holds_card_number
from standart.errors import (
    DomainError,
    FieldError,
    IdempotencyKeyReused,
    InvalidInput,
    NameTaken,
)
from standart.extensions import settings
from standart.models import Role, Scope, User
from standart.services import user_service
from standart.services.access import SCOPES_OF
from standart.webhooks.addresses import UrlRules, parse_url

MAX_REASON = 500
MAX_NOTE = 2000
_PER_CENT = re.compile(r"[0-9]{1,3}(?:\.([0-9]{1,12}))?")
_NO_RATE = "must be per cent such as 2.9%"
_NO_SIGN = "needs the per cent sign, such as 2.9%"
_OVER_ALL = "must be at most 100%"
_LARGE_SHARE = Decimal("0.2")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class PanelForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A form whose errors may also come from a service."""

    def take(self, error: DomainError) -> None:
        """Show what a service refused beside the field it is about, else above the form."""
        if isinstance(error, NameTaken):
            self._refuse("name", messages.describe(error))
        elif isinstance(error, InvalidInput) and not isinstance(error, IdempotencyKeyReused):
            for wrong in error.errors:
                self._refuse(wrong.field, messages.field_message(wrong.message))
        else:
            self.form_errors.append(messages.describe(error))

    def _refuse(self, field: str, message: str) -> None:
        target = self._fields.get(field)
        if target is None:
            self.form_errors.append(message)
        else:
            target.errors = [*target.errors, message]


class LoginForm(PanelForm):
    """Name and password; how long they may be is for the login to judge."""

    name = StringField(lazy_gettext("Name"))
    password = PasswordField(lazy_gettext("Password"))


class UserForm(PanelForm):
    """A new user."""

    name = StringField(lazy_gettext("Name"))
    role = SelectField(
        lazy_gettext("Role"),
        choices=[SelectChoice(role.value, messages.ROLES[role.value]) for role in reversed(Role)],
        default=Role.REGULAR.value,
    )
    commission_rate = StringField(
        lazy_gettext("Commission rate"),
        default="0%",
        description=lazy_gettext("For example 2.9%. Counts for later transactions only."),
    )
    currency = StringField(
        lazy_gettext("Currency"),
        description=lazy_gettext("A code such as RUB or USDT."),
    )
    timezone = SelectField(
        lazy_gettext("Time zone"),
        description=lazy_gettext("By it the days and months of the merchant's statements begin."),
    )
    webhook_url = StringField(
        lazy_gettext("Webhook URL"),
        description=lazy_gettext("Where the endings of transactions are told. May stay blank."),
    )
    password = PasswordField(
        lazy_gettext("Password"),
        description=lazy_gettext(
            "Left blank, a password is made and shown once. At least 12 characters."
        ),
    )

    def offer(self, present: str) -> None:
        """Offer the time zones that there are; where none is chosen the ``present`` one stays."""
        self.timezone.choices = zones.choices(present)
        if not self.timezone.raw_data:
            self.timezone.data = present

    def values(self) -> dict[str, Any]:
        """Return the fields as the service takes them, without the password.

        Raises:
            InvalidInput: names every field that cannot be read.
        """
        wrong: list[FieldError] = []
        values: dict[str, Any] = {
            "name": self.name.data or "",
            "role": Role(self.role.data),
            "timezone": self.timezone.data,
        }
        readers: dict[str, Callable[[str], object]] = {
            "commission_rate": _rate,
            "currency": _currency,
            "webhook_url": _webhook_url,
        }
        for field, read in readers.items():
            try:
                values[field] = read((self[field].data or "").strip())
            except InvalidInput as error:
                wrong += error.errors
        if wrong:
            raise InvalidInput(wrong)
        return values


class KnownUserForm(UserForm):
    """A user that there is."""

    unique_reference = BooleanField(
        lazy_gettext("Unique references"),
        description=lazy_gettext(
            "A reference names one transaction only; another one with it is refused."
        ),
    )

    password = PasswordField(
        lazy_gettext("Password"),
        description=lazy_gettext("A blank password stays as it is. At least 12 characters."),
    )
    seen = HiddenField()

    def values(self) -> dict[str, Any]:
        """Return the fields as in ``UserForm``, and the switch for references."""
        return {**super().values(), "unique_reference": bool(self.unique_reference.data)}

    def show(self, user: User) -> None:
        """Fill in what is known of ``user``; the password is never shown."""
        self.seen.data = user_service.fingerprint(user)
        self.name.data = user.name
        self.role.data = user.role.value
        self.commission_rate.data = formats.percent(user.commission_rate)
        self.currency.data = user.currency
        self.webhook_url.data = user.webhook_url or ""
        self.unique_reference.data = user.unique_reference


def _rate(text: str) -> Decimal:
    """Read a rate as per cent with their sign, or as the share that the API takes.

    Without its sign a number is taken for a share only while nobody can have meant per cent:
    0.5 for half a per cent would otherwise cost a hundred times as much.
    """
    number, sign, rest = "".join(text.split()).replace(",", ".").partition("%")
    found = _PER_CENT.fullmatch(number)
    if found is None or rest:
        raise InvalidInput.of("commission_rate", _NO_RATE)
    if Decimal(number) > 100:
        raise InvalidInput.of("commission_rate", _OVER_ALL)
    if not sign and Decimal(number) >= _LARGE_SHARE:
        raise InvalidInput.of("commission_rate", _NO_SIGN)
    if not sign:
        return money.parse_rate(number)
    if len(found[1] or "") > money.RATE_DIGITS - 2:
        raise InvalidInput.of(
            "commission_rate", f"has more than {money.RATE_DIGITS - 2} fractional digits"
        )
    return Decimal(number) / 100


def _currency(text: str) -> str:
    money.digits_of(text.upper())
    return text.upper()


def _webhook_url(text: str) -> str | None:
    configured = settings()
    rules = UrlRules(
        allowed_networks=configured.webhook_allowed_networks,
        allow_http=configured.webhook_allow_http,
    )
    return parse_url(text, rules).url if text else None


class KeyForm(PanelForm):
    """A new API key."""

    scopes = SelectMultipleField(
        lazy_gettext("Scopes"),
        choices=[SelectChoice(scope.value, messages.SCOPES[scope.value]) for scope in Scope],
        default=[Scope.READ.value, Scope.WRITE.value],
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )
    expires_in = SelectField(
        lazy_gettext("Lifetime"),
        choices=[
            SelectChoice("", lazy_gettext("until revoked")),
            SelectChoice("30", lazy_gettext("30 days")),
            SelectChoice("90", lazy_gettext("90 days")),
            SelectChoice("365", lazy_gettext("one year")),
        ],
    )

    def offer(self, role: Role) -> None:
        """Offer only the scopes that a key of this role may have."""
        self.scopes.choices = [
            SelectChoice(scope.value, messages.SCOPES[scope.value])
            for scope in Scope
            if scope in SCOPES_OF[role]
        ]

    def lifetime(self) -> timedelta | None:
        """Return how long the key shall count, ``None`` for no end."""
        return timedelta(days=int(self.expires_in.data)) if self.expires_in.data else None


class ActForm(PanelForm):
    """Nothing but the CSRF token: one button that does one thing."""


class CancelForm(PanelForm):
    """Why a transaction is canceled."""

    reason = StringField(
        lazy_gettext("Reason"),
        description=lazy_gettext("Optional; the merchant sees it."),
    )

    def validate_reason(self, field: StringField) -> None:
        """Hold the rule for reasons: at most 500 characters, none of control, no card number."""
        text = field.data or ""
        if len(text) > MAX_REASON or _CONTROL.search(text):
            raise ValidationError(gettext("must have at most 500 characters, on one line"))
        _refuse_card_number(text)


class NoteForm(PanelForm):
    """What to write down about a transaction."""

    text = StringField(lazy_gettext("New note"))
    internal = BooleanField(
        lazy_gettext("For admins only"),
        default=True,
        description=lazy_gettext("Otherwise the merchant reads it, with your name."),
    )

    def validate_text(self, field: StringField) -> None:
        """Hold the rule for notes: up to 2000 characters, not blank, none of control, no card."""
        text = field.data or ""
        if not text.strip() or len(text) > MAX_NOTE or _CONTROL.search(text):
            raise ValidationError(gettext("must have 1 to 2000 characters, on one line"))
        _refuse_card_number(text)


def _refuse_card_number(text: str) -> None:
    if holds_card_number(text):
        raise ValidationError(gettext("must not hold a card number"))
