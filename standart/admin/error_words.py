"""What services say is wrong, in the words that the viewer's language has for it."""

from __future__ import annotations

import re
from typing import Final

from flask_babel import lazy_gettext

ERRORS: Final = {
    "unauthenticated": lazy_gettext("This login is not active any more. Log in again."),
    "forbidden": lazy_gettext("This is not allowed for you."),
    "second_person_required": lazy_gettext(
        "You have approved this already, or your login and that of who approved it come from one "
        "hand; a second admin with a login of its own must confirm as well."
    ),
    "insufficient_scope": lazy_gettext("This is not allowed for you."),
    "not_found": lazy_gettext("There is no such page or object."),
    "name_taken": lazy_gettext("A user of this name exists already."),
    "user_changed": lazy_gettext(
        "Nothing was saved: this user was changed meanwhile. Below is what is true now; change it "
        "again."
    ),
    "user_has_history": lazy_gettext(
        "A user with transactions cannot be deleted; deactivate it instead."
    ),
    "endpoint_limit": lazy_gettext(
        "A user may have 20 webhook endpoints at most; delete one first."
    ),
    "endpoint_not_callable": lazy_gettext(
        "No endpoint may be called: it is disabled, has no URL, or asks for other events."
    ),
    "replay_running": lazy_gettext(
        "Another replay of this endpoint is still running; wait for its end."
    ),
    "insufficient_balance": lazy_gettext(
        "Nothing was changed: less than this is available to the merchant."
    ),
    "idempotency_key_reused": lazy_gettext(
        "This form was sent before with other values, and they count. Look at what came of it."
    ),
    "idempotency_key_in_flight": lazy_gettext(
        "This form is just being carried out; look at the list in a moment."
    ),
    "too_many_requests": lazy_gettext("Too many failed logins; try again in half an hour."),
    "unavailable": lazy_gettext("The service cannot answer right now; try again."),
    "payload_too_large": lazy_gettext("This is more than the service takes at once."),
}

# What the services and the address rules say about a field. They speak English and know no
# viewer; listed here, the texts get into the catalogues.
FIELD_MESSAGES: Final = (
    lazy_gettext("must have 1 to 128 printable characters"),
    lazy_gettext("must have 12 to 1024 characters"),
    lazy_gettext("must not be one of the most used passwords or the name"),
    lazy_gettext("must be valid text"),
    lazy_gettext("The last active admin must stay one."),
    lazy_gettext("is not a known currency code such as RUB or USDT"),
    lazy_gettext("has more than 6 fractional digits"),
    lazy_gettext("must be between 0 and 1"),
    lazy_gettext("Name at least one scope."),
    lazy_gettext("The scope confirm is for keys of admins and operators only."),
    lazy_gettext("This role may not have all of these scopes."),
    lazy_gettext("This code is not right, or too old."),
    lazy_gettext("The lifetime must be positive."),
    lazy_gettext("must be at most 2048 characters"),
    lazy_gettext("must not contain spaces, control characters or backslashes"),
    lazy_gettext("must not contain a fragment (#)"),
    lazy_gettext("must be an absolute URL that starts with https://"),
    lazy_gettext("must not contain a user name or password"),
    lazy_gettext("needs a / between the host and the query"),
    lazy_gettext("has a malformed host or port"),
    lazy_gettext("has a host that is not a valid domain name"),
    lazy_gettext("must not have a dot at the end of the host"),
    lazy_gettext("has an IPv4 address that is not written as four decimal numbers"),
    lazy_gettext("has a malformed IPv6 address"),
    lazy_gettext("must have an IPv4 address written as such, not inside an IPv6 one"),
    lazy_gettext("must start with https://"),
    lazy_gettext("must use one of the ports 443, 8443"),
    lazy_gettext("must use one of the ports 443, 8443, 80, 8080"),
    lazy_gettext("must have a public address"),
    lazy_gettext("must have a public domain name"),
    lazy_gettext("Only the default endpoint may be without a URL."),
    lazy_gettext("This user is deactivated."),
    lazy_gettext("There is no such user."),
    lazy_gettext("must have 1 to 50 entries"),
    lazy_gettext("must not name anything twice"),
    lazy_gettext("must have at most 20 entries"),
    lazy_gettext("must not name a header twice"),
    lazy_gettext("must have a line of the form Name: value for each"),
    lazy_gettext("must have names of 1 to 100 letters, digits and !#$%&'*+-.^_`|~"),
    lazy_gettext(
        "must have values of 1 to 1024 visible ASCII characters, spaces only between them"
    ),
    lazy_gettext("must have other values than ***, which stands for one that is set already"),
    lazy_gettext("must not be blank"),
    lazy_gettext("must have at most 500 characters"),
    lazy_gettext("must not hold control characters"),
    lazy_gettext("must not hold a card number"),
    lazy_gettext("must be a whole number"),
    lazy_gettext("must be per cent such as 2.9%"),
    lazy_gettext("needs the per cent sign, such as 2.9%"),
    lazy_gettext("must be at most 100%"),
    lazy_gettext("has more than 4 fractional digits"),
    lazy_gettext("must be from 1 to 10000"),
    lazy_gettext("must be later than since"),
    lazy_gettext("must be in the past"),
    lazy_gettext("must be before to"),
    lazy_gettext("must be after from"),
    lazy_gettext("must be at most two years after from"),
    lazy_gettext("must be given when to is"),
    lazy_gettext("names no day or month"),
    lazy_gettext("must be a day or a month such as 2026-11-28 or 2026-11"),
    lazy_gettext("must be in the years 1 to 9999 of UTC"),
    lazy_gettext("ends a span of more than 100000 events; choose a shorter one"),
    lazy_gettext("must be greater than 0"),
    lazy_gettext("must be a time zone such as Europe/Moscow"),
    lazy_gettext("This user was deleted meanwhile."),
    lazy_gettext("The lifetime is too long."),
    lazy_gettext("Only an admin may write internal notes."),
)

