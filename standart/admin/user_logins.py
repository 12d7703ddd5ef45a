"""The logins of a user, as an admin sees and ends them; a lost second factor is taken away."""

from __future__ import annotations

from uuid import UUID

from flask import url_for

from standart.admin.base import Page, PanelView, actor, attempt, get_user, page
from standart.admin.forms import ActForm
from standart.admin.language import gettext
from standart.extensions import in_transaction
from standart.services import second_factor_service, session_service


class UserLogins(PanelView):
    """What an admin does to the logins of others."""

    @page("/<uuid:user_id>/sessions/<uuid:session_id>/end", methods=["POST"])
    def end_session(self, user_id: UUID, session_id: UUID) -> Page:
        """End one login of a user."""

        def work() -> str:
            in_transaction(
                lambda session: session_service.end_one(session, actor(), user_id, session_id)
            )
            return gettext("The login has ended.")

        return attempt(work, url_for(".detail", user_id=user_id))

    @page("/<uuid:user_id>/sessions/end", methods=["POST"])
    def end_sessions(self, user_id: UUID) -> Page:
        """End all logins of a user."""

        def work() -> str:
            in_transaction(
                lambda session: session_service.end_others(
                    session, actor(), get_user(session, user_id).id, keep=None
                )
            )
            return gettext("All logins of the user have ended.")

        return attempt(work, url_for(".detail", user_id=user_id))

    @page("/<uuid:user_id>/second-factor/ask")
    def ask_reset(self, user_id: UUID) -> Page:
        """Ask before a user's login becomes weaker."""
        name = in_transaction(lambda session: get_user(session, user_id).name)
        return self.render(
            "ask.html",
            heading=gettext("Take away the second factor of %(name)s?", name=name),
            text=gettext(
                "The password alone opens this login then, until a new one is set up. Make sure "
                "that it is really the owner who asks for it."
            ),
            button=gettext("Take it away"),
            action=url_for(".reset_factor", user_id=user_id),
            back=url_for(".detail", user_id=user_id),
            form=ActForm(),
        )

    @page("/<uuid:user_id>/second-factor/reset", methods=["POST"])
    def reset_factor(self, user_id: UUID) -> Page:
        """Take a user's second factor away; its logins end."""

        def work() -> str:
            in_transaction(
                lambda session: second_factor_service.remove(
                    session, actor(), get_user(session, user_id)
                )
            )
            return gettext("The second factor is taken away.")

        return attempt(work, url_for(".detail", user_id=user_id))
