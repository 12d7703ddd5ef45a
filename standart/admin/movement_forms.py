"""The forms about payouts, refunds and adjustments; the services have the last word."""

from __future__ import annotations

import re
from typing import Final

from flask_babel import lazy_gettext
from sqlalchemy.orm import Session
from wtforms import (
    BooleanField,
    HiddenField,
    SelectField,
    StringField,
    TextAreaField,
    ValidationError,
)

from standart import money
from standart.admin import language, listing
from standart.admin.choices import SelectChoice
from standart.admin.forms import PanelForm
from standart.admin.language import gettext
from standart.card_numbers import holds_card_number
from standart.errors import InvalidInput
from standart.extensions import in_transaction
from standart.models import User
from standart.money import Money
from standart.services import user_service
from standart.services.adjustment_service import Direction

_MAX_REASON: Final = 500
_MAX_REFERENCE: Final = 128
_MAX_FIELDS: Final = 20
_MAX_VALUE: Final = 200
_LINE: Final = re.compile(r"\r?\n")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_BLANKS: Final = str.maketrans("", "", " \u00a0\u202f")


def amount_text(typed: str | None) -> str:
    """Return an amount as people type it in the form that the services read."""
    text = (typed or "").translate(_BLANKS)
    return text.replace(",", ".") if language.language() == "ru" else text


def whole_amount(typed: str | None, currency: str) -> str:
    """Return an amount that was found good as the wire has it: with all digits of its currency."""
    read = money.parse_amount(amount_text(typed), currency)
    return money.format_minor(read.amount, currency)


def read_amount(field: StringField, currency: str) -> Money | None:
    """Return what was typed as a sum of ``currency``; ``None`` with an error at the field."""
    try:
        return money.parse_amount(amount_text(field.data), currency)
    except InvalidInput:
        digits = money.digits_of(currency)
        message = gettext(
            "must be a sum above zero with at most %(digits)s digits behind the point",
            digits=digits,
        )
        field.errors = [*field.errors, message]
        return None


def merchant_of(field: StringField) -> User | None:
    """Return the user of the name that was typed; ``None`` with an error at the field."""
    name = (field.data or "").replace("\0", "").strip()
    if not name:
        field.errors = [*field.errors, gettext("must not be blank")]
        return None

    def find(session: Session) -> User | None:
        user = user_service.find_user(session, name)
        session.expunge_all()
        return user

    user = in_transaction(find)
    if user is None:
        field.errors = [*field.errors, gettext("There is no such user.")]
    return user


def check_text(text: str, longest: int) -> None:
    """Hold the rule for texts: not too long, on one line, none of control, no card number.

    Raises:
        ValidationError: it breaks the rule.
    """
    if len(text) > longest or _UNFIT.search(text):
        raise ValidationError(
            gettext("must have at most %(most)s characters, on one line", most=longest)
        )
    if holds_card_number(text):
        raise ValidationError(gettext("must not hold a card number"))


class OnceForm(PanelForm):
    """A form that has one effect, however often it is sent."""

    once = HiddenField()

    def validate_once(self, field: HiddenField) -> None:
        """Take only what such a form is handed out with."""
        if listing.as_id(field.data or "") is None:
            self.form_errors.append(gettext("This form is not whole; fill it in anew."))
            raise ValidationError(gettext("This form is not whole; fill it in anew."))


class ReasonForm(PanelForm):
    """Why something is done; may stay blank."""

    reason = StringField(
        lazy_gettext("Reason"), description=lazy_gettext("Optional; the merchant sees it.")
    )

    def validate_reason(self, field: StringField) -> None:
        """Hold the rule for reasons."""
        check_text(field.data or "", _MAX_REASON)


class WhyForm(PanelForm):
    """Why something is refused; must be said."""

    reason = StringField(lazy_gettext("Reason"), description=lazy_gettext("The merchant sees it."))

    def validate_reason(self, field: StringField) -> None:
        """Hold the rule for reasons that must be given."""
        if not (field.data or "").strip():
            raise ValidationError(gettext("must not be blank"))
        check_text(field.data or "", _MAX_REASON)


