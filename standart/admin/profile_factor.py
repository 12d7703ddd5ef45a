"""One's own second factor: set up, given up, its recovery codes made anew."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

import segno
from flask import flash, redirect, url_for
from sqlalchemy.orm import Session

from standart.admin.base import Page, PanelView, actor, page
from standart.admin.forms import ActForm
from standart.admin.language import gettext
from standart.admin.pages import visitor
from standart.admin.profile_forms import DrawnForm
from standart.errors import DomainError, Forbidden
from standart.extensions import in_transaction, keyring
from standart.models import User
from standart.services import second_factor_service, user_service
from standart.services.session_service import Visitor


class ProfileFactor(PanelView):
    """The pages about codes."""

    @page("/second-factor")
    def second_factor(self) -> Page:
        """Say how it is set up; what is there already has its place on the profile."""
        if _me().second_factor:
            return redirect(url_for(".index"), 303)
        return self.render("second_factor.html", form=DrawnForm(), secret=None)

    @page("/second-factor/begin", methods=["POST"])
    def begin_factor(self) -> Page:
        """Draw a secret and show it in this answer; it counts once a code of it was shown."""
        me, form = _me(), DrawnForm()
        if me.second_factor:
            return redirect(url_for(".index"), 303)
        form.drawn.data = second_factor_service.draw(keyring(), me.user_id, _login_id(me))
        return self._set_up(form)

    def _set_up(self, form: DrawnForm) -> str:
        me, secret = _me(), _drawn(form)
        if secret is None:
            return self.render("second_factor.html", form=form, secret=None)
        text = second_factor_service.as_text(secret)
        image = segno.make(second_factor_service.as_uri(secret, me.name), micro=False, error="m")
        return self.render(
            "second_factor.html",
            form=form,
            secret=" ".join(text[at : at + 4] for at in range(0, len(text), 4)),
            size=image.symbol_size(border=4)[0],
            path=drawn(image.matrix, 4),
        )

    @page("/second-factor/confirm", methods=["POST"])
    def confirm_factor(self) -> Page:
        """Take the first code, and show the recovery codes this once."""
        me, form, ring = _me(), DrawnForm(), keyring()
        secret = _drawn(form)

        def work(session: Session) -> list[str]:
            code = form.code.data or ""
            return second_factor_service.confirm(
                session, actor(), ring, _own(session), secret, code, keep=me.token
            )

        if me.second_factor:
            return redirect(url_for(".index"), 303)
        try:
            codes = in_transaction(work)
        except DomainError as error:
            form.take(error)
            form.code.data = ""
            return self._set_up(form), error.status
        return self._codes(gettext("The second factor is set up"), codes)

    @page("/second-factor/ask/<any(remove, renew):act>")
    def ask_factor(self, act: str) -> Page:
        """Ask before a login becomes weaker, or written down codes open nothing any more."""
        remove = act == "remove"
        return self.render(
            "ask.html",
            heading=gettext("Give up the second factor?")
            if remove
            else gettext("Make new recovery codes?"),
            text=gettext("Your password alone opens your login then.")
            if remove
            else gettext("The ones that you have written down open nothing any more."),
            button=gettext("Give it up") if remove else gettext("Make new ones"),
            action=url_for(".remove_factor") if remove else url_for(".renew_codes"),
            back=url_for(".index"),
            form=ActForm(),
        )

    @page("/second-factor/remove", methods=["POST"])
    def remove_factor(self) -> Page:
        """Let the password alone open one's login."""
        me = _me()
        in_transaction(
            lambda session: second_factor_service.remove(
                session, actor(), _own(session), keep=me.token
            )
        )
        flash(gettext("There is no second factor any more."), "success")
        return redirect(url_for(".index"), 303)

    @page("/second-factor/codes", methods=["POST"])
    def renew_codes(self) -> Page:
        """Replace the recovery codes, and show the new ones this once."""
        try:
            codes = in_transaction(
                lambda session: second_factor_service.renew_codes(session, actor(), _own(session))
            )
        except DomainError:
            return redirect(url_for(".second_factor"), 303)
        return self._codes(gettext("New recovery codes"), codes)

    def _codes(self, heading: str, codes: list[str]) -> tuple[str, int]:
        return self.render(
            "recovery_codes.html", heading=heading, codes=codes
        ), HTTPStatus.CREATED.value


def drawn(matrix: tuple[bytearray, ...], border: int) -> str:
    """Return the path of an SVG whose units are the modules of a QR code."""
    return "".join(
        f"M{x + border} {y + border}h1v1h-1z"
        for y, row in enumerate(matrix)
        for x, dark in enumerate(row)
        if dark
    )


def _me() -> Visitor:
    somebody = visitor()
    if somebody is None:
        raise Forbidden
    return somebody


def _login_id(me: Visitor) -> UUID:
    """Return by what this login is told from the others of its user.

    Raises:
        Forbidden: it is none; a page is never reached like that.
    """
    if me.session_id is None:
        raise Forbidden
    return me.session_id


def _drawn(form: DrawnForm) -> bytes | None:
    me = _me()
    return second_factor_service.drawn_secret(
        keyring(), me.user_id, _login_id(me), form.drawn.data or ""
    )


def _own(session: Session) -> User:
    return user_service.get_user(session, _me().user_id)
