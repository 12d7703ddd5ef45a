"""The forms about endpoints and replays; the services check, their errors come back here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from flask_babel import lazy_gettext
from wtforms import (
    BooleanField,
    DateTimeLocalField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.validators import InputRequired
from wtforms.widgets import CheckboxInput, ListWidget

from standart.admin import language, messages
from standart.admin.choices import SelectChoice
from standart.admin.forms import PanelForm
from standart.admin.language import gettext
from standart.clock import now
from standart.delivery import url_rules
from standart.errors import FieldError, InvalidInput
from standart.models import ReplayScope
from standart.models.webhooks import ENDINGS
from standart.services.endpoint_rules import MASK, PATTERNS
from standart.webhooks.addresses import parse_url

_LINE: Final = re.compile(r"\r?\n")
_WHOLE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_YEARS: Final = range(2000, 2101)


class EndpointForm(PanelForm):
    """An endpoint, new or known."""

    url = StringField(lazy_gettext("URL"))
    event_types = SelectMultipleField(
        lazy_gettext("Events"),
        choices=[SelectChoice(name, messages.SUBSCRIPTIONS[name]) for name in PATTERNS],
        default=list(ENDINGS),
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )
    description = StringField(
        lazy_gettext("Description"), description=lazy_gettext("For people; may stay blank.")
    )
    headers = TextAreaField(
        lazy_gettext("Headers of your own"),
        description=lazy_gettext(
            "One on each line, as Name: value. A value of *** stays as it is; values are kept "
            "encrypted and never shown."
        ),
    )
    rate_limit = StringField(
        lazy_gettext("Requests a second at most"),
        description=lazy_gettext("Blank for as many as the receiver bears."),
    )
    ordered = BooleanField(
        lazy_gettext("In order"),
        description=lazy_gettext(
            "The next event of a transaction waits until the former one is delivered or given up."
        ),
    )

    def values(self, *, url_needed: bool) -> dict[str, Any]:
        """Return the fields as the services take them; only a default one may lack a URL.

        Raises:
            InvalidInput: names every field that cannot be read.
        """
        wrong: list[FieldError] = []
        values: dict[str, Any] = {
            "event_types": list(self.event_types.data or ()),
            "description": (self.description.data or "").strip() or None,
            "ordered": bool(self.ordered.data),
        }
        for field, read in (("url", _url), ("headers", _headers), ("rate_limit", _rate)):
            try:
                values[field] = read(self[field].data or "")
            except InvalidInput as error:
                wrong += error.errors
        if url_needed and values.get("url", "") is None:
            wrong.append(FieldError("url", "Only the default endpoint may be without a URL."))
        if wrong:
            raise InvalidInput(wrong)
        return values

    def show(self, endpoint: Mapping[str, Any]) -> None:
        """Fill in the wire form of an endpoint; values of headers are never shown."""
        self.url.data = endpoint["url"] or ""
        self.event_types.data = endpoint["event_types"]
        self.description.data = endpoint["description"] or ""
        self.headers.data = "\n".join(f"{name}: {MASK}" for name in endpoint["headers"])
        self.rate_limit.data = str(endpoint["rate_limit"] or "")
        self.ordered.data = endpoint["ordered"]


def _url(text: str) -> str | None:
    wanted = text.strip()
    return parse_url(wanted, url_rules(), field="url").url if wanted else None


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in filter(str.strip, _LINE.split(text)):
        name, colon, value = line.partition(":")
        if not colon:
            raise InvalidInput.of("headers", "must have a line of the form Name: value for each")
        if name.strip() in headers:
            raise InvalidInput.of("headers", "must not name a header twice")
        headers[name.strip()] = value.strip(" \t")
    return headers


def _rate(text: str) -> int | None:
    wanted = text.strip()
    if not wanted:
        return None
    if not _WHOLE.fullmatch(wanted):
        raise InvalidInput.of("rate_limit", "must be a whole number")
    return int(wanted)


class ReplayForm(PanelForm):
    """To whom an event is sent anew."""

    endpoint = SelectField(lazy_gettext("Send it to"), validate_choice=True)

    def offer(self, endpoints: Iterable[Mapping[str, Any]], chosen: str = "") -> None:
        """Offer all receivers together, and each that may be called."""
        able = [each for each in endpoints if each["enabled"] and each["url"]]
        self.endpoint.choices = [
            SelectChoice("", gettext("all that ask for it or had it before")),
            *(SelectChoice(each["id"], each["url"]) for each in able),
        ]
        if not self.is_submitted():
            self.endpoint.data = chosen if chosen in {each["id"] for each in able} else ""


class SpanForm(PanelForm):
    """Which events an endpoint shall get anew; moments are on the viewer's clock."""

    since = DateTimeLocalField(lazy_gettext("Since"), validators=[InputRequired()])
    until = DateTimeLocalField(
        lazy_gettext("Until, without this moment"), validators=[InputRequired()]
    )
    scope = SelectField(
        lazy_gettext("Which"),
        choices=[
            SelectChoice(scope.value, messages.REPLAY_SCOPES[scope.value]) for scope in ReplayScope
        ],
    )

    def suggest(self) -> None:
        """Fill in the last day."""
        zone = language.viewer_zone()[1]
        end = (now() + timedelta(minutes=1)).replace(second=0, microsecond=0)
        self.until.data = end.astimezone(zone).replace(tzinfo=None)
        self.since.data = (end - timedelta(days=1)).astimezone(zone).replace(tzinfo=None)

    def validate_since(self, field: DateTimeLocalField) -> None:
        """Refuse what no calendar of use has."""
        _require_year(field)

    def validate_until(self, field: DateTimeLocalField) -> None:
        """Refuse what no calendar of use has."""
        _require_year(field)

    def span(self) -> tuple[datetime, datetime]:
        """Return beginning and end in UTC; the form must have been found valid."""
        since, until = self.since.data, self.until.data
        assert since is not None
        assert until is not None
        zone = language.viewer_zone()[1]
        return language.from_wall_clock(since, zone), language.from_wall_clock(until, zone)


def _require_year(field: DateTimeLocalField) -> None:
    if field.data is not None and field.data.year not in _YEARS:
        raise ValidationError(gettext("must lie between the years 2000 and 2100"))
