"""Login, logout and the language switch.

A login is a row in the database (``session_service``); the cookie holds a random token and
nothing else, so that a logout, a new password or a lost role ends it at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flask import Flask, Request, abort, redirect, request, session, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import language, messages, theme
from standart.admin.assets import AssetBlueprint
from standart.admin.errors import render_error
from standart.admin.forms import LoginForm
from standart.admin.language import gettext
from standart.admin.pages import render_page, visitor
from standart.admin.security import ROOT, cookie_name
from standart.errors import DomainError, TooManyRequests, Unauthenticated
from standart.extensions import in_transaction, login, on_connection, settings
from standart.services import session_service, user_service
from standart.services.session_service import Visitor

SESSION_COOKIE: Final = "standart_session"

# What a script fetches by itself shows nobody's presence.
RENEWED_BY_SCRIPT: Final = frozenset({f"{ROOT}/live"})

_YEAR_SECONDS: Final = 31_536_000

# Where a login may lead: a path of the panel, printable ASCII, no backslash (browsers read
# it as a slash).
_SAFE_NEXT = re.compile(rf"{ROOT}/[!-\[\]-~]*", re.ASCII)

panel = AssetBlueprint(
    "panel",
    __name__,
    template_folder="templates",
    static_folder="static",
    static_url_path=f"{ROOT}/assets",
)
panel.register_error_handler(Exception, render_error)


@dataclass(frozen=True)
class PanelUser:
    """What Flask-Login wants to know of somebody who is logged in."""

    visitor: Visitor
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False

    def get_id(self) -> str:
        """Return the user's id."""
        return str(self.visitor.user_id)


@login.request_loader  # type: ignore[untyped-decorator]  # Flask-Login has no types
def load_user(incoming: Request) -> PanelUser | None:
    """Return who is behind the token in the cookie, as the database sees the user now."""
    token = incoming.cookies.get(cookie_name(SESSION_COOKIE))
    if not token:
        return None
    configured = settings()
    found = on_connection(
        lambda connection: session_service.resume(
            connection,
            token,
            idle_seconds=configured.session_idle_seconds,
            lifetime_seconds=configured.session_lifetime_seconds,
            touch=incoming.path not in RENEWED_BY_SCRIPT,
        )
    )
    return None if found is None else PanelUser(found)


def init_app(app: Flask) -> None:
    """Register the login with ``app``.

    ``login.init_app`` would also hook Flask-Login's remember-me cookie, which is not used
    here, into every answer of the API; so what else it does is done by hand.
    """
    app.login_manager = login  # type: ignore[attr-defined]  # where Flask-Login looks
    login.session_protection = None
    app.config["REMEMBER_COOKIE_NAME"] = "standart_unused"
    app.register_blueprint(panel)


def safe_next(target: str | None) -> str:
    """Return ``target`` when it is a path of the panel, else the dashboard."""
    if target and _SAFE_NEXT.fullmatch(target):
        return target
    return f"{ROOT}/"


@panel.get("/")
def home() -> AnyResponse:
    """Lead people who type the bare address to the panel."""
    return redirect(f"{ROOT}/", 303)


@panel.route("/login", methods=["GET", "POST"], endpoint="login")
def login_page() -> str | AnyResponse:
    """Show the form, or let somebody in who knows a name and its password."""
    target = safe_next(request.values.get("next"))
    form = LoginForm()
    if request.method == "GET":
        return redirect(target, 303) if visitor() else _login_form(form, target)
    outcome = in_transaction(lambda work: _open(work, form.name.data, form.password.data))
    if isinstance(outcome, DomainError):
        return _refused(form, target, outcome)
    session.clear()
    response = redirect(target, 303)
    response.set_cookie(
        cookie_name(SESSION_COOKIE),
        outcome,
        path="/",
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def _open(work: Session, name: str | None, password: str | None) -> str | DomainError:
    """Return the token of a new login, or why there is none: returned, so the count stays."""
    address = request.remote_addr or ""
    try:
        user = user_service.log_in(work, name=name or "", password=password or "", ip=address)
    except (Unauthenticated, TooManyRequests) as error:
        return error
    former = request.cookies.get(cookie_name(SESSION_COOKIE))
    if former:
        session_service.close_session(work, former)
    return session_service.open_session(
        work, user, ip=address or None, user_agent=request.headers.get("User-Agent")
    )


def _refused(form: LoginForm, target: str, error: DomainError) -> str | AnyResponse:
    if isinstance(error, TooManyRequests):
        said = messages.describe(error)
    else:
        said = gettext("Wrong name or password.")
    response = AnyResponse(
        _login_form(form, target, said), status=error.status, mimetype="text/html"
    )
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _login_form(form: LoginForm, target: str, error: str | None = None) -> str:
    return render_page("login.html", form=form, target=target, error=error)


@panel.post("/logout")
def logout() -> AnyResponse:
    """End the login for good: its token opens nothing any more."""
    name = cookie_name(SESSION_COOKIE)
    token = request.cookies.get(name)
    if token:
        in_transaction(lambda work: session_service.close_session(work, token))
    session.clear()
    response = redirect(url_for("panel.login"), 303)
    response.delete_cookie(name, path="/", secure=request.is_secure, httponly=True, samesite="Lax")
    return response


@panel.post("/language")
def switch_language() -> AnyResponse:
    """Keep the chosen language in this browser for a year."""
    chosen = request.form.get("language", "")
    if chosen not in language.LANGUAGES:
        abort(400)
    return _keep(language.LANGUAGE_COOKIE, chosen)


@panel.post("/theme")
def switch_theme() -> AnyResponse:
    """Keep the chosen theme in this browser for a year."""
    chosen = request.form.get("theme", "")
    if chosen not in theme.THEMES:
        abort(400)
    return _keep(theme.THEME_COOKIE, chosen)


def _keep(cookie: str, value: str) -> AnyResponse:
    """Return the way back to the page that asked, with a choice kept in a cookie."""
    target = request.form.get("next", "")
    response = redirect(target if _is_login(target) else safe_next(target), 303)
    response.set_cookie(
        cookie,
        value,
        max_age=_YEAR_SECONDS,
        path="/",
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def _is_login(target: str) -> bool:
    return re.fullmatch(r"/login(\?next=[!-\[\]-~]*)?", target, re.ASCII) is not None
