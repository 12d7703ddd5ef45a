"""Making and revoking API keys: on the page of a user, and on one's own profile."""

from __future__ import annotations

from uuid import UUID

from flask import flash, redirect
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import messages, queries
from standart.admin.base import Page, PanelView, actor, attempt, get_user
from standart.admin.forms import KeyForm
from standart.admin.language import gettext
from standart.errors import DomainError, NotFound
from standart.extensions import in_transaction
from standart.models import Scope
from standart.services import key_service


def create(view: PanelView, user_id: UUID, back: str, back_text: str) -> Page:
    """Make a key for a user; its text is in this answer and nowhere else.

    Raises:
        NotFound: there is no such user.
    """
    form = KeyForm()
    if not form.validate():
        flash(gettext("The key was not made: the form does not fit."), "error")
        return redirect(back, 303)

    def work(session: Session) -> tuple[str, str]:
        user = get_user(session, user_id)
        _, plain = key_service.create_key(
            session,
            actor(),
            user,
            scopes=[Scope(scope) for scope in form.scopes.data or ()],
            lifetime=form.lifetime(),
        )
        return user.name, plain

    try:
        name, plain = in_transaction(work)
    except NotFound:
        raise
    except DomainError as error:
        flash(messages.describe(error), "error")
        return redirect(back, 303)
    return view.render(
        "secret.html",
        heading=gettext("New API key of %(name)s", name=name),
        label=gettext("API key"),
        secret=plain,
        once=True,
        back=back,
        back_text=back_text,
    ), 201


def revoke(user_id: UUID, key_id: UUID, back: str) -> AnyResponse:
    """Revoke a key of a user; it counts with the next request.

    Raises:
        NotFound: the user has no such key.
    """
    prefix = prefix_of(user_id, key_id)

    def work() -> str:
        in_transaction(lambda session: key_service.revoke_key(session, actor(), prefix))
        return gettext("The key is revoked.")

    return attempt(work, back)


def prefix_of(user_id: UUID, key_id: UUID) -> str:
    """Return by what prefix a key of a user is known.

    Raises:
        NotFound: the user has no such key.
    """
    prefix = in_transaction(lambda session: queries.key_prefix(session, user_id, key_id))
    if prefix is None:
        raise NotFound
    return prefix
