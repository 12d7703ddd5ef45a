"""Asking once more who it is, before what somebody at an unlocked screen must not do.

A page whose rule demands it is opened only by who has shown password and code within the last
minutes. A form that was open for longer loses nothing: the page that asks carries it along.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from flask import redirect, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import messages
from standart.admin.language import gettext
from standart.admin.pages import render_page, visitor
from standart.admin.profile_forms import ProofForm
from standart.errors import DomainError, TooManyRequests, Unauthenticated
from standart.extensions import in_transaction, keyring
from standart.services import login_service, session_service, user_service
from standart.services.session_service import Visitor

_OWN_FIELDS: Final = frozenset({"csrf_token", "proof_password", "proof_code"})


def demand() -> AnyResponse | None:
    """Return the page that asks for a proof, ``None`` if a fresh one is there or came along."""
    somebody = visitor()
    if somebody is None or somebody.proven:
        return None
    if request.method != "POST":
        back = request.full_path.rstrip("?")
        return redirect(url_for("profile.prove", next=back), HTTPStatus.SEE_OTHER)
    form = ProofForm()
    if not form.proof_password.data:
        return page(form, somebody)
    refusal = check(form, somebody)
    return None if refusal is None else page(form, somebody, refusal)


def check(form: ProofForm, somebody: Visitor) -> DomainError | None:
    """Let the login count as proven; return why not, so that the failure stays counted."""

    def work(session: Session) -> DomainError | None:
        user = user_service.get_user(session, somebody.user_id)
        try:
            login_service.prove(
                session,
                keyring(),
                user,
                password=form.proof_password.data or "",
                code=form.proof_code.data or "",
                ip=request.remote_addr or "",
            )
        except (Unauthenticated, TooManyRequests) as error:
            return error
        session_service.mark_proven(session, somebody.token)
        return None

    return in_transaction(work)


def page(form: ProofForm, somebody: Visitor, refusal: DomainError | None = None) -> AnyResponse:
    """Return the page that asks; what was sent to it goes on with the answer."""
    if isinstance(refusal, TooManyRequests):
        form.form_errors.append(messages.describe(refusal))
    elif refusal is not None:
        form.form_errors.append(gettext("Wrong password or code."))
    carried = [
        (name, value)
        for name, values in request.form.lists()
        if name not in _OWN_FIELDS
        for value in values
    ]
    body = render_page(
        "prove.html", form=form, carried=carried, second_factor=somebody.second_factor
    )
    status = HTTPStatus.FORBIDDEN if refusal is None else refusal.status
    response = AnyResponse(body, status=status, mimetype="text/html")
    if refusal is not None and refusal.retry_after:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response
