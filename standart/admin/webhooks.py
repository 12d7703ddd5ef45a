"""Вебхуки: events, newest first, with how their delivery stands; read-only."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import msgspec
from flask import request
from sqlalchemy.orm import Session

from standart.admin import listing, messages, queries
from standart.admin.base import EVERYBODY, Page, PanelView, actor, page, query_text
from standart.admin.language import gettext
from standart.extensions import in_transaction
from standart.services import event_list, user_service


class Webhooks(PanelView):
    """The tab of events and deliveries."""

    @page("/", roles=EVERYBODY)
    def index(self) -> Page:
        """List events, newest first."""
        return self.render("webhooks.html", **in_transaction(_list))

    @page("/<uuid:event_id>", roles=EVERYBODY)
    def detail(self, event_id: UUID) -> Page:
        """Show one event: its body and every try to deliver it."""
        viewer = actor()

        def read(session: Session) -> dict[str, Any]:
            body = event_list.get_event(session.connection(), viewer, event_id)
            event = msgspec.json.decode(body)
            user_id = UUID(event["user_id"])
            attempts = queries.attempts_of(session, user_id, event_id)
            names = queries.names_of(session, [user_id])
            session.expunge_all()
            return {
                "event": {**event, "user_name": names[event["user_id"]]},
                "body": json.dumps(event["payload"], ensure_ascii=False, indent=2),
                "attempts": attempts,
            }

        return self.render("webhook.html", **in_transaction(read))


def _list(session: Session) -> dict[str, Any]:
    viewer = actor()
    type_ = request.args.get("type", "")
    known = type_ if type_ in messages.EVENT_TYPES else ""
    name = query_text("user") if viewer.is_admin else ""
    user = user_service.find_user(session, name) if name else None
    wanted = query_text("transaction")
    transaction_id = listing.as_id(wanted)
    filters = listing.chips(
        {
            "user": (gettext("User"), name),
            "type": (gettext("Event"), messages.label(messages.EVENT_TYPES, known)),
            "transaction": (gettext("Transaction"), wanted),
        }
    )
    rows = []
    # An unknown name and what is no id are in force too: they match nothing.
    if (user or not name) and (transaction_id or not wanted):
        rows = event_list.list_events(
            session.connection(),
            viewer,
            user_id=user.id if user else None,
            type=known or None,
            transaction_id=transaction_id,
            after=listing.after_row(),
            limit=listing.page_size() + 1,
        )
    events: list[dict[str, Any]] = [msgspec.json.decode(row[0]) for row in rows]
    names = queries.names_of(session, (UUID(event["user_id"]) for event in events))
    return {
        "listing": listing.listing(
            [{**event, "user_name": names[event["user_id"]]} for event in events],
            [listing.mark(row[1], row[2]) for row in rows],
            filters,
        ),
        "asked": {"user": name, "type": known, "transaction": wanted},
    }
