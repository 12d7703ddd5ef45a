"""Names for what became of an attempt: from a status, from an error, from ``Retry-After``."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from standart.errors import InvalidInput
from standart.webhooks.connections import Closed, NotSecured, TooLarge
from standart.webhooks.dialing import NotConnected
from standart.webhooks.exchange import BadHeader, Malformed
from standart.webhooks.lookups import Blocked, Unresolved

RETRY_AFTER_LIMIT = 24 * 60 * 60
"""Seconds: the longest pause that a receiver may ask for."""

HEADERS_LIMIT = 4 * 1024
"""Bytes of names and values of the answer's headers that are kept, in UTF-8."""

_ERROR_LENGTH = 300
_SECONDS = re.compile(r"[0-9]+", re.ASCII)


def outcome_of(status: int) -> str:
    """Return ``delivered`` for any 2xx, else ``http_<status>``."""
    return "delivered" if 200 <= status <= 299 else f"http_{status}"


def failure_of(exc: Exception, deadline: float) -> tuple[str, str]:
    """Return outcome and explanation of an attempt that ended in ``exc``.

    ``deadline`` is in seconds. The explanation never quotes the URL, which may hold a token.
    """
    outcome, text = _failure(exc, deadline)
    return outcome, clean_text(text.encode("utf-8", "replace"))[:_ERROR_LENGTH]


def _failure(exc: Exception, deadline: float) -> tuple[str, str]:
    match exc:
        case TooLarge():
            return "too_large", "the answer is larger than 64 KiB"
        case TimeoutError():
            return "timeout", f"the attempt was not over within {deadline:g} s"
        case Blocked():
            return "blocked", str(exc)
        case InvalidInput():
            return "blocked", f"the URL {exc.errors[0].message}"
        case Unresolved():
            return "dns", f"the host does not resolve: {exc}"
        case NotConnected():
            return "refused", f"the connection failed: {_reason(exc.__cause__)}"
        case NotSecured():
            return "tls", _handshake_failure(exc.__cause__)
        case ssl.SSLError():
            return "tls", f"the TLS connection broke: {exc.strerror or exc}"
        case Closed():
            return "protocol", "the connection was closed before the answer was complete"
        case Malformed():
            return "protocol", "the answer is not valid HTTP"
        case BadHeader():
            return "protocol", str(exc)
        case _:
            return "protocol", f"the request failed ({type(exc).__name__})"


def _reason(error: BaseException | None) -> str:
    """Return the system's words; asyncio replaces them by its own, which name only the address."""
    errno = getattr(error, "errno", None)
    return os.strerror(errno) if errno else str(error)


def _handshake_failure(error: BaseException | None) -> str:
    """Return what OpenSSL says, without its place in the source."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"the TLS handshake failed: {error.strerror or error}"
        case _:
            return "the connection was closed during the TLS handshake"


def retry_after_seconds(status: int, value: str | None, now: datetime) -> int | None:
    """Return the pause that a 429 or 503 asks for, in seconds from 0 to 86,400, or None.

    ``value`` is the header in either form of RFC 9110 section 10.2.3: seconds, or an HTTP date,
    which is compared with ``now`` (aware). What is neither counts as absent.
    """
    if status not in (429, 503) or value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        # Cut before int(), which refuses some thousands of digits.
        return min(int(value.lstrip("0")[:6] or "0"), RETRY_AFTER_LIMIT)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    # A date with the zone "-0000" comes back naive; HTTP dates are always GMT.
    pause = (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    return max(0, min(round(pause.total_seconds()), RETRY_AFTER_LIMIT))


def clean_text(data: bytes) -> str:
    """Decode as UTF-8 with replacements, and replace NUL, which PostgreSQL does not store."""
    return data.decode("utf-8", "replace").replace("\x00", "\ufffd")


def kept_headers(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return header fields by lower-case name, cleaned, those of one name joined by ", ".

    That joining keeps the meaning says RFC 9110 section 5.3, of all but ``set-cookie``. Fields
    that would make it more than HEADERS_LIMIT are left out.
    """
    kept: dict[str, str] = {}
    room = HEADERS_LIMIT
    for raw_name, raw_value in fields:
        name, value = clean_text(raw_name).lower(), clean_text(raw_value)
        known = kept.get(name)
        cost = len(value.encode()) + (len(name.encode()) if known is None else 2)
        if cost <= room:
            room -= cost
            kept[name] = value if known is None else f"{known}, {value}"
    return kept
