"""What a filter of events shows, sent anew all at once: asked for with its size, then done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from flask import flash, redirect, request, url_for
from sqlalchemy.orm import Session

from standart.admin import webhook_filters
from standart.admin.base import Page, actor, keeper, origin, page
from standart.admin.endpoint_checks import EndpointChecks
from standart.admin.language import gettext
from standart.clock import now
from standart.errors import InvalidInput
from standart.extensions import in_transaction, nudge, on_connection
from standart.services import set_replay_service
from standart.services.event_search import Wanted
from standart.services.set_replay_service import Outlook, Sent

_NOTHING: Final = Outlook(events=0, stale=0, oldest=None, more=False)


class WebhookSets(EndpointChecks):
    """Part of the tab of webhooks; the forms work without script."""

    @page("/replay/ask")
    def ask_replay_set(self) -> Page:
        """Say how many events it would be, and how old they are."""
        at = now()

        def look(session: Session) -> tuple[webhook_filters.Asked, Outlook]:
            asked = webhook_filters.read(session, actor())
            if asked.wanted is None:
                return asked, _NOTHING
            wanted = _ended(asked.wanted, at)
            return asked, set_replay_service.preview(session.connection(), actor(), wanted, at)

        asked, outlook = in_transaction(look)
        return self.render(
            "replay_set_ask.html",
            asked=asked,
            outlook=outlook,
            at=at,
            most=set_replay_service.MOST_EVENTS,
        )

    @page("/replay", methods=["POST"])
    def replay_set(self) -> Page:
        """Send them; nothing that happened after the question goes out."""
        asked = in_transaction(lambda session: webhook_filters.read(session, actor()))
        if asked.wanted is None:
            raise InvalidInput.of("filters", "do not make sense, so nothing is sent")
        by, wanted = keeper(), _ended(asked.wanted, _asked_at())
        sent = on_connection(
            lambda connection: set_replay_service.replay(connection, by, origin(), wanted)
        )
        nudge()
        flash(_told(sent), "success" if sent.requeued else "error")
        return redirect(url_for(".index") + asked.query, 303)


def _ended(wanted: Wanted, at: datetime) -> Wanted:
    return replace(wanted, created_to=min(wanted.created_to or at, at))


def _asked_at() -> datetime:
    """Return when the question was shown.

    Raises:
        InvalidInput: the form does not say.
    """
    try:
        at = datetime.fromisoformat(request.form.get("at", ""))
    except ValueError as error:
        raise InvalidInput.of("at", "is no moment; ask again") from error
    if at.tzinfo is None:
        raise InvalidInput.of("at", "has no zone; ask again")
    return at


def _told(sent: Sent) -> str:
    left = sent.deliveries - sent.requeued
    said = gettext("%(count)s deliveries are sent anew.", count=sent.requeued)
    if left:
        said += " " + gettext(
            "%(count)s are left as they are: under way, or their endpoint is not called.",
            count=left,
        )
    return said
