"""Пользователи: list with balances, create, edit, delete or deactivate.

Keys and webhook secrets are in ``user_secrets``, on the same pages.
"""

from __future__ import annotations

import secrets
from typing import Any, Final
from uuid import UUID

from flask import flash, redirect, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import endpoints, listing, matrix, queries
from standart.admin.base import (
    Page,
    actor,
    attempt,
    get_user,
    page,
    query_text,
)
from standart.admin.forms import KeyForm, KnownUserForm, UserForm
from standart.admin.language import gettext
from standart.admin.pages import visitor
from standart.admin.user_secrets import UserSecrets
from standart.clock import now
from standart.errors import DomainError, NotFound, UserChanged
from standart.extensions import in_transaction, keyring, settings
from standart.models import DisabledReason, PanelSession, User
from standart.services import (
    audit_service,
    fee_service,
    key_service,
    ledger_service,
    limit_service,
    second_factor_service,
    session_service,
    user_service,
)
from standart.services.access import Actor

# 20 characters of base 64: 120 bits.
_PASSWORD_BYTES: Final = 15

# Who may end the logins of others sees them.
_ENDS: Final = "users.end_session"


class Users(UserSecrets):
    """The tab of users; a regular user has one page of it, its own."""

    @page("/")
    def index(self) -> Page:
        """List by name, with what is available to each."""
        part = query_text("name", 128)

        def read(session: Session) -> listing.Listing[dict[str, Any]]:
            users = queries.users_page(
                session,
                part=part,
                after=query_text("after", 128),
                limit=listing.page_size() + 1,
            )
            rows = [{"user": user, "balances": queries.balances_of(user)} for user in users]
            marks = [user.name for user in users]
            session.expunge_all()
            return listing.listing(rows, marks, listing.chips({"name": (gettext("Name"), part)}))

        return self.render("users.html", listing=in_transaction(read), asked={"name": part})

    @page("/new", methods=["GET", "POST"])
    def new(self) -> Page:
        """Add a user; what is shown after that is shown this once."""
        form = UserForm()
        form.offer(settings().timezone.key)
        if not form.is_submitted():
            form.currency.data = settings().default_currency
            return self.render("user_form.html", form=form, user=None)
        if not form.validate():
            return self.render("user_form.html", form=form, user=None), 422
        generated = None if form.password.data else secrets.token_urlsafe(_PASSWORD_BYTES)
        password = form.password.data or generated

        def work(session: Session) -> tuple[UUID, str, str]:
            user, secret = user_service.create_user(
                session,
                actor(),
                keyring(),
                password=password,
                **form.values(),
            )
            return user.id, user.name, secret

        try:
            user_id, name, secret = in_transaction(work)
        except DomainError as error:
            form.take(error)
            return self.render("user_form.html", form=form, user=None), error.status
        return self.render(
            "user_created.html", user_id=user_id, name=name, secret=secret, password=generated
        ), 201

    @page("/<uuid:user_id>")
    def detail(self, user_id: UUID) -> Page:
        """Show one user with balances, fees, limits and keys."""
        viewer = actor()

        def read(session: Session) -> dict[str, Any]:
            user = get_user(session, user_id)
            shown = {
                "user": user,
                "holdings": _holdings(session, viewer, user_id),
                "schedules": [
                    (found.state.value, fee_service.describe(found.schedule))
                    for found in fee_service.list_schedules(session, user_id)
                ],
                "limits": [
                    limit_service.describe(limit)
                    for limit in limit_service.list_limits(session, user_id)
                ],
                "keys": key_service.list_keys(session, user_id),
                "endpoints": endpoints.of_user(session, user_id),
                "sessions": _sessions(session, user_id) if matrix.may(viewer.role, _ENDS) else [],
                "second_factor": second_factor_service.is_enrolled(session, user_id),
                "audit": audit_service.history(session, "user", user_id) if viewer.sees_all else [],
            }
            session.expunge_all()
            return shown

        shown = in_transaction(read)
        form = KeyForm()
        form.offer(shown["user"].role)
        return self.render("user.html", form=form, at=now(), **shown)

    @page("/<uuid:user_id>/edit", methods=["GET", "POST"])
    def edit(self, user_id: UUID) -> Page:
        """Change a user; a blank password stays as it is."""
        form, shown = KnownUserForm(), _fetch(user_id)
        form.offer(shown.timezone)
        if not form.is_submitted():
            form.show(shown)
            return self.render("user_form.html", form=form, user=shown)
        if not form.validate():
            return self.render("user_form.html", form=form, user=shown), 422

        def work(session: Session) -> None:
            user = get_user(session, user_id)
            changed = {
                field: value
                for field, value in form.values().items()
                if value != getattr(user, field)
            }
            if form.password.data:
                changed["password"] = form.password.data
            if user.endpoint.disabled_reason not in (None, DisabledReason.OWNER):
                # To save a URL, the same one too, is to say that its receiver is back.
                changed.setdefault("webhook_url", user.webhook_url)
            if changed:
                seen = form.seen.data or None
                user_service.update_user(
                    session, actor(), user, keep=_own_login(user), seen=seen, **changed
                )

        try:
            in_transaction(work)
        except NotFound:
            raise
        except UserChanged as error:
            user, form = _fetch(user_id), KnownUserForm(formdata=None)
            form.offer(user.timezone)
            form.show(user)
            form.take(error)
            return self.render("user_form.html", form=form, user=user), error.status
        except DomainError as error:
            form.take(error)
            user = _fetch(user_id)
            return self.render("user_form.html", form=form, user=user), error.status
        flash(gettext("Saved."), "success")
        return redirect(url_for(".detail", user_id=user_id), 303)

    @page("/<uuid:user_id>/ask/<any(delete, deactivate, activate):act>")
    def ask(self, user_id: UUID, act: str) -> Page:
        """Ask before a user goes; one with transactions can only be deactivated."""
        user = _fetch(user_id)
        history = in_transaction(lambda session: queries.has_transactions(session, user_id))
        if act == "delete" and history:
            return redirect(url_for(".ask", user_id=user_id, act="deactivate"), 303)
        return self.render("user_ask.html", user=user, act=act, history=history)

    @page("/<uuid:user_id>/delete", methods=["POST"])
    def delete(self, user_id: UUID) -> Page:
        """Delete a user that never had a transaction."""

        def work() -> str:
            in_transaction(
                lambda session: user_service.delete_user(
                    session, actor(), get_user(session, user_id)
                )
            )
            return gettext("The user is deleted.")

        return attempt(work, url_for(".index"))

    @page("/<uuid:user_id>/deactivate", methods=["POST"])
    def deactivate(self, user_id: UUID) -> Page:
        """End a user's keys and logins; what is pending can still be settled."""
        return _set_active(user_id, active=False, said=gettext("The user is deactivated."))

    @page("/<uuid:user_id>/activate", methods=["POST"])
    def activate(self, user_id: UUID) -> Page:
        """Let a deactivated user in again."""
        return _set_active(user_id, active=True, said=gettext("The user is active again."))


def _own_login(user: User) -> str | None:
    """Return the token of this login where somebody changes its own user."""
    somebody = visitor()
    mine = somebody is not None and somebody.user_id == user.id
    return somebody.token if somebody is not None and mine else None


def _sessions(session: Session, user_id: UUID) -> list[PanelSession]:
    configured = settings()
    return session_service.list_sessions(
        session,
        user_id,
        idle_seconds=configured.session_idle_seconds,
        lifetime_seconds=configured.session_lifetime_seconds,
    )


def _holdings(session: Session, viewer: Actor, user_id: UUID) -> list[queries.Holding]:
    held = ledger_service.holdings(
        session.connection(), viewer, user_id=user_id if viewer.sees_all else None
    )
    return [queries.as_holding(each) for each in held]


def _fetch(user_id: UUID) -> User:
    def read(session: Session) -> User:
        user = get_user(session, user_id)
        session.expunge(user)
        return user

    return in_transaction(read)


def _set_active(user_id: UUID, *, active: bool, said: str) -> AnyResponse:
    def work() -> str:
        in_transaction(
            lambda session: user_service.update_user(
                session, actor(), get_user(session, user_id), active=active
            )
        )
        return said

    return attempt(work, url_for(".detail", user_id=user_id))
