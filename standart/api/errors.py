"""Errors as RFC 9457 problem documents, on every path that is not the panel's.

What is not a domain error is translated into one here; the words of libraries, SQL and
tracebacks go to the log and never into an answer.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
from flask import Flask, current_app, request
from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.wrappers import Response

from standart.api.responses import ready, request_id
from standart.db import is_transient, sqlstate
from standart.errors import (
    DomainError,
    Malformed,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)

log = logging.getLogger(__name__)

MIMETYPE: Final = "application/problem+json"

# The panel puts its own renderer here: Exception → page, or None where the path is not its.
PANEL_ERRORS: Final = "standart.panel_errors"

_FIRST_ERROR: Final = 400
_FIRST_FAULT: Final = 500
_UNAUTHENTICATED: Final = 401


class InternalError(DomainError):
    """Something went wrong here; it has been written to the log."""

    code, status, title = "internal_error", 500, "Internal error"


class UnknownAddress(NotFound):
    """There is nothing at this address."""


class UntrustedHost(Malformed):
    """The Host header names a host that this service does not answer for."""


_BY_STATUS: Final[dict[int, type[DomainError]]] = {
    400: Malformed,
    404: UnknownAddress,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    429: TooManyRequests,
    503: Unavailable,
}


def handle(error: Exception) -> Response:
    """Return the answer to whatever a request raised."""
    if isinstance(error, HTTPException) and (error.code or 0) < _FIRST_ERROR:
        return error.get_response()
    render = current_app.extensions.get(PANEL_ERRORS)
    page: Response | None = render(error) if render else None
    return problem(_translated(error), _extra_headers(error)) if page is None else page


def problem(error: DomainError, headers: list[tuple[str, str]] | None = None) -> Response:
    """Return the problem document of ``error``."""
    document: dict[str, Any] = {
        "type": f"urn:standart:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id(),
        **error.members,
    }
    errors = getattr(error, "errors", ())
    if errors:
        document["errors"] = errors
    headers = headers or []
    if error.status == _UNAUTHENTICATED:
        headers.append(("WWW-Authenticate", 'Bearer realm="standart"'))
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    return ready(msgspec.json.encode(document), error.status, mimetype=MIMETYPE, headers=headers)


def _translated(error: Exception) -> DomainError:
    """Return what may be said about ``error``; log what may not."""
    if isinstance(error, DomainError):
        if error.status < _FIRST_FAULT:
            return error
        if isinstance(error, Unavailable):
            return Unavailable(error.detail, retry_after=error.retry_after or 1)
    elif isinstance(error, SecurityError):
        return UntrustedHost()
    elif isinstance(error, HTTPException) and error.code in _BY_STATUS:
        return _BY_STATUS[error.code]()
    elif is_transient(error):
        log.warning(
            "the database did not answer: %s %s",
            type(error).__name__,
            sqlstate(error),
            extra={"request_id": request_id()},
        )
        return Unavailable(retry_after=1)
    log.error(
        "%s %s failed",
        request.method,
        request.url_rule,
        exc_info=error,
        extra={"request_id": request_id()},
    )
    return InternalError()


def _extra_headers(error: Exception) -> list[tuple[str, str]]:
    """Return the methods that an address does know, for 405."""
    if not isinstance(error, HTTPException):
        return []
    return [(name, value) for name, value in error.get_headers() if name == "Allow"]


def init_app(app: Flask) -> None:
    """Let ``handle`` answer every error of ``app``."""
    app.register_error_handler(Exception, handle)
