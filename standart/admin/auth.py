"""Login, logout and the language switch.

A login is a row in the database (``session_service``); the cookie holds a random token and
nothing else, so that a logout, a new password or a lost role ends it at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from flask import Flask, Request, abort, redirect, request, session, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import language, messages, preferences, theme
from standart.admin.assets import AssetBlueprint
from standart.admin.base import origin
from standart.admin.errors import render_error
from standart.admin.forms import LoginForm
from standart.admin.language import gettext
from standart.admin.pages import render_page, visitor
from standart.admin.profile_forms import CodeForm
from standart.admin.security import ROOT, cookie_name
from standart.admin.way_in import safe_next
from standart.errors import DomainError, TooManyRequests, Unauthenticated
from standart.extensions import in_transaction, keyring, login, on_connection, settings
from standart.models import PanelPreference, Theme
from standart.services import (
    access,
    audit_service,
    login_service,
    preference_service,
    second_factor_service,
    session_service,
    user_service,
)
from standart.services.session_service import Visitor

SESSION_COOKIE: Final = "standart_session"
PENDING_COOKIE: Final = "standart_pending"

# What pages fetch by themselves shows nobody's presence; the chart is drawn anew with the rest.
_FETCHED: Final = frozenset({f"{ROOT}/live", f"{ROOT}/chart"})

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
            touch=not _by_itself(incoming),
        )
    )
    return None if found is None else PanelUser(found)


def _by_itself(incoming: Request) -> bool:
    """Whether a page may have asked that nobody looks at: one that renews itself, or its parts.

    Without script the dashboard is loaded anew as a whole, as often as its address says.
    """
    if incoming.path in _FETCHED:
        return True
    return incoming.path == f"{ROOT}/" and incoming.args.get("refresh", "0") != "0"


def init_app(app: Flask) -> None:
    """Register the login with ``app``.

    ``login.init_app`` would also hook Flask-Login's remember-me cookie, which is not used
    here, into every answer of the API; so what else it does is done by hand.
    """
    app.login_manager = login  # type: ignore[attr-defined]  # where Flask-Login looks
    login.session_protection = None
    login.request_loader(load_user)
    app.config["REMEMBER_COOKIE_NAME"] = "standart_unused"
    app.register_blueprint(panel)


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
    if isinstance(outcome, Opened):
        return _let_in(outcome, target)
    response = redirect(url_for("panel.code", next=target), 303)
    _put_token(response, PENDING_COOKIE, outcome)
    return response


@dataclass(frozen=True)
class Opened:
    """A new login: its token, and how its owner wants the panel to look."""

    token: str
    chosen: PanelPreference


def _open(work: Session, name: str | None, password: str | None) -> Opened | str | DomainError:
    """Return a new login, the token under which a code is awaited, or why there is neither.

    Errors are returned, so that the failure stays counted.
    """
    address = request.remote_addr or ""
    try:
        user = login_service.log_in(work, name=name or "", password=password or "", ip=address)
    except (Unauthenticated, TooManyRequests) as error:
        return error
    if second_factor_service.is_enrolled(work, user.id):
        return login_service.ask_for_code(work, user)
    token = session_service.open_session(
        work, user, ip=address or None, user_agent=request.headers.get("User-Agent")
    )
    return _opened(work, user.id, token)


def _opened(work: Session, user_id: UUID, token: str) -> Opened:
    who = user_service.get_user(work, user_id)
    by = access.operator(who.id, who.name, who.role, origin())
    audit_service.record(work, by, "session.opened", "user", user_id)
    former = request.cookies.get(cookie_name(SESSION_COOKIE))
    if former:
        session_service.close_session(work, former)
    chosen = preference_service.get(work, user_id)
    if chosen in work:
        work.expunge(chosen)
    return Opened(token, chosen)


def _let_in(opened: Opened, target: str) -> AnyResponse:
    response = redirect(target, 303)
    _put_token(response, SESSION_COOKIE, opened.token)
    preferences.remember(response, opened.chosen)
    # Whoever sat here before may have wanted it otherwise.
    wanted = opened.chosen.refresh_seconds or 0
    preferences.put(response, preferences.REFRESH_COOKIE, str(wanted))
    return response


@panel.route("/login/code", methods=["GET", "POST"], endpoint="code")
def code_page() -> str | AnyResponse:
    """Ask for the second factor of whoever has just shown the password."""
    target = safe_next(request.values.get("next"))
    token = request.cookies.get(cookie_name(PENDING_COOKIE), "")
    waits = in_transaction(lambda work: login_service.waits_for_code(work, token))
    if not waits:
        return redirect(url_for("panel.login", next=target), 303)
    form = CodeForm()
    if request.method == "GET":
        return render_page("login_code.html", form=form, target=target, error=None)
    outcome = in_transaction(lambda work: _enter(work, token, form.code.data or ""))
    if isinstance(outcome, DomainError):
        return _code_refused(form, target, outcome)
    session.clear()
    response = _let_in(outcome, target)
    _drop_token(response, PENDING_COOKIE)
    return response


def _enter(work: Session, token: str, code: str) -> Opened | DomainError:
    try:
        opened = login_service.enter_code(
            work,
            keyring(),
            token,
            code,
            ip=request.remote_addr or "",
            user_agent=request.headers.get("User-Agent"),
        )
    except (Unauthenticated, TooManyRequests) as error:
        return error
    user_id = session_service.owner_of(work, opened)
    return _opened(work, user_id, opened)


def _code_refused(form: CodeForm, target: str, error: DomainError) -> AnyResponse:
    throttled = isinstance(error, TooManyRequests)
    said = messages.describe(error) if throttled else gettext("This code is not right.")
    form.code.data = ""
    body = render_page("login_code.html", form=form, target=target, error=said)
    response = AnyResponse(body, status=error.status, mimetype="text/html")
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _put_token(response: AnyResponse, name: str, token: str) -> None:
    """Keep a token in this browser until it is closed; no script reads it."""
    response.set_cookie(
        cookie_name(name),
        token,
        path="/",
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )


def _drop_token(response: AnyResponse, name: str) -> None:
    response.delete_cookie(
        cookie_name(name), path="/", secure=request.is_secure, httponly=True, samesite="Lax"
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
    _drop_token(response, SESSION_COOKIE)
    return response


@panel.post("/language")
def switch_language() -> AnyResponse:
    """Keep the chosen language in this browser for a year, and for who is logged in."""
    chosen = request.form.get("language", "")
    if chosen not in language.LANGUAGES:
        abort(400)
    return _keep(language.LANGUAGE_COOKIE, chosen, locale=chosen)


@panel.post("/theme")
def switch_theme() -> AnyResponse:
    """Keep the chosen theme in this browser for a year, and for who is logged in."""
    chosen = request.form.get("theme", "")
    if chosen not in theme.THEMES:
        abort(400)
    kept = None if chosen == "system" else Theme(chosen)
    return _keep(theme.THEME_COOKIE, chosen, theme=kept)


@panel.post("/refresh")
def switch_refresh() -> AnyResponse:
    """Keep how often the dashboard renews itself, for who is logged in."""
    chosen = request.form.get("refresh", "")
    if chosen not in map(str, preferences.REFRESH_SECONDS):
        abort(400)
    return _keep(preferences.REFRESH_COOKIE, chosen, refresh_seconds=int(chosen))


def _keep(cookie: str, value: str, **chosen: str | int | Theme | None) -> AnyResponse:
    """Return the way back to the page that asked, with a choice kept in a cookie."""
    somebody = visitor()
    if somebody is not None:
        in_transaction(lambda work: preference_service.save(work, somebody.user_id, **chosen))
    target = request.form.get("next", "")
    response = redirect(target if _is_login(target) else safe_next(target), 303)
    preferences.put(response, cookie, value)
    return response


def _is_login(target: str) -> bool:
    return re.fullmatch(r"/login(/code)?(\?next=[!-\[\]-~]*)?", target, re.ASCII) is not None
