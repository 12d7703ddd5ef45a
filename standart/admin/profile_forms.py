"""Forms about oneself: codes, passwords, and how the panel shall look."""

from __future__ import annotations

from flask_babel import lazy_gettext
from wtforms import HiddenField, PasswordField, SelectField, StringField, ValidationError

from standart.admin import language, zones
from standart.admin.choices import SelectChoice
from standart.admin.forms import PanelForm
from standart.admin.language import gettext
from standart.models import Theme


class CodeForm(PanelForm):
    """The code of an app, or one of last resort."""

    code = StringField(
        lazy_gettext("Code"),
        description=lazy_gettext("Six digits from your app, or one of your recovery codes."),
    )


class DrawnForm(CodeForm):
    """The first code of a secret that was just drawn, which comes along sealed."""

    drawn = HiddenField()


class ProofForm(PanelForm):
    """Who is it? Its fields are named so that they fit into any other form."""

    proof_password = PasswordField(lazy_gettext("Password"))
    proof_code = StringField(
        lazy_gettext("Code"),
        description=lazy_gettext("Six digits from your app, or one of your recovery codes."),
    )


class PasswordForm(PanelForm):
    """Another password for oneself."""

    current = PasswordField(lazy_gettext("Present password"))
    password = PasswordField(
        lazy_gettext("New password"), description=lazy_gettext("At least 12 characters.")
    )
    again = PasswordField(lazy_gettext("New password once more"))

    def validate_again(self, field: PasswordField) -> None:
        """Catch a slip of the finger, which nobody can see."""
        if field.data != self.password.data:
            raise ValidationError(gettext("The two new passwords differ."))


class PreferenceForm(PanelForm):
    """Language, time zone and colours; blank means as the browser has it."""

    locale = SelectField(
        lazy_gettext("Language"),
        choices=[
            SelectChoice("", lazy_gettext("as the browser has it")),
            *(SelectChoice(code, name) for code, name in language.LANGUAGES.items()),
        ],
    )
    timezone = SelectField(lazy_gettext("Time zone"))
    theme = SelectField(
        lazy_gettext("Colours"),
        choices=[
            SelectChoice("", lazy_gettext("as the device has them")),
            SelectChoice(Theme.LIGHT.value, lazy_gettext("light")),
            SelectChoice(Theme.DARK.value, lazy_gettext("dark")),
        ],
    )

    def offer(self) -> None:
        """Fill in the time zones that there are."""
        self.timezone.choices = [
            SelectChoice("", lazy_gettext("as the browser has it")),
            *zones.choices(),
        ]