# The same where the text has a value in it.
SHAPES: Final = (
    (
        re.compile(r"has more than (?P<digits>\d+) fractional digits \((?P<currency>\w+)\)"),
        lazy_gettext("has more than %(digits)s fractional digits (%(currency)s)"),
    ),
    (re.compile(r"must be at most (?P<most>[\d.]+)"), lazy_gettext("must be at most %(most)s")),
    (
        re.compile(r"must be a plain decimal number such as (?P<example>[\d.]+)"),
        lazy_gettext("must be a plain decimal number such as %(example)s"),
    ),
    (
        re.compile(r"must be between 0 and (?P<most>\d+) days"),
        lazy_gettext("must be between 0 and %(most)s days"),
    ),
    (
        re.compile(r"must be after the span's start, (?P<day>[\d-]+)"),
        lazy_gettext("must be after the span's start, %(day)s"),
    ),
    (
        re.compile(r"must be in the years (?P<first>\d+) to (?P<last>\d+)"),
        lazy_gettext("must be in the years %(first)s to %(last)s"),
    ),
    (
        re.compile(r"must be 1 to (?P<most>\d+) transactions"),
        lazy_gettext("must be 1 to %(most)s transactions"),
    ),
    (
        re.compile(r"(?P<format>pdf|xlsx) holds at most (?P<most>\d+) movements; ask for csv"),
        lazy_gettext("%(format)s holds at most %(most)s movements; ask for csv"),
    ),
    # What was noticed about a bank's file is kept as text.
    (
        re.compile(
            r"(?P<account>.+): (?P<key>\w+) is (?P<said>[\d.]+),"
            r" its documents make (?P<summed>[\d.]+)"
        ),
        lazy_gettext("%(account)s: %(key)s is %(said)s, its documents make %(summed)s"),
    ),
)

# What a refusal says with the state that is true now: code → (member that has it, sentence).
WITH_STATE: Final = {
    "not_pending": (
        "transaction_status",
        lazy_gettext(
            "Nothing was changed: the transaction is not pending any more. Its status is: "
            "%(status)s."
        ),
    ),
    "payout_state": (
        "payout_status",
        lazy_gettext("Nothing was changed: the status of the payout is: %(status)s."),
    ),
    "adjustment_state": (
        "adjustment_status",
        lazy_gettext("Nothing was changed: the status of the adjustment is: %(status)s."),
    ),
    "not_confirmed": (
        "transaction_status",
        lazy_gettext(
            "Nothing was changed: only a confirmed transaction can be refunded. Its status is: "
            "%(status)s."
        ),
    ),
    "not_late": (
        "transaction_status",
        lazy_gettext(
            "Nothing was changed: only a canceled or expired transaction can be paid late. Its "
            "status is: %(status)s."
        ),
    ),
    "not_finished": (
        "transaction_status",
        lazy_gettext("There is no receipt yet: the transaction is %(status)s."),
    ),
}

FOREIGN_HEADER: Final = "must not set "
