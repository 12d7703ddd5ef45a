"""Names for what became of an attempt: from a status, from an error, from ``Retry-After``."""

from __future__ import annotations

import os
import re
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from standart.errors import InvalidInput
from standart.webhooks.connections import Blocked, Meter, Unresolved

RETRY_AFTER_LIMIT = 24 * 60 * 60
"""Seconds: the longest pause that a receiver may ask for."""

_ERROR_LENGTH = 300
_SECONDS = re.compile(r"[0-9]+", re.ASCII)


def outcome_of(status: int) -> str:
    """Return ``delivered`` for any 2xx, else ``http_<status>``."""
    return "delivered" if 200 <= status <= 299 else f"http_{status}"


def failure_of(exc: Exception, meter: Meter, deadline: float) -> tuple[str, str]:
    """Return outcome and explanation of an attempt that ended in ``exc``.

    ``deadline`` is in seconds. The explanation never quotes the URL, which may hold a token.
    """
    outcome, text = _failure(exc, meter, deadline)
    return outcome, clean_text(text.encode("utf-8", "replace"))[:_ERROR_LENGTH]


def _failure(exc: Exception, meter: Meter, deadline: float) -> tuple[str, str]:
    match exc:
        case _ if meter.exceeded:
            return "too_large", "the answer is larger than 64 KiB"
        case TimeoutError():
            return "timeout", f"the attempt was not over within {deadline:g} s"
        case Blocked():
            return "blocked", str(exc)
        case InvalidInput():
            return "blocked", f"the URL {exc.errors[0].message}"
        case Unresolved():
            return "dns", f"the host does not resolve: {exc}"
        case aiohttp.ClientConnectorCertificateError():
            return "tls", f"the certificate is not accepted: {_verdict(exc.certificate_error)}"
        case aiohttp.ClientConnectorError():
            return _connect_failure(exc)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "protocol", "the connection was closed before the answer was complete"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "protocol", "the answer is not valid HTTP"
        case _:
            return "protocol", f"the request failed ({type(exc).__name__})"


def _verdict(error: Exception) -> str:
    """Return what OpenSSL says about the certificate, without its place in the source."""
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)


def _connect_failure(exc: aiohttp.ClientConnectorError) -> tuple[str, str]:
    error = exc.os_error
    if isinstance(exc, aiohttp.ClientSSLError):
        return "tls", f"the TLS handshake failed: {error.strerror or error}"
    if isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError):
        # The TCP connection stood; what broke it off before any request was the TLS handshake.
        return "tls", "the connection was closed during the TLS handshake"
    # asyncio replaces the system's words by its own, which name only the address.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return "refused", f"the connection failed: {reason}"


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
