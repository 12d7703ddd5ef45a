"""API keys and webhook secrets of a user: made, shown, rotated and revoked on its pages."""

from __future__ import annotations

from uuid import UUID

from flask import url_for
from sqlalchemy.orm import Session

from standart.admin import key_pages
from standart.admin.base import Page, actor, get_user, page
from standart.admin.forms import ActForm
from standart.admin.language import gettext
from standart.admin.user_logins import UserLogins
from standart.extensions import in_transaction, keyring
from standart.services import endpoint_service


class UserSecrets(UserLogins):
    """What belongs to a user and opens something."""

    @page("/<uuid:user_id>/keys", methods=["POST"])
    def create_key(self, user_id: UUID) -> Page:
        """Make an API key; its text is in this answer and nowhere else."""
        back = url_for(".detail", user_id=user_id)
        return key_pages.create(self, user_id, back, gettext("To the user"))

    @page("/<uuid:user_id>/keys/<uuid:key_id>/ask")
    def ask_revoke(self, user_id: UUID, key_id: UUID) -> Page:
        """Ask before a key stops to open anything."""
        return self.render(
            "secret_ask.html",
            user_id=user_id,
            heading=gettext(
                "Revoke the key %(prefix)s…?", prefix=key_pages.prefix_of(user_id, key_id)
            ),
            text=gettext("Whoever uses it gets 401 from now on. This cannot be undone."),
            button=gettext("Revoke"),
            action=url_for(".revoke_key", user_id=user_id, key_id=key_id),
            form=ActForm(),
        )

    @page("/<uuid:user_id>/keys/<uuid:key_id>/revoke", methods=["POST"])
    def revoke_key(self, user_id: UUID, key_id: UUID) -> Page:
        """Revoke a key; it counts with the next request."""
        return key_pages.revoke(user_id, key_id, url_for(".detail", user_id=user_id))

    @page("/<uuid:user_id>/secret", methods=["POST"])
    def show_secret(self, user_id: UUID) -> Page:
        """Show the webhook secret; that it was shown is written down."""

        def work(session: Session) -> tuple[str, str]:
            user = get_user(session, user_id)
            secret = endpoint_service.show_secret(session, actor(), keyring(), user.endpoint)
            return user.name, secret

        name, secret = in_transaction(work)
        heading = gettext("Webhook secret of %(name)s", name=name)
        return self._shown(user_id, heading, gettext("Webhook secret"), secret, once=False)

    @page("/<uuid:user_id>/secret/ask")
    def ask_rotate(self, user_id: UUID) -> Page:
        """Ask before receivers have to learn a new secret."""
        in_transaction(lambda session: get_user(session, user_id))
        return self.render(
            "secret_ask.html",
            user_id=user_id,
            heading=gettext("Rotate the webhook secret?"),
            text=gettext("For 24 hours both secrets sign; after that only the new one does."),
            button=gettext("Rotate"),
            action=url_for(".rotate_secret", user_id=user_id),
            form=ActForm(),
        )

    @page("/<uuid:user_id>/secret/rotate", methods=["POST"])
    def rotate_secret(self, user_id: UUID) -> Page:
        """Give the user a new webhook secret and show it."""

        def work(session: Session) -> tuple[str, str]:
            user = get_user(session, user_id)
            secret = endpoint_service.rotate_secret(session, actor(), keyring(), user.endpoint)
            return user.name, secret

        name, secret = in_transaction(work)
        heading = gettext("New webhook secret of %(name)s", name=name)
        return self._shown(user_id, heading, gettext("Webhook secret"), secret, once=False)

    def _shown(self, user_id: UUID, heading: str, label: str, secret: str, *, once: bool) -> str:
        return self.render(
            "secret.html",
            heading=heading,
            label=label,
            secret=secret,
            once=once,
            back=url_for(".detail", user_id=user_id),
            back_text=gettext("To the user"),
        )
