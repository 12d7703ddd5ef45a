"""Error pages of the panel: a sentence and a way on, never a class name, SQL or a traceback."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from flask import request, url_for
from flask_babel import lazy_gettext
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import messages
from standart.admin.language import gettext
from standart.admin.pages import render_page, visitor
from standart.admin.security import owns
from standart.admin.way_in import page_to_return_to, safe_next
from standart.db import is_transient
from standart.errors import DomainError, Unavailable

log = logging.getLogger(__name__)

_TITLES: Final = {
    400: lazy_gettext("The request cannot be read"),
    401: lazy_gettext("Log in again"),
    403: lazy_gettext("Not allowed"),
    404: lazy_gettext("Not found"),
    405: lazy_gettext("Not like this"),
    413: lazy_gettext("Too much at once"),
    503: lazy_gettext("Not available"),
}
_SENTENCES: Final = {
    400: lazy_gettext("Go back, load the page anew and try again."),
    403: lazy_gettext("This is not allowed for you."),
    404: lazy_gettext("There is no such page or object."),
    405: lazy_gettext("This address only takes what a form of the panel sends to it."),
    413: lazy_gettext("This is more than the service takes at once."),
    503: lazy_gettext("The service cannot answer right now; try again."),
}


def html_error(error: Exception) -> AnyResponse | None:
    """Return the page for an error on a path of the panel, ``None`` on any other path.

    Under a host name that the service does not answer for no path is the panel's.
    """
    if isinstance(error, SecurityError) or not owns(request.path):
        return None
    return render_error(error)


def render_error(error: Exception) -> AnyResponse:
    """Return the error page for what was raised; the unexpected is logged."""
    if isinstance(error, DomainError):
        return _page(error.status, messages.describe(error), error.retry_after)
    if isinstance(error, CSRFError):
        return _outdated_form()
    if isinstance(error, HTTPException):
        return _http_page(error)
    if is_transient(error):
        return render_error(Unavailable(retry_after=1))
    log.error("a page of the panel failed", exc_info=error)
    return _page(500, None)


def _outdated_form() -> AnyResponse:
    """Return the page for a form without its token: somebody else logged in since, or nobody is."""
    back = page_to_return_to()
    if visitor() is None:
        way = (url_for("panel.login", next=back), gettext("Log in"))
    else:
        target = request.form.get("next") if back is None else back
        way = (safe_next(target), gettext("Load the page anew"))
    sentence = gettext(
        "It was made before the last login, or was not sent from here. Nothing was changed."
    )
    return _page(400, sentence, heading=gettext("This form is out of date"), way=way)


def _http_page(error: HTTPException) -> AnyResponse:
    status = error.code or 500
    if status < HTTPStatus.BAD_REQUEST:
        return error.get_response()
    response = _page(status, None)
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def _page(
    status: int,
    sentence: str | None,
    retry_after: int | None = None,
    *,
    heading: str | None = None,
    way: tuple[str, str] | None = None,
) -> AnyResponse:
    """Return an error page; ``way`` is where its button leads and what it says."""
    body = render_page(
        "error.html",
        anonymous=status >= HTTPStatus.INTERNAL_SERVER_ERROR,
        status=status,
        heading=heading or _TITLES.get(status, lazy_gettext("Something went wrong")),
        way=way or (url_for("admin.index"), gettext("To the dashboard")),
        sentence=sentence or _SENTENCES.get(status) or gettext("It has been written to the log."),
    )
    response = AnyResponse(body, status=status, mimetype="text/html")
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    return response
