"""Профиль: one's own password, logins, API keys and the look of the panel."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import flash, redirect, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import key_pages, messages, preferences, proof
from standart.admin.base import Page, actor, attempt, page
from standart.admin.forms import ActForm, KeyForm
from standart.admin.language import gettext
from standart.admin.pages import visitor
from standart.admin.profile_factor import ProfileFactor
from standart.admin.profile_forms import PasswordForm, PreferenceForm, ProofForm
from standart.admin.way_in import safe_next
from standart.clock import now
from standart.errors import DomainError, Forbidden, TooManyRequests, Unauthenticated
from standart.extensions import in_transaction, settings
from standart.models import PanelPreference, Theme
from standart.services import (
    key_service,
    login_service,
    preference_service,
    second_factor_service,
    session_service,
    user_service,
)
from standart.services.session_service import Visitor


def myself() -> Visitor:
    """Return who is logged in.

    Raises:
        Forbidden: nobody; a page is never reached like that.
    """
    somebody = visitor()
    if somebody is None:
        raise Forbidden
    return somebody


class Profile(ProfileFactor):
    """What everybody manages for themselves."""

    @page("/")
    def index(self) -> Page:
        """Show all that is one's own."""
        return self._show(PasswordForm())

    def _show(self, form: PasswordForm) -> str:
        me, configured = myself(), settings()

        def read(session: Session) -> dict[str, Any]:
            shown = {
                "user": user_service.get_user(session, me.user_id),
                "keys": key_service.list_keys(session, me.user_id),
                "codes_left": second_factor_service.count_codes(session, me.user_id),
                "sessions": session_service.list_sessions(
                    session,
                    me.user_id,
                    idle_seconds=configured.session_idle_seconds,
                    lifetime_seconds=configured.session_lifetime_seconds,
                ),
                "chosen": preference_service.get(session, me.user_id),
            }
            session.expunge_all()
            return shown

        shown = in_transaction(read)
        key_form = KeyForm()
        key_form.offer(me.role)
        return self.render(
            "profile.html",
            form=form,
            key_form=key_form,
            preference_form=_preference_form(shown.pop("chosen")),
            at=now(),
            **shown,
        )

    @page("/prove", methods=["GET", "POST"])
    def prove(self) -> Page:
        """Ask for password and code, and go on to where they were asked for."""
        me, form = myself(), ProofForm()
        target = safe_next(request.args.get("next"))
        if not form.is_submitted():
            return redirect(target, 303) if me.proven else proof.page(form, me)
        refusal = proof.check(form, me)
        return redirect(target, 303) if refusal is None else proof.page(form, me, refusal)

    @page("/password", methods=["POST"])
    def change_password(self) -> Page:
        """Replace one's own password; one's other logins end."""
        me, form = myself(), PasswordForm()
        if not form.validate():
            return self._show(form), HTTPStatus.UNPROCESSABLE_ENTITY.value

        def work(session: Session) -> DomainError | None:
            try:
                user = login_service.check_password(
                    session,
                    me.user_id,
                    password=form.current.data or "",
                    ip=request.remote_addr or "",
                )
            except (Unauthenticated, TooManyRequests) as error:
                return error
            user_service.update_user(
                session, actor(), user, password=form.password.data or "", keep=me.token
            )
            return None

        try:
            refusal = in_transaction(work)
        except DomainError as error:
            form.take(error)
            return self._show(form), error.status
        if refusal is not None:
            form.current.errors = [
                messages.describe(refusal)
                if isinstance(refusal, TooManyRequests)
                else gettext("This is not your present password.")
            ]
            return self._show(form), HTTPStatus.UNPROCESSABLE_ENTITY.value
        flash(gettext("Your password is changed; your other logins have ended."), "success")
        return redirect(url_for(".index"), 303)

    @page("/sessions/<uuid:session_id>/end", methods=["POST"])
    def end_session(self, session_id: UUID) -> Page:
        """End one of one's logins, wherever it is."""
        me = myself()

        def work() -> str:
            in_transaction(
                lambda session: session_service.end_one(session, actor(), me.user_id, session_id)
            )
            return gettext("The login has ended.")

        return attempt(work, url_for(".index"))

    @page("/sessions/end", methods=["POST"])
    def end_others(self) -> Page:
        """End all of one's logins but this one."""
        me = myself()

        def work() -> str:
            in_transaction(
                lambda session: session_service.end_others(
                    session, actor(), me.user_id, keep=me.token
                )
            )
            return gettext("All your other logins have ended.")

        return attempt(work, url_for(".index"))

    @page("/keys", methods=["POST"])
    def create_key(self) -> Page:
        """Make a key for oneself; its text is in this answer and nowhere else."""
        me = myself()
        return key_pages.create(self, me.user_id, url_for(".index"), gettext("To your profile"))

    @page("/keys/<uuid:key_id>/ask")
    def ask_revoke(self, key_id: UUID) -> Page:
        """Ask before a key of one's own stops to open anything."""
        prefix = key_pages.prefix_of(myself().user_id, key_id)
        return self.render(
            "ask.html",
            heading=gettext("Revoke the key %(prefix)s…?", prefix=prefix),
            text=gettext("Whoever uses it gets 401 from now on. This cannot be undone."),
            button=gettext("Revoke"),
            action=url_for(".revoke_key", key_id=key_id),
            back=url_for(".index"),
            form=ActForm(),
        )

    @page("/keys/<uuid:key_id>/revoke", methods=["POST"])
    def revoke_key(self, key_id: UUID) -> Page:
        """Revoke a key of one's own; it counts with the next request."""
        return key_pages.revoke(myself().user_id, key_id, url_for(".index"))

    @page("/preferences", methods=["POST"])
    def save_preferences(self) -> Page:
        """Keep language, time zone and colours, for every device."""
        me, form = myself(), PreferenceForm()
        form.offer()
        if not form.validate():
            flash(gettext("Nothing was kept: the form does not fit."), "error")
            return redirect(url_for(".index"), 303)
        theme = Theme(form.theme.data) if form.theme.data else None
        chosen = PanelPreference(
            user_id=me.user_id,
            locale=form.locale.data or None,
            timezone=form.timezone.data or None,
            theme=theme,
        )
        in_transaction(
            lambda session: preference_service.save(
                session,
                me.user_id,
                locale=chosen.locale,
                timezone=chosen.timezone,
                theme=chosen.theme,
            )
        )
        flash(gettext("Saved."), "success")
        response: AnyResponse = redirect(url_for(".index"), 303)
        preferences.forget(response)
        preferences.remember(response, chosen)
        return response


def _preference_form(chosen: PanelPreference) -> PreferenceForm:
    form = PreferenceForm(formdata=None)
    form.offer()
    form.locale.data = chosen.locale or ""
    form.timezone.data = chosen.timezone or ""
    form.theme.data = chosen.theme.value if chosen.theme else ""
    return form