class SumForm(PanelForm):
    """A sum of a merchant's money."""

    user = StringField(lazy_gettext("User"), description=lazy_gettext("Whose money it is."))
    amount = StringField(lazy_gettext("Amount"))
    currency = StringField(
        lazy_gettext("Currency"), description=lazy_gettext("Blank for the merchant's own.")
    )

    def validate_currency(self, field: StringField) -> None:
        """Refuse a currency that there is not."""
        if field.data and field.data.strip().upper() not in money.CURRENCIES:
            raise ValidationError(gettext("is not a known currency code such as RUB or USDT"))

    def currency_of(self, user: User) -> str:
        """Return the currency that was typed, else that of the merchant."""
        return (self.currency.data or "").strip().upper() or user.currency


class PayoutForm(SumForm):
    """A new payout."""

    destination = TextAreaField(
        lazy_gettext("Destination"),
        description=lazy_gettext(
            "Where the money goes: one on each line, as name: value, such as iban: DE89… Kept "
            "encrypted, shown masked. May stay blank."
        ),
    )
    reference = StringField(
        lazy_gettext("Payout reference"),
        description=lazy_gettext("Optional; the merchant sees it."),
    )

    def validate_destination(self, field: TextAreaField) -> None:
        """Hold the rule for destinations."""
        _destination(field.data or "")

    def validate_reference(self, field: StringField) -> None:
        """Hold the rule for references."""
        text = field.data or ""
        if len(text) > _MAX_REFERENCE or _UNFIT.search(text):
            raise ValidationError(
                gettext("must have at most %(most)s characters, on one line", most=_MAX_REFERENCE)
            )

    def where(self) -> dict[str, str] | None:
        """Return the fields of the destination; the form must have been found valid."""
        return _destination(self.destination.data or "") or None


class NewPayoutForm(PayoutForm, OnceForm):
    """A new payout that was looked at once more."""


def _destination(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(str.strip, _LINE.split(text)):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not _NAME.fullmatch(name) or name in found:
            raise ValidationError(
                gettext(
                    "must have a line of the form name: value for each, with different names of "
                    "1 to 40 letters, digits, dots, dashes and underscores"
                )
            )
        if not value:
            raise ValidationError(gettext("must not be blank"))
        check_text(value, _MAX_VALUE)
        check_text(name, _MAX_VALUE)
        found[name] = value
    if len(found) > _MAX_FIELDS:
        raise ValidationError(gettext("must have at most 20 entries"))
    return found


class RefundForm(PanelForm):
    """How much of a transaction is given back."""

    amount = StringField(
        lazy_gettext("Amount"), description=lazy_gettext("Blank for all that is left.")
    )
    refund_commission = BooleanField(
        lazy_gettext("With its commission"),
        description=lazy_gettext(
            "The commission's share is given back too: the merchant pays less."
        ),
    )
    reason = StringField(
        lazy_gettext("Reason"), description=lazy_gettext("Optional; the merchant sees it.")
    )

    def validate_reason(self, field: StringField) -> None:
        """Hold the rule for reasons."""
        check_text(field.data or "", _MAX_REASON)


class NewRefundForm(RefundForm, OnceForm):
    """A refund that was looked at once more."""


class AdjustmentForm(SumForm):
    """What to correct, and why."""

    direction = SelectField(
        lazy_gettext("Direction"),
        choices=[
            SelectChoice(Direction.CREDIT.value, lazy_gettext("to the merchant")),
            SelectChoice(Direction.DEBIT.value, lazy_gettext("from the merchant")),
        ],
    )
    reason = StringField(lazy_gettext("Reason"), description=lazy_gettext("The merchant sees it."))

    def validate_reason(self, field: StringField) -> None:
        """Hold the rule for reasons that must be given."""
        if not (field.data or "").strip():
            raise ValidationError(gettext("must not be blank"))
        check_text(field.data or "", _MAX_REASON)


class NewAdjustmentForm(AdjustmentForm, OnceForm):
    """An adjustment that was looked at once more."""
