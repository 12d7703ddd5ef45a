"""How a page is put together: who looks at it, in which language, under which nonce."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from flask import current_app, render_template, request, url_for
from flask_admin import Admin, BaseView
from flask_login import current_user
from wtforms import Field

from standart.admin import language, matrix, messages, security, theme
from standart.admin.menu import items_of
from standart.services.session_service import Visitor

# How long ago something was, as ``moment`` writes it.
_AGE: Final = re.compile(r'<span class="ago">[^<]*</span>')


def visitor() -> Visitor | None:
    """Return who is logged in on this request."""
    return current_user.visitor if current_user.is_authenticated else None


def render_page(
    template: str,
    *,
    admin_view: BaseView | None = None,
    anonymous: bool = False,
    **context: Any,
) -> str:
    """Render ``panel/<template>`` with menu, language, visitor and nonce.

    An ``anonymous`` page asks nobody who is looking: that takes the database, which may be
    what the page has to tell about.
    """
    panel: Admin = current_app.extensions["admin"][0]
    somebody = None if anonymous else visitor()
    return render_template(
        f"panel/{template}",
        admin_view=admin_view,
        menu=[] if anonymous else items_of(panel, admin_view),
        visitor=somebody,
        may=_may,
        lang=language.language(),
        languages=language.LANGUAGES,
        account_url=_account_url(somebody),
        search_url=_url_if_known("search.index"),
        theme=theme.theme(),
        themes=theme.THEMES,
        zone=language.viewer_zone()[0],
        nonce=security.nonce(),
        here=request.full_path.rstrip("?") if request.method == "GET" else security.ROOT + "/",
        messages=messages,
        attributes=_attributes,
        **context,
    )


def _may(endpoint: str) -> bool:
    """Whether who is looking reaches a page: nobody is shown a way that is closed."""
    somebody = visitor()
    return somebody is not None and matrix.may(somebody.role, endpoint)


def fingerprint(html: str) -> str:
    """Return an ETag's value for a page: what only the clock changes in it does not count."""
    return hashlib.sha256(_AGE.sub("", html).encode()).hexdigest()[:32]


def _url_if_known(endpoint: str) -> str | None:
    return url_for(endpoint) if endpoint in current_app.view_functions else None


def _account_url(somebody: Visitor | None) -> str | None:
    if somebody is None:
        return None
    return _url_if_known("profile.index") or url_for("users.detail", user_id=somebody.user_id)


def _attributes(field: Field, given: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a form field: those given, its hint and what is wrong with it."""
    described = [f"{field.id}-hint"] if field.description else []
    attributes = dict(given)
    if field.errors:
        described.append(f"{field.id}-error")
        attributes["aria-invalid"] = "true"
    if described:
        attributes["aria-describedby"] = " ".join(described)
    return attributes
