"""What the settings of an endpoint may be: rules for event types and headers, in words.

Each rule returns what is wrong as a predicate that completes "field …", or ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from standart.card_numbers import holds_card_number
from standart.errors import FieldError, InvalidInput

EVENT_TYPES: Final = (
    "transaction.created",
    "transaction.confirmed",
    "transaction.canceled",
    "transaction.expired",
    "refund.created",
    "payout.created",
    "payout.approved",
    "payout.rejected",
    "payout.canceled",
    "payout.paid",
    "payout.failed",
    "balance.adjusted",
    "webhook_endpoint.disabled",
)
"""What an endpoint may ask for. A ``ping`` is sent to the endpoint that is tested, unasked."""

PATTERNS: Final = (
    *EVENT_TYPES,
    *dict.fromkeys(f"{name.partition('.')[0]}.*" for name in EVENT_TYPES),
    "*",
)
"""All that may stand in ``event_types``: names, prefixes, and everything."""

MOST_EVENT_TYPES: Final = 50
MOST_HEADERS: Final = 20
LONGEST_HEADER: Final = 1024
LONGEST_DESCRIPTION: Final = 500
HIGHEST_RATE: Final = 10_000

MASK: Final = "***"
"""Stands for the value of a header wherever one is shown; sent back, it means "as it is"."""

HEADER_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}"
"""A token of RFC 9110 section 5.6.2."""

_HEADER_NAME: Final = re.compile(HEADER_NAME)
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")

# Control characters and halves of surrogate pairs.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# What signs and describes the message, what belongs to the connection rather than to it (RFC 9110
# section 7.6.1), and what would let an owner change how the request is framed or routed.
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "date",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    }
)
_OUR_PREFIXES: Final = ("webhook-", "content-", "proxy-", "x-forwarded-")


def event_types(wanted: Sequence[str]) -> str | None:
    """At least one name, prefix or ``*``, each once."""
    if not 1 <= len(wanted) <= MOST_EVENT_TYPES:
        return f"must have 1 to {MOST_EVENT_TYPES} entries"
    if len(set(wanted)) < len(wanted):
        return "must not name anything twice"
    if not set(wanted) <= set(PATTERNS):
        return f"must be among: {', '.join(PATTERNS)}"
    return None


def headers(wanted: Mapping[str, str]) -> str | None:
    """Few headers that are the receiver's own, each once in whatever case."""
    if len(wanted) > MOST_HEADERS:
        return f"must have at most {MOST_HEADERS} entries"
    if len({name.lower() for name in wanted}) < len(wanted):
        return "must not name a header twice"
    for name, value in wanted.items():
        if not _HEADER_NAME.fullmatch(name):
            return "must have names of 1 to 100 letters, digits and !#$%&'*+-.^_`|~"
        if name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES):
            return f"must not set {name.lower()}"
        if not _HEADER_VALUE.fullmatch(value):
            return (
                f"must have values of 1 to {LONGEST_HEADER} visible ASCII characters, "
                "spaces only between them"
            )
    return None


def description(text: str) -> str | None:
    """Words for people, without control characters and card numbers."""
    if not text.strip():
        return "must not be blank"
    if len(text) > LONGEST_DESCRIPTION:
        return f"must have at most {LONGEST_DESCRIPTION} characters"
    if _UNFIT.search(text):
        return "must not hold control characters"
    return "must not hold a card number" if holds_card_number(text) else None


def rate_limit(rate: int) -> str | None:
    """Requests a second."""
    return None if 1 <= rate <= HIGHEST_RATE else f"must be from 1 to {HIGHEST_RATE}"


_RULES: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "event_types": event_types,
    "description": description,
    "headers": headers,
    "rate_limit": rate_limit,
}


def require(fields: Mapping[str, object]) -> None:
    """Check those of ``fields`` that have a rule and a value.

    Raises:
        InvalidInput: names every field that breaks its rule.
    """
    problems = [
        FieldError(name, problem)
        for name, rule in _RULES.items()
        if (value := fields.get(name)) is not None and (problem := rule(value)) is not None
    ]
    if problems:
        raise InvalidInput(problems)
