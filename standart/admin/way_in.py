"""Where somebody is led whose login is not there any more, or whose form is out of date."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from flask import current_app, flash, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from standart.admin.language import gettext
from standart.admin.security import ROOT

# Where a login may lead: a path of the panel, printable ASCII, no backslash (browsers read
# it as a slash).
_SAFE_NEXT: Final = re.compile(rf"{ROOT}/[!-\[\]-~]*", re.ASCII)


def safe_next(target: str | None) -> str:
    """Return ``target`` when it is a path of the panel, else the dashboard."""
    return target if target and _SAFE_NEXT.fullmatch(target) else f"{ROOT}/"


def page_to_return_to() -> str | None:
    """Return the page of the panel that this request is or came from, ``None`` for none.

    A form's own address would be asked for without what the form holds, so it is the page that
    the form was on. That may itself have answered a form and have no address to be asked for.
    """
    if request.method == "GET":
        return request.full_path.rstrip("?")
    came = urlsplit(request.referrer or "")
    if came.netloc != request.host or not _SAFE_NEXT.fullmatch(came.path):
        return None
    adapter = current_app.create_url_adapter(request)
    if adapter is None or not adapter.test(came.path, method="GET"):
        return None
    return came._replace(scheme="", netloc="", fragment="").geturl()


def to_login() -> AnyResponse:
    """Lead to the login, and from there back; whose form got lost is told so."""
    if request.method == "POST":
        flash(
            gettext("Your login has ended and nothing was changed. Log in and do it again."),
            "error",
        )
    return redirect(url_for("panel.login", next=page_to_return_to()), 303)
