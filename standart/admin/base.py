"""What all views of the panel stand on: deny by default, own rows only, no writes of its own.

Flask-Admin gives the menu, the URLs and the dispatch. None of its model views is used, so
nothing of it creates, edits, deletes or commits; a view calls a service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from uuid import UUID

from flask import Blueprint, flash, redirect, request, url_for
from flask_admin import Admin, BaseView, expose
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import matrix, messages, proof, way_in
from standart.admin.errors import render_error
from standart.admin.pages import render_page, visitor
from standart.clock import new_id
from standart.errors import DomainError, Forbidden, NotFound
from standart.extensions import settings
from standart.models import Role, Scope, User
from standart.services import access, user_service
from standart.services.access import Actor, Origin
from standart.services.session_service import Visitor

# Where the whole app keeps the id that its answer carries as X-Request-Id.
_REQUEST_ID_SLOT: Final = "standart.request_id"

Page = str | AnyResponse | tuple[str, int]
View = TypeVar("View", bound=Callable[..., Page])


def origin() -> Origin:
    """Return where this request comes from, for the audit log."""
    request_id = request.environ.setdefault(_REQUEST_ID_SLOT, str(new_id()))
    return Origin("panel", request_id, request.remote_addr)


def actor() -> Actor:
    """Return who acts on this request.

    Raises:
        Forbidden: nobody is logged in; a view is never reached like that.
    """
    somebody = visitor()
    if somebody is None:
        raise Forbidden
    return access.operator(
        somebody.user_id, somebody.name, somebody.role, origin(), somebody.made_by
    )


def keeper() -> Actor:
    """Return who acts, with the right to manage endpoints and to send events anew.

    A merchant has it for what is its own: that changes no money, and its keys may do the same.
    """
    somebody = actor()
    if somebody.role is not Role.REGULAR:
        return somebody
    return replace(somebody, scopes=somebody.scopes | {Scope.WRITE})


def page(url: str, *, methods: Sequence[str] = ("GET",)) -> Callable[[View], View]:
    """Expose a method of a view at ``url``, to those whom ``matrix`` names for it."""
    exposed: Callable[[View], View] = expose(url, methods)
    return exposed


class PanelView(BaseView):  # type: ignore[misc]  # Flask-Admin has no types
    """A tab of the panel."""

    def create_blueprint(self, admin: Admin) -> Blueprint:
        """Answer errors of this tab with pages, whatever the rest of the app does."""
        blueprint: Blueprint = super().create_blueprint(admin)
        blueprint.register_error_handler(Exception, render_error)
        return blueprint

    def is_accessible(self) -> bool:
        """Show the tab to those who may open its first page."""
        somebody = visitor()
        return somebody is not None and matrix.may(
            somebody.role, f"{self.endpoint}.{self._default_view}"
        )

    def _handle_view(self, name: str, **kwargs: Any) -> AnyResponse | None:
        """Send strangers to the login and refuse roles that the matrix does not name."""
        somebody = visitor()
        if somebody is None:
            return way_in.to_login()
        rule = matrix.rule_of(request.endpoint)
        if somebody.role not in rule.roles:
            raise Forbidden
        if _must_enrol(somebody) and request.endpoint not in matrix.ENROLMENT:
            return redirect(url_for("profile.second_factor"), 303)
        return proof.demand() if rule.proof else None

    def _run_view(self, fn: Callable[..., Page], *args: Any, **kwargs: Any) -> Page:
        """Run the method once; Flask-Admin's own would run it again after a TypeError."""
        return fn(self, *args, **kwargs)

    def render(self, template: str, **context: Any) -> str:
        """Render a page of this tab with what every page needs."""
        return render_page(template, admin_view=self, **context)


def _must_enrol(somebody: Visitor) -> bool:
    """Whether the settings ask for a second factor that this person has not yet."""
    asked = settings().require_totp
    return not somebody.second_factor and (
        asked == "all" or (asked == "staff" and somebody.sees_all)
    )


def get_user(session: Session, user_id: UUID) -> User:
    """Return a user that the viewer may see.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
    """
    actor().require_owner(user_id)
    return user_service.get_user(session, user_id)


def attempt(work: Callable[[], str], back: str) -> AnyResponse:
    """Do something, tell how it went on the page at ``back``.

    Raises:
        NotFound: there is no page to go back to.
    """
    try:
        said, kind = work(), "success"
    except NotFound:
        raise
    except DomainError as error:
        said, kind = messages.describe(error), "error"
    flash(said, kind)
    return redirect(back, 303)


def query_text(name: str, longest: int = 200) -> str:
    """Return a parameter of the URL without what no column can hold."""
    return request.args.get(name, "").replace("\0", "").strip()[:longest]
